"""The limiter: which options it takes, and who waits for what."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from dgrid_async import AsyncDGrid, ConfigError, InternalServerError, Limits, RateLimitError, Retries
from dgrid_async.apis.chat_completions import CompletionUsage
from dgrid_async.batch.limiter import BatchLimits, Limiter, Turn, refuses
from dgrid_async.batch.mapping import limiter_of
from dgrid_async.request import Request

ASK = Request("responses", {"model": "m", "input": "Hi"})
NO = RateLimitError("no", status=429)


# ---------------------------------------------------------------------------------------------------------- the options


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": 2.0},
        {"max_concurrency": None},
        {"max_concurrency": -1},
        {"rpm": 0},
        {"rpm": math.inf},
        {"rpm": "60"},
        {"tpm": -5},
        {"tpm": math.nan},
        {"tpm": True},
    ],
)
def test_an_option_without_a_meaning_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        BatchLimits(**options)


def test_what_counts_as_a_refusal() -> None:
    assert refuses(NO)
    assert refuses(InternalServerError("x", status=529))
    assert refuses(InternalServerError("x", status=503))
    assert not refuses(InternalServerError("x", status=500))
    assert not refuses(ConfigError("x"))
    assert not refuses(None)


# ----------------------------------------------------------------------------------------------------------- the waiter


async def entered(limiter: Limiter, turn: Turn, *, again: bool = False) -> None:
    if again or not limiter.enter_now(turn):
        await limiter.enter(turn, again=again)


async def test_first_come_first_served_and_a_retry_before_all() -> None:
    limiter = Limiter(BatchLimits(concurrency=1))
    order: list[str] = []
    held = limiter.turn().begin(ASK)
    assert limiter.enter_now(held)
    assert not limiter.free

    async def one(name: str, *, again: bool = False) -> None:
        turn = limiter.turn().begin(ASK)
        await entered(limiter, turn, again=again)
        order.append(name)
        limiter.leave(turn, None)

    tasks = [asyncio.create_task(one("a")), asyncio.create_task(one("b"))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(one("retry", again=True)))
    await asyncio.sleep(0)
    assert order == []
    limiter.leave(held, None)
    limiter.leave(held, None)  # a second time does nothing
    await asyncio.gather(*tasks)
    assert order == ["retry", "a", "b"]
    assert limiter.in_flight == 0
    assert limiter.free


async def test_a_call_between_attempts_holds_no_place() -> None:
    limiter = Limiter(BatchLimits(concurrency=1))
    turn, other = limiter.turn().begin(ASK), limiter.turn().begin(ASK)
    assert limiter.enter_now(turn)
    waiting = asyncio.create_task(turn.between(InternalServerError("x", status=500), 0.05))
    await asyncio.sleep(0)
    assert limiter.in_flight == 0
    assert limiter.enter_now(other)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert turn.attempts == 1
    limiter.leave(other, None)
    await waiting
    assert turn.attempts == 2
    assert limiter.in_flight == 1


@pytest.mark.parametrize(
    ("failure", "waited"),
    [
        (NO, 1.0),
        (InternalServerError("x", status=500), 5.0),
        (InternalServerError("x", status=503, retry_after=5.0), 5.0),
    ],
)
async def test_a_first_refusal_without_a_time_waits_less(failure: Any, waited: float, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    limiter = Limiter(BatchLimits())
    turn = limiter.turn().begin(ASK)
    assert limiter.enter_now(turn)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await turn.between(failure, 5.0)
    await turn.between(failure, 5.0)
    assert slept == [waited, 5.0]
    assert turn.attempts == 3


@pytest.mark.parametrize("moment", ["waiting", "let through", "between"])
async def test_a_cancelled_wait_takes_nothing(moment: str) -> None:
    limiter = Limiter(BatchLimits(concurrency=1, tpm=1e9))
    first, second, third = (limiter.turn().begin(ASK) for _ in range(3))
    assert limiter.enter_now(first)
    if moment == "between":
        task = asyncio.create_task(first.between(NO, 5))
    else:
        task = asyncio.create_task(limiter.enter(second))
        await asyncio.sleep(0)
    if moment == "let through":
        limiter.leave(first, None)
        assert limiter.in_flight == 1
    await asyncio.sleep(0) if moment == "between" else None
    task.cancel()
    behind = asyncio.create_task(entered(limiter, third))
    with pytest.raises(asyncio.CancelledError):
        await task
    limiter.leave(first, None)
    async with asyncio.timeout(10):
        await behind
    assert limiter.in_flight == 1


async def test_many_cancelled_waits_leave_the_others_theirs() -> None:
    limiter = Limiter(BatchLimits(concurrency=2))
    passed: list[int] = []

    async def one(n: int) -> None:
        turn = limiter.turn().begin(ASK)
        await entered(limiter, turn)
        try:
            passed.append(n)
            await asyncio.sleep(0.001)
        finally:
            limiter.leave(turn, None)

    tasks = [asyncio.create_task(one(n)) for n in range(60)]
    await asyncio.sleep(0.003)
    for n in range(10, 60, 2):
        tasks[n].cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert set(range(1, 60, 2)) <= set(passed)
    assert limiter.in_flight == 0
    assert limiter._timer is None


async def test_a_pause_holds_all_and_they_do_not_come_back_at_once() -> None:
    now = 100.0
    pause = 0.05
    limiter = Limiter(BatchLimits(concurrency=50), pause=lambda: pause, clock=lambda: now)
    turns = [limiter.turn().begin(ASK) for _ in range(20)]
    assert not limiter.enter_now(turns[0])
    pause, now = -1.0, 100.051
    came = 0
    for turn in turns:
        if limiter.enter_now(turn):
            came += 1
    assert came == 1
    now += 0.011
    assert limiter.enter_now(turns[1])
    assert not limiter.enter_now(turns[2])
    now += 2
    assert all(limiter.enter_now(turn) for turn in turns[2:])


async def test_a_timer_lets_through_whom_nobody_makes_room_for() -> None:
    limiter = Limiter(BatchLimits(rpm=60 / 0.02))
    times = []

    async def one() -> None:
        turn = limiter.turn().begin(ASK)
        await entered(limiter, turn)
        times.append(asyncio.get_running_loop().time())
        limiter.leave(turn, None)

    async with asyncio.timeout(15):
        await asyncio.gather(*(one() for _ in range(15)))
    assert times == sorted(times)
    assert times[-1] - times[0] >= 14 * 0.02 - 0.1


async def test_tokens_are_estimated_then_settled_and_the_estimate_learns() -> None:
    now = 0.0
    limiter = Limiter(BatchLimits(concurrency=1000, tpm=60_000), clock=lambda: now)
    request = Request("responses", {"model": "m", "input": "x", "max_output_tokens": 1000})
    sent = used = 0
    while now < 300:
        turn = limiter.turn().begin(request)
        while limiter.enter_now(turn):
            sent += 1
            used += 100
            limiter.leave(turn, None, CompletionUsage(total_tokens=100))  # a tenth of what it asked for
            turn = limiter.turn().begin(request)
        now += 0.05
    assert 0.9 * 300_000 < used < 1.02 * 300_000


async def test_a_refused_call_gives_its_tokens_back() -> None:
    now = 0.0
    limiter = Limiter(BatchLimits(concurrency=5, tpm=1000), clock=lambda: now)
    request = Request("responses", {"model": "m", "input": "x", "max_output_tokens": 900})
    turn = limiter.turn().begin(request)
    assert limiter.enter_now(turn)
    limiter.leave(turn, NO)
    now = 55.0  # its pace is over, its minute is not
    assert limiter.enter_now(limiter.turn().begin(request))


async def test_a_clients_limiter_knows_its_connections_and_its_pauses() -> None:
    async with AsyncDGrid("k", limits=Limits(max_connections=3), retries=Retries(max_attempts=1)) as client:
        limiter = limiter_of(client, BatchLimits(concurrency=10))
        assert limiter.limit == 3
        turn = limiter.turn().begin(ASK)
        client._cool_down.ask(30)
        assert not limiter.enter_now(turn)
