"""Where a run takes place: the server's process, a process for each competitor, and the rounds.

It starts processes and ends them; what is measured, and how, is the benchmarks' own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.figures import Row
from benchmarks.peers import NAMES, MissingPeerError
from benchmarks.worker import LOOPS

__all__ = ["ROOT", "Arena", "JobError", "Worker"]

ROOT = Path(__file__).parents[1]


class JobError(Exception):
    """A job failed in a competitor's process; the text is its traceback."""


def _start(*arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.stdin.close()  # type: ignore[union-attr]  # both are pipes
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()  # type: ignore[union-attr]


@contextmanager
def _one_core(*processes: int) -> Iterator[None]:
    """Keep processes on the same core for a while, where the system lets one choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = {process: os.sched_getaffinity(process) for process in processes}
    core = min(set.intersection(*before.values()))
    try:
        for process in processes:
            os.sched_setaffinity(process, {core})
        yield
    finally:
        for process, cores in before.items():
            os.sched_setaffinity(process, cores)


class Worker:
    """One competitor's process; to be waited for before it is given anything to do."""

    def __init__(self, peer: str, loop: str = LOOPS[0]) -> None:
        self._process = _start("benchmarks.worker", peer, loop)
        self.pid = self._process.pid

    def wait(self) -> None:
        """Wait until the peer is imported.

        Raises:
            MissingPeerError: It cannot be; the process has been ended.
        """
        told = self._line()
        if "missing" in told:
            self.close()
            raise MissingPeerError(told["missing"])
        self.formats = frozenset(told["formats"])
        self.skills = frozenset(told["skills"])
        self.packages: list[str] = told["packages"]

    def do(self, job: Callable[..., Any], **arguments: Any) -> Any:
        """Return what a job gives there.

        Raises:
            JobError: It failed.
        """
        request = {"job": f"{job.__module__}:{job.__qualname__}", "arguments": arguments}
        self._process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]  # a pipe
        self._process.stdin.flush()  # type: ignore[union-attr]
        told = self._line()
        if "failure" in told:
            raise JobError(told["failure"])
        return told["result"]

    def close(self) -> None:
        """End the process."""
        _end(self._process)

    def _line(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]  # a pipe
        if not line:
            raise JobError("the competitor's process ended")
        told: dict[str, Any] = json.loads(line)
        return told


class Arena:
    """The server and the competitors of one run.

    Args:
        quick: Whether everything is to run once and small.
        names: The peers that take part.
        loop: Whose event loop they run on; the server's is always asyncio's own.

    Attributes:
        url: The server's address.
        quick: As given.
        skipped: Peers that are not installed, with the reason.
        failed: What a peer failed at, with the last line of its traceback; it has no figures there.
        packages: Distributions whose versions belong to the figures.
    """

    def __init__(self, *, quick: bool, names: Sequence[str] = NAMES, loop: str = LOOPS[0]) -> None:
        self.quick = quick
        self._names = names
        self._loop = loop
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.packages: set[str] = set()
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        """Start the processes."""
        self._server = _start("benchmarks.server")
        self.url = f"http://127.0.0.1:{int(self._server.stdout.readline())}"  # type: ignore[union-attr]  # a pipe
        self._workers = {name: Worker(name, self._loop) for name in self._names}  # all at once: they import for seconds
        for name, worker in list(self._workers.items()):
            try:
                worker.wait()
            except MissingPeerError as error:
                self.skipped[name] = str(error)
                del self._workers[name]
            else:
                self.packages.update(worker.packages)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End them."""
        for worker in self._workers.values():
            worker.close()
        _end(self._server)

    def peers(self, skill: str, format: str | None = None, *, without: Sequence[str] = ()) -> list[str]:  # noqa: A002
        """Return who can do something, in the order in which they take their turns."""
        return [
            name
            for name, worker in self._workers.items()
            if skill in worker.skills and (format is None or format in worker.formats) and name not in without
        ]

    def rounds(self, usual: int) -> int:
        """Return how many rounds to run; one in a quick run."""
        return 1 if self.quick else usual

    def compete(
        self,
        bench: str,
        case: str,
        peers: Sequence[str],
        job: Callable[..., Mapping[str, float] | Awaitable[Mapping[str, float]]],
        *,
        rounds: int,
        fresh: bool = False,
        warm: bool = True,
        one_core: bool = False,
        loops: Sequence[str] = (),
        **arguments: Any,
    ) -> list[Row]:
        """Return the figures of a job that each peer does in turn, round after round: A B C, A B C.

        Args:
            bench: For the rows.
            case: For the rows.
            peers: Who takes part.
            job: Gives the figures by their names; run in the peers' processes.
            rounds: How often.
            fresh: Whether each turn is to have a process of its own: for memory.
            warm: Whether each does the job once before the first round.
            one_core: Whether competitor and server are to share a core: where each waits for the other's every write, what the
                machine takes to wake a second core is more than what is measured, and changes from minute to minute.
            loops: On whose event loops each is to do it, each turn in a process of its own; the case then names the loop.
            arguments: The job's.
        """
        fresh = fresh or bool(loops)
        found: dict[tuple[str, str, str], list[float]] = {}
        taking_part = [(peer, loop) for peer in peers for loop in loops or (self._loop,)]
        for number in range(0 if warm and not fresh else 1, rounds + 1):
            for turn in tuple(taking_part):
                peer, loop = turn
                worker = Worker(peer, loop) if fresh else self._workers[peer]
                try:
                    if fresh:
                        worker.wait()
                    with _one_core(self._server.pid, worker.pid) if one_core else nullcontext():
                        figures = worker.do(job, **arguments)
                except JobError as error:
                    self.failed[f"{peer}, {bench}: {_on(case, loop, loops)}"] = str(error).strip().splitlines()[-1]
                    taking_part.remove(turn)
                    continue
                finally:
                    if fresh:
                        worker.close()
                if number:
                    for figure, value in figures.items():
                        found.setdefault((*turn, figure), []).append(value)
        return [
            Row(bench, _on(case, loop, loops), figure, peer, tuple(values))
            for (peer, loop, figure), values in found.items()
            if (peer, loop) in taking_part
        ]


def _on(case: str, loop: str, loops: Sequence[str]) -> str:
    return f"{case}, on {loop}" if loops else case
