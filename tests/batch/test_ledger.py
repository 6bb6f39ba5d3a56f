"""What a job is and what of it is done: resumed from its output alone, refused where input or settings are others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from dgrid_async import ConfigError
from dgrid_async.batch.ledger import Bits, Files, Fingerprint, Ledger, Settings
from dgrid_async.batch.output import LockedError, answered

SETTINGS = Settings(base_url="http://gateway")


def put_input(path: Path, count: int = 5) -> Path:
    rows = [{"custom_id": f"r{n}", "url": "/v1/responses", "body": {"model": "m", "input": "x"}} for n in range(1, count + 1)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def open_(tmp_path: Path, settings: Settings = SETTINGS, **options: Any) -> Ledger:
    return Ledger.open(tmp_path / "in.jsonl", Files.of(tmp_path / "out.jsonl"), settings, **options)


@pytest.fixture(autouse=True)
def _input(tmp_path: Path) -> None:
    put_input(tmp_path / "in.jsonl")


def test_a_set_of_bits_is_a_set_in_bits() -> None:
    bits = Bits(10_000_000)
    assert len(bits._bits) <= 1_250_001
    for number in (0, 7, 8, 10_000_000, 8):
        bits.add(number)
    assert len(bits) == 4
    assert [number for number in (0, 1, 7, 8, 9, 9_999_999, 10_000_000) if number in bits] == [0, 7, 8, 10_000_000]


def test_files_stand_beside_the_output() -> None:
    files = Files.of("a/out.jsonl")
    assert files.failures == Path("a/out.failures.jsonl")
    assert files.fingerprint == Path("a/out.jsonl.job")
    assert files.spool == Path("a/out.jsonl.input")
    assert files.earlier(2) == Path("a/out.failures.2.jsonl")
    assert Files.of("a/out", "b/bad").relative_failures == str(Path("../b/bad"))


def test_a_job_goes_on_behind_what_is_written(tmp_path: Path) -> None:
    with open_(tmp_path) as ledger:
        assert [number for some in ledger.left() for number, _ in some] == [1, 2, 3, 4, 5]
        keys = [ledger.key(n) for n in range(1, 6)]
        ledger.answer(answered(keys[1], "r2", None, {}))
        ledger.fail(answered(keys[3], "r4", None, {}))
    with open_(tmp_path) as ledger:
        assert (ledger.answered, ledger.failed, ledger.fingerprint.lines) == (1, 1, 5)
        assert [number for some in ledger.left() for number, _ in some] == [1, 3, 5]
        assert [ledger.key(n) for n in range(1, 6)] == keys


def test_the_fingerprint_is_there_before_anything_is_done_and_the_name_stays(tmp_path: Path) -> None:
    open_(tmp_path, job="mine").close()
    files = Files.of(tmp_path / "out.jsonl")
    fingerprint = Fingerprint.read(files)
    assert fingerprint is not None
    assert fingerprint.jobs == ("mine",)
    files.output.unlink()  # a kill right behind the fingerprint
    with open_(tmp_path) as ledger:
        assert ledger.key(3) == "mine-3"


def test_names_are_random_unless_given(tmp_path: Path) -> None:
    with open_(tmp_path) as ledger, Ledger.open(ledger.input, Files.of(tmp_path / "b"), SETTINGS) as other:
        assert ledger.key(1) != other.key(1)


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, 'a"'])
def test_a_name_that_would_not_fit_a_header_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="job="):
        open_(tmp_path, job=name)


@pytest.mark.parametrize(
    "changed",
    [
        {"base_url": "http://other"},
        {"endpoint": "/v1/responses"},
        {"ordered": True},
        {"shards": 2},
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changed: dict[str, Any]) -> None:
    open_(tmp_path).close()
    with pytest.raises(ConfigError, match=next(iter(changed))):
        open_(tmp_path, attrs.evolve(SETTINGS, **changed))
    open_(tmp_path).close()


def test_another_name_or_other_failures_are_refused(tmp_path: Path) -> None:
    open_(tmp_path, job="a").close()
    with pytest.raises(ConfigError, match="'a', not to 'b'"):
        open_(tmp_path, job="b")
    with pytest.raises(ConfigError, match="failures"):
        Ledger.open(tmp_path / "in.jsonl", Files.of(tmp_path / "out.jsonl", tmp_path / "f"), SETTINGS)


def test_a_changed_input_is_refused_and_a_touched_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    open_(tmp_path).close()
    os.utime(path, ns=(1, 1))
    open_(tmp_path).close()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"r3", b"q3"))  # as long as before
    with pytest.raises(ConfigError, match=r"is not the input that .* was begun with"):
        open_(tmp_path)
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(data)
    Ledger.open(moved, Files.of(tmp_path / "out.jsonl"), SETTINGS).close()


def test_an_unchanged_input_is_not_read_to_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_(tmp_path).close()
    monkeypatch.setattr("dgrid_async.batch.ledger.survey", None)
    open_(tmp_path).close()


def test_an_output_of_unknown_origin_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("something dear\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"out\.jsonl\.job"):
        open_(tmp_path)
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "something dear\n"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}', "\xff"])
def test_a_broken_fingerprint_is_refused(tmp_path: Path, text: str) -> None:
    open_(tmp_path).close()
    (tmp_path / "out.jsonl.job").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"out\.jsonl\.job"):
        open_(tmp_path)


@pytest.mark.parametrize("number", [2, 99])
def test_a_line_twice_or_beyond_the_input_is_refused(tmp_path: Path, number: int) -> None:
    with open_(tmp_path) as ledger:
        ledger.answer(answered(ledger.key(2), "r2", None, {}))
        ledger._failures.write(answered(ledger.key(number), "r", None, {}))
    with pytest.raises(ConfigError, match=f"line {number}"):
        open_(tmp_path)


def test_failed_lines_are_called_again_with_other_keys_and_kept(tmp_path: Path) -> None:
    with open_(tmp_path) as ledger:
        ledger.answer(answered(ledger.key(1), "r1", None, {}))
        ledger.fail(answered(ledger.key(2), "r2", None, {}))
        before = ledger.key(2)
    with open_(tmp_path, retry=True) as ledger:
        assert [number for some in ledger.left() for number, _ in some] == [2, 3, 4, 5]
        assert ledger.key(2) != before
        assert ledger.failed == 0
        again = ledger.key(2)
    with open_(tmp_path) as ledger:  # as behind a kill
        assert ledger.key(2) == again
    assert before in Files.of(tmp_path / "out.jsonl").earlier(1).read_text(encoding="utf-8")


def test_the_turn_is_counted_before_the_failures_are_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_(tmp_path) as ledger:
        ledger.fail(answered(ledger.key(2), "r2", None, {}))
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if "failures" in str(target):
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        open_(tmp_path, retry=True)
    monkeypatch.undo()
    with open_(tmp_path) as ledger:
        assert (ledger.failed, ledger.fingerprint.turn) == (1, 1)


def test_no_failures_are_no_file(tmp_path: Path) -> None:
    open_(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "out.jsonl.job"]


def test_a_second_run_is_refused_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with open_(tmp_path) as ledger:
        with pytest.raises(LockedError, match="another run"):
            open_(tmp_path, retry=True)
        assert Fingerprint.read(ledger.files) == ledger.fingerprint
    open_(tmp_path).close()


def test_files_must_be_three(tmp_path: Path) -> None:
    for output, failures in (("in.jsonl", None), ("out.jsonl", "in.jsonl"), ("out.jsonl", "out.jsonl")):
        files = Files.of(tmp_path / output, None if failures is None else tmp_path / failures)
        with pytest.raises(ConfigError, match="three files"):
            Ledger.open(tmp_path / "in.jsonl", files, SETTINGS)


@pytest.mark.parametrize(("shard", "shards"), [(2, 2), (-1, 1), (0, 0)])
def test_a_shard_that_is_none_is_refused(shard: int, shards: int) -> None:
    with pytest.raises(ConfigError, match="K/N"):
        Settings(base_url="x", shard=shard, shards=shards)


def test_an_answer_is_written_by_flush_or_at_the_end(tmp_path: Path) -> None:
    with open_(tmp_path) as ledger:
        ledger.answer(answered(ledger.key(1), "r1", None, {}))
        assert (len(ledger.gathered), ledger.answered, ledger.files.output.stat().st_size) == (1, 1, 0)
        ledger.flush()
        assert not ledger.gathered
        assert ledger.files.output.stat().st_size
        ledger.answer(answered(ledger.key(2), "r2", None, {}))
    with open_(tmp_path) as ledger:
        assert ledger.answered == 2
