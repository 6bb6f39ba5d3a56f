"""Shards on executors: threads, processes and a Dask cluster, with workers that are killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import AsyncDGrid, AuthenticationError, ConfigError
from dgrid_async.batch import lines, output
from dgrid_async.batch import shards as shards_module
from dgrid_async.batch.ledger import Files, Ledger, Settings
from dgrid_async.batch.limiter import BatchLimits
from dgrid_async.batch.report import Report
from dgrid_async.batch.shards import Shard, WorkerLostError, run_sharded, split
from dgrid_async.emulator import Emulator, Script, Usage
from tests.batch.batches import ids, names, put, repeats

KEY = "sk-sharded-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGRID_API_KEY", KEY)
    monkeypatch.setattr(shards_module, "_LOOK_SECONDS", 0.05)  # for what runs in threads


def processes(workers: int = 2) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


async def kill_one(emulator: Emulator, at: int, places: int, victim: Callable[[], int]) -> None:
    """Kill a process once so many requests have come and all places are taken, its own among them."""
    while len(emulator.log) < at:
        await asyncio.sleep(0.005)
    before = emulator.script
    emulator.script = Script(delay=1.0)
    while emulator.in_flight < places:
        await asyncio.sleep(0.005)
    os.kill(victim(), signal.SIGKILL)
    emulator.script = before


# -------------------------------------------------------------------------------------------------------------- limits


def test_limits_are_split_so_that_they_hold_in_sum() -> None:
    share, workers = split(BatchLimits(concurrency=10, max_concurrency=256, rpm=600, tpm=9000), 4)
    assert workers == 4
    assert (share.concurrency, share.max_concurrency, share.rpm, share.tpm) == (2, 64, 150, 2250)
    assert split(BatchLimits(concurrency=3), 8)[1] == 3
    assert split(BatchLimits(rpm=45), 8)[1] == 4
    assert split(BatchLimits(rpm=3), 8)[1] == 1
    share, workers = split(BatchLimits(), 2)
    assert (share.concurrency, share.max_concurrency, workers) == (None, 128, 2)


def test_who_takes_a_place_waits_for_what_was_sent_last() -> None:
    share = BatchLimits(rpm=30, tpm=600)
    report = Report(calls=10)
    report.tokens.input = 400
    assert shards_module._spacing(share, report) == 4.0
    assert shards_module._spacing(BatchLimits(rpm=30), report) == 2.0
    assert shards_module._spacing(share, None) == 60.0
    assert shards_module._spacing(BatchLimits(), None) == 0.0
    assert shards_module._Run._offset(BatchLimits(rpm=15), 4, 3) == 3.0


@pytest.mark.slow
async def test_requests_a_minute_hold_in_sum_over_workers_and_shards(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 70)
    with ThreadPoolExecutor(3) as executor:
        await run_sharded(
            tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url, limits=BatchLimits(rpm=900), shards=9
        )
    times = sorted(received.at for received in emulator.log)
    assert len(times) == 70
    # 15 a second in sum; each of the three may be one ahead of its even share.
    for n, begin in enumerate(times):
        for seconds in (1.0, 2.0, 3.0):
            assert sum(begin <= at < begin + seconds for at in times[n:]) <= 15 * seconds * 1.1 + 3


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_tokens_a_minute_hold_in_sum_over_workers_and_shards(emulator: Emulator, tmp_path: Path) -> None:
    used = 262  # which is what a line of this length is estimated to take
    body = {"model": "m", "messages": [{"role": "user", "content": "Tell me all of it."}]}
    rows = ({"custom_id": str(n), "url": "/v1/chat/completions", "body": {**body, "user": str(n)}} for n in range(70))
    (tmp_path / "in").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    emulator.script = Script(usage=Usage(input=62, output=used - 62))
    with ThreadPoolExecutor(3) as executor:
        report = await run_sharded(
            tmp_path / "in",
            tmp_path / "out",
            executor=executor,
            base_url=emulator.url,
            limits=BatchLimits(tpm=15 * used * 60),
            shards=9,
        )
    assert report.tokens.total == 70 * used
    times = sorted(received.at for received in emulator.log)
    assert len(times) == 70
    # As above: what is 15 calls of so many tokens a second in sum.
    for n, begin in enumerate(times):
        for seconds in (1.0, 2.0, 3.0):
            tokens = sum(used for at in times[n:] if at < begin + seconds)
            assert tokens <= used * (15 * seconds * 1.1 + 3)


# ------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("where", ["survey", "merge"])
async def test_a_run_that_is_cancelled_while_it_reads_does_not_read_on(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    put(tmp_path / "in", 60)
    monkeypatch.setattr(lines, "_BUFFER", 200)
    monkeypatch.setattr(output, "_TICK", 1)
    reading, ended = threading.Event(), threading.Event()
    seen = 0

    def slowed(*arguments: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 20:
            reading.set()
            ended.wait(10)
        return take(*arguments)

    module, name = (lines, "_first_ids") if where == "survey" else (output, "Written")
    take = getattr(module, name)
    monkeypatch.setattr(module, name, slowed)
    with ThreadPoolExecutor(2) as executor:
        options: dict[str, Any] = {"executor": executor, "base_url": emulator.url, "limits": BatchLimits(concurrency=20)}
        running = asyncio.ensure_future(run_sharded(tmp_path / "in", tmp_path / "out", **options))
        assert await asyncio.to_thread(reading.wait, 15)
        running.cancel()
        await asyncio.sleep(0.01)
        ended.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert seen <= 22
        assert not (tmp_path / "out").exists()
        monkeypatch.undo()
        monkeypatch.setenv("DGRID_API_KEY", KEY)
        assert (await run_sharded(tmp_path / "in", tmp_path / "out", **options)).answered == 60
    assert len(emulator.log) == 60


# ---------------------------------------------------------------------------------------------------------------- units


def unit(tmp_path: Path, url: str, **options: Any) -> Shard:
    fields: dict[str, Any] = {
        "input": put(tmp_path / "in", 10),
        "files": Files.of(tmp_path / "out"),
        "settings": Settings(base_url=url),
        "limits": BatchLimits(concurrency=2),
        "prices": None,
        "client": AsyncDGrid,
        "lease": tmp_path / "lease",
    }
    fields["lease"].touch()
    return Shard(**{**fields, **options})


async def test_a_unit_travels_without_the_key_and_runs_where_it_lands(emulator: Emulator, tmp_path: Path) -> None:
    data = pickle.dumps(unit(tmp_path, emulator.url))
    assert KEY.encode() not in data
    assert KEY not in repr(unit(tmp_path, emulator.url))
    report = await asyncio.to_thread(pickle.loads(data))  # noqa: S301 -- our own
    assert report.answered == 10


async def test_a_unit_whose_lease_is_gone_stops(emulator: Emulator, tmp_path: Path) -> None:
    emulator.script = Script(delay=0.3)
    own = unit(tmp_path, emulator.url, limits=BatchLimits(concurrency=1))
    running = asyncio.ensure_future(asyncio.to_thread(own))
    while not len(emulator.log):
        await asyncio.sleep(0.01)
    own.lease.unlink()
    report = await running
    assert 0 < report.answered == len(emulator.log) < 10
    assert report.stopped == "interrupted"


async def test_a_unit_whose_lease_stands_still_stops(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "_LEASE_SECONDS", 0.2)
    emulator.script = Script(delay=0.2)
    report = await asyncio.to_thread(unit(tmp_path, emulator.url, limits=BatchLimits(concurrency=1)))
    assert report.left > 0


async def test_a_unit_waits_for_the_lock_of_one_that_ends(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    own = unit(tmp_path, emulator.url)
    with Ledger.open(own.input, own.files, own.settings):
        running = asyncio.ensure_future(asyncio.to_thread(own))
        await asyncio.sleep(0.3)
        assert len(emulator.log) == 0
    assert (await running).answered == 10
    monkeypatch.setattr(shards_module, "_LOCK_SECONDS", 0.1)
    with Ledger.open(own.input, own.files, own.settings), pytest.raises(ConfigError, match="another run"):
        await asyncio.to_thread(own)


# ------------------------------------------------------------------------------------------------------------ executors


async def test_threads_answer_every_line_in_order(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 50)
    ended: list[Report] = []
    with ThreadPoolExecutor(2) as executor:
        report = await run_sharded(
            tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url, shards=5, each=ended.append
        )
        assert ids(tmp_path / "out") == names(50)
        assert (report.lines, report.answered, report.calls, len(ended)) == (50, 50, 50, 5)
        assert report.seconds > 0
        again = await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url)
    assert again.answered == 50
    assert len(emulator.log) == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.job"]


async def test_a_cancelled_run_stops_its_workers_and_goes_on_later(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 60)
    emulator.script = Script(delay=0.05)
    with ThreadPoolExecutor(2) as executor:
        options: dict[str, Any] = {"executor": executor, "base_url": emulator.url, "limits": BatchLimits(concurrency=4)}
        running = asyncio.ensure_future(run_sharded(tmp_path / "in", tmp_path / "out", **options))
        while len(emulator.log) < 10:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        report = await run_sharded(tmp_path / "in", tmp_path / "out", **options, shards=99)
    assert report.answered == 60
    assert report.earlier > 0
    assert ids(tmp_path / "out") == names(60)
    assert repeats(emulator) == 0


async def test_a_refused_key_ends_the_whole(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 20)
    emulator.script = Script(status=401)
    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(AuthenticationError):
            await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url)
        emulator.script = Script()
        report = await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url)
    assert (report.answered, report.failed) == (20, 0)


class Fragile(Executor):
    """Runs what it is given, but breaks when it is told to, as a pool does that lost a process."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self._threads = ThreadPoolExecutor(2)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.losses:
            self.losses -= 1
            return self._threads.submit(self._break)
        return self._threads.submit(fn, *args, **kwargs)

    def _break(self) -> None:
        raise BrokenProcessPool("a process was terminated")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


