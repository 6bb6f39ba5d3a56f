"""One history and those who read it: any number of subscriptions, each a position in the same list of frames.

Rules
1. Whoever adds frames never waits for whoever reads them, and no reader for another.
2. What happened to the answer is a frame; what happened to one reader is an exception.
3. A reader that waits costs a future, one that does not costs nothing; there is no task and no queue for either.
4. A subscription that is dropped has left, as if it had been closed.

Where the frames come from is the business of `broadcasting` and `redis`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from dgrid_async.errors import ClientClosedError, ConfigError, DGridError
from dgrid_async.relay.blocks import Frame
from dgrid_async.relay.history import History

__all__ = ["Channel", "SubscriberTooSlowError", "Subscription"]


class SubscriberTooSlowError(DGridError):
    """A subscriber is further behind than it may be, or than frames are kept; also one that came back too late.

    Attributes:
        last_id: The id of the last frame that it was given; 0 before the first.
        kept: Whether what follows that frame is still there, so that a new subscription can go on behind it.
    """

    def __init__(self, message: str, *, last_id: int = 0, kept: bool = False) -> None:
        super().__init__(message)
        self.last_id = last_id
        self.kept = kept


class Channel:
    """Frames of one answer for any number of readers, all in one event loop.

    Args:
        history: Where the frames are.
        grace: Seconds without a listener after which `abandon` is called; None for never.
        abandon: A plain function; may be called again each time that listeners came and left.
        max_buffer: Bytes that a reader may be behind; None for as far as the history goes.

    Attributes:
        history: As given.
        max_buffer: As given.
        loop: The event loop.
        waiters: What the readers wait for that wait.
        listeners: How many listen.
        ended: Whether there will be no more frames.
        error: What the answer ended with, where that is known and is no good.
        failure: What readers are told then, behind the last frame, instead of a plain end.
    """

    def __init__(
        self, history: History, *, grace: float | None, abandon: Callable[[], object], max_buffer: int | None = None
    ) -> None:
        self.history = history
        self.max_buffer = max_buffer
        self.loop = asyncio.get_running_loop()
        self._grace = grace
        self._abandon = abandon
        # The mutable state, with the timer that runs while nobody listens.
        self.waiters: set[asyncio.Future[Frame | None]] = set()
        self.listeners = 0
        self.ended = False
        self.error: DGridError | None = None
        self.failure: DGridError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer()

    def add(self, frames: Iterable[Frame]) -> None:
        """Take in frames, for all."""
        frames = list(frames)
        for frame in frames:
            self.history.add(frame)
        # One frame goes to those who wait as it is: most readers are up to date, and need not look for it.
        self.wake(frames[0] if len(frames) == 1 else None)

    def end(self, failure: DGridError | None = None) -> None:
        """Tell the readers that there is nothing more, behind what there is; with an error if one is given."""
        if not self.ended:
            self.ended, self.failure = True, failure
            self._set_timer()
            self.wake()

    async def news(self, seconds: float) -> None:
        """Wait until something is added or ends, or until the time is over.

        Cancel: nothing is lost.
        """
        waiter: asyncio.Future[Frame | None] = self.loop.create_future()
        self.waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=max(0.0, seconds))
        finally:
            self.waiters.discard(waiter)

    def join(self) -> None:
        """Count one more listener."""
        self.listeners += 1
        self._set_timer()

    def leave(self) -> None:
        """Count one listener less."""
        self.listeners -= 1
        self._set_timer()

    def wake(self, frame: Frame | None = None) -> None:
        """Let those who wait look for what is new; or hand them the one frame that is."""
        waiters, self.waiters = self.waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(frame)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._grace is not None and not self.listeners and not self.ended:
            self._timer = self.loop.call_later(self._grace, self._abandon)


class Subscription:
    """The frames of one answer for one reader: an async iterator over dicts, what was missed first.

    What is at hand comes merged, like with like: one who reads slowly gets fewer frames and the same text. A merged frame has
    the id of its last part. The dicts are shared with other readers, for reading only. It listens from the moment it is made;
    `close`, leaving its `async with`, its end, or dropping it ends that.

    Raises from iterating:
        SubscriberTooSlowError: It fell, or came back, too far behind.
        ClientClosedError: It had been closed.
        DGridError: What its source adds, such as a producer's death; an error of the answer itself is the last frame instead.

    Cancel: a cancelled read loses nothing.
    """

    __slots__ = ("__weakref__", "_channel", "_excused", "_last_id", "_open", "_over", "_position", "_waiter")

    def __init__(self, channel: Channel, last_id: int = 0) -> None:
        self._channel = channel
        # The mutable state: the last id handed out, where to read on, the bytes that had been added when it last waited (what
        # came in one go by then is no fault of its own), what it waits for, whether it listens, and the error that ended it.
        self._last_id = last_id
        self._position = channel.history.after(last_id)
        self._excused = channel.history.added_bytes
        self._waiter: asyncio.Future[Frame | None] | None = None
        self._open = True
        self._over: DGridError | None = None
        channel.join()

    @property
    def last_id(self) -> int:
        """The id of the last frame handed out, or the one that was given at first: another subscription can go on behind it."""
        return self._last_id

    @property
    def error(self) -> DGridError | None:
        """The error that the answer ended with, where it was one and came about in this process; its frame is the last one."""
        return self._channel.error

    async def __aenter__(self) -> Self:
        """Return the subscription itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.abort()

    async def close(self) -> None:
        """Stop listening, as `abort` does."""
        self.abort()

    def abort(self) -> None:
        """Stop listening now: a task that waits in it gets a `ClientClosedError`. A second call does nothing."""
        self._stop(ClientClosedError("the subscription was closed"))

    def _stop(self, over: DGridError | None) -> None:
        if self._open:
            self._open, self._over = False, over
            self._channel.leave()
            if self._waiter is not None and not self._waiter.done():
                self._channel.waiters.discard(self._waiter)
                self._waiter.set_result(None)

    def __del__(self) -> None:
        if getattr(self, "_open", False) and not self._channel.loop.is_closed():
            # The collector may run in any thread.
            self._channel.loop.call_soon_threadsafe(self._channel.leave)

    def __aiter__(self) -> Self:
        """Return the subscription itself."""
        return self

    async def __anext__(self) -> Frame:
        """Return the next frame, merged with those at hand that are like it.

        Raises:
            StopAsyncIteration: The last frame had been handed out.
            DGridError: As told of the class.

        Cancel: nothing is lost; the next read goes on.
        """
        channel = self._channel
        while self._open:
            if (frame := self._take(channel)) is not None:
                return frame
            if channel.ended:
                self._stop(_own(channel.failure))
                break
            if self._waiter is not None:
                raise ConfigError("two tasks read one subscription at the same time: let each subscribe")
            waiter: asyncio.Future[Frame | None] = channel.loop.create_future()
            self._waiter = waiter
            channel.waiters.add(waiter)
            try:
                frame = await waiter
            except asyncio.CancelledError:
                channel.waiters.discard(waiter)
                raise
            finally:
                self._waiter = None
            self._excused = channel.history.added_bytes
            if frame is not None and frame["id"] > self._last_id and self._open:
                self._position += 1
                self._last_id = frame["id"]
                return frame
        if self._over is not None:
            raise self._over
        raise StopAsyncIteration

    def _take(self, channel: Channel) -> Frame | None:
        """Return the next frame that is at hand, or None."""
        history = channel.history
        if self._last_id < history.lost_id:
            raise self._too_slow("what follows it is not kept any more", kept=False)
        if self._position < history.begin:
            self._position = history.after(self._last_id)
        if self._position < history.end and history.id_at(self._position) <= self._last_id:
            # The reader had had it elsewhere before it came here.
            self._position = history.after(self._last_id)
        if self._position == history.end:
            return None
        if channel.max_buffer is not None:
            unread = min(history.unread_bytes(self._position), history.added_bytes - self._excused)
            if unread > channel.max_buffer:
                raise self._too_slow(f"{unread} bytes are waiting, {channel.max_buffer} may", kept=True)
        frame, self._position = history.take(self._position)
        self._last_id = frame["id"]
        return frame

    def _too_slow(self, reason: str, *, kept: bool) -> SubscriberTooSlowError:
        error = SubscriberTooSlowError(
            f"the subscriber is too slow: it has had frame {self._last_id}, and {reason}", last_id=self._last_id, kept=kept
        )
        self._stop(error)
        return error


def _own(error: DGridError | None) -> DGridError | None:
    """Return a copy for one reader: raised in a thousand tasks, one error would collect the tracebacks of all."""
    if error is None:
        return None
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
