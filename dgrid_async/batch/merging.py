"""One output from those of several shards, in the order of the input; the same for an output that is out of order.

Eight bytes a line are held, where each line stands; the lines themselves are copied one by one. What is made appears whole, or
not at all. It never sends.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from dgrid_async.batch.ledger import Files, Fingerprint
from dgrid_async.batch.output import scan
from dgrid_async.batch.report import Report
from dgrid_async.batch.status import files_of, status_of
from dgrid_async.errors import ConfigError

__all__ = ["merge", "sort"]

# A place is a file's number and an offset in it: 2 ** 20 files of 2 ** 44 bytes (16 TB).
_OFFSET_BITS = 44
_OFFSETS = (1 << _OFFSET_BITS) - 1
# Lines between two ticks.
_TICK = 4096


def merge(
    outputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    failures: str | os.PathLike[str] | None = None,
    partial: bool = False,
    tick: Callable[[int], None] = lambda _: None,
) -> Report:
    """Make one output of those of several shards, in the order of the input, and return how far the job is.

    What it makes is the output of a whole job: `batch run` goes on with it, `batch retry-failed` calls its failures again.

    Args:
        outputs: Those of the shards.
        output: What is made; it must not be there.
        failures: Where the failures go, as for a run.
        partial: Take what there is, though lines or whole shards are missing.
        tick: Called every few thousand lines with the number of those read or written; what it raises ends the merge.

    Raises:
        ConfigError: They are not the shards of one input, some are missing or not at their end, or a file cannot be read or
            written.
    """
    files = Files.of(output, failures)
    if files.output.exists() or files.fingerprint.exists():
        raise ConfigError(f"{files.output} is there already: give another name, or delete it and {files.fingerprint.name}")
    parts = [files_of(Path(each)) for each in outputs]
    if not parts:
        raise ConfigError("there is nothing to merge: give the outputs of the shards")
    first = parts[0][1]
    shards = first.settings.shards
    seen: set[int] = set()
    for part, own in parts:
        if (own.survey.digest, own.survey.lines) != (first.survey.digest, first.survey.lines):
            raise ConfigError(f"{part.output} answers another input than {parts[0][0].output}")
        if attrs.evolve(own.settings, shard=0) != attrs.evolve(first.settings, shard=0):
            raise ConfigError(f"{part.output} was made with other settings than {parts[0][0].output}")
        if own.settings.shard in seen:
            raise ConfigError(f"shard {own.settings.shard + 1}/{shards} is given twice")
        seen.add(own.settings.shard)
    missing = sorted(set(range(shards)) - seen)
    if missing and not partial:
        names = ", ".join(f"{shard + 1}/{shards}" for shard in missing)
        raise ConfigError(f"shards {names} are missing: give all, or say that a part will do (--partial)")
    whole = Fingerprint(
        jobs=tuple(dict.fromkeys(job for _, own in parts for job in own.jobs)),
        turn=max(own.turn for _, own in parts),
        input=first.input,
        survey=attrs.evolve(first.survey, filled=(sum(first.survey.filled),)),
        settings=attrs.evolve(first.settings, shard=0, shards=1),
        failures=files.relative_failures,
    )
    answers = _Places([part.output for part, _ in parts], whole, tick)
    failed = _Places([part.failures for part, _ in parts], whole, tick)
    left = whole.lines - answers.count - failed.count
    if left and not partial:
        raise ConfigError(f"{left} lines are not done: run their shards to the end, or say that a part will do (--partial)")
    with ExitStack() as drafts:
        # What takes long comes before anything appears, and the output last: as long as it is not there, nothing is.
        put_output = drafts.enter_context(answers.draft(files.output))
        if failed.count:
            drafts.enter_context(failed.draft(files.failures))()
        whole.write(files)
        put_output()
    return status_of(files.output, tick=tick)


def sort(files: Files, fingerprint: Fingerprint, *, tick: Callable[[int], None] = lambda _: None) -> None:
    """Put a job's output and failures into the order of the input; for whoever has them open for writing.

    Args:
        files: The job's.
        fingerprint: The job.
        tick: As `merge`.

    Raises:
        ConfigError: A file cannot be read or written.
    """
    for path in (files.failures, files.output):
        places = _Places([path], fingerprint, tick)
        if not places.in_order:
            with places.draft(path) as put:
                put()


class _Places:
    """Where the lines of some files stand.

    Attributes:
        count: How many there are.
        in_order: Whether they stand in the order of the input already.
    """

    def __init__(self, paths: Sequence[Path], fingerprint: Fingerprint, tick: Callable[[int], None]) -> None:
        self._paths = paths
        self._tick = tick
        # One more than the place; 0 is none.
        self._places = array("Q", bytes(8 * (fingerprint.survey.lines + 1)))
        self.count = 0
        self.in_order = True
        last = 0
        for which, path in enumerate(paths):
            for written in scan(path, fingerprint.jobs, tick):
                if not 0 < written.number < len(self._places) or self._places[written.number]:
                    raise ConfigError(f"{path} answers line {written.number} once more, or there is no such line")
                self._places[written.number] = (which << _OFFSET_BITS | written.offset) + 1
                self.count += 1
                self.in_order = self.in_order and written.number > last
                last = written.number

    @contextmanager
    def draft(self, path: Path) -> Iterator[Callable[[], object]]:
        """Make a file of the lines, in order, and give what puts it in its place; without that it is gone behind the block."""
        draft = path.with_name(path.name + ".new")
        try:
            self._write(draft)
            yield lambda: draft.replace(path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            draft.unlink(missing_ok=True)

    def _write(self, path: Path) -> None:
        with ExitStack() as stack, path.open("wb") as target:
            sources = {which: stack.enter_context(each.open("rb")) for which, each in enumerate(self._paths) if each.exists()}
            for count, place in enumerate(filter(None, self._places), 1):
                source = sources[(place - 1) >> _OFFSET_BITS]
                source.seek((place - 1) & _OFFSETS)
                target.write(source.readline())
                if not count % _TICK:
                    self._tick(count)
            target.flush()
            os.fsync(target.fileno())
