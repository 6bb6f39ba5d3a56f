"""A batch on many processes or machines: shards that each own an output file, on any executor, merged at the end.

Rules
1. What a worker is given is a small value without a key; it makes its own client there, with the key of its own environment.
2. Input and outputs are on a disk that all of them see. A shard's output alone tells what of it is done, so any worker can go
   on where a killed one stopped; the lock on it keeps two from writing.
3. No more shards run at one time than the limits were split for. One that takes another's place begins later by what the other
   may have sent last, so the limits hold in sum.
4. Whoever runs the whole renews a lease, a file; workers whose lease is gone or stands still end what is in flight and stop.

It knows no engine: an executor is `submit` and futures.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Self

import attrs

from dgrid_async.batch.errand import run_errand
from dgrid_async.batch.job import Job, PathLike
from dgrid_async.batch.ledger import Files, Fingerprint, Ledger, Settings
from dgrid_async.batch.limiter import BatchLimits
from dgrid_async.batch.lines import survey
from dgrid_async.batch.merging import merge
from dgrid_async.batch.output import BAD_LINE, LockedError
from dgrid_async.batch.report import Prices, Report
from dgrid_async.batch.status import status_of
from dgrid_async.client import AsyncDGrid
from dgrid_async.config import DEFAULT_BASE_URL, normal_base_url
from dgrid_async.errors import ClientClosedError, ConfigError, DGridError

__all__ = ["Shard", "WorkerLostError", "run_sharded", "split"]

# So many shards for each worker: a killed one leaves little behind, and the last to end is not waited for long.
_PER_WORKER = 4
# How often a shard may lose its worker: one that kills whoever takes it must not do so for ever.
_MOST_LOSSES = 5
_RENEW_SECONDS, _LOOK_SECONDS, _LEASE_SECONDS = 5.0, 0.5, 60.0
# A worker that is taken for dead may still be ending; its lock goes with it.
_LOCK_SECONDS = 60.0
_MINUTE = 60.0
# Each worker's first call of a minute is beyond its even share: with this many calls for each, they are a tenth in sum.
_CALLS_EACH = 10


class WorkerLostError(DGridError):
    """The executor lost a worker and cannot go on; what was answered is written, and the same call again goes on from there."""


@attrs.frozen(kw_only=True)
class Shard:
    """One shard's run, to be called in a worker; it pickles.

    Attributes:
        input: The whole input.
        files: The shard's own output.
        settings: As for any job; which shard is among them.
        limits: Its part of the limits.
        delay: Seconds before its first call.
        prices: For the report.
        client: Makes the client, given `base_url`; it is pickled with the rest.
        lease: The file that whoever runs the whole renews.
    """

    input: Path
    files: Files
    settings: Settings
    limits: BatchLimits
    delay: float = 0.0
    prices: Prices | None
    client: Callable[..., AsyncDGrid] = attrs.field(repr=False)
    lease: Path

    def __call__(self) -> Report:
        """Run the shard, or what is left of it.

        Raises:
            ConfigError: Another worker writes its output, and does not end; or as for a run.
            DGridError, OSError: As for a run.
        """
        with _deaf():
            return asyncio.run(self._run())

    async def _run(self) -> Report:
        stop = asyncio.Event()
        watching = asyncio.ensure_future(self._watch(stop))
        try:
            with await asyncio.to_thread(self._open, stop) as ledger:
                if self.delay:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), self.delay)
                async with self.client(base_url=self.settings.base_url) as client:
                    return await Job(client, ledger, limits=self.limits, prices=self.prices).run(stop=stop)
        finally:
            watching.cancel()

    def _open(self, stop: asyncio.Event) -> Ledger:
        until = monotonic() + _LOCK_SECONDS
        pause = threading.Event()

        def tick(_lines: int) -> None:
            if stop.is_set():
                raise ClientClosedError("the run was stopped while it read its input")

        while True:
            try:
                return Ledger.open(self.input, self.files, self.settings, tick=tick)
            except LockedError:
                if monotonic() > until or stop.is_set():
                    raise
            pause.wait(_LOOK_SECONDS)

    async def _watch(self, stop: asyncio.Event) -> None:
        """Set the event once the lease is gone, or has not been renewed for long by this worker's own clock."""
        seen, since = 0, monotonic()
        while not stop.is_set():
            try:
                state = (await asyncio.to_thread(self.lease.stat)).st_mtime_ns
            except OSError:
                state = -1
            if state not in {seen, -1}:
                seen, since = state, monotonic()
            elif state == -1 or monotonic() - since > _LEASE_SECONDS:
                stop.set()
            await asyncio.sleep(_LOOK_SECONDS)


