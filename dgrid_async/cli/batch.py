"""`batch`: the lines of a file answered into another, and what there is to do around that.

The first Ctrl-C ends what is in flight, the second stops; see `interrupts` for the third.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Self

import attrs

from dgrid_async.batch.ledger import Files
from dgrid_async.batch.limiter import BatchLimits
from dgrid_async.batch.merging import merge
from dgrid_async.batch.progress import display_on
from dgrid_async.batch.report import Prices, Report
from dgrid_async.batch.spool import spool
from dgrid_async.batch.status import files_of, rehearse, status_of
from dgrid_async.cli.exits import Exit
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.terminal import Terminal
from dgrid_async.client import AsyncDGrid
from dgrid_async.config import Limits, Retries, Timeouts
from dgrid_async.errors import ConfigError, DGridError

__all__ = ["run"]

# A batch has time: longer waits than a person would bear, so that a gateway's bad minute costs no line.
_MOST_DELAY = 30.0
_ADVICE = "What is answered is written; the same command again goes on from here."
_INTERRUPTED = "Interrupted."
_QUESTIONS = (
    "What is a queue good for? Answer in one sentence.",
    "Name three rivers of Europe.",
    "Write a title for a talk about streaming.",
    "Translate 'good morning' into French, Italian and Greek.",
    "Why is the sky blue? Answer in one sentence.",
)


def run(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    """Do what the action says, and return the exit code.

    Raises:
        DGridError: A file or an option is wrong, or the gateway refuses the whole job.
    """
    actions: dict[str, Callable[[argparse.Namespace, Terminal, Interrupts], int]] = {
        "run": _run,
        "status": _status,
        "retry-failed": _retry_failed,
        "merge": _merge,
        "sample": _sample,
    }
    try:
        return actions[arguments.action](arguments, terminal, interrupts)
    except KeyboardInterrupt:
        terminal.note(_INTERRUPTED)
        raise


# ------------------------------------------------------------------------------------------------------------ the runs


@attrs.frozen(kw_only=True)
class _Task:
    """One run, all its files known."""

    client: AsyncDGrid
    input: Path
    files: Files
    limits: BatchLimits
    options: dict[str, Any]
    prices: Prices | None


def _run(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    files = Files.of(arguments.output, arguments.failures)
    if arguments.dry_run:
        return _rehearse(arguments, files, terminal)
    task = _Task(
        # First of all, since without a key there is no use in reading the input.
        client=_client(arguments, arguments.base_url),
        input=Path(arguments.input),
        files=files,
        limits=_limits(arguments),
        options={name: getattr(arguments, name) for name in ("endpoint", "ordered", "shard", "job")},
        prices=_prices(arguments),
    )
    if _is_pipe(arguments.input):
        _keep(arguments.input, files.spool)
        task = attrs.evolve(task, input=files.spool)
    return _finished(arguments, terminal, interrupts, task)


def _retry_failed(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    files, fingerprint = files_of(Path(arguments.output))
    own = fingerprint.settings
    options = {"endpoint": own.endpoint, "ordered": own.ordered, "shard": (own.shard + 1, own.shards), "retry_failed": True}
    task = _Task(
        client=_client(arguments, own.base_url),
        input=Path(fingerprint.input),
        files=files,
        limits=_limits(arguments),
        options=options,
        prices=_prices(arguments),
    )
    return _finished(arguments, terminal, interrupts, task)


def _finished(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts, task: _Task) -> int:
    stop = _Stop(terminal)
    report: Report | None = None

    async def command() -> int:
        nonlocal report
        with stop, display_on(sys.stderr, terminal.note) as display:
            async with task.client as client:
                report = await client.batch.run(
                    task.input,
                    task.files.output,
                    failures=task.files.failures,
                    limits=task.limits,
                    prices=task.prices,
                    progress=display,
                    stop=stop.event,
                    **task.options,
                )
        return Exit.FAILED if report.failed else Exit.OK

    try:
        code = interrupts.run(command())
    except ConfigError:
        raise
    except DGridError:
        terminal.note(_ADVICE)
        raise
    assert report is not None  # noqa: S101 -- the command has come to its end
    _tell(arguments, terminal, report)
    if report.left or report.stopped:
        terminal.note(_ADVICE)
        return stop.exit_code
    return code


def _client(arguments: argparse.Namespace, base_url: str | None) -> AsyncDGrid:
    connections = max(arguments.concurrency or arguments.max_concurrency, Limits().max_connections or 0)
    return AsyncDGrid(
        base_url=base_url,
        timeouts=Timeouts(total=arguments.timeout),
        retries=Retries(max_attempts=arguments.attempts, max_delay=_MOST_DELAY),
        limits=Limits(max_connections=connections),
    )


def _limits(arguments: argparse.Namespace) -> BatchLimits:
    return BatchLimits(
        concurrency=arguments.concurrency,
        max_concurrency=arguments.max_concurrency,
        rpm=arguments.rpm,
        tpm=arguments.tpm,
    )


def _prices(arguments: argparse.Namespace) -> Prices | None:
    return None if arguments.prices is None else Prices.read(arguments.prices)


def _tell(arguments: argparse.Namespace, terminal: Terminal, report: Report) -> None:
    terminal.write(f"{report}\n")
    if arguments.report is not None:
        try:
            Path(arguments.report).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {arguments.report}: {error.strerror or error}") from error


class _Stop:
    """The first signal of a run: it sets an event, and gives the next signal to whoever had it before."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.event = asyncio.Event()
        self.exit_code = 0
        self._earlier: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._earlier[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        while self._earlier:
            signal.signal(*self._earlier.popitem())

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.__exit__()
        self.exit_code = 128 + number  # as a shell has it
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._say)

    def _say(self) -> None:
        self.event.set()
        self._terminal.note("Ending what is in flight; Ctrl-C again stops at once.")


