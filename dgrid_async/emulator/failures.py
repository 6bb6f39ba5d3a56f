"""Error bodies: one function for each vendor's shape, from an HTTP status and a message.

It decides the vendor's type and code for a status and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["claude", "gemini", "openai", "words"]

# Source: https://docs.claude.com/en/api/errors
_CLAUDE: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# Source: https://platform.openai.com/docs/guides/error-codes
_OPENAI: Mapping[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "server_error"),
    503: ("server_error", "service_unavailable"),
    504: ("timeout_error", "timeout"),
    529: ("overloaded_error", "overloaded"),
}

# Source: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_GEMINI: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}

_WORDS: Mapping[int, str] = {
    400: "The request is not valid",
    401: "The API key is missing or not valid",
    402: "The balance is used up",
    403: "The key has no right to this",
    404: "There is nothing here",
    405: "This method is not allowed here",
    413: "The request is too large",
    429: "Too many requests",
    500: "Something failed inside the server",
    503: "The service is unavailable",
    504: "The model took too long",
    529: "Overloaded",
}

_SERVER = 500


def words(status: int) -> str:
    """Return a message for a status."""
    return _WORDS.get(status, f"The server answered {status}")


def claude(status: int, message: str | None, request_id: str) -> dict[str, Any]:
    """Return an error in Claude's shape."""
    kind = _CLAUDE.get(status, "api_error" if status >= _SERVER else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message or words(status)}, "request_id": request_id}


def openai(status: int, message: str | None, param: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    kind, code = _OPENAI.get(status, ("server_error", "server_error") if status >= _SERVER else ("invalid_request_error", None))
    return {"error": {"message": message or words(status), "type": kind, "param": param, "code": code}}


def gemini(status: int, message: str | None) -> dict[str, Any]:
    """Return an error in Google's shape."""
    name = _GEMINI.get(status, "INTERNAL" if status >= _SERVER else "FAILED_PRECONDITION")
    return {"error": {"code": status, "message": message or words(status), "status": name}}