@contextmanager
def _deaf() -> Iterator[None]:
    """Leave Ctrl-C to whoever runs the whole: a terminal sends it to every process of the group."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def split(limits: BatchLimits, workers: int) -> tuple[BatchLimits, int]:
    """Return each worker's part of the limits, and how many workers may run at one time; fewer where the limits are small.

    Args:
        limits: What holds in sum.
        workers: How many there are.
    """
    bounds = [workers, limits.max_concurrency]
    if limits.concurrency is not None:
        bounds.append(limits.concurrency)
    if limits.rpm is not None:
        bounds.append(max(1, int(limits.rpm / _CALLS_EACH)))
    number = min(bounds)
    return BatchLimits(
        concurrency=None if limits.concurrency is None else limits.concurrency // number,
        max_concurrency=max(1, limits.max_concurrency // number),
        rpm=None if limits.rpm is None else limits.rpm / number,
        tpm=None if limits.tpm is None else limits.tpm / number,
    ), number


async def run_sharded(
    input: PathLike,  # noqa: A002 -- the word for it
    output: PathLike,
    *,
    executor: Executor | Callable[[], Executor],
    workers: int | None = None,
    shards: int | None = None,
    failures: PathLike | None = None,
    endpoint: str | None = None,
    limits: BatchLimits | None = None,
    ordered: bool = False,
    base_url: str | None = None,
    job: str | None = None,
    prices: Prices | Mapping[str, Mapping[str, float]] | None = None,
    client: Callable[..., AsyncDGrid] = AsyncDGrid,
    each: Callable[[Report], object] | None = None,
) -> Report:
    """Answer the lines of a file by the workers of an executor, and return what it came to; again, it goes on.

    The shards' outputs are in the directory `OUTPUT.shards` until all are done; then they are merged, in the order of the
    input, and the directory is deleted.

    Args:
        input: As for `Batch.run`; on a disk that the workers see, as is the output.
        output: As for `Batch.run`.
        executor: Any `concurrent.futures.Executor`; or what makes one, so that the run can go on with a new one where a
            process pool breaks. Those that are made here are shut down here.
        workers: How many calls of `submit` the executor runs at one time; None asks the executor, if it is a pool of
            Python's own.
        shards: How many shards; None is four for each worker. A job keeps the number it was begun with.
        failures: As for `Batch.run`.
        endpoint: As for `Batch.run`.
        limits: They hold for all workers together: each has an even part.
        ordered: Whether each shard is written in order; the whole is in any case.
        base_url: The gateway; None takes DGRID_BASE_URL, here, or the public one.
        job: As for `Batch.run`.
        prices: As for `Batch.run`.
        client: Makes a worker's client, given `base_url`. It is pickled: let the key be in the workers' environment
            (DGRID_API_KEY), for one that is given here would travel in clear.
        each: Called with the report of each shard that ends.

    Raises:
        ConfigError: As for `Batch.run`, or the number of workers is not known.
        WorkerLostError: The executor is broken and cannot be made again, or a shard lost its worker again and again.
        DGridError, OSError: As for `Batch.run`.

    Cancel: workers end what is in flight, and stop; a survey or a merge is given up.
    """
    began = monotonic()
    own = Files.of(output, failures)
    settings = Settings(
        base_url=normal_base_url(base_url or os.environ.get("DGRID_BASE_URL") or DEFAULT_BASE_URL),
        endpoint=endpoint,
        ordered=ordered,
        shards=shards or 1,
    )
    table = Prices(prices) if isinstance(prices, Mapping) else prices
    path = await asyncio.to_thread(Path(input).absolute)
    if (old := await run_errand(partial(_merged, path, own))) is not None:
        return old
    pool = _Pool(executor)
    try:
        count = _workers(pool, workers)
        number = count * _PER_WORKER if shards is None else shards
        parts = await run_errand(partial(_prepare, path, own, settings, number, job))
        share, most = split(limits or BatchLimits(), count)
        lease = _Lease(_directory(own) / f"lease-{secrets.token_hex(4)}")
        units = [
            Shard(
                input=path,
                files=files,
                settings=each_settings,
                limits=share,
                prices=table,
                client=client,
                lease=lease.path,
            )
            for files, each_settings in parts
        ]
        with lease:
            report = await _Run(pool, units, most, lease, each).run()
    finally:
        pool.close()
    whole = await run_errand(partial(merge, [files.output for files, _ in parts], own.output, failures=own.failures))
    await asyncio.to_thread(shutil.rmtree, _directory(own), ignore_errors=True)
    called = report.calls + report.errors[BAD_LINE]
    return attrs.evolve(
        report,
        seconds=monotonic() - began,
        output=whole.output,
        failures=whole.failures,
        lines=whole.lines,
        answered=whole.answered,
        failed=whole.failed,
        earlier=max(0, whole.answered + whole.failed - called),
    )


# --------------------------------------------------------------------------------------------------------------- before


def _directory(files: Files) -> Path:
    return files.output.with_name(files.output.name + ".shards")


def _merged(path: Path, files: Files, *, tick: Callable[[int], None]) -> Report | None:
    """Return how far the whole job is if it has been merged already."""
    fingerprint = Fingerprint.read(files)
    if fingerprint is None:
        if files.output.exists() and files.output.stat().st_size:
            raise ConfigError(f"{files.output} is there already, and no output of a batch: give another name, or delete it")
        return None
    own = fingerprint.settings.endpoint
    if not fingerprint.is_of(path) and survey(path, endpoint=own, tick=tick).digest != fingerprint.survey.digest:
        raise ConfigError(f"{files.output} answers another input than {path}: give another output, or delete it")
    report = status_of(files.output, tick=tick)
    if report.left:
        raise ConfigError(f"{files.output} is begun by another kind of run: go on with that")
    return report


def _workers(pool: _Pool, given: int | None) -> int:
    found: Any = getattr(pool.executor, "_max_workers", None) if given is None else given
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ConfigError("this executor does not tell how many workers it has: give workers=, at least 1")
    return found


def _prepare(
    path: Path, own: Files, settings: Settings, shards: int, job: str | None, *, tick: Callable[[int], None]
) -> list[tuple[Files, Settings]]:
    """Put the fingerprint of each shard where its output will be, and return their files and settings."""
    directory = _directory(own)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        begun = sorted(directory.glob("*-of-*.job"))
    except OSError as error:
        raise ConfigError(f"cannot write {directory}: {error.strerror or error}") from error
    old = Fingerprint.read(Files.of(begun[0].with_suffix(""))) if begun else None
    if old is not None:
        shards = old.settings.shards
    if old is not None and old.is_of(path):
        found = old.survey
    else:
        found = survey(path, endpoint=settings.endpoint, shards=shards, tick=tick)
    name = job or (old.jobs[0] if old is not None else secrets.token_hex(6))
    parts = []
    for shard in range(shards):
        files = Files.of(directory / f"{shard + 1:04d}-of-{shards:04d}.jsonl")
        each = attrs.evolve(settings, shard=shard, shards=shards)
        if Fingerprint.read(files) is None:
            Fingerprint(
                jobs=(name,), turn=0, input=str(path), survey=found, settings=each, failures=files.relative_failures
            ).write(files)
        parts.append((files, each))
    return parts


class _Pool:
    """An executor, and what makes a new one when it breaks."""

    def __init__(self, executor: Executor | Callable[[], Executor]) -> None:
        self._make = None if isinstance(executor, Executor) else executor
        self.executor: Executor = executor if isinstance(executor, Executor) else executor()

    def renew(self) -> bool:
        """Put a new executor in the place of a broken one; False where there is no way to make one."""
        if self._make is None:
            return False
        self.close()
        self.executor = self._make()
        return True

    def close(self) -> None:
        """Shut down what was made here; its workers end by their lease."""
        if self._make is not None:
            self.executor.shutdown(wait=False, cancel_futures=True)


class _Lease:
    """A file that is renewed as long as the whole run goes on.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self.path.touch()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def renew(self) -> None:
        """Say that the run goes on."""
        self.path.touch()

    def end(self) -> None:
        """Say that it does not."""
        self.path.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------------------- while


