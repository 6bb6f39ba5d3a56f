"""The benchmark suite works: its bytes are valid, its competitors read the same from them, its reports are written."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import orjson
import pytest

from benchmarks import __main__ as command
from benchmarks import bench_import, bench_loop, corpus, report
from benchmarks.arena import Arena, JobError, Worker
from benchmarks.bench_count import awaits_below
from benchmarks.figures import Results, Row, ratio
from benchmarks.peers import FLOOR, SUBJECT, load
from benchmarks.steps import stepped
from dgrid_async.body import Body
from dgrid_async.endpoint import Endpoint, Progress


class Head:
    status = 200
    headers: ClassVar[dict[str, str]] = {}
    content_type = "text/event-stream"
    request_id = None
    secret = None


def endpoint_of(name: str) -> Endpoint[Any, Any]:
    from importlib import import_module

    return import_module(f"dgrid_async.apis.{name}.endpoint").ENDPOINT


def read_whole(stream: corpus.Stream) -> Any:
    body: Body[Any, Any] = Body(endpoint_of(stream.format), Head(), 1 << 26)
    body.feed(b"".join(stream.events))
    while body.take() is not None:
        pass
    body.end()
    assert body.verdict() is None
    assert body.progress is not Progress.OPEN
    return body.snapshot()


@pytest.mark.parametrize("name", corpus.FORMATS)
def test_a_text_of_the_corpus_is_a_whole_answer(name: str) -> None:
    stream = corpus.text_stream(name, 300)
    assert len(stream.deltas) == 300
    assert read_whole(stream).text == stream.text


@pytest.mark.parametrize("name", ["chat_completions", "messages", "responses"])
def test_a_tool_call_of_the_corpus_is_a_whole_answer(name: str) -> None:
    stream = corpus.tool_stream(name, 64)
    assert len(stream.deltas) == 64
    assert len(stream.text) == 64 * 16
    wanted = json.loads(stream.text)
    reply = read_whole(stream)
    if name == "messages":
        assert reply.content[0].input == wanted
    elif name == "chat_completions":
        assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == wanted
    else:
        assert json.loads(reply.output[0].arguments) == wanted


@pytest.mark.parametrize("name", corpus.FORMATS)
def test_a_plain_reply_of_the_corpus_is_one(name: str) -> None:
    body, text = corpus.plain(name)
    assert endpoint_of(name).decode_reply(orjson.loads(body)).text == text


@pytest.mark.parametrize("name", corpus.FORMATS)
def test_the_place_of_the_stamp_is_the_text(name: str) -> None:
    stream, before, behind = corpus.stamped_stream(name)
    delta = before + b"12.5 " + behind
    stamped = corpus.Stream(name, stream.head, (delta,), (), "")
    endpoint = endpoint_of(name)
    assert endpoint.text_of(endpoint.decode_event(orjson.loads(stamped.data[-1]))) == "12.5 "


@pytest.mark.slow
@pytest.mark.parametrize("name", corpus.FORMATS)
async def test_floor_and_package_read_the_same(name: str, arena: Arena) -> None:
    stream = corpus.text_stream(name, 20)
    counts = []
    for peer in (FLOOR, SUBJECT):
        seen: list[str] = []
        async with load(peer).client(f"{arena.url}/large.20", 4) as client:
            await client.watch(name, seen.append)
            counts.append(await client.read(name))
        assert "".join(seen) == stream.text, peer
        async with load(peer).client(f"{arena.url}/single.20", 4) as client:
            assert await client.read(name) == counts[-1]
        with stepped(arena.url, 20) as (address, after):
            async with load(peer).client(address, 4) as client:
                assert await client.read(name, after) == counts[-1]
        async with load(peer).client(f"{arena.url}/plain", 4) as client:
            assert await client.plain(name) == corpus.plain(name)[1]
    assert counts == [len(stream.data)] * 2


@pytest.mark.parametrize("peer", [FLOOR, SUBJECT])
def test_the_parts_of_a_peer_agree_with_the_corpus(peer: str) -> None:
    for name in corpus.FORMATS:
        stream = corpus.text_stream(name, 30)
        known = load(peer)
        assert known.split([b"".join(stream.events)]) == len(stream.events)
        events = [known.decode(name)(data) for data in stream.data]
        assert known.accumulate(name, events, live=False) == stream.text


def test_a_live_tool_call_comes_out_parsed() -> None:
    for name in ("messages", "chat_completions"):
        stream = corpus.tool_stream(name, 40)
        known = load(SUBJECT)
        events = [known.decode(name)(data) for data in stream.data]
        assert known.accumulate(name, events, live=True) == json.loads(stream.text)


@pytest.mark.slow
async def test_awaits_are_counted_through_generators() -> None:
    import asyncio

    gate = asyncio.Event()

    async def inner() -> Any:
        await gate.wait()
        yield 1

    async def outer() -> Any:
        async for value in inner():
            yield value

    async def consume() -> None:
        async for _ in outer():
            pass

    task = asyncio.ensure_future(consume())
    await asyncio.sleep(0)
    assert awaits_below(task.get_coro()) == 3  # outer, inner, Event.wait
    gate.set()
    await task


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with Arena(quick=True, names=(FLOOR, SUBJECT)) as started:
        yield started


@pytest.mark.slow
def test_a_peer_that_fails_has_no_figures_there(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.bench_events import decode

    do = Worker.do

    def do_or_fail(self: Worker, job: Any, **arguments: Any) -> Any:
        if "cattrs" not in self.packages:
            raise JobError("Traceback\nRuntimeError: broken on purpose\n")
        return do(self, job, **arguments)

    monkeypatch.setattr(Worker, "do", do_or_fail)
    monkeypatch.setattr(arena, "failed", {})
    rows = arena.compete("bench", "case", [FLOOR, SUBJECT], decode, rounds=2, format="messages", events=3, tool=False)
    assert [(row.peer, len(row.rounds)) for row in rows] == [(SUBJECT, 2)]
    assert arena.failed == {"bare, bench: case": "RuntimeError: broken on purpose"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not let a process choose its core")
def test_competitor_and_server_share_a_core_while_they_work(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.bench_events import decode

    server = arena._server.pid
    seen: list[tuple[set[int], set[int]]] = []

    def do(self: Worker, *_: object, **__: object) -> dict[str, float]:
        seen.append((os.sched_getaffinity(self.pid), os.sched_getaffinity(server)))
        return {"µs": 1.0}

    monkeypatch.setattr(Worker, "do", do)
    free = os.sched_getaffinity(server)
    arena.compete("bench", "case", [FLOOR], decode, rounds=1, warm=False, one_core=True)
    arena.compete("bench", "case", [FLOOR], decode, rounds=1, warm=False)
    (worker_one, server_one), behind = seen
    assert worker_one == server_one
    assert len(server_one) == 1
    assert behind == (free, free)


@pytest.mark.slow
def test_a_job_that_fails_is_told(arena: Arena) -> None:
    from benchmarks.bench_events import decode

    worker = Worker(FLOOR)
    worker.wait()
    try:
        with pytest.raises(JobError, match="KeyError"):
            worker.do(decode, format="no such format", events=1, tool=False)
    finally:
        worker.close()


def test_the_package_is_imported_as_installed_packages_are_from_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    code = (
        "import dgrid_async; assert os.path.exists(dgrid_async.__cached__); assert dgrid_async.__file__.startswith(os.getcwd())"
    )
    with bench_import._installed() as folder:
        figures = bench_import._measure(code, "", folder)
    assert figures["modules"] > 0


def made_results() -> Results:
    rows = [
        Row("stream", "messages, large reads", "µs CPU an event", FLOOR, (2.0, 4.0, 3.0)),
        Row("stream", "messages, large reads", "µs CPU an event", SUBJECT, (4.0, 12.0, 6.0)),
        Row("stream", "messages, large reads", "µs CPU an event", "anthropic", (16.0, 48.0, 12.0)),
        Row("import", "import", "ms", FLOOR, (100.0,)),
        Row("import", "import", "ms", SUBJECT, (60.0,)),
        Row("count", "messages", "awaits a token", SUBJECT, (3.0,)),
    ]
    told = {
        "date": "2030-01-02",
        "commit": "abc1234",
        "quick": False,
        "machine": {"processor": "some", "cores": 2, "system": "Linux", "kind": "x86_64"},
        "python": "CPython 3.11.7",
        "versions": {"aiohttp": "3.11.0"},
    }
    return Results(told, {"openai": "no such module"}, tuple(rows))


def test_a_ratio_is_taken_round_by_round() -> None:
    floor, ours, _, *_ = made_results().rows
    spread = ratio(ours, floor)
    assert (spread.median, spread.least, spread.greatest) == (2.0, 2.0, 3.0)


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "one.json"
    made_results().write(path)
    assert Results.read(path) == made_results()


def test_the_table_tells_aims_and_figures() -> None:
    lines = report.table(made_results()).splitlines()
    aims = [line for line in lines if line.startswith("| stream: messages, large reads")]
    assert len(aims) == 2
    assert "| ≤ 2.5 | 2 (2-3) | yes |" in aims[0]
    assert "| ≥ 6 | 4 (2-4) | **no** |" in aims[1]
    assert any("import: import" in line and "0.6 | **no** |" in line for line in lines)
    assert any("messages, large reads | µs CPU an event | 3 (2-4) | 6 (4-12) · 2 x" in line for line in lines)
    assert "Not measured: openai (no such module)." in lines


def test_an_aim_of_time_is_that_of_another_machine() -> None:
    rows = (
        Row("request", "chat_completions, 64 in flight", "µs CPU a call", FLOOR, (230.0,)),
        Row("batch", "a stub", "µs CPU a line", SUBJECT, (39.0, 41.0, 39.5)),
    )
    (line,) = (line for line in report.aims(attrs.evolve(made_results(), rows=rows)) if "a stub" in line)
    assert "| ≤ 20; here 40 | 39.5 (39-41) | yes |" in line
    (line,) = (line for line in report.aims(attrs.evolve(made_results(), rows=rows[1:])) if "a stub" in line)
    assert "| ≤ 20; here 20 | 39.5 (39-41) | **no** |" in line


def test_loops_stand_side_by_side() -> None:
    rows = [
        Row("loop", "messages, one event a read, on asyncio", "µs CPU an event", SUBJECT, (9.0,)),
        Row("loop", "messages, one event a read, on uvloop", "µs CPU an event", SUBJECT, (6.0,)),
        Row("loop", "messages, 64 in flight, on asyncio", "calls/s", SUBJECT, (5.0,)),
    ]
    lines = report.loops(attrs.evolve(made_results(), rows=tuple(rows)))
    assert lines[0] == "| what | figure | asyncio | uvloop |"
    assert lines[2:] == ["| messages, one event a read | µs CPU an event | 9 | 6 |"]
    assert report.loops(made_results()) == []


@pytest.mark.slow
def test_both_loops_are_measured() -> None:
    pytest.importorskip("uvloop")
    with Arena(quick=True, names=()) as started:
        rows = bench_loop.run(started)
    assert {row.case.rpartition(", on ")[2] for row in rows} == {"asyncio", "uvloop"}
    assert len({row.case for row in rows}) == 6
    assert all(row.rounds for row in rows)
    assert started.failed == started.skipped == {}
    assert "uvloop" in started.packages


@pytest.mark.slow
def test_a_loop_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_loop, "LOOPS", ("no_loop_of_this_name",))
    with Arena(quick=True, names=()) as started:
        assert bench_loop.run(started) == []
    assert "no_loop_of_this_name" in started.skipped["no_loop_of_this_name"]


@pytest.mark.slow
def test_the_chart_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.write(made_results(), tmp_path)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_without_the_plotting_library_there_is_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    report.write(made_results(), tmp_path)
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert (tmp_path / "table.md").read_text(encoding="utf-8").startswith("2030-01-02, commit abc1234")
    assert not (tmp_path / "chart.png").exists()


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    assert command.main(["--only", "decoder", "--quick", "--peers", FLOOR, SUBJECT, "--json", str(path)]) == 0
    results = Results.read(path)
    assert {row.bench for row in results.rows} == {"decoder"}
    assert {FLOOR, SUBJECT} <= {row.peer for row in results.rows}
    assert all(value > 0 for row in results.rows for value in row.rounds)
    assert results.facts["quick"] is True
    assert set(results.facts) == {"date", "commit", "quick", "machine", "python", "versions", "loop"}
    assert "### decoder" in capsys.readouterr().out


@pytest.mark.slow
def test_the_competitors_run_on_the_loop_that_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    path = tmp_path / "out.json"
    given = ["--only", "events", "--quick", "--peers", SUBJECT, "--loop", "uvloop", "--json", str(path)]
    assert command.main(given) == 0
    facts = Results.read(path).facts
    assert facts["loop"] == "uvloop"
    assert "uvloop" in facts["versions"]
    with Arena(quick=True, names=(FLOOR,), loop="uvloop") as started:
        assert started._workers[FLOOR].do(running_loop) == "uvloop"


async def running_loop(peer: Any) -> str:
    del peer
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.slow
def test_a_missing_peer_is_skipped_with_its_reason() -> None:
    with Arena(quick=True, names=(FLOOR, "no_such_peer")) as started:
        assert started.skipped == {"no_such_peer": "No module named 'benchmarks.peers.no_such_peer'"}
        assert started.peers("stream") == [FLOOR]
