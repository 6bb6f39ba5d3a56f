"""The limits of a map: what the policies let through under any pattern of arrivals, and who waits for what."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async import AsyncDGrid, ConfigError, InternalServerError, Limits, RateLimitError, Retries
from dgrid_async.apis.chat_completions import CompletionUsage
from dgrid_async.apis.generate_content import Part
from dgrid_async.batch.limits import BatchLimits, Concurrency, Limiter, Pace, Turn, Window, refuses, tokens_asked
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


# ---------------------------------------------------------------------------------------------------------- concurrency


def play(
    allowed: int, calls: int, *, latency: float = 0.05, jitter: float = 0.0, most: int = 256
) -> tuple[float, float, Concurrency]:
    """Play calls against a server that takes so many at a time; return time over the ideal, and the share refused."""
    draw = random.Random(1).uniform
    policy = Concurrency(most)
    events: list[tuple[float, int, str, tuple[int, int]]] = []
    now, inside, waiting, sent, refused, done = 0.0, 0, calls, 0, 0, 0
    while done < calls:
        while waiting and not policy.full:
            waiting -= 1
            sent += 1
            begun = policy.begin()
            if inside < allowed:
                inside += 1
                heapq.heappush(events, (now + latency * (1 + draw(-jitter, jitter)), sent, "answer", begun))
            else:
                refused += 1
                heapq.heappush(events, (now + 0.003, sent, "refusal", begun))
        now, _, what, begun = heapq.heappop(events)
        if what == "back":
            waiting += 1
            continue
        if what == "answer":
            inside, done = inside - 1, done + 1
            policy.answered(*begun)
        else:
            policy.refused(*begun)
            heapq.heappush(events, (now + draw(0, 0.1), sent, "back", begun))
        policy.end()
    return now / (calls * latency / min(allowed, most)), refused / sent, policy


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3])
def test_sixty_at_a_time_are_found_and_kept(jitter: float) -> None:
    time, refused, policy = play(60, 4000, jitter=jitter)
    assert time < 1.15
    assert 0 < refused < 0.01
    assert 50 < policy.limit < 63


@pytest.mark.parametrize("allowed", [1, 2, 3, 5, 10, 20, 40])
def test_any_number_is_found_at_little_cost(allowed: int) -> None:
    time, refused, policy = play(allowed, 4000, jitter=0.1)
    assert time < 1.15
    assert refused < 0.01
    assert policy.limit < allowed + 2


def test_a_server_that_takes_all_is_given_the_most() -> None:
    _, refused, policy = play(1000, 4000)
    assert refused == 0
    assert policy.limit == 256


def test_slow_start_doubles_a_round_trip_and_then_adds_half() -> None:
    policy, seen = Concurrency(1000), []
    for _ in range(6):
        begun = []
        while not policy.full:
            begun.append(policy.begin())
        seen.append(len(begun))
        for each in begun:
            policy.answered(*each)
            policy.end()
    assert seen == [4, 8, 16, 32, 48, 72]


def test_one_cut_for_all_that_were_under_way_together() -> None:
    policy = Concurrency(100)
    policy.limit = 100.0
    begun = [policy.begin() for _ in range(100)]
    for each in begun[80:]:
        policy.refused(*each)
        policy.end()
    assert policy.limit == pytest.approx(81 * 0.9)
    before = policy.limit
    for each in begun[:80]:  # they say nothing of the time behind the cut
        policy.answered(*each)
        policy.end()
    assert policy.limit == before


def test_a_cut_takes_half_at_most() -> None:
    policy = Concurrency(100)
    policy.limit = 64.0
    begun = [policy.begin() for _ in range(64)]
    for each in begun:
        policy.refused(*each)
        policy.end()
    assert policy.limit == 32


def test_a_refusal_from_two_rounds_ago_says_nothing() -> None:
    policy = Concurrency(100)
    policy.limit = 64.0
    old = policy.begin()
    for _ in range(2):
        policy.refused(*policy.begin())
    before = policy.limit
    policy.refused(*old)
    assert policy.limit == before


def test_a_rise_is_one_a_round_trip_and_slow_below_the_last_refusal() -> None:
    policy = Concurrency(100)
    policy.limit = 40.0
    begun = [policy.begin() for _ in range(40)]
    policy.refused(*begun[-1])
    for _ in begun:
        policy.end()
    assert policy.limit == 36
    rises = []
    for _ in range(8):
        before = policy.limit
        begun = []
        while not policy.full:
            begun.append(policy.begin())
        for each in begun:
            policy.answered(*each)
            policy.end()
        rises.append(policy.limit - before)
    assert all(0.9 < rise < 1.1 for rise in rises[:3])
    assert all(0 < rise < 0.2 for rise in rises[4:])


def test_a_number_that_nobody_needs_does_not_rise() -> None:
    policy = Concurrency(100)
    for _ in range(1000):
        begun = policy.begin()
        policy.answered(*begun)
        policy.end()
    assert policy.limit == 4


def test_a_fixed_number_stays() -> None:
    policy = Concurrency(7, fixed=True)
    for _ in range(20):
        begun = policy.begin()
        policy.refused(*begun)
        policy.answered(*begun)
        policy.end()
    assert policy.limit == 7


# ---------------------------------------------------------------------------------------------------------------- pace


def arrivals(waits: list[float], policy_wait: Callable[[float, float], float], costs: Iterator[float]) -> Iterator[Any]:
    """Yield when each of those who come so many seconds after the one before is let through, and for what."""
    now = 0.0
    for wait in waits:
        now += wait
        cost = next(costs)
        for _ in range(100):
            left = policy_wait(now, cost)
            if left <= 0:
                break
            now = max(now + left, math.nextafter(now, math.inf))
        else:
            raise AssertionError("it starves")
        yield now, cost


def most_in(passed: list[tuple[float, float]], seconds: float) -> float:
    """Return the most that passed in any stretch of so many seconds."""
    most, total, first = 0.0, 0.0, 0
    for when, cost in passed:
        total += cost
        while passed[first][0] <= when - seconds:
            total -= passed[first][1]
            first += 1
        most = max(most, total)
    return most


GAP = st.floats(0, 0.5) | st.just(0.0) | st.floats(0, 90)
GAPS = st.lists(GAP, min_size=1, max_size=80)
COSTLY = st.lists(st.tuples(GAP, st.floats(1, 3000), st.floats(0, 1.5)), min_size=1, max_size=60)


@given(GAPS, st.floats(0.5, 200_000))
@settings(max_examples=60, deadline=None)
def test_requests_are_paced_whatever_comes(waits: list[float], rpm: float) -> None:
    pace = Pace(rpm)
    passed = []
    for when, cost in arrivals(waits, lambda now, _: pace.wait(now), iter([1.0] * len(waits))):
        pace.take(when)
        passed.append((when, cost))
    assert most_in(passed, 60 - 1e-6) <= max(1.1 * rpm, math.ceil(rpm))
    assert most_in(passed, 1 - 1e-6) <= max(1.1 * rpm / 60, math.ceil(rpm / 60))


def test_nobody_waits_longer_than_the_pace_asks() -> None:
    pace = Pace(600)
    passed = []
    for when, _ in arrivals([0.0] * 601, lambda now, _: pace.wait(now), iter([1.0] * 601)):
        pace.take(when)
        passed.append(when)
    assert passed[-1] == pytest.approx(60, abs=0.2)


def test_a_late_timer_costs_nothing() -> None:
    pace, now, count = Pace(60_000), 0.0, 0
    while now < 10:
        while pace.wait(now) <= 0:
            pace.take(now)
            count += 1
        now += 0.03  # the loop comes round this seldom
    assert count == pytest.approx(10_000, rel=0.02)


@given(COSTLY, st.floats(100, 100_000))
@settings(max_examples=60, deadline=None)
def test_tokens_stay_below_the_limit_in_any_minute(calls: list[tuple[float, float, float]], tpm: float) -> None:
    window, pace = Window(tpm), Pace(tpm)
    passed: list[tuple[float, float]] = []
    costs = iter(cost for _, cost, _ in calls)
    for when, cost in arrivals(
        [gap for gap, _, _ in calls], lambda now, cost: max(pace.wait(now), window.wait(now, cost)), costs
    ):
        pace.take(when, cost)
        window.take(when, cost)
        passed.append((when, cost))
    alone = max(cost for _, cost in passed)
    assert most_in(passed, 60 - 1e-6) <= max(tpm, alone) + 1e-6
    assert most_in(passed, 1 - 1e-6) <= 1.1 * tpm / 60 + alone + 1e-6


@given(COSTLY)
@settings(max_examples=60, deadline=None)
def test_settled_tokens_stay_below_the_limit(calls: list[tuple[float, float, float]]) -> None:
    window, limit = Window(20_000.0), 20_000.0
    counted: list[tuple[float, float]] = []
    shares = iter(share for _, _, share in calls)
    for when, cost in arrivals([gap for gap, _, _ in calls], window.wait, iter(cost for _, cost, _ in calls)):
        assert most_in([*counted, (when, cost)], 60 - 1e-6) <= limit + 1e-6
        window.take(when, cost)
        actual = cost * next(shares)
        window.settle(when, cost, when, actual)
        counted.append((when, actual))
        if most_in(counted, 60 - 1e-6) > limit:
            break  # what nobody could know beforehand: from here on the next assertion would blame the wrong one


def test_the_window_forgets_and_lets_one_large_call_through_alone() -> None:
    window = Window(100)
    assert window.wait(0.0, 1000) <= 0
    window.take(0.5, 1000)
    assert window.wait(1.0, 1) == pytest.approx(60)
    assert window.wait(61.5, 1) <= 0
    window.take(61.5, 40)
    window.take(70.2, 40)
    assert window.wait(71.0, 50) == pytest.approx(62 + 60 - 71)
    window.settle(61.5, 40, 71.0, 5)
    assert window.wait(71.0, 50) <= 0
    window.settle(70.2, 40, 72.0, 95)
    assert window.wait(72.0, 1) > 0


# ----------------------------------------------------------------------------------------------------------- estimates


def test_an_estimate_counts_input_and_the_most_of_output() -> None:
    def asked(**params: Any) -> int:
        return tokens_asked(Request("chat_completions", {"model": "m", **params}))

    text = [{"role": "user", "content": "word " * 800}]
    assert asked(messages=text, max_tokens=50) == pytest.approx(1050, abs=5)
    assert asked(messages=text) == pytest.approx(1256, abs=5)
    assert asked(messages=[{"content": [{"image_url": {"url": "data:image/png;base64," + "A" * 9000}}]}]) < 1300
    content = Request(
        "generate_content",
        {"model": "m", "contents": ["Hi", Part.from_bytes(b"x" * 50_000, "image/png")], "config": {"max_output_tokens": 9}},
    )
    assert 1000 < tokens_asked(content) < 1100


# ----------------------------------------------------------------------------------------------------------- the waiter


async def entered(limiter: Limiter, turn: Turn, *, again: bool = False) -> None:
    if again or not limiter.enter_now(turn):
        await limiter.enter(turn, again=again)


async def test_first_come_first_served_and_a_retry_before_all() -> None:
    limiter = Limiter(BatchLimits(concurrency=1))
    order: list[str] = []
    held = limiter.turn(ASK)
    assert limiter.enter_now(held)
    assert not limiter.free

    async def one(name: str, *, again: bool = False) -> None:
        turn = limiter.turn(ASK)
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
    turn, other = limiter.turn(ASK), limiter.turn(ASK)
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
    turn = limiter.turn(ASK)
    assert limiter.enter_now(turn)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await turn.between(failure, 5.0)
    await turn.between(failure, 5.0)
    assert slept == [waited, 5.0]
    assert turn.attempts == 3


@pytest.mark.parametrize("moment", ["waiting", "let through", "between"])
async def test_a_cancelled_wait_takes_nothing(moment: str) -> None:
    limiter = Limiter(BatchLimits(concurrency=1, tpm=1e9))
    first, second, third = (limiter.turn(ASK) for _ in range(3))
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
        turn = limiter.turn(ASK)
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
    turns = [limiter.turn(ASK) for _ in range(20)]
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
        turn = limiter.turn(ASK)
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
        turn = limiter.turn(request)
        while limiter.enter_now(turn):
            sent += 1
            used += 100
            limiter.leave(turn, None, CompletionUsage(total_tokens=100))  # a tenth of what it asked for
            turn = limiter.turn(request)
        now += 0.01
    assert 0.9 * 300_000 < used < 1.02 * 300_000


async def test_a_refused_call_gives_its_tokens_back() -> None:
    now = 0.0
    limiter = Limiter(BatchLimits(concurrency=5, tpm=1000), clock=lambda: now)
    request = Request("responses", {"model": "m", "input": "x", "max_output_tokens": 900})
    turn = limiter.turn(request)
    assert limiter.enter_now(turn)
    limiter.leave(turn, NO)
    now = 55.0  # its pace is over, its minute is not
    assert limiter.enter_now(limiter.turn(request))


async def test_a_clients_limiter_knows_its_connections_and_its_pauses() -> None:
    async with AsyncDGrid("k", limits=Limits(max_connections=3), retries=Retries(max_attempts=1)) as client:
        limiter = limiter_of(client, BatchLimits(concurrency=10))
        assert limiter.limit == 3
        turn = limiter.turn(ASK)
        client._cool_down.ask(30)
        assert not limiter.enter_now(turn)
