"""The error tree: every exception that leaves this package is one of these.

    DGridError
    ├── ConfigError                     the caller's mistake, found before any I/O
    ├── ClientClosedError, PoolTimeoutError
    ├── APIConnectionError              the network
    │   └── APITimeoutError             .phase says which limit
    ├── APIStatusError                  the gateway said no, by HTTP status or inside a stream
    │   ├── BadRequestError … OverloadedError
    ├── UnexpectedResponseError         a 2xx that is no answer of the API
    ├── StreamTruncatedError            a body that ended before its format's end
    ├── StreamDecodeError               bytes that fit neither SSE nor the format
    └── EventTooLargeError              one event above its bound

Each answers three questions: whose fault (the class), is a retry safe (`retry` reads the class and
its fields, never the text), and what had arrived (`snapshot`, `events_received`). All pickle, and
none holds a key. This module never does I/O and imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ClientClosedError",
    "ConfigError",
    "ConflictError",
    "DGridError",
    "EventTooLargeError",
    "InsufficientQuotaError",
    "InternalServerError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "RateLimitError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "StreamDecodeError",
    "StreamTruncatedError",
    "UnexpectedResponseError",
    "UnprocessableEntityError",
]

Phase = Literal["connect", "first_event", "idle", "event", "total"]


def _rebuild(cls: type[DGridError], state: dict[str, Any]) -> DGridError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class DGridError(Exception):
    """The root of everything this package raises.

    Attributes:
        message: What happened, the value and what to do; never a key.
        snapshot: The reply so far, the class that the call returns, or None when nothing had arrived.
        events_received: How many events the consumer of a stream had been given.
        request_id: The gateway's name for the call, or None when no answer came.
        attempts: The errors of the earlier attempts of the same call, oldest first.
    """

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.snapshot: Any = None
        self.events_received = 0
        self.request_id = request_id
        self.attempts: tuple[DGridError, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args` alone and fail on every keyword.
        return _rebuild, (type(self), dict(self.__dict__))

    def __str__(self) -> str:
        tail = f" (request {self.request_id})" if self.request_id else ""
        if self.attempts:
            tail += f" (after {len(self.attempts) + 1} attempts)"
        return self.message + tail


class ConfigError(DGridError):
    """The caller's mistake: a missing key, an option of the wrong kind. Raised before any I/O."""


class ClientClosedError(DGridError):
    """The client or the stream had been closed or aborted by the caller's own program."""


class PoolTimeoutError(DGridError):
    """No connection of the pool became free in `Limits.pool_timeout` seconds.

    Attributes:
        in_use: Connections in use when the wait ended.
        waiting: Calls that were waiting, this one included.
    """

    def __init__(self, message: str, *, in_use: int = 0, waiting: int = 0) -> None:
        super().__init__(message)
        self.in_use = in_use
        self.waiting = waiting


class APIConnectionError(DGridError):
    """The network failed: name resolution, connecting, TLS, a proxy, or a connection lost on the way."""


class APITimeoutError(APIConnectionError):
    """A limit of `Timeouts` ran out.

    Attributes:
        phase: Which limit: connect, first_event, idle, event or total.
        seconds: The limit itself.
    """

    def __init__(self, message: str, *, phase: Phase, seconds: float, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.phase = phase
        self.seconds = seconds


class APIStatusError(DGridError):
    """The gateway refused or failed the call, by HTTP status or by an error inside a stream.

    Attributes:
        status: The effective HTTP status: that of the error itself where it came inside a 200 stream.
        code: The error's `code` as the gateway spelt it (a string or a number), or None.
        type: The error's `type` (or Gemini's `status`), or None.
        body: The decoded error body: an object, a list or a string; None when there was none.
        headers: The response headers, names in lower case; values as they came.
        retry_after: Seconds the gateway asked to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | int | None = None,
        type: str | None = None,  # noqa: A002 -- the vendors' word for it
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.code = code
        self.type = type
        self.body = body
        self.headers = dict(headers or {})
        self.retry_after = retry_after

    @property
    def status_code(self) -> int:
        """The same as `status`, under the vendors' name."""
        return self.status


class BadRequestError(APIStatusError):
    """400: the request was malformed or refused as it stands."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or revoked."""


class InsufficientQuotaError(APIStatusError):
    """402, or any status with a quota code: the balance does not cover the call."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such route, model or object."""


class ConflictError(APIStatusError):
    """409: the call collides with another."""


class RequestTooLargeError(APIStatusError):
    """413: the request body is above the gateway's bound."""


class UnprocessableEntityError(APIStatusError):
    """422: well-formed, but not to be processed."""


class RateLimitError(APIStatusError):
    """429: too many calls or tokens; `retry_after` says how long to wait where the gateway did."""


class InternalServerError(APIStatusError):
    """5xx: the gateway or the model behind it failed."""


class ServiceUnavailableError(InternalServerError):
    """503: not served right now."""


class OverloadedError(InternalServerError):
    """529: the model is overloaded."""


class UnexpectedResponseError(DGridError):
    """A 2xx that is no answer of this API: HTML, not JSON, or JSON of the wrong shape.

    Attributes:
        status: The HTTP status.
        content_type: The Content-Type header as it came, or an empty string.
        excerpt: The first characters of the body.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 200,
        content_type: str = "",
        excerpt: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.content_type = content_type
        self.excerpt = excerpt


class StreamTruncatedError(DGridError):
    """The body of a stream ended before the terminal event of its format."""


class StreamDecodeError(DGridError):
    """Bytes in a stream that fit neither the SSE grammar nor the wire format.

    Attributes:
        excerpt: The first characters of the bytes in question.
    """

    def __init__(self, message: str, *, excerpt: str = "", request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.excerpt = excerpt


class EventTooLargeError(DGridError):
    """One event, or one plain reply, is above `Limits.max_event_bytes`.

    Attributes:
        limit: The bound, in bytes.
    """

    def __init__(self, message: str, *, limit: int = 0) -> None:
        super().__init__(message)
        self.limit = limit
