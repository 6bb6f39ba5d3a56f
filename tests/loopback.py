"""A gateway of raw sockets for tests of the transport: each test writes the bytes, the server counts what it sees."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from dgrid_async import AsyncDGrid, Retries, Timeouts
from dgrid_async.config import Secret
from dgrid_async.pool import Pool
from dgrid_async.transport import Call, CoolDown

KEY = "sk-loopback-0123456789"
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
BODY = json.dumps(REPLY).encode()
CHUNKS = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    for choice in (
        {"index": 0, "delta": {"role": "assistant", "content": "hel"}, "finish_reason": None},
        {"index": 0, "delta": {"content": "lo"}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    )
]
SSE = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in CHUNKS] + [b"data: [DONE]\n\n"]

NO_WAIT = Retries(initial_delay=0.0)
ONCE = Retries(max_attempts=1)
ON_TIME = 0.2
"""Seconds within which a limit ends what it bounds."""


@dataclass(eq=False)
class Exchange:
    """One request and the means to answer it."""

    number: int
    connection: int
    line: str
    headers: dict[str, str]
    body: bytes
    at: float
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    async def send(self, data: bytes) -> None:
        """Write raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int = 200, body: bytes | Any = BODY, **headers: str) -> None:
        """Write a whole answer; underscores in header names stand for hyphens."""
        await self.send(self.head(status, body, **headers) + (body if isinstance(body, bytes) else json.dumps(body).encode()))

    @staticmethod
    def head(status: int = 200, body: bytes | Any = BODY, **headers: str) -> bytes:
        """Return the head of a whole answer."""
        length = len(body if isinstance(body, bytes) else json.dumps(body).encode())
        given = {"content-type": "application/json", "content-length": str(length)}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode()

    async def begin_stream(self) -> None:
        """Write the head of a chunked event stream."""
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        """Write one chunk of a chunked body; no data end it."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """Let the client see a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def left(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Play = Callable[[Exchange], Awaitable[None]]


async def good(exchange: Exchange) -> None:
    """Answer as a gateway should, streamed where a stream was asked for."""
    if b'"stream":true' in exchange.body:
        await exchange.begin_stream()
        for piece in SSE:
            await exchange.chunk(piece)
        await exchange.chunk(b"")
    else:
        await exchange.answer()


async def hang(exchange: Exchange) -> None:
    """Say nothing until the client leaves."""
    await exchange.left()


async def moved(exchange: Exchange) -> None:
    """Redirect the first of two requests to the same host."""
    if "there" in exchange.line:
        await good(exchange)
    else:
        await exchange.answer(307, b"", location="/there/v1/chat/completions")


def answering(status: int, body: Any = b"{}", **headers: str) -> Play:
    """Return a play that gives this answer."""
    return lambda exchange: exchange.answer(status, body, **headers)


def in_turn(*plays: Play) -> Play:
    """Return a play for each request in turn, the last for all after it."""

    async def play(exchange: Exchange) -> None:
        await plays[min(exchange.number, len(plays)) - 1](exchange)

    return play


class Loopback:
    """The server: answers each request by its play and counts connections and requests."""

    def __init__(self, play: Play = good) -> None:
        self.play = play
        self.requests: list[Exchange] = []
        self.connections = 0
        self.open = 0
        self.in_flight = 0
        self.peak = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context, backlog=1024)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def wait(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.requests) < count:
            await asyncio.sleep(0.002)

    async def wait_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        while self.open != count:
            await asyncio.sleep(0.002)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.rstrip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                at = asyncio.get_running_loop().time()
                exchange = Exchange(len(self.requests) + 1, number, line, headers, body, at, reader, writer)
                self.requests.append(exchange)
                self.in_flight += 1
                self.peak = max(self.peak, self.in_flight)
                try:
                    await self.play(exchange)
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


@asynccontextmanager
async def loopback(play: Play = good, context: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Run a server."""
    server = Loopback(play)
    await server.start(context)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def blackhole() -> AsyncIterator[str]:
    """Yield an address at which connecting neither succeeds nor fails: its queue of connections is full."""
    sockets = [socket.socket() for _ in range(5)]
    hole, *fillers = sockets
    for sock in sockets:
        sock.setblocking(False)
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    for filler in fillers:
        filler.connect_ex(hole.getsockname())
    await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"
    finally:
        for sock in sockets:
            sock.close()


def client_of(server: Loopback | str, **options: Any) -> AsyncDGrid:
    """Return a client of the server."""
    return AsyncDGrid(KEY, base_url=server if isinstance(server, str) else server.url, **options)


def call_to(url: str, pool: Pool, secret: Secret | None = None) -> Call:
    """Return a call of an address, tried once."""
    return Call(pool, CoolDown(), url=url, body=b"{}", headers={}, secret=secret, timeouts=Timeouts(), retries=ONCE)


async def ask(client: AsyncDGrid, **params: Any) -> str:
    """Make a plain call and return the text of its reply."""
    reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **params)
    return str(reply.text)


def open_stream(client: AsyncDGrid, **params: Any) -> Any:
    """Return a stream, not opened."""
    return client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}], **params)


async def stream_text(client: AsyncDGrid, **params: Any) -> str:
    """Read a stream to its end and return its text."""
    async with open_stream(client, **params) as stream:
        return str((await stream.final()).text)


def keys(server: Loopback) -> list[str]:
    """Return the Idempotency-Key of each request."""
    return [exchange.headers["idempotency-key"] for exchange in server.requests]


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


@contextmanager
def ends_within(low: float, high: float) -> Iterator[None]:
    """Check that a block takes so many seconds."""
    begun = now()
    yield
    assert low <= now() - begun <= high
