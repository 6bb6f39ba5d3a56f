"""An asyncio-first, streaming-first SDK for the DGrid AI Gateway: one client, one session pool, four wire formats.

    from dgrid_async import AsyncDGrid

The four modules `messages`, `chat_completions`, `responses` and `generate_content` hold the classes of the four formats. They,
and the client, are imported when they are first asked for: options and errors cost no event loop and no HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dgrid_async.config import Limits, Retries, Timeouts, __version__
from dgrid_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigError,
    ConflictError,
    DGridError,
    EventTooLargeError,
    InsufficientQuotaError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    PoolTimeoutError,
    RateLimitError,
    RequestTooLargeError,
    ServiceUnavailableError,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
    UnprocessableEntityError,
)

if TYPE_CHECKING:
    from dgrid_async.apis import chat_completions, generate_content, messages, responses
    from dgrid_async.batch.limiter import BatchLimits
    from dgrid_async.batch.outcome import Outcome
    from dgrid_async.client import AsyncDGrid
    from dgrid_async.request import Request
    from dgrid_async.stream import EventStream, TextStream

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncDGrid",
    "AuthenticationError",
    "BadRequestError",
    "BatchLimits",
    "ClientClosedError",
    "ConfigError",
    "ConflictError",
    "DGridError",
    "EventStream",
    "EventTooLargeError",
    "InsufficientQuotaError",
    "InternalServerError",
    "Limits",
    "NotFoundError",
    "Outcome",
    "OverloadedError",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "RateLimitError",
    "Request",
    "RequestTooLargeError",
    "Retries",
    "ServiceUnavailableError",
    "StreamDecodeError",
    "StreamTruncatedError",
    "TextStream",
    "Timeouts",
    "UnexpectedResponseError",
    "UnprocessableEntityError",
    "__version__",
    "chat_completions",
    "generate_content",
    "messages",
    "responses",
]

_SLICES = frozenset({"chat_completions", "generate_content", "messages", "responses"})
_HOMES = {
    "AsyncDGrid": "client",
    "BatchLimits": "batch.limiter",
    "EventStream": "stream",
    "Outcome": "batch.outcome",
    "Request": "request",
    "TextStream": "stream",
}


def __getattr__(name: str) -> Any:
    if name in _SLICES:
        found: Any = import_module(f"dgrid_async.apis.{name}")
    elif name in _HOMES:
        found = getattr(import_module(f"dgrid_async.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
