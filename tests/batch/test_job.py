"""A run: every line answered or failed once, whatever stops it in between."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import AsyncDGrid, AuthenticationError, ConfigError, InsufficientQuotaError, Limits, Retries
from dgrid_async.batch import job as job_module
from dgrid_async.batch import lines, output
from dgrid_async.batch.job import Batch, Job
from dgrid_async.batch.ledger import Bits, Files, Ledger, Settings
from dgrid_async.batch.limiter import BatchLimits, Turn
from dgrid_async.batch.lines import Line
from dgrid_async.batch.progress import Progress
from dgrid_async.emulator import Emulator, Received, Script, ToolCall, Usage
from dgrid_async.request import Request
from tests.batch.batches import ids, line, names, put, repeats

KEY = "sk-batch-0123456789abcdef"
ONCE = Retries(max_attempts=1)


def number_of(received: Received) -> int:
    """Return which line a request is of."""
    return int(json.dumps(received.body).partition("question ")[2].partition('"')[0])


def client_of(emulator: Emulator, **options: Any) -> AsyncDGrid:
    return AsyncDGrid(KEY, base_url=emulator.url, **{"retries": Retries(max_attempts=3, initial_delay=0.01), **options})


async def test_all_lines_of_all_endpoints_are_answered_in_the_form_of_the_batch_api(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 40)
    async with client_of(emulator) as client:
        report = await client.batch.run(tmp_path / "in", tmp_path / "out", prices={"*": {"input": 1e6, "output": 0}})
    assert (report.lines, report.answered, report.failed, report.left, report.calls) == (40, 40, 0, 0, 40)
    assert sorted(ids(tmp_path / "out")) == sorted(names(40))
    for text in (tmp_path / "out").read_text(encoding="utf-8").splitlines():
        value = json.loads(text)
        assert set(value) == {"id", "custom_id", "response", "error"}
        assert value["response"]["status_code"] == 200
        assert value["response"]["request_id"]
        assert f"question {value['custom_id'][1:]}" in json.dumps(value["response"]["body"], ensure_ascii=False)
    assert report.tokens.input > 0
    assert report.cost == pytest.approx(report.tokens.input)
    assert repeats(emulator) == 0
    written = {json.loads(text)["id"] for text in (tmp_path / "out").read_text(encoding="utf-8").splitlines()}
    assert written == {received.headers["Idempotency-Key"] for received in emulator.log}


async def test_run_again_it_makes_no_call(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 5)
    async with client_of(emulator) as client:
        await client.batch.run(tmp_path / "in", tmp_path / "out")
        before = (tmp_path / "out").read_bytes()
        report = await client.batch.run(tmp_path / "in", tmp_path / "out")
    assert (report.earlier, report.calls, report.answered) == (5, 0, 5)
    assert (tmp_path / "out").read_bytes() == before
    assert len(emulator.log) == 5


async def test_bad_lines_and_refused_calls_are_failures_and_the_run_goes_on(emulator: Emulator, tmp_path: Path) -> None:
    rows = [json.dumps(line(number)) for number in range(1, 9)]
    rows[1] = "{"
    rows[4] = rows[3]
    (tmp_path / "in").write_text("\n".join(rows), encoding="utf-8")
    emulator.script = lambda received: Script(status=400 if number_of(received) == 7 else 200)
    async with client_of(emulator) as client:
        report = await client.batch.run(tmp_path / "in", tmp_path / "out.jsonl", failures=tmp_path / "bad.jsonl")
    assert (report.answered, report.failed) == (5, 3)
    assert dict(report.errors) == {"BadLine": 2, "BadRequestError": 1}
    bad = {value["error"]["line"]: value for value in map(json.loads, (tmp_path / "bad.jsonl").read_text("utf-8").splitlines())}
    assert set(bad) == {2, 5, 7}
    assert bad[2]["custom_id"] is None
    assert bad[5]["custom_id"] == "r4"
    assert bad[7]["response"]["status_code"] == 400
    assert bad[7]["response"]["body"]["error"]["message"]


@pytest.mark.parametrize("concurrency", [1, 7])
async def test_ordered_output_stands_in_the_order_of_the_input(emulator: Emulator, tmp_path: Path, concurrency: int) -> None:
    rows = [json.dumps(line(number)) for number in range(1, 41)]
    rows[9] = rows[20] = "{"
    (tmp_path / "in").write_text("\n".join(rows), encoding="utf-8")
    emulator.script = lambda received: Script(
        delay=0.03 if number_of(received) % 5 == 0 else 0.0, status=400 if number_of(received) % 8 == 3 else 200
    )
    async with client_of(emulator) as client:
        report = await client.batch.run(tmp_path / "in", tmp_path / "out", ordered=True, concurrency=concurrency)
        failed = [3, 10, 11, 19, 21, 27, 35]
        assert ids(tmp_path / "out") == [f"r{n}" for n in range(1, 41) if n not in failed]
        bad = (tmp_path / "out.failures").read_text(encoding="utf-8").splitlines()
        assert [json.loads(text)["error"]["line"] for text in bad] == failed
        assert report.left == 0
        emulator.script = Script()
        await client.batch.run(tmp_path / "in", tmp_path / "out", ordered=True, retry_failed=True)
    assert ids(tmp_path / "out") == [f"r{n}" for n in range(1, 41) if n not in {10, 21}]


async def test_a_stop_ends_what_is_in_flight_and_the_next_run_goes_on(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 60)
    emulator.script = Script(delay=0.05)
    stop = asyncio.Event()
    async with client_of(emulator) as client:
        running = asyncio.ensure_future(client.batch.run(tmp_path / "in", tmp_path / "out", concurrency=4, stop=stop))
        while len(emulator.log) < 12:
            await asyncio.sleep(0.005)
        stop.set()
        report = await running
        assert report.stopped == "interrupted"
        assert report.answered == len(ids(tmp_path / "out")) == len(emulator.log) < 30
        assert not any(received.closed_early for received in emulator.log)
        report = await client.batch.run(tmp_path / "in", tmp_path / "out", concurrency=8)
    assert (report.left, report.stopped) == (0, None)
    assert sorted(ids(tmp_path / "out")) == sorted(names(60))
    assert repeats(emulator) == 0


async def test_a_stop_does_not_wait_for_those_that_the_limits_hold_back(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 60)
    stop = asyncio.Event()
    async with client_of(emulator) as client:
        limits = BatchLimits(rpm=6)
        running = asyncio.ensure_future(client.batch.run(tmp_path / "in", tmp_path / "out", limits=limits, stop=stop))
        while not ids(tmp_path / "out"):
            await asyncio.sleep(0.005)
        stop.set()
        report = await asyncio.wait_for(running, 5)
    assert report.answered == len(emulator.log) < 3


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_cancelled_run_cuts_what_is_in_flight_and_loses_nothing(
    emulator: Emulator, tmp_path: Path, ordered: bool
) -> None:
    put(tmp_path / "in", 50)
    emulator.script = Script(delay=0.02)
    before = asyncio.all_tasks()
    async with client_of(emulator) as client:
        for count in (6, 20, 30):
            running = asyncio.ensure_future(client.batch.run(tmp_path / "in", tmp_path / "out", ordered=ordered, concurrency=4))
            while len(emulator.log) < count:
                await asyncio.sleep(0.002)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert asyncio.all_tasks() == before
        report = await client.batch.run(tmp_path / "in", tmp_path / "out", ordered=ordered, concurrency=4)
    assert report.left == 0
    found = ids(tmp_path / "out")
    assert (found if ordered else sorted(found)) == (names(50) if ordered else sorted(names(50)))
    assert repeats(emulator) <= 3 * 4 * (2 if ordered else 1)


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (402, InsufficientQuotaError)])
async def test_a_refused_key_is_no_lines_failure(emulator: Emulator, tmp_path: Path, status: int, error: type) -> None:
    put(tmp_path / "in", 30)
    emulator.script = lambda received: Script(status=status if received.number > 10 else 200)
    async with client_of(emulator) as client:
        with pytest.raises(error):
            await client.batch.run(tmp_path / "in", tmp_path / "out", concurrency=3)
        assert not (tmp_path / "out.failures").exists()
        assert len(emulator.log) < 20
        emulator.script = Script()
        report = await client.batch.run(tmp_path / "in", tmp_path / "out")
    assert (report.answered, report.failed) == (30, 0)


async def test_a_gateway_that_is_gone_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    from dgrid_async import APIConnectionError

    monkeypatch.setattr(job_module, "_UNANSWERED", 5)
    put(tmp_path / "in", 40)
    async with AsyncDGrid(KEY, base_url=f"http://127.0.0.1:{unused_tcp_port}", retries=ONCE) as client:
        with pytest.raises(APIConnectionError):
            await client.batch.run(tmp_path / "in", tmp_path / "out", concurrency=1)
    assert len((tmp_path / "out.failures").read_text(encoding="utf-8").splitlines()) == 4


async def test_failed_lines_are_called_again_under_other_keys(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 12)
    emulator.script = lambda received: Script(status=400 if number_of(received) % 3 == 0 else 200)
    async with client_of(emulator) as client:
        assert (await client.batch.run(tmp_path / "in", tmp_path / "out")).failed == 4
        emulator.script = Script()
        report = await client.batch.run(tmp_path / "in", tmp_path / "out", retry_failed=True)
    assert (report.answered, report.failed, report.calls) == (12, 0, 4)
    assert sorted(ids(tmp_path / "out")) == sorted(names(12))
    keys = [received.headers["Idempotency-Key"] for received in emulator.log]
    assert len(set(keys)) == len(keys) == 16


async def test_shards_have_every_line_once(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 11)
    found: list[str] = []
    async with client_of(emulator) as client:
        for shard in (1, 2, 3):
            report = await client.batch.run(tmp_path / "in", tmp_path / f"out{shard}", shard=(shard, 3))
            found += ids(tmp_path / f"out{shard}")
            assert report.lines == len(ids(tmp_path / f"out{shard}"))
    assert sorted(found) == sorted(names(11))


async def test_progress_is_told_to_the_end(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", 20)
    emulator.script = Script(delay=0.02)
    monkeypatch.setattr(job_module, "_SHOW_SECONDS", 0.05)
    seen: list[Progress] = []
    async with client_of(emulator) as client:
        await client.batch.run(tmp_path / "in", tmp_path / "out", concurrency=2, progress=seen.append)
    assert len(seen) >= 3
    assert (seen[0].done, seen[-1].done, seen[-1].lines, seen[-1].in_flight) == (0, 20, 20, 0)
    assert any(each.in_flight == 2 and each.concurrency == 2 for each in seen)


@pytest.mark.parametrize(
    "script",
    [
        Script(),
        Script(reasoning="Let me think.", text="Done.", tool_calls=(ToolCall("look", {"at": "it"}),)),
        Script(usage=Usage(input=5, output=7), model="another"),
    ],
)
async def test_what_is_written_is_the_wire_form_of_the_reply(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    put(tmp_path / "in", 8)
    emulator.script = script
    replies = {}
    answer = Job._answer

    def seen(self: Job, line: Line, reply: Any) -> None:
        replies[line.custom_id] = reply
        answer(self, line, reply)

    monkeypatch.setattr(Job, "_answer", seen)
    async with client_of(emulator) as client:
        await client.batch.run(tmp_path / "in", tmp_path / "out")
    written = map(json.loads, (tmp_path / "out").read_text(encoding="utf-8").splitlines())
    assert {row["custom_id"]: row["response"]["body"] for row in written} == {
        name: reply.to_dict() for name, reply in replies.items()
    }
    assert sorted(replies) == names(8)


async def test_a_field_that_nobody_knows_is_kept_as_it_came(emulator: Emulator, tmp_path: Path) -> None:
    body = {"id": "c", "object": "chat.completion", "created": "7", "model": "m", "choices": [], "of_later": {"n": [None, 1.5]}}
    (tmp_path / "in").write_text(json.dumps(line(4)), encoding="utf-8")
    emulator.script = Script(body=body)
    async with client_of(emulator) as client:
        await client.batch.run(tmp_path / "in", tmp_path / "out")
    assert json.loads((tmp_path / "out").read_bytes())["response"]["body"] == body


async def test_a_streamed_body_is_collected(emulator: Emulator, tmp_path: Path) -> None:
    row = line(4)
    row["body"]["stream"] = True
    (tmp_path / "in").write_text(json.dumps(row), encoding="utf-8")
    async with client_of(emulator) as client:
        assert (await client.batch.run(tmp_path / "in", tmp_path / "out", job="mine")).answered == 1
    assert emulator.log[0].body["stream"] is True
    assert emulator.log[0].headers["Idempotency-Key"] == "mine-1"
    assert "question 4" in (tmp_path / "out").read_text(encoding="utf-8")


async def test_an_output_that_cannot_be_written_ends_the_run(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", 10)
    write = Ledger.answer

    def full(self: Ledger, text: bytes) -> None:
        if self.answered == 3:
            raise OSError(28, "No space left on device")
        write(self, text)

    monkeypatch.setattr(Ledger, "answer", full)
    async with client_of(emulator) as client:
        with pytest.raises(OSError, match="No space"):
            await client.batch.run(tmp_path / "in", tmp_path / "out", concurrency=2)
        monkeypatch.undo()
        assert (await client.batch.run(tmp_path / "in", tmp_path / "out")).answered == 10
    assert sorted(ids(tmp_path / "out")) == sorted(names(10))


async def test_a_run_cancelled_while_it_opens_gives_the_lock_back(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", 3)
    opened, cancelled = threading.Event(), threading.Event()
    open_ = Ledger.open

    def slow(*args: Any, **kwargs: Any) -> Ledger:
        ledger = open_(*args, **kwargs)
        opened.set()
        cancelled.wait(10)
        return ledger

    async with client_of(emulator) as client:
        monkeypatch.setattr(Ledger, "open", slow)
        running = asyncio.ensure_future(client.batch.run(tmp_path / "in", tmp_path / "out"))
        assert await asyncio.to_thread(opened.wait, 10)
        running.cancel()
        await asyncio.sleep(0.01)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        monkeypatch.undo()
        report = await client.batch.run(tmp_path / "in", tmp_path / "out")
    assert report.answered == 3


@pytest.mark.parametrize("how", ["cancel", "stop"])
@pytest.mark.parametrize("where", ["survey", "second look", "output"])
async def test_a_run_that_is_ended_while_it_opens_does_not_read_on(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, how: str
) -> None:
    put(tmp_path / "in", 2000)
    async with client_of(emulator) as client:
        if where == "output":
            Ledger.open(tmp_path / "in", Files.of(tmp_path / "out"), Settings(base_url=emulator.url), job="j").close()
            written = [output.answered(output.key_of("j", 0, number), None, None, {}) for number in range(1, 2001)]
            (tmp_path / "out").write_bytes(b"".join(written))
        reading, ended = threading.Event(), threading.Event()
        seen: list[int] = []

        def slowed(take: Callable[..., Any]) -> Callable[..., Any]:
            def slow(*arguments: Any) -> Any:
                seen.append(1)
                if len(seen) == 20:
                    reading.set()
                    ended.wait(10)
                return take(*arguments)

            return slow

        # A block has some lines here, and a look at the output is at each tenth.
        monkeypatch.setattr(lines, "_BUFFER", 1000)
        monkeypatch.setattr(output, "_TICK", 10)
        if where == "output":
            monkeypatch.setattr(Bits, "add", slowed(Bits.add))
        elif where == "survey":
            monkeypatch.setattr(lines, "_first_ids", slowed(lines._first_ids))
        else:
            monkeypatch.setattr(lines, "_LEAST_BITS", 64)
            monkeypatch.setattr(lines, "_BITS", 1)  # nearly every id looks like one that came before
            monkeypatch.setattr(lines, "_id_of", slowed(lines._id_of))
        stop = asyncio.Event()
        running = asyncio.ensure_future(client.batch.run(tmp_path / "in", tmp_path / "out", stop=stop))
        assert await asyncio.to_thread(reading.wait, 10)
        if how == "cancel":
            running.cancel()
        else:
            stop.set()
        await asyncio.sleep(0.01)
        ended.set()
        if how == "cancel":
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            report = await running
            assert (report.stopped, report.lines) == ("interrupted", 0)
        await asyncio.get_running_loop().shutdown_default_executor()
    assert len(seen) < 60
    assert not emulator.log


async def test_answers_that_wait_to_be_written_count_as_in_flight(tmp_path: Path) -> None:
    put(tmp_path / "in", 40)
    most, writes = 4, []
    with Ledger.open(tmp_path / "in", Files.of(tmp_path / "out"), Settings(base_url="http://x")) as ledger:
        begun = 0

        class Reply:
            request_id = None

            def to_dict(self) -> dict[str, Any]:
                return {}

        async def send(request: Request, _turn: Turn) -> Any:
            nonlocal begun
            begun += 1
            # What a kill at this moment would make be called again.
            assert begun - (tmp_path / "out").read_bytes().count(b"\n") <= most
            number = int(str(request.custom_id)[1:])
            if number % 3:
                await asyncio.sleep(0 if number % 2 else 0.001)
            return Reply()

        flush = Ledger.flush

        def seen(self: Ledger) -> None:
            writes.append(len(self.gathered))
            flush(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "flush", seen)
            async with AsyncDGrid(KEY, base_url="http://127.0.0.1:1") as client:
                report = await Job(client, ledger, limits=BatchLimits(concurrency=most), send=send).run()
    assert report.answered == len(ids(tmp_path / "out")) == 40
    assert sum(writes) == 40
    assert max(writes) > 1  # there is room to spare while none wait


async def test_bad_lines_of_an_ordered_run_that_was_stopped_keep_their_order(emulator: Emulator, tmp_path: Path) -> None:
    rows = [json.dumps(line(number)) for number in range(1, 31)]
    rows[25] = "{"
    (tmp_path / "in").write_text("\n".join(rows), encoding="utf-8")
    emulator.script = lambda received: Script(delay=0.1, status=400 if number_of(received) == 20 else 200)
    stop = asyncio.Event()
    async with client_of(emulator) as client:
        running = asyncio.ensure_future(
            client.batch.run(tmp_path / "in", tmp_path / "out", ordered=True, concurrency=2, stop=stop)
        )
        while len(emulator.log) < 3:
            await asyncio.sleep(0.005)
        stop.set()
        await running
        await client.batch.run(tmp_path / "in", tmp_path / "out", ordered=True, concurrency=16)
    failed = [json.loads(text)["error"]["line"] for text in (tmp_path / "out.failures").read_text("utf-8").splitlines()]
    assert failed == [20, 26]


async def test_no_key_is_in_any_file(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 8)
    emulator.script = lambda received: Script(
        status=400 if number_of(received) % 2 else 200, message=f"bad key {received.headers['Authorization']}"
    )
    async with client_of(emulator) as client:
        report = await client.batch.run(tmp_path / "in", tmp_path / "out")
    assert report.failed == 4
    assert KEY not in repr(report) + str(report) + json.dumps(report.to_dict())
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text(encoding="utf-8"), path


async def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    """Objects alive in the middle of a run, counted: lines, requests and replies come and go."""

    class Reply:
        request_id = None
        usage = None

        def to_dict(self) -> dict[str, Any]:
            return {"ok": True}

    counts = []

    async def send(request: Any, turn: Any) -> Any:
        await asyncio.sleep(0)
        if ledger.answered in {500, 2500}:
            counts.append(len(gc.get_objects()))
        return Reply()

    put(tmp_path / "in", 3000)
    async with AsyncDGrid(KEY, base_url="http://127.0.0.1:1", limits=Limits()) as client:
        with Ledger.open(tmp_path / "in", Files.of(tmp_path / "out"), Settings(base_url="x")) as ledger:
            report = await Job(client, ledger, limits=BatchLimits(concurrency=8), send=send).run()
    assert report.answered == 3000
    assert max(counts[-5:]) - min(counts[:5]) < 4000


async def test_wrong_options_are_refused(emulator: Emulator, tmp_path: Path) -> None:
    put(tmp_path / "in", 1)
    async with client_of(emulator) as client:
        batch = Batch(client)
        for options, word in (
            ({"shard": (3, 2)}, "K/N"),
            ({"endpoint": "/v1/none"}, "endpoint"),
            ({"prices": {"a": 1}}, "prices"),
            ({"concurrency": 0}, "concurrency"),
            ({"job": "a b"}, "job"),
        ):
            with pytest.raises(ConfigError, match=word):
                await batch.run(tmp_path / "in", tmp_path / "out", **options)  # type: ignore[arg-type]  # as said
    assert len(emulator.log) == 0
