"""One output of several, in the order of the input, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dgrid_async import ConfigError
from dgrid_async.batch import merging, output
from dgrid_async.batch.ledger import Files, Ledger, Settings
from dgrid_async.batch.merging import merge, sort
from dgrid_async.batch.output import answered, failed
from tests.batch.batches import ids, names, put

COUNT = 20


def shard(tmp_path: Path, which: int, shards: int, *, order: Sequence[int] | None = None, base_url: str = "x") -> Path:
    """Write a shard's output; every fifth line is a failure. Return its path."""
    files = Files.of(tmp_path / f"part{which}.jsonl")
    settings = Settings(base_url=base_url, shard=which, shards=shards)
    with Ledger.open(tmp_path / "in", files, settings) as ledger:
        numbers = [number for some in ledger.left() for number, _ in some]
        for number in numbers[::-1] if order is None else order:
            if number % 5:
                ledger.answer(answered(ledger.key(number), f"r{number}", None, {"n": number}))
            else:
                ledger.fail(failed(ledger.key(number), f"r{number}", number, "bad"))
    return files.output


@pytest.fixture(autouse=True)
def _input(tmp_path: Path) -> None:
    put(tmp_path / "in", COUNT)


def test_shards_become_one_job_in_the_order_of_the_input(tmp_path: Path) -> None:
    parts = [shard(tmp_path, which, 3) for which in range(3)]
    report = merge(parts, tmp_path / "out.jsonl")
    assert (report.lines, report.answered, report.failed, report.left) == (COUNT, 16, 4, 0)
    assert ids(tmp_path / "out.jsonl") == [name for n, name in enumerate(names(COUNT), 1) if n % 5]
    assert ids(tmp_path / "out.failures.jsonl") == ["r5", "r10", "r15", "r20"]
    with Ledger.open(tmp_path / "in", Files.of(tmp_path / "out.jsonl"), Settings(base_url="x"), retry=True) as ledger:
        assert [number for some in ledger.left() for number, _ in some] == [5, 10, 15, 20]


def test_what_is_missing_is_named_unless_a_part_will_do(tmp_path: Path) -> None:
    parts = [shard(tmp_path, 0, 3), shard(tmp_path, 2, 3, order=[3, 9])]
    with pytest.raises(ConfigError, match="shards 2/3 are missing"):
        merge(parts, tmp_path / "out")
    parts.append(shard(tmp_path, 1, 3))
    with pytest.raises(ConfigError, match="4 lines are not done"):
        merge(parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = merge(parts[:2], tmp_path / "out", partial=True)
    assert (report.answered + report.failed, report.left) == (9, 11)
    assert ids(tmp_path / "out") == [name for name in ids(tmp_path / "out") if name in names(COUNT)]
    with Ledger.open(tmp_path / "in", Files.of(tmp_path / "out"), Settings(base_url="x")) as ledger:
        assert sum(map(len, ledger.left())) == 11


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one = shard(tmp_path, 0, 2)
    with pytest.raises(ConfigError, match="given twice"):
        merge([one, one], tmp_path / "out")
    other = shard(tmp_path, 1, 2, base_url="y")
    with pytest.raises(ConfigError, match="other settings"):
        merge([one, other], tmp_path / "out")
    (tmp_path / "else").mkdir()
    put(tmp_path / "else" / "in", COUNT + 1)
    with pytest.raises(ConfigError, match="another input"):
        merge([one, shard(tmp_path / "else", 1, 2)], tmp_path / "out")
    with pytest.raises(ConfigError, match="nothing to merge"):
        merge([], tmp_path / "out")
    with pytest.raises(ConfigError, match="no output of a batch"):
        merge([tmp_path / "none"], tmp_path / "out")


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    parts = [shard(tmp_path, 0, 1)]
    (tmp_path / "out").write_text("dear", encoding="utf-8")
    with pytest.raises(ConfigError, match="there already"):
        merge(parts, tmp_path / "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == "dear"


def test_a_merge_that_was_killed_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [shard(tmp_path, which, 2) for which in range(2)]
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == "out.jsonl.job":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        merge(parts, tmp_path / "out.jsonl")
    monkeypatch.undo()
    assert merge(parts, tmp_path / "out.jsonl").left == 0


@pytest.mark.parametrize("at", range(1, 11))
def test_a_merge_that_is_ended_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ended anywhere: while the parts are read, and while the answers and the failures are written."""
    monkeypatch.setattr(merging, "_TICK", 3)
    monkeypatch.setattr(output, "_TICK", 3)
    parts = [shard(tmp_path, which, 2) for which in range(2)]
    before = sorted(tmp_path.iterdir())
    ticks = 0

    def tick(_lines: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(parts, tmp_path / "out.jsonl", tick=tick)
    assert sorted(tmp_path.iterdir()) == before
    assert merge(parts, tmp_path / "out.jsonl").left == 0


def test_an_output_out_of_order_is_sorted_and_one_in_order_is_left(tmp_path: Path) -> None:
    path = shard(tmp_path, 0, 1)
    files = Files.of(path)
    with Ledger.open(tmp_path / "in", files, Settings(base_url="x")) as ledger:
        sort(files, ledger.fingerprint)
        node = path.stat().st_ino
        sort(files, ledger.fingerprint)
    assert path.stat().st_ino == node
    assert ids(path) == [name for n, name in enumerate(names(COUNT), 1) if n % 5]
    assert ids(files.failures) == ["r5", "r10", "r15", "r20"]
