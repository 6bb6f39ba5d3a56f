"""How far a run is, and what a person sees of it: a live bar on a terminal (extra `progress`), or a line now and then.

It reads no clock but what it is given, and never decides how a run goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

import attrs

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["Bar", "Display", "Lines", "Progress", "display_on"]

# The rate is that of so many seconds past: long enough to be steady, short enough to show a change.
_SPAN = 15.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@attrs.frozen(kw_only=True)
class Progress:
    """How far a run is at one moment.

    Attributes:
        lines: Of the job.
        answered: Lines that have an answer, earlier runs included.
        failed: Lines that failed, earlier runs included.
        in_flight: Calls under way.
        concurrency: How many there may be now.
        tokens: Read and written by this run's answers.
        seconds: Since the run began.
        draining: Whether nothing new is begun.
        rate: Lines a second, of late.
    """

    lines: int
    answered: int
    failed: int
    in_flight: int = 0
    concurrency: int = 0
    tokens: int = 0
    seconds: float = 0.0
    draining: bool = False
    rate: float = 0.0

    @property
    def done(self) -> int:
        """Lines that are answered or failed."""
        return self.answered + self.failed

    @property
    def left(self) -> float | None:
        """The seconds that the rest will take at this rate; None where it is not known."""
        return (self.lines - self.done) / self.rate if self.rate > 0 else None

    def __str__(self) -> str:
        share = 100 * self.done // self.lines if self.lines else 100
        left = "" if self.left is None or self.done == self.lines else f", {spoken(self.left)} left"
        rest = f"{self.in_flight} of {self.concurrency} in flight, {self.tokens:,} tokens, {spoken(self.seconds)}{left}"
        state = "; ending, nothing new is begun" if self.draining else ""
        return f"{self.done:,}/{self.lines:,} ({share} %), {self.failed:,} failed, {self.rate:.1f}/s, {rest}{state}"


def spoken(seconds: float) -> str:
    """Return a time as a person says it: 4 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


class Rate:
    """Lines a second over the last while."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def at(self, seconds: float, done: int) -> float:
        """Take in how many are done at a time, and return the rate."""
        self._marks.append((seconds, done))
        while len(self._marks) > 2 and seconds - self._marks[0][0] > _SPAN:  # noqa: PLR2004 -- a first and a last
            self._marks.popleft()
        began, before = self._marks[0]
        return (done - before) / (seconds - began) if seconds > began else 0.0


class Display(Protocol):
    """What shows progress while it is entered."""

    def __call__(self, progress: Progress) -> None:
        """Show this."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...


class Lines:
    """A line every few seconds, for logs.

    Args:
        note: Writes a line.
        every: Seconds between two of them.
    """

    def __init__(self, note: Callable[[str], Any], every: float = 10.0) -> None:
        self._note = note
        self._every = every
        self._due = every

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def __call__(self, progress: Progress) -> None:
        """Write a line if one is due."""
        if progress.seconds >= self._due:
            self._due = progress.seconds + self._every
            self._note(str(progress))


class Bar:
    """A live bar on a terminal, drawn by rich.

    Args:
        stream: The terminal.

    Raises:
        ImportError: rich is not installed.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Drawing

        self._drawing = Drawing(
            TextColumn("{task.percentage:>3.0f} %"),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            console=Console(file=stream),
            # The runner says when; a thread that draws would outlive a kill's last moment with half a line.
            auto_refresh=False,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._drawing.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._drawing.stop()

    def __call__(self, progress: Progress) -> None:
        """Draw it."""
        if self._task is None:
            self._task = self._drawing.add_task("", total=None)
        left = "" if progress.left is None else f", {spoken(progress.left)} left"
        told = (
            f"{progress.done:,}/{progress.lines:,}, [red]{progress.failed:,} failed[/red], {progress.rate:.1f}/s, "
            f"{progress.in_flight}/{progress.concurrency} in flight, {progress.tokens:,} tokens{left}"
        )
        if progress.draining:
            told += ", [yellow]ending[/yellow]"
        self._drawing.update(self._task, total=progress.lines, completed=progress.done, description=told)
        self._drawing.refresh()


def display_on(stream: TextIO, note: Callable[[str], Any]) -> Display:
    """Return a bar where the stream is a terminal and rich is there, otherwise plain lines.

    Args:
        stream: Where it would be drawn.
        note: Writes a line.
    """
    if stream.isatty():
        try:
            return Bar(stream)
        except ImportError:
            pass
    return Lines(note)
