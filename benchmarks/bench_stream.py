"""Streams over a socket: what an event costs, how late the first one is, and how many streams one core carries."""

from __future__ import annotations

import asyncio
import statistics
import time
from array import array
from typing import Any

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import FLOOR, RAW, SUBJECT, Peer
from benchmarks.steps import stepped
from benchmarks.worker import resident_bytes

__all__ = ["first", "paced", "read", "read_raw", "read_stepped", "run"]

_RATE = 20
# Streams that have all been opened are given this many seconds to settle before lateness counts.
_SETTLE = 0.5


async def read(peer: Peer, *, url: str, format: str, streams: int) -> dict[str, float]:  # noqa: A002 -- the house's word
    """Return what an event costs when so many streams are read, one after the other, to their ends."""
    async with peer.client(url, 10) as client:
        await client.read(format)
        began, wall = time.process_time(), time.perf_counter()
        events = 0
        for _ in range(streams):
            events += await client.read(format)
        seconds, wall = time.process_time() - began, time.perf_counter() - wall
    return {"µs CPU an event": seconds / events * 1e6, "µs wall an event": wall / events * 1e6}


async def read_stepped(peer: Peer, *, url: str, format: str, deltas: int) -> dict[str, float]:  # noqa: A002
    """Return what an event costs when each comes by itself, as soon as the reader has had the one before."""
    with stepped(url, deltas) as (address, after):
        async with peer.client(address, 10) as client:
            await client.read(format, after)
            began, wall = time.process_time(), time.perf_counter()
            events = await client.read(format, after)
            seconds, wall = time.process_time() - began, time.perf_counter() - wall
    return {"µs CPU an event": seconds / events * 1e6, "µs wall an event": wall / events * 1e6}


async def read_raw(peer: Peer, *, url: str, format: str, streams: int, events: int) -> dict[str, float]:  # noqa: A002
    """Return what bytes cost that nobody looks at, by the events that are in them; and how many of those a read holds."""
    async with peer.client(url, 10) as client:
        await client.read(format)
        began, wall = time.process_time(), time.perf_counter()
        reads = 0
        for _ in range(streams):
            reads += await client.read(format)
        seconds, wall = time.process_time() - began, time.perf_counter() - wall
    events *= streams
    return {
        "µs CPU an event": seconds / events * 1e6,
        "µs wall an event": wall / events * 1e6,
        "events a read": events / reads,
    }


async def first(peer: Peer, *, url: str, format: str, calls: int) -> dict[str, float]:  # noqa: A002
    """Return the median times from a call to its first event and to its first text, over a kept connection."""
    events: list[float] = []
    texts: list[float] = []
    async with peer.client(url, 10) as client:
        for number in range(calls + 3):
            began = time.perf_counter()
            event = text_at = 0.0

            def see(text: str) -> None:
                nonlocal event, text_at
                if not event:
                    event = time.perf_counter()
                if text and not text_at:
                    text_at = time.perf_counter()

            await client.watch(format, see)
            if number >= 3:  # the first ones connect, and load what is loaded late
                events.append(event - began)
                texts.append(text_at - began)
    return {"ms to the first event": statistics.median(events) * 1e3, "ms to the first text": statistics.median(texts) * 1e3}


async def paced(peer: Peer, *, url: str, format: str, streams: int, deltas: int) -> dict[str, float]:  # noqa: A002
    """Return how late events are, and what a stream takes, when so many run at the same time at an even pace.

    A stream that fails counts as lost. An event is late by the time from the server's write to the consumer's having its
    text. Only the time in which all streams run counts: not their opening, nor their ending.
    """
    stamps = array("d")
    late = array("d")
    spans: list[tuple[float, float]] = []

    async with peer.client(f"{url}/paced.4.{_RATE}", 10) as client:
        await client.watch(format, len)
    async with peer.client(f"{url}/paced.{deltas}.{_RATE}", streams + 10) as client:

        async def watch() -> None:
            begun = ended = 0.0

            def see(text: str) -> None:
                nonlocal begun, ended
                if text:
                    stamp = float(text)
                    stamps.append(stamp)
                    late.append(time.monotonic() - stamp)
                    begun, ended = begun or stamp, stamp

            await client.watch(format, see)
            spans.append((begun, ended))

        before = peak = resident_bytes()
        tasks = []
        began, wall = time.process_time(), time.perf_counter()
        for number in range(streams):
            tasks.append(asyncio.ensure_future(watch()))
            if number % 20 == 19:  # a burst of a thousand connections measures something else
                await asyncio.sleep(0.01)
        while not all(task.done() for task in tasks):
            peak = max(peak, resident_bytes())
            await asyncio.sleep(0.2)
        lost = [error for task in tasks if (error := task.exception()) is not None]
        if len(lost) == streams:
            raise lost[0]
        busy = (time.process_time() - began) / (time.perf_counter() - wall)
    start = max(begun for begun, _ in spans) + _SETTLE
    end = min(ended for _, ended in spans)
    counted = sorted(delay for stamp, delay in zip(stamps, late, strict=True) if start <= stamp <= end)
    if not counted:  # the first streams ended before the last could be opened: then all there is counts
        counted = sorted(late)
    return {
        "ms late, median": counted[len(counted) // 2] * 1e3,
        "ms late, 99th percentile": counted[int(len(counted) * 0.99)] * 1e3,
        "KB a stream": (peak - before) / streams / 1e3,
        "% of one core": busy * 100,
        "% of streams lost": len(lost) / streams * 100,  # to the peer's own limits, where it cannot keep up
    }


def run(arena: Arena) -> list[Row]:
    """Return the figures of all formats and numbers of streams."""
    rows: list[Row] = []
    deltas, streams = (200, 1) if arena.quick else (2_000, 2)
    for name in corpus.FORMATS:
        case = f"{name}, large reads"
        given: dict[str, Any] = {"url": f"{arena.url}/large.{deltas}", "format": name, "streams": streams}
        rounds = arena.rounds(15)
        total = len(corpus.text_stream(name, deltas).events)
        bytes_only = [peer for peer in arena.peers("stream", name) if peer == RAW]
        rows += arena.compete("stream", case, bytes_only, read_raw, rounds=rounds, **given, events=total)
        rows += arena.compete("stream", case, arena.peers("stream", name, without=(RAW,)), read, rounds=rounds, **given)
    for name in corpus.FORMATS:
        rows += arena.compete(
            "stream",
            f"{name}, one event a read",
            arena.peers("stream", name, without=(RAW,)),
            read_stepped,
            rounds=arena.rounds(15),
            one_core=True,
            url=arena.url,
            format=name,
            deltas=40 if arena.quick else 500,
        )
    for name in corpus.FORMATS:
        rows += arena.compete(
            "stream",
            f"{name}, first event",
            arena.peers("stream", name, without=(RAW,)),
            first,
            rounds=arena.rounds(33),  # of few calls: a machine may be twice as slow to wake for seconds on end
            url=f"{arena.url}/large.5",
            format=name,
            calls=10 if arena.quick else 20,
        )
    for number, deltas in ((30, 24),) if arena.quick else ((1, 50), (100, 50), (1000, 100)):
        peers = [peer for peer in arena.peers("stream", "chat_completions") if peer in {FLOOR, SUBJECT, "openai"}]
        rows += arena.compete(
            "stream",
            f"chat_completions, {number:,} at a time, {_RATE} events a second each",
            peers,
            paced,
            rounds=arena.rounds(3),
            fresh=True,
            url=arena.url,
            format="chat_completions",
            streams=number,
            deltas=deltas,
        )
    return rows
