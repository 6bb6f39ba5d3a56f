"""What a client can be told: its options as values, checked when they are made.

Nothing here does I/O, reads the environment or keeps a key where a repr, a pickle or `vars()` could show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypedDict
from urllib.parse import urlsplit, urlunsplit

import attrs

from dgrid_async.errors import ConfigError

__all__ = ["CallOptions", "Limits", "Retries", "Secret", "Timeouts", "check_whole", "whole", "whole_or_none"]

__version__ = "0.1.0"

DEFAULT_BASE_URL = "https://api.dgrid.ai"


class Secret:
    """A string that no repr, message, pickle or attribute listing shows; `reveal()` gives it."""

    # Kept in a closure: debuggers and error reporters read attributes, slots among them.
    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        self._reveal: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """Return the string itself."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle: give the other process the key by its environment (DGRID_API_KEY)")


# Longer than any program runs, and short enough for every clock and timer.
_MOST_SECONDS = 1e9


def _is_seconds(value: Any) -> bool:
    # NaN fails every comparison.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST_SECONDS


def _seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not _is_seconds(value) or value == 0:
        raise ConfigError(f"{attribute.name}={value!r}: give seconds above 0")


def _seconds_or_none(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not _is_seconds(value) or value == 0):
        raise ConfigError(f"{attribute.name}={value!r}: give seconds above 0, or None for no limit")