class _Run:
    """The shards on their way through the executor."""

    def __init__(
        self, pool: _Pool, units: list[Shard], most: int, lease: _Lease, each: Callable[[Report], object] | None
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._each = each
        # The mutable state: shards that wait; places that are free, each with the seconds that its next shard has to wait;
        # what is under way; how often each shard lost its worker; the report so far; what broke
        # the executor; and why nothing more is begun.
        self._waiting = deque(units)
        self._places = deque(self._offset(units[0].limits, most, place) for place in range(most))
        self._under_way: dict[asyncio.Future[Report], Shard] = {}
        self._losses: Counter[Path] = Counter()
        self._report = Report()
        self._broken: BrokenExecutor | None = None
        self._failure: Exception | None = None

    @staticmethod
    def _offset(share: BatchLimits, most: int, place: int) -> float:
        """Return when a place may first begin: the workers take turns within a spacing."""
        return 0.0 if share.rpm is None else place * _MINUTE / (share.rpm * most)

    async def run(self) -> Report:
        """Run all shards to their end."""
        try:
            while self._under_way or (self._waiting and self._failure is None):
                if self._broken is not None:
                    self._mend(self._broken)
                else:
                    self._submit()
                if self._under_way:
                    done, _ = await asyncio.wait(self._under_way, timeout=_RENEW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    for future in done:
                        self._take(future, self._under_way.pop(future))
                if self._failure is None:
                    self._lease.renew()
                else:
                    self._lease.end()
        finally:
            self._lease.end()
            for future in self._under_way:
                future.cancel()
        if self._failure is not None:
            raise self._failure
        return self._report

    def _submit(self) -> None:
        while self._waiting and self._places and self._failure is None:
            unit = attrs.evolve(self._waiting[0], delay=self._places[0])
            try:
                future = self._pool.executor.submit(unit)
            except BrokenExecutor as error:
                self._broken = error
                return
            self._waiting.popleft()
            self._places.popleft()
            self._under_way[asyncio.wrap_future(future)] = unit

    def _mend(self, error: BrokenExecutor) -> None:
        """Go on with a new executor, once all that the broken one had is back."""
        if self._under_way:
            return
        self._broken = None
        if not self._pool.renew():
            self._fail(WorkerLostError("the executor lost a worker, and is broken" + _ADVICE), error)

    def _take(self, future: asyncio.Future[Report], unit: Shard) -> None:
        try:
            report = future.result()
        except BrokenExecutor as error:
            self._broken = error
            self._lose(unit, error)
        except asyncio.CancelledError as error:
            self._lose(unit, error)
        except Exception as error:  # noqa: BLE001 -- whatever a worker raises
            if type(error).__name__ == "KilledWorker":  # of Dask, for a task that it saw lose several workers
                self._lose(unit, error)
            else:
                self._fail(error, None)
        else:
            self._report.update(report)
            if report.left:
                self._lose(unit, None, report)
                return
            self._places.append(_spacing(unit.limits, report))
            if self._each is not None:
                self._each(report)

    def _lose(self, unit: Shard, error: BaseException | None, report: Report | None = None) -> None:
        """Take in that a shard did not come to its end: another worker goes on with it."""
        self._places.append(_spacing(unit.limits, report))
        self._waiting.append(unit)
        self._losses[unit.files.output] += 1
        if self._losses[unit.files.output] > _MOST_LOSSES:
            name = unit.files.output.name
            self._fail(WorkerLostError(f"the shard {name} lost its worker {_MOST_LOSSES + 1} times{_ADVICE}"), error)

    def _fail(self, failure: Exception, cause: BaseException | None) -> None:
        if self._failure is None:
            self._failure = failure
            failure.__cause__ = failure.__cause__ or cause


_ADVICE = "; what is answered is kept: run the same again to go on"


def _spacing(share: BatchLimits, report: Report | None) -> float:
    """Return the seconds that the next shard in a place has to wait, so that both keep to the share of one.

    Args:
        share: Of one worker.
        report: Of the shard before; None where it was lost.
    """
    seconds = 0.0
    if share.rpm is not None:
        seconds = _MINUTE / share.rpm
    if share.tpm is not None:
        tokens = share.tpm if report is None else report.tokens.total / max(1, report.calls)
        seconds = max(seconds, _MINUTE * tokens / share.tpm)
    return min(seconds, _MINUTE)
