"""The log of requests, without a server."""

from __future__ import annotations

import asyncio

import pytest

from dgrid_async.emulator import Log, Received


def received(number: int) -> Received:
    return Received(number=number, connection=1, method="POST", path="/", query={}, headers={"Authorization": "k3y"}, at=0.0)


async def test_wait_returns_the_newest_once_there_are_enough() -> None:
    log = Log()
    waiting = asyncio.create_task(log.wait(2))
    log.add(received(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.add(received(2))
    assert (await waiting).number == 2
    assert (await log.wait()).number == 2


async def test_several_wait_at_once_and_one_gives_up() -> None:
    log = Log()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(log.wait(), 0.01)
    waiting = [asyncio.create_task(log.wait(2)) for _ in range(3)]
    await asyncio.sleep(0)
    log.add(received(1))
    log.add(received(2))
    assert [entry.number for entry in await asyncio.gather(*waiting)] == [2, 2, 2]


async def test_size_is_bounded_and_the_total_is_not() -> None:
    log = Log(2)
    for number in range(1, 6):
        log.add(received(number))
    assert [entry.number for entry in log] == [4, 5]
    assert (len(log), log.total, log[-1].number) == (2, 5, 5)
    assert [entry.number for entry in log[1:]] == [5]
    log.clear()
    assert (len(log), log.total) == (0, 0)


async def test_repr_has_no_key() -> None:
    assert "k3y" not in repr(received(1))
    assert received(7).request_id == "req_00000007"
