"""Any vendor's error body to the error it means: from an HTTP answer or from inside a stream.

Gateways pass on what the model's vendor said, so each shape may come on each route. The class follows the error's own code,
type or status where they say something, else the HTTP status. This module never does I/O and reads no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from dgrid_async import codec
from dgrid_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InsufficientQuotaError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServiceUnavailableError,
    UnprocessableEntityError,
)
from dgrid_async.sse import SSEDecoder

__all__ = ["REQUEST_ID_HEADERS", "error_in", "excerpt", "from_event", "from_response", "looks_like_html", "request_id_of"]

_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientQuotaError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: RequestTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: ServiceUnavailableError,
    529: OverloadedError,
}

# The effective status of an error that came without one of its own, by its type, code or Gemini status.
# Sources: docs.anthropic.com/en/api/errors, platform.openai.com/docs/guides/error-codes, cloud.google.com/apis/design/errors.
_BY_NAME: dict[str, int] = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "prompt_blocked": 400,
    "sensitive_words_detected": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "access_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "model_not_found": 404,
    "already_exists": 409,
    "aborted": 409,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "requests": 429,
    "tokens": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal": 500,
    "internal_server_error": 500,
    "unknown": 500,
    "data_loss": 500,
    "upstream_error": 502,
    "bad_gateway": 502,
    "unavailable": 503,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "timeout_error": 504,
    "timeout": 504,
    "deadline_exceeded": 504,
    "overloaded_error": 529,
    "overloaded": 529,
}
_QUOTA = frozenset(
    {
        "billing_error",
        "insufficient_balance",
        "insufficient_quota",
        "insufficient_user_quota",
        "pre_consume_token_quota_failed",
        "quota_exceeded",
    }
)
_QUOTA_STATUS, _SERVER_ERROR = 402, 500
_HTTP_ERRORS = range(400, 600)
# In the place of a type or status these say no more than that there is an error.
_EMPTY_WORDS = frozenset({"error", "failed", "response.failed", "response.error"})
# In the place of an envelope's code these say that there is none.
_GOOD_CODES = (0, 200, "0", "200", "ok", "success", None, True, "")

# First found wins. Sources: docs.dgrid.ai (DGrid-Request-ID); the rest are what gateways and vendors in front of it send.
REQUEST_ID_HEADERS = (
    "dgrid-request-id",
    "x-request-id",
    "request-id",
    "x-oneapi-request-id",
    "x-generation-id",
    "cf-ray",
)
_EXCERPT_CHARS = 200
_MESSAGE_CHARS = 2000
# Errors come wrapped in errors; nobody wraps them deeper than this, but an attacker may.
_WRAPPINGS = 8
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*")
_RETRY_DELAY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)s\s*")
_MASK = "***"


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the gateway's name for a call, from headers with names in lower case."""
    for name in REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return value
    return None


def excerpt(data: bytes | str, *, secret: str | None = None) -> str:
    """Return the first characters of what came, fit for a message.

    Args:
        data: What came.
        secret: The API key, as for `from_response`.
    """
    if isinstance(data, str) and len(data) <= _EXCERPT_CHARS and not (secret and secret in data):
        return data
    # The key is looked for before the cut: half of it in the excerpt would not be found any more.
    reach = _EXCERPT_CHARS + len(secret or "")
    text = data[:reach] if isinstance(data, str) else data[: 4 * reach].decode("utf-8", "replace")
    cut = len(data) > reach if isinstance(data, str) else len(data) > 4 * reach
    if secret:
        text = text.replace(secret, _MASK)
    return text[:_EXCERPT_CHARS] + "…" if cut or len(text) > _EXCERPT_CHARS else text


def looks_like_html(data: bytes) -> bool:
    """Return whether a body begins as a page does."""
    return data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def error_in(value: Any) -> Any:
    """Return the error that the body of a 2xx holds at its top level (an object, a string), or None."""
    if not isinstance(value, dict):
        # Gemini writes the error of a stream as a list of one.
        alone = isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)
        return error_in(value[0]) if alone else None
    if error := value.get("error"):
        return error
    if value.get("type") == "error" or value.get("success") is False:
        return value
    if "message" in value and "code" in value:  # {code, message, data}: an envelope of the gateway's own surfaces
        code = value["code"]
        if code not in _GOOD_CODES and (not value.get("data") or _http_error(code)):
            return value
    return None


def from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None, secret: str | None = None
) -> APIStatusError:
    """Return the error that an HTTP answer of 300 and above means.

    Args:
        status: The HTTP status.
        headers: Names in lower case.
        body: What was read of the body, perhaps not all.
        now: Seconds since the epoch, for a Retry-After that is a date; without it a date says nothing.
        secret: The API key: a gateway that echoes it must not make us show it.
    """
    value = _decoded(body)
    inner = error_in(value)
    return _make(value if inner is None else inner, value, http_status=status, headers=headers, now=now, secret=secret)


def from_event(error: Any, headers: Mapping[str, str], *, secret: str | None = None) -> APIStatusError:
    """Return the error that came inside a 2xx answer: its class and status are its own, never the answer's.

    Args:
        error: The error's JSON: an object or a string.
        headers: The answer's headers, names in lower case.
        secret: The API key, as for `from_response`.
    """
    return _make(error, error, http_status=None, headers=headers, now=None, secret=secret)


