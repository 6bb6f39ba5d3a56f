"""Inside an aiohttp session: bodies that leave at once, or are read in one go. Its connections are tested with the pool."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.http_writer import StreamWriter

from dgrid_async import AsyncDGrid
from dgrid_async.session import QuickReader, begun, quicken
from tests.loopback import Exchange, client_of, loopback

CHOICE = b'{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}'
REPLY = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[%b]}' % CHOICE
CALL: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@contextmanager
def server(came: threading.Event) -> Iterator[str]:
    """Answer the calls of one connection in a thread, which goes on while the loop stands still; say when one has come."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            text = b""
            while data := connection.recv(65536):
                text += data
                if text.endswith(b"}"):
                    text = b""
                    came.set()
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                    connection.sendall(b"content-length: %d\r\n\r\n%b" % (len(REPLY), REPLY))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(10)
        listener.close()


async def streamed(client: AsyncDGrid) -> None:
    async with client.chat.completions.stream(**CALL) as stream:
        await stream.final()


async def mapped(client: AsyncDGrid) -> None:
    async for outcome in client.map([client.chat.completions.request(**CALL)], concurrency=1):
        assert outcome.reply.text == "Hi"


@pytest.mark.parametrize("ask", [streamed, mapped])
async def test_a_request_leaves_in_the_turn_that_makes_it(ask: Callable[[AsyncDGrid], Awaitable[None]]) -> None:
    came = threading.Event()
    with server(came) as url:
        async with AsyncDGrid("k", base_url=url) as client:
            await client.chat.completions.create(**CALL)
            came.clear()
            asking = asyncio.ensure_future(ask(client))
            while not client.stats().in_use:
                await asyncio.sleep(0)
            assert came.wait(5)  # and the loop stands still
            await asking


async def test_a_request_that_the_socket_does_not_take_at_once_leaves_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    drain, waits = StreamWriter.drain, 0

    async def slow(self: StreamWriter) -> None:  # sockets of loopback take what a body may have at most
        nonlocal waits
        waits += 1
        await asyncio.sleep(0.02)
        await drain(self)

    monkeypatch.setattr(StreamWriter, "drain", slow)
    with server(threading.Event()) as url:
        async with AsyncDGrid("k", base_url=url) as client:
            words = "word " * 50_000
            async with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": words}]) as stream:
                assert (await stream.final()).text == "Hi"
    assert waits == 1


async def steps(log: list[str], turns: list[asyncio.Future[int]]) -> None:
    try:
        for turn in turns:
            got = await turn
            log.append(f"before {got}")
        log.append("through")
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    finally:
        log.append("left")


async def test_a_coroutine_that_does_not_wait_is_through_at_once() -> None:
    log: list[str] = []
    rest = begun(steps(log, []))
    assert log == ["through", "left"]
    assert await rest is None


async def test_a_coroutine_that_waits_goes_on_in_its_task() -> None:
    log: list[str] = []
    turns = [asyncio.get_running_loop().create_future() for _ in range(3)]
    task = asyncio.create_task(begun(steps(log, turns)))
    for n, turn in enumerate(turns):
        await asyncio.sleep(0)
        assert len(log) == n
        turn.set_result(n)
    await task
    assert log == ["before 0", "before 1", "before 2", "through", "left"]


@pytest.mark.parametrize("waits", [1, 2])
async def test_a_coroutine_that_waits_can_be_cancelled(waits: int) -> None:
    log: list[str] = []
    turns = [asyncio.get_running_loop().create_future() for _ in range(2)]
    task = asyncio.create_task(begun(steps(log, turns)))
    await asyncio.sleep(0)
    if waits == 2:
        turns[0].set_result(0)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log[-2:] == ["cancelled", "left"]


async def test_a_coroutine_may_take_an_error_and_go_on() -> None:
    async def patient(turn: asyncio.Future[int]) -> None:
        try:
            await turn
        except OSError:
            await asyncio.sleep(0)
            told.append("went on")

    told: list[str] = []
    turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(begun(patient(turn)))
    turn.set_exception(OSError())
    await task
    assert told == ["went on"]


async def test_an_error_before_the_first_wait_is_raised_at_once() -> None:
    async def wrong() -> None:
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        begun(wrong())


# ------------------------------------------------------------------------------------------------------------- reading


class Protocol:
    """The protocol of a connection, as far as a reader knows it; what the parser holds back comes when reading goes on."""

    def __init__(self) -> None:
        self.transport: object | None = object()
        self.connected = True
        self._reading_paused = False
        self.held: list[bytes] = []
        self.told: list[str] = []
        self.reader: aiohttp.StreamReader

    def pause_reading(self) -> None:
        self._reading_paused = True
        self.told.append("pause")

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        del resume_parser
        self._reading_paused = False
        self.told.append("resume")
        held, self.held = self.held, []
        for data in held:
            self.reader.feed_data(data)


def reader_of(limit: int = 1000, *, quick: bool = True) -> tuple[aiohttp.StreamReader, Protocol]:
    protocol: Any = Protocol()
    reader = aiohttp.StreamReader(protocol, limit, loop=asyncio.get_running_loop())
    protocol.reader = quicken(reader) if quick else reader
    return protocol.reader, protocol


async def test_the_installed_aiohttp_has_the_insides_that_are_known() -> None:
    reader, _ = reader_of()
    assert type(reader) is QuickReader


