"""The relay: one answer to one websocket, from the first wait to the last frame.

Rules
1. The model and the client are waited for at the same time: whichever speaks, or leaves, is heard at once. A client that has
   left ends the upstream by `abort()`, whatever that is waiting for: a connection, a retry, the first token, the next.
2. The caller's task reads the stream, so that events which are at hand cost no switch of tasks; a second task sends, a third
   receives. All three have ended when `relay` returns or raises.
3. A slow client slows the reading down once the buffer is full, and is given up after `send_timeout`; it never makes memory
   grow.
4. A cancellation is passed on, after the upstream is closed.

What the frames say is `frames`' business, when they go `coalescer`'s, how they go `sinks`'.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from time import monotonic
from typing import Any, Literal, Protocol

import attrs

from dgrid_async.errors import ClientClosedError, ConfigError, DGridError
from dgrid_async.relay.blocks import Frame
from dgrid_async.relay.coalescer import Coalescer
from dgrid_async.relay.disconnect import ClientGoneError
from dgrid_async.relay.frames import Framer, Passage, frame_json
from dgrid_async.relay.sinks import Message, Sink, sink_of
from dgrid_async.stream import EventStream

__all__ = ["FrameSource", "OnClientGone", "OnMessage", "Outcome", "Pump", "Report", "framer_of", "relay"]

Outcome = Literal["completed", "stopped", "client_gone", "client_too_slow", "upstream_error"]
OnClientGone = Literal["cancel", "finish"]
OnMessage = Callable[[Message], Any]

_PING = '{"type":"ping"}'
_KEPT = 100
# How often limits are looked at, in parts of the smaller one: they are kept that much late at most.
_LOOK_EVERY = 0.25
_GONE = frozenset({"client_gone", "client_too_slow"})


class FrameSource(Protocol):
    """What may be relayed in place of a stream: an async iterator of frames, the last of them `finish` or `error`."""

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Return the iterator; once for each relay."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the wait for the next frame at once, by StopAsyncIteration or an error."""


@attrs.frozen
class Report:
    """How a relay went.

    Attributes:
        outcome: `completed`; `stopped` by `on_message`; `client_gone`; `client_too_slow`; or `upstream_error`.
        frames: How many were sent, after joining.
        events: How many the stream gave.
        seconds: From the call to the return.
        usage: The stream's usage object, or None.
        reply: The reply so far, the class that a plain call returns; None where nothing came. Whole where the outcome is
            `completed`, and under `on_client_gone="finish"` where `error` is None.
        error: What the upstream ended with; None where it was whole, or ended by the relay.
        messages: What the client said meanwhile, where no `on_message` took it: the last hundred at most.
    """

    outcome: Outcome
    frames: int
    events: int
    seconds: float
    usage: Any = None
    reply: Any = None
    error: DGridError | None = None
    messages: tuple[Message, ...] = ()


async def relay(
    stream: EventStream[Any, Any] | FrameSource,
    sink: Any,
    *,
    interval: float = 0.03,
    max_buffer: int = 256 * 1024,
    send_timeout: float | None = 30.0,
    keep_alive: float | None = 15.0,
    on_client_gone: OnClientGone = "cancel",
    on_message: OnMessage | None = None,
    raw: bool = False,
) -> Report:
    """Send an answer to a websocket as it comes, and end it upstream as soon as the client leaves.

    Args:
        stream: A stream, best not opened yet: then the client may also leave during the request, its retries included. It is
            closed in the end. Or another source of frames.
        sink: The websocket, accepted: of aiohttp.web, Starlette, FastAPI, `websockets`, Litestar, Quart or Sanic; or a `Sink`.
            It stays open for the next answer, but for a client that was too slow.
        interval: Seconds between two sendings; what comes in between is joined. The first words go at once.
        max_buffer: Bytes that may wait for a slow client before the stream is read no further.
        send_timeout: Seconds that one sending may take before the client counts as frozen; a quarter more at most.
        keep_alive: Seconds without a frame after which `{"type": "ping"}` is sent, for proxies that cut idle connections.
        on_client_gone: "cancel" aborts the stream; "finish" reads on, for the sake of `Report.reply`.
        on_message: Called with what the client says meanwhile, and awaited if it returns an awaitable, which is cancelled when
            the answer ends; True stops the answer. A relay must read such messages to see the client leave; without this
            they are in `Report.messages`.
        raw: Send the vendor's events as they come.

    Returns:
        How it went. An error of the upstream is sent as the last frame, and is in the report; it is not raised.

    Raises:
        TypeError: The sink is none, or the stream.
        ConfigError: The call was wrong; the client gets a general error frame.

    Cancel: the stream is closed, nothing more is sent.
    """
    return await Pump(
        stream,
        sink_of(sink),
        Coalescer(interval, max_buffer),
        send_timeout=send_timeout,
        keep_alive=keep_alive,
        on_client_gone=on_client_gone,
        on_message=on_message,
        raw=raw,
    ).run()


