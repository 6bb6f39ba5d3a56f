"""The stream that all four formats share: it waits for the bytes of a body and hands out its events, its texts and its reply.

Rules
1. One class with `__anext__`, no generator: there is nothing to close twice and no state that runs while nobody reads.
2. What arrived before a failure is handed out first; the failure comes after it, with the reply so far.
3. A stream ends where its format says so; the end of the body is not waited for.
4. One timer per stream watches all limits, and only the time in which a reader waits counts; an event costs it two
   assignments.
5. A failure before the first event is the retry policy's; after it, the caller's.

What the bytes mean is `body`'s; sending and connections are `transport`'s.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from dgrid_async.answer import Answer
from dgrid_async.body import Body
from dgrid_async.endpoint import Endpoint, Progress
from dgrid_async.errors import ClientClosedError, ConfigError, DGridError, Phase
from dgrid_async.translation import timed_out
from dgrid_async.transport import Call
from dgrid_async.wire import Reply

__all__ = ["EventStream", "TextStream"]

Event = TypeVar("Event")
ReplyT = TypeVar("ReplyT", bound=Reply)

# How long, in seconds, a gateway may stay silent after the answer is whole before the stream ends by itself: usage comes
# right behind the last word, and some gateways then hold the socket open without ever saying that they are done.
_GRACE = 1.0
# A read that took this many seconds has let other tasks run; without one, the loop is given up each _SLICE seconds, and no
# more than _SLICE_BYTES are decoded in one go: one read may hold a hundred thousand events. The objects of twice as many bytes
# are enough to start the collector again and again. The first slices are smaller, so that a stream's first event need not wait
# for those behind it.
_WAITED = 0.0005
_SLICE = 0.005
_SLICE_BYTES, _FIRST_BYTES = 8 * 1024, 512


class EventStream(Generic[Event, ReplyT]):
    """The events of one streamed call, as attrs objects, in the order they came.

    Use it under `async with`, which sends the request and closes the connection; or take it opened from
    `create(..., stream=True)` and close it. Iterate over it for events, or over `text_stream` for the answer's text, or await
    `final()` for the whole reply; these may be mixed, and go on where the other stopped.

    Raises from iterating:
        APIStatusError: The gateway sent an error inside the stream; `.status` is the error's own.
        StreamTruncatedError: The body ended before the answer was whole.
        StreamDecodeError, EventTooLargeError, UnexpectedResponseError: The body is not a stream of this format.
        APITimeoutError: A limit of `Timeouts` ran out.
        APIConnectionError: The connection was lost.
        ClientClosedError: The stream had been aborted or closed, or its client had.

    Each carries the reply so far as `.snapshot`.

    Cancel: a cancelled read loses nothing; read on, or leave the `async with`.
    """

    def __init__(self, endpoint: Endpoint[Event, ReplyT], call: Call) -> None:
        self._endpoint = endpoint
        self._call = call
        # The mutable state. Of the call: whether an answer is being waited for, the last answer with its body, whether its
        # connection is held, the last read and how much of it is decoded, what every further read raises, and whether there
        # is nothing more to read.
        self._opening = False
        self._answer: Answer | None = None
        self._body: Body[Event, ReplyT] | None = None
        self._attached = False
        self._backlog = b""
        self._decoded = 0
        self._error: DGridError | None = None
        self._ended = False
        # Of the clock: since when the reader waits for bytes (0: it does not) and for an event; how long readers that were
        # cancelled had waited for either; since when the answer is whole; the timer, and whether it is set for the limits of
        # a reader; and since when this stream may have held the loop without a wait.
        self._waits_since = 0.0
        self._quiet_since = 0.0
        self._waited = 0.0
        self._quiet = 0.0
        self._whole_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watching = False
        self._slice_since = 0.0

    # -------------------------------------------------------------------------------------------------- opening, closing

    async def __aenter__(self) -> Self:
        """Send the request and wait for the answer's headers, retries included.

        Raises:
            DGridError: As a plain call.

        Cancel: the connection is closed.
        """
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection, or give it back to the pool where the answer is whole."""
        await self.close()

    async def open(self) -> Self:
        """Send the request if that has not been done, and return the stream; `async with` and `create(stream=True)` do it."""
        if self._answer is None:
            await self._open(None)
        return self

    async def _open(self, failure: DGridError | None) -> None:
        """Get an answer; after a failure of the one before, as the retry policy says."""
        if self._error is not None:
            raise self._told(self._error)
        if self._opening:
            raise ConfigError("two tasks open one stream at the same time: let one open it")
        call = self._call
        if failure is not None and any(failure is known for known in call.failures):
            failure = None  # the wait behind it was cancelled: it is one attempt all the same
        self._opening = True
        try:
            answer: Answer = await call.send(failure=failure)
        except DGridError as error:
            self._error = error
            raise
        finally:
            self._opening = False
        self._attach(answer)

    def _attach(self, answer: Answer) -> None:
        """Begin with the body of an answer."""
        self._answer = answer
        self._body = Body(self._endpoint, answer, self._call.limits.max_event_bytes)
        self._backlog, self._decoded = b"", 0
        self._attached = True
        if self._error is not None:  # aborted at the very moment at which the answer came
            self._detach(self._error)
            raise self._told(self._error)
        # Waiting for the headers has let other tasks run: the first event need not do so again.
        now = self._slice_since = monotonic()
        self._waited = 0.0
        if self._waits_since:
            self._waits_since = now
        self._watching = False
        total = self._call.timeouts.total
        if total is not None:  # the others count only while a reader waits
            self._set_timer(self._call.started + total)

    def abort(self) -> None:
        """End the stream now: a task that waits in it gets a `ClientClosedError` at once, and the connection is cut.

        Callable from any task of the loop and at any time; a second call does nothing.
        """
        self._stop(ClientClosedError("the stream was aborted"))

    async def close(self) -> None:
        """End the stream as `abort` does, where it has not ended by itself. A second call does nothing."""
        self._stop(ClientClosedError("the stream was closed"))

    def _stop(self, reason: DGridError) -> None:
        if self._ended or self._error is not None:
            return
        self._error = reason
        if self._opening:
            self._call.interrupt(reason)
            return
        body = self._body
        if body is not None:
            body.forget()
        whole = body is not None and body.progress
        self._detach(reason if self._waits_since or not whole else None)

    def _detach(self, reason: DGridError | None = None) -> None:
        """Part from the connection: cut it, or give it back if there is no reason to."""
        self._set_timer(None)
        if self._attached and self._answer is not None:
            self._attached = False
            if reason is None:
                self._answer.release()
            else:
                self._answer.fail(reason)

    def __del__(self) -> None:
        if not getattr(self, "_attached", False) or self._answer is None:
            return
        # The collector may run in any thread and inside any call.
        self._answer.close_soon()
        warnings.warn(
            f"a stream of {self._endpoint.name} was dropped unfinished: use `async with`, or close() it",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    # ------------------------------------------------------------------------------------------------------------ facts

    @property
    def snapshot(self) -> ReplyT | None:
        """The reply so far, of the class that a plain call returns; None before the first event. Built when asked for."""
        return None if self._body is None else self._body.snapshot()

    @property
    def usage(self) -> Any:
        """The token counts so far, the object that the reply holds; None until the gateway sends some."""
        return None if self._body is None else self._body.usage

    @property
    def format(self) -> str:
        """The wire format, by the name of its module: `messages`, say."""
        return self._endpoint.name

    @property
    def request_id(self) -> str | None:
        """The gateway's name for the call; None before the headers came, or if it sent none."""
        return None if self._answer is None else self._answer.request_id

    @property
    def status(self) -> int | None:
        """The HTTP status; None before the headers came."""
        return None if self._answer is None else self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers, names in lower case; empty before they came."""
        return {} if self._answer is None else self._answer.headers

    @property
    def text_stream(self) -> TextStream:
        """The answer's text, piece by piece as it comes: an async iterator of strings, none of them empty."""
        return TextStream(self, self._endpoint.text_of)

    async def final(self) -> ReplyT:
        """Read on to the end and return the complete reply.

        Raises:
            DGridError: As iterating.
        """
        async for _ in self:
            pass
        return cast("ReplyT", self.snapshot)  # a whole answer has had an event

    # ---------------------------------------------------------------------------------------------------------- reading

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            StopAsyncIteration: The answer was whole.
            DGridError: It will not be.

        Cancel: nothing is lost; the next read goes on.
        """
        while True:
            body = self._body
            if body is not None and body.ready and (event := body.take()) is not None:
                self._quiet = 0.0
                if body.progress:
                    self._settle(body)
                if body.given == 1:
                    self._watching = False  # another limit than that of the first event is the next one now
                return event
            if self._waits_since:
                raise ConfigError("two tasks read one stream at the same time: let one read and hand the events on")
            now = monotonic()
            self._waits_since, self._quiet_since = now - self._waited, now - self._quiet
            try:
                while body is None or not body.ready:
                    answer = self._answer
                    if body is None or answer is None or body.over or self._error is not None:
                        await self._conclude(body)
                        body = self._body
                        continue
                    chunk = self._backlog
                    if not chunk:
                        if not self._watching and not answer.arrived:
                            self._watch()
                        try:
                            chunk = await answer.read()
                        except Exception as error:  # noqa: BLE001 -- whatever the HTTP library raises becomes ours
                            self._lost(body, answer, error)
                            continue
                    came = monotonic()
                    if came - now > _WAITED:
                        self._slice_since = came
                    elif came - self._slice_since > _SLICE:
                        # The bytes are there faster than they are used up: other tasks get their turn, and may abort.
                        self._backlog = chunk
                        await asyncio.sleep(0)
                        self._slice_since = now = monotonic()
                        continue
                    self._waited = 0.0
                    if self._decoded or len(chunk) > (_SLICE_BYTES if body.given else _FIRST_BYTES):
                        body.feed(self._slice(chunk, first=not body.given))
                    else:
                        self._backlog = b""
                        if chunk:
                            body.feed(chunk)
                        else:
                            body.end()
                    if not body.ready:
                        self._waits_since = now = monotonic()
            except asyncio.CancelledError:
                # The silence goes on for the next reader: one who polls must meet the limits too.
                now = monotonic()
                self._waited, self._quiet = now - self._waits_since, now - self._quiet_since
                raise
            finally:
                self._waits_since = 0.0

    def _slice(self, chunk: bytes, *, first: bool) -> bytes:
        """Return what is to be decoded now of a large read, and keep the rest."""
        begin = self._decoded
        end = begin + ((min(begin, _SLICE_BYTES) or _FIRST_BYTES) if first else _SLICE_BYTES)
        whole = end >= len(chunk)
        self._backlog, self._decoded = (b"", 0) if whole else (chunk, end)
        return chunk[begin:end]

    def _settle(self, body: Body[Event, ReplyT]) -> None:
        """Act on it that the answer is whole."""
        if body.progress is Progress.CLOSED:
            self._ended = True
            self._detach()
        else:
            if not self._whole_since:
                self._watching = False
            self._whole_since = monotonic()

    async def _conclude(self, body: Body[Event, ReplyT] | None) -> None:
        """Tell how the stream ended, or get another answer."""
        if self._ended:
            raise StopAsyncIteration
        if self._error is not None:
            raise self._told(self._error)
        if body is None:
            raise ConfigError("the stream is not open: use `async with`, or await open()")
        verdict = body.verdict()
        self._detach(verdict)
        if verdict is None:
            self._ended = True
            raise StopAsyncIteration
        if body.given:
            self._error = verdict
            raise self._told(verdict)
        try:
            await self._open(verdict)
        except DGridError as error:
            raise self._told(error) from error.__cause__

    def _lost(self, body: Body[Event, ReplyT], answer: Answer, error: Exception) -> None:
        """Take in that the connection failed, after what had arrived before it did."""
        if self._error is not None:
            return
        rest = answer.rest()
        if rest:
            body.feed(rest)
        if not body.over:
            cause = answer.translate(error)
            if cause is not error:
                cause.__cause__ = error
            body.end(cause)

    def _told(self, error: DGridError) -> DGridError:
        """Return the error with what had arrived on it."""
        body = self._body
        if body is not None and body.given:
            error.events_received = body.given
            if error.snapshot is None:
                try:
                    error.snapshot = body.snapshot()
                except DGridError:
                    error.snapshot = None
        error.request_id = error.request_id or self.request_id
        return self._call.fail(error)

    # ------------------------------------------------------------------------------------------------------------ limits

    def _watch(self) -> None:
        """Set the timer for the first moment at which a limit could run out."""
        self._set_timer(min((moment for moment, _, _ in self._limits()), default=None))
        self._watching = True

    def _set_timer(self, moment: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if moment is not None and self._attached:
            # A strong reference would keep an abandoned stream, and its connection, alive until the limit.
            wait = max(0.0, moment - monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, _check, weakref.ref(self))

    def _limits(self) -> list[tuple[float, Phase | None, float]]:
        """Return the moments at which limits run out unless something comes: when, which, and its seconds.

        Time in which nobody reads does not count, but towards `total` and `first_event`.
        """
        limits, started = self._call.timeouts, self._call.started
        idle_from = self._waits_since or monotonic()
        event_from = self._quiet_since if self._waits_since else idle_from
        found: list[tuple[float, Phase | None, float]] = []
        if limits.total is not None:
            found.append((started + limits.total, "total", limits.total))
        if limits.idle is not None:
            found.append((idle_from + limits.idle, "idle", limits.idle))
        if self._body is None or not self._body.given:
            if limits.first_event is not None:
                found.append((started + limits.first_event, "first_event", limits.first_event))
        elif limits.event is not None:
            found.append((event_from + limits.event, "event", limits.event))
        if self._whole_since:
            found.append((max(self._whole_since, event_from) + _GRACE, None, _GRACE))
        return found

    def _check_limits(self) -> None:
        self._timer = None
        now = monotonic()
        for moment, phase, seconds in sorted(self._limits(), key=lambda limit: limit[0]):
            if moment > now:
                break
            if self._waits_since and self._answer is not None:
                # The reader that this wakes decides: behind a whole answer silence is its end, and no error.
                self._answer.fail(timed_out(phase or "idle", seconds, self.request_id))
                return
            if phase == "total":
                self._stop(timed_out(phase, seconds, self.request_id))
                return
        if self._waits_since:
            self._watch()
        else:
            # Nobody reads: the next read sets the timer anew.
            total = self._call.timeouts.total
            self._set_timer(None if total is None else self._call.started + total)
            self._watching = False


class TextStream:
    """The answer's text of one stream, piece by piece: an async iterator over strings, none of them empty.

    Reasoning is left out, and so is every choice or candidate but the first.
    """

    __slots__ = ("_next", "_text_of")

    def __init__(self, stream: EventStream[Any, Any], text_of: Callable[[Any], str]) -> None:
        self._next = stream.__anext__
        self._text_of = text_of

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece of text.

        Raises:
            StopAsyncIteration, DGridError: As the stream.
        """
        while True:
            text = self._text_of(await self._next())
            if text:
                return text


def _check(reference: weakref.ref[Any]) -> None:
    stream: EventStream[Any, Any] | None = reference()
    if stream is not None:
        stream._check_limits()  # noqa: SLF001 -- its own timer
