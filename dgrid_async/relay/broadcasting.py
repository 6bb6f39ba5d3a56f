"""One stream, many readers: a task reads the answer as fast as it comes, and whoever subscribes gets the whole of it.

Rules
1. The stream is read by one task that belongs to the broadcast, never at the pace of a reader.
2. Whoever joins gets what was missed and then what comes; whoever comes back with the last id goes on right behind it.
3. What comes faster than the interval is joined once, for all, before it gets its place; the first words are not held up.
4. When nobody has listened for the grace time, the stream is aborted: nobody pays for words that nobody will read.

Readers in other processes are the business of `redis`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Literal, Self, cast

import attrs

from dgrid_async.errors import ClientClosedError, ConfigError, DGridError
from dgrid_async.relay.blocks import Frame
from dgrid_async.relay.channel import Channel, Subscription
from dgrid_async.relay.coalescer import Coalescer
from dgrid_async.relay.frames import Framer
from dgrid_async.relay.history import History
from dgrid_async.stream import EventStream

__all__ = ["Broadcast", "BroadcastReport", "broadcast", "frame_id"]

# Bytes that may wait for the interval to be over: what a page takes in one message without a pause that is felt.
_MOST_HELD = 64 * 1024

Outcome = Literal["completed", "stopped", "abandoned", "upstream_error"]


@attrs.frozen
class BroadcastReport:
    """How a broadcast ended.

    Attributes:
        outcome: "completed"; "stopped" by `abort` or `close`; "abandoned" when nobody listened; or "upstream_error".
        frames: How many were given a place in the history.
        events: How many the stream had.
        seconds: From the beginning of the broadcast to its last frame.
        usage: The token counts as the format has them, or None.
        reply: The reply, or as much of it as came; None where nothing did.
        error: Of "upstream_error", the error.
    """

    outcome: Outcome
    frames: int
    events: int
    seconds: float
    usage: Any
    reply: Any
    error: DGridError | None = None


class Broadcast:
    """One answer for any number of subscribers, all in the event loop in which it was made; `broadcast()` makes one.

    It runs by itself, to the end of the answer, until `abort`, or until nobody has listened for the grace time; what has been
    said stays readable as long as the object is kept. Under `async with` it ends with the block.
    """

    def __init__(
        self,
        stream: EventStream[Any, Any],
        *,
        interval: float,
        grace: float | None,
        max_buffer: int | None,
        max_history: int | None,
        raw: bool,
    ) -> None:
        for name, value in (("interval", interval), ("grace", grace), ("max_buffer", max_buffer), ("max_history", max_history)):
            if value is not None and not value >= 0:
                raise ConfigError(f"{name} is {value!r}: give a number from 0 on")
        self._stream = stream
        self._framer = Framer(stream.format, raw=raw)
        self._channel = Channel(History(max_history), grace=grace, abandon=self._abandon, max_buffer=max_buffer)
        loop = self._channel.loop
        self._began = loop.time()
        # The mutable state: frames that wait for their time, the timer for it, how many events and frames there were, by whom
        # it was ended, and the report.
        self._coalescer = Coalescer(interval, _MOST_HELD)
        self._timer: asyncio.TimerHandle | None = None
        self._events = 0
        self._frames = 0
        self._ended_by: Outcome | None = None
        self._report: BroadcastReport | None = None
        self._task = loop.create_task(self._pump(), name="dgrid broadcast")

    async def __aenter__(self) -> Self:
        """Return the broadcast itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    # ------------------------------------------------------------------------------------------------------------ facts

    @property
    def listeners(self) -> int:
        """How many subscriptions are open."""
        return self._channel.listeners

    @property
    def last_id(self) -> int:
        """The id of the newest frame; 0 before the first."""
        return self._channel.history.last_id

    @property
    def reply(self) -> Any:
        """The reply so far, of the class that a plain call returns; None before the first event. Built when asked for."""
        return self._stream.snapshot

    @property
    def usage(self) -> Any:
        """The token counts so far; None until the gateway sends some."""
        return self._stream.usage

    @property
    def report(self) -> BroadcastReport | None:
        """How it ended; None while it runs."""
        return self._report

    # ---------------------------------------------------------------------------------------------------------- readers

    def subscribe(self, last_id: int | str | None = None) -> Subscription:
        """Return the frames behind the one that the reader has had, or all from the first on; then those to come.

        Args:
            last_id: The `id` of the last frame that the reader had, as a number or as a `Last-Event-ID` header has it; None or
                an empty string for the beginning.

        Raises:
            ConfigError: `last_id` is no id of a frame of this broadcast.
        """
        number = frame_id(last_id)
        if number > self.last_id:
            raise ConfigError(f"last_id is {number}: the newest frame of this answer is {self.last_id}")
        return Subscription(self._channel, number)

    # ----------------------------------------------------------------------------------------------------------- ending

    def abort(self) -> None:
        """End the stream now; subscribers get what came, and then a `finish` frame with the reason "stopped".

        Callable from any task of the loop and at any time; where it has ended, nothing happens.
        """
        self._stop("stopped")

    async def wait(self) -> BroadcastReport:
        """Wait until it has ended and return how.

        Cancel: the broadcast goes on.
        """
        await asyncio.wait({self._task})
        return cast("BroadcastReport", self._report)

    async def close(self) -> None:
        """End it as `abort` does, and wait until the connection is closed.

        Cancel: it ends all the same.
        """
        self.abort()
        await asyncio.wait({self._task})

    def _abandon(self) -> None:
        self._stop("abandoned")

    def _stop(self, by: Outcome) -> None:
        if self._ended_by is None:
            self._ended_by = by
            self._stream.abort()

    # --------------------------------------------------------------------------------------------------------- the task

    async def _pump(self) -> None:
        """Read the stream to its end and make its events known."""
        stream, framer = self._stream, self._framer
        try:
            try:
                await stream.open()
                async for event in stream:
                    self._events += 1
                    self._hold(framer.frames(event))
            finally:
                stream.abort()
        except ClientClosedError as error:
            if self._ended_by is None:
                self._finish("upstream_error", framer.fail(error, stream.usage), error)
            else:
                self._finish(self._ended_by, framer.stop(stream.usage))
        except DGridError as error:
            self._finish("upstream_error", framer.fail(error, stream.usage), error)
        except BaseException as error:
            # The program's end, or a fault of ours: whoever listens must not wait for ever.
            told: DGridError = ClientClosedError("the program that read the stream has ended it")
            if not isinstance(error, asyncio.CancelledError):
                told = DGridError("the stream could not be read on: a fault in the program")
            told.__cause__ = error
            self._finish("upstream_error", framer.fail(told, stream.usage), told)
            raise
        else:
            self._finish("completed", framer.end(stream.usage))

    def _finish(self, outcome: Outcome, frames: list[Frame], error: DGridError | None = None) -> None:
        self._hold(frames)
        self._flush()
        seconds = self._channel.loop.time() - self._began
        self._report = BroadcastReport(outcome, self._frames, self._events, seconds, self.usage, self._snapshot(), error)
        self._channel.error = error
        self._channel.end()

    def _snapshot(self) -> Any:
        try:
            return self._stream.snapshot
        except DGridError:  # what came is no reply, and the report's error says so
            return None

    def _hold(self, frames: list[Frame]) -> None:
        """Make frames known, at once or with what comes until it is time."""
        for frame in frames:
            self._coalescer.add(frame)
        wait = self._coalescer.wait(self._channel.loop.time())
        if wait == 0:
            self._flush()
        elif wait is not None and self._timer is None:
            self._timer = self._channel.loop.call_later(wait, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        frames = self._coalescer.take(self._channel.loop.time())
        self._frames += len(frames)
        self._channel.add(frames)


def broadcast(
    stream: EventStream[Any, Any],
    *,
    interval: float = 0.03,
    grace: float | None = 30.0,
    max_buffer: int | None = None,
    max_history: int | None = 16 * 1024 * 1024,
    raw: bool = False,
) -> Broadcast:
    """Read a stream in a task of its own, and return what any number of readers can subscribe to.

    Args:
        stream: Of any format, opened or not; nobody else may read it. It is closed at the end.
        interval: Seconds in which text is joined before all get it; the first is not held up. 0 makes each event known at once.
        grace: Seconds for which the stream lives while nobody listens, from the start on; None for as long as it takes.
        max_buffer: Bytes (JSON, and 300 for each frame) that a subscriber may be behind before it is cut off; None lets it fall
            behind as far as the history goes: it gets what it missed merged, and loses nothing.
        max_history: Bytes (counted likewise) of the newest frames that are kept for those who are late; None keeps all.
        raw: Give the vendor's events instead of the frames that all formats share.

    Raises:
        ConfigError: A number is negative.
        RuntimeError: No event loop runs.
    """
    return Broadcast(stream, interval=interval, grace=grace, max_buffer=max_buffer, max_history=max_history, raw=raw)


def frame_id(last_id: int | str | None) -> int:
    """Return the number of a frame as a reader names it; 0 for the place before the first.

    Raises:
        ConfigError: It names none.
    """
    if last_id is None or last_id == "":
        return 0
    # A header is anybody's: what `int` takes besides digits is no id, and more of them than any answer has frames neither.
    text = str(last_id)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004
        raise ConfigError(f"last_id is {text[:40]!r}: give the id of a frame")
    return int(text)