async def test_a_broken_executor_is_told_with_the_way_on(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 10)
    with Fragile(1) as executor:
        with pytest.raises(WorkerLostError, match="run the same again") as caught:
            await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, workers=2, base_url=emulator.url)
        report = await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, workers=2, base_url=emulator.url)
    assert report.answered == 10
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), WorkerLostError)  # noqa: S301 -- our own


async def test_a_shard_that_kills_every_worker_is_given_up(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 4)
    with pytest.raises(WorkerLostError, match="lost its worker"):
        await run_sharded(
            tmp_path / "in", tmp_path / "out", executor=lambda: Fragile(99), workers=1, shards=1, base_url=emulator.url
        )
    assert len(emulator.log) == 0


async def test_how_many_workers_there_are_must_be_known(tmp_path: Path) -> None:
    put(tmp_path / "in", 4)
    for workers in (None, 0):
        with Fragile(0) as executor, pytest.raises(ConfigError, match="workers="):
            await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, workers=workers)


async def test_other_outputs_are_refused(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 4)
    with ThreadPoolExecutor(1) as executor:
        (tmp_path / "dear").write_text("dear", encoding="utf-8")
        with pytest.raises(ConfigError, match="no output of a batch"):
            await run_sharded(tmp_path / "in", tmp_path / "dear", executor=executor, base_url=emulator.url)
        await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url)
        put(tmp_path / "in", 5)
        with pytest.raises(ConfigError, match="another input"):
            await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, base_url=emulator.url)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("renewed", [True, False])
