"""Any vendor's error body to the error it means: from an HTTP answer or from inside a stream.

Gateways pass on what the model's vendor said, so each shape may come on each route. The class follows the error's own code,
type or status where they say something, else the HTTP status. This module never does I/O and reads no clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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

__all__ = ["error_in", "excerpt", "from_event", "from_response", "looks_like_html", "request_id_of"]

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
_QUOTA = frozenset({"billing_error", "insufficient_quota", "insufficient_user_quota", "insufficient_balance", "quota_exceeded"})
_BAD_REQUEST, _QUOTA_STATUS, _FORBIDDEN, _SERVER_ERROR = 400, 402, 403, 500
_HTTP_ERRORS = range(400, 600)

# First found wins. Sources: docs.dgrid.ai (DGrid-Request-ID); the rest are what gateways and vendors in front of it send.
_REQUEST_ID_HEADERS = (
    "dgrid-request-id",
    "x-request-id",
    "request-id",
    "x-oneapi-request-id",
    "x-generation-id",
    "cf-ray",
)
_EXCERPT_CHARS = 200
_MESSAGE_CHARS = 2000
_RETRY_DELAY = re.compile(r"^\s*(\d+(?:\.\d+)?)s\s*$")


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the gateway's name for a call, from headers with names in lower case."""
    return next((value for name in _REQUEST_ID_HEADERS if (value := headers.get(name))), None)


def excerpt(data: bytes | str) -> str:
    """Return the first characters of what came, fit for a message."""
    text = data if isinstance(data, str) else data[: 4 * _EXCERPT_CHARS].decode("utf-8", "replace")
    return text if len(text) <= _EXCERPT_CHARS else text[:_EXCERPT_CHARS] + "…"


def looks_like_html(data: bytes) -> bool:
    """Return whether a body begins as a page does."""
    return data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def error_in(value: Any) -> Any:
    """Return the error that the body of a 2xx holds at its top level (an object, a string), or None."""
    if isinstance(value, list):
        # Gemini writes the error of a stream as a list of one.
        return error_in(value[0]) if len(value) == 1 and isinstance(value[0], dict) else None
    if not isinstance(value, dict):
        return None
    if error := value.get("error"):
        return error
    if value.get("type") == "error" or value.get("success") is False:
        return value
    if "message" in value and "code" in value and not value.get("data") and value["code"] not in (0, 200, "0", "200", None):
        return value  # {code, message, data}: an envelope of the gateway's own surfaces
    return None


def from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float = 0.0, secret: str | None = None
) -> APIStatusError:
    """Return the error that an HTTP answer of 300 and above means.

    Args:
        status: The HTTP status.
        headers: Names in lower case.
        body: What was read of the body, perhaps not all.
        now: Seconds since the epoch, for a Retry-After that is a date.
        secret: The API key: a gateway that echoes it must not make us show it.
    """
    if secret:
        body = body.replace(secret.encode(), b"***")
        headers = {name: value.replace(secret, "***") for name, value in headers.items()}
    value = _decoded(body)
    inner = error_in(value)
    if inner is None:
        inner = value
    if isinstance(inner, str) and (looks_like_html(inner.encode()) or not inner.strip()):
        page = "an HTML page" if inner.strip() else "no body"
        inner = {"message": f"HTTP {status} with {page}" + (f": {excerpt(inner)}" if inner.strip() else "")}
    return _make(inner, value, http_status=status, headers=headers, now=now)


def from_event(error: Any, headers: Mapping[str, str], *, secret: str | None = None) -> APIStatusError:
    """Return the error that came inside a 2xx answer: its class and status are its own, never the answer's.

    Args:
        error: The error's JSON: an object or a string.
        headers: The answer's headers, names in lower case.
        secret: The API key, as for `from_response`.
    """
    if secret:
        shown = codec.encode(error)
        error = codec.decode(shown.replace(secret.encode(), b"***"))
    return _make(error, error, http_status=None, headers=headers, now=0.0)