def _seconds_or_zero(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not _is_seconds(value):
        raise ConfigError(f"{attribute.name}={value!r}: give seconds, 0 or more")


def check_whole(name: str, value: Any) -> None:
    """Refuse what is no integer of at least 1.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r}: give an integer of at least 1")


def whole(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Validate a field as `check_whole`."""
    check_whole(attribute.name, value)


def whole_or_none(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Validate a field as `whole`, or as None."""
    if value is not None:
        check_whole(attribute.name, value)


@attrs.frozen
class Timeouts:
    """How long to wait for what, each in seconds; None is no limit.

    The time in which the caller's own code holds an event counts towards `total` alone.

    Attributes:
        connect: Resolving, connecting and the TLS handshake of one attempt. 10 s: three lost SYN packets still pass.
        first_event: From the call to the first content event, or to the end of a plain call's answer; keep-alives do
            not count. 600 s: reasoning models think for minutes before the first token.
        idle: Silence on the wire once the stream runs; any byte counts, keep-alives too. 120 s: gateways send a
            keep-alive every 5 to 60 s, so twice the longest is a dead connection.
        event: Between two content events; keep-alives do not count. 600 s: thinking between two blocks, as above.
        total: The whole call, retries, waits and stream included. None: a healthy stream may run for hours.
    """

    connect: float | None = attrs.field(default=10.0, validator=_seconds_or_none)
    first_event: float | None = attrs.field(default=600.0, validator=_seconds_or_none)
    idle: float | None = attrs.field(default=120.0, validator=_seconds_or_none)
    event: float | None = attrs.field(default=600.0, validator=_seconds_or_none)
    total: float | None = attrs.field(default=None, validator=_seconds_or_none)


@attrs.frozen
class Retries:
    """When a failed call is tried again; never after a first event has been handed out.

    Attributes:
        max_attempts: Attempts in all, the first included; 1 is no retry. 3: what a second and a third try do not mend,
            a fourth a few seconds later rarely does.
        initial_delay: Upper bound of the first wait, in seconds; it doubles with each attempt. The wait itself is drawn
            evenly between 0 and the bound, so that clients that failed together do not return together. 0 never waits.
            0.5 s: as the vendors' own SDKs.
        max_delay: Upper bound of any wait of ours, in seconds. 8 s: as the vendors' own SDKs.
        max_retry_after: The longest wait, in seconds, that the gateway may ask for; a longer one raises at once, with
            `.retry_after` set. 60 s: the window of a rate limit by the minute.
    """

    max_attempts: int = attrs.field(default=3, validator=whole)
    initial_delay: float = attrs.field(default=0.5, validator=_seconds_or_zero)
    max_delay: float = attrs.field(default=8.0, validator=_seconds_or_zero)
    max_retry_after: float = attrs.field(default=60.0, validator=_seconds_or_zero)


@attrs.frozen(kw_only=True)
class Limits:
    """What is bounded.

    Attributes:
        max_connections: Connections at one time; further calls wait. 1,000: a stream holds its connection for its whole
            life, so the number is that of concurrent streams. None: no bound.
        pool_timeout: Seconds a call waits for a connection to be free before `PoolTimeoutError`; None waits for ever.
            60 s: a queue that stands still for a minute is a bound set too low.
        keep_alive: Seconds an idle connection is kept. 55: balancers commonly drop idle ones after 60.
        max_age: Seconds after which a connection is no longer used for a new call, so that a changed DNS entry is
            noticed. None: no bound. 600 s: ten minutes after a move no new call goes to the old place.
        dns_cache: Seconds a resolved address is kept. 30 s: about the shortest lifetime that names are given.
        max_event_bytes: The most bytes of one streamed event, or of one plain answer. 64 MiB: what gateways allow
            themselves.
        max_error_bytes: The most bytes of an error's body that are read. 64 KiB: errors are sentences; pages are cut.
        error_seconds: The most seconds that reading an error's body may take. 5 s: the status says enough to go on.
    """

    max_connections: int | None = attrs.field(default=1000, validator=whole_or_none)
    pool_timeout: float | None = attrs.field(default=60.0, validator=_seconds_or_none)
    keep_alive: float = attrs.field(default=55.0, validator=_seconds)
    max_age: float | None = attrs.field(default=600.0, validator=_seconds_or_none)
    dns_cache: float = attrs.field(default=30.0, validator=_seconds)
    max_event_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=whole)
    max_error_bytes: int = attrs.field(default=64 * 1024, validator=whole)
    error_seconds: float = attrs.field(default=5.0, validator=_seconds)


class CallOptions(TypedDict, total=False):
    """What one call may set beside its parameters; none of it is a field of the request.

    `extra_headers` are added to the request's headers (None takes one away), `extra_query` to its query, `extra_body` to
    its JSON object, over what is there. `timeouts` and `retries` replace the client's for this call. `idempotency_key`
    replaces the one that the client would make.
    """

    extra_headers: Mapping[str, str | None]
    extra_query: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    timeouts: Timeouts
    retries: Retries
    idempotency_key: str


CALL_OPTIONS = frozenset(CallOptions.__annotations__)


def normal_base_url(url: str) -> str:
    """Return the gateway's address without a trailing slash and without the `/v1` that every path has already.

    Raises:
        ConfigError: It is no http or https address, or carries a user, a query or a fragment; these are not shown.
    """
    wanted = f"base_url: give an address such as {DEFAULT_BASE_URL!r}"
    if not isinstance(url, str):
        raise ConfigError(f"{wanted}, not a {type(url).__name__}")
    url = url.strip()
    if not url.lower().startswith(("http://", "https://")):
        # It may be the key, put in the wrong place.
        raise ConfigError(f"{wanted}; what is given begins with neither http:// nor https://")
    if not url.isprintable() or " " in url or "\\" in url:
        raise ConfigError(f"{wanted}; what is given holds a space, a backslash or an unprintable character")
    if {"@", "?", "#"} & set(url):
        raise ConfigError(f"{wanted}, without user, query and fragment; the key is api_key=")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{wanted}, not {url!r}: {error}") from None
    if not parts.hostname:
        raise ConfigError(f"{wanted}, not {url!r}: it names no host")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def normal_key(key: str) -> Secret:
    """Return the API key, ready to be sent in a header.

    Raises:
        ConfigError: It is empty or holds characters that no header may carry; it is not shown.
    """
    if not isinstance(key, str):
        raise ConfigError(f"the API key is a string, not a {type(key).__name__}")
    key = key.strip()
    if not key:
        raise ConfigError("the API key is empty: set DGRID_API_KEY or give api_key=")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key holds a space, a line break or a character beyond ASCII: check how it was copied")
    return Secret(key)


def normal_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case.

    Raises:
        ConfigError: A name or value holds characters that no header may carry; the value itself is not shown.

    Source: RFC 9110, 5.1 and 5.5.
    """
    if not isinstance(headers, Mapping):
        raise ConfigError(f"headers are a mapping of names to values, not a {type(headers).__name__}")
    result = {}
    pairs: Mapping[Any, Any] = headers
    for name, value in pairs.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(f"header {name!r}: names and values are strings")
        if not name or not name.isascii() or not name.isprintable() or set(name) & set(' ():;,"/[]?={}@<>\\'):
            raise ConfigError(f"header {name!r}: no header may have this name")
        if any((character < " " and character != "\t") or character == "\x7f" for character in value):
            raise ConfigError(f"header {name!r}: its value holds a control character, which no header may carry")
        result[name.lower()] = value
    return result


@lru_cache(maxsize=256)
def header_name(name: str) -> str:
    """Return a header's name as aiohttp need not make it lower case again: it does that some four times a header."""
    from multidict import istr

    return istr(name)
