"""Many requests, some at a time: the engine that pulls them, sends them, and hands out what became of each.

Rules
1. A fixed set of tasks pulls from one iterator; there is no task, queue or lock per request.
2. Nothing is pulled that is not about to be sent, but for those that wait for their turn: never more than the concurrency and
   the window ahead of what was handed out.
3. A call that fails is a value; anything else that goes wrong (the input, a callback) ends the map with that error.
4. The tasks do not know the iterator: dropping it ends them.

It knows nothing of files, and of limits only that it has to ask.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from dgrid_async.batch.limiter import BatchLimits, Limiter, Turn
from dgrid_async.batch.outcome import Outcome
from dgrid_async.body import reply_of
from dgrid_async.config import check_whole
from dgrid_async.errors import ClientClosedError, ConfigError, DGridError
from dgrid_async.request import Request, endpoint_named
from dgrid_async.stream import EventStream

if TYPE_CHECKING:
    from dgrid_async.client import AsyncDGrid

__all__ = ["Each", "Outcomes", "Requests", "Send", "Some", "fan_out", "limiter_of", "sender"]


class Some:
    """Requests that an async iterable has at hand together: to take one of them costs no turn of its coroutine.

    Args:
        requests: Pulled from lazily.
    """

    __slots__ = ("requests",)

    def __init__(self, requests: Iterator[Request]) -> None:
        self.requests = requests


Requests: TypeAlias = Iterable[Request] | AsyncIterable[Request | Some]
Each: TypeAlias = Callable[[Request, Any], Awaitable[None] | None]
Send: TypeAlias = Callable[[Request, Turn], Awaitable[Any]]

# Outcomes that may wait to be taken, unless the caller says otherwise: enough that tasks are not woken for each one.
_WINDOW = 128
_NONE = object()


def fan_out(requests: Requests, send: Send, *, limiter: Limiter, ordered: bool = False, window: int | None = None) -> Outcomes:
    """Return the outcomes of sending requests, some at a time; nothing is pulled before the first is asked for.

    Args:
        requests: Any iterable or async iterable; pulled from lazily, by one task at a time. An async one may give `Some`.
        send: Coroutine function: makes the call and returns its reply, or raises a `DGridError`. It tells the turn that it
            is given what happens between attempts; see `Turn`.
        limiter: Who may begin when.
        ordered: Hand out outcomes in the order of the requests, not as they come.
        window: How many may wait to be handed out, beside those under way; None is 128.

    Raises:
        ConfigError: `requests` is no iterable, or `window` no number.
    """
    return Outcomes(_Fan(_source_of(requests), send, limiter, ordered=ordered, window=_checked(window)))


def _checked(window: Any) -> int:
    if window is None:
        return _WINDOW
    check_whole("window", window)
    return int(window)


def _source_of(requests: Any) -> AsyncIterator[Any] | Iterator[Any]:
    if isinstance(requests, AsyncIterable):
        return aiter(requests)
    if isinstance(requests, Iterable) and not isinstance(requests, (str, bytes)):
        return iter(requests)
    raise ConfigError(f"requests of type {type(requests).__name__}: give an iterable or an async iterable of requests")


class Outcomes:
    """What became of the requests of a map: an async iterator of `Outcome`.

    Leaving the loop drops it, and dropping it cancels what is under way. Use it under `async with` to have that done by the
    end of the block even where something else still holds it.

    Raises from iterating:
        Exception: What the iterable of requests or a callback raised, after the outcomes that were there before it; what
            was under way has been cancelled.

    Cancel: a cancelled read loses nothing; read on, or leave.
    """

    __slots__ = ("__weakref__", "_fan")

    def __init__(self, fan: _Fan) -> None:
        self._fan = fan

    async def __aenter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel what is under way and wait until it has ended."""
        await self.close()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome.

        Raises:
            StopAsyncIteration: There are no more requests.
            Exception: As the class says.

        Cancel: nothing is lost.
        """
        fan = self._fan
        while True:
            outcome = fan.take()
            if outcome is not None:
                return outcome
            if fan.ended:
                if fan.error is not None:
                    raise fan.error
                raise StopAsyncIteration
            await fan.wait()

    async def hand_to(self, take: Callable[[Outcome], object], *, see: Callable[[Outcome], object] | None = None) -> None:
        """Hand every outcome over as it comes, in the task that made it, before its call gives its place up.

        This takes the place of the loop over outcomes: nothing waits to be taken, so tasks are never held up by the reader.

        Args:
            take: What they are handed to; an error of its own ends the map.
            see: Told of each before that, and at once even where the outcome waits for its turn; so is an error of its own.

        Raises:
            Exception: As the class says.

        Cancel: what is under way goes on until `close`.
        """
        fan = self._fan
        fan.sink, fan.see = take, see
        while not fan.ended:
            await fan.wait()
        if fan.error is not None:
            raise fan.error

    async def close(self) -> None:
        """Cancel what is under way and wait until it has ended; the outcomes not taken yet are dropped. A second call is void.

        Cancel: what is under way ends all the same.
        """
        fan = self._fan
        fan.stop()
        fan.drop()
        if fan.tasks:
            await asyncio.wait(tuple(fan.tasks))

    def __del__(self) -> None:
        fan: _Fan | None = getattr(self, "_fan", None)
        if fan is not None and fan.tasks and fan.loop is not None:
            # The collector may run in any thread; with the loop closed, the tasks are gone.
            with suppress(RuntimeError):
                fan.loop.call_soon_threadsafe(fan.stop)


class _Fan:
    """What the tasks of one map share; it does not know who reads it."""

    def __init__(
        self, source: AsyncIterator[Any] | Iterator[Any], send: Send, limiter: Limiter, *, ordered: bool, window: int
    ) -> None:
        self._source = source if isinstance(source, AsyncIterator) else None
        self._send = send
        self._limiter = limiter
        self._ordered = ordered
        self._window = window
        # The mutable state: what can be pulled without waiting; the tasks and their loop; how many requests were pulled, done,
        # and handed out; the outcomes to be handed out, and in an ordered map those that are ahead of their turn; who waits
        # for one, and which tasks wait for room or for the input; whether one is in the input now; whether that has ended,
        # whether all is to end, and why.
        self._at_hand: Iterator[Any] = iter(()) if isinstance(source, AsyncIterator) else source
        self.loop: asyncio.AbstractEventLoop | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._pulled = self._done = self._handed = 0
        self._ready: deque[Outcome] = deque()
        self._early: dict[int, Outcome] = {}
        self._due = 0
        self._reader: asyncio.Future[None] | None = None
        self._crowd: deque[asyncio.Future[None]] = deque()
        self._pulling = False
        self._exhausted = False
        self._stopped = False
        self.error: BaseException | None = None
        # What takes the outcomes, if it is no loop, and what is told of each at once.
        self.sink: Callable[[Outcome], object] | None = None
        self.see: Callable[[Outcome], object] | None = None

    # ------------------------------------------------------------------------------------------------------- the reader

    @property
    def ended(self) -> bool:
        """True once nothing more can come."""
        return self._over and not self.tasks

    def take(self) -> Outcome | None:
        """Return the next outcome, if there is one."""
        if not self._ready:
            return None
        self._handed += 1
        if self._crowd:
            self._make_room()
        return self._ready.popleft()

    def drop(self) -> None:
        """Forget the outcomes that were not taken."""
        self._ready.clear()
        self._early.clear()

    async def wait(self) -> None:
        """Wait until there may be an outcome, or an end."""
        if self._reader is not None:
            raise ConfigError("two tasks read one map at the same time: let one read and hand the outcomes on")
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
            self._start()
        self._reader = self.loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def stop(self) -> None:
        """Cancel all tasks, for good."""
        self._stopped = True
        for task in self.tasks:
            task.cancel()

    # -------------------------------------------------------------------------------------------------------- the tasks

    def _start(self) -> None:
        assert self.loop is not None  # noqa: S101 -- the reader that waits has set it
        task = self.loop.create_task(self._work())
        self.tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error: BaseException | None
        if task.cancelled():
            error = ClientClosedError("a task of the map was cancelled, and not by the map")
        else:
            error = task.exception()
        if error is not None and not self._stopped:
            self.error = error
            self.stop()
        if not self.tasks:
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    @property
    def _over(self) -> bool:
        return self._exhausted or self._stopped

    def _make_room(self) -> None:
        """Let one task look whether it may pull."""
        while self._crowd and not self._pulling:
            waiter = self._crowd.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _let_all_look(self) -> None:
        for waiter in self._crowd:
            if not waiter.done():
                waiter.set_result(None)
        self._crowd.clear()

    async def _work(self) -> None:
        limiter, send, window = self._limiter, self._send, self._window
        concurrency, turn = limiter.concurrency, limiter.turn(self._grow)
        while not (self._exhausted or self._stopped):
            if self._pulling or self._pulled - self._handed >= concurrency.places + window:
                waiter = asyncio.get_running_loop().create_future()
                self._crowd.append(waiter)
                await waiter
                continue
            request: Any = next(self._at_hand, _NONE)  # whatever the caller has in there
            if request is _NONE:
                if self._source is None:
                    break
                # No lock: its fairness would make each task wait a round of the loop for the next, where any will do.
                self._pulling = True
                try:
                    request = await anext(self._source)
                except StopAsyncIteration:
                    break
                finally:
                    self._pulling = False
                    if self._crowd:
                        self._make_room()
                if type(request) is Some:
                    self._at_hand = request.requests
                    self._let_all_look()
                    continue
            if not isinstance(request, Request):
                raise TypeError(f"a {type(request).__name__} among the requests: make them with client.messages.request(...)")
            index = self._pulled
            self._pulled += 1
            turn.begin(request)
            if not limiter.enter_now(turn):
                await limiter.enter(turn)
            # Another task, where one more call could begin and none is about to pull it.
            if len(self.tasks) == self._pulled - self._done:
                self._grow()
            reply, error = None, None
            began = monotonic()
            try:
                reply = await send(request, turn)
            except DGridError as failure:
                # Its frames would keep all that the call had in hand for as long as the outcome lives.
                error = failure.with_traceback(None)
            except BaseException:
                limiter.leave(turn, None, sent=False)
                raise
            outcome = Outcome(index, request, reply, error, turn.attempts, monotonic() - began)
            self._deliver(outcome)
            limiter.leave(turn, error, outcome.usage if limiter.counts_tokens else None)
            del request, reply, error, outcome  # a task that waits must not keep them
        self._exhausted = True
        self._let_all_look()

    def _grow(self) -> None:
        """Start another task where one more call could begin and no task is about to pull one."""
        if len(self.tasks) == self._pulled - self._done and self._limiter.free and not self._over:
            self._start()

    def _deliver(self, outcome: Outcome) -> None:
        self._done += 1
        if self.see is not None:
            self.see(outcome)
        sink = self._ready.append if self.sink is None else self.sink
        if not self._ordered:
            sink(outcome)
        else:
            self._early[outcome.index] = outcome
            while (due := self._early.pop(self._due, None)) is not None:
                self._due += 1
                sink(due)
        if self.sink is not None:
            self._handed = self._due if self._ordered else self._done
            if self._crowd:
                self._make_room()
        elif self._reader is not None and self._ready:
            self._wake()


# ----------------------------------------------------------------------------------------------------------- the client


def limiter_of(client: AsyncDGrid, limits: BatchLimits | None = None) -> Limiter:
    """Return the limiter of a client's calls: it keeps to the client's connections and to the pauses that it was asked for."""
    return Limiter(
        BatchLimits() if limits is None else limits,
        pause=client._cool_down.left,  # noqa: SLF001 -- the client's own other half
        most=client._pool.limits.max_connections,  # noqa: SLF001
    )


def sender(client: AsyncDGrid, *, each: Each | None = None, key: Callable[[Any], str] | None = None) -> Send:
    """Return what sends a request over a client: retries, streams and the options of the request included.

    Args:
        client: The client.
        each: Called with the request and each event of a streamed one; a coroutine function is awaited.
        key: Gives the Idempotency-Key of a request that has no options.
    """

    def send(request: Request, turn: Turn) -> Awaitable[Any]:
        endpoint = endpoint_named(request.endpoint)
        try:
            call = client.call(endpoint, f"{request.endpoint} request", dict(request.params), streamed=request.stream)
        except (TypeError, ConfigError) as error:
            turn.attempts = 0
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(str(error)) from error
        call.between = turn.between
        # What one of many calls waits for to leave is time in which a place is taken and nothing done.
        call.eager = True
        if key is not None:
            call.idempotency_key = key(request)  # as an option it would be checked as what a caller wrote is
        if request.stream:
            return _collected(EventStream(endpoint, call), request, each)
        return call.send(partial(reply_of, endpoint))

    return send


async def _collected(opening: EventStream[Any, Any], request: Request, each: Each | None) -> Any:
    async with opening as stream:
        if each is not None:
            async for event in stream:
                told = each(request, event)
                if inspect.isawaitable(told):
                    await told
        return await stream.final()
