"""Streams over real sockets: what is handed out, how a stream ends, and what is left behind by each way of ending it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import pickle
import socket
import struct
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from dgrid_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncDGrid,
    ClientClosedError,
    ConfigError,
    InternalServerError,
    Limits,
    OverloadedError,
    Retries,
    StreamDecodeError,
    StreamTruncatedError,
    Timeouts,
    UnexpectedResponseError,
)
from dgrid_async.body import Body
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
    Script,
    Stall,
    ToolCall,
    WholeJson,
)
from dgrid_async.stream import _check
from dgrid_async.transport import Call
from tests.loopback import SSE, Exchange, client_of, loopback, open_stream

KEY = "sk-test-0123456789abcdef"
# The machine is shared: a wait that ends on time is seen this much later at worst.
SLACK = 0.2
SOON = 0.05
ONCE = Retries(max_attempts=1)
AT_ONCE = Retries(max_attempts=3, initial_delay=0)
CALLS: dict[str, tuple[Callable[[AsyncDGrid], Any], Callable[[AsyncDGrid], Any], dict[str, Any]]] = {
    "messages": (
        lambda client: client.messages.create,
        lambda client: client.messages.stream,
        {"model": "a/m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi there"}]},
    ),
    "chat_completions": (
        lambda client: client.chat.completions.create,
        lambda client: client.chat.completions.stream,
        {"model": "a/m", "messages": [{"role": "user", "content": "Hi there"}]},
    ),
    "responses": (
        lambda client: client.responses.create,
        lambda client: client.responses.stream,
        {"model": "a/m", "input": "Hi there"},
    ),
    "generate_content": (
        lambda client: client.models.generate_content,
        lambda client: client.models.stream_generate_content,
        {"model": "a/m", "contents": "Hi there"},
    ),
}
EVERY = pytest.mark.parametrize("name", list(CALLS))
WORDS = ("Hel", "lo, ", "wor", "ld ", "😀", "!")
TEXT = "".join(WORDS)


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[AsyncDGrid]:
    emulator.script = Script(text=WORDS)
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=ONCE) as opened:
        yield opened


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    """Let no test leave a task of ours behind."""
    before = asyncio.all_tasks()
    yield
    for _ in range(50):
        if not [task for task in asyncio.all_tasks() - before if "dgrid_async" in repr(task)]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(asyncio.all_tasks() - before)


def stream_of(client: AsyncDGrid, name: str = "chat_completions", **more: Any) -> Any:
    _, stream, params = CALLS[name]
    if name == "chat_completions":
        more = {"stream_options": {"include_usage": True}, **more}
    return stream(client)(**params, **more)


async def within(seconds: float, waited: Awaitable[Any]) -> Any:
    async with asyncio.timeout(seconds):
        return await waited


async def read(stream: Any, count: int | None = None) -> list[Any]:
    events: list[Any] = []
    while count is None or len(events) < count:
        try:
            events.append(await anext(stream))
        except StopAsyncIteration:
            break
    return events


async def raised(waited: Awaitable[Any]) -> Any:
    try:
        await waited
    except Exception as error:  # noqa: BLE001 -- what it is is the question
        return error
    raise AssertionError("nothing was raised")


# ------------------------------------------------------------------------------------------------------ raw servers

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ndgrid-request-id: req_raw\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(*values: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % (v if isinstance(v, bytes) else json.dumps(v).encode()) for v in values)


def piece(text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@asynccontextmanager
async def raw_server(play: Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]) -> AsyncIterator[str]:
    """Run a server that plays each connection by hand; `play` is given the number of the request, from 1."""
    count = 0
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(size)
            count += 1
            await play(reader, writer, count)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------------------ reading


@EVERY
async def test_events_texts_snapshot_and_final_are_one_answer(client, emulator, name) -> None:
    async with stream_of(client, name) as stream:
        assert stream.snapshot is None
        assert stream.usage is None
        assert stream.status == 200
        assert stream.request_id == emulator.log[0].request_id
        assert stream.headers["dgrid-request-id"] == stream.request_id
        assert stream.headers["content-type"].startswith("text/event-stream")
        texts = ""
        async for event in stream:
            texts += stream._endpoint.text_of(event)
            first, second = stream.snapshot, stream.snapshot
            assert first == second
            assert first is not second
            assert first.text == texts
        assert texts == TEXT
        reply = await stream.final()
        assert reply == stream.snapshot
        assert await stream.final() == reply
    assert type(reply) is type(await CALLS[name][0](client)(**CALLS[name][2]))
    assert reply.text == TEXT
    assert reply.usage == stream.usage
    assert reply.usage is not None
    assert reply.request_id == emulator.log[0].request_id
    assert emulator.log[0].closed_early is False


@EVERY
async def test_events_texts_and_final_may_be_mixed(client, name) -> None:
    async with stream_of(client, name) as stream:
        heard = ""
        async for text in stream.text_stream:
            assert text
            heard += text
            if len(heard) > 3:
                break
        while len(heard) < 9:
            heard += stream._endpoint.text_of(await anext(stream))
        heard += await anext(stream.text_stream)
        assert TEXT.startswith(heard)
        assert stream.snapshot.text == heard
        assert (await stream.final()).text == TEXT
        assert [text async for text in stream.text_stream] == []
        assert [event async for event in stream] == []


@EVERY
async def test_facts_before_opening_are_empty(client, emulator, name) -> None:
    stream = stream_of(client, name)
    assert (stream.snapshot, stream.usage, stream.request_id, stream.status, dict(stream.headers)) == (
        None,
        None,
        None,
        None,
        {},
    )
    with pytest.raises(ConfigError, match="not open"):
        await anext(stream)
    await stream.close()
    assert emulator.log.total == 0


@EVERY
@pytest.mark.parametrize("size", [1, 3, "all"])
async def test_any_chunking_on_the_wire_gives_the_same_events(client, emulator, name, size) -> None:
    emulator.script = Script(text=WORDS, tool_calls=(ToolCall("f", {"x": "é"}),))
    async with stream_of(client, name) as stream:
        want = await read(stream)
    emulator.script = Script(text=WORDS, tool_calls=(ToolCall("f", {"x": "é"}),), chunk_size=size)
    async with stream_of(client, name) as stream:
        got = await read(stream)
    assert [type(event) for event in got] == [type(event) for event in want]
    assert len(got) > 5


@EVERY
async def test_keep_alives_are_not_handed_out(client, emulator, name) -> None:
    async with stream_of(client, name) as stream:
        want = len(await read(stream))
    emulator.script = Script(text=WORDS, inserts=(Insert(times=3), Insert(PING), Insert("\n\n: x\n\n")))
    async with stream_of(client, name) as stream:
        assert len(await read(stream)) == want


@EVERY
async def test_an_unknown_event_is_handed_out(client, emulator, name) -> None:
    unknown = 'event: a.new.kind\ndata: {"type": "a.new.kind", "choices": [], "candidates": [], "x": 1}\n\n'
    emulator.script = Script(text=WORDS, inserts=(Insert(unknown, before=1),))
    async with stream_of(client, name) as stream:
        events = await read(stream)
        assert [event.to_dict()["x"] for event in events if event.to_dict().get("type") == "a.new.kind"] == [1]
        assert stream.snapshot.text == TEXT


@EVERY
async def test_a_whole_json_reply_is_a_stream_of_one(client, emulator, name) -> None:
    emulator.script = Script(text=WORDS, fault=WholeJson())
    async with stream_of(client, name) as stream:
        assert "".join([text async for text in stream.text_stream]) == TEXT
        assert (await stream.final()).text == TEXT


async def test_gemini_s_json_list_is_read(client, emulator) -> None:
    parts = [{"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}}]} for word in WORDS]
    parts[-1]["candidates"][0]["finishReason"] = "STOP"
    emulator.script = Script(body=parts, content_type="application/json")
    async with stream_of(client, "generate_content") as stream:
        assert len(await read(stream)) == len(WORDS)
        assert stream.snapshot.text == TEXT


@EVERY
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (Script(fault=Html()), UnexpectedResponseError),
        (Script(body=""), StreamTruncatedError),
        (Script(body="data: [DONE]\n\n", content_type="text/event-stream"), StreamTruncatedError),
        (Script(body="hello"), StreamTruncatedError),
        (Script(body={"hello": 1}), UnexpectedResponseError),
        (Script(body={"error": {"message": "busy", "type": "overloaded_error"}}), OverloadedError),
        (Script(text=WORDS, fault=Malformed(after=0)), StreamDecodeError),
        (Script(text=WORDS, inserts=(Insert('{"error": {"type": "overloaded_error"}}\n', before=0),)), OverloadedError),
    ],
    ids=["html", "empty", "done", "words", "json", "error", "malformed", "stray"],
)
async def test_what_is_no_stream_is_an_error_by_type(client, emulator, name, script, kind) -> None:
    emulator.script = script
    async with stream_of(client, name) as stream:
        error = await raised(read(stream))
        assert type(error) is kind
        assert error.request_id == emulator.log[0].request_id
        assert (error.snapshot, error.events_received) == (None, 0)
        assert await raised(read(stream)) is error
        assert pickle.loads(pickle.dumps(error)).message == error.message  # noqa: S301 -- our own
    assert KEY not in repr(error) + str(error) + repr(vars(error))


@EVERY
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Cut(after=4), StreamTruncatedError),
        (Abort(after=4), APIConnectionError),
        (ErrorEvent(after=4), OverloadedError),
        (Malformed(after=4), StreamDecodeError),
    ],
)
async def test_a_failure_after_an_event_carries_the_reply_so_far_and_is_never_retried(emulator, name, fault, kind) -> None:
    emulator.script = Script(text=WORDS, fault=fault)
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=AT_ONCE) as client, stream_of(client, name) as stream:
        events: list[Any] = []
        with pytest.raises(kind) as caught:  # noqa: PT012 -- reading on is the point
            async for event in stream:
                events.append(event)  # noqa: PERF401 -- what came before the error is the point
        error = caught.value
        assert error.events_received == len(events)
        assert len(events) == 4 or name == "messages"  # one of its four is a ping
        assert error.snapshot == stream.snapshot
        assert TEXT.startswith(error.snapshot.text)
        assert error.snapshot.text or name == "responses"
        assert error.request_id == stream.request_id
        assert error.attempts == ()
        assert pickle.loads(pickle.dumps(error)).snapshot.to_dict() == error.snapshot.to_dict()  # noqa: S301 -- our own
        assert (await raised(stream.final())) is error
    assert emulator.log.total == 1


@EVERY
async def test_an_error_inside_a_stream_has_its_own_status(client, emulator, name) -> None:
    emulator.script = Script(text=WORDS, fault=ErrorEvent(after=2, status=529))
    async with stream_of(client, name) as stream:
        error = await raised(stream.final())
        assert (stream.status, error.status) == (200, 529 if name == "messages" else error.status)
        assert error.status >= 500


# ------------------------------------------------------------------------------------------------------ retrying


@pytest.mark.usefixtures("leaping_clock")
@EVERY
@pytest.mark.parametrize(
    "fault", [Cut(after=0), Abort(after=0), ErrorEvent(after=0), Close(), Stall("after_headers")], ids=lambda fault: fault.kind
)
async def test_a_failure_before_the_first_event_is_retried(emulator, name, fault) -> None:
    emulator.script = [Script(text=WORDS, fault=fault)] * 2 + [Script(text=WORDS)]
    limits = Timeouts(idle=0.15)
    async with (
        AsyncDGrid(KEY, base_url=emulator.url, retries=AT_ONCE, timeouts=limits) as client,
        stream_of(client, name) as stream,
    ):
        assert (await stream.final()).text == TEXT
        assert stream.request_id == emulator.log[2].request_id
    assert emulator.log.total == 3
    assert len({request.headers["Idempotency-Key"] for request in emulator.log}) == 1


async def test_attempts_are_told_when_all_failed(emulator) -> None:
    emulator.script = Script(text=WORDS, fault=ErrorEvent(after=0, status=500))
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=AT_ONCE) as client, stream_of(client) as stream:
        error = await raised(stream.final())
    assert isinstance(error, InternalServerError)
    assert [type(earlier) for earlier in error.attempts] == [type(error)] * 2
    assert error.request_id == emulator.log[2].request_id
    assert emulator.log.total == 3


@pytest.mark.usefixtures("leaping_clock")
async def test_a_wait_longer_than_the_idle_limit_is_no_silence(monkeypatch) -> None:
    """The retry policy's own wait inside a read is not the gateway's silence."""

    async def play(_reader: Any, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(HEAD + (b"0\r\n\r\n" if number == 1 else b""))
        await writer.drain()
        if number > 1:
            await asyncio.sleep(0.1)
            writer.write(chunked(sse(piece(TEXT, "stop"), b"[DONE]")) + b"0\r\n\r\n")
            await writer.drain()

    limits = Timeouts(idle=0.3)
    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url, timeouts=limits, retries=AT_ONCE) as client:
        stream = await stream_of(client).open()
        send, requests = Call.send, []

        async def slow(call: Call, **arguments: Any) -> Any:
            requests.append(arguments)
            await asyncio.sleep(0.4)
            return await send(call, **arguments)

        monkeypatch.setattr(Call, "send", slow)
        assert (await stream.final()).text == TEXT
        assert len(requests) == 1


@pytest.mark.usefixtures("leaping_clock")
async def test_a_cancelled_retry_wait_counts_its_failure_once(emulator) -> None:
    emulator.script = [Script(text=WORDS, fault=Cut(after=0)), Script(text=WORDS)]
    retries = Retries(max_attempts=2, initial_delay=600, max_delay=600)
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=retries) as client, stream_of(client) as stream:
        with pytest.raises(TimeoutError):
            await within(0.2, anext(stream))
        assert len(stream._call.failures) == 1
        assert (await within(2, stream.final())).text == TEXT
        assert len(stream._call.failures) == 1
    assert emulator.log.total == 2


@pytest.mark.usefixtures("leaping_clock")
async def test_a_stream_closed_after_a_cancelled_retry_does_not_send_again(emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Cut(after=0))
    retries = Retries(max_attempts=2, initial_delay=600, max_delay=600)
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=retries) as client:
        async with stream_of(client) as stream:
            with pytest.raises(TimeoutError):
                await within(0.2, anext(stream))
        assert type(await raised(anext(stream))) is ClientClosedError
    assert emulator.log.total == 1


# ------------------------------------------------------------------------------------------------------ cancelling


@pytest.mark.usefixtures("leaping_clock")
@EVERY
async def test_a_cancelled_read_loses_nothing(client, emulator, name) -> None:
    emulator.script = Script(text=WORDS, inserts=(Insert(),))
    async with stream_of(client, name) as stream:
        want = len(await read(stream))
    emulator.script = Script(text=WORDS, pace=0.012, inserts=(Insert(),))
    got, cancelled = [], 0
    async with stream_of(client, name) as stream:
        while True:
            try:
                got.append(await within(0.004, anext(stream)))
            except TimeoutError:
                cancelled += 1
            except StopAsyncIteration:
                break
        assert stream.snapshot.text == TEXT
    assert len(got) == want
    assert cancelled > 5


@pytest.mark.usefixtures("leaping_clock")
async def test_a_read_cancelled_where_it_lets_others_run_loses_nothing() -> None:
    """Bytes read but not decoded yet are still there after the one wait that is none for bytes."""
    body = sse(*[piece(f"{n} ") for n in range(3000)], piece("", "stop"), b"[DONE]")

    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + b"".join(chunked(body[at : at + 5000]) for at in range(0, len(body), 5000)) + b"0\r\n\r\n")
        await writer.drain()

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url) as client, stream_of(client) as stream:
        await asyncio.sleep(0.1)
        texts, cancelled, turn = [], 0, 0
        while True:
            turn += 1
            # Every other time as if this stream had held the loop for long.
            stream._slice_since = 0.0 if turn % 2 else time.monotonic()
            task = asyncio.create_task(anext(stream.text_stream))
            await asyncio.sleep(0)
            if not task.done():
                task.cancel()
            try:
                texts.append(await task)
            except asyncio.CancelledError:
                cancelled += 1
            except StopAsyncIteration:
                break
        assert "".join(texts) == "".join(f"{n} " for n in range(3000))
        assert cancelled > 3


@EVERY
async def test_cancelling_at_every_step_leaves_nothing_behind(emulator, name) -> None:
    """Open, read and close, cancelled after each number of turns of the loop: all slots come back."""
    emulator.script = Script(text=WORDS, chunk_size=40)
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=ONCE) as client:

        async def whole() -> str:
            async with stream_of(client, name) as stream:
                return str((await stream.final()).text)

        assert await whole() == TEXT
        finished = 0
        for turns in range(0, 90, 4):
            task = asyncio.create_task(whole())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                finished += await task == TEXT
            assert client.stats().in_use <= 1
        await until(lambda: client.stats().in_use == 0)
        assert client.stats().in_use == 0
        assert await whole() == TEXT


async def until(reached: Callable[[], bool], seconds: float = 1.0) -> None:
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        await asyncio.sleep(0.005)
    assert reached()


@pytest.mark.usefixtures("leaping_clock")
async def test_timeout_scopes_and_task_groups_of_the_caller_work(client, emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=3))
    async with stream_of(client) as stream:
        with pytest.raises(TimeoutError):
            await within(0.1, stream.final())
        with anyio.move_on_after(0.05) as scope:
            await stream.final()
        assert scope.cancelled_caught
    emulator.script = Script(text=WORDS)

    async def one(found: list[str]) -> None:
        async with stream_of(client) as stream:
            found.append((await stream.final()).text)

    found: list[str] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(one(found))
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one, found)
    assert found == [TEXT] * 10


# ------------------------------------------------------------------------------------------------------ ending


@EVERY
async def test_after_a_normal_end_the_connection_is_used_again(client, emulator, name) -> None:
    for _ in range(3):
        async with stream_of(client, name) as stream:
            await stream.final()
        await until(lambda: client.stats().in_use == 0)
    assert [request.connection for request in emulator.log] == [1, 1, 1]


@pytest.mark.usefixtures("leaping_clock")
@EVERY
@pytest.mark.parametrize("way", ["break", "raise", "abort", "close", "return"])
async def test_leaving_early_cuts_the_connection_at_once(client, emulator, name, way) -> None:
    emulator.script = Script(text=WORDS * 20, pace=0.02)

    # A reader that returns leaves a closed stream behind, however it left.
    async def leave() -> None:
        async with stream_of(client, name) as stream:
            async for _ in stream:
                if way == "raise":
                    raise KeyError(way)
                if way == "abort":
                    stream.abort()
                    stream.abort()
                elif way == "close":
                    await stream.close()
                    await stream.close()
                elif way == "return":
                    return
                break

    if way == "raise":
        with pytest.raises(KeyError):
            await leave()
    else:
        await leave()
    left = asyncio.get_running_loop().time()
    await within(1, emulator.log[0].closed.wait())
    assert emulator.log[0].closed_at - left < SOON + SLACK / 2
    assert emulator.log[0].closed_early is True
    assert client.stats().in_use == 0
    emulator.script = Script(text=WORDS)
    async with stream_of(client, name) as stream:
        await stream.final()
    assert emulator.log[1].connection == 2


@pytest.mark.usefixtures("leaping_clock")
async def test_abort_wakes_a_reader_of_another_task(client, emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=3))
    async with stream_of(client) as stream:
        reader = asyncio.create_task(raised(stream.final()))
        await until(lambda: stream.snapshot is not None and stream._waits_since > 0)
        begun = time.monotonic()
        stream.abort()
        error = await within(1, reader)
        assert time.monotonic() - begun < SOON
        assert type(error) is ClientClosedError
        assert error.events_received == 3
        assert error.snapshot.text == stream.snapshot.text
        await within(1, emulator.log[0].closed.wait())
        assert await raised(anext(stream)) is error


@pytest.mark.usefixtures("leaping_clock")
async def test_close_wakes_a_reader_of_another_task(client, emulator) -> None:
    emulator.script = Script(text=WORDS, done=False, fault=HoldOpen())
    async with stream_of(client) as stream:
        while not stream._body.progress:
            await anext(stream)
        reader = asyncio.create_task(raised(stream.final()))
        await asyncio.sleep(0.02)
        await stream.close()
        assert type(await within(SOON, reader)) is ClientClosedError


@pytest.mark.usefixtures("leaping_clock")
async def test_abort_before_open_while_opening_and_after_the_end(client, emulator) -> None:
    stream = stream_of(client)
    stream.abort()
    assert type(await raised(stream.open())) is ClientClosedError
    assert emulator.log.total == 0
    emulator.script = Script(text=WORDS, delay=30)
    stream = stream_of(client)
    opening = asyncio.create_task(raised(stream.open()))
    await emulator.log.wait()
    stream.abort()
    stream.abort()
    assert type(await within(SOON, opening)) is ClientClosedError
    assert client.stats().in_use == 0
    await within(1, emulator.log[0].closed.wait())
    emulator.script = Script(text=WORDS)
    async with stream_of(client) as stream:
        reply = await stream.final()
        stream.abort()
        assert await stream.final() == reply


async def test_abort_at_every_step_of_opening_leaves_nothing_behind(client, emulator) -> None:
    kinds = set()
    for turns in range(0, 60, 3):
        stream = stream_of(client)
        opening = asyncio.create_task(stream.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        stream.abort()
        done = await asyncio.gather(opening, return_exceptions=True)
        kinds.add(type(done[0]).__name__)
        assert isinstance(done[0], (ClientClosedError, type(stream)))
        assert type(await raised(anext(stream))) is ClientClosedError
        assert client.stats().in_use == 0
    assert "ClientClosedError" in kinds


async def test_abort_in_the_moment_in_which_the_answer_comes_cuts_it(client, emulator, monkeypatch) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=1))
    stream = stream_of(client)
    send = Call.send

    async def aborted_behind(call: Call, **arguments: Any) -> Any:
        answer = await send(call, **arguments)
        stream.abort()
        return answer

    monkeypatch.setattr(Call, "send", aborted_behind)
    assert type(await raised(stream.open())) is ClientClosedError
    assert type(await raised(anext(stream))) is ClientClosedError
    await within(1, emulator.log[0].closed.wait())
    assert client.stats().in_use == 0


async def test_an_error_comes_without_a_snapshot_where_none_can_be_made(client, emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Cut(after=4))
    async with stream_of(client) as stream:
        await anext(stream)

        class Broken:
            failure = None
            progress = stream._body.progress
            add = snapshot = None  # what is no function raises when it is called

        stream._body._accumulator = Broken()
        error = await raised(stream.final())
        assert type(error) is StreamDecodeError
        assert (error.snapshot, error.events_received) == (None, 1)


async def test_a_last_word_among_the_rest_of_a_lost_connection_ends_the_stream(client) -> None:
    class Lost:
        """A connection that failed after the last word had arrived."""

        def rest(self) -> bytes:
            return sse(piece("b", "stop"), b"[DONE]")

    async with stream_of(client) as stream:
        stream._lost(stream._body, Lost(), ConnectionResetError())
        assert stream._body.over
        assert await anext(stream.text_stream) == "b"


async def test_a_timer_that_outlives_its_stream_does_nothing(client) -> None:
    stream = stream_of(client)
    reference = weakref.ref(stream)
    del stream
    gc.collect()
    assert reference() is None
    _check(reference)


@pytest.mark.usefixtures("leaping_clock")
async def test_abort_ends_the_wait_before_a_retry(emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Cut(after=0))
    retries = Retries(initial_delay=600, max_delay=600)
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=retries) as client, stream_of(client) as stream:
        reader = asyncio.create_task(raised(stream.final()))
        await until(lambda: len(stream._call.failures) == 1)
        stream.abort()
        error = await within(SOON, reader)
        assert type(error) is ClientClosedError
        assert [type(earlier) for earlier in error.attempts] == [StreamTruncatedError]


async def test_abort_between_two_events_of_one_read_ends_the_events(client, emulator) -> None:
    emulator.script = Script(text=WORDS, chunk_size="all")
    async with stream_of(client) as stream:
        await read(stream, 3)
        stream.abort()
        error = await raised(anext(stream))
        assert type(error) is ClientClosedError
        assert error.events_received == 3


@pytest.mark.usefixtures("leaping_clock")
async def test_two_readers_at_one_time_are_the_caller_s_mistake(client, emulator) -> None:
    emulator.script = Script(text=WORDS, pace=0.05)
    async with stream_of(client) as stream:
        first = asyncio.create_task(stream.final())
        await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="two tasks"):
            await anext(stream)
        with pytest.raises(ConfigError, match="two tasks"):
            await stream.final()
        assert (await first).text == TEXT
    emulator.script = Script(text=WORDS, delay=0.1)
    stream = stream_of(client)
    opening = asyncio.create_task(stream.open())
    await asyncio.sleep(0.01)
    with pytest.raises(ConfigError, match="two tasks"):
        await stream.open()
    async with await opening:
        assert (await stream.final()).text == TEXT
    assert emulator.log.total == 2


@pytest.mark.usefixtures("leaping_clock")
@EVERY
async def test_a_dropped_stream_warns_once_and_its_connection_is_cut(client, emulator, name) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=2))
    stream = await stream_of(client, name).open()
    await anext(stream)
    gone = weakref.ref(stream)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del stream
        gc.collect()
        dropped = asyncio.get_running_loop().time()
        await within(1, emulator.log[0].closed.wait())
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "dropped unfinished" in str(caught[0].message)
    assert emulator.log[0].closed_at - dropped < SOON + SLACK / 2
    assert client.stats().in_use == 0
    caught.clear()  # the warning names the stream as its source
    assert gone() is None


async def test_a_stream_read_to_its_end_may_be_dropped_without_a_word(client) -> None:
    stream = await CALLS["messages"][0](client)(**CALLS["messages"][2], stream=True)
    await stream.final()
    del stream
    gc.collect()


# ------------------------------------------------------------------------------------------------------ the client's end


@pytest.mark.usefixtures("leaping_clock")
@EVERY
async def test_leaving_the_client_ends_its_streams_at_once(emulator, name) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=3))
    async with AsyncDGrid(KEY, base_url=emulator.url) as client:
        stream = await stream_of(client, name).open()
        reader = asyncio.create_task(raised(stream.final()))
        await until(lambda: stream._body.given >= 2 and stream._waits_since > 0)
        left = time.monotonic()
    error = await within(1, reader)
    assert time.monotonic() - left < SOON
    assert type(error) is ClientClosedError
    assert error.events_received >= 2
    assert error.snapshot is not None
    await within(1, emulator.log[0].closed.wait())
    await stream.close()


async def test_terminate_ends_a_stream_nobody_reads(emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=3))
    client = AsyncDGrid(KEY, base_url=emulator.url)
    stream = await stream_of(client).open()
    await read(stream, 2)
    client.terminate()
    await within(1, emulator.log[0].closed.wait())
    error = await raised(stream.final())
    assert type(error) is ClientClosedError
    await stream.close()
    await client.close()


@pytest.mark.usefixtures("leaping_clock")
async def test_close_of_the_client_lets_a_stream_be_read_to_its_end(emulator) -> None:
    emulator.script = Script(text=WORDS, pace=0.02)
    client = AsyncDGrid(KEY, base_url=emulator.url)
    stream = await stream_of(client).open()
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0.01)
    assert client.closed
    assert not closing.done()
    assert type(await raised(stream_of(client).open())) is ClientClosedError
    assert (await stream.final()).text == TEXT
    await within(1, closing)


# ------------------------------------------------------------------------------------------------------ limits

STALLS = [
    ("first_event", Timeouts(first_event=0.3), Stall("before_headers")),
    ("first_event", Timeouts(first_event=0.3), Stall("after_headers")),
    ("first_event", Timeouts(first_event=0.3), Stall("after_headers", comment_every=0.02)),
    ("idle", Timeouts(idle=0.3), Stall("after_headers")),
    ("idle", Timeouts(idle=0.3), Stall(after=4)),
    ("idle", Timeouts(idle=0.3), Stall("inside_event", after=4)),
    ("event", Timeouts(event=0.3), Stall(after=4)),
    ("event", Timeouts(event=0.3), Stall("inside_event", after=4)),
    ("event", Timeouts(event=0.3, idle=0.2), Stall(after=4, comment_every=0.02)),
    ("total", Timeouts(total=0.3), Stall("before_headers")),
    ("total", Timeouts(total=0.3), Stall("after_headers")),
    ("total", Timeouts(total=0.3), Stall(after=4)),
    ("total", Timeouts(total=0.3), Stall(after=4, comment_every=0.02)),
]


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize(("phase", "limits", "fault"), STALLS, ids=[f"{p}-{f.where}-{f.comment_every}" for p, _, f in STALLS])
async def test_each_limit_ends_each_silence_on_time(emulator, phase, limits, fault) -> None:
    emulator.script = Script(text=WORDS, fault=fault)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=limits, retries=ONCE) as client:
        begun = time.monotonic()
        stream = stream_of(client)
        try:
            with pytest.raises(APITimeoutError) as caught:
                async with stream:
                    await stream.final()
        finally:
            took = time.monotonic() - begun
        error = caught.value
        assert (error.phase, error.seconds) == (phase, 0.3)
        assert 0.29 < took < 0.3 + SLACK
        assert error.events_received == (4 if fault.after == 4 else 0)
        assert (error.snapshot is not None) == (fault.after == 4)
        assert client.stats().in_use == 0


@pytest.mark.usefixtures("leaping_clock")
@EVERY
async def test_a_healthy_slow_stream_meets_no_limit(emulator, name) -> None:
    emulator.script = Script(text=WORDS, pace=0.06)
    limits = Timeouts(first_event=0.4, idle=0.2, event=0.3)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=limits, retries=ONCE) as client:
        begun = time.monotonic()
        async with stream_of(client, name) as stream:
            assert (await stream.final()).text == TEXT
        assert time.monotonic() - begun > 0.3


@pytest.mark.usefixtures("leaping_clock")
async def test_holding_an_event_is_no_silence(emulator) -> None:
    emulator.script = Script(text=WORDS, pace=0.005)
    limits = Timeouts(idle=0.1, event=0.1)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=limits, retries=ONCE) as client, stream_of(client) as stream:
        for _ in range(3):
            await anext(stream)
            await asyncio.sleep(0.15)
        assert (await stream.final()).text == TEXT


@pytest.mark.usefixtures("leaping_clock")
async def test_the_total_limit_holds_while_nobody_reads(emulator) -> None:
    emulator.script = Script(text=WORDS, fault=Stall(after=3))
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=Timeouts(total=0.2)) as client, stream_of(client) as stream:
        await anext(stream)
        begun = asyncio.get_running_loop().time()
        await within(1, emulator.log[0].closed.wait())
        assert emulator.log[0].closed_at - begun < 0.2 + SLACK
        error = await raised(anext(stream))
        assert (error.phase, error.events_received) == ("total", 1)


@pytest.mark.usefixtures("leaping_clock")
async def test_what_came_in_time_counts_however_late_it_is_read(emulator) -> None:
    emulator.script = Script(text=WORDS)
    limits = Timeouts(first_event=0.1, idle=None, event=None)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=limits, retries=ONCE) as client, stream_of(client) as stream:
        await asyncio.sleep(0.2)
        assert (await stream.final()).text == TEXT


async def test_without_limits_a_stream_sets_no_timer(emulator) -> None:
    emulator.script = Script(text=WORDS, pace=0.005)
    limits = Timeouts(connect=None, first_event=None, idle=None, event=None)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=limits, retries=ONCE) as client, stream_of(client) as stream:
        await anext(stream)
        assert stream._timer is None
        assert (await stream.final()).text == TEXT


@pytest.mark.usefixtures("leaping_clock")
async def test_one_who_polls_meets_the_limits_too(emulator) -> None:
    """Each poll is shorter than the limit; the silence adds up."""
    emulator.script = Script(text=WORDS, fault=Stall(after=3))
    limits = Timeouts(idle=0.3)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=limits, retries=ONCE) as client, stream_of(client) as stream:
        await read(stream, 3)
        begun = time.monotonic()
        polls = 0
        with pytest.raises(APITimeoutError) as caught:  # noqa: PT012 -- polling is the point
            while time.monotonic() - begun < 3:
                polls += 1
                with contextlib.suppress(TimeoutError):
                    await within(0.05, anext(stream))
        assert caught.value.phase == "idle"
        assert polls > 3
        assert time.monotonic() - begun < 0.3 + 2 * SLACK


@pytest.mark.usefixtures("leaping_clock")
async def test_the_clock_of_a_stream_starts_when_it_is_opened(emulator) -> None:
    emulator.script = Script(text=WORDS)
    async with AsyncDGrid(KEY, base_url=emulator.url, timeouts=Timeouts(first_event=0.2, total=0.2), retries=ONCE) as client:
        stream = stream_of(client)
        await asyncio.sleep(0.3)
        async with stream:
            assert (await stream.final()).text == TEXT


@pytest.mark.usefixtures("leaping_clock")
@EVERY
async def test_a_socket_held_open_behind_the_answer_is_not_waited_for(client, emulator, name) -> None:
    emulator.script = Script(text=WORDS, done=False, fault=HoldOpen())
    begun = time.monotonic()
    async with stream_of(client, name) as stream:
        assert (await stream.final()).text == TEXT
        assert stream.usage is not None
    assert time.monotonic() - begun < 1.0 + SLACK + 0.1
    await within(1, emulator.log[0].closed.wait())
    assert client.stats().in_use == 0


@pytest.mark.usefixtures("leaping_clock")
async def test_keep_alives_behind_the_answer_do_not_hold_the_stream() -> None:
    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + chunked(sse(piece("Hi", "stop"))))
        while True:
            writer.write(chunked(b": PING\n\n"))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url) as client, stream_of(client) as stream:
        begun = time.monotonic()
        assert (await stream.final()).text == "Hi"
        assert time.monotonic() - begun < 1.0 + SLACK + 0.1


async def test_the_first_event_of_a_read_does_not_wait_for_those_behind_it() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: int) -> None:
        writer.write(HEAD + chunked(sse(*[piece(str(n)) for n in range(500)], piece(finish="stop"), b"[DONE]")) + b"0\r\n\r\n")
        await writer.drain()

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url, retries=ONCE) as client, stream_of(client) as stream:
        decoded_ahead = [len(stream._body.ready) async for _ in stream]
    assert len(decoded_ahead) == 501
    assert decoded_ahead[0] < 20
    assert max(decoded_ahead) < 120


async def test_one_timer_serves_a_stream_however_long(client, emulator, monkeypatch) -> None:
    emulator.script = Script(text=("word ",) * 500)
    loop = asyncio.get_running_loop()
    call_later, set_by_us = loop.call_later, []

    def counted(delay: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        handle = call_later(delay, callback, *args, **kwargs)
        if getattr(callback, "__module__", "") == "dgrid_async.stream":
            set_by_us.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_later", counted)
    most = 0
    async with stream_of(client) as stream:
        async for _ in stream:
            most = max(most, sum(not handle.cancelled() for handle in set_by_us))
    assert most == 1
    assert len(set_by_us) <= 4
    assert all(handle.cancelled() for handle in set_by_us)


# ------------------------------------------------------------------------------------------------------ raw bytes


async def test_a_reset_inside_an_event_is_a_connection_error_with_what_had_come() -> None:
    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + chunked(sse(piece("a"), piece("b"))) + chunked(b'data: {"cho'))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url) as client, stream_of(client) as stream:
        error = await raised(stream.final())
        assert type(error) is APIConnectionError
        assert (error.snapshot.text, error.events_received, error.request_id) == ("ab", 2, "req_raw")
        assert error.__cause__ is not None


async def test_a_cut_behind_a_whole_answer_is_its_end() -> None:
    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + chunked(sse(piece("a", "stop"))))
        await writer.drain()

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url) as client, stream_of(client) as stream:
        assert (await stream.final()).text == "a"


async def test_what_came_before_a_failure_of_the_same_moment_is_handed_out_first() -> None:
    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(chunked(sse(piece("a"), piece("b"))) + b"zz\r\n")
        await writer.drain()

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url, retries=ONCE) as client, stream_of(client) as stream:
        await asyncio.sleep(0.1)
        texts = []
        with pytest.raises(APIConnectionError):  # noqa: PT012 -- reading on is the point
            async for text in stream.text_stream:
                texts.append(text)  # noqa: PERF401 -- what came before the error is the point
        assert "".join(texts) in {"ab", ""}  # the parser may refuse the whole read


async def test_a_flood_of_events_lets_other_tasks_run() -> None:
    body = sse(*[piece("x")] * 20_000, piece("", "stop"), b"[DONE]")

    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + chunked(body) + b"0\r\n\r\n")
        await writer.drain()

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url) as client, stream_of(client) as stream:
        beside = asyncio.create_task(other())
        await stream.final()
        beside.cancel()
        assert stream.snapshot.text == "x" * 20_000
    assert turns > 10


async def test_only_the_first_event_is_decoded_before_those_that_came_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several events come in one read, a stream that is behind takes them in one go."""
    sizes: list[int] = []
    feed = Body.feed

    def counting(self: Body[Any, Any], chunk: bytes) -> None:
        sizes.append(len(chunk))
        feed(self, chunk)

    monkeypatch.setattr(Body, "feed", counting)
    first, second = (sse(*[piece(f"{name}{n} ") for n in range(12)]) for name in "ab")
    assert 512 < len(first) < len(second + sse(piece("", "stop"), b"[DONE]")) < 8192
    more = asyncio.Event()

    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + chunked(first))
        await more.wait()
        writer.write(chunked(second + sse(piece("", "stop"), b"[DONE]")) + b"0\r\n\r\n")
        await writer.drain()

    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url) as client, stream_of(client) as stream:
        texts = stream.text_stream
        assert await anext(texts) == "a0 "
        assert sizes == [512]
        assert [await anext(texts) for _ in range(11)] == [f"a{n} " for n in range(1, 12)]
        assert sum(sizes) == len(first)
        sizes.clear()
        more.set()
        assert [text async for text in texts] == [f"b{n} " for n in range(12)]
    assert len(sizes) == 1


