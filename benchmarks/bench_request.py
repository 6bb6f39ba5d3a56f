"""Plain calls over kept connections: what one costs, and how many a second come back, at several numbers in flight."""

from __future__ import annotations

import asyncio
import time

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import RAW, Peer

__all__ = ["call", "run"]

# In flight, and calls: so many that the collector's full rounds, one in some four thousand calls where many are under way,
# count for what they are. In a thousand one peer has one by chance, and the next has none.
_CASES = ((1, 300), (64, 1280), (512, 4096))


async def call(peer: Peer, *, url: str, format: str, calls: int, in_flight: int) -> dict[str, float]:  # noqa: A002 -- the house's word
    """Return what a call costs when so many are under way at any time."""
    async with peer.client(url, in_flight + 10) as client:

        async def some(number: int) -> None:
            for _ in range(number):
                await client.plain(format)

        await asyncio.gather(*(some(1) for _ in range(in_flight)))
        began, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(some(calls // in_flight) for _ in range(in_flight)))
        seconds, wall = time.process_time() - began, time.perf_counter() - wall
    made = calls // in_flight * in_flight
    return {"µs CPU a call": seconds / made * 1e6, "calls/s": made / wall}


def run(arena: Arena) -> list[Row]:
    """Return the figures of all formats."""
    rows: list[Row] = []
    # The many come last: what they leave on the heap makes every call behind them dearer.
    for in_flight, calls in ((1, 10), (16, 32)) if arena.quick else _CASES:
        for name in corpus.FORMATS:
            rows += arena.compete(
                "request",
                f"{name}, {in_flight} in flight",
                arena.peers("plain", name, without=(RAW, "httpx_sse")),
                call,
                rounds=arena.rounds(9),
                warm=False,
                url=f"{arena.url}/plain",
                format=name,
                calls=calls,
                in_flight=in_flight,
            )
    return rows