# --------------------------------------------------------------------------------------------------------- without calls


def _rehearse(arguments: argparse.Namespace, files: Files, terminal: Terminal) -> int:
    with ExitStack() as stack:
        path = Path(arguments.input)
        if _is_pipe(arguments.input):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "input"
            _keep(arguments.input, path)
        found = rehearse(path, files, endpoint=arguments.endpoint, shard=arguments.shard)
    terminal.write(f"{found}\n")
    return Exit.OK


def _status(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    del interrupts
    _tell(arguments, terminal, status_of(Path(arguments.output), _prices(arguments)))
    return Exit.OK


def _merge(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    del interrupts
    report = merge(arguments.shards, arguments.output, failures=arguments.failures, partial=arguments.partial)
    terminal.write(f"{report}\n")
    return Exit.OK


def _sample(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    del interrupts
    for number in range(arguments.lines):
        question = _QUESTIONS[number % len(_QUESTIONS)]
        asked = [{"role": "user", "content": question}]
        url, body = (
            ("/v1/chat/completions", {"model": "openai/gpt-4o", "messages": asked}),
            ("/v1/messages", {"model": "anthropic/claude-sonnet-4.5", "max_tokens": 256, "messages": asked}),
            ("/v1/responses", {"model": "openai/gpt-4o", "input": question}),
            ("/v1/models/gemini-1.5-pro:generateContent", {"contents": [{"role": "user", "parts": [{"text": question}]}]}),
        )[number % 4]
        line = {"custom_id": f"request-{number + 1}", "method": "POST", "url": url, "body": body}
        terminal.write(json.dumps(line) + "\n")
    return Exit.OK


# ---------------------------------------------------------------------------------------------------------------- stdin


def _is_pipe(given: str) -> bool:
    """Tell whether an input can be read only once: stdin, or what a shell makes of `<(...)`."""
    path = Path(given)
    return given == "-" or (path.exists() and not path.is_file() and not path.is_dir())


def _keep(given: str, path: Path) -> None:
    """Copy what can be read only once to where it can be read again."""
    if given == "-":
        if sys.stdin is None:
            raise ConfigError("there is no stdin to read the input from")
        spool(sys.stdin.buffer, path)
        return
    with Path(given).open("rb") as pipe:
        spool(pipe, path)
