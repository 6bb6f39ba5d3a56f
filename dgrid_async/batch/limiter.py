"""Who may call when: one queue for all calls of a map, by the policies of `pace` and the pauses that the gateway asks for.

`Limiter` alone waits; it sends nothing. The pause that a gateway asks for is kept by the client, and only read here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import attrs

from dgrid_async.batch.estimate import tokens_asked
from dgrid_async.batch.outcome import tokens_of
from dgrid_async.batch.pace import Concurrency, Pace, Window
from dgrid_async.config import whole, whole_or_none
from dgrid_async.errors import APIStatusError, ConfigError, DGridError
from dgrid_async.request import Request

__all__ = ["BatchLimits", "Limiter", "Turn", "refuses"]

_REFUSALS = frozenset({429, 503, 529})


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

    concurrency: int | None = attrs.field(default=None, validator=whole_or_none)
    max_concurrency: int = attrs.field(default=256, validator=whole)
    rpm: float | None = attrs.field(default=None, validator=_rate_or_none)
    tpm: float | None = attrs.field(default=None, validator=_rate_or_none)


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
    """A request's way through the limits: whoever sends it tells here what happens to its attempts.

    One serves many requests, one after the other.

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

    def begin(self, request: Request) -> Self:
        """Stand for this request from now on, and return itself; the one before has ended."""
        self.attempts = 1
        if self._limiter.counts_tokens:
            self._estimate = tokens_asked(request)
        return self

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
        self.counts_tokens = self._window is not None
        """True where `leave` wants to know what a call used."""
        # The mutable state: who waits, in turn, and the timer for the first of them; actual over estimated tokens, from so
        # many calls; when the restart behind the last pause ends, and when the last attempt was let through.
        self._queue: deque[tuple[asyncio.Future[None], Turn]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ratio, self._settled = 1.0, 0
        self._restarted = -math.inf
        self._last = -math.inf

    @property
    def limit(self) -> int:
        """How many attempts may be under way now."""
        return self.concurrency.places

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self.concurrency.in_flight

    @property
    def free(self) -> bool:
        """True where one more could begin and nobody waits to."""
        return not (self.concurrency.full or self._queue)

    def turn(self, lend: Callable[[], None] | None = None) -> Turn:
        """Return a turn that stands for no request yet.

        Args:
            lend: Called when a request's place is free for another while it waits for its next attempt.
        """
        return Turn(self, lend)

    def enter_now(self, turn: Turn) -> bool:
        """Let an attempt through if that can be without waiting."""
        if self._queue:
            return False
        if self._wait(turn, now := self._clock()) > 0.0:
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
        if failure is None:
            if sent:
                concurrency.answered(turn._round, turn._among)  # noqa: SLF001
        elif refuses(failure):
            concurrency.refused(turn._round, turn._among)  # noqa: SLF001
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
        if concurrency.in_flight >= concurrency.places:
            return math.inf
        if (left := self._pause()) > 0.0:
            self._restarted = now + left + _RESTART
            return left
        wait = 0.0
        if now < self._restarted:
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
