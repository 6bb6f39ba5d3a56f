"""Batches from files: what a run costs a line, what it keeps in memory, how near it comes to the ideal rate, and Dask.

Who has no batches reads the lines, makes the calls by a semaphore and gather, and writes what comes.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.arena import Arena
from benchmarks.bench_map import _server
from benchmarks.figures import Row
from benchmarks.peers import FLOOR, SUBJECT, Peer
from benchmarks.worker import resident_bytes
from dgrid_async import AsyncDGrid
from dgrid_async.batch.job import Job
from dgrid_async.batch.ledger import Files, Ledger, Settings
from dgrid_async.batch.limiter import BatchLimits, Turn
from dgrid_async.batch.shards import run_sharded
from dgrid_async.request import Request

__all__ = ["dask", "memory", "overhead", "rate", "run"]

_FORMAT = "chat_completions"
_MS, _IN_FLIGHT = 50, 96
_EACH = 32
"""Calls in flight of one Dask worker."""


@contextmanager
def _input(lines: int) -> Iterator[Path]:
    """Give an input of so many lines, in a directory that ends with the block."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "in.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for n in range(lines):
                body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": f"Tell me about number {n}."}]}
                row = {"custom_id": f"request-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
                file.write(json.dumps(row) + "\n")
        yield path


class _Reply:
    """An answer that costs nothing to get."""

    request_id = "req"
    usage = None
    _body: ClassVar[dict[str, Any]] = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }

    def to_dict(self) -> dict[str, Any]:
        return self._body


_REPLY = _Reply()


async def _stub(_request: Request, _turn: Turn) -> _Reply:
    return _REPLY


async def _run_stub(path: Path) -> int:
    """Return how many lines are answered; the input is surveyed, read and checked, the output written, as in any run."""
    with Ledger.open(path, Files.of(path.with_name("out.jsonl")), Settings(base_url="http://127.0.0.1")) as ledger:
        async with AsyncDGrid("k", base_url="http://127.0.0.1:1") as client:
            job = Job(client, ledger, limits=BatchLimits(concurrency=_IN_FLIGHT), send=_stub)
            return (await job.run()).answered


async def overhead(_peer: Peer, *, lines: int) -> dict[str, float]:
    """Return what a line costs over a call that costs nothing."""
    with _input(lines) as path:
        began = time.process_time()
        assert await _run_stub(path) == lines
        return {"µs CPU a line": (time.process_time() - began) / lines * 1e6}


async def memory(_peer: Peer, *, lines: int) -> dict[str, float]:
    """Return what is resident behind a run."""
    with _input(lines) as path:
        assert await _run_stub(path) == lines
        return {"MB resident": resident_bytes() / 1e6}


async def rate(peer: Peer, *, url: str, calls: int) -> dict[str, float]:
    """Return how much of the ideal rate is reached, from the opening of the input to the last line written."""
    with _input(calls) as path:
        out = path.with_name("out.jsonl")
        if peer.module == "dgrid_async":
            async with AsyncDGrid("k", base_url=url) as client:
                began = time.perf_counter()
                report = await client.batch.run(path, out, concurrency=_IN_FLIGHT)
                seconds = time.perf_counter() - began
            assert report.answered == calls
        else:
            free = asyncio.Semaphore(_IN_FLIGHT)
            async with peer.client(url, _IN_FLIGHT) as other:
                began = time.perf_counter()
                with path.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as answers:

                    async def one(row: dict[str, Any]) -> None:
                        async with free:
                            text = await other.plain(_FORMAT)
                        answers.write(json.dumps({"custom_id": row["custom_id"], "text": text}) + "\n")

                    await asyncio.gather(*(one(json.loads(line)) for line in lines))
                seconds = time.perf_counter() - began
    return {"% of the ideal rate": calls * _MS / 1000 / _IN_FLIGHT / seconds * 100}


async def dask(_peer: Peer, *, url: str, calls: int, workers: int) -> dict[str, float]:
    """Return the rate of a Dask cluster of processes on this machine, its start left out."""
    import distributed

    os.environ["DGRID_API_KEY"] = "k"
    options: dict[str, Any] = {"threads_per_worker": 1, "processes": True, "host": "127.0.0.1", "dashboard_address": None}
    cluster = await asyncio.to_thread(lambda: distributed.LocalCluster(n_workers=workers, **options))
    try:
        client = await asyncio.to_thread(distributed.Client, cluster)
        with _input(calls) as path:
            await asyncio.to_thread(client.run, _import)
            began = time.perf_counter()
            report = await run_sharded(
                path,
                path.with_name("out.jsonl"),
                executor=client.get_executor(),
                workers=workers,
                base_url=url,
                limits=BatchLimits(concurrency=_EACH * workers),
            )
            seconds = time.perf_counter() - began
        await asyncio.to_thread(client.close)
    finally:
        with suppress(TimeoutError):
            await asyncio.to_thread(cluster.close)
    assert report.answered == calls
    return {"calls/s": calls / seconds}


def _import() -> None:
    import aiohttp  # noqa: F401

    import dgrid_async.batch.shards  # noqa: F401


def run(arena: Arena) -> list[Row]:
    """Return the figures."""
    subject = [name for name in arena.peers("plain", _FORMAT) if name == SUBJECT]
    rows: list[Row] = []
    lines = 2_000 if arena.quick else 100_000
    rows += arena.compete("batch", "a stub", subject, overhead, rounds=arena.rounds(5), lines=lines)
    for count in (1_000, 2_000) if arena.quick else (100_000, 1_000_000):
        case = f"a stub, {count:,} lines"
        rows += arena.compete("batch", case, subject, memory, rounds=1, fresh=True, lines=count)
    calls = 200 if arena.quick else 4_000
    with _server() as url:
        address = f"{url}/{_MS}.{10 * _IN_FLIGHT}"
        rivals = [name for name in arena.peers("plain", _FORMAT) if name in {SUBJECT, FLOOR, "openai"}]
        case = f"{calls:,} calls of {_MS} ms, {_IN_FLIGHT} in flight"
        rows += arena.compete("batch", case, rivals, rate, rounds=arena.rounds(5), url=address, calls=calls)
        if find_spec("distributed") is None:
            arena.skipped["dask"] = "distributed is not installed"
            return rows
        for workers in (1,) if arena.quick else (1, 2, 3):
            case = f"Dask, {workers} workers of {_EACH} in flight, {_MS} ms"
            rows += arena.compete(
                "batch", case, subject, dask, rounds=arena.rounds(3), fresh=True, url=address, calls=calls, workers=workers
            )
    return rows
