"""What a client can be told: its options as values, checked when they are made.

Nothing here does I/O, reads the environment or keeps a key where a repr, a pickle or `vars()` could show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypedDict
from urllib.parse import urlsplit, urlunsplit

import attrs

from dgrid_async.errors import ConfigError

__all__ = ["CallOptions", "Limits", "Retries", "Secret", "Timeouts"]

__version__ = "0.1.0"

DEFAULT_BASE_URL = "https://api.dgrid.ai"


class Secret:
    """A string that no repr, message, pickle or attribute listing shows; `reveal()` gives it."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the string itself."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(self.__value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle: give the other process the key by its environment (DGRID_API_KEY)")


def _seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
        raise ConfigError(f"{attribute.name}={value!r}: give seconds above 0, or None for no limit")


def _count(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{attribute.name}={value!r}: give an integer of at least 1")


def _optional_count(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        _count(instance, attribute, value)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long to wait for what, each in seconds; None is no limit.

    The time in which the caller's own code holds an event is never counted.

    Attributes:
        connect: Resolving, connecting and the TLS handshake of one attempt. 10 s: three lost SYN packets still pass.
        first_event: From the call to the first content event, or to the end of a plain call's answer; keep-alives do not
            count. 600 s: reasoning models think for minutes before the first token.
        idle: Silence on the wire once the stream runs; any byte counts, keep-alives too. 120 s: gateways send a
            keep-alive every 5 to 60 s, so twice the longest is a dead connection.
        event: Between two content events; keep-alives do not count. 600 s: thinking between two blocks, as above.
        total: The whole call, retries, waits and stream included. None: a healthy stream may run for hours.
    """

    connect: float | None = attrs.field(default=10.0, validator=_seconds)
    first_event: float | None = attrs.field(default=600.0, validator=_seconds)
    idle: float | None = attrs.field(default=120.0, validator=_seconds)
    event: float | None = attrs.field(default=600.0, validator=_seconds)
    total: float | None = attrs.field(default=None, validator=_seconds)


@attrs.frozen(kw_only=True)
class Retries:
    """When a failed call is tried again; never after a first event has been handed out.

    Attributes:
        max_attempts: Attempts in all, the first included; 1 is no retry.
        initial_delay: Upper bound of the first wait, in seconds; it doubles with each attempt. The wait itself is drawn
            evenly between 0 and the bound, so that clients that failed together do not return together.
        max_delay: Upper bound of any wait of ours, in seconds.
        max_retry_after: The longest wait, in seconds, that the gateway may ask for; a longer one raises at once, with
            `.retry_after` set.
    """

    max_attempts: int = attrs.field(default=3, validator=_count)
    initial_delay: float = attrs.field(default=0.5, validator=_seconds)
    max_delay: float = attrs.field(default=8.0, validator=_seconds)
    max_retry_after: float = attrs.field(default=60.0, validator=_seconds)


@attrs.frozen(kw_only=True)
class Limits:
    """What is bounded.

    Attributes:
        max_connections: Connections at one time; further calls wait. 1,000: a stream holds its connection for its whole
            life, so the number is that of concurrent streams. None: no bound.
        pool_timeout: Seconds a call waits for a connection to be free before `PoolTimeoutError`; None waits for ever.
        keep_alive: Seconds an idle connection is kept. 55: balancers commonly drop idle ones after 60.
        max_age: Seconds after which a connection is no longer used for a new call, so that a changed DNS entry is
            noticed. None: no bound.
        dns_cache: Seconds a resolved address is kept.
        max_event_bytes: The most bytes of one streamed event, or of one plain answer. 64 MiB: what gateways allow themselves.
        max_error_bytes: The most bytes of an error's body that are read.
        error_seconds: The most seconds that reading an error's body may take.
    """

    max_connections: int | None = attrs.field(default=1000, validator=_optional_count)
    pool_timeout: float | None = attrs.field(default=60.0, validator=_seconds)
    keep_alive: float = attrs.field(default=55.0, validator=_seconds)
    max_age: float | None = attrs.field(default=600.0, validator=_seconds)
    dns_cache: float = attrs.field(default=30.0, validator=_seconds)
    max_event_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_count)
    max_error_bytes: int = attrs.field(default=64 * 1024, validator=_count)
    error_seconds: float = attrs.field(default=5.0, validator=_seconds)


class CallOptions(TypedDict, total=False):
    """What one call may set beside its parameters; none of it is a field of the request.

    `extra_headers` are added to the request's headers (None takes one away), `extra_query` to its query, `extra_body` to its
    JSON object, over what is there. `timeouts` and `retries` replace the client's for this call. `idempotency_key` replaces
    the one that the client would make.
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
        ConfigError: It is no http or https address, or carries a user, a query or a fragment.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"base_url={_hidden(url)!r}: give an address such as {DEFAULT_BASE_URL!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"base_url={_hidden(url)!r}: give it without user, query and fragment; the key is api_key=")
    path = parts.path.rstrip("/")
    path = path.removesuffix("/v1").rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _hidden(url: str) -> str:
    """Return an address as it may be shown: a user and password in it masked."""
    scheme, separator, rest = url.partition("://")
    head, at, tail = rest.rpartition("@")
    return f"{scheme}{separator}***@{tail}" if at and head else url


def normal_key(key: str) -> Secret:
    """Return the API key, ready to be sent in a header.

    Raises:
        ConfigError: It is empty or holds characters that no header may carry.
    """
    key = key.strip()
    if not key:
        raise ConfigError("the API key is empty: set DGRID_API_KEY or give api_key=")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key holds characters that no header may carry: check for quotes or line breaks in it")
    return Secret(key)


def normal_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case.

    Raises:
        ConfigError: A name or value holds characters that no header may carry; the value itself is not shown.
    """
    result = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(f"header {name!r}: names and values are strings")
        if not name or not name.isascii() or not name.isprintable() or set(name) & set(' ():;,"/[]?={}@<>\\'):
            raise ConfigError(f"header {name!r}: no header may have this name")
        if any(character in value for character in "\r\n\0"):
            raise ConfigError(f"header {name!r}: its value holds a line break or a null, which no header may carry")
        result[name.lower()] = value
    return result
