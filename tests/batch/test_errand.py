"""Work in a thread: its result, its error, and its end when nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dgrid_async.batch.errand import run_errand

Tick = Callable[[int], None]


class Work:
    """Goes on until its tick raises, or until it is told to return."""

    def __init__(self) -> None:
        self.begun, self.enough, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, *, tick: Tick) -> str:
        self.begun.set()
        try:
            while not self.enough.wait(0.005):
                tick(1)
            return "all"
        finally:
            self.ended.set()

    async def begins(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)


async def test_it_returns_what_the_work_does() -> None:
    def work(*, tick: Tick) -> int:
        tick(7)
        return 7

    assert await run_errand(work) == 7
    assert await run_errand(work, stop=asyncio.Event(), drop=pytest.fail) == 7


async def test_what_the_work_raises_passes() -> None:
    def work(*, tick: Tick) -> None:
        del tick
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await run_errand(work)


async def test_a_stop_ends_it() -> None:
    work, stop = Work(), asyncio.Event()
    running = asyncio.ensure_future(run_errand(work, stop=stop, drop=pytest.fail))
    await work.begins()
    stop.set()
    assert await asyncio.wait_for(running, 10) is None
    assert work.ended.is_set()


async def test_a_stop_that_comes_too_late_loses_nothing() -> None:
    stop = asyncio.Event()

    def work(*, tick: Tick) -> str:
        asyncio.run_coroutine_threadsafe(stopped(), loop).result()
        del tick
        return "all"

    async def stopped() -> None:
        stop.set()
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    assert await run_errand(work, stop=stop, drop=pytest.fail) == "all"


async def test_a_cancellation_ends_it_and_waits_for_that() -> None:
    work = Work()
    running = asyncio.ensure_future(run_errand(work))
    await work.begins()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)
    assert work.ended.is_set()


async def test_what_comes_behind_a_cancellation_is_dropped() -> None:
    begun, on = threading.Event(), threading.Event()
    dropped: list[Any] = []

    def work(*, tick: Tick) -> str:
        del tick
        begun.set()
        on.wait(10)
        return "all"

    running = asyncio.ensure_future(run_errand(work, stop=asyncio.Event(), drop=dropped.append))
    assert await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    await asyncio.sleep(0.01)
    on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert dropped == ["all"]
