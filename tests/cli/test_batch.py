"""`dgrid-async batch`: its actions in this process, and the whole program where it is killed or interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dgrid_async
from dgrid_async.batch import lines, output
from dgrid_async.cli import main
from dgrid_async.emulator import Emulator, Script
from tests.batch.batches import ids, line, names, put, repeats

KEY = "sk-never-to-be-shown-0987654321"
HERE = Path(dgrid_async.__file__).parents[1]
_WAIT = 30
"""Seconds for what takes one or two on an idle machine."""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Ended]]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DGRID_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        monkeypatch.setenv("DGRID_BASE_URL", emulator.url)
        yield emulator


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the program in a thread of this process."""

    async def ended(*arguments: str) -> Ended:
        code = await asyncio.to_thread(main, ("batch", *arguments))
        return Ended(code, *capsys.readouterr())

    return ended


async def start(*arguments: str) -> asyncio.subprocess.Process:
    """Start the program as a process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dgrid_async",
        "batch",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )


async def come(gateway: Emulator, count: int) -> None:
    while len(gateway.log) < count:
        await asyncio.sleep(0.002)


# --------------------------------------------------------------------------------------------------------------- in here


async def test_a_sample_is_answered_and_the_same_again_makes_no_call(gateway: Emulator, run: Run) -> None:
    sample = await run("sample", "-n", "9")
    assert sample.code == 0
    assert {json.loads(text)["url"] for text in sample.out.splitlines()} == {
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/responses",
        "/v1/models/gemini-1.5-pro:generateContent",
    }
    Path("in.jsonl").write_text(sample.out, encoding="utf-8")
    first = await run("run", "in.jsonl", "-o", "out.jsonl")
    assert (first.code, first.err) == (0, "")
    assert "9: 9 answered, 0 failed, 0 left" in first.out
    assert sorted(ids(Path("out.jsonl"))) == [f"request-{n}" for n in range(1, 10)]
    again = await run("run", "in.jsonl", "-o", "out.jsonl")
    assert again.code == 0
    assert "9 lines were done before" in again.out
    assert len(gateway.log) == 9


async def test_failures_are_told_by_code_and_can_be_called_again(gateway: Emulator, run: Run) -> None:
    put(Path("in.jsonl"), 8)
    gateway.script = lambda received: Script(status=400 if received.number in {2, 5} else 200)
    ended = await run("run", "in.jsonl", "-o", "out.jsonl", "--report", "report.json")
    assert ended.code == 1
    assert "2 BadRequestError" in ended.out
    assert json.loads(Path("report.json").read_text(encoding="utf-8"))["failed"] == 2
    status = await run("status", "out.jsonl")
    assert (status.code, "8: 6 answered, 2 failed, 0 left" in status.out) == (0, True)
    gateway.script = Script()
    ended = await run("retry-failed", "out.jsonl")
    assert ended.code == 0
    assert sorted(ids(Path("out.jsonl"))) == names(8)


async def test_nothing_is_sent_or_written_in_a_dry_run(gateway: Emulator, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DGRID_API_KEY")
    put(Path("in.jsonl"), 8)
    ended = await run("run", "in.jsonl", "-o", "out.jsonl", "--dry-run")
    assert ended.code == 0
    assert "8 calls to make, 0 bad lines" in ended.out
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]
    assert len(gateway.log) == 0


@pytest.mark.parametrize("packed", [False, True])
async def test_stdin_is_kept_and_resumed(gateway: Emulator, run: Run, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    data = put(Path("in.jsonl"), 6).read_bytes()
    Path("in.jsonl").unlink()
    gateway.script = lambda received: Script(status=400 if received.number == 3 else 200)

    def feed(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(content, mtime=0) if packed else content)))

    for code in (1, 1):
        feed(data)
        assert (await run("run", "-", "-o", "out.jsonl")).code == code
    assert len(gateway.log) == 6
    feed(data + b"{}\n")
    ended = await run("run", "-", "-o", "out.jsonl")
    assert (ended.code, "is not the one" in ended.err) == (2, True)
    gateway.script = Script()
    assert (await run("retry-failed", "out.jsonl")).code == 0
    feed(data)
    assert "6 calls to make" in (await run("run", "-", "-o", "other.jsonl", "--dry-run")).out
    assert not Path("other.jsonl.input").exists()


async def test_options_reach_the_run(gateway: Emulator, run: Run) -> None:
    Path("in").write_text('{"model": "m", "input": "a"}\n{"model": "m", "input": "b"}\n', encoding="utf-8")
    Path("prices").write_text('{"m": {"input": 1000000, "output": 0}}', encoding="utf-8")
    options = ["--endpoint", "/v1/responses", "--ordered", "--job", "mine", "--prices", "prices", "--concurrency", "1"]
    ended = await run("run", "in", "-o", "out", "--failures", "bad", "--rpm", "6000", "--tpm", "1e9", *options)
    assert ended.code == 0
    assert "cost" in ended.out
    assert [json.loads(text)["id"] for text in Path("out").read_text(encoding="utf-8").splitlines()] == ["mine-1", "mine-2"]
    assert [received.headers["Idempotency-Key"] for received in gateway.log] == ["mine-1", "mine-2"]


async def test_shards_are_merged(gateway: Emulator, run: Run) -> None:
    put(Path("in.jsonl"), 7)
    for shard in ("1/2", "2/2"):
        assert (await run("run", "in.jsonl", "-o", f"out{shard[0]}.jsonl", "--shard", shard)).code == 0
    assert (await run("merge", "out1.jsonl", "-o", "out.jsonl")).code == 2
    ended = await run("merge", "out1.jsonl", "out2.jsonl", "-o", "out.jsonl")
    assert (ended.code, "7: 7 answered" in ended.out) == (0, True)
    assert ids(Path("out.jsonl")) == names(7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none", "-o", "out"], "cannot read none"),
        (["run", "in", "-o", "in"], "three files"),
        (["run", "in", "-o", "no/out"], "cannot write"),
        (["run", "in", "-o", "out", "--endpoint", "/v1/x"], "endpoint="),
        (["run", "in", "-o", "out", "--shard", "3/2"], "K from 1 to N"),
        (["run", "in", "-o", "out", "--rpm", "0"], "--rpm"),
        (["run", "in", "-o", "out", "--prices", "none"], "cannot read none"),
        (["run", "in"], "-o"),
        (["status", "out"], "no output of a batch"),
        (["retry-failed", "out"], "no output of a batch"),
        ([], "ACTION"),
    ],
)
async def test_what_is_wrong_is_said_and_is_a_matter_of_usage(
    gateway: Emulator, run: Run, arguments: list[str], words: str
) -> None:
    put(Path("in"), 2)
    ended = await run(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert len(gateway.log) == 0


async def test_without_a_key_nothing_begins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DGRID_API_KEY")
    put(Path("in"), 2)
    ended = await run("run", "in", "-o", "out")
    assert (ended.code, "DGRID_API_KEY" in ended.err) == (2, True)
    assert not Path("out").exists()


async def test_a_refused_key_has_its_own_code(gateway: Emulator, run: Run) -> None:
    put(Path("in"), 5)
    gateway.script = Script(status=401)
    ended = await run("run", "in", "-o", "out")
    assert (ended.code, "goes on from here" in ended.err) == (3, True)
    assert not Path("out.failures").exists()


@pytest.mark.parametrize(
    ("arguments", "where", "at"),
    [
        (("status", "whole.jsonl"), "Written", 3),
        (("merge", "part1.jsonl", "part2.jsonl", "-o", "out.jsonl"), "Written", 3),
        (("run", "in.jsonl", "-o", "out.jsonl", "--dry-run"), "_first_ids", 1),
        (("run", "in.jsonl", "-o", "whole.jsonl", "--dry-run"), "Written", 3),
    ],
)
async def test_an_interrupt_of_what_only_reads_is_one_line_and_leaves_nothing(
    gateway: Emulator, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], where: str, at: int
) -> None:
    put(Path("in.jsonl"), 6)
    assert (await run("run", "in.jsonl", "-o", "whole.jsonl")).code == 0
    for part in ("1", "2"):
        assert (await run("run", "in.jsonl", "-o", f"part{part}.jsonl", "--shard", f"{part}/2")).code == 0
    before = {path: path.read_bytes() for path in Path().iterdir()}
    seen = 0

    def interrupted(*given: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == at:
            raise KeyboardInterrupt
        return take(*given)

    module: Any = output if where == "Written" else lines
    take = getattr(module, where)
    monkeypatch.setattr(module, where, interrupted)
    assert await run(*arguments) == (130, "", "Interrupted.\n")
    assert seen == at
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


# ------------------------------------------------------------------------------------------------------- as a process


async def reading(process: asyncio.subprocess.Process, path: Path) -> None:
    """Wait until a process has a file open."""
    while True:
        for each in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed in the meantime
                if each.samefile(path):
                    return
        await asyncio.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell which files a process has open")
@pytest.mark.parametrize("dry", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_a_signal_ends_the_survey_of_a_file_that_would_take_minutes(gateway: Emulator, dry: bool) -> None:
    with Path("in.jsonl").open("wb") as file:
        file.truncate(400 * 1024**3)  # of nothing: it takes no room
    process = await start("run", "in.jsonl", "-o", "out.jsonl", *["--dry-run"] * dry)
    async with asyncio.timeout(_WAIT):
        await reading(process, Path("in.jsonl"))
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    if dry:
        assert (out, err) == (b"", b"Interrupted.\n")
    else:
        assert err.decode().splitlines() == [
            "Ending what is in flight; Ctrl-C again stops at once.",
            "What is answered is written; the same command again goes on from here.",
        ]
        assert b"stopped     interrupted" in out
    assert not Path("out.jsonl.job").exists()
    assert len(gateway.log) == 0


async def killed(gateway: Emulator, draw: random.Random, lines: int, kills: int, concurrency: int) -> None:
    """Kill a run at random moments until it has been killed so often; then let it end and compare."""
    put(Path("in.jsonl"), lines)
    arguments = ("run", "in.jsonl", "-o", "out.jsonl", "--concurrency", str(concurrency))
    struck = 0
    while struck < kills:
        process = await start(*arguments)
        try:
            # Anywhere from the start of the process to the middle of its calls; of these half are left for the last run.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(draw.uniform(0, 1.0) if draw.random() < 0.2 else None):
                    await come(gateway, len(gateway.log) + draw.randrange(1, lines // (2 * kills)))
            await asyncio.sleep(draw.uniform(0, 0.02))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.communicate()
        struck += 1
        assert process.returncode == -signal.SIGKILL
        found = ids_of_whole_lines(Path("out.jsonl"))
        assert len(found) == len(set(found))
    process = await start(*arguments)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert f"{lines:,}: {lines:,} answered, 0 failed, 0 left" in out.decode()
    found = ids(Path("out.jsonl"))
    assert sorted(found) == sorted(names(lines))
    assert repeats(gateway) <= kills * concurrency


def ids_of_whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [json.loads(text)["custom_id"] for text in path.read_bytes().split(b"\n")[:-1]]


@pytest.mark.timeout(60)
async def test_a_killed_run_loses_nothing_and_doubles_nothing(gateway: Emulator) -> None:
    gateway.script = Script(delay=0.02)
    await killed(gateway, random.Random(), lines=150, kills=1, concurrency=8)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_run_killed_again_and_again_loses_nothing_and_doubles_nothing(gateway: Emulator) -> None:
    gateway.script = Script(delay=0.02)
    await killed(gateway, random.Random(), lines=1200, kills=10, concurrency=16)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_the_first_signal_lets_what_is_in_flight_end(gateway: Emulator) -> None:
    put(Path("in.jsonl"), 200)
    gateway.script = Script(delay=0.1)
    process = await start("run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4")
    await come(gateway, 10)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), _WAIT)
    assert process.returncode == 130
    assert "again stops at once" in err.decode()
    assert "goes on from here" in err.decode()
    assert "stopped     interrupted" in out.decode()
    assert KEY not in out.decode() + err.decode()
    assert len(ids(Path("out.jsonl"))) == len(gateway.log) < 100
    assert not any(received.closed_early for received in gateway.log)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_the_second_signal_stops(gateway: Emulator) -> None:
    put(Path("in.jsonl"), 200)
    gateway.script = Script(delay=30)
    process = await start("run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4")
    await come(gateway, 4)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.readline(), _WAIT)
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), _WAIT)
    assert process.returncode == 130
    assert ids(Path("out.jsonl")) == []


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_two_runs_do_not_write_one_output(gateway: Emulator, run: Run) -> None:
    pytest.importorskip("fcntl")
    put(Path("in.jsonl"), 40)
    gateway.script = Script(delay=0.1)
    process = await start("run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4")
    await come(gateway, 2)
    ended = await run("run", "in.jsonl", "-o", "out.jsonl")
    assert (ended.code, "another run" in ended.err) == (2, True)
    status = await run("status", "out.jsonl")
    assert "40:" in status.out
    await asyncio.wait_for(process.communicate(), _WAIT)
    assert process.returncode == 0
    assert sorted(ids(Path("out.jsonl"))) == sorted(names(40))


async def test_a_named_pipe_is_kept(gateway: Emulator, run: Run) -> None:
    """A pipe that has a name is read once, as stdin is."""
    os.mkfifo("pipe")

    def feed() -> None:
        Path("pipe").write_bytes(json.dumps(line(1)).encode())

    writing = asyncio.ensure_future(asyncio.to_thread(feed))
    assert (await run("run", "pipe", "-o", "out.jsonl")).code == 0
    await writing
    assert ids(Path("out.jsonl")) == ["r1"]
