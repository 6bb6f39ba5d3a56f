"""A small soak leaves nothing behind, and the soak notices what is wrong."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks import soak
from dgrid_async import AsyncDGrid
from tests.faults.catalogue import FAULTS
from tests.faults.fault import Expect, Fault
from tests.faults.server import FaultServer

pytestmark = pytest.mark.slow

GOOD = next(fault for fault in FAULTS if fault.name == "comments")
CUT = next(fault for fault in FAULTS if fault.name == "empty-stream")


async def counted(monkeypatch: pytest.MonkeyPatch, fault: Fault, way: str = "read") -> soak.Count:
    """Return what a soak counts for one stream of this fault."""
    monkeypatch.setattr(soak, "CHOSEN", [fault])
    monkeypatch.setattr(soak, "GOOD", [fault])
    monkeypatch.setattr(soak, "WAYS", (way,))
    count = soak.Count()
    async with FaultServer([fault]) as server, AsyncDGrid("k") as client:
        await soak.one(client, server.url, random.Random(1), count)
    assert count.accounted == count.started == 1
    return count


async def test_a_whole_reply_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    count = await counted(monkeypatch, GOOD)
    assert (count.whole, count.samples) == (1, [])


async def test_an_error_of_ours_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    count = await counted(monkeypatch, CUT)
    assert dict(count.errors) == {"StreamTruncatedError": 1}


async def test_a_stream_that_is_left_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    count = await counted(monkeypatch, GOOD, "leave")
    assert sum(count.ended_by_caller.values()) + count.whole == 1


@pytest.mark.parametrize(
    ("fault", "expect", "kind"),
    [
        (GOOD, Expect(text="other"), "wrong"),
        (GOOD, Expect(outcome="error", error=("DGridError",)), "wrong"),
    ],
)
async def test_a_lie_is_noticed(monkeypatch: pytest.MonkeyPatch, fault: Fault, expect: Expect, kind: str) -> None:
    lying = Fault(fault.name, fault.group, fault.line, fault.play, expect)
    count = await counted(monkeypatch, lying)
    assert getattr(count, kind) == 1
    assert len(count.samples) == 1


async def test_a_foreign_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("surprise")

    monkeypatch.setattr(soak, "begun", broken)
    count = await counted(monkeypatch, GOOD)
    assert count.foreign == 1
    assert "surprise" in count.samples[0]


async def test_a_hang_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck:
        async def __aenter__(self) -> Any:
            await asyncio.sleep(5)

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(soak, "begun", lambda *_: Stuck())
    monkeypatch.setattr(soak, "HANG_SECONDS", 0.05)
    assert (await counted(monkeypatch, GOOD)).hung == 1


async def test_what_is_left_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaky(client: AsyncDGrid, url: str, streams: int, seconds: float, dice: random.Random, count: soak.Count) -> None:
        held.append(asyncio.create_task(asyncio.sleep(30)))

    held: list[Any] = []
    monkeypatch.setattr(soak, "phase", leaky)
    result = await soak.soak(1, 0.1, 1)
    held[0].cancel()
    assert any("tasks are left" in words for words in result.faults)
    assert any("shows nothing" in words for words in result.faults)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_small_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "soak.json"
    assert soak.main(["--streams", "50", "--seconds", "3", "--out", str(out)]) == 0, capsys.readouterr().out
    assert '"wrong": 0' in out.read_text()
    assert "whole" in capsys.readouterr().out
