"""The package on asyncio's own event loop and on uvloop, by turns: an event, a call, and a thousand streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import Any

from benchmarks.arena import Arena
from benchmarks.bench_request import call
from benchmarks.bench_stream import paced, read_stepped
from benchmarks.figures import Row
from benchmarks.peers import SUBJECT
from benchmarks.worker import LOOPS

__all__ = ["run"]

_FORMAT = "chat_completions"


def run(arena: Arena) -> list[Row]:
    """Return the figures of both loops; none where uvloop is not installed."""
    missing = [loop for loop in LOOPS if find_spec(loop) is None]
    if missing:
        arena.skipped.update((loop, f"{loop} is not installed") for loop in missing)
        return []
    arena.packages.update(LOOPS[1:])
    url, quick = arena.url, arena.quick
    jobs: tuple[tuple[str, Callable[..., Awaitable[Mapping[str, float]]], dict[str, Any]], ...] = (
        ("one event a read", read_stepped, {"url": url, "deltas": 40 if quick else 500, "one_core": True}),
        ("64 in flight", call, {"url": f"{url}/plain", "calls": 128 if quick else 1280, "in_flight": 64}),
        ("1,000 at a time", paced, {"url": url, "streams": 30 if quick else 1000, "deltas": 24 if quick else 100}),
    )
    rows: list[Row] = []
    for case, job, given in jobs:
        place = f"{_FORMAT}, {case}"
        rows += arena.compete("loop", place, [SUBJECT], job, rounds=arena.rounds(3), loops=LOOPS, format=_FORMAT, **given)
    return rows
