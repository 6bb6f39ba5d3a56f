"""One contract for the four endpoints: what the floors above take for granted of each."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import dgrid_async
from dgrid_async import codec
from dgrid_async.body import Body, reply_of
from dgrid_async.endpoint import Endpoint, Progress
from dgrid_async.errors import APIStatusError, StreamTruncatedError
from dgrid_async.wire import Reply

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
SLICES = ("messages", "chat_completions", "responses", "generate_content")
PARAMS: Mapping[str, dict[str, Any]] = {
    "messages": {"model": "a/m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]},
    "chat_completions": {"model": "a/m", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "a/m", "input": "Hi"},
    "generate_content": {"model": "a/m", "contents": "Hi"},
}
INDEX: dict[str, dict[str, list[str]]] = json.loads((TRANSCRIPTS / "index.json").read_text())
ALL = [(name, title) for name in SLICES for title in INDEX[name]]
LIMIT = 1 << 20


@dataclass
class Head:
    """The answer that a body belongs to."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    request_id: str | None = "req_1"
    secret: str | None = None


def endpoint_of(name: str) -> Endpoint[Any, Any]:
    endpoint: Endpoint[Any, Any] = import_module(f"dgrid_async.apis.{name}.endpoint").ENDPOINT
    return endpoint


def raw(name: str, title: str) -> bytes:
    return (TRANSCRIPTS / name / f"{title}.sse").read_bytes()


def played(name: str, pieces: Iterator[bytes]) -> tuple[list[Any], Body[Any, Any]]:
    """Return the events of a body that comes in these pieces, and the body at its end."""
    body = Body(endpoint_of(name), Head(), LIMIT)
    events: list[Any] = []
    for piece in pieces:
        if body.over:
            break
        body.feed(piece)
        while (event := body.take()) is not None:
            events.append(event)
    if not body.over:
        body.end()
        while (event := body.take()) is not None:
            events.append(event)
    return events, body


