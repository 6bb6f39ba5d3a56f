"""What a job is and what of it is done: its files, its fingerprint beside the output, and one bit for each line.

Rules
1. What is done is read from the output and the failures, never from the fingerprint, which only tells whether input and
   settings are still those that the output was begun with.
2. The fingerprint is on the disk before the first call is made: a call repeated after a kill carries the key it had.
3. The content of the input is read again only where its size or its time has changed: its digest then decides.

It holds no key and never sends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from dgrid_async.batch.lines import Survey, Unread, check_endpoint, survey, unread
from dgrid_async.batch.output import Writer, key_of
from dgrid_async.errors import ConfigError

__all__ = ["Bits", "Files", "Fingerprint", "Ledger", "Settings"]

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Bits:
    """A set of numbers from 0 on, one bit each: ten million in 1.25 MB.

    Args:
        most: The greatest number there will be.
    """

    __slots__ = ("_bits", "_count")

    def __init__(self, most: int) -> None:
        self._bits = bytearray(most // 8 + 1)
        self._count = 0

    def add(self, number: int) -> None:
        """Take a number in."""
        mask = 1 << (number & 7)
        if not self._bits[number >> 3] & mask:
            self._bits[number >> 3] |= mask
            self._count += 1

    def __contains__(self, number: Any) -> bool:
        return bool(self._bits[number >> 3] & (1 << (number & 7)))

    def __len__(self) -> int:
        return self._count


@attrs.frozen
class Files:
    """Where a job's files are.

    Attributes:
        output: The answers.
        failures: The lines that failed.
    """

    output: Path
    failures: Path

    @classmethod
    def of(cls, output: str | os.PathLike[str], failures: str | os.PathLike[str] | None = None) -> Self:
        """Return the files of an output; without a word the failures of `out.jsonl` are in `out.failures.jsonl`."""
        path = Path(output)
        return cls(path, path.with_name(f"{path.stem}.failures{path.suffix}") if failures is None else Path(failures))

    @property
    def fingerprint(self) -> Path:
        """Where the fingerprint is."""
        return self.output.with_name(self.output.name + ".job")

    @property
    def spool(self) -> Path:
        """Where an input that came by a pipe is."""
        return self.output.with_name(self.output.name + ".input")

    @property
    def relative_failures(self) -> str:
        """Where the failures are, seen from the output: the two may be moved together."""
        return os.path.relpath(self.failures, self.output.parent)

    def earlier(self, turn: int) -> Path:
        """Where the failures are that were called again in a turn."""
        return self.failures.with_name(f"{self.failures.stem}.{turn}{self.failures.suffix}")


@attrs.frozen(kw_only=True)
class Settings:
    """What of a run's options alters the answers, or which lines there are.

    Attributes:
        base_url: The gateway.
        endpoint: The address for bare bodies, or None.
        ordered: Whether answers stand in the order of the input.
        shard: Which shard, from 0.
        shards: How many there are.
    """

    base_url: str
    endpoint: str | None = None
    ordered: bool = False
    shard: int = 0
    shards: int = 1

    def __attrs_post_init__(self) -> None:
        if self.shards < 1 or not 0 <= self.shard < self.shards:
            raise ConfigError(f"shard {self.shard + 1}/{self.shards}: give K/N with K from 1 to N")
        if self.endpoint is not None:
            check_endpoint(self.endpoint)


@attrs.frozen(kw_only=True)
class Fingerprint:
    """What an output belongs to, as it lies beside it in a file of JSON.

    Attributes:
        jobs: Names of the jobs whose lines the output may hold; the first is that of new ones.
        turn: How many times failed lines have been called again.
        input: Where the input is.
        survey: What it was.
        settings: Those of the first run.
        failures: Where the failures are, seen from the output.
    """

    jobs: tuple[str, ...]
    turn: int
    input: str
    survey: Survey
    settings: Settings
    failures: str

    @classmethod
    def read(cls, files: Files) -> Self | None:
        """Return what lies beside an output, or None.

        Raises:
            ConfigError: It cannot be read.
        """
        path = files.fingerprint
        try:
            value = json.loads(path.read_bytes())
            if value.pop("format") != _FORMAT:
                raise ConfigError(f"{path} was written by another version of this program")
            seen = value.pop("survey")
            return cls(
                jobs=tuple(value.pop("jobs")),
                survey=Survey(**{**seen, "filled": tuple(seen["filled"]), "repeats": tuple(seen["repeats"])}),
                settings=Settings(**value.pop("settings")),
                **value,
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{path} is not what a batch writes beside its output: {error}") from error

    def write(self, files: Files) -> None:
        """Put it beside the output: whole, or not at all.

        Raises:
            ConfigError: It cannot be written.
        """
        path = files.fingerprint
        draft = path.with_name(path.name + ".new")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump({"format": _FORMAT, **attrs.asdict(self)}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _sync_directory(path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error

    @property
    def lines(self) -> int:
        """How many lines the job has: those of its shard that hold something."""
        return self.survey.filled[self.settings.shard]

    def is_of(self, path: Path) -> bool:
        """Tell whether a file is, by its size and time alone, the input that this was made of.

        Raises:
            ConfigError: The file cannot be read.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
        return (state.st_size, state.st_mtime_ns) == (self.survey.bytes, self.survey.mtime_ns)

    def differs(self, settings: Settings) -> str | None:
        """Return what is no longer as it was, or None."""
        for name, was in attrs.asdict(self.settings).items():
            now = getattr(settings, name)
            if now != was:
                return f"{name} was {was!r} and is {now!r}"
        return None