async def test_a_killed_process_loses_nothing_and_repeats_what_was_in_flight(
    emulator: Emulator, tmp_path: Path, renewed: bool
) -> None:
    put(tmp_path / "in", 200)
    emulator.script = Script(delay=0.05)
    made: list[ProcessPoolExecutor] = []

    def make() -> Executor:
        made.append(processes())
        return made[-1]

    options: dict[str, Any] = {"base_url": emulator.url, "limits": BatchLimits(concurrency=8)}
    killing = asyncio.ensure_future(kill_one(emulator, 60, 8, lambda: next(iter(made[0]._processes))))
    if renewed:
        report = await run_sharded(tmp_path / "in", tmp_path / "out", executor=make, **options)
        assert len(made) == 2
    else:
        with make() as executor, pytest.raises(WorkerLostError):
            await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, **options)
        with make() as executor:
            report = await run_sharded(tmp_path / "in", tmp_path / "out", executor=executor, **options)
    await killing
    assert report.answered == 200
    assert ids(tmp_path / "out") == names(200)
    assert 0 < repeats(emulator) <= 8  # the pool kills its other process as well


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")  # those of Dask and what it stands on are not ours
async def test_a_dask_cluster_that_loses_a_worker(emulator: Emulator, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    put(tmp_path / "in", 300)
    emulator.script = Script(delay=0.05)

    def start() -> Any:
        return distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        )

    cluster = await asyncio.to_thread(start)
    try:
        dask = await asyncio.to_thread(distributed.Client, cluster)
        try:
            pids = list((await asyncio.to_thread(dask.run, os.getpid)).values())
            killing = asyncio.ensure_future(kill_one(emulator, 80, 12, lambda: pids[0]))
            report = await run_sharded(
                tmp_path / "in",
                tmp_path / "out",
                executor=dask.get_executor(),
                workers=3,
                base_url=emulator.url,
                limits=BatchLimits(concurrency=12),
            )
            await killing
        finally:
            await asyncio.to_thread(dask.close)
    finally:
        await asyncio.to_thread(cluster.close)
    assert report.answered == 300
    assert ids(tmp_path / "out") == names(300)
    assert 0 < repeats(emulator) <= 4  # a third of twelve
