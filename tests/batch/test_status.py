"""What can be known of a job without running it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgrid_async import AsyncDGrid, ConfigError
from dgrid_async.batch.ledger import Files, Ledger, Settings
from dgrid_async.batch.report import Prices
from dgrid_async.batch.status import files_of, rehearse, status_of
from dgrid_async.emulator import Emulator, Script
from tests.batch.batches import line, put


async def test_a_job_can_be_looked_at_while_it_runs_and_behind_a_kill(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 10)
    emulator.script = lambda received: Script(status=400 if received.number == 3 else 200)
    async with AsyncDGrid("k", base_url=emulator.url) as client:
        run = await client.batch.run(tmp_path / "in", tmp_path / "out", failures=tmp_path / "bad", concurrency=1)
    with (tmp_path / "out").open("ab") as file:
        file.write(b'{"id":"x')
    with Ledger.open(tmp_path / "in", *_open(tmp_path)):
        report = status_of(tmp_path / "out", Prices({"*": {"input": 1e6, "output": 0}}))
    assert (report.lines, report.answered, report.failed, report.left) == (10, 9, 1, 0)
    assert report.tokens == run.tokens
    assert report.cost == pytest.approx(run.tokens.input)
    assert dict(report.errors) == {"BadRequestError": 1}
    assert "this run" not in str(report)


def _open(tmp_path: Path) -> tuple[Files, Settings]:
    files, fingerprint = files_of(tmp_path / "out")
    assert files.failures.resolve() == (tmp_path / "bad").resolve()
    return Files.of(tmp_path / "out", tmp_path / "bad"), fingerprint.settings


def test_no_job_has_no_status(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no output of a batch"):
        status_of(tmp_path / "out")


async def test_a_rehearsal_finds_what_a_run_would_and_writes_nothing(emulator: Emulator, tmp_path: Path) -> None:
    rows = [json.dumps(line(number)) for number in range(1, 31)]
    rows[2] = "{"
    rows[11] = rows[10]
    (tmp_path / "in").write_text("\n".join(rows), encoding="utf-8")
    found = rehearse(tmp_path / "in")
    assert (found.lines, found.done, found.calls.total(), found.bad) == (30, 0, 28, 2)
    assert found.calls["/v1/messages, m"] == 8
    assert found.calls["/v1/models/g:generateContent"] == 6
    assert [number for number, _ in found.problems] == [3, 12]
    assert found.tokens > 28 * 50
    for part in ("28 calls", "2 bad lines", "line 3: the line is no JSON", "6 to /v1/models/g:generateContent"):
        assert part in str(found)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    async with AsyncDGrid("k", base_url=emulator.url) as client:
        await client.batch.run(tmp_path / "in", tmp_path / "out", shard=(1, 2))
    rest = rehearse(tmp_path / "in", Files.of(tmp_path / "out"), shard=(1, 2))
    assert (rest.lines, rest.done, rest.calls.total()) == (15, 15, 0)


def test_a_rehearsal_shows_so_many_problems_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("{\n" * 50, encoding="utf-8")
    found = rehearse(tmp_path / "in")
    assert (found.bad, len(found.problems)) == (50, 20)
    assert "and 30 more" in str(found)