def _sync_directory(path: Path) -> None:
    # Not every system opens a directory.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Ledger:
    """A job that is open for running: its two writers, and what is done.

    Attributes:
        fingerprint: What the job is.
        input: The file that is read.
        files: Those that are written.
        done: Numbers of the lines that were in the output or the failures when it was opened.
        repeats: Numbers of the lines whose custom_id an earlier line has.
        gathered: Answers that wait for `flush`.
        answered: How many are in the output, those that wait included.
        failed: How many are in the failures.
    """

    def __init__(self, files: Files, path: Path, fingerprint: Fingerprint, output: Writer, failures: Writer) -> None:
        self.files = files
        self.input = path
        self.fingerprint = fingerprint
        self._output = output
        self.gathered = output.gathered
        self._failures = failures
        self._key = key_of(fingerprint.jobs[0], fingerprint.turn, 0)[:-1]
        self.repeats = frozenset(fingerprint.survey.repeats)
        # The mutable state: what was done, and how much is.
        self.done = Bits(fingerprint.survey.lines)
        self.answered = 0
        self.failed = 0

    @classmethod
    def open(
        cls,
        path: Path,
        files: Files,
        settings: Settings,
        *,
        job: str | None = None,
        retry: bool = False,
        tick: Callable[[int], None] = lambda _: None,
    ) -> Self:
        """Begin a job, or go on with one.

        Args:
            path: The input, a file that can be read twice.
            files: Where the output goes.
            settings: What must not change from run to run.
            job: The job's name; None takes the one it has, or makes one.
            retry: Whether the lines that failed are called again.
            tick: Called every few thousand lines with the number of those read so far of one file; what it raises ends the
                opening.

        Raises:
            ConfigError: A file cannot be read or written, another run has the output, or input or settings are not those that
                it was begun with.
        """
        if path.resolve() in {files.output.resolve(), files.failures.resolve()} or files.output == files.failures:
            raise ConfigError("input, output and failures are three files: give each a name of its own")
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(Writer(files.output))
            fingerprint = _checked(path, files, settings, job=job, has_lines=output.size > 0, tick=tick)
            if retry:
                # First the turn: a kill in between must not let failed keys be sent again.
                fingerprint = attrs.evolve(fingerprint, turn=fingerprint.turn + 1)
            fingerprint.write(files)
            if retry:
                with contextlib.suppress(FileNotFoundError):
                    files.failures.replace(files.earlier(fingerprint.turn))
            failures = stack.enter_context(Writer(files.failures))
            ledger = cls(files, path, fingerprint, output, failures)
            ledger._load(tick)
            stack.pop_all()
            return ledger

    def _load(self, tick: Callable[[int], None]) -> None:
        last = self.fingerprint.survey.lines

        def see(number: int) -> None:
            if not 0 < number <= last or number in self.done:
                raise ConfigError(f"{self.files.output} or its failures answer line {number} twice, or there is no such line")
            self.done.add(number)

        self._output.repair(self.fingerprint.jobs, see, tick)
        self.answered = len(self.done)
        self._failures.repair(self.fingerprint.jobs, see, tick)
        self.failed = len(self.done) - self.answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def key(self, number: int) -> str:
        """Return the id of a line's answer, which is the Idempotency-Key of its call."""
        return self._key + str(number)

    def left(self) -> Generator[list[Unread]]:
        """Yield the lines that were not done, some at a time, not looked into.

        Raises:
            ConfigError: The input cannot be read.
        """
        own = self.fingerprint
        return unread(
            self.input, shard=own.settings.shard, shards=own.settings.shards, done=self.done if len(self.done) else None
        )

    def answer(self, line: bytes) -> None:
        """Take an answer in, for `flush` to write."""
        self.gathered.append(line)
        self.answered += 1

    def fail(self, line: bytes) -> None:
        """Write a failure.

        Raises:
            OSError: It cannot be written.
        """
        self._failures.write(line)
        self.failed += 1

    def flush(self) -> None:
        """Write the answers that wait for it.

        Raises:
            OSError: They cannot be written.
        """
        self._output.flush()

    def sync(self) -> None:
        """Wait until all that is written is on the disk."""
        self._output.sync()
        self._failures.sync()

    def close(self) -> None:
        """Give the files up, answers written; failures that hold none are no file.

        Raises:
            OSError: They cannot be written.
        """
        try:
            self._output.flush()
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            if not self._failures.size:
                self.files.failures.unlink()
        self._failures.close()
        self._output.close()