def _decoded(body: bytes) -> Any:
    text = body.strip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"data:", b"event:", b":")):
        # An error in the clothes of an event, with an error's status.
        decoder = SSEDecoder(None)
        events = [*decoder.feed(text), *decoder.feed(b"\n\n")]
        text = next((event.data.encode() for event in events if event.data), text)
    try:
        return codec.decode(text)
    except ValueError:
        return text.decode("utf-8", "replace")


def _make(
    error: Any,
    body: Any,
    *,
    http_status: int | None,
    headers: Mapping[str, str],
    now: float | None,
    secret: str | None,
) -> APIStatusError:
    fields = list(_objects(error))
    outside = list(_objects(body))
    if secret:

        def masked(text: str) -> str:
            return text.replace(secret, _MASK).replace(quoted, _MASK)

        quoted = codec.encode(secret).decode()[1:-1]  # as it is inside JSON that is inside a string
        error, body = codec.with_strings(error, masked), codec.with_strings(body, masked)
        fields, outside = codec.with_strings(fields, masked), codec.with_strings(outside, masked)
        headers = {name: masked(value) for name, value in headers.items()}
    kinds = [kind for kind in _strings(fields, "type", "status") if kind.lower() not in _EMPTY_WORDS]
    kind = kinds[0] if kinds else None
    code = next((value for item in fields if _is_code(value := item.get("code"))), None)
    names = [str(name).lower() for name in (code, *kinds) if name is not None]
    status = http_status or _effective_status(names, fields)
    quota = status == _QUOTA_STATUS or not _QUOTA.isdisjoint(names)
    cls = InsufficientQuotaError if quota else _BY_STATUS.get(status)
    if cls is None:
        cls = InternalServerError if status >= _SERVER_ERROR else APIStatusError
    shown = " ".join(str(part) for part in (status, kind or code) if part)
    message = _message(error, fields)
    if len(message) > _MESSAGE_CHARS:
        message = message[:_MESSAGE_CHARS] + "…"
    return cls(
        f"{shown}: {message}",
        status=status,
        code=code,
        type=kind,
        body=body if body != "" else None,
        headers=headers,
        retry_after=_retry_after(fields, headers, now),
        request_id=request_id_of(headers) or next(_strings([*fields, *outside], "request_id"), None),
    )


def _message(error: Any, fields: list[dict[str, Any]]) -> str:
    """Return what the error says, or what can be said of it."""
    said = next(_strings(fields, "message", "msg", "detail", "error_description", "title"), None)
    if said is not None:
        return said
    if not error and error is not False:
        return "no details were given"
    if not isinstance(error, str):
        return excerpt(codec.encode(error))
    return f"an HTML page: {excerpt(error.strip())}" if looks_like_html(error.encode()) else error.strip()


def _objects(error: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield an error's objects from the inside out: an inner `error` says more than what wraps it."""
    if depth > _WRAPPINGS:
        return
    if isinstance(error, dict):
        for name in ("error", "response"):
            yield from _objects(error.get(name), depth + 1)
        yield error
    elif isinstance(error, list) and error:
        yield from _objects(error[0], depth + 1)
    elif isinstance(error, str) and error.lstrip().startswith("{"):
        try:  # an upstream's body, quoted inside the gateway's own
            quoted = codec.decode(error.encode())
        except ValueError:
            return
        yield from _objects(quoted, depth + 1)


def _strings(objects: list[dict[str, Any]], *names: str) -> Iterator[str]:
    """Yield the strings under these names, in the objects' order."""
    return (value for item in objects for name in names if isinstance(value := item.get(name), str) and value)


def _is_code(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _http_error(value: Any) -> int | None:
    """Return the HTTP status of an error that a code or status is, as a number or its digits."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) == 3:  # noqa: PLR2004 -- digits of a status
        value = int(value)
    return value if isinstance(value, int) and value in _HTTP_ERRORS else None


def _effective_status(names: list[str], fields: list[dict[str, Any]]) -> int:
    """Return the status that an error without an HTTP status is about.

    A code that is about the balance; else a number in the place of a code or status; else a code, type or status known by
    name; else 500.
    """
    if not _QUOTA.isdisjoint(names):
        return _QUOTA_STATUS
    for item in fields:
        for key in ("code", "status", "status_code"):
            if (number := _http_error(item.get(key))) is not None:
                return number
    return next((_BY_NAME[name] for name in names if name in _BY_NAME), _SERVER_ERROR)


def _retry_after(fields: list[dict[str, Any]], headers: Mapping[str, str], now: float | None) -> float | None:
    """Return the seconds that the gateway asks to wait, or None.

    Source: RFC 9110, 10.2.3; google.rpc.RetryInfo; the order is that of exactness.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    for seconds in (_number(text), _seconds_until(text, now)):
        if seconds is not None:
            return seconds
    for item in fields:
        details = item.get("details")
        for detail in details if isinstance(details, list) else ():
            delay = detail.get("retryDelay") if isinstance(detail, dict) else None
            match = _RETRY_DELAY.fullmatch(delay) if isinstance(delay, str) else None
            if match:
                return float(match[1])
    for item in fields:
        metadata = item.get("metadata")
        seconds = _number(metadata.get("retry_after_seconds")) if isinstance(metadata, dict) else None
        if seconds is not None:
            return seconds
    return None


def _seconds_until(date: str | None, now: float | None) -> float | None:
    """Return the seconds from now to an HTTP date in any of its three forms; 0 for one that is past."""
    if date is None or now is None:
        return None
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # the asctime form names no zone: all HTTP dates are GMT
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


def _number(value: Any) -> float | None:
    """Return a number of at least 0, or None."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        return float(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        return None
    return float(min(value, 1e18))  # an integer may be too long for a float
