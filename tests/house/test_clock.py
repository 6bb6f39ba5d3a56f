"""The clock that leaps is on time, leaps over nothing that happens, and is gone behind the test."""

from __future__ import annotations

import asyncio
import time

import pytest

from dgrid_async import Timeouts, stream
from tests.clock import leaping
from tests.loopback import Exchange, ask, client_of, loopback

# The hour that is leapt over, and what a machine may need for that.
HOUR, MINUTE = 3600.0, 60.0


async def test_waits_take_no_time_and_end_in_their_order() -> None:
    really, began = time.monotonic, time.monotonic()
    ended: list[float] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    loop = asyncio.get_running_loop()
    with leaping(loop):
        assert stream.monotonic is time.monotonic
        told, on_the_loop = time.monotonic(), loop.time()
        await asyncio.gather(*(wait(part * HOUR) for part in (1.0, 0.25, 0.5)))
        assert HOUR <= time.monotonic() - told < HOUR + 1
        assert HOUR <= loop.time() - on_the_loop < HOUR + 1
    assert ended == [0.25 * HOUR, 0.5 * HOUR, HOUR]
    assert time.monotonic is stream.monotonic is really
    assert time.monotonic() - began < MINUTE


async def test_what_comes_over_a_socket_comes_before_the_next_timer() -> None:
    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(HOUR)
        await exchange.answer()

    async with loopback(late) as server, client_of(server, timeouts=Timeouts(first_event=None, idle=None)) as client:
        with leaping(asyncio.get_running_loop()):
            async with asyncio.timeout(HOUR + 1):
                assert await ask(client) == "hello"


async def test_nothing_is_leapt_over_once_threads_work() -> None:
    with leaping(asyncio.get_running_loop()):
        async with asyncio.timeout(MINUTE):
            await asyncio.to_thread(time.sleep, 0.2)


async def test_what_the_machine_does_meanwhile_is_not_counted() -> None:
    with leaping(asyncio.get_running_loop()):
        told = time.monotonic()
        time.sleep(0.3)  # noqa: ASYNC251 -- as if the machine had other work
        assert time.monotonic() - told < 0.2


async def test_a_loop_without_a_selector_is_refused() -> None:
    class Other:
        """A loop that tells its own time."""

    with pytest.raises(AssertionError, match="own time"), leaping(Other()):  # type: ignore[arg-type]
        pass
