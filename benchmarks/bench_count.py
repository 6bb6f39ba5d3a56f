"""What a token costs in counts, which no other load on the machine changes: Python calls, and awaits down to the socket."""

from __future__ import annotations

import asyncio
import collections
import gc
import sys
import types
from collections.abc import Callable
from typing import Any

from benchmarks import corpus
from benchmarks.arena import Arena
from benchmarks.figures import Row
from benchmarks.peers import RAW, Client, Peer
from benchmarks.steps import stepped

__all__ = ["awaits_below", "count", "run"]

_SAMPLE_GAP = 0.0021


async def _calls(client: Client, format: str, after: Callable[[], object]) -> int:  # noqa: A002 -- the house's word
    """Return how many Python functions are called, the event loop's included, while a stream is read."""
    made = 0

    def see(frame: types.FrameType, event: str, argument: Any) -> None:
        nonlocal made
        del frame, argument
        made += event == "call"

    sys.setprofile(see)
    try:
        await client.read(format, after)
    finally:
        sys.setprofile(None)
    return made


def _next_below(waiting: Any) -> Any:
    """Return what a coroutine or generator waits in, or None."""
    for name in ("cr_await", "ag_await", "gi_yieldfrom"):
        if hasattr(waiting, name):
            return getattr(waiting, name)
    # What `__anext__` of an async generator returns does not tell whose it is.
    if type(waiting).__name__ in {"async_generator_asend", "coroutine_wrapper"}:
        kinds = (types.AsyncGeneratorType, types.CoroutineType)
        return next((inner for inner in gc.get_referents(waiting) if isinstance(inner, kinds)), None)
    return None


def awaits_below(coroutine: Any) -> int:
    """Return how many coroutines and generators a suspended coroutine waits in, itself left out."""
    depth = -1
    while coroutine is not None:
        depth += isinstance(coroutine, (types.CoroutineType, types.AsyncGeneratorType, types.GeneratorType))
        coroutine = _next_below(coroutine)
    return depth


async def count(peer: Peer, *, url: str, format: str, short: int, long: int) -> dict[str, float]:  # noqa: A002
    """Return the Python calls that a further event costs, and the awaits between the consumer and the socket.

    Args:
        peer: Who reads.
        url: The server's.
        format: One of the peer's.
        short: Deltas of one stream.
        long: Deltas of another; what they differ by is a token's.
    """
    made = []
    for deltas in (short, long):
        with stepped(url, deltas) as (address, after):
            async with peer.client(address, 10) as client:
                await client.read(format, after)
                made.append(await _calls(client, format, after))
    async with peer.client(f"{url}/single.{short}", 10) as client:
        await client.read(format)
        reading = asyncio.ensure_future(client.read(format))
        depths: collections.Counter[int] = collections.Counter()
        while not reading.done():
            await asyncio.sleep(_SAMPLE_GAP)
            if not reading.done():
                depths[awaits_below(reading.get_coro())] += 1
        await reading
    return {"Python calls a token": (made[1] - made[0]) / (long - short), "awaits a token": depths.most_common(1)[0][0]}


def run(arena: Arena) -> list[Row]:
    """Return the counts of all formats."""
    rows: list[Row] = []
    short, long = (10, 30) if arena.quick else (50, 150)
    for name in corpus.FORMATS:
        peers = arena.peers("stream", name, without=(RAW,))
        rows += arena.compete(
            "count", name, peers, count, rounds=arena.rounds(2), warm=False, url=arena.url, format=name, short=short, long=long
        )
    return rows
