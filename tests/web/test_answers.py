"""Answers by their ids: begun once, bounded, let go of in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dgrid_async import AsyncDGrid
from dgrid_async.emulator import Emulator, Script, Stall
from dgrid_async.web.answers import Answers
from dgrid_async.web.bounds import Bounds

SILENT = Script(text="one two", fault=Stall())


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[AsyncDGrid]:
    async with AsyncDGrid("k", base_url=emulator.url) as client:
        yield client


def ask(client: AsyncDGrid) -> Any:
    return client.responses.stream(model="m", input="Hi")


async def test_the_same_id_is_asked_once(emulator: Emulator, client: AsyncDGrid) -> None:
    answers = Answers(Bounds(), 5)
    first = answers.begin("a", lambda: ask(client))
    assert answers.begin("a", lambda: pytest.fail("asked again")) is first is answers.get("a")
    await first.wait()
    assert answers.begin("a", lambda: pytest.fail("asked again")) is first
    assert len(emulator.log) == 1
    assert answers.get("b") is None


async def test_what_cannot_be_asked_is_not_kept(client: AsyncDGrid) -> None:
    answers = Answers(Bounds(), 5)
    with pytest.raises(ZeroDivisionError):
        answers.begin("a", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert len(answers) == 0


async def test_the_oldest_ended_are_let_go_of_and_none_that_is_written(emulator: Emulator, client: AsyncDGrid) -> None:
    emulator.script = [SILENT, Script(text="short")]
    answers = Answers(Bounds(answers_kept=3), 5)
    answers.begin("silent", lambda: ask(client))
    await emulator.log.wait(1)
    for number in range(5):
        await answers.begin(str(number), lambda: ask(client)).wait()
        assert len(answers) <= 3
    assert [key for key in ("silent", *"01234") if answers.get(key)] == ["silent", "3", "4"]
    await answers.close()


async def test_full_counts_those_that_are_written_and_close_ends_them(emulator: Emulator, client: AsyncDGrid) -> None:
    emulator.script = SILENT
    answers = Answers(Bounds(answers_at_once=2), 5)
    for key in "ab":
        assert not answers.full
        answers.begin(key, lambda: ask(client))
    assert answers.full
    assert answers.at_once == 2
    await emulator.log.wait(2)
    await answers.close()
    assert not answers.full
    async with asyncio.timeout(10):
        for received in emulator.log:
            await received.closed.wait()
    assert all(received.closed_early for received in emulator.log)
