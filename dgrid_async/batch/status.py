"""What can be known of a job without running it: how far it is, and what a run would find in its input.

It writes nothing, and takes no lock: a job may be looked at while it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from dgrid_async import codec
from dgrid_async.batch import lines, output
from dgrid_async.batch.estimate import tokens_asked
from dgrid_async.batch.ledger import Bits, Files, Fingerprint
from dgrid_async.batch.report import Prices, Report, Tokens
from dgrid_async.errors import ConfigError

__all__ = ["Rehearsal", "files_of", "rehearse", "status_of"]

_MOST_SHOWN = 20


def files_of(path: Path) -> tuple[Files, Fingerprint]:
    """Return the files of the job that has this output, and what it was begun with.

    Raises:
        ConfigError: No job has this output.
    """
    fingerprint = Fingerprint.read(Files.of(path))
    if fingerprint is None:
        raise ConfigError(f"{path} is no output of a batch: {Files.of(path).fingerprint.name} is not beside it")
    return Files.of(path, path.parent / fingerprint.failures), fingerprint


def status_of(path: Path, prices: Prices | None = None, *, tick: Callable[[int], None] = lambda _: None) -> Report:
    """Return how far a job is, with the tokens and the cost of all its answers.

    Args:
        path: Its output.
        prices: By the models that the replies name.
        tick: Called every few thousand lines with the number of those read of one file; what it raises ends this.

    Raises:
        ConfigError: No job has this output, or a file cannot be read.
    """
    files, fingerprint = files_of(path)
    report = Report(output=str(files.output), failures=str(files.failures), lines=fingerprint.lines)
    for written in output.scan(files.output, fingerprint.jobs, tick):
        report.answered += 1
        body = _part(written.text, "response", "body")
        tokens = Tokens.of(body)
        report.tokens.add(tokens)
        if prices is not None and isinstance(body, dict):
            report.price(prices.cost(tokens, body.get("model"), body.get("modelVersion")))
    for written in output.scan(files.failures, fingerprint.jobs, tick):
        report.failed += 1
        report.errors[str(_part(written.text, "error", "code"))] += 1
    report.earlier = report.answered + report.failed
    return report


def _part(text: bytes, *names: str) -> Any:
    value = codec.decode(text)
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@attrs.define
class Rehearsal:
    """What a run would find.

    Attributes:
        lines: That hold something.
        done: That are done already.
        calls: How many would be made, by address and model.
        tokens: About how many, answers as long as they may be.
        bad: Lines that would be failures at once.
        problems: Of the first of these, the number and what is wrong.
    """

    lines: int = 0
    done: int = 0
    calls: Counter[str] = attrs.field(factory=Counter)
    tokens: int = 0
    bad: int = 0
    problems: list[tuple[int, str]] = attrs.field(factory=list)

    def __str__(self) -> str:
        rows = [f"{self.lines:,} lines, {self.done:,} done, {self.calls.total():,} calls to make, {self.bad:,} bad lines"]
        rows += [f"  {count:,} to {name}" for name, count in self.calls.most_common()]
        rows.append(f"about {self.tokens:,} tokens at most, answers included")
        rows += [f"  line {number}: {problem}" for number, problem in self.problems]
        if self.bad > len(self.problems):
            rows.append(f"  and {self.bad - len(self.problems):,} more")
        return "\n".join(rows)


def rehearse(
    path: Path, files: Files | None = None, *, endpoint: str | None = None, shard: tuple[int, int] = (1, 1)
) -> Rehearsal:
    """Return what a run would find; nothing is sent or written.

    Args:
        path: The input.
        files: The output that it would go on with, if it is there.
        endpoint: As for a run.
        shard: As for a run.

    Raises:
        ConfigError: A file cannot be read.
    """
    number, shards = shard
    survey = lines.survey(path, endpoint=endpoint, shards=shards)
    found = Rehearsal(lines=survey.filled[number - 1])
    done = Bits(survey.lines)
    if files is not None and (fingerprint := Fingerprint.read(files)) is not None:
        for each in (files.output, files.failures):
            for written in output.scan(each, fingerprint.jobs):
                if written.number <= survey.lines:
                    done.add(written.number)
    found.done = len(done)
    for line in lines.read(path, endpoint=endpoint, shard=number - 1, shards=shards, done=done, repeats=survey.repeats):
        try:
            if isinstance(line, lines.BadLine):
                raise ConfigError(line.problem)
            address = line.url
            if line.endpoint != "generate_content":  # which names the model in its address
                address = f"{address}, {line.params['model']}"
            found.calls[address] += 1
            found.tokens += tokens_asked(line)
        except ConfigError as error:
            found.bad += 1
            if len(found.problems) < _MOST_SHOWN:
                found.problems.append((line.number, error.message))
    return found
