"""The policies: what they let through under any pattern of arrivals."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async.batch.pace import Concurrency, Pace, Window

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
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
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
