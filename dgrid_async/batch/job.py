"""The run of a batch: lines in, calls made, answers written, until there are none left or somebody says stop.

Rules
1. Answers that are not yet with the system count as if their calls were still under way: no call begins where the two together
   would be more than may be. So what a kill makes be called again is never more than may be in flight. With room to spare,
   answers of one pass of the loop go out in one write; without, each is written before the next call begins.
   Only ordered output waits for its turn, and may be called again with it.
2. Whoever says stop once lets what is in flight end; nothing new is begun.
3. A failure of a line is written and the run goes on. A failure of the whole job (the key is refused, the money is spent,
   nobody answers any more) is not the line's: it stops the run, and the line is called again by the next one.

What is read and written is `lines`' and `ledger`'s, how fast it goes is `limiter`'s.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from dgrid_async.batch import lines, output
from dgrid_async.batch.errand import run_errand
from dgrid_async.batch.ledger import Files, Ledger, Settings
from dgrid_async.batch.limiter import BatchLimits, Turn
from dgrid_async.batch.mapping import Send, Some, fan_out, limiter_of, sender
from dgrid_async.batch.merging import sort
from dgrid_async.batch.outcome import Outcome
from dgrid_async.batch.progress import Progress, Rate
from dgrid_async.batch.report import Prices, Report, Tokens
from dgrid_async.errors import (
    APIConnectionError,
    AuthenticationError,
    ClientClosedError,
    DGridError,
    InsufficientQuotaError,
)
from dgrid_async.request import Request
from dgrid_async.wire import wire_of

if TYPE_CHECKING:
    from dgrid_async.client import AsyncDGrid

__all__ = ["Batch", "Job", "PathLike"]

PathLike = str | os.PathLike[str]

# Lines that are looked into before the loop has its turn at the latest: a millisecond or two.
_AT_A_TIME = 256
_SYNC_SECONDS = 1.0
_SHOW_SECONDS = 0.25
# So many calls in a row that no gateway answered, retries included: then it is not there.
_UNANSWERED = 100
_LAST_SECONDS = 0.1

_INTERRUPTED = "interrupted"


class _NotSentError(DGridError):
    """A line that was pulled, but not sent any more."""


# Failures that every other line would have as well.
_THE_JOBS = (AuthenticationError, InsufficientQuotaError, ClientClosedError)
_NOT_DONE = (_NotSentError, *_THE_JOBS)


class Batch:
    """Batches from files: `client.batch` is one.

    Args:
        client: Whose calls they are.
    """

    __slots__ = ("_client",)

    def __init__(self, client: AsyncDGrid) -> None:
        self._client = client

    async def run(
        self,
        input: PathLike,  # noqa: A002 -- the word for it
        output: PathLike,
        *,
        failures: PathLike | None = None,
        endpoint: str | None = None,
        concurrency: int | None = None,
        limits: BatchLimits | None = None,
        ordered: bool = False,
        shard: tuple[int, int] = (1, 1),
        job: str | None = None,
        retry_failed: bool = False,
        prices: Prices | Mapping[str, Mapping[str, float]] | None = None,
        progress: Callable[[Progress], object] | None = None,
        stop: asyncio.Event | None = None,
    ) -> Report:
        """Answer the lines of a file into another, and return what it came to; run again, it goes on where it stopped.

        Args:
            input: The lines, in the form of OpenAI's Batch API, or bare bodies with `endpoint`; gzip or plain.
            output: Where the answers go. Beside it lies a file of the same name and `.job`: what it was begun with.
            failures: Where lines go that failed; None is `out.failures.jsonl` for `out.jsonl`.
            endpoint: The address for bare bodies, such as `/v1/messages`; the number of a line is its custom_id then.
            concurrency: Calls at one time, over that of `limits`; None for both finds out how many the gateway takes.
            limits: How fast it may go.
            ordered: Write answers in the order of the lines. A stop or a kill then repeats the answered lines that wait for
                their turn, besides those in flight.
            shard: Which part of the lines, (K, N): every N-th from the K-th on.
            job: The job's name, of which output ids and Idempotency-Keys are made; None makes one at random.
            retry_failed: Call the lines again that failed. They get new keys; their old failures are kept beside the new.
            prices: What a million tokens costs, by model: see `Prices`.
            progress: Called a few times a second.
            stop: Once it is set, what is in flight ends and nothing new is begun; while the input is
                still surveyed, the run ends and its report knows of no lines.

        Raises:
            ConfigError: A file cannot be read or written, another run writes it, or input or settings have changed.
            DGridError: The key is refused, the balance is spent, or nobody answers: what is done is written.
            OSError: The output cannot be written, the disk being full, say.

        Cancel: what is in flight is cut, what is answered is written.
        """
        own = self._client._options.base_url  # noqa: SLF001 -- the client's other half
        if isinstance(prices, Mapping):
            prices = Prices(prices)
        if concurrency is not None:
            limits = attrs.evolve(limits or BatchLimits(), concurrency=concurrency)
        number, shards = shard
        ledger = await run_errand(
            partial(
                Ledger.open,
                Path(input),
                files := Files.of(output, failures),
                Settings(base_url=own, endpoint=endpoint, ordered=ordered, shard=number - 1, shards=shards),
                job=job,
                retry=retry_failed,
            ),
            stop=stop,
            drop=Ledger.close,
        )
        if ledger is None:
            return Report(output=str(files.output), failures=str(files.failures), stopped=_INTERRUPTED)
        with ledger:
            report = await Job(self._client, ledger, limits=limits, prices=prices).run(progress=progress, stop=stop)
            if ordered and not report.left and ledger.fingerprint.turn:
                # What failed at first stands behind the rest.
                await run_errand(partial(sort, ledger.files, ledger.fingerprint))
            return report


class Job:
    """One run of a job whose ledger is open.

    Args:
        client: Makes the calls.
        ledger: What is to be done, and where it is written.
        limits: How fast it may go.
        prices: For the report.
        send: Makes a call in place of the client; for measuring what a run itself costs.
    """

    def __init__(
        self,
        client: AsyncDGrid,
        ledger: Ledger,
        *,
        limits: BatchLimits | None = None,
        prices: Prices | None = None,
        send: Send | None = None,
    ) -> None:
        self._ledger = ledger
        self._prices = prices
        self._make = sender(client, key=lambda line: ledger.key(line.number)) if send is None else send
        self._limiter = limiter_of(client, limits)
        self._concurrency = self._limiter.concurrency
        self._gathered = ledger.gathered
        self._ordered = ledger.fingerprint.settings.ordered
        # The mutable state: bad lines that wait for their turn; how many calls are under way, and how many in a row nobody
        # answered; whether `_flush` will be called; whether nothing new is begun, since when nothing is under way then, the
        # failure that is the whole job's, and that of a write.
        self._bad: list[lines.BadLine] = []
        self._in_flight = 0
        self._unanswered = 0
        self._flush_due = False
        self._stopping = False
        self._drained = asyncio.Event()
        self._fatal: DGridError | None = None
        self._lost: OSError | None = None
        self._began = monotonic()
        self._rate = Rate()
        self.report = Report(
            output=str(ledger.files.output),
            failures=str(ledger.files.failures),
            lines=ledger.fingerprint.lines,
            earlier=len(ledger.done),
        )

    async def run(self, *, progress: Callable[[Progress], object] | None = None, stop: asyncio.Event | None = None) -> Report:
        """Run to the end or to the stop, and return the report.

        Args:
            progress: Called a few times a second.
            stop: Once it is set, nothing new is begun.

        Raises:
            DGridError, OSError: As `Batch.run`.

        Cancel: as `Batch.run`.
        """
        self._began = monotonic()
        reader = _Reader(self._ledger.left())
        source = self._requests(reader)
        beside = [asyncio.ensure_future(self._sync())]
        if progress is not None:
            beside.append(asyncio.ensure_future(self._show(progress)))
        if stop is not None:
            beside.append(asyncio.ensure_future(self._heed(stop)))
        try:
            await self._calls(source)
        finally:
            self._in_flight = 0  # of those cut short, no outcome was seen
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await source.aclose()
            await reader.close()
            self._ledger.flush()
            if not self._ordered or self._ledger.answered + self._ledger.failed + len(self._bad) == self.report.lines:
                self._write_bad()
            await asyncio.shield(asyncio.to_thread(self._ledger.sync))
            self._end()
            if progress is not None:
                progress(self.progress())
        if self._fatal is not None:
            raise self._fatal
        return self.report

    def drain(self) -> None:
        """Begin nothing new."""
        self._stopping = True
        self._settle()

    def _settle(self) -> None:
        if self._stopping and not self._in_flight:
            self._drained.set()

    def progress(self) -> Progress:
        """Return how far it is."""
        ledger, seconds = self._ledger, monotonic() - self._began
        return Progress(
            lines=ledger.fingerprint.lines,
            answered=ledger.answered,
            failed=ledger.failed,
            in_flight=self._in_flight,
            concurrency=self._limiter.limit,
            tokens=self.report.tokens.total,
            seconds=seconds,
            draining=self._stopping,
            rate=self._rate.at(seconds, ledger.answered + ledger.failed),
        )

    # ------------------------------------------------------------------------------------------------------- the calls

    async def _calls(self, source: AsyncGenerator[Some]) -> None:
        async with fan_out(source, self._send, limiter=self._limiter, ordered=self._ordered) as outcomes:
            reading = asyncio.ensure_future(outcomes.hand_to(self._take, see=self._see))
            drained = asyncio.ensure_future(self._drained.wait())
            try:
                await asyncio.wait((reading, drained), return_when=asyncio.FIRST_COMPLETED)
                # The last outcomes are still to be read; but those that the limits have not let begin are not waited for.
                await asyncio.wait((reading,), timeout=_LAST_SECONDS)
            finally:
                for task in (reading, drained):
                    task.cancel()
                await asyncio.wait((reading, drained))
            if self._lost is not None:
                raise self._lost
            if not reading.cancelled():
                reading.result()

    def _send(self, line: Request, turn: Turn) -> Awaitable[Any]:
        self._in_flight += 1  # until `_see`
        if self._stopping:
            turn.attempts = 0
            raise _NotSentError("the run was stopped before this line was sent")
        if self._in_flight + len(self._gathered) > self._concurrency.places:
            self._ledger.flush()
        return self._make(line, turn)

    def _see(self, outcome: Outcome) -> None:
        """Take in that a call has ended."""
        self._in_flight -= 1
        if outcome.error is None:
            self._unanswered = 0
        else:
            self._judge(outcome.error)
        if self._stopping:
            self._settle()

    def _judge(self, error: DGridError) -> None:
        """Take in a failure, and stop the run if it is the whole job's."""
        if isinstance(error, APIConnectionError):
            self._unanswered += 1
        else:
            self._unanswered = 0
        if isinstance(error, _THE_JOBS) or self._unanswered >= _UNANSWERED:
            self._fatal = self._fatal or error
            self.drain()

    def _take(self, outcome: Outcome) -> None:
        """Write what became of a line, and count it."""
        line: Any = outcome.request
        error, report = outcome.error, self.report
        if attempts := outcome.attempts:
            report.calls += 1
            report.attempts += attempts
            report.latencies.add(outcome.seconds)
        if error is not None and isinstance(error, _NOT_DONE + (APIConnectionError,) * (self._fatal is not None)):
            return  # the next run calls it
        if self._bad:
            self._write_bad(line.number)
        if error is None:
            self._answer(line, outcome.reply)
        else:
            self._fail(line, error)

    def _answer(self, line: lines.Line, reply: Any) -> None:
        ledger = self._ledger
        # Of a plain reply, which nobody has changed, its wire form is what came.
        body = reply.to_dict() if line.stream else wire_of(reply)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        ledger.answer(output.answered(ledger.key(line.number), line.custom_id, reply.request_id, body))
        self.report.tokens.count(body)
        if self._prices is not None:
            names = line.params.get("model"), body.get("model"), body.get("modelVersion")
            self.report.price(self._prices.cost(Tokens.of(body), *names))

    def _fail(self, line: lines.Line | lines.BadLine, failure: DGridError | str) -> None:
        self.report.errors[output.BAD_LINE if isinstance(failure, str) else type(failure).__name__] += 1
        self._ledger.fail(output.failed(self._ledger.key(line.number), line.custom_id, line.number, failure))

    def _flush(self) -> None:
        self._flush_due = False
        try:
            self._ledger.flush()
        except OSError as error:
            # Nobody waits for this; whoever runs the calls is told.
            self._lost = error
            self._drained.set()

    def _write_bad(self, before: int | None = None) -> None:
        """Write the bad lines in hand; in ordered output those alone that stand before a line."""
        while self._bad and (before is None or not self._ordered or self._bad[0].number < before):
            line = self._bad.pop(0)
            self._fail(line, line.problem)

    # ------------------------------------------------------------------------------------------------------- the input

    async def _requests(self, reader: _Reader) -> AsyncGenerator[Some]:
        while not self._stopping and (block := await reader.take()):
            for start in range(0, len(block), _AT_A_TIME):
                yield Some(self._lines(block[start : start + _AT_A_TIME]))
                await asyncio.sleep(0)  # calls that end without waiting must not keep the loop

    def _lines(self, some: list[lines.Unread]) -> Iterator[Request]:
        endpoint, repeats = self._ledger.fingerprint.settings.endpoint, self._ledger.repeats
        for number, text in some:
            if self._stopping:
                return
            line = lines.parse(number, text, endpoint, repeated=number in repeats)
            if not isinstance(line, lines.BadLine):
                yield line
                continue
            self._bad.append(line)
            if not self._ordered:
                self._write_bad()

    # ---------------------------------------------------------------------------------------------------- beside the calls

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_SECONDS)
            await asyncio.to_thread(self._ledger.sync)

    async def _show(self, progress: Callable[[Progress], object]) -> None:
        while True:
            progress(self.progress())
            await asyncio.sleep(_SHOW_SECONDS)

    async def _heed(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.drain()

    def _end(self) -> None:
        report, ledger = self.report, self._ledger
        report.answered, report.failed = ledger.answered, ledger.failed
        report.seconds = monotonic() - self._began
        if report.left and self._stopping:
            report.stopped = _INTERRUPTED if self._fatal is None else type(self._fatal).__name__


class _Reader:
    """Reads lines in a thread, a block at a time, and always the one that is wanted next.

    It does not look into them: two threads that both compute take turns at it, and the turns cost more than the lines.
    """

    def __init__(self, source: Generator[list[lines.Unread]]) -> None:
        self._source = source
        self._reading: asyncio.Future[list[lines.Unread]] | None = None
        self._closed = False

    async def take(self) -> list[lines.Unread]:
        """Return the next lines; none at the end.

        Raises:
            ConfigError: The input cannot be read.

        Cancel: nothing is lost; `close` waits for the thread.
        """
        if self._reading is None:
            self._reading = self._read()
        some = await asyncio.shield(self._reading)
        self._reading = self._read() if some else None
        return some

    def _read(self) -> asyncio.Future[list[lines.Unread]]:
        return asyncio.get_running_loop().run_in_executor(None, self._next)

    def _next(self) -> list[lines.Unread]:
        # Whole blocks may be done already.
        return next((some for some in self._source if some or self._closed), [])

    async def close(self) -> None:
        """Close the input."""
        self._closed = True
        if self._reading is not None:
            await asyncio.wait((self._reading,))
            self._reading.exception()  # of lines that nobody wants any more
        self._source.close()
