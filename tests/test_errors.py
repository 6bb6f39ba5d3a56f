"""The errors as values: what they carry survives copying and pickling, and their text says what helps."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from dgrid_async import errors
from dgrid_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    DGridError,
    EventTooLargeError,
    InsufficientQuotaError,
    OverloadedError,
    PoolTimeoutError,
    RateLimitError,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]


def example(cls: type[DGridError]) -> DGridError:
    """Return an error of a class with every attribute set to something other than its default."""
    more: dict[str, Any] = {}
    if issubclass(cls, APIStatusError):
        more = {
            "status": 418,
            "code": "teapot",
            "type": "tea_error",
            "body": {"error": {"message": "short", "details": [1, None]}},
            "headers": {"x-request-id": "req_7", "retry-after": "3"},
            "retry_after": 3.0,
            "request_id": "req_7",
        }
    elif issubclass(cls, APITimeoutError):
        more = {"phase": "idle", "seconds": 2.5, "request_id": "req_7"}
    elif issubclass(cls, UnexpectedResponseError):
        more = {"status": 204, "content_type": "text/html", "excerpt": "<html>", "request_id": "req_7"}
    elif issubclass(cls, StreamDecodeError):
        more = {"excerpt": "data: ?", "request_id": "req_7"}
    elif issubclass(cls, EventTooLargeError):
        more = {"limit": 64}
    elif issubclass(cls, PoolTimeoutError):
        more = {"in_use": 5, "waiting": 6}
    error = cls("what happened", **more)
    error.snapshot = {"content": ["so far"]}
    error.events_received = 3
    error.request_id = "req_7"
    error.attempts = (APIConnectionError("lost"), RateLimitError("slow", status=429, retry_after=1.0))
    return error


def state(error: DGridError) -> dict[str, Any]:
    return {**vars(error), "attempts": [(type(earlier), vars(earlier)) for earlier in error.attempts]}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", CLASSES)
def test_pickles_whole(cls: type[DGridError], protocol: int) -> None:
    error = example(cls)
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is cls
    assert twin is not error
    assert state(twin) == state(error)
    assert (str(twin), twin.args) == (str(error), error.args)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", CLASSES)
def test_copies_whole(cls: type[DGridError], copied: Any) -> None:
    error = example(cls)
    twin = copied(error)
    assert type(twin) is cls
    assert state(twin) == state(error)
    twin.message = "another"
    assert error.message == "what happened"


def test_pickles_a_class_of_the_callers_own() -> None:
    error = OwnError("mine", status=400, extra=[1])
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is OwnError
    assert (twin.extra, twin.status, str(twin)) == ([1], 400, "mine")


class OwnError(APIStatusError):
    def __init__(self, message: str, *, status: int, extra: list[int]) -> None:
        super().__init__(message, status=status)
        self.extra = extra


def test_notes_survive() -> None:
    error = DGridError("x")
    error.add_note("while doing y")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while doing y"]


def test_text_is_the_message_the_request_and_the_attempts() -> None:
    error = RateLimitError("429: slow down", status=429)
    assert str(error) == "429: slow down"
    error.request_id = "req_1"
    assert str(error) == "429: slow down (request req_1)"
    error.attempts = (APIConnectionError("lost"), APIConnectionError("lost"))
    assert str(error) == "429: slow down (request req_1) (after 3 attempts)"
    error.request_id = None
    assert str(error) == "429: slow down (after 3 attempts)"


def test_a_changed_message_is_the_text() -> None:
    error = APIConnectionError("lost")
    error.message = "host: lost"
    assert str(error) == "host: lost"


def test_defaults_say_that_nothing_came() -> None:
    error = DGridError("x")
    assert (error.snapshot, error.events_received, error.request_id, error.attempts) == (None, 0, None, ())
    refusal = APIStatusError("x", status=500)
    assert (refusal.code, refusal.type, refusal.body, refusal.headers, refusal.retry_after) == (None, None, None, {}, None)


def test_status_has_the_vendors_name_too() -> None:
    assert OverloadedError("x", status=529).status_code == 529


def test_headers_are_the_errors_own() -> None:
    headers = {"a": "1"}
    error = APIStatusError("x", status=500, headers=headers)
    headers["a"] = "2"
    assert error.headers == {"a": "1"}


def test_quota_has_the_status_it_came_with() -> None:
    assert InsufficientQuotaError("x", status=403).status == 403


def test_cut_stream_carries_what_had_arrived() -> None:
    error = StreamTruncatedError("cut")
    error.snapshot = "so far"
    with pytest.raises(DGridError) as caught:
        raise error
    assert caught.value.snapshot == "so far"
