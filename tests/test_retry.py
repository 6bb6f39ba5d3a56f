"""The retry policy as the pure function it is, over the whole table of what may fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrid_async.config import Retries
from dgrid_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    ConfigError,
    DGridError,
    EventTooLargeError,
    Phase,
    PoolTimeoutError,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
)
from dgrid_async.failures import from_event, from_response
from dgrid_async.retry import delay, retryable

MANY = Retries(max_attempts=1000)
AGAIN = {408, 409, 429, 500, 502, 503, 504, 507, 520, 524, 529, 599}
NEVER = {300, 307, 400, 401, 402, 403, 404, 405, 410, 413, 415, 418, 422, 451}
FINAL = [
    "invalid_request",
    "model_not_found",
    "insufficient_user_quota",
    "prompt_blocked",
    "sensitive_words_detected",
    "access_denied",
    "invalid_api_key",
]


def failure(status: int, **more: object) -> APIStatusError:
    return APIStatusError("x", status=status, **more)  # type: ignore[arg-type]  # keywords of the class


@pytest.mark.parametrize("status", sorted(AGAIN | NEVER))
def test_status_decides(status: int) -> None:
    assert retryable(from_response(status, {}, b"{}")) is (status in AGAIN)
    assert retryable(failure(status)) is (status in AGAIN)


@pytest.mark.parametrize("place", ["code", "type"])
@pytest.mark.parametrize("name", [*FINAL, "INVALID_API_KEY"])
def test_final_names_forbid_on_any_status(name: str, place: str) -> None:
    assert [status for status in AGAIN | NEVER if retryable(failure(status, **{place: name}))] == []


@pytest.mark.parametrize("status", [402, 403, 429, 500, 503])
@pytest.mark.parametrize("code", ["insufficient_quota", "billing_error", "insufficient_user_quota"])
def test_an_empty_balance_is_final(code: str, status: int) -> None:
    assert not retryable(from_response(status, {}, b'{"error": {"code": "%s"}}' % code.encode()))
    assert not retryable(from_event({"type": code}, {}))


@pytest.mark.parametrize(("status", "again"), [(400, False), (408, True), (409, True), (429, True), (500, False), (503, False)])
def test_the_type_of_a_mere_refusal(status: int, again: bool) -> None:
    assert retryable(failure(status, type="invalid_request_error", code="rate_limit_exceeded")) is again


@pytest.mark.parametrize("code", [None, 429, "429", "rate_limit_exceeded", "server_error", "", 0])
@pytest.mark.parametrize("status", [429, 500])
def test_other_codes_leave_it_to_the_status(code: str | int | None, status: int) -> None:
    assert retryable(failure(status, code=code))
    assert not retryable(failure(404, code=code))


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("code", [None, "invalid_request", "rate_limit_exceeded"])
@pytest.mark.parametrize(("told", "again"), [("true", True), (" TRUE ", True), ("false", False), ("False", False)])
def test_the_gateways_own_word_wins(told: str, again: bool, code: str | None, status: int) -> None:
    assert retryable(failure(status, code=code, headers={"x-should-retry": told})) is again
    quota = from_response(402, {"x-should-retry": told}, b"{}")
    assert retryable(quota) is again


@pytest.mark.parametrize("told", ["", "maybe", "1", "0"])
def test_a_word_without_meaning_is_none(told: str) -> None:
    assert retryable(failure(500, headers={"x-should-retry": told}))
    assert not retryable(failure(400, headers={"x-should-retry": told}))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (APIConnectionError("x"), True),
        (StreamTruncatedError("x"), True),
        (StreamDecodeError("x"), False),
        (UnexpectedResponseError("x"), False),
        (EventTooLargeError("x"), False),
        (PoolTimeoutError("x"), False),
        (ClientClosedError("x"), False),
        (ConfigError("x"), False),
        (DGridError("x"), False),
    ],
)
def test_what_has_no_status(error: DGridError, again: bool) -> None:
    assert retryable(error) is again
    assert (delay(MANY, 1, error) is not None) is again


@pytest.mark.parametrize(
    ("phase", "again"), [("connect", True), ("idle", True), ("first_event", False), ("event", False), ("total", False)]
)
def test_limits_of_one_attempt_and_of_the_whole_call(phase: Phase, again: bool) -> None:
    assert retryable(APITimeoutError("x", phase=phase, seconds=1.0)) is again


def test_the_text_never_decides() -> None:
    assert not retryable(APIStatusError("503 overloaded, please retry", status=400))
    assert retryable(APIStatusError("invalid_request: do not retry", status=500))


# ------------------------------------------------------------------------------------------------------- the wait


def test_attempts_are_counted_with_the_first() -> None:
    for most in (1, 2, 5):
        policy = Retries(max_attempts=most)
        given = [delay(policy, attempt, failure(500)) is not None for attempt in range(1, 8)]
        assert given == [attempt < most for attempt in range(1, 8)]


def test_what_is_not_retryable_has_no_wait() -> None:
    assert delay(MANY, 1, failure(400, retry_after=1.0)) is None


def test_backoff_doubles_up_to_its_bound() -> None:
    policy = Retries(max_attempts=5000, initial_delay=0.5, max_delay=8.0)
    waits = [delay(policy, attempt, failure(429)) for attempt in range(1, 8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert delay(policy, 4000, failure(500)) == 8.0
    assert delay(Retries(initial_delay=0), 1, failure(500)) == 0
    assert delay(Retries(max_delay=0), 1, failure(500)) == 0
    assert delay(Retries(initial_delay=10, max_delay=2), 1, failure(500)) == 2


@given(
    st.integers(1, 900),
    st.floats(0, 1),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.sampled_from([failure(429), failure(500), APIConnectionError("x")]),
)
def test_jitter_is_full_and_bounded(attempt: int, draw: float, initial: float, most: float, error: DGridError) -> None:
    policy = Retries(max_attempts=1000, initial_delay=initial, max_delay=most)
    wait = delay(policy, attempt, error, draw=draw)
    bound = delay(policy, attempt, error, draw=1.0)
    assert wait is not None
    assert bound is not None
    assert wait == draw * bound
    assert 0 <= wait <= bound <= most
    assert delay(policy, attempt, error, draw=0.0) == 0.0
    assert delay(policy, attempt, error, draw=draw) == wait


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("attempt", [1, 2, 9])
@pytest.mark.parametrize("asked", [0.0, 0.4, 59.0, 60.0])
def test_what_the_gateway_asks_for_is_exact(asked: float, attempt: int, draw: float) -> None:
    assert delay(MANY, attempt, failure(429, retry_after=asked), draw=draw) == asked


@pytest.mark.parametrize("asked", [60.1, 864_000.0, float("inf")])
def test_a_wait_above_the_cap_gives_up_with_the_wait_on_the_error(asked: float) -> None:
    error = failure(429, retry_after=asked)
    assert delay(MANY, 1, error) is None
    assert error.retry_after == asked
    assert delay(Retries(max_retry_after=10_000_000), 1, failure(429, retry_after=864_000.0)) == 864_000.0


@pytest.mark.parametrize(
    ("left", "wait"), [(None, 5.0), (5.1, 5.0), (5.0, None), (4.9, None), (0.0, None), (-1.0, None), (float("inf"), 5.0)]
)
def test_a_wait_that_does_not_fit_gives_up(left: float | None, wait: float | None) -> None:
    assert delay(MANY, 1, failure(503, retry_after=5.0), left=left) == wait
    assert delay(Retries(initial_delay=5.0), 1, failure(503), left=left) == wait


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, b"{}", 1.5),
        ({"retry-after": "9"}, b'{"error": {"metadata": {"retry_after_seconds": 3}}}', 9.0),
        ({}, b'{"error": {"details": [{"retryDelay": "7s"}], "metadata": {"retry_after_seconds": 3}}}', 7.0),
        ({}, b'{"error": {"metadata": {"retry_after_seconds": 3}}}', 3.0),
        ({}, b"{}", 0.25),
        ({"retry-after": "-5"}, b"{}", 0.25),
        ({"retry-after": "61"}, b"{}", None),
        ({"x-should-retry": "false", "retry-after": "1"}, b"{}", None),
    ],
)
def test_from_the_wire_to_the_wait(headers: dict[str, str], body: bytes, wait: float | None) -> None:
    assert delay(Retries(), 1, from_response(429, headers, body), draw=0.5) == wait