def framer_of(stream: Any, *, raw: bool) -> Framer | Passage:
    """Return what makes frames of a stream's events, or passes those of another source.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(stream, EventStream):
        return Framer(stream.format, raw=raw)
    if not hasattr(stream, "__aiter__") or not hasattr(stream, "abort"):
        raise TypeError(f"a {type(stream).__name__} is no stream: give what client.….stream(…) returns, or a source of frames")
    return Passage()


class _Bell:
    """Wakes the one task that waits for it; rung while nobody waits, it is not heard."""

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until it rings, or so many seconds."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.ring)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


class Pump:
    """One relay under way; the arguments are those of `relay`.

    Args:
        spell: From a frame to the text to be sent.
        ping: The text that keeps a connection open.
    """

    def __init__(
        self,
        stream: EventStream[Any, Any] | FrameSource,
        sink: Sink,
        coalescer: Coalescer,
        *,
        send_timeout: float | None,
        keep_alive: float | None,
        on_client_gone: OnClientGone,
        on_message: OnMessage | None,
        raw: bool,
        spell: Callable[[Frame], str] = frame_json,
        ping: str = _PING,
    ) -> None:
        self._stream = stream
        self._sink = sink
        self._send_timeout = send_timeout
        self._keep_alive = keep_alive
        self._finish = on_client_gone == "finish"
        self._on_message = on_message
        self._spell = spell
        self._ping = ping
        self._framer = framer_of(stream, raw=raw)
        # The mutable state: what waits to be sent, and whether no more will come; the task that sends (None: it has not begun);
        # the bells of the reading and of the sending task, whether the latter waits for frames, or for the client, whether a
        # ping is due, when it last began to send, and the timer that looks after it; how it ended (None: it has not), by whose
        # mistake it did if by one; what the client said; and the counts.
        self._coalescer = coalescer
        self._whole = False
        self._sending: asyncio.Task[None] | None = None
        self._room = _Bell()
        self._work = _Bell()
        self._idle = False
        self._busy = False
        self._quiet = False
        self._spoke = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._outcome: Outcome | None = None
        self._fault: BaseException | None = None
        self._error: DGridError | None = None
        self._messages: deque[Message] = deque(maxlen=_KEPT)
        self._sent = 0
        self._events = 0

    async def run(self) -> Report:
        """Relay to the end."""
        started = monotonic()
        loop = asyncio.get_running_loop()
        sending = self._sending = loop.create_task(self._guarded(self._send))
        receiving = loop.create_task(self._guarded(self._receive))
        self._spoke = started
        self._arm()
        try:
            last = await self._read()
            # What a client says to the last frame is for whoever reads its socket next.
            receiving.cancel()
            await asyncio.wait((receiving,))
            self._put(last)
            self._whole = True
            self._work.ring()
            await asyncio.wait((sending,))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._stream.abort()
            tasks = [task for task in (sending, receiving) if not task.done()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        if self._fault is not None:
            raise self._fault
        if self._outcome == "client_too_slow":
            await self._sink.cut()
        return Report(
            self._outcome or "completed",
            self._sent,
            self._events,
            monotonic() - started,
            self._usage(),
            self._reply(),
            self._error,
            tuple(self._messages),
        )

    def _reply(self) -> Any:
        try:
            return getattr(self._stream, "snapshot", None)
        except DGridError:  # the events so far make none
            return None

    # ---------------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> list[Frame]:
        """Read to the end, and return the last frames."""
        framer = self._framer
        try:
            await self._read_on()
        except DGridError as error:
            if not isinstance(error, ClientClosedError) or self._outcome is None:
                return self._fail(error)
        except Exception as error:  # noqa: BLE001 -- raised again when the client has been told
            self._fault = error
            return self._fail(error)
        else:
            if isinstance(framer, Passage) and framer.failed:
                self._outcome = self._outcome or "upstream_error"
                self._error = getattr(self._stream, "error", None)
        return framer.stop(self._usage()) if self._outcome == "stopped" else framer.end(self._usage())

    async def _read_on(self) -> None:
        stream, coalescer = self._stream, self._coalescer
        if isinstance(stream, EventStream):
            await stream.open()
        frames, put = self._framer.frames, self._put
        async for event in stream:
            self._events += 1
            put(frames(event))
            while coalescer.full and self._outcome not in _GONE:
                # A slow client takes first what is there.
                self._work.ring()
                await self._room.wait()

    def _fail(self, error: Exception) -> list[Frame]:
        if isinstance(error, ConfigError):
            self._fault = error
        if self._outcome is None:
            self._outcome = "upstream_error"
        if isinstance(error, DGridError):
            self._error = error
        return self._framer.fail(error, self._usage())

    def _usage(self) -> Any:
        return getattr(self._stream, "usage", None)

    # ---------------------------------------------------------------------------------------------------------- sending

    def _put(self, frames: list[Frame]) -> None:
        if not frames or self._outcome in _GONE:
            return
        for frame in frames:
            self._coalescer.add(frame)
        if self._idle:
            self._work.ring()

    async def _send(self) -> None:
        coalescer = self._coalescer
        while True:
            now = monotonic()
            wait = coalescer.wait(now)
            if wait == 0 or (wait is not None and self._whole):
                self._busy, self._quiet = True, False
                self._spoke = now
                for frame in coalescer.take(now):
                    await self._sink.send(self._spell(frame))
                    self._sent += 1
                self._busy = False
                self._room.ring()
            elif self._whole:
                return
            elif wait is not None:
                await self._work.wait(wait)
            elif self._quiet:
                self._busy, self._quiet = True, False
                self._spoke = now
                await self._sink.send(self._ping)
                self._busy = False
            else:
                self._idle = True
                await self._work.wait()
                self._idle = False

    def _look(self) -> None:
        """See whether the client is frozen, or has heard nothing for long; one timer for the relay costs a token nothing."""
        silent = monotonic() - self._spoke
        if self._busy:
            if self._send_timeout is not None and silent >= self._send_timeout:
                self._lose("client_too_slow")
                return
        elif self._keep_alive is not None and silent >= self._keep_alive:
            self._quiet = True
            if self._idle:
                self._work.ring()
        self._arm()

    def _arm(self) -> None:
        limits = [limit for limit in (self._send_timeout, self._keep_alive) if limit is not None]
        if limits:
            self._timer = asyncio.get_running_loop().call_later(min(limits) * _LOOK_EVERY, self._look)

    # --------------------------------------------------------------------------------------------------------- receiving

    async def _receive(self) -> None:
        while True:
            message = await self._sink.receive()
            if self._on_message is None:
                self._messages.append(message)
            else:
                verdict = self._on_message(message)
                if inspect.isawaitable(verdict):
                    verdict = await verdict
                if verdict is True and self._outcome is None and not self._whole:
                    self._outcome = "stopped"
                    self._stream.abort()

    async def _guarded(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part; where it finds that the client is lost, or fails, end the rest."""
        try:
            await part()
        except ClientGoneError:
            self._lose("client_gone")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._lose("client_gone")  # some frameworks tell it so
        except Exception as error:  # noqa: BLE001 -- raised again by the relay itself
            self._fault = error
            self._finish = False
            self._lose("client_gone")

    def _lose(self, outcome: Outcome) -> None:
        """Give up the client."""
        if self._outcome not in _GONE:
            self._outcome = outcome
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()
        self._room.ring()
        if not self._finish:
            self._stream.abort()