def _checked(
    path: Path, files: Files, settings: Settings, *, job: str | None, has_lines: bool, tick: Callable[[int], None]
) -> Fingerprint:
    """Return the fingerprint of the job: the one that lies there, if it still fits."""
    old = Fingerprint.read(files)
    if old is None:
        if has_lines or (files.failures.exists() and files.failures.stat().st_size):
            raise ConfigError(f"{files.output} is there, but {files.fingerprint.name}, which tells what it belongs to, is not")
        found = _survey(path, settings, tick)
        name = secrets.token_hex(6) if job is None else job
        if not _NAME.fullmatch(name):
            raise ConfigError(f"job={name!r}: a job's name has 1 to 64 letters, digits, '-', '_' and '.'")
        return Fingerprint(
            jobs=(name,),
            turn=0,
            input=str(path.absolute()),
            survey=found,
            settings=settings,
            failures=files.relative_failures,
        )
    advice = f"give another output, or delete {files.output} and the files beside it to begin anew"
    if (change := old.differs(settings)) is not None:
        raise ConfigError(f"{files.output} was begun with other settings: {change}; {advice}")
    if job is not None and job != old.jobs[0]:
        raise ConfigError(f"{files.output} belongs to the job {old.jobs[0]!r}, not to {job!r}; {advice}")
    if old.failures != files.relative_failures:
        raise ConfigError(f"the failures of {files.output} are in {old.failures}; {advice}")
    was = old.survey
    if not old.is_of(path):
        now = _survey(path, settings, tick)
        if now.digest != was.digest:
            raise ConfigError(
                f"{path} is not the input that {files.output} was begun with (it had {was.lines} lines and the digest "
                f"{was.digest[:8]}, this has {now.lines} and {now.digest[:8]}); {advice}"
            )
        old = attrs.evolve(old, survey=now)
    return attrs.evolve(old, input=str(path.absolute()))


def _survey(path: Path, settings: Settings, tick: Callable[[int], None]) -> Survey:
    return survey(path, endpoint=settings.endpoint, shards=settings.shards, tick=tick)
