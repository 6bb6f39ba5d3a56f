"""Maps: what one costs a line, what it keeps in memory, how near it comes to the ideal rate, and what it finds by trying.

The server of the last two is this module run as a program: each plain call takes as long as its path says, and what is more
than so many at a time is refused.

    /<milliseconds>.<at a time>/v1/…
"""

from __future__ import annotations

import asyncio
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import corpus
from benchmarks.arena import ROOT, Arena
from benchmarks.figures import Row
from benchmarks.peers import SUBJECT, Peer, parameters
from benchmarks.worker import resident_bytes
from dgrid_async import AsyncDGrid, Limits
from dgrid_async.batch.limiter import BatchLimits, Limiter, Turn
from dgrid_async.batch.mapping import fan_out
from dgrid_async.request import Request

__all__ = ["found", "memory", "overhead", "rate", "run"]

_FORMAT = "chat_completions"
_MS, _IN_FLIGHT, _ALLOWED = 50, 96, 60


# ------------------------------------------------------------------------------------------------------------ the server


class _Connection(asyncio.Protocol):
    in_flight = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        body, _ = corpus.plain(_FORMAT)
        self._good = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not blank or len(rest) < length:
            return
        self._buffer = rest[length:]
        ms, allowed = head.split(b" ", 2)[1].split(b"/")[1].split(b".")
        if _Connection.in_flight >= int(allowed):
            self._write(b"HTTP/1.1 429 Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        else:
            _Connection.in_flight += 1
            asyncio.get_running_loop().call_later(int(ms) / 1000, self._answer)

    def _answer(self) -> None:
        _Connection.in_flight -= 1
        self._write(self._good)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    server.close()


@contextmanager
def _server() -> Iterator[str]:
    """Give the address of the server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_map"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


# -------------------------------------------------------------------------------------------------------------- the jobs


async def _stub(request: Request, _turn: Turn) -> str | None:
    return request.custom_id


async def _map_stub(lines: int, *, ordered: bool) -> None:
    requests = (Request("responses", {"model": "m", "input": "Hi"}, str(n)) for n in range(lines))
    count = 0
    async for outcome in fan_out(requests, _stub, limiter=Limiter(BatchLimits(concurrency=_IN_FLIGHT)), ordered=ordered):
        count += outcome.ok
    assert count == lines


async def overhead(_peer: Peer, *, lines: int, ordered: bool) -> dict[str, float]:
    """Return what a line costs over a call that costs nothing, the making of its request left out."""
    began = time.process_time()
    for n in range(lines):
        Request("responses", {"model": "m", "input": "Hi"}, str(n))
    made = time.process_time()
    await _map_stub(lines, ordered=ordered)
    return {"µs CPU a line": (time.process_time() - made - (made - began)) / lines * 1e6}


async def memory(_peer: Peer, *, lines: int) -> dict[str, float]:
    """Return what is resident behind so many lines."""
    await _map_stub(lines, ordered=True)
    return {"MB resident": resident_bytes() / 1e6}


async def rate(peer: Peer, *, url: str, calls: int) -> dict[str, float]:
    """Return how much of the ideal rate is reached; who has no map uses a semaphore and gather."""
    async with AsyncDGrid("k", base_url=url) if peer.module == "dgrid_async" else peer.client(url, _IN_FLIGHT) as client:
        if isinstance(client, AsyncDGrid):
            await client.chat.completions.create(**parameters(_FORMAT))  # what is made at the first call
            began = time.perf_counter()
            requests = (client.chat.completions.request(**parameters(_FORMAT)) for _ in range(calls))
            ends = [outcome.ok async for outcome in client.map(requests, concurrency=_IN_FLIGHT)]
            assert ends == [True] * calls
        else:
            free = asyncio.Semaphore(_IN_FLIGHT)

            async def one() -> None:
                async with free:
                    await client.plain(_FORMAT)

            await client.plain(_FORMAT)
            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(calls)))
        seconds = time.perf_counter() - began
    return {"% of the ideal rate": calls * _MS / 1000 / _IN_FLIGHT / seconds * 100}


async def found(_peer: Peer, *, url: str, calls: int) -> dict[str, float]:
    """Return what finding the concurrency costs, against having known it."""
    seconds, refused = [], 0
    for concurrency in (_ALLOWED, None):
        async with AsyncDGrid("k", base_url=url, limits=Limits(max_connections=1000)) as client:
            await client.chat.completions.create(**parameters(_FORMAT))  # as above
            began = time.perf_counter()
            requests = (client.chat.completions.request(**parameters(_FORMAT)) for _ in range(calls))
            attempts = [outcome.attempts async for outcome in client.map(requests, concurrency=concurrency) if outcome.ok]
            seconds.append(time.perf_counter() - began)
        assert len(attempts) == calls
        refused = sum(attempts) - calls
    return {"times the fixed time": seconds[1] / seconds[0], "% refused": refused / calls * 100}


def run(arena: Arena) -> list[Row]:
    """Return the figures."""
    subject = [name for name in arena.peers("plain", _FORMAT) if name == SUBJECT]
    rows: list[Row] = []
    lines = 2_000 if arena.quick else 100_000
    for ordered in (False, True):
        case = "a stub, in order" if ordered else "a stub, as they finish"
        rows += arena.compete("map", case, subject, overhead, rounds=arena.rounds(5), lines=lines, ordered=ordered)
    for count in (1_000, 2_000) if arena.quick else (100_000, 1_000_000):
        case = f"a stub, {count:,} lines"
        rows += arena.compete("map", case, subject, memory, rounds=arena.rounds(2), fresh=True, lines=count)
    calls = 200 if arena.quick else 4_000
    with _server() as url:
        mappers = [name for name in arena.peers("plain", _FORMAT) if name in {SUBJECT, "openai"}]
        case = f"{calls:,} calls of {_MS} ms, {_IN_FLIGHT} in flight"
        address = f"{url}/{_MS}.{2 * _IN_FLIGHT}"
        rows += arena.compete("map", case, mappers, rate, rounds=arena.rounds(5), url=address, calls=calls)
        case = f"{calls:,} calls of {_MS} ms, {_ALLOWED} taken"
        address = f"{url}/{_MS}.{_ALLOWED}"
        rows += arena.compete("map", case, subject, found, rounds=arena.rounds(3), warm=False, url=address, calls=calls)
    return rows


if __name__ == "__main__":
    # epoll counts in whole milliseconds, rounded up: calls of 50 took 51.1. select counts in microseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve())
