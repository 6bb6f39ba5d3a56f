"""One accepted socket, and the request read from it: bytes in, bytes out, with every kind of ending.

Never decides what to send. Framing is written by hand, for the faults live in it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from tests.faults.formats import Format

PIECE_BYTES = 65536
HEAD_BYTES = 65536
BODY_BYTES = 64 * 1024 * 1024
STALL_SECONDS = 13.0
"""Longer than any limit a fault sets, shorter than the bound on a play."""


class ClientLeftError(Exception):
    """The client closed or reset the connection."""


@dataclass(frozen=True)
class Request:
    """A request as it was read: header names in lower case, the last of equal ones kept."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream, by path or by body."""
        if ":streamGenerateContent" in self.target:
            return True
        try:
            body = json.loads(self.body)
        except ValueError:
            return False
        return isinstance(body, dict) and body.get("stream") is True


class Connection(asyncio.Protocol):
    """One socket of a client.

    A play ends a connection by returning, or keeps it by finishing an answer with `reusable` set.
    """

    # The mutable state: what has come and was not read, what the kernel last said, and three tallies.
    def __init__(self, accepted: Callable[[Connection], None]) -> None:
        """Wait for the connection; `accepted` is called once it stands."""
        self._accepted = accepted
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.left = asyncio.Event()
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport
        self.reusable = False
        self.ended = False
        self.served = 0
        self.sent = 0
        self.request_id: str | None = "req_fault"
        self.elsewhere_url = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and hand the connection to the server."""
        self.transport = cast("asyncio.Transport", transport)
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came until a request is read."""
        self._buffer += data
        self._news.set()

    def eof_received(self) -> None:
        """Note that the client left; the transport closes itself."""
        self.left.set()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everything that waits for this client."""
        del exc
        self.left.set()
        self.gone.set()
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Hold `send` until the client has read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._writable.set()

    async def _until(self, found: Callable[[], bool]) -> bool:
        while not found():
            if self.left.is_set():
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _line(self) -> bytes:
        if not await self._until(lambda: b"\r\n" in self._buffer or len(self._buffer) > HEAD_BYTES):
            raise ClientLeftError
        return self._take(self._buffer.index(b"\r\n") + 2)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int((await self._line()).split(b";")[0], 16):
                body += await self._exactly(size)
                await self._line()
            while await self._line() != b"\r\n":
                pass
            return body
        return await self._exactly(int(headers.get("content-length", "0")))

    async def _exactly(self, size: int) -> bytes:
        if size > BODY_BYTES or not await self._until(lambda: len(self._buffer) >= size):
            raise ClientLeftError
        return self._take(size)

    async def read_request(self) -> Request | None:
        """Return the next request, or None when the client left between two of them."""
        if not await self._until(lambda: bool(self._buffer)):
            return None
        method, target, _ = (await self._line()).decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := await self._line()) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        self.reusable = False
        return Request(method, target, headers, await self._body(headers))

    async def send(self, data: bytes) -> None:
        """Write all of it, no faster than the client reads.

        Raises:
            ClientLeftError: The client is gone; some of the bytes may have reached it.
        """
        for start in range(0, len(data), PIECE_BYTES):
            if self.left.is_set():
                raise ClientLeftError
            piece = data[start : start + PIECE_BYTES]
            self.transport.write(piece)
            self.sent += len(piece)
            await self._writable.wait()
            if len(data) > PIECE_BYTES:
                # Large bodies share the loop with every other case of the server.
                await asyncio.sleep(0)

    async def pause(self, seconds: float) -> None:
        """Send nothing for some seconds.

        Raises:
            ClientLeftError: The client left meanwhile.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.left.wait()
        except TimeoutError:
            return
        raise ClientLeftError

    async def stall(self) -> None:
        """Send nothing until the client leaves, or until it is clear that it never will."""
        await self.pause(STALL_SECONDS)

    async def settle(self) -> None:
        """Let the client read what was sent, so that a cut cannot take it back."""
        await self.pause(0.05)

    async def head(
        self,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        *,
        content_type: str | None = "text/event-stream",
        length: int | None = None,
        version: str = "1.1",
        reason: str = "Said",
    ) -> None:
        """Send a status line and headers: with a length, or chunked; HTTP/1.0 has neither unless a length is given."""
        lines = [f"HTTP/{version} {status} {reason}"]
        if self.request_id is not None:
            lines.append(f"DGrid-Request-ID: {self.request_id}")
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif version == "1.1":
            lines.append("Transfer-Encoding: chunked")
        lines += [f"{name}: {value}" for name, value in headers]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        """Send one HTTP chunk; an empty one would end the body, so it sends nothing."""
        if data:
            await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End a chunked body; the connection may be used again."""
        await self.send(b"0\r\n\r\n")
        self.reusable = True

    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[str, str]] = (),
        content_type: str | None = "application/json",
    ) -> None:
        """Send a whole answer with its length; the connection may be used again."""
        await self.head(status, headers, content_type=content_type, length=len(body))
        await self.send(body)
        self.reusable = True

    async def answer_json(self, status: int, value: Any, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send a whole answer of JSON."""
        await self.answer(status, json.dumps(value).encode(), headers)

    async def stream(self, parts: Iterable[bytes], headers: Iterable[tuple[str, str]] = (), gap: float = 0.0) -> None:
        """Send a whole stream, one HTTP chunk a part, with `gap` seconds between them."""
        await self.head(200, headers)
        for part in parts:
            await self.chunk(part)
            await (self.pause(gap) if gap else asyncio.sleep(0))
        await self.end()

    async def good(self, request: Request, fmt: Format) -> None:
        """Send the right answer to the request."""
        if request.stream:
            await self.stream(document.sse() for document in fmt.script().documents())
        else:
            await self.answer_json(200, fmt.reply())

    def close(self) -> None:
        """Send a FIN after what is still to be written."""
        self.ended = True
        self.transport.close()

    def reset(self) -> None:
        """Send a RST; the kernel drops what the client has not taken yet."""
        self.ended = True
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.gone.is_set():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
