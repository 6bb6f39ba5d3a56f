"""The output: what is written, what a kill can leave of it, and who may write."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import APIConnectionError, ConfigError, RateLimitError
from dgrid_async.batch.output import LockedError, Writer, answered, failed, key_of, scan


def numbers(path: Path, *jobs: str) -> list[int]:
    return [written.number for written in scan(path, jobs or ("job",))]


def test_an_answer_has_the_form_of_the_batch_api() -> None:
    line = answered(key_of("job", 0, 7), "mine", "req_1", {"id": "x", "text": "a\nb\u2028"})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "id": "job-7",
        "custom_id": "mine",
        "response": {"status_code": 200, "request_id": "req_1", "body": {"id": "x", "text": "a\nb\u2028"}},
        "error": None,
    }


def test_a_failure_has_what_the_gateway_said_and_the_number_of_the_line() -> None:
    refused = RateLimitError("slow down", status=429, body={"error": {"message": "slow down"}}, request_id="req_2")
    value = json.loads(failed(key_of("job", 2, 9), "mine", 9, refused))
    assert value["id"] == "job.2-9"
    assert value["response"] == {"status_code": 429, "request_id": "req_2", "body": {"error": {"message": "slow down"}}}
    assert (value["error"]["code"], value["error"]["line"]) == ("RateLimitError", 9)
    lost = json.loads(failed("job-1", None, 1, APIConnectionError("gone")))
    assert (lost["response"], lost["error"]["code"], lost["custom_id"]) == (None, "APIConnectionError", None)
    bad = json.loads(failed("job-1", None, 1, "no JSON"))
    assert bad["error"] == {"code": "BadLine", "message": "no JSON", "line": 1}


@pytest.mark.parametrize("cut", range(1, 80, 7))
def test_a_line_cut_short_is_taken_away_and_nothing_else(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out"
    whole = answered("job-1", "a", None, {}) + answered("job.3-22", "b", None, {})
    torn = answered("job-3", "c", None, {"text": "x" * 40})
    path.write_bytes(whole + torn[:cut])
    assert numbers(path) == [1, 22]
    found: list[int] = []
    with Writer(path) as writer:
        writer.repair(("job",), found.append)
        writer.write(torn)
    assert found == [1, 22]
    assert path.read_bytes() == whole + torn


def test_zeros_of_a_power_cut_end_the_output(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(answered("job-1", "a", None, {}) + b"\0" * 50 + b"\n" + answered("job-2", "b", None, {}))
    with Writer(path) as writer:
        writer.repair(("job",), lambda _: None)
    assert path.read_bytes() == answered("job-1", "a", None, {})


@pytest.mark.parametrize("line", [b"hello\n", answered("other-1", "a", None, {}), b'{"id":"job-x","custom_id":"a"}\n', b"\n"])
def test_what_the_job_did_not_write_is_left_alone(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(answered("job-1", "a", None, {}) + line)
    with Writer(path) as writer, pytest.raises(ConfigError, match="line 2"):
        writer.repair(("job",), lambda _: None)
    assert path.read_bytes().endswith(line)


def test_a_name_with_signs_in_it_is_found_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(answered("a.b-c.1-5", "a", None, {}) + answered("a.b-c-6", "a", None, {}))
    assert numbers(path, "x", "a.b-c") == [5, 6]
    assert numbers(tmp_path / "none") == []


def test_places_lead_back_to_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "out"
    rows = [answered(f"job-{n}", "ä", None, {"n": n}) for n in (3, 1, 2)]
    path.write_bytes(b"".join(rows))
    data = path.read_bytes()
    for row, written in zip(rows, scan(path, ("job",)), strict=True):
        assert data[written.offset :].startswith(row)
        assert written.text == row


def test_two_cannot_write_one_output(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "out"
    with Writer(path), pytest.raises(LockedError, match="another run"):
        Writer(path)
    Writer(path).close()


def test_a_place_that_cannot_be_written_is_the_callers_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        Writer(tmp_path / "no" / "out")


def test_a_full_disk_ends_the_writer_with_one_line_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    first, second = answered("job-1", "a", None, {}), answered("job-2", "b", None, {})
    real = os.write
    room = len(first) + 10

    def full(file: int, data: Any) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(room, len(data), 30)
        room -= taken
        return real(file, data[:taken])

    with Writer(path) as writer:
        monkeypatch.setattr(os, "write", full)
        writer.write(first)
        with pytest.raises(OSError, match="No space"):
            writer.write(second)
        room = 1000
        with pytest.raises(OSError, match=r"[Bb]ad file"):
            writer.write(second)
        monkeypatch.undo()
    assert path.read_bytes() == first + second[:10]
    with Writer(path) as writer:
        writer.repair(("job",), lambda _: None)
        writer.write(second)
        writer.sync()
    assert path.read_bytes() == first + second


def test_sync_waits_for_the_disk_once_for_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    with Writer(tmp_path / "out") as writer:
        writer.sync()
        writer.write(b"x\n")
        writer.sync()
        writer.sync()
    writer.sync()
    assert len(calls) == 1


def test_what_is_gathered_is_added_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: sizes.append(len(data)) or write(file, data))
    with Writer(tmp_path / "out") as writer:
        writer.gathered += [b"one\n", b"two\n"]
        assert writer.size == 0
        writer.flush()
        writer.flush()
        assert (writer.gathered, sizes) == ([], [8])
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
