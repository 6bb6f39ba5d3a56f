"""What a fault is: a name, what the server does, the code that does it, and what a good client makes of it.

Plain values. It never opens a socket and never judges a client; a runner compares what happened with `Expect`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tests.faults.connection import Connection, Request
from tests.faults.formats import ALL, FORMATS, TEXT, Format

Mode = Literal["stream", "plain"]
Outcome = Literal["reply", "error", "either"]
Ending = Literal["whole", "cut", "reset", "open", "flow", "refused"]
Play: TypeAlias = Callable[[Connection, Request, Format, int], Awaitable[None]]

ERROR_TREE: Mapping[str, str | None] = {
    "DGridError": None,
    "ConfigError": "DGridError",
    "ClientClosedError": "DGridError",
    "PoolTimeoutError": "DGridError",
    "APIConnectionError": "DGridError",
    "APITimeoutError": "APIConnectionError",
    "APIStatusError": "DGridError",
    "BadRequestError": "APIStatusError",
    "AuthenticationError": "APIStatusError",
    "InsufficientQuotaError": "APIStatusError",
    "PermissionDeniedError": "APIStatusError",
    "NotFoundError": "APIStatusError",
    "ConflictError": "APIStatusError",
    "RequestTooLargeError": "APIStatusError",
    "UnprocessableEntityError": "APIStatusError",
    "RateLimitError": "APIStatusError",
    "InternalServerError": "APIStatusError",
    "ServiceUnavailableError": "APIStatusError",
    "OverloadedError": "APIStatusError",
    "UnexpectedResponseError": "DGridError",
    "StreamTruncatedError": "DGridError",
    "StreamDecodeError": "DGridError",
    "EventTooLargeError": "DGridError",
}
"""The names an expectation may use, each with its parent."""


@dataclass(frozen=True)
class Expect:
    """What a good client makes of a fault.

    Args:
        outcome: `either` where both a reply and one of `error` are right.
        error: Names of error classes; the error must be an instance of one of them.
        status: The error's effective status, `None` = not checked.
        phase: The phase of a timeout error, `None` = not checked.
        text: The text of the reply, `None` = not checked.
        partial: The text of the error's snapshot, `None` = not checked; an empty one may also be no snapshot at all.
        events: The fewest wire events the caller must have received.
        requests: The fewest and the most requests the server may see; warm-up calls do not count.
        seconds: The longest the whole call may take.
        at_least: The shortest it may take.
        options: Client options the call needs, as plain data by the names of the client's option classes.
        retry_after: The error's `retry_after` in seconds, within 1 s.
        message_has: Words which the error's text must contain.
        block_ms: The longest the client may hold the event loop, in milliseconds.
        memory_mb: How far the client's memory may grow, in MB; `None` = not checked.
        tools: Name and raw argument string of each tool call in the reply; for formats that send an object, its JSON.
        output_tokens: The reply's usage, `None` = not checked.
        request_id: The request id of the reply or error, `None` = not checked.
    """

    outcome: Outcome = "reply"
    error: tuple[str, ...] = ()
    status: int | None = None
    phase: str | None = None
    text: str | None = TEXT
    partial: str | None = None
    events: int | None = None
    requests: tuple[int, int] = (1, 1)
    seconds: float = 5.0
    at_least: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    message_has: tuple[str, ...] = ()
    block_ms: float = 100.0
    memory_mb: float | None = None
    tools: tuple[tuple[str, str], ...] | None = None
    output_tokens: int | None = None
    request_id: str | None = None

    def summary(self) -> str:
        """Return the expectation in a few words, for a table."""
        words = []
        if self.outcome != "error":
            words.append("reply" if self.requests[0] < 2 else f"reply at request {self.requests[0]}")
        if self.outcome != "reply":
            error = " / ".join(self.error)
            if self.phase:
                error += f" ({self.phase})"
            words.append(f"{error} {self.status}" if self.status else error)
        return " or ".join(words)


@dataclass(frozen=True)
class Fault:
    """One way of the server to misbehave.

    Args:
        name: Unique; the first segment of the URL's path.
        group: The chapter it belongs to.
        line: What the server does, in few words, with the reason of a subtle expectation.
        play: The coroutine that answers one request; attempt 1 is the first, attempt 0 a warm-up.
        expect: What a good client makes of it.
        formats: Names of the formats it runs in.
        modes: `stream`, `plain` or both.
        ends: How the bytes of the first attempt end for one who only reads: `whole` by their own framing, `cut` by a
            FIN, by a `reset`, left `open` in silence, an endless `flow`, or a connection `refused`.
        shows: Bytes that must be seen on the wire in the first attempt.
        warmup: The call needs a good call before it over the same client.
        listener: Which listener the case's URL points to.
    """

    name: str
    group: str
    line: str
    play: Play
    expect: Expect
    formats: tuple[str, ...] = ALL
    modes: tuple[Mode, ...] = ("stream",)
    ends: Ending = "whole"
    shows: tuple[bytes, ...] = ()
    warmup: bool = False
    listener: Literal["main", "closed", "blackhole"] = "main"

    def runs(self) -> Iterator[tuple[Format, Mode]]:
        """Yield each format and mode it runs in."""
        for name in self.formats:
            for mode in self.modes:
                yield FORMATS[name], mode


class Chapter:
    """The faults of one group, in the order they were added."""

    def __init__(self, group: str) -> None:
        """Start an empty chapter."""
        self.group = group
        self.faults: list[Fault] = []

    def add(self, name: str, line: str, expect: Expect, **fields: Any) -> Callable[[Play], Play]:
        """Return a decorator that turns a play into a fault of this chapter; further fields are those of `Fault`."""

        def keep(play: Play) -> Play:
            self.faults.append(Fault(name, self.group, line, play, expect, **fields))
            return play

        return keep


BRIEFLY = {"initial_delay": 0.05}
"""A short first wait: what is tried is whether an attempt follows, not the length of a pause."""

ONCE: Mapping[str, Any] = {"retries": {"max_attempts": 1}}
"""One attempt: for faults that never heal."""

TWICE: Mapping[str, Any] = {"retries": {"max_attempts": 2, **BRIEFLY}}
"""Two attempts: for faults that heal at the second."""

THRICE: Mapping[str, Any] = {"retries": {"max_attempts": 3, **BRIEFLY}}
"""Three attempts: enough to show that none is made where none may be."""


def refused(*error: str, **fields: Any) -> Expect:
    """Return the expectation of an error after one attempt."""
    return Expect(**{"outcome": "error", "error": error, "text": None, "options": ONCE, **fields})


def lenient(*error: str, **fields: Any) -> Expect:
    """Return the expectation of either the right reply or one of the errors."""
    return Expect(**{"outcome": "either", "error": error, "options": ONCE, **fields})


def healed(**fields: Any) -> Expect:
    """Return the expectation of a reply at the second request."""
    return Expect(**{"requests": (2, 2), "options": TWICE, **fields})
