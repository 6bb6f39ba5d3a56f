"""One stream, many readers: what a frame costs when all of them get it, and what a reader costs that waits.

The events are decoded beforehand. They come one to a turn of the loop, each a frame of its own: what a frame costs; or at an
even pace, joined as the broadcast does by default: what a core carries. Beside it what one would write without the package: a
queue for each reader. No I/O.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import SUBJECT, Peer
from dgrid_async.relay.broadcasting import broadcast
from dgrid_async.relay.frames import Framer

__all__ = ["fan_out", "run"]

# What makes the frames known, and the readers.
_Parts = tuple[Callable[[], Awaitable[None]], list[Callable[[], Awaitable[int]]]]


class _Source:
    """A stream whose events are at hand, given one at a time, or so many a second, once it is told to begin."""

    format = "chat_completions"
    usage = None
    snapshot = None

    def __init__(self, events: list[Any], rate: float | None) -> None:
        self._events = events
        self._pause = 1 / rate if rate else 0.0
        self.begin = asyncio.Event()

    async def open(self) -> None:
        """Wait for the word."""
        await self.begin.wait()

    async def __aiter__(self) -> AsyncIterator[Any]:
        due = time.monotonic()
        for event in self._events:
            due += self._pause
            await asyncio.sleep(max(0.0, due - time.monotonic()) if self._pause else 0)
            yield event

    def abort(self) -> None:
        """There is nothing to end."""


async def _with_queues(source: _Source, readers: int) -> _Parts:
    framer = Framer(source.format)
    queues: list[asyncio.Queue[dict[str, Any] | None]] = [asyncio.Queue() for _ in range(readers)]

    async def pump() -> None:
        await source.open()
        async for event in source:
            for frame in framer.frames(event):
                for queue in queues:
                    queue.put_nowait(frame)
        for queue in queues:
            queue.put_nowait(None)

    def reader(queue: asyncio.Queue[dict[str, Any] | None]) -> Callable[[], Awaitable[int]]:
        async def read() -> int:
            size = 0
            while (frame := await queue.get()) is not None:
                size += len(frame.get("text", ""))
            return size

        return read

    return pump, [reader(queue) for queue in queues]


async def _with_broadcast(source: Any, readers: int, **options: float) -> _Parts:
    live = broadcast(source, **options)

    async def pump() -> None:
        await live.wait()

    async def read() -> int:
        size = 0
        async for frame in live.subscribe():
            size += len(frame.get("text", ""))
        return size

    return pump, [read] * readers


async def fan_out(peer: Peer, *, readers: int, deltas: int, queues: bool, rate: float | None = None) -> dict[str, float]:
    """Return what a frame costs when so many readers get it, and what each of them takes while it waits.

    Args:
        peer: Whose events; the package's own.
        readers: How many.
        deltas: How many events with text.
        queues: Whether each reader has a queue, instead of the broadcast.
        rate: How many events come in a second, joined as the broadcast does it; None for all at once, none joined.
    """
    stream = corpus.text_stream("chat_completions", deltas)
    decode = peer.decode("chat_completions")
    events = []
    for text in stream.data:
        with suppress(ValueError):  # the last word of the format is no JSON
            events.append(decode(text))
    source = _Source(events, rate)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    if queues:
        pump, reads = await _with_queues(source, readers)
    else:
        pump, reads = await _with_broadcast(source, readers, **({} if rate else {"interval": 0}))
    tasks = [asyncio.ensure_future(read()) for read in reads]
    await asyncio.sleep(0.05)
    memory = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    pumping = asyncio.ensure_future(pump())
    await asyncio.sleep(0)
    began, wall = time.process_time(), time.perf_counter()
    source.begin.set()
    sizes = await asyncio.gather(*tasks)
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    await pumping
    if set(sizes) != {len(stream.text)}:
        raise ValueError("a reader did not get the whole text")
    if rate:
        return {"% of one core": seconds / wall * 100}
    return {
        "µs CPU a frame": seconds / deltas * 1e6,
        "µs CPU a frame and reader": seconds / deltas / readers * 1e6,
        "ms from the first frame to the last": wall * 1e3,
        "KB a reader, its task included": memory / readers / 1e3,
    }


def run(arena: Arena) -> list[Row]:
    """Return the figures of both ways."""
    rows: list[Row] = []
    for readers, deltas in ((50, 50),) if arena.quick else ((1, 2_000), (100, 1_000), (1_000, 300)):
        for queues in (False, True):
            rows += arena.compete(
                "broadcast",
                f"{readers:,} {'reader' if readers == 1 else 'readers'} of one stream"
                + (", a queue each in its place" if queues else ""),
                [SUBJECT],
                fan_out,
                rounds=arena.rounds(5),
                fresh=True,
                readers=readers,
                deltas=deltas,
                queues=queues,
            )
    readers, deltas = (50, 30) if arena.quick else (1_000, 300)
    for queues in (False, True):
        rows += arena.compete(
            "broadcast",
            f"{readers:,} readers of 100 events a second" + (", a queue each in its place" if queues else ""),
            [SUBJECT],
            fan_out,
            rounds=arena.rounds(3),
            fresh=True,
            readers=readers,
            deltas=deltas,
            queues=queues,
            rate=100.0,
        )
    return rows
