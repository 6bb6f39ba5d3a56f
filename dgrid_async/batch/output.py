"""The output of a batch: one line for each answered line of the input, in the form that OpenAI's Batch API has.

Rules
1. Lines go to the system whole, at the end of the file: what a kill can leave behind is one line cut short, the last, and
   opening the file for writing takes it away.
2. A line's `id` is the job, the round if it is not the first, and the number of its line in the input. So the file alone tells
   what is done, and no other file can contradict it. The id is the call's Idempotency-Key too.
3. What is written outlives the process at once; it outlives a power cut after `sync`, which `job` calls every second.

It never reads the input and never sends.

Source: platform.openai.com/docs/api-reference/batch/request-output
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import attrs
import orjson

from dgrid_async import codec
from dgrid_async.errors import APIStatusError, ConfigError, DGridError

__all__ = ["BAD_LINE", "LockedError", "Writer", "Written", "answered", "failed", "key_of", "scan"]

_BUFFER = 1024 * 1024
_TICK = 4096
_OK = 200
BAD_LINE = "BadLine"
"""The code of a line that was never sent."""


class LockedError(ConfigError):
    """Another run writes the output."""


def key_of(job: str, turn: int, number: int) -> str:
    """Return the id of an output line, which is the Idempotency-Key of its call.

    Args:
        job: The job's name.
        turn: 0, and one more each time that failed lines are called again: a key that has failed must not be repeated.
        number: The line's in the input.
    """
    return f"{job}.{turn}-{number}" if turn else f"{job}-{number}"


def answered(key: str, custom_id: str | None, request_id: str | None, body: Any) -> bytes:
    """Return the line of an answer."""
    response = {"status_code": _OK, "request_id": request_id, "body": body}
    line = {"id": key, "custom_id": custom_id, "response": response, "error": None}
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return codec.encode(line) + b"\n"


def failed(key: str, custom_id: str | None, number: int, failure: DGridError | str) -> bytes:
    """Return the line of a failure: the gateway's answer, if it gave one, and what is wrong, with the line's number.

    Args:
        key: As `key_of`.
        custom_id: The caller's name for the line, or None.
        number: The line's in the input.
        failure: The error that the call ended with; or what is wrong with the line itself.
    """
    response = None
    if isinstance(failure, APIStatusError):
        response = {"status_code": failure.status, "request_id": failure.request_id, "body": failure.body}
    code = type(failure).__name__ if isinstance(failure, DGridError) else BAD_LINE
    error = {"code": code, "message": str(failure), "line": number}
    return codec.encode({"id": key, "custom_id": custom_id, "response": response, "error": error}) + b"\n"


@attrs.frozen
class Written:
    """Where one whole line of an output stands.

    Attributes:
        number: Of the line of the input that it answers.
        offset: Its place in the file, in bytes.
        text: The line, with its end.
    """

    number: int
    offset: int
    text: bytes


def scan(path: Path, jobs: Collection[str], tick: Callable[[int], None] = lambda _: None) -> Iterator[Written]:
    """Yield the whole lines of an output, or of its failures; a file that is not there has none, a line cut short is left out.

    Args:
        path: The file.
        jobs: Names of the jobs whose lines it may hold.
        tick: Called every few thousand lines with the number of those read; what it raises ends the scan.

    Raises:
        ConfigError: It holds something else, or cannot be read.
    """
    own = re.compile(rb'\{"id":"(?:%s)(?:\.\d+)?-(\d+)",' % b"|".join(re.escape(job.encode()) for job in jobs))
    try:
        with path.open("rb", buffering=_BUFFER) as file:
            offset = 0
            for place, text in enumerate(file, 1):
                # A power cut can leave zeros where data had not reached the disk; from there on nothing counts.
                if not text.endswith(b"\n") or b"\0" in text:
                    return
                match = own.match(text)
                if match is None:
                    raise ConfigError(
                        f"{path}, line {place}: not written by this job; move the file away, or give another output"
                    )
                yield Written(int(match[1]), offset, text)
                offset += len(text)
                if not place % _TICK:
                    tick(place)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


class Writer:
    """The end of an output file, which one process alone writes.

    Attributes:
        gathered: Whole lines that `flush` is to add.

    Args:
        path: The file; made if it is not there.

    Raises:
        LockedError: Another run writes it.
        ConfigError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # The mutable state: lines that wait for `flush`; the open file (-1: closed), and whether bytes wait for `sync`.
        self.gathered: list[bytes] = []
        self._file = -1
        self._dirty = False
        try:
            # Without the flag, Windows would change the line ends.
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            _lock(self._file)
        except BlockingIOError:
            self.close()
            raise LockedError(f"another run writes {path}: let it end, or give another output") from None
        except OSError as error:
            self.close()
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return os.fstat(self._file).st_size

    def repair(self, jobs: Collection[str], see: Callable[[int], object], tick: Callable[[int], None] = lambda _: None) -> None:
        """Take away what was cut short, and tell the number of each whole line.

        Args:
            jobs: As `scan`.
            see: Told the numbers.
            tick: As `scan`.

        Raises:
            ConfigError: As `scan`.
        """
        end = 0
        for written in scan(self.path, jobs, tick):
            see(written.number)
            end = written.offset + len(written.text)
        if end < self.size:
            os.ftruncate(self._file, end)
            self._dirty = True

    def write(self, line: bytes) -> None:
        """Add a whole line.

        Raises:
            OSError: The disk is full, say. The writer is closed then: a line behind half a one would spoil both.
        """
        self._dirty = True
        try:
            rest = line[os.write(self._file, line) :]
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            self.close()
            raise

    def flush(self) -> None:
        """Add the lines that wait for it.

        Raises:
            OSError: As `write`; those lines are given up.
        """
        if self.gathered:
            lines = b"".join(self.gathered)
            self.gathered.clear()
            self.write(lines)

    def sync(self) -> None:
        """Wait until all that is written is on the disk."""
        if self._dirty and self._file >= 0:
            self._dirty = False
            os.fsync(self._file)

    def close(self) -> None:
        """Give the file up, and its lock with it."""
        file, self._file = self._file, -1
        if file >= 0:
            with suppress(OSError):
                os.close(file)


def _lock(file: int) -> None:
    """Keep every other process from writing; where the system has no such locks, nothing does."""
    with suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
