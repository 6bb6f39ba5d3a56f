"""A body's bytes to events, reply and ending: what a gateway may do to it, without a socket."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async.apis.chat_completions.endpoint import ENDPOINT as CHAT
from dgrid_async.apis.generate_content.endpoint import ENDPOINT as GEMINI
from dgrid_async.apis.messages.endpoint import ENDPOINT as MESSAGES
from dgrid_async.apis.responses.endpoint import ENDPOINT as RESPONSES
from dgrid_async.body import Body, reply_of
from dgrid_async.endpoint import Progress
from dgrid_async.errors import (
    APIConnectionError,
    APIStatusError,
    DGridError,
    EventTooLargeError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
)

KEY = "sk-secret-0123456789"


@dataclass
class Head:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-request-id": "req_1"})
    content_type: str = "text/event-stream"
    request_id: str | None = "req_1"
    secret: str | None = KEY


def new(endpoint: Any = CHAT, limit: int = 1 << 20) -> Body[Any, Any]:
    return Body(endpoint, Head(), limit)


def sse(*values: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % (v if isinstance(v, bytes) else json.dumps(v).encode()) for v in values)


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def taken(body: Body[Any, Any]) -> list[Any]:
    events = []
    while (event := body.take()) is not None:
        events.append(event)
    return events


def texts(body: Body[Any, Any]) -> list[str]:
    return [CHAT.text_of(event) for event in taken(body)]


def test_a_body_begins_with_nothing() -> None:
    body = new()
    assert (body.take(), body.snapshot(), body.usage, body.given, body.over) == (None, None, None, 0, False)
    assert body.progress is Progress.OPEN


def test_an_event_counts_when_it_is_taken() -> None:
    body = new()
    body.feed(sse(chunk("a"), chunk("b")))
    assert (len(body.ready), body.given, body.snapshot()) == (2, 0, None)
    body.take()
    assert (len(body.ready), body.given) == (1, 1)
    assert body.snapshot().text == "a"


def test_the_answer_is_whole_before_the_body_ends() -> None:
    body = new()
    body.feed(sse(chunk("a"), chunk(finish="stop")))
    assert texts(body) == ["a", ""]
    assert body.progress is Progress.COMPLETE
    assert not body.over
    body.feed(sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}, b"[DONE]"))
    assert len(taken(body)) == 1
    assert body.over
    assert body.verdict() is None
    assert body.usage.completion_tokens == 2


def test_what_follows_the_last_word_does_not_count() -> None:
    """A format with a last word: neither events nor errors behind it."""
    body = new(MESSAGES)
    start = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}}
    body.feed(sse(start, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}))
    body.feed(sse({"type": "error", "error": {"type": "overloaded_error", "message": "late"}}))
    assert len(taken(body)) == 3
    assert body.over
    assert body.verdict() is None


@pytest.mark.parametrize("tail", [b"", b"[DONE]"])
def test_no_terminal_event_is_a_truncation(tail) -> None:
    body = new()
    body.feed(sse(chunk("a"), *([tail] if tail else [])))
    assert texts(body) == ["a"]
    if not body.over:
        body.end()
    verdict = body.verdict()
    assert type(verdict) is StreamTruncatedError
    assert body.snapshot().text == "a"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"data: [DONE]\n\n", b": PING\n\n", b"\xef\xbb\xbf", b"   "])
def test_an_answer_of_nothing_is_a_truncation(data) -> None:
    body = new()
    if data:
        body.feed(data)
    if not body.over:
        body.end()
    assert type(body.verdict()) is StreamTruncatedError
    assert body.snapshot() is None


def test_a_cause_is_told_unless_the_answer_is_whole() -> None:
    cause = APIConnectionError("cut")
    for finish, want in ((None, cause), ("stop", None)):
        body = new()
        body.feed(sse(chunk("a", finish)))
        taken(body)
        body.end(cause)
        assert body.verdict() is want


def test_an_error_of_the_gateway_comes_behind_what_came_before_it() -> None:
    body = new()
    body.feed(sse(chunk("a"), {"error": {"message": "busy", "type": "overloaded_error"}}, chunk("never")))
    assert texts(body) == ["a"]
    assert body.over
    verdict = body.verdict()
    assert type(verdict) is OverloadedError
    assert verdict.status == 529
    assert verdict.request_id == "req_1"


def test_an_error_of_the_gateway_counts_behind_a_whole_answer_too() -> None:
    body = new()
    body.feed(sse(chunk("a", "stop"), {"error": {"message": "busy", "type": "overloaded_error"}}))
    taken(body)
    assert type(body.verdict()) is OverloadedError


def test_nonsense_behind_a_whole_answer_does_not_count() -> None:
    body = new()
    body.feed(sse(chunk("a", "stop"), b"{broken"))
    taken(body)
    assert body.over
    assert body.verdict() is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{broken", "no JSON"),
        (b"plain words", "no JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"5", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b'{"choices": 5}', "does not allow"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_event_is_a_decode_error_behind_the_events_before_it(line, words) -> None:
    body = new()
    body.feed(sse(chunk("a"), line, chunk("never")))
    assert texts(body) == ["a"]
    verdict = body.verdict()
    assert type(verdict) is StreamDecodeError
    assert words in str(verdict)
    assert verdict.excerpt
    assert len(str(verdict)) < 1000


def test_an_excerpt_never_shows_the_key() -> None:
    body = new()
    body.feed(sse(b"your key is " + KEY.encode()))
    verdict = body.verdict()
    assert KEY not in str(verdict)
    assert KEY not in verdict.excerpt
    page = new()
    page.feed(b"<p>" + KEY.encode())
    assert KEY not in str(page.verdict())
    with pytest.raises(UnexpectedResponseError) as caught:
        reply_of(CHAT, Head(), b"<p>" + KEY.encode())
    assert KEY not in str(caught.value)


def test_an_event_that_cannot_follow_is_a_decode_error_and_does_not_count() -> None:
    body = new(MESSAGES)
    start = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}}
    body.feed(sse(start, start, {"type": "message_stop"}))
    assert len(taken(body)) == 1
    assert (body.given, body.over) == (1, True)
    verdict = body.verdict()
    assert type(verdict) is StreamDecodeError
    assert isinstance(verdict.__cause__, ValueError)


def test_a_failing_reply_is_an_error_and_its_event_does_not_count() -> None:
    body = new(RESPONSES)
    failed = {"id": "r", "object": "response", "status": "failed", "output": [], "error": {"code": "rate_limit_exceeded"}}
    body.feed(sse({"type": "response.failed", "response": failed}))
    assert taken(body) == []
    assert type(body.verdict()) is RateLimitError


def test_a_named_error_event_needs_no_json() -> None:
    body = new()
    body.feed(b"event: error\ndata: upstream said no\n\n")
    verdict = body.verdict()
    assert isinstance(verdict, APIStatusError)
    assert "upstream said no" in str(verdict)


@pytest.mark.parametrize(
    "noise", [b": PING\n\n", b"event: ping\ndata: \n\n", b"event: ping\ndata: x\n\n", b"data:\n\n", b"id: 4\n\n"]
)
def test_keep_alives_are_no_events(noise) -> None:
    body = new()
    body.feed(noise + sse(chunk("a")) + noise + sse(chunk("b", "stop")) + noise)
    assert texts(body) == ["a", "b"]
    assert not body.over
    body.end()
    assert body.verdict() is None


def test_a_last_event_without_its_blank_line_counts() -> None:
    body = new()
    body.feed(sse(chunk("a")) + sse(chunk("b", "stop")).rstrip())
    assert texts(body) == ["a"]
    body.end()
    assert texts(body) == ["b"]
    assert body.verdict() is None


def test_an_event_that_is_a_keep_alive_by_its_data_is_no_event() -> None:
    body = new(MESSAGES)
    body.feed(sse({"type": "ping"}, {"type": "message_stop"}))
    assert len(taken(body)) == 1


def test_an_event_in_a_list_of_one_is_that_event() -> None:
    body = new(GEMINI)
    body.feed(sse([{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}]))
    assert [GEMINI.text_of(event) for event in taken(body)] == ["a"]


# ------------------------------------------------------------------------------------------------- split characters

HALVES = (chunk("\ud83d"), chunk("\ude00"), chunk(finish="stop"))


def test_halves_of_a_character_are_joined() -> None:
    body = new()
    body.feed(sse(*HALVES))
    assert "".join(texts(body)) == "😀"


@pytest.mark.parametrize("ending", ["done", "end", "error", "broken", "named"])
def test_an_event_held_back_for_its_other_half_is_not_lost_when_none_comes(ending) -> None:
    body = new()
    body.feed(sse(chunk("a"), chunk("\ud83d", "stop")))
    assert texts(body) == ["a"]
    if ending == "done":
        body.feed(sse(b"[DONE]"))
    elif ending == "broken":
        body.feed(sse(b"{broken"))
    elif ending == "named":
        body.feed(b"event: error\ndata: no\n\n")
    elif ending == "error":
        body.feed(sse({"error": {"message": "no"}}))
        body.end()
    else:
        body.end()
    assert texts(body) == ["\ufffd"]
    assert body.over
    assert body.snapshot().text == "a\ufffd"
    assert (body.verdict() is None) == (ending in {"done", "end", "broken"})


# --------------------------------------------------------------------------------------------- JSON outside the grammar


@pytest.mark.parametrize("pretty", [None, 2])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_stray_error_is_the_error_it_holds(pretty, wrapped) -> None:
    error: Any = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    text = json.dumps([error] if wrapped else error, indent=pretty).encode()
    for size in (len(text), 3):
        body = new(GEMINI)
        body.feed(b": PING\n\n")
        for at in range(0, len(text), size):
            if not body.over:
                body.feed(text[at : at + size])
        if not body.over:
            body.end()
        assert type(body.verdict()) is RateLimitError


def test_a_stray_text_that_is_no_error_is_a_decode_error() -> None:
    body = new()
    body.feed(sse(chunk("a")) + b'{"hello": 1}\n\n')
    assert texts(body) == ["a"]
    body.end()
    assert type(body.verdict()) is StreamDecodeError


def test_a_stray_text_that_ends_half_way_is_a_decode_error() -> None:
    body = new()
    body.feed(sse(chunk("a")) + b'{"error": {"mess')
    body.end()
    taken(body)
    assert type(body.verdict()) is StreamDecodeError


@pytest.mark.parametrize("blank", [b"\n\n", b"\n"])
@pytest.mark.parametrize(("length", "error"), [(40_000, InternalServerError), (80_000, StreamDecodeError)])
def test_a_large_stray_error_is_the_same_in_any_pieces(blank, length, error) -> None:
    lines = [
        b'{"error":',
        b'{"message":',
        b'"' + b"x" * (length // 2) + b'"',
        b',"code": 500,',
        b'"more": "' + b"y" * (length // 2) + b'"}}',
    ]
    data = sse(chunk("a")) + blank.join(lines) + b"\n\n" + b"z" * 40_000
    for size in (len(data), 20_000, 1000):
        body = new()
        for at in range(0, len(data), size):
            if not body.over:
                body.feed(data[at : at + size])
        if not body.over:
            body.end()
        assert texts(body) == ["a"]
        assert type(body.verdict()) is error


def test_what_came_before_a_stray_text_above_the_bound_is_given() -> None:
    data = sse(chunk("a")) + b'{"one":\n\n' * 60
    for size in (len(data), 7):
        body = new(limit=300)
        for at in range(0, len(data), size):
            if not body.over:
                body.feed(data[at : at + size])
        if not body.over:
            body.end()
        assert texts(body) == ["a"]
        assert type(body.verdict()) is EventTooLargeError


# ----------------------------------------------------------------------------------------------- no event stream at all


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>hello", b"  \n<html>", b"\xef\xbb\xbf<html>"])
def test_a_page_is_an_unexpected_response(page) -> None:
    for size in (len(page), 1):
        body = new()
        for at in range(0, len(page), size):
            if not body.over:
                body.feed(page[at : at + size])
        verdict = body.verdict()
        assert type(verdict) is UnexpectedResponseError
        assert "HTML" in str(verdict)
        assert (verdict.status, verdict.content_type, verdict.request_id) == (200, "text/event-stream", "req_1")


REPLY = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a{b}c"}, "finish_reason": "stop"}],
}


@pytest.mark.parametrize("size", [1, 2, 13, 10_000])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf \r\n", b" " * 100])
def test_a_whole_reply_is_taken_before_the_body_ends(size, before) -> None:
    """Some gateways never end it."""
    text = before + json.dumps(REPLY).encode()
    body = new()
    for at in range(0, len(text), size):
        assert not body.over
        body.feed(text[at : at + size])
    assert body.over
    assert "".join(texts(body)) == "a{b}c"
    assert body.verdict() is None


@pytest.mark.parametrize("behind", [b"x", b"}", b"\xff", b"\n\n" + json.dumps(REPLY).encode(), b"\n\ndata: {}\n\n"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_stands_behind_a_whole_reply_does_not_count(behind, size) -> None:
    """Nor does it matter in what pieces the two come: the reply may be taken before the rest is there."""
    text = json.dumps(REPLY).encode() + behind
    body = new()
    for at in range(0, len(text), size):
        if not body.over:
            body.feed(text[at : at + size])
    if not body.over:
        body.end()
    assert "".join(texts(body)) == "a{b}c"
    assert body.verdict() is None


def test_a_list_of_gemini_is_its_events() -> None:
    parts = [{"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}]} for text in "ab"]
    parts[-1]["candidates"][0]["finishReason"] = "STOP"
    for tail, want in (([], type(None)), ([{"error": {"code": 503, "status": "UNAVAILABLE"}}], APIStatusError)):
        body = new(GEMINI)
        body.feed(json.dumps(parts + tail).encode())
        assert "".join(GEMINI.text_of(event) for event in taken(body)) == "ab"
        assert isinstance(body.verdict(), want)


@pytest.mark.parametrize("text", [b'{"hello": 1}', b'{"hello": 1}x', b"[}", b'[{"a"', b"[5]", b"{}", b"[[]]"])
def test_json_that_is_no_reply_is_refused(text) -> None:
    body = new()
    body.feed(text)
    if not body.over:
        body.end()
    assert type(body.verdict()) in {UnexpectedResponseError, StreamDecodeError}
    assert body.snapshot() is None


def test_an_empty_list_is_a_truncation() -> None:
    body = new(GEMINI)
    body.feed(b"[]")
    assert type(body.verdict()) is StreamTruncatedError


def test_an_error_with_words_behind_it_is_the_error() -> None:
    body = new()
    body.feed(b'{"error": {"message": "busy", "type": "overloaded_error"}} and more words')
    body.end()
    assert type(body.verdict()) is OverloadedError


def test_half_a_reply_is_told_by_its_cause() -> None:
    cause = APIConnectionError("cut")
    body = new()
    body.feed(b'{"choices": [')
    body.end(cause)
    assert body.verdict() is cause


# --------------------------------------------------------------------------------------------------------------- bounds


def test_an_event_above_the_bound_is_told_behind_the_events_before_it() -> None:
    body = new(limit=1000)
    body.feed(sse(chunk("a")) + b"data: " + b"x" * 2000)
    if not body.over:
        body.feed(b"y")
    assert texts(body) == ["a"]
    assert type(body.verdict()) is EventTooLargeError


def test_an_unfinished_event_above_the_bound_is_told_at_the_end() -> None:
    body = new(limit=1000)
    body.feed(sse(chunk("a")) + b"data: " + b"x" * 1100)
    if not body.over:
        body.end()
    taken(body)
    assert type(body.verdict()) is EventTooLargeError


def test_a_whole_json_above_the_bound_is_too_large() -> None:
    body = new(limit=1000)
    for _ in range(5):
        if not body.over:
            body.feed(b'{"a": ' + b"1" * 300)
    assert type(body.verdict()) is EventTooLargeError


def test_a_json_text_in_many_pieces_costs_no_more_than_its_size() -> None:
    """Each piece looks like the end; trying them all would take the square of the size, minutes."""
    text = b'{"a":[' + b"[],[],{},{}" * 80_000
    body = new(limit=1 << 24)
    for at in range(0, len(text), 30):
        body.feed(text[at : at + 29])
        body.feed(text[at + 29 : at + 30])
    body.end()
    assert type(body.verdict()) is StreamDecodeError
    assert body._tried < 20 * len(text)


def test_spaces_for_ever_are_not_kept() -> None:
    body = new()
    for _ in range(1000):
        body.feed(b" \n" * 500)
    assert len(body._unclear) < 1000
    body.feed(sse(chunk("a", "stop")))
    assert texts(body) == ["a"]


def test_forgotten_events_are_not_given() -> None:
    body = new()
    body.feed(sse(chunk("a"), chunk("b")))
    body.take()
    body.forget()
    assert body.take() is None
    assert (body.given, body.over, body.snapshot().text) == (1, True, "a")


def test_a_reply_that_cannot_be_made_is_a_decode_error() -> None:
    body = new()
    body.feed(sse(chunk("a")))
    body.take()

    def fail() -> None:
        raise KeyError("x")

    body._accumulator = type("Broken", (), {"snapshot": staticmethod(fail)})()
    with pytest.raises(StreamDecodeError) as caught:
        body.snapshot()
    assert caught.value.events_received == 1


# ---------------------------------------------------------------------------------------------------------- plain answers


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"  \n", "empty"), (b"<html>", "HTML"), (b"hello", "not JSON"), (b"[]", "shape"), (b'{"a": 1}', "shape")],
)
def test_a_plain_answer_that_is_none_says_what_it_is(data, words) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        reply_of(CHAT, Head(content_type="text/plain"), data)
    assert words in str(caught.value)
    assert caught.value.content_type == "text/plain"
    assert caught.value.request_id == "req_1"


def test_a_plain_answer_is_the_reply_with_its_request_id() -> None:
    reply = reply_of(CHAT, Head(), json.dumps(REPLY).encode())
    assert (reply.text, reply.request_id) == ("a{b}c", "req_1")


# ----------------------------------------------------------------------------------------------------------------- fuzz


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_whatever_comes_nothing_foreign_is_raised(data) -> None:
    """Random damage to a stream: the ending is an answer or one of our errors, never another exception."""
    endpoint = data.draw(st.sampled_from([CHAT, MESSAGES, RESPONSES, GEMINI]))
    seed = data.draw(st.integers(0, 10_000))
    rnd = random.Random(seed)
    values: list[Any] = [None, 5, "x", [], {}, True, 1e400, [{}], {"type": "x"}, {"index": 0}]
    names = [
        "type",
        "index",
        "delta",
        "choices",
        "candidates",
        "message",
        "response",
        "item",
        "content_block",
        "usage",
        "parts",
        "content",
    ]
    kinds = ["message_start", "content_block_delta", "response.created", "response.output_item.added", "message_delta", "error"]
    blob = b""
    for _ in range(rnd.randint(1, 8)):
        event: dict[str, Any] = {rnd.choice(names): rnd.choice(values) for _ in range(rnd.randint(0, 5))}
        if rnd.random() < 0.7:
            event["type"] = rnd.choice(kinds)
        text = json.dumps(event).encode()
        if rnd.random() < 0.2:
            text = text[: rnd.randint(0, len(text))]
        blob += (
            rnd.choice([b"data: ", b"data:", b"", b"event: error\ndata: "]) + text + rnd.choice([b"\n\n", b"\r\n\r\n", b"\n"])
        )
    body = new(endpoint)
    at = 0
    while at < len(blob) and not body.over:
        size = rnd.randint(1, 40)
        body.feed(blob[at : at + size])
        at += size
        taken(body)
        try:
            body.snapshot()
        except StreamDecodeError:
            return
    if not body.over:
        body.end()
        taken(body)
    verdict = body.verdict()
    assert verdict is None or isinstance(verdict, DGridError)
