"""The exit codes: what a script can tell from how the program ended.

Values only; it prints nothing and ends nothing.
"""

from __future__ import annotations

from enum import IntEnum

from dgrid_async.errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigError,
    DGridError,
    EventTooLargeError,
    InsufficientQuotaError,
    OverloadedError,
    PermissionDeniedError,
    PoolTimeoutError,
    RateLimitError,
    ServiceUnavailableError,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
)

__all__ = ["MEANINGS", "Exit", "exit_of"]


class Exit(IntEnum):
    """How the program ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    BUSY = 4
    NETWORK = 5
    CUT = 6
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    Exit.OK: "all went well, or the reader of a pipe had enough",
    Exit.FAILED: "the gateway or the model failed the call, or the output cannot be written",
    Exit.USAGE: "the command line or the configuration is wrong: no key, no such file, ...",
    Exit.REFUSED: "the key is refused: authentication, permission or quota",
    Exit.BUSY: "rate limited or overloaded: try again later",
    Exit.NETWORK: "the network failed, or a limit of time ran out",
    Exit.CUT: "the answer was cut off, or cannot be decoded",
    Exit.INTERRUPTED: "interrupted (Ctrl-C, SIGINT)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}

_EXITS: tuple[tuple[Exit, tuple[type[DGridError], ...]], ...] = (
    (Exit.USAGE, (ConfigError,)),
    (Exit.REFUSED, (AuthenticationError, PermissionDeniedError, InsufficientQuotaError)),
    (Exit.BUSY, (RateLimitError, OverloadedError, ServiceUnavailableError)),
    (Exit.NETWORK, (APIConnectionError, PoolTimeoutError)),
    (Exit.CUT, (StreamTruncatedError, StreamDecodeError, EventTooLargeError, UnexpectedResponseError)),
)


def exit_of(error: DGridError) -> Exit:
    """Return the exit code for an error that ended a command."""
    return next((code for code, kinds in _EXITS if isinstance(error, kinds)), Exit.FAILED)