async def test_other_readers_are_left_as_they_are() -> None:
    class Theirs(aiohttp.StreamReader):
        pass

    protocol: Any = Protocol()
    theirs = Theirs(protocol, 1000, loop=asyncio.get_running_loop())
    assert type(quicken(theirs)) is Theirs


@pytest.mark.parametrize("seed", range(20))
async def test_all_is_read_in_its_order_whatever_comes_when(seed: int) -> None:
    draw = random.Random(seed)
    pieces = [draw.randbytes(draw.choice([0, 1, 5, 400])) for _ in range(300)]

    async def read(*, quick: bool) -> bytes:
        draw.seed(seed)
        reader, protocol = reader_of(100, quick=quick)

        async def feed() -> None:
            for piece in pieces:
                if draw.random() < 0.3:
                    await asyncio.sleep(0)
                reader.begin_http_chunk_receiving()
                if protocol._reading_paused:
                    protocol.held.append(piece)
                else:
                    reader.feed_data(piece)
                    reader.end_http_chunk_receiving()
            while protocol._reading_paused:
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        got = []
        while data := await reader.readany():
            got.append(data)
        await feeding
        assert await reader.readany() == b""
        assert {"pause", "resume"} <= {*protocol.told}
        return b"".join(got)

    assert await read(quick=True) == await read(quick=False) == b"".join(pieces)


async def test_what_has_come_is_read_in_one_go() -> None:
    reader, protocol = reader_of()
    for piece in (b"a", b"", b"bc", b"d"):
        reader.feed_data(piece)
    assert await reader.readany() == b"abcd"
    reader.feed_data(b"e")
    assert await reader.readany() == b"e"
    assert protocol.told == []


@pytest.mark.parametrize(("piece", "count"), [(b"x" * 501, 4), (b"x", 63)])
async def test_a_body_that_nobody_reads_is_held_back(piece: bytes, count: int) -> None:
    """By its size, and by the number of its chunks."""
    reader, protocol = reader_of()
    for n in range(count):
        assert protocol.told == [], n
        reader.feed_data(piece)
    assert protocol.told == ["pause"]
    protocol.held = [b"rest"]
    assert await reader.readany() == piece * count
    assert protocol.told == ["pause", "resume"]
    assert await reader.readany() == b"rest"


async def test_the_ends_of_chunks_that_came_with_the_headers_are_let_go() -> None:
    reader, _ = reader_of(quick=False)
    reader.begin_http_chunk_receiving()
    reader.feed_data(b"one ")
    reader.end_http_chunk_receiving()
    assert reader._http_chunk_splits
    reader = quicken(reader)
    assert reader._http_chunk_splits is None
    reader.begin_http_chunk_receiving()
    reader.feed_data(b"two")
    reader.end_http_chunk_receiving()
    reader.feed_eof()
    assert [await reader.readany(), await reader.readany()] == [b"one two", b""]


async def test_another_answer_on_the_connection_is_left_alone() -> None:
    reader, protocol = reader_of()
    reader.feed_data(b"end")
    reader.feed_eof()
    protocol.told.clear()
    protocol._reading_paused = True  # by the next one
    assert await reader.readany() == b"end"
    assert protocol.told == []


async def test_a_read_that_is_cancelled_loses_nothing() -> None:
    reader, _ = reader_of()
    task = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    reader.feed_data(b"one")
    task.cancel()  # when the data has come, and before it was taken
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader.readany() == b"one"
    task = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    task.cancel()  # before it came
    reader.feed_data(b"two")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader.readany() == b"two"


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_an_error_is_raised_at_once(when: str) -> None:
    reader, _ = reader_of()
    if when == "before":
        reader.feed_data(b"kept for the rest")
        reader.set_exception(OSError("lost"))
        reading = asyncio.ensure_future(reader.readany())
    else:
        reading = asyncio.ensure_future(reader.readany())
        await asyncio.sleep(0)
        reader.set_exception(OSError("lost"))
    with pytest.raises(OSError, match="lost"):
        await reading


async def test_two_reads_at_a_time_and_a_connection_that_is_gone_are_refused() -> None:
    reader, protocol = reader_of()
    first = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another coroutine"):
        await reader.readany()
    reader.feed_data(b"a")
    assert await first == b"a"
    protocol.transport, protocol.connected = None, False
    with pytest.raises(RuntimeError, match="closed"):
        await reader.readany()


async def test_streams_are_read_so() -> None:
    """Chunk by chunk: of aiohttp's own reader no function runs while a stream is read."""
    ran: set[str] = set()

    def note(frame: Any, _event: str, _argument: Any) -> None:
        if frame.f_code.co_filename.endswith("aiohttp/streams.py"):
            ran.add(frame.f_code.co_name)

    async def answer(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for word in ("a", "b", "c"):
            await asyncio.sleep(0.01)
            await exchange.chunk(b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
                                 b'[{"index":0,"delta":{"content":"%b"}}]}\n\n' % word.encode())  # fmt: skip
        await exchange.chunk(b"")

    async with loopback(answer) as server, client_of(server) as client, client.chat.completions.stream(**CALL) as stream:
        await anext(stream)
        sys.setprofile(note)
        try:
            texts = [event.choices[0].delta.content for event in (await anext(stream), await anext(stream))]
        finally:
            sys.setprofile(None)
    assert texts == ["b", "c"]
    assert ran <= {"is_eof", "feed_eof"}
