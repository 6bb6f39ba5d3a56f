"""Error bodies of every vendor, by HTTP and inside a stream: class, status, code, type, message, wait, and no key."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async.codec import encode
from dgrid_async.errors import APIStatusError, InsufficientQuotaError
from dgrid_async.failures import error_in, excerpt, from_event, from_response, looks_like_html, request_id_of
from tests.properties.budgets import brief, long, slow

KEY = 'sk-dgrid-01"\\/é+=='.replace("é", "e")
NOW = 1_700_000_000.0

OPENAI = {"error": {"message": "no such thing", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
CLAUDE = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_body"}
GEMINI = {"error": {"code": 429, "message": "exhausted", "status": "RESOURCE_EXHAUSTED"}}
ENVELOPE = {"code": 1002, "message": "bad parameter", "data": None}
FAILED = {
    "type": "response.failed",
    "response": {"id": "resp_1", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}},
}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


# ------------------------------------------------------------------------------------------------------- shapes

SHAPES: list[tuple[str, Any, str | int | None, str | None, str]] = [
    ("openai", OPENAI, "model_not_found", "invalid_request_error", "no such thing"),
    ("claude", CLAUDE, None, "overloaded_error", "Overloaded"),
    ("gemini", GEMINI, 429, "RESOURCE_EXHAUSTED", "exhausted"),
    ("gemini list", [GEMINI], 429, "RESOURCE_EXHAUSTED", "exhausted"),
    ("gemini longer list", [GEMINI, {"candidates": []}], 429, "RESOURCE_EXHAUSTED", "exhausted"),
    ("responses flat", {"type": "error", "code": "server_error", "message": "m", "param": None}, "server_error", None, "m"),
    (
        "responses nested",
        {"type": "error", "error": {"type": "server_error", "code": None, "message": "m"}},
        None,
        "server_error",
        "m",
    ),
    ("responses failed", FAILED, "rate_limit_exceeded", None, "slow"),
    ("bare string", {"error": "out of luck"}, None, None, "out of luck"),
    ("quoted upstream", {"error": json.dumps(OPENAI)}, "model_not_found", "invalid_request_error", "no such thing"),
    ("envelope", ENVELOPE, 1002, None, "bad parameter"),
    ("success false", {"success": False, "message": "not today"}, None, None, "not today"),
    ("code a string", {"error": {"code": "429", "message": "m"}}, "429", None, "m"),
    ("code null", {"error": {"code": None, "type": "api_error", "message": "m"}}, None, "api_error", "m"),
    ("code empty", {"error": {"code": "", "type": "api_error", "message": "m"}}, None, "api_error", "m"),
    ("code of another kind", {"error": {"code": [1], "message": "m"}}, None, None, "m"),
    ("msg", {"error": {"msg": "m"}}, None, None, "m"),
    ("detail", {"detail": "Not Found"}, None, None, "Not Found"),
    ("problem details", {"type": "about:blank", "title": "Gone", "status": 410}, None, "about:blank", "Gone"),
    ("a list of details", {"detail": [{"msg": "field required"}]}, None, None, '{"detail":[{"msg":"field required"}]}'),
    ("no words at all", {"error": {"code": 7}}, 7, None, '{"code":7}'),
    ("text", "upstream connect error", None, None, "upstream connect error"),
    ("true", {"error": True}, None, None, "true"),
    ("a number", 7, None, None, "7"),
]


@pytest.mark.parametrize(
    ("value", "code", "kind", "message"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES]
)
def test_http_error_of_any_vendor(value: Any, code: Any, kind: str | None, message: str) -> None:
    error = from_response(500, {"x-request-id": "req_head"}, body(value))
    assert (error.status, error.code, error.type) == (500, code, kind)
    shown = next((part for part in (kind, code) if part), None)
    assert error.message == (f"500 {shown}: {message}" if shown else f"500: {message}")
    assert error.body == value
    assert error.headers == {"x-request-id": "req_head"}
    assert error.request_id == "req_head"
    assert error.retry_after is None
    assert pickle.loads(pickle.dumps(error)).body == value


@pytest.mark.parametrize(
    ("value", "code", "kind", "message"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES]
)
def test_error_inside_a_stream_of_any_vendor(value: Any, code: Any, kind: str | None, message: str) -> None:
    found = error_in(value)
    error = from_event(value if found is None else found, {})
    assert (error.code, error.type) == (code, kind)
    assert error.message.endswith(f": {message}")
    assert 400 <= error.status < 600


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b" \r\n"])
def test_body_as_text(prefix: bytes) -> None:
    assert from_response(400, {}, prefix + body(OPENAI)).body == OPENAI
    error = from_response(502, {}, prefix + b"Bad Gateway\n")
    assert (error.message, error.body) == ("502: Bad Gateway", "Bad Gateway")


@pytest.mark.parametrize(
    "text",
    [
        b"data: %s\n\n",
        b"data:%s",
        b"event: error\ndata: %s\n\n",
        b"event: error\r\ndata: %s\r\n\r\n",
        b": PING\n\nevent: error\ndata: %s\n\ndata: [DONE]\n\n",
    ],
)
def test_body_in_the_clothes_of_an_event(text: bytes) -> None:
    error = from_response(429, {"content-type": "text/event-stream"}, text % body(CLAUDE))
    assert (error.type, error.body) == ("overloaded_error", CLAUDE)


@pytest.mark.parametrize(
    "page", [b"<html><h1>502 Bad Gateway</h1></html>", b"\n <!DOCTYPE html>", b"\xef\xbb\xbf<?xml?><Error/>"]
)
def test_body_that_is_a_page(page: bytes) -> None:
    error = from_response(502, {"content-type": "application/json"}, page)
    assert error.message.startswith("502: an HTML page: <")
    assert isinstance(error.body, str)


@pytest.mark.parametrize("nothing", [b"", b" \n", b"null", b"{}", b"[]", b'""', b'{"error": null}'])
def test_body_without_details(nothing: bytes) -> None:
    error = from_response(503, {}, nothing)
    assert type(error).__name__ == "ServiceUnavailableError"
    assert error.message in {"503: no details were given", '503: {"error":null}'}


def test_body_that_is_huge() -> None:
    error = from_response(500, {}, body({"error": {"message": "m" * 1_000_000}}))
    assert len(str(error)) < 2100
    assert str(error).endswith("…")
    assert len(error.body["error"]["message"]) == 1_000_000
    cut = from_response(500, {}, body({"error": {"message": "m" * 100_000}})[:64_000])
    assert len(str(cut)) < 2100
    assert len(from_response(500, {}, body({"error": {"other": "m" * 100_000}})).message) < 300


def test_body_that_cannot_be_read_by_the_rules() -> None:
    error = from_response(500, {}, b'{"error": {"message": "half \\ud83d and \xff", "n": NaN, "i": %s}}' % (b"9" * 5000))
    assert error.message == "500: half \ufffd and \ufffd"
    str(error).encode()
    for depth in (900, 5000):
        deep = b'{"error":' * depth + b'"deep"' + b"}" * depth
        assert from_response(500, {}, deep).status == 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 600) | st.floats() | st.text(max_size=5) | st.just('{"error": 1}'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "response",
                    "type",
                    "code",
                    "status",
                    "message",
                    "details",
                    "metadata",
                    "retryDelay",
                    "retry_after_seconds",
                    "data",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def check_error(value: Any) -> None:
    raw = encode(value)
    for error in (from_response(429, {}, raw, now=NOW, secret=KEY), from_event(json.loads(raw), {}, secret=KEY)):
        assert isinstance(error, APIStatusError)
        assert 400 <= error.status < 600
        assert error.message.startswith(str(error.status))
        assert error.retry_after is None or error.retry_after >= 0


@brief(40)
@given(JSON)
def test_any_json_is_some_error(value: Any) -> None:
    check_error(value)


@slow
@long(150)
@given(JSON)
def test_much_json_is_some_error(value: Any) -> None:
    check_error(value)


# ------------------------------------------------------------------------------------------------------- statuses

BY_NAME = {
    "overloaded_error": (529, "OverloadedError"),
    "rate_limit_error": (429, "RateLimitError"),
    "rate_limit_exceeded": (429, "RateLimitError"),
    "RESOURCE_EXHAUSTED": (429, "RateLimitError"),
    "UNAVAILABLE": (503, "ServiceUnavailableError"),
    "api_error": (500, "InternalServerError"),
    "server_error": (500, "InternalServerError"),
    "INTERNAL": (500, "InternalServerError"),
    "authentication_error": (401, "AuthenticationError"),
    "UNAUTHENTICATED": (401, "AuthenticationError"),
    "invalid_api_key": (401, "AuthenticationError"),
    "permission_error": (403, "PermissionDeniedError"),
    "PERMISSION_DENIED": (403, "PermissionDeniedError"),
    "not_found_error": (404, "NotFoundError"),
    "model_not_found": (404, "NotFoundError"),
    "invalid_request_error": (400, "BadRequestError"),
    "invalid_request": (400, "BadRequestError"),
    "INVALID_ARGUMENT": (400, "BadRequestError"),
    "prompt_blocked": (400, "BadRequestError"),
    "sensitive_words_detected": (400, "BadRequestError"),
    "request_too_large": (413, "RequestTooLargeError"),
    "timeout_error": (504, "InternalServerError"),
    "DEADLINE_EXCEEDED": (504, "InternalServerError"),
    "billing_error": (402, "InsufficientQuotaError"),
    "insufficient_quota": (402, "InsufficientQuotaError"),
    "insufficient_user_quota": (402, "InsufficientQuotaError"),
    "never_heard_of_it": (500, "InternalServerError"),
}


@pytest.mark.parametrize("place", ["type", "code", "status"])
@pytest.mark.parametrize(("name", "status", "cls"), [(name, *rest) for name, rest in BY_NAME.items()])
def test_error_inside_a_stream_has_its_own_status(name: str, status: int, cls: str, place: str) -> None:
    for error in ({place: name, "message": "m"}, {"type": "error", "error": {place: name, "message": "m"}}):
        found = from_event(error, {})
        assert (found.status, type(found).__name__) == (status, cls)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429, "type": "api_error"}, 429),
        ({"code": "503"}, 503),
        ({"status": 529, "type": "server_error"}, 529),
        ({"status_code": 413}, 413),
        ({"code": 200}, 500),
        ({"code": 1002}, 500),
        ({"code": "4\uff129"}, 500),
        ({"code": "rate_limit_exceeded", "type": "server_error"}, 429),
        ({"code": 403, "type": "insufficient_user_quota"}, 402),
        ("words", 500),
        ({}, 500),
    ],
)
def test_status_by_what_is_said_most_exactly(error: Any, status: int) -> None:
    assert from_event(error, {}).status == status


@pytest.mark.parametrize("status", [402, 403, 429, 500])
@pytest.mark.parametrize(
    "code", ["insufficient_user_quota", "insufficient_quota", "billing_error", "pre_consume_token_quota_failed"]
)
def test_quota_codes_make_the_class_and_leave_the_status(status: int, code: str) -> None:
    for error in ({"code": code}, {"type": code}, {"code": code.upper(), "type": "new_api_error"}):
        found = from_response(status, {}, body({"error": error}))
        assert (type(found), found.status) == (InsufficientQuotaError, status)


def test_http_status_stands_whatever_the_body_says() -> None:
    for status, value in ((400, CLAUDE), (500, OPENAI), (503, GEMINI)):
        assert from_response(status, {}, body(value)).status == status


# ------------------------------------------------------------------------------------------------------- error_in


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (OPENAI, OPENAI["error"]),
        (CLAUDE, CLAUDE["error"]),
        ([GEMINI], GEMINI["error"]),
        ({"choices": [], "error": {"message": "m"}}, {"message": "m"}),
        ({"error": "words"}, "words"),
        ({"type": "error", "message": "m"}, {"type": "error", "message": "m"}),
        ({"success": False}, {"success": False}),
        (ENVELOPE, ENVELOPE),
        ({"code": "fail", "message": "m"}, {"code": "fail", "message": "m"}),
        ({"code": 500, "message": "m", "data": {"a": 1}}, {"code": 500, "message": "m", "data": {"a": 1}}),
    ],
)
def test_error_found_in_a_2xx(value: Any, found: Any) -> None:
    assert error_in(value) == found


@pytest.mark.parametrize(
    "value",
    [
        {"error": None, "choices": []},
        {"error": {}},
        {"error": ""},
        {"success": True, "data": []},
        {"code": 0, "message": "ok", "data": {}},
        {"code": 200, "message": "", "data": None},
        {"code": "success", "message": "", "data": None},
        {"code": None, "message": "m"},
        {"code": 7, "message": "m", "data": {"a": 1}},
        {"type": "message", "content": []},
        [GEMINI, GEMINI],
        [["error"]],
        [],
        "error",
        5,
        None,
    ],
)
def test_no_error_in_a_2xx(value: Any) -> None:
    assert error_in(value) is None


# ------------------------------------------------------------------------------------------------------- waits

DATE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "400", "retry-after": "30"}, 0.4),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30.0),
        ({"retry-after": "9" * 400}, float("inf")),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "\uff11"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 99 Foo 2015 99:99:99 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 10.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT"}, 10.0),
        ({"retry-after": "Sun Nov  6 08:49:37 1994"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:20 GMT"}, 0.0),
        ({"retry-after": "Sun, 06 Nov 99999 08:49:20 GMT"}, None),
    ],
)
def test_wait_by_header(headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert from_response(429, headers, b"{}", now=DATE.timestamp() - 10).retry_after == seconds


def test_a_date_says_nothing_without_a_clock() -> None:
    headers = {"retry-after": format_datetime(DATE, usegmt=True)}
    assert from_event({"message": "m"}, headers).retry_after is None
    assert from_response(429, headers, b"{}").retry_after is None
    assert from_event({"message": "m"}, {"retry-after": "2"}).retry_after == 2.0


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.text(max_size=30)
    | st.from_regex(r"[A-Z][a-z]{2},? [0-9]{1,2} [A-Z][a-z]{2} [0-9]{2,9} [0-9]{1,3}:[0-9:]{1,6} ?[-+0-9A-Z]{0,6}")
)
def test_any_retry_after_is_a_wait_or_none(text: str) -> None:
    seconds = from_response(429, {"retry-after": text}, b"", now=NOW).retry_after
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"details": [{"@type": "x"}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}, 34.5),
        ({"details": [{"retryDelay": "0s"}]}, 0.0),
        ({"details": [{"retryDelay": "soon"}, {"retryDelay": 5}, "x", None]}, None),
        ({"details": {"retryDelay": "1s"}}, None),
        ({"details": None}, None),
        ({"metadata": {"retry_after_seconds": 2}}, 2.0),
        ({"metadata": {"retry_after_seconds": "1.5"}}, 1.5),
        ({"metadata": {"retry_after_seconds": -1}}, None),
        ({"metadata": {"retry_after_seconds": True}}, None),
        ({"metadata": {"retry_after_seconds": 10**400}}, 1e18),
        ({"metadata": "x"}, None),
        ({"metadata": {"retry_after_seconds": 2}, "details": [{"retryDelay": "3s"}]}, 3.0),
        ({"metadata": {"retry_after_seconds": 2}, "error": {"details": [{"retryDelay": "3s"}]}}, 3.0),
    ],
)
def test_wait_by_body(error: Any, seconds: float | None) -> None:
    assert from_response(429, {}, encode({"error": error})).retry_after == seconds
    assert from_event(error, {}).retry_after == seconds
    assert from_response(429, {"retry-after": "7"}, encode({"error": error})).retry_after == 7.0


# ------------------------------------------------------------------------------------------------------- the request's id


def test_request_id_by_the_order_of_headers() -> None:
    names = ["dgrid-request-id", "x-request-id", "request-id", "x-oneapi-request-id", "x-generation-id", "cf-ray"]
    for n, name in enumerate(names):
        headers = {other: f"by {other}" for other in reversed(names[n:])}
        assert request_id_of(headers) == f"by {name}"
        assert from_response(500, headers, body(CLAUDE)).request_id == f"by {name}"
    assert request_id_of({"dgrid-request-id": "", "cf-ray": "ray"}) == "ray"
    assert request_id_of({"date": "x"}) is None
    assert from_response(500, {}, body(CLAUDE)).request_id == "req_body"


# ------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    "raw",
    [
        body({"error": {"message": f"bad key {KEY}", "code": KEY, "type": KEY, "param": [KEY, {KEY: KEY}]}}),
        body({"error": KEY}),
        body([{"error": {"message": KEY, "status": KEY}}]),
        body({"error": json.dumps({"error": {"message": KEY}})}),
        json.dumps({"error": {"message": KEY}}).replace("/", "\\/").replace("s", "\\u0073").encode(),
        f"bad key {KEY}".encode(),
        f"<html>{KEY}</html>".encode(),
        b"event: error\ndata: " + body({"error": {"message": KEY}}) + b"\n\n",
        body({"request_id": KEY, "other": KEY}),
    ],
)
def test_an_echoed_key_is_masked_everywhere(raw: bytes) -> None:
    headers = {"x-request-id": f"req {KEY}", "www-authenticate": f"Bearer {KEY}"}
    found = [from_response(401, headers, raw, secret=KEY)]
    if raw.startswith((b"{", b"[")):
        found.append(from_event(json.loads(raw), headers, secret=KEY))
    for error in found:
        shown = [str(error), repr(error), repr(vars(error)), json.dumps(error.body), error.headers["www-authenticate"]]
        assert [text for text in shown if KEY in text or json.dumps(KEY)[1:-1] in text] == []
        assert "***" in str(error)
    assert headers["www-authenticate"] == f"Bearer {KEY}"


def test_masking_leaves_the_event_alone() -> None:
    error = {"message": f"bad {KEY}"}
    assert from_event(error, {}, secret=KEY).message == "500: bad ***"
    assert error == {"message": f"bad {KEY}"}


# ------------------------------------------------------------------------------------------------------- excerpts


def test_excerpt_is_short_and_says_so() -> None:
    assert excerpt(b"short \xff") == "short \ufffd"
    assert excerpt("x" * 200) == "x" * 200
    assert excerpt(b"x" * 201) == excerpt("x" * 5000) == excerpt(b"x" * 5000) == "x" * 200 + "…"
    assert excerpt("é".encode() * 200) == "é" * 200


def test_excerpt_hides_a_key_also_at_its_cut() -> None:
    for before in range(260):
        text = "x" * before + KEY + "y" * 300
        for shown in (excerpt(text, secret=KEY), excerpt(text.encode(), secret=KEY)):
            assert KEY[:4] not in shown
            assert len(shown) <= 201


@pytest.mark.parametrize(
    ("data", "page"), [(b"<html>", True), (b"\xef\xbb\xbf \n<", True), (b"", False), (b"{}", False), (b"x<", False)]
)
def test_looks_like_html(data: bytes, page: bool) -> None:
    assert looks_like_html(data) is page