async def test_an_event_above_the_bound_ends_the_stream_with_what_had_come() -> None:
    async def play(_reader: Any, writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(HEAD + chunked(sse(piece("a"))))
        for _ in range(200):
            writer.write(chunked(b"data: " + b"x" * 1000))
            await writer.drain()

    limits = Limits(max_event_bytes=10_000)
    async with raw_server(play) as url, AsyncDGrid(KEY, base_url=url, limits=limits) as client, stream_of(client) as stream:
        error = await raised(stream.final())
        assert type(error).__name__ == "EventTooLargeError"
        assert (error.limit, error.snapshot.text) == (10_000, "a")


def test_streams_run_under_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> list[str]:
        async with Emulator(Script(text=WORDS)) as emulator, AsyncDGrid(KEY, base_url=emulator.url) as client:
            found = []
            for name in CALLS:
                async with stream_of(client, name) as stream:
                    found.append((await stream.final()).text)
            emulator.script = Script(text=WORDS, fault=Stall(after=3))
            stream = await stream_of(client).open()
            reader = asyncio.create_task(raised(stream.final()))
            await until(lambda: stream._waits_since > 0)
            stream.abort()
            found.append(type(await within(1, reader)).__name__)
            return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == [TEXT] * 4 + ["ClientClosedError"]


async def test_no_key_can_be_seen_on_a_stream(client) -> None:
    async with stream_of(client) as stream:
        await anext(stream)
        call = [getattr(stream._call, name) for name in stream._call.__slots__]
        shown = repr(stream) + str(stream) + repr(vars(stream)) + repr(call)
        assert KEY not in shown
        with pytest.raises(TypeError):
            pickle.dumps(stream)


async def test_a_first_event_that_came_with_the_headers_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(exchange: Exchange) -> None:
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*SSE, b""])
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + body)

    async with loopback(at_once) as server, client_of(server) as client, open_stream(client) as stream:
        naps: list[float] = []
        sleep = asyncio.sleep

        async def counted(delay: float, *args: Any) -> Any:
            naps.append(delay)
            return await sleep(delay, *args)

        monkeypatch.setattr(asyncio, "sleep", counted)
        assert await anext(stream)
        assert naps == []
        assert stream._timer is None  # what has come needs no watch
        assert (await stream.final()).text == "hello"


@pytest.mark.usefixtures("leaping_clock")
async def test_a_stream_that_waits_is_watched_and_one_that_nobody_reads_only_for_its_whole_time() -> None:
    async def slowly(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await asyncio.sleep(0.1)
        for piece in [*SSE, b""]:
            await exchange.chunk(piece)

    for timeouts, before in ((Timeouts(), False), (Timeouts(total=60.0), True)):
        async with loopback(slowly) as server, client_of(server, timeouts=timeouts) as client, open_stream(client) as stream:
            assert (stream._timer is not None) is before
            reader = asyncio.create_task(anext(stream))
            await asyncio.sleep(0.03)
            assert stream._timer is not None
            await reader
