"""How fast a map may go: concurrency that is found by trying, requests and tokens a minute, and the gateway's own pauses.

The policies are pure: time comes in as an argument, in seconds of a monotonic clock. `Limiter` alone waits; it sends
nothing. The pause that a gateway asks for is kept by the client, and only read here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs

from dgrid_async.batch.outcome import tokens_of
from dgrid_async.errors import APIStatusError, ConfigError, DGridError
from dgrid_async.request import Request

__all__ = ["BatchLimits", "Concurrency", "Limiter", "Pace", "Turn", "Window", "refuses", "tokens_asked"]

_REFUSALS = frozenset({429, 503, 529})
_MINUTE = 60.0


def _whole(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{attribute.name}={value!r}: give an integer of at least 1")


def _whole_or_none(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        _whole(instance, attribute, value)


def _rate_or_none(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigError(f"{attribute.name}={value!r}: give a number above 0, or None for no limit")


@attrs.frozen(kw_only=True)
class BatchLimits:
    """How fast a map or a batch may go.

    Attributes:
        concurrency: Calls at one time; None finds out how many the gateway takes: doubled, from 32 on half as many
            again, each round trip until its first refusal (429, 503 or 529), then one more a round trip, and less behind
            each with a refusal.
        max_concurrency: The most that it may find. 256: a quarter of the connections that a client has by default.
        rpm: Requests a minute, every attempt counted; spaced evenly. None: no bound.
        tpm: Tokens a minute, input and output; estimated before a call, settled from its usage. One call that is larger
            than the bound is sent alone. None: no bound.
    """

    concurrency: int | None = attrs.field(default=None, validator=_whole_or_none)
    max_concurrency: int = attrs.field(default=256, validator=_whole)
    rpm: float | None = attrs.field(default=None, validator=_rate_or_none)
    tpm: float | None = attrs.field(default=None, validator=_rate_or_none)


# ------------------------------------------------------------------------------------------------------------- policies

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
    """

    __slots__ = (
        "_answers",
        "_floor",
        "_pressed",
        "_pressed_before",
        "_slow_start",
        "ceiling",
        "in_flight",
        "limit",
        "most",
        "round",
    )

    def __init__(self, most: int, *, fixed: bool = False) -> None:
        self.most = most
        # The mutable state: attempts under way and how many may be; the number that was refused last; which round of
        # cuts this is and how deep it may go; whether no refusal has come yet; and by round trips, of so many answers as may
        # be under way: answers in this one, and whether there were ever as many under way as may be, in it and the last.
        self.in_flight = 0
        self.limit = float(most if fixed else min(_FIRST, most))
        self.ceiling = math.inf
        self.round = -1 if fixed else 0
        self._floor = 1.0
        self._slow_start = True
        self._answers = 0
        self._pressed = self._pressed_before = False

    @property
    def full(self) -> bool:
        """True while no further attempt may begin."""
        return self.in_flight + 1 > self.limit

    def begin(self) -> tuple[int, int]:
        """Count an attempt in; return its round and how many are under way with it."""
        self.in_flight += 1
        if self.in_flight + 1 > self.limit:
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
        self._seconds = _MINUTE / per_minute * (1 + 1e-9)
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
        oldest = math.floor(now - _MINUTE)  # of this second a part may be younger than a minute
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
        return leaving + 1 + _MINUTE - now

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


# ------------------------------------------------------------------------------------------------------------ estimates

# English has about four characters a token; JSON, code and other scripts have fewer, and the ratio is learnt anyway.
_CHARACTERS = 4
# A text this long without a space is a medium in base64: what vendors count for a picture is about this many tokens.
_LONG, _MEDIUM = 4096, 1000
# An answer without a bound of its own.
_ANSWER = 256
_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")