def cut(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = next(sizes)
        yield data[at : at + size]
        at += size


def every(size: int) -> Iterator[int]:
    while True:
        yield size


def outcome(body: Body[Any, Any]) -> tuple[Any, ...]:
    verdict, snapshot = body.verdict(), body.snapshot()
    told = None if verdict is None else (type(verdict), str(verdict))
    return told, None if snapshot is None else snapshot.to_dict()


@pytest.fixture(params=SLICES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def endpoint(name: str) -> Endpoint[Any, Any]:
    return endpoint_of(name)


def test_the_endpoint_is_named_as_its_slice_and_the_package_has_it(name, endpoint) -> None:
    assert endpoint.name == name
    assert getattr(dgrid_async, name) is import_module(f"dgrid_async.apis.{name}")


@pytest.mark.parametrize("streamed", [False, True])
def test_encoding_changes_nothing_that_the_caller_gave(endpoint, name, streamed) -> None:
    params = {**PARAMS[name], "a_new_parameter": {"x": [1]}}
    before = copy.deepcopy(params)
    target = endpoint.encode(params, streamed)
    assert params == before
    assert target.path.startswith("/v1/")
    assert "a/m" in (target.body.get("model") or target.path)
    assert target.body["a_new_parameter"] == {"x": [1]}
    json.loads(codec.encode(target.body))


def test_a_stream_is_asked_for_in_the_format_s_own_way(endpoint, name) -> None:
    plain, streamed = endpoint.encode(PARAMS[name], False), endpoint.encode(PARAMS[name], True)
    if name == "generate_content":
        assert plain.path.endswith(":generateContent")
        assert streamed.path.endswith(":streamGenerateContent")
        assert dict(streamed.query) == {"alt": "sse"}
    else:
        assert streamed.body["stream"] is True
        assert not plain.body.get("stream")
        assert streamed.path == plain.path


def test_what_is_required_is_what_a_minimal_call_has(endpoint, name) -> None:
    assert "model" in endpoint.required
    assert set(endpoint.required) <= set(PARAMS[name])


@pytest.mark.parametrize("value", [None, 5, "text", [], [1], {}, {"error": None}])
def test_what_is_no_reply_is_a_value_error(endpoint, value) -> None:
    with pytest.raises(ValueError):
        endpoint.decode_reply(value)


def test_an_empty_accumulator_has_nothing(endpoint) -> None:
    accumulator = endpoint.accumulator()
    assert accumulator.snapshot() is None
    assert accumulator.usage is None
    assert accumulator.failure is None
    assert accumulator.progress is Progress.OPEN


@pytest.mark.parametrize(("name", "title"), ALL)
def test_any_chunking_gives_the_same_events(name, title) -> None:
    data = raw(name, title)
    whole_events, whole = played(name, iter([data]))
    want = outcome(whole)
    random_sizes = random.Random(title)
    chunkings = [
        cut(data, every(1)),
        cut(data, every(7)),
        cut(data if b"\r" in data else data.replace(b"\n", b"\r\n"), every(5)),
        cut(b"\xef\xbb\xbf" + data.removeprefix(b"\xef\xbb\xbf"), every(2)),
        *(cut(data, iter(lambda: random_sizes.randint(1, 90), 0)) for _ in range(3)),
    ]
    for chunks in chunkings:
        events, body = played(name, chunks)
        assert events == whole_events
        assert outcome(body) == want
        assert body.given == len(events)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLICES)
def test_every_split_point_gives_the_same_events(name) -> None:
    data = raw(name, "text")
    whole_events, whole = played(name, iter([data]))
    assert whole.verdict() is None
    for at in range(1, len(data)):
        events, body = played(name, iter([data[:at], data[at:]]))
        assert events == whole_events, at
        assert body.verdict() is None, at


@pytest.mark.parametrize("name", SLICES)
def test_every_earlier_end_is_a_truncation_with_the_reply_so_far(name) -> None:
    data = raw(name, "text").replace(b"\r\n", b"\n")
    blocks = data.split(b"\n\n")
    seen = set()
    for n in range(len(blocks)):
        events, body = played(name, iter([b"\n\n".join([*blocks[:n], b""])]))
        verdict = body.verdict()
        if verdict is not None:
            assert type(verdict) is StreamTruncatedError
            assert (body.snapshot() is None) == (not events)
        seen.add(type(verdict))
    assert seen == {StreamTruncatedError, type(None)}


@pytest.mark.parametrize(("name", "title"), [case for case in ALL if "nonconforming" not in INDEX[case[0]][case[1]]])
def test_the_texts_add_up_to_the_reply_s_text_and_snapshots_are_fresh(name, title) -> None:
    endpoint = endpoint_of(name)
    body = Body(endpoint, Head(), LIMIT)
    assert body.snapshot() is None
    body.feed(raw(name, title))
    texts = []
    while (event := body.take()) is not None:
        texts.append(endpoint.text_of(event))
        first, second = body.snapshot(), body.snapshot()
        assert first == second
        assert first is not second
        assert isinstance(first, Reply)
        assert first.request_id == "req_1"
    reply = body.snapshot()
    if reply is None:
        assert isinstance(body.verdict(), APIStatusError)
        return
    assert "".join(texts) == reply.text
    assert all(isinstance(text, str) for text in texts)
    if reply.usage is not None:
        assert body.usage == reply.usage


@pytest.mark.parametrize(("name", "title"), [case for case in ALL if not INDEX[case[0]][case[1]]])
def test_a_whole_reply_is_a_stream_of_one(name, title) -> None:
    """What a stream adds up to, sent as one JSON text: plain, and in the place of a stream."""
    _, body = played(name, iter([raw(name, title)]))
    reply = body.snapshot()
    text = json.dumps(reply.to_dict()).encode()
    if body.verdict() is not None:
        if reply.status == "failed":  # an error came after an answer that is not whole, or failed itself
            with pytest.raises(APIStatusError):
                reply_of(endpoint_of(name), Head(), text)
        return
    plain = reply_of(endpoint_of(name), Head(), text)
    assert plain == reply
    assert plain.request_id == "req_1"
    for pieces in ([text], list(cut(text, every(11)))):
        _, again = played(name, iter(pieces))
        assert again.verdict() is None
        assert again.snapshot().text == reply.text
        assert again.snapshot().to_dict() == reply.to_dict()


def test_an_error_in_the_place_of_a_reply_is_raised(endpoint) -> None:
    text = json.dumps({"error": {"message": "no", "type": "overloaded_error", "code": None}}).encode()
    with pytest.raises(dgrid_async.OverloadedError) as caught:
        reply_of(endpoint, Head(headers={"x-request-id": "req_9"}), text)
    assert caught.value.request_id == "req_9"
    body: Body[Any, Any] = Body(endpoint, Head(), LIMIT)
    body.feed(b"data: " + text + b"\n\n")
    assert body.take() is None
    assert isinstance(body.verdict(), dgrid_async.OverloadedError)


def test_an_event_of_tomorrow_is_handed_out(endpoint, name) -> None:
    body: Body[Any, Any] = Body(endpoint, Head(), LIMIT)
    data = {"type": "a.kind.of.tomorrow", "x": {"y": [1]}, "choices": [], "candidates": []}
    body.feed(b"data: " + json.dumps(data).encode() + b"\n\n")
    event = body.take()
    assert event is not None
    if name in {"messages", "responses"}:
        assert type(event).__name__ == "UnknownEvent"
        assert event.data == data
    assert event.to_dict() == data
    assert endpoint.text_of(event) == ""
