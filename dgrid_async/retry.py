"""Whether and when a failed call is tried again: a pure policy without clock, sleep or random source of its own.

Rules
1. The failure's class and its fields decide, its text never does.
2. Whoever hands out a first event never asks here again: a retry could repeat a token or a charge.
3. What the gateway says wins over our backoff, but not over the caller's bounds.

Source: RFC 9110, 10.2.3 (Retry-After); backoff with full jitter as in the AWS Architecture Blog, "Exponential Backoff And
Jitter" (2015).
"""

from __future__ import annotations

from dgrid_async.config import Retries
from dgrid_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    DGridError,
    InsufficientQuotaError,
    StreamTruncatedError,
)

__all__ = ["delay", "retryable"]

_RETRYABLE = frozenset({408, 409, 429})
_SERVER_ERROR = 500
# Behind gateways a status misleads: these are the caller's to mend, whatever status they come with.
_FINAL = frozenset(
    {
        "invalid_request",
        "model_not_found",
        "insufficient_user_quota",
        "prompt_blocked",
        "sensitive_words_detected",
        "access_denied",
        "invalid_api_key",
    }
)


# The type of a mere refusal: on a server's error it names the true cause, on a 429 it says nothing.
_REFUSED = "invalid_request_error"


def retryable(failure: DGridError) -> bool:
    """Return whether another attempt could end better."""
    if isinstance(failure, APIStatusError):
        told = failure.headers.get("x-should-retry", "").strip().lower()
        if told in {"true", "false"}:
            return told == "true"
        if isinstance(failure, InsufficientQuotaError):
            return False
        names = {str(failure.code).lower(), str(failure.type).lower()}
        if names & _FINAL or (failure.status >= _SERVER_ERROR and _REFUSED in names):
            return False
        return failure.status in _RETRYABLE or failure.status >= _SERVER_ERROR
    if isinstance(failure, APITimeoutError):
        return failure.phase in {"connect", "idle"}  # the other limits are of the whole call: they are spent
    return isinstance(failure, (APIConnectionError, StreamTruncatedError))


def delay(retries: Retries, attempt: int, failure: DGridError, *, left: float | None = None, draw: float = 1.0) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up and raise.

    Args:
        retries: The policy.
        attempt: Attempts already made; 1 after the first failure.
        failure: What ended the last attempt.
        left: Seconds left of the call's limits, or None for no limit. A wait that would not fit gives up at once.
        draw: A number drawn evenly from 0 to 1, for the jitter.

    The gateway's Retry-After is exact: no jitter is taken from it.
    """
    if attempt >= retries.max_attempts or not retryable(failure):
        return None
    asked = failure.retry_after if isinstance(failure, APIStatusError) else None
    if asked is not None:
        if asked > retries.max_retry_after:
            return None
        wait = asked
    else:
        # 2.0 ** 1024 would overflow; beyond 2 ** 30 any bound has been reached.
        wait = draw * min(retries.max_delay, retries.initial_delay * 2.0 ** min(attempt - 1, 30))
    return None if left is not None and wait >= left else wait
