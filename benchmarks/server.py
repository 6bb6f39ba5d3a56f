"""The server that all competitors read from: prepared bytes over a raw asyncio protocol, in a process of its own.

The first part of a request's path says how the answer is sent; the rest says the format:

    /large.2000/…       a stream of 2,000 deltas, all of it in one write: the client reads as much as it can at a time
    /single.400/…       400 deltas, each written by itself a millisecond after the one before: one event a read
    /stepped.400.7/…    400 deltas, each written by itself when the client has told, by a datagram that holds the 7 to the same
                        port, that it has every event before it: one event a read, however loaded the machine is
    /paced.100.20/…     100 deltas, 20 a second, the text of each being the moment at which it was sent (`time.monotonic`)
    /plain/…            a plain reply

Each event is one HTTP chunk, as servers that flush each event send it. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

from benchmarks import corpus

__all__ = ["serve"]

# A read of its own for each event: the slowest competitor takes a tenth of this to be done with one.
SINGLE_GAP = 0.001
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nrequest-id: req_bench\r\n%s\r\n"
_STREAM_HEAD = _HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n")
_END = b"0\r\n\r\n"
_BACKLOG = 4096


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


@lru_cache(maxsize=64)
def _whole(name: str, deltas: int) -> bytes:
    return _STREAM_HEAD + b"".join(map(_chunk, corpus.text_stream(name, deltas).events)) + _END


@lru_cache(maxsize=64)
def _each(name: str, deltas: int) -> tuple[bytes, ...]:
    first, *rest = map(_chunk, corpus.text_stream(name, deltas).events)
    return (_STREAM_HEAD + first, *rest[:-1], rest[-1] + _END)


@lru_cache(maxsize=8)
def _plain(name: str) -> bytes:
    body, _ = corpus.plain(name)
    return _HEAD % (b"application/json", b"content-length: %d\r\n" % len(body)) + body


def _format_of(path: str) -> str:
    for name, known in corpus.PATHS.items():
        if path.endswith(known):
            return name
    return "generate_content"


class _Steps(asyncio.DatagramProtocol):
    """Streams that wait for their clients, by the names that the clients gave them."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, tuple[Callable[[bytes], None], Iterator[bytes]]] = {}
        self._unread: dict[bytes, int] = {}

    def begin(self, name: bytes, write: Callable[[bytes], None], stream: corpus.Stream) -> None:
        """Send what comes before the first delta, and each delta when its turn has come."""
        first, *rest = stream.deltas
        tail = b"".join(map(_chunk, stream.tail)) + _END
        self._waiting[name] = write, iter([*map(_chunk, rest), tail])
        self._unread[name] = len(stream.head) + 1
        write(_STREAM_HEAD + b"".join(map(_chunk, stream.head)) + _chunk(first))

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr
        if data not in self._waiting:
            return  # of events behind the last delta
        self._unread[data] -= 1
        if self._unread[data]:
            return
        write, rest = self._waiting[data]
        self._unread[data] = 1
        chunk = next(rest)
        if chunk.endswith(_END):
            del self._waiting[data]
        write(chunk)


class _Connection(asyncio.Protocol):
    def __init__(self, steps: _Steps) -> None:
        self._steps = steps
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.strip().lower() == b"content-length":
                    length = int(value)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, target: str) -> None:
        path = target.partition("?")[0]
        _, how, _ = path.split("/", 2)
        mode, *numbers = how.split(".")
        name = _format_of(path)
        if mode == "plain":
            self._write(_plain(name))
        elif mode == "large":
            self._write(_whole(name, int(numbers[0])))
        elif mode == "stepped":
            self._steps.begin(numbers[1].encode(), self._write, corpus.text_stream(name, int(numbers[0])))
        elif mode == "single":
            self._write_each(iter(_each(name, int(numbers[0]))))
        else:
            self._pace(name, int(numbers[0]), 1 / int(numbers[1]))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _write_each(self, chunks: Iterator[bytes]) -> None:
        chunk = next(chunks, None)
        if chunk is not None and self._transport is not None:
            self._write(chunk)
            asyncio.get_running_loop().call_later(SINGLE_GAP, self._write_each, chunks)

    def _pace(self, name: str, count: int, gap: float) -> None:
        stream, before, behind = corpus.stamped_stream(name)
        loop = asyncio.get_running_loop()
        self._write(_STREAM_HEAD + b"".join(map(_chunk, stream.head)))
        left = count

        def send(due: float) -> None:
            nonlocal left
            if self._transport is None:
                return
            if left:
                left -= 1
                self._write(_chunk(b"%b%.6f %b" % (before, time.monotonic(), behind)))
                # What is behind is not made up for: a burst would measure the server.
                following = max(due, loop.time() - gap) + gap
                loop.call_at(following, send, following)
            else:
                self._write(b"".join(map(_chunk, stream.tail)) + _END)

        send(loop.time())


async def serve() -> None:
    """Serve on a free loopback port, which is printed first, until standard input ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    loop = asyncio.get_running_loop()
    steps = _Steps()
    server = await loop.create_server(lambda: _Connection(steps), "127.0.0.1", 0, backlog=_BACKLOG)
    port = server.sockets[0].getsockname()[1]
    datagrams, _ = await loop.create_datagram_endpoint(lambda: steps, local_addr=("127.0.0.1", port))
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    datagrams.close()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
