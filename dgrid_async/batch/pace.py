"""How fast calls may be made, as policies: concurrency that is found by trying, and what may pass in a minute.

They are pure: time comes in as an argument, in seconds of a monotonic clock. Nothing here waits, and nothing knows a request.
"""

from __future__ import annotations

import math

__all__ = ["MINUTE", "Concurrency", "Pace", "Window"]

MINUTE = 60.0

# A gateway that takes fewer is found out by the first round trip, and one that takes many a hundred is reached in seven.
_FIRST = 4
# Up to here a round trip doubles the number, then it adds half: what the last step was too far is refused, all of it where the
# refusals are read behind the answers, and from here on that would be more than one call in a hundred of some thousand.
_DOUBLED = 32
# What is left of the number at which a refusal came. TCP halves because a queue must drain; a refusal leaves no queue.
_CUT = 0.9
# The most that one round trip takes away, however few calls were under way when one of them was refused.
_DEEPEST_CUT = 0.5
# Below the number that was refused last, a rise of one takes this many round trips, and this many answers at least: each
# step beyond costs a refusal, and of a gateway that takes two at a time every third call would be one.
_PATIENCE, _MOST_REFUSED = 10, 200


class Concurrency:
    """How many attempts may be under way: slow start, additive rise, multiplicative cut.

    Args:
        most: Where the rise ends.
        fixed: Keep to `most`, whatever is refused.

    Attributes:
        in_flight: How many are.
        places: How many may be: `limit`, its fraction left out. What is asked for every call is asked of whole numbers.
    """

    __slots__ = (
        "_answers",
        "_floor",
        "_limit",
        "_pressed",
        "_pressed_before",
        "_slow_start",
        "ceiling",
        "in_flight",
        "most",
        "places",
        "round",
    )

    def __init__(self, most: int, *, fixed: bool = False) -> None:
        self.most = most
        # The mutable state: attempts under way and how many may be; the number that was refused last; which round of
        # cuts this is and how deep it may go; whether no refusal has come yet; and by round trips, of so many answers as may
        # be under way: answers in this one, and whether there were ever as many under way as may be, in it and the last.
        self.in_flight = 0
        self.places = 0
        self.limit = float(most if fixed else min(_FIRST, most))
        self.ceiling = math.inf
        self.round = -1 if fixed else 0
        self._floor = 1.0
        self._slow_start = True
        self._answers = 0
        self._pressed = self._pressed_before = False

    @property
    def limit(self) -> float:
        """How many may be under way, with the part of one that is not reached yet."""
        return self._limit

    @limit.setter
    def limit(self, limit: float) -> None:
        self._limit = limit
        self.places = int(limit)

    @property
    def full(self) -> bool:
        """True while no further attempt may begin."""
        return self.in_flight >= self.places

    def begin(self) -> tuple[int, int]:
        """Count an attempt in; return its round and how many are under way with it."""
        self.in_flight += 1
        if self.in_flight >= self.places:
            self._pressed = True
        return self.round, self.in_flight

    def end(self) -> None:
        """Count an attempt out."""
        self.in_flight -= 1

    def answered(self, of: int, among: int) -> None:
        """Take in that an attempt was not refused.

        Args:
            of: The round it began in.
            among: How many were under way when it began, itself included.
        """
        if of != self.round or of < 0:
            return  # it says what was true before the cut
        if among >= self.ceiling:
            self.ceiling = math.inf
        if self._pressed or self._pressed_before:  # a number that nobody needed proves nothing
            if self._slow_start:
                step = 1.0 if self.limit < _DOUBLED else 0.5
            elif self.limit < self.ceiling - 1:
                step = 1 / self.limit
            else:
                step = 1 / max(self.limit * _PATIENCE, _MOST_REFUSED)
            self.limit = min(self.limit + step, float(self.most))
        self._answers += 1
        if self._answers >= self.limit:
            self._answers, self._pressed_before, self._pressed = 0, self._pressed, self.full

    def refused(self, of: int, among: int) -> None:
        """Take in that an attempt was refused: one cut for all that were under way together.

        Args:
            of: The round it began in.
            among: How many were under way when it began, itself included.
        """
        if of < 0 or of < self.round - 1:
            return
        if of == self.round:
            self.round += 1
            self._slow_start = False
            self._floor = max(1.0, self.limit * _DEEPEST_CUT)
            self.ceiling = among
            self._answers, self._pressed, self._pressed_before = 0, False, False
        # Those refused in the same round tell how low it was; the cut goes there, and no deeper than its floor.
        self.ceiling = min(self.ceiling, among)
        self.limit = max(self._floor, min(self.limit, among * _CUT, among - 1.0))


class Pace:
    """Evenly spaced admissions: the generic cell rate algorithm.

    In any stretch of `s` seconds no more than `(s + slack) * rate` and one admission more are let through, `slack` being
    what a late timer may catch up: a tenth of a second less one spacing, so that no second has more than 1.1 of its share.

    Args:
        per_minute: The rate, in whatever unit costs are given.

    Source: ITU-T I.371, annex A (the virtual scheduling algorithm).
    """

    __slots__ = ("_next", "_seconds", "_slack")

    def __init__(self, per_minute: float) -> None:
        # A billionth more, so that sums of roundings never let one through too many.
        self._seconds = MINUTE / per_minute * (1 + 1e-9)
        self._slack = max(0.0, 0.1 - self._seconds)
        # The mutable state: when the next admission would be due if all came as early as they may.
        self._next = -math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until the next admission; 0 or less: now."""
        return self._next - self._slack - now

    def take(self, now: float, cost: float = 1.0) -> None:
        """Let one through."""
        self._next = max(self._next, now) + cost * self._seconds


class Window:
    """What was let through in the last minute, never above the limit; one alone may be, however large.

    It remembers by the second, and forgets a second when all of it is a minute ago.

    Args:
        limit: The most in any stretch of a minute.
    """

    __slots__ = ("_seconds", "_total", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        # The mutable state: costs by the second, oldest first, and their sum.
        self._seconds: dict[int, float] = {}
        self._total = 0.0

    def wait(self, now: float, cost: float) -> float:
        """Return the seconds until a cost fits; 0 or less: now."""
        seconds = self._seconds
        oldest = math.floor(now - MINUTE)  # of this second a part may be younger than a minute
        while seconds and (first := next(iter(seconds))) < oldest:
            self._total -= seconds.pop(first)
        if not seconds:
            self._total = 0.0  # what roundings left
            return 0.0
        excess = self._total + cost - self.limit
        if excess <= 0:
            return 0.0
        leaving = 0
        for second, passed in seconds.items():
            leaving = second
            excess -= passed
            if excess <= 0:
                break
        return leaving + 1 + MINUTE - now

    def take(self, now: float, cost: float) -> None:
        """Let one through."""
        second = math.floor(now)
        self._seconds[second] = self._seconds.get(second, 0.0) + cost
        self._total += cost

    def settle(self, taken: float, cost: float, now: float, actual: float) -> None:
        """Put what it was in the place of what it was taken for.

        Args:
            taken: When it was let through.
            cost: What it was taken for.
            now: The present; what it was more counts from here, for nobody knows when the gateway counts it.
            actual: What it was.
        """
        if actual > cost:
            self.take(now, actual - cost)
        elif (second := math.floor(taken)) in self._seconds:
            self._seconds[second] -= cost - actual
            self._total -= cost - actual
