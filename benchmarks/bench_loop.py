"""The package on asyncio's own event loop and on uvloop, by turns: an event, a call, and a thousand streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from benchmarks.arena import Arena, JobError, MissingPeerError, Worker
from benchmarks.bench_request import call
from benchmarks.bench_stream import paced, read_stepped
from benchmarks.figures import Row
from benchmarks.peers import SUBJECT
from benchmarks.worker import LOOPS

__all__ = ["run"]

_FORMAT = "chat_completions"


def run(arena: Arena) -> list[Row]:
    """Return the figures of both loops; none where uvloop is not installed."""
    found: dict[tuple[str, str], list[float]] = {}
    url, quick = arena.url, arena.quick
    jobs: tuple[tuple[str, Callable[..., Awaitable[Mapping[str, float]]], dict[str, Any]], ...] = (
        ("one event a read", read_stepped, {"url": url, "deltas": 40 if quick else 500}),
        ("64 in flight", call, {"url": f"{url}/plain", "calls": 128 if quick else 1280, "in_flight": 64}),
        ("1,000 at a time", paced, {"url": url, "streams": 30 if quick else 1000, "deltas": 24 if quick else 100}),
    )
    for case, job, arguments in jobs:
        for _ in range(arena.rounds(3)):
            for loop in LOOPS:
                worker = Worker(SUBJECT, loop)
                try:
                    worker.wait()
                    figures = worker.do(job, format=_FORMAT, **arguments)
                except MissingPeerError as error:
                    arena.skipped[loop] = str(error)
                    return []
                except JobError as error:
                    arena.failed[f"{loop}, loop: {case}"] = str(error).strip().splitlines()[-1]
                    continue
                finally:
                    worker.close()
                for figure, value in figures.items():
                    found.setdefault((f"{_FORMAT}, {case}, on {loop}", figure), []).append(value)
    arena.packages.update(LOOPS[1:])
    return [Row("loop", case, figure, SUBJECT, tuple(values)) for (case, figure), values in found.items()]