def _decoded(body: bytes) -> Any:
    text = body.strip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"data:"):
        text = text[5:].strip()  # an error in the clothes of an event, with an error's status
    try:
        return codec.mend(codec.decode(text))
    except ValueError:
        return codec.mend(text.decode("utf-8", "replace"))


def _make(
    error: Any, body: Any, *, http_status: int | None, headers: Mapping[str, str], now: float
) -> APIStatusError:
    fields = list(_objects(error))
    kind = _first_string(fields, "type", "status")
    code = next((value for item in fields if _is_code(value := item.get("code"))), None)
    message = _first_string(fields, "message", "msg", "detail", "error_description", "title")
    if message is None:
        message = error.strip() if isinstance(error, str) and error.strip() else excerpt(codec.encode(error))
    if kind == "error":  # Claude's outer and Responses' flat error: the word says nothing
        kind = _first_string([item for item in fields if item.get("type") != "error"], "type", "status")
    names = [str(name).lower() for name in (code, kind, _first_string(fields, "status")) if name is not None]
    status = _effective_status(names, fields, http_status)
    quota = status == _QUOTA_STATUS or any(name in _QUOTA for name in names)
    cls = InsufficientQuotaError if quota else _BY_STATUS.get(status)
    if cls is None:
        cls = InternalServerError if status >= _SERVER_ERROR else BadRequestError if status >= _BAD_REQUEST else APIStatusError
    shown = " ".join(str(part) for part in (status, kind or code) if part)
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
        request_id=request_id_of(headers) or _first_string(fields, "request_id"),
    )


def _objects(error: Any) -> Iterator[dict[str, Any]]:
    """Yield an error's objects from the inside out: an inner `error` says more than what wraps it."""
    if isinstance(error, dict):
        for name in ("error", "response"):
            yield from _objects(error.get(name))
        yield error
    elif isinstance(error, list) and error:
        yield from _objects(error[0])
    elif isinstance(error, str) and error.lstrip().startswith("{"):
        try:  # an upstream's body, quoted inside the gateway's own
            yield from _objects(json.loads(error))
        except (ValueError, RecursionError):
            return


def _first_string(objects: list[dict[str, Any]], *names: str) -> str | None:
    for item in objects:
        for name in names:
            value = item.get(name)
            if isinstance(value, str) and value:
                return value
    return None


def _is_code(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _effective_status(names: list[str], fields: list[dict[str, Any]], http_status: int | None) -> int:
    """Return the status that the error is about.

    An HTTP status of 400 and above stands. Without one, the first of these that says something: a code, type or status known
    by name, a number in the place of a code or status, a name that ends as the vendors' do; else 500.
    """
    if http_status is not None:
        return http_status
    if any(name in _QUOTA for name in names):
        return _QUOTA_STATUS
    for name in names:
        if name in _BY_NAME:
            return _BY_NAME[name]
    for item in fields:
        for key in ("code", "status", "status_code"):
            value = item.get(key)
            number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value  # noqa: PLR2004
            if isinstance(number, int) and number in _HTTP_ERRORS:
                return number
    return _SERVER_ERROR


def _retry_after(fields: list[dict[str, Any]], headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the gateway asks to wait, or None.

    Source: RFC 9110, 10.2.3; google.rpc.RetryInfo; the order is that of exactness.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is not None:
        seconds = _number(text)
        if seconds is not None:
            return seconds
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            pass
    for item in fields:
        for detail in item.get("details") or () if isinstance(item.get("details"), list) else ():
            delay = detail.get("retryDelay") if isinstance(detail, dict) else None
            match = _RETRY_DELAY.match(delay) if isinstance(delay, str) else None
            if match:
                return float(match[1])
        metadata = item.get("metadata")
        if isinstance(metadata, dict):
            seconds = _number(metadata.get("retry_after_seconds"))
            if seconds is not None:
                return seconds
    return None


def _number(value: Any) -> float | None:
    """Return a finite number of at least 0, or None."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
