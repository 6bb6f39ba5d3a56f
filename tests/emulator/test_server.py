"""The server over real sockets: routes, checks, scripts in turn, pace and chunks, faults, log and end."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dgrid_async.emulator import (
    PING,
    Abort,
    Close,
    Cut,
    Emulator,
    ErrorEvent,
    HoldOpen,
    Html,
    Insert,
    Malformed,
    Received,
    Script,
    Stall,
    ToolCall,
    WholeJson,
    serve,
)

HELLO = Script(text=("Hel", "lo ", "you"))


async def drain(response: aiohttp.ClientResponse, reached: Callable[[], bool]) -> bytes:
    """Read until the server has come so far, and then until nothing comes for a while."""
    data = b""
    async with asyncio.timeout(5):
        while True:
            try:
                part = await asyncio.wait_for(response.content.readany(), 0.1)
            except TimeoutError:
                if reached():
                    return data
                continue
            assert part, "the body ended"
            data += part


# --- what is answered


@pytest.mark.parametrize("stream", [False, True])
async def test_the_default_echoes(post: Any, shape: Any, parse: Any, stream: bool) -> None:
    status, headers, body = await post(shape, stream=stream)
    text = shape.streamed_text(parse(body)) if stream else shape.text(json.loads(body))
    assert status == 200
    assert "“Hi there”" in text
    assert headers["DGrid-Request-ID"] == "req_00000001"
    assert headers["Content-Type"].startswith("text/event-stream" if stream else "application/json")


async def test_streamed_and_plain_say_the_same(emulator: Emulator, post: Any, shape: Any, parse: Any) -> None:
    emulator.script = HELLO
    _, _, whole = await post(shape)
    _, _, streamed = await post(shape, stream=True)
    assert shape.text(json.loads(whole)) == shape.streamed_text(parse(streamed)) == "Hello you"


async def test_a_fresh_server_gives_the_same_bytes(shape: Any) -> None:
    bodies = []
    for _ in range(2):
        async with Emulator() as emulator, aiohttp.ClientSession(emulator.url) as session:
            path, body = shape.request(stream=True)
            headers = {"Authorization": "Bearer k", "anthropic-version": "2023-06-01"}
            async with session.post(path, json=body, headers=headers) as response:
                bodies.append(await response.read())
    assert bodies[0] == bodies[1]


async def test_models(session: aiohttp.ClientSession) -> None:
    async with session.get("/v1/models") as response:
        body = await response.json()
    assert (body["object"], body["success"]) == ("list", True)
    assert all({"id", "object", "created", "owned_by", "supported_endpoint_types"} == set(model) for model in body["data"])


@pytest.mark.parametrize("path", ["/v1/models/google/gem-1.5", "/v1/models/google%2Fgem-1.5", "/v1beta/models/google/gem-1.5"])
async def test_model_ids_in_paths(session: aiohttp.ClientSession, path: str) -> None:
    async with session.post(f"{path}:generateContent", json={}) as response:
        assert (await response.json())["modelVersion"] == "google/gem-1.5"


async def test_gemini_streams_a_json_list_without_alt_sse(emulator: Emulator, session: aiohttp.ClientSession) -> None:
    path = "/v1/models/a/m:streamGenerateContent"
    emulator.script = [Script(text=("a", "b")), Script(text=("a", "b"), fault=ErrorEvent(after=1), inserts=(Insert(),))]
    async with session.post(path, json={}) as response:
        assert response.content_type == "application/json"
        whole = await response.json()
    assert [part["text"] for chunk in whole for part in chunk["candidates"][0]["content"]["parts"]] == ["a", "b"]
    async with session.post(path, json={}) as response:
        failed = await response.json()
    assert [min(chunk) for chunk in failed] == ["candidates", "error"]


# --- what is refused


async def test_no_key(emulator: Emulator, shape: Any) -> None:
    path, body = shape.request()
    async with aiohttp.ClientSession(emulator.url) as session:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic abc"}, {"x-api-key": ""}):
            async with session.post(path, json=body, headers=headers) as response:
                answer = await response.json()
                assert response.status == 401
                assert response.headers["DGrid-Request-ID"].startswith("req_")
        for headers in ({"x-api-key": "k"}, {"x-goog-api-key": "k"}, {"Authorization": "bearer k"}):
            async with session.post(path, json=body, headers=headers | {"anthropic-version": "1"}) as response:
                assert response.status == 200
    match shape.name:
        case "messages":
            assert (answer["type"], answer["error"]["type"]) == ("error", "authentication_error")
        case "generate_content":
            assert (answer["error"]["code"], answer["error"]["status"]) == (401, "UNAUTHENTICATED")
        case _:
            assert answer["error"]["code"] == "invalid_api_key"


async def test_unknown_paths(session: aiohttp.ClientSession) -> None:
    for path in ("/", "/v1", "/v1/v1/messages", "/v1/models/m:countTokens", "/v1/chat/completions/"):
        async with session.post(path, json={}) as response:
            assert response.status == 404
            assert path in (await response.json())["error"]["message"]


async def test_wrong_methods(session: aiohttp.ClientSession) -> None:
    for method, path, allowed in (
        ("GET", "/v1/messages", "POST"),
        ("PUT", "/v1/responses", "POST"),
        ("POST", "/v1/models", "GET"),
    ):
        async with session.request(method, path) as response:
            assert (response.status, response.headers["Allow"]) == (405, allowed)
            assert method in (await response.json())["error"]["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": ' + b"9" * 5000 + b"}", b"[" * 50_000])
async def test_bodies_that_are_no_json_object(session: aiohttp.ClientSession, shape: Any, raw: bytes) -> None:
    async with session.post(shape.path, data=raw) as response:
        assert response.status == 400
        assert "body" in (await response.json())["error"]["message"].lower()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("messages", {"output_config": 5}),
        ("messages", {"thinking": {"type": []}}),
        ("chat_completions", {"tool_choice": {"type": "function", "function": "f"}}),
        ("chat_completions", {"response_format": {"type": "json_schema", "json_schema": "x"}}),
        ("responses", {"text": {"format": [1]}}),
        ("generate_content", {"toolConfig": {"functionCallingConfig": "ANY"}}),
        ("generate_content", {"generationConfig": {"thinkingConfig": 1}}),
    ],
)
async def test_what_is_wrong_deeper_down(post: Any, shapes: Any, name: str, more: dict[str, Any]) -> None:
    status, headers, body = await post(shapes[name], **more)
    assert (status, headers["Content-Type"].split(";")[0]) == (400, "application/json")
    assert "does not fit" in json.loads(body)["error"]["message"]


async def test_too_large() -> None:
    async with Emulator(max_request_bytes=1000) as emulator, aiohttp.ClientSession(emulator.url) as session:
        headers = {"x-api-key": "k"}
        async with session.post("/v1/messages", data=b"x" * 5000, headers=headers) as response:
            assert response.status == 413
            assert (await response.json())["error"]["type"] == "request_too_large"
        assert emulator.log[0].status == 413


# --- scripts


async def test_scripts_in_turn_with_the_last_repeating(emulator: Emulator, post: Any, shape: Any) -> None:
    emulator.script = [Script(status=429, headers={"Retry-After": "1"}), Script(text="a"), Script(text="b")]
    answers = [await post(shape) for _ in range(4)]
    assert [status for status, _, _ in answers] == [429, 200, 200, 200]
    assert answers[0][1]["Retry-After"] == "1"
    assert [shape.text(json.loads(body)) for _, _, body in answers[1:]] == ["a", "b", "b"]
    emulator.script = emulator.script
    assert (await post(shape))[0] == 429


async def test_a_refused_request_takes_no_turn(emulator: Emulator, post: Any, session: Any, shapes: Any) -> None:
    emulator.script = [Script(text="first"), Script(text="second")]
    async with session.post("/v1/responses", json={}) as response:
        assert response.status == 400
    _, _, body = await post(shapes["responses"])
    assert shapes["responses"].text(json.loads(body)) == "first"


async def test_the_header_wins_and_takes_no_turn(emulator: Emulator, post: Any, shape: Any) -> None:
    emulator.script = [Script(text="first"), Script(text="second")]
    header = {"X-Emulator-Script": Script(text="grüß dich").to_json()}
    texts = [shape.text(json.loads((await post(shape, headers=given))[2])) for given in (header, None, header, None)]
    assert texts == ["grüß dich", "first", "grüß dich", "second"]


@pytest.mark.parametrize("header", ["{", "[1]", '{"txet": 1}', "[" * 4000])
async def test_a_bad_header_is_named(post: Any, shapes: Any, header: str) -> None:
    status, _, body = await post(shapes["messages"], headers={"X-Emulator-Script": header})
    assert status == 400
    assert "X-Emulator-Script" in json.loads(body)["error"]["message"]


async def test_a_function_as_script(emulator: Emulator, post: Any, shapes: Any) -> None:
    def choose(received: Received) -> Script:
        return Script(text=f"{received.number}: {received.body['input']}")

    emulator.script = choose
    _, _, body = await post(shapes["responses"])
    assert shapes["responses"].text(json.loads(body)) == "1: Hi there"


def test_no_scripts_at_all() -> None:
    with pytest.raises(ValueError, match="one at least"):
        Emulator([])


@pytest.mark.parametrize("stream", [False, True])
async def test_error_statuses(emulator: Emulator, post: Any, shape: Any, stream: bool) -> None:
    emulator.script = Script(status=529, message="try later")
    status, headers, body = await post(shape, stream=stream)
    error = json.loads(body)["error"]
    assert (status, error["message"]) == (529, "try later")
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("body", "kind"),
    [("<html>", "text/html"), ("oops", "text/plain"), ({"a": 1}, "application/json"), ([], "application/json")],
)
async def test_a_body_as_it_is(emulator: Emulator, post: Any, shape: Any, body: Any, kind: str) -> None:
    emulator.script = Script(status=502, body=body)
    status, headers, raw = await post(shape, stream=True)
    assert (status, headers["Content-Type"].split(";")[0]) == (502, kind)
    assert raw.decode() == body if isinstance(body, str) else json.loads(raw) == body


async def test_content_type_as_it_is(emulator: Emulator, post: Any, shape: Any) -> None:
    for stream, script in ((True, Script(content_type="text/plain")), (False, Script(content_type="text/plain"))):
        emulator.script = script
        _, headers, _ = await post(shape, stream=stream)
        assert headers["Content-Type"] == "text/plain"


async def test_arguments_the_format_cannot_carry(emulator: Emulator, post: Any, shapes: Any) -> None:
    emulator.script = Script(tool_calls=(ToolCall("f", "{broken"),))
    for shape, stream, expected in (("messages", False, 500), ("generate_content", True, 500), ("messages", True, 200)):
        status, _, body = await post(shapes[shape], stream=stream)
        assert status == expected
        assert (b"does not fit" in body) == (expected == 500)


# --- pace and chunks


@pytest.mark.usefixtures("leaping_clock")
async def test_pace_is_the_gap_between_events(emulator: Emulator, post: Any, shape: Any) -> None:
    emulator.script = Script(text=("a", "b", "c"), pace=0.03)
    started = time.monotonic()
    await post(shape, stream=True)
    events = emulator.log[0].events_sent
    assert time.monotonic() - started >= 0.03 * (events - 1) * 0.95


@pytest.mark.usefixtures("leaping_clock")
async def test_delay_is_before_the_headers(emulator: Emulator, session: aiohttp.ClientSession, shape: Any) -> None:
    emulator.script = Script(delay=0.1)
    for stream in (False, True):
        path, body = shape.request(stream=stream)
        started = time.monotonic()
        async with session.post(path, json=body):
            assert time.monotonic() - started >= 0.095


@pytest.mark.parametrize("size", [1, 7, 100_000, "all"])
async def test_chunk_size_changes_no_byte(emulator: Emulator, post: Any, shape: Any, size: Any) -> None:
    for stream in (False, True):
        number = len(emulator.log)
        emulator.script = Script(text="Hello", chunk_size=size)
        _, _, cut = await post(shape, stream=stream)
        emulator.script = Script(text="Hello")
        _, _, whole = await post(shape, stream=stream)
        # The two replies differ in their numbers only.
        assert (
            cut.replace(b"%08d" % (number + 1), b"%08d" % (number + 2)).replace(
                b"17500000%02d" % (number + 1), b"17500000%02d" % (number + 2)
            )
            == whole
        )


async def test_sizes_of_writes(emulator: Emulator, session: aiohttp.ClientSession, shapes: Any) -> None:
    path, body = shapes["chat_completions"].request(stream=True)

    async def chunks(size: Any) -> list[bytes]:
        emulator.script = Script(text=("a", "b"), chunk_size=size)
        collected, part = [], b""
        async with session.post(path, json=body) as response:
            async for data, ends in response.content.iter_chunks():
                part += data
                if ends and part:
                    collected.append(part)
                    part = b""
        return collected

    assert {len(chunk) for chunk in (await chunks(5))[:-1]} == {5}
    assert [chunk[-2:] for chunk in await chunks(None)] == [b"\n\n"] * 5
    assert len(await chunks("all")) == 1


# --- faults


async def test_cut_ends_cleanly_before_the_terminal(emulator: Emulator, post: Any, shape: Any, parse: Any) -> None:
    emulator.script = Script(text=("Hel", "lo"), fault=Cut())
    status, _, body = await post(shape, stream=True)
    events = parse(body)
    assert status == 200
    assert b"DONE" not in body
    assert shape.streamed_text(events) == ("Hel" if shape.name == "generate_content" else "Hello")
    for word in (b"message_stop", b"response.completed", b"finishReason", b'"finish_reason":"stop"', b"message_delta"):
        assert word not in body
    assert emulator.log[0].closed_early is False


async def test_cut_on_a_plain_reply(emulator: Emulator, post: Any, shape: Any) -> None:
    emulator.script = Script(fault=Cut())
    _, _, body = await post(shape)
    assert body
    with pytest.raises(ValueError, match=r".+"):
        json.loads(body)


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stream", [False, True])
async def test_abort_resets_the_connection(emulator: Emulator, session: Any, shape: Any, stream: bool) -> None:
    emulator.script = Script(text=("a", "b", "c"), fault=Abort(after=1))
    path, body = shape.request(stream=stream)
    data = b""
    with pytest.raises(aiohttp.ClientError):  # noqa: PT012 - what came before the reset is looked at
        async with session.post(path, json=body) as response:
            assert response.status == 200
            while part := await response.content.readany():
                data += part
    assert data
    assert not data.endswith(b"\n\n")
    await asyncio.wait_for(emulator.log[0].closed.wait(), 1)
    assert emulator.log[0].closed_early is False
    emulator.script = Script()
    async with session.post(path, json=body) as response:
        assert response.status == 200


async def test_abort_is_a_reset_and_close_is_not(emulator: Emulator) -> None:
    body = b'{"model": "m", "input": "Hi", "stream": true}'
    head = b"POST /v1/responses HTTP/1.1\r\nHost: e\r\nx-api-key: k\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def talk(script: Script) -> bytes:
        emulator.script = script
        reader, writer = await asyncio.open_connection(*emulator.url.removeprefix("http://").split(":"))
        try:
            writer.write(head + body)
            return await asyncio.wait_for(reader.read(), 2)
        finally:
            writer.close()

    with pytest.raises(ConnectionResetError):
        await talk(Script(fault=Abort(after=2)))
    assert await talk(Script(fault=Close())) == b""
    cut = await talk(Script(fault=Cut(after=2), headers={"Connection": "close"}))
    assert cut.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_close_without_an_answer(emulator: Emulator, session: Any, shape: Any, stream: bool) -> None:
    emulator.script = Script(fault=Close())
    path, body = shape.request(stream=stream)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await session.post(path, json=body)
    # aiohttp sends what it takes for an idempotent request again by itself, but never a POST.
    assert [entry.closed_early for entry in emulator.log] == [False]
    assert emulator.log[0].status is None


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stream", [False, True])
async def test_stall_before_headers(emulator: Emulator, session: Any, shape: Any, stream: bool) -> None:
    emulator.script = Script(fault=Stall("before_headers"))
    path, body = shape.request(stream=stream)
    asking = asyncio.create_task(session.post(path, json=body))
    received = await emulator.log.wait()
    await asyncio.sleep(0.05)
    assert not asking.done()
    asking.cancel()
    await asyncio.wait_for(received.closed.wait(), 1)
    assert (received.status, received.closed_early) == (None, True)


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["after_headers", "between_events", "inside_event"])
async def test_stalls(emulator: Emulator, session: Any, shape: Any, where: Any, stream: bool) -> None:
    emulator.script = Script(text=("a", "b", "c"), fault=Stall(where, after=1))
    path, body = shape.request(stream=stream)
    expected = 0 if where == "after_headers" else 1
    async with session.post(path, json=body) as response:
        received = emulator.log[0]
        data = await drain(response, lambda: received.events_sent >= expected)
        assert received.closed_early is None
        assert not received.closed.is_set()
        assert emulator.in_flight == 1
        response.close()
    assert received.events_sent == expected
    if stream:
        assert data.endswith(b"\n\n") == (where == "between_events" and shape.name != "generate_content")
        assert bool(data) == (where != "after_headers")
    await asyncio.wait_for(received.closed.wait(), 1)
    assert received.closed_early is True
    assert emulator.in_flight == 0


@pytest.mark.usefixtures("leaping_clock")
async def test_comments_during_a_stall(emulator: Emulator, session: Any, shape: Any) -> None:
    emulator.script = Script(fault=Stall(after=1, comment_every=0.01))
    path, body = shape.request(stream=True)
    async with session.post(path, json=body) as response:
        data = b""
        while data.count(b": PING\n\n") < 3:
            data += await response.content.readany()
    assert emulator.log[0].events_sent == 1


async def test_error_event(emulator: Emulator, post: Any, shape: Any, parse: Any) -> None:
    emulator.script = Script(text=("a", "b", "c"), fault=ErrorEvent(after=3, status=429, message="enough"))
    status, _, body = await post(shape, stream=True)
    events = parse(body)
    assert status == 200
    assert len(events) == 4
    name, data = events[-1]
    match shape.name:
        case "messages":
            assert (name, data["type"], data["error"]["type"]) == ("error", "error", "rate_limit_error")
            assert data["request_id"] == "req_00000001"
        case "chat_completions":
            assert (name, data["error"]["code"], data["error"]["message"]) == (None, "rate_limit_exceeded", "enough")
        case "responses":
            assert (name, data["type"], data["code"]) == ("error", "error", "rate_limit_exceeded")
            assert data["sequence_number"] == 3
        case _:
            assert (name, data["error"]["code"], data["error"]["status"]) == (None, 429, "RESOURCE_EXHAUSTED")


async def test_error_event_on_gemini_before_its_last_chunk(emulator: Emulator, post: Any, shapes: Any, parse: Any) -> None:
    emulator.script = Script(text=("a", "b"), fault=ErrorEvent(status=503))
    _, _, body = await post(shapes["generate_content"], stream=True)
    assert body.endswith(b"}\r\n\r\n")
    assert parse(body)[-1][1]["error"] == {
        "code": 503,
        "message": "The service is unavailable",
        "status": "UNAVAILABLE",
    }


async def test_error_in_a_plain_200(emulator: Emulator, post: Any, shape: Any) -> None:
    emulator.script = Script(fault=ErrorEvent(after=0, message="inside"))
    status, _, body = await post(shape)
    assert (status, json.loads(body)["error"]["message"]) == (200, "inside")


@pytest.mark.parametrize("stream", [False, True])
async def test_html_with_200(emulator: Emulator, post: Any, shape: Any, stream: bool) -> None:
    emulator.script = Script(fault=Html())
    status, headers, body = await post(shape, stream=stream)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!DOCTYPE html>")


async def test_malformed_json_in_one_event(emulator: Emulator, post: Any, shape: Any, parse: Any) -> None:
    emulator.script = Script(fault=Malformed(after=1))
    _, _, body = await post(shape, stream=True)
    with pytest.raises(json.JSONDecodeError):
        parse(body)


async def test_keep_alives_anywhere(emulator: Emulator, post: Any, shape: Any, parse: Any) -> None:
    emulator.script = HELLO
    _, _, plain = await post(shape, stream=True)
    emulator.script = Script(text=HELLO.text, inserts=(Insert(), Insert(PING, before=0, times=2), Insert(before=-1)))
    _, _, body = await post(shape, stream=True)
    assert body.startswith(b": PING\n\nevent: ping\ndata:") if shape.name != "messages" else body.startswith(b": PING")
    assert body.endswith(b": PING\n\n")
    assert len(parse(body)) == len(parse(plain)) + 2


async def test_done(emulator: Emulator, post: Any, shape: Any) -> None:
    for done, expected in ((None, shape.name == "chat_completions"), (True, True), (False, False)):
        emulator.script = Script(done=done)
        _, _, body = await post(shape, stream=True)
        assert body.endswith(b"data: [DONE]\n\n") == expected


@pytest.mark.usefixtures("leaping_clock")
async def test_held_open_after_the_end(emulator: Emulator, session: Any, shape: Any, parse: Any) -> None:
    emulator.script = Script(text="Hi", fault=HoldOpen())
    path, body = shape.request(stream=True)
    async with session.post(path, json=body) as response:
        received = emulator.log[0]
        data = await drain(response, lambda: received.closed_early is False)
        assert not received.closed.is_set()
        response.close()
    assert shape.streamed_text(parse(data)) == "Hi"
    await asyncio.wait_for(received.closed.wait(), 1)
    assert received.closed_early is False


async def test_whole_json_in_answer_to_a_stream(emulator: Emulator, post: Any, shape: Any) -> None:
    emulator.script = Script(text="Hi", fault=WholeJson())
    _, headers, body = await post(shape, stream=True)
    assert headers["Content-Type"].startswith("application/json")
    assert shape.text(json.loads(body)) == "Hi"


async def test_faults_and_statuses_on_the_list_of_models(emulator: Emulator, session: aiohttp.ClientSession) -> None:
    emulator.script = [Script(status=503), Script(fault=Close()), Script()]
    async with session.get("/v1/models") as response:
        assert response.status == 503
    # aiohttp repeats a GET by itself when the connection closes without an answer.
    async with session.get("/v1/models") as response:
        assert response.status == 200
    assert [entry.status for entry in emulator.log] == [503, None, 200]


# --- log, counters and end


async def test_the_log(emulator: Emulator, post: Any, shape: Any) -> None:
    path, body = shape.request(stream=True)
    await post(shape, stream=True, headers={"X-Mine": "yes"})
    received = emulator.log[0]
    assert (received.method, received.path) == ("POST", path.partition("?")[0])
    assert received.query == ({"alt": "sse"} if "?" in path else {})
    assert received.headers["x-mine"] == "yes"
    assert received.body == body
    assert received.size == len(json.dumps(body))
    assert received.request_id == "req_00000001"
    assert received.status == 200
    assert received.closed.is_set()
    assert received.closed_early is False
    assert received.closed_at is not None
    assert received.closed_at >= received.at


@pytest.mark.usefixtures("leaping_clock")
async def test_a_client_that_leaves_is_noticed(emulator: Emulator, session: Any, shape: Any) -> None:
    emulator.script = Script(text=("word ",) * 1000, pace=0.01)
    path, body = shape.request(stream=True)
    response = await session.post(path, json=body)
    await response.content.readany()
    received = await emulator.log.wait()
    response.close()
    await asyncio.wait_for(received.closed.wait(), 1)
    assert received.closed_early is True
    assert 0 < received.events_sent < 1000


@pytest.mark.usefixtures("leaping_clock")
async def test_counters(emulator: Emulator, session: Any, shape: Any) -> None:
    emulator.script = Script(fault=Stall(after=1))
    path, body = shape.request(stream=True)
    responses = [await session.post(path, json=body) for _ in range(5)]
    assert (emulator.in_flight, emulator.peak_in_flight, emulator.open_connections) == (5, 5, 5)
    assert sorted(entry.connection for entry in emulator.log) == [1, 2, 3, 4, 5]
    for response in responses:
        response.close()
    await asyncio.gather(*(asyncio.wait_for(entry.closed.wait(), 1) for entry in emulator.log))
    assert (emulator.in_flight, emulator.peak_in_flight) == (0, 5)


async def test_a_kept_connection_has_one_number(emulator: Emulator, post: Any, shapes: Any) -> None:
    for _ in range(3):
        await post(shapes["messages"])
    assert [entry.connection for entry in emulator.log] == [1, 1, 1]
    assert emulator.open_connections == 1


@pytest.mark.usefixtures("leaping_clock")
async def test_stop_is_quick_with_stalled_streams(shape: Any) -> None:
    path, body = shape.request(stream=True)
    headers = {"x-api-key": "k", "anthropic-version": "1"}
    async with (
        Emulator(Script(fault=Stall())) as emulator,
        aiohttp.ClientSession(emulator.url, headers=headers) as session,
    ):
        responses = [await session.post(path, json=body) for _ in range(20)]
        url = emulator.url
        others = asyncio.all_tasks() - {asyncio.current_task()}
        started = time.monotonic()
        await emulator.stop()
        assert time.monotonic() - started < 1
        assert emulator.in_flight == 0
        assert {entry.closed_early for entry in emulator.log} == {False}
        assert all(task.done() for task in others)
        for response in responses:
            response.close()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(url + path, json=body)
        with pytest.raises(RuntimeError, match="not running"):
            _ = emulator.url


async def test_start_again_and_twice() -> None:
    emulator = Emulator()
    await emulator.stop()
    for _ in range(2):
        await emulator.start()
        with pytest.raises(RuntimeError, match="already"):
            await emulator.start()
        await emulator.stop()


async def test_a_taken_port(emulator: Emulator) -> None:
    other = Emulator(port=int(emulator.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="address already in use"):
        await other.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = other.url


async def test_serve_runs_until_cancelled() -> None:
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(script=Script(text="Hi"), on_start=started.set_result))
    url = await asyncio.wait_for(started, 2)
    async with aiohttp.ClientSession(url, headers={"x-api-key": "k"}) as session:
        async with session.post("/v1/responses", json={"model": "m", "input": "x"}) as response:
            assert response.status == 200
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(aiohttp.ClientError):
            await session.get("/v1/models")


async def test_serve_needs_no_callback() -> None:
    running = asyncio.create_task(serve())
    await asyncio.sleep(0.05)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.slow
async def test_many_streams_at_once() -> None:
    """Five hundred paced streams share the loop, each whole, none waiting for another's end."""
    script = Script(text=("a",) * 8, pace=0.05)
    headers = {"x-api-key": "k"}
    connector = aiohttp.TCPConnector(limit=0)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with (
        Emulator(script) as emulator,
        aiohttp.ClientSession(emulator.url, headers=headers, connector=connector) as session,
    ):

        async def one() -> bytes:
            async with session.post("/v1/chat/completions", json=body) as response:
                return await response.read()

        bodies = await asyncio.gather(*(one() for _ in range(500)))
        assert emulator.peak_in_flight == 500
    assert all(body.endswith(b"[DONE]\n\n") for body in bodies)


def test_the_emulator_imports_nothing_of_the_client() -> None:
    folder = Path(inspect.getfile(Emulator)).parent
    imported = {
        name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    ours = {name for name in imported if name.startswith((".", "dgrid_async"))}
    assert ours
    assert all(name.startswith("dgrid_async.emulator") for name in ours)
    assert {name.partition(".")[0] for name in imported - ours} <= {*sys.stdlib_module_names, "aiohttp"}
