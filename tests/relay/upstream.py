"""A gateway that streams by script and knows when each of its readers has left; and pages: websocket clients of raw sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dgrid_async import AsyncDGrid
from tests.loopback import Exchange, Loopback, client_of, loopback

__all__ = ["PLAYS", "Page", "Upstream", "chunk", "connect", "upstream"]

# Kinds of behaviour, by name.
PLAYS = ("tokens", "at_once", "no_headers", "no_token", "falls_silent", "endless", "refuses", "breaks")
WORDS = 40


def chunk(text: str | None = None, finish: str | None = None) -> bytes:
    """Return one event of Chat Completions."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(value)}\n\n".encode()


END = chunk(finish="stop") + b"data: [DONE]\n\n"


@dataclass
class Upstream:
    """A running gateway.

    Attributes:
        asked: A request has come.
        left: The client has closed its connection before the answer was whole.
        sent: Events sent.
    """

    play: str
    client: AsyncDGrid = field(init=False)
    server: Loopback = field(init=False)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    def stream(self) -> Any:
        """Return a stream, not opened."""
        return self.client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}])

    async def answer(self, exchange: Exchange) -> None:
        """Answer as the play says, and notice when the client leaves."""
        self.asked.set()
        playing = asyncio.ensure_future(self._play(exchange))
        leaving = asyncio.ensure_future(exchange.left())
        try:
            await asyncio.wait((playing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() or isinstance(playing.exception(), ConnectionError):
                self.left.set()
                raise ConnectionResetError
            await playing
        finally:
            for task in (playing, leaving):
                task.cancel()
            await asyncio.gather(playing, leaving, return_exceptions=True)

    async def _play(self, exchange: Exchange) -> None:
        if self.play == "refuses":
            await exchange.answer(429, {"error": {"message": "slow down", "code": 429}}, retry_after="30")
            await asyncio.Event().wait()
        if self.play == "no_headers":
            await asyncio.Event().wait()
        await exchange.begin_stream()
        if self.play == "no_token":
            await asyncio.Event().wait()
        if self.play == "endless":
            piece = chunk("x" * 4096)
            while True:
                await exchange.chunk(piece)
                self.sent += 1
                await asyncio.sleep(0)
        if self.play == "at_once":
            await exchange.chunk(b"".join(chunk(f"w{word} ") for word in range(WORDS)) + END)
            await exchange.chunk(b"")
            return
        for word in range(WORDS):
            await exchange.chunk(chunk(f"w{word} "))
            self.sent += 1
            await asyncio.sleep(0.002)
            if self.play == "falls_silent" and word == 3:
                await asyncio.Event().wait()
            if self.play == "breaks" and word == 3:
                await exchange.chunk(b'data: {"error": {"message": "no more", "code": 429}}\n\n')
                await asyncio.Event().wait()
        await exchange.chunk(END)
        await exchange.chunk(b"")


@asynccontextmanager
async def upstream(play: str = "tokens", **options: Any) -> AsyncIterator[Upstream]:
    """Run a gateway with a client of it."""
    assert play in PLAYS
    running = Upstream(play)
    async with loopback(running.answer) as server, client_of(server, **options) as client:
        running.server, running.client = server, client
        yield running


class Page:
    """The page's end of a websocket, by hand: it may also not read, or vanish."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> Any:
        """Return the next frame; None where the server has closed. Pings of the protocol are left out."""
        while True:
            try:
                head = await self._reader.readexactly(2)
                size = head[1] & 127
                if size >= 126:
                    width = 2 if size == 126 else 8
                    size = int.from_bytes(await self._reader.readexactly(width), "big")
                data = await self._reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if head[0] & 15 == 8:
                self._send(8, data)
                self._writer.close()
                return None
            if head[0] & 15 == 1:
                return json.loads(data)

    async def rest(self) -> list[Any]:
        """Return all frames until the server closes, but pings."""
        frames = []
        while (frame := await self.receive()) is not None:
            if frame["type"] != "ping":
                frames.append(frame)
        return frames

    async def until(self, found: Callable[[Any], bool]) -> list[Any]:
        """Return the frames up to the first that is looked for."""
        frames = []
        while (frame := await self.receive()) is not None:
            frames.append(frame)
            if found(frame):
                return frames
        raise AssertionError(f"not among {frames}")

    def _send(self, opcode: int, data: bytes) -> None:
        assert len(data) < 126
        self._writer.write(bytes([0x80 | opcode, 0x80 | len(data)]) + b"\0\0\0\0" + data)

    def say(self, text: str) -> None:
        """Send a text message."""
        self._send(1, text.encode())

    async def leave(self) -> None:
        """Close as a browser does whose tab is closed."""
        self._send(8, struct.pack("!H", 1001))
        with suppress(ConnectionError):
            await self._writer.drain()
        self._writer.close()

    def vanish(self) -> None:
        """Abort the connection: the server sees a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def freeze(self) -> None:
        """Read nothing any more."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]


@asynccontextmanager
async def connect(url: str, path: str = "/ws") -> AsyncIterator[Page]:
    """Open a page's websocket."""
    address = urlsplit(url)
    sock = socket.socket()
    sock.setblocking(False)
    # What a page does not read must not vanish in the kernel.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head.split(b"\r\n")[0], head
    try:
        yield Page(reader, writer)
    finally:
        writer.transport.abort()