def tokens_asked(request: Request) -> int:
    """Return an estimate of the tokens, input and the most of output, that a request is for."""
    characters, media = 0, 0
    rest: list[Any] = [request.params]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            if len(item) > _LONG and " " not in item:
                media += 1
            else:
                characters += len(item)
        elif isinstance(item, (bytes, bytearray, memoryview)):
            media += 1
        elif isinstance(item, Mapping):
            rest.extend(item.values())
        elif isinstance(item, (list, tuple)):
            rest.extend(item)
        elif attrs.has(type(item)):
            rest.extend(getattr(item, field.name, None) for field in attrs.fields(type(item)))
    config = [request.params.get(name) for name in ("config", "generation_config", "generationConfig")]
    places = [request.params, *(place for place in config if isinstance(place, Mapping))]
    bounds = [place[name] for place in places for name in _BOUNDS if isinstance(place.get(name), int)]
    return max(1, characters // _CHARACTERS + media * _MEDIUM + max(bounds, default=_ANSWER))


# ------------------------------------------------------------------------------------------------------------ the waiter

# Behind a pause, calls begin again one by one, so many seconds apart at most, and all of them within a second.
_APART, _RESTART = 0.01, 1.0
# Of a first backoff behind a refusal this share is waited: the cut has made room already, and the last calls of a map have
# nobody to wait for. Who is refused again waits as long as anyone.
_SOONER = 0.2
# How much the newest settled call counts for the ratio of actual to estimated tokens.
_NEWEST = 0.1
# One odd call must not make the ratio absurd.
_LEAST_RATIO, _MOST_RATIO = 0.01, 100.0


def refuses(failure: DGridError | None) -> bool:
    """Return whether a failure says that the gateway has too much to do."""
    return isinstance(failure, APIStatusError) and failure.status in _REFUSALS


class Turn:
    """One request's way through the limits: whoever sends it tells here what happens to its attempts.

    Attributes:
        attempts: Attempts made so far; whoever could not send at all sets 0.
    """

    __slots__ = ("_among", "_at", "_cost", "_estimate", "_held", "_lend", "_limiter", "_round", "attempts")

    def __init__(self, limiter: Limiter, lend: Callable[[], None] | None) -> None:
        self._limiter = limiter
        self._lend = lend
        # The mutable state: of the attempt under way its round and number, when it was let through and for how many
        # tokens, and whether it holds a place.
        self.attempts = 1
        self._estimate = 0
        self._held = False
        self._round = self._among = 0
        self._at = self._cost = 0.0

    async def between(self, failure: DGridError, seconds: float) -> None:
        """Wait for the next attempt after one that failed; in the meantime another request has its place.

        Args:
            failure: What ended the attempt.
            seconds: How long, beside what the limits ask; less behind a first refusal that names no time.

        Cancel: no place is held.
        """
        self._limiter.leave(self, failure)
        if self._lend is not None:
            self._lend()
        if self.attempts == 1 and isinstance(failure, APIStatusError) and refuses(failure) and failure.retry_after is None:
            seconds *= _SOONER
        if seconds > 0:
            await asyncio.sleep(seconds)
        await self._limiter.enter(self, again=True)
        self.attempts += 1


class Limiter:
    """Lets attempts through one by one, first come, first served; an attempt that is made again comes first.

    Args:
        limits: The limits.
        pause: Gives the seconds left of the pause that the gateway asked for; 0 or less: there is none.
        most: A bound on concurrency besides, such as the number of connections.
        clock: Gives the time, in seconds; monotonic.
    """

    def __init__(
        self,
        limits: BatchLimits,
        *,
        pause: Callable[[], float] = lambda: 0.0,
        most: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        fixed = limits.concurrency is not None
        bound = limits.concurrency or limits.max_concurrency
        self.concurrency = Concurrency(bound if most is None else min(bound, most), fixed=fixed)
        self._clock = clock
        self._pause = pause
        self._requests = None if limits.rpm is None else Pace(limits.rpm)
        self._tokens = None if limits.tpm is None else Pace(limits.tpm)
        self._window = None if limits.tpm is None else Window(limits.tpm)
        # The mutable state: who waits, in turn, and the timer for the first of them; actual over estimated tokens, from so
        # many calls; when the last pause ends, and when the last attempt was let through.
        self._queue: deque[tuple[asyncio.Future[None], Turn]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ratio, self._settled = 1.0, 0
        self._paused_until = -math.inf
        self._last = -math.inf

    @property
    def limit(self) -> int:
        """How many attempts may be under way now."""
        return int(self.concurrency.limit)

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self.concurrency.in_flight

    @property
    def free(self) -> bool:
        """True where one more could begin and nobody waits to."""
        return not self._queue and not self.concurrency.full

    def turn(self, request: Request, lend: Callable[[], None] | None = None) -> Turn:
        """Return a request's turn, not begun.

        Args:
            request: The request.
            lend: Called when its place is free for another while it waits for its next attempt.
        """
        turn = Turn(self, lend)
        if self._window is not None:
            turn._estimate = tokens_asked(request)  # noqa: SLF001 -- the other half of this class
        return turn

    def enter_now(self, turn: Turn) -> bool:
        """Let an attempt through if that can be without waiting."""
        if self._queue:
            return False
        now = self._clock()
        if self._wait(turn, now) > 0:
            return False
        self._admit(turn, now)
        return True

    async def enter(self, turn: Turn, *, again: bool = False) -> None:
        """Wait until an attempt may begin.

        Cancel: nothing is taken.
        """
        passed = asyncio.get_running_loop().create_future()
        place = (passed, turn)
        if again:
            self._queue.appendleft(place)
        else:
            self._queue.append(place)
        self._pump()
        try:
            await passed
        except asyncio.CancelledError:
            if not passed.cancelled():  # let through at the very moment
                self.leave(turn, None, sent=False)
            else:
                with suppress(ValueError):  # it may have been found there and thrown away
                    self._queue.remove(place)
                self._pump()
            raise

    def leave(self, turn: Turn, failure: DGridError | None, usage: Any = None, *, sent: bool = True) -> None:
        """Take in how an attempt ended and let the next through; a second call for the same attempt does nothing.

        Args:
            turn: Whose attempt.
            failure: What ended it, or None for an answer.
            usage: What it used, in the words of any format, or None where that is not known.
            sent: False for one that never reached the gateway.
        """
        if not turn._held:  # noqa: SLF001 -- the other half of this class
            return
        turn._held = False  # noqa: SLF001
        concurrency = self.concurrency
        if refuses(failure):
            concurrency.refused(turn._round, turn._among)  # noqa: SLF001
        elif failure is None and sent:
            concurrency.answered(turn._round, turn._among)  # noqa: SLF001
        concurrency.end()
        if self._window is not None:
            # What was refused was not counted.
            tokens = 0 if not sent or isinstance(failure, APIStatusError) else tokens_of(usage)
            self._settle(self._window, turn, tokens, learn=failure is None and sent)
        if self._queue:
            self._pump()

    def _settle(self, window: Window, turn: Turn, tokens: int | None, *, learn: bool) -> None:
        if tokens is None:
            return
        window.settle(turn._at, turn._cost, self._clock(), tokens)  # noqa: SLF001 -- the other half of this class
        if learn:
            self._settled += 1
            weight = max(_NEWEST, 1 / (self._settled + 1))
            ratio = self._ratio + weight * (tokens / turn._estimate - self._ratio)  # noqa: SLF001
            self._ratio = min(max(ratio, _LEAST_RATIO), _MOST_RATIO)

    def _wait(self, turn: Turn, now: float) -> float:
        """Return the seconds until a turn may begin: 0 or less for now, infinity for when another ends."""
        concurrency = self.concurrency
        if concurrency.in_flight + 1 > concurrency.limit:
            return math.inf
        if (left := self._pause()) > 0:
            self._paused_until = now + left
            return left
        wait = 0.0
        if now < self._paused_until + _RESTART:
            wait = self._last + min(_APART, _RESTART / concurrency.limit) - now
        if self._requests is not None:
            wait = max(wait, self._requests.wait(now))
        if self._tokens is not None and self._window is not None:
            wait = max(wait, self._tokens.wait(now), self._window.wait(now, turn._estimate * self._ratio))  # noqa: SLF001
        return wait

    def _admit(self, turn: Turn, now: float) -> None:
        turn._round, turn._among = self.concurrency.begin()  # noqa: SLF001 -- the other half of this class
        turn._held = True  # noqa: SLF001
        self._last = now
        if self._requests is not None:
            self._requests.take(now)
        if self._tokens is not None and self._window is not None:
            turn._at, turn._cost = now, turn._estimate * self._ratio  # noqa: SLF001
            self._tokens.take(now, turn._cost)  # noqa: SLF001
            self._window.take(now, turn._cost)  # noqa: SLF001

    def _pump(self) -> None:
        """Let through whoever may begin, and set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        queue = self._queue
        while queue:
            passed, turn = queue[0]
            if passed.cancelled():
                queue.popleft()
                continue
            now = self._clock()
            wait = self._wait(turn, now)
            if wait > 0:
                if wait < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._pump)
                return
            queue.popleft()
            self._admit(turn, now)
            passed.set_result(None)
