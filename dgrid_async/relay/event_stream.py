"""Answers as server-sent events, for pages that read with `EventSource` or `fetch`.

Each frame is one event: its id is the event's `id`, its JSON the `data`. An `EventSource` connects anew when a stream ends, so
the page closes it at `finish` and `error`.
`sse_response` answers a request of aiohttp.web; `sse_bytes` is the body of a streaming response of Starlette, FastAPI,
Litestar, Quart and their like. What waits and joins is `pump`'s and `coalescer`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Self

from dgrid_async.errors import ClientClosedError, ConfigError, DGridError
from dgrid_async.relay.blocks import Frame
from dgrid_async.relay.coalescer import Coalescer
from dgrid_async.relay.disconnect import ClientGoneError, RequestWatch
from dgrid_async.relay.frames import Passage, frame_json
from dgrid_async.relay.pump import FrameSource, OnClientGone, Outcome, Pump, Report, framer_of
from dgrid_async.stream import EventStream

__all__ = ["SSE_HEADERS", "SSEBytes", "sse_bytes", "sse_response"]

SSE_HEADERS: Mapping[str, str] = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    # nginx would hold the answer back until its buffer is full.
    "X-Accel-Buffering": "no",
}
"""The headers that an event stream should have."""

_PING = ": ping\n\n"


def _spelt(frame: Frame) -> str:
    number = frame.get("id")
    return f"data: {frame_json(frame)}\n\n" if number is None else f"id: {number}\ndata: {frame_json(frame)}\n\n"


async def sse_response(
    request: Any,
    stream: EventStream[Any, Any] | FrameSource,
    *,
    headers: Mapping[str, str] | None = None,
    interval: float = 0.03,
    max_buffer: int = 256 * 1024,
    send_timeout: float | None = 30.0,
    keep_alive: float | None = 15.0,
    on_client_gone: OnClientGone = "cancel",
    on_report: Callable[[Report], object] | None = None,
    raw: bool = False,
) -> Any:
    """Answer a request of aiohttp.web with a stream, and end it upstream as soon as the client leaves.

    It sees the client leave whether or not the server cancels handlers.

    Args:
        request: The handler's.
        stream: As of `relay`.
        headers: Further headers of the response.
        interval: As of `relay`.
        max_buffer: As of `relay`.
        send_timeout: As of `relay`.
        keep_alive: Seconds without a frame after which a comment is sent.
        on_client_gone: As of `relay`.
        on_report: Called with the report when the answer has ended.
        raw: As of `relay`.

    Returns:
        The response, for the handler to return.

    Raises:
        ConfigError: The call was wrong; the client gets a general error frame.

    Cancel: the stream is closed.
    """
    from aiohttp import web  # as lazily as the client's own

    response = web.StreamResponse(headers={**SSE_HEADERS, **(headers or {})})
    gone = asyncio.Event()
    watch = RequestWatch(gone.set)
    watch.begin(request)
    try:
        try:
            await response.prepare(request)
        except OSError:
            gone.set()
        report = await Pump(
            stream,
            _ResponseSink(request, response, gone),
            Coalescer(interval, max_buffer),
            send_timeout=send_timeout,
            keep_alive=keep_alive,
            on_client_gone=on_client_gone,
            on_message=None,
            raw=raw,
            spell=_spelt,
            ping=_PING,
        ).run()
        if on_report is not None:
            on_report(report)
    finally:
        watch.close()
        stream.abort()
    return response


class _ResponseSink:
    """An event stream's response of aiohttp.web; its client says nothing but that it leaves."""

    def __init__(self, request: Any, response: Any, gone: asyncio.Event) -> None:
        self._request = request
        self._response = response
        self._gone = gone

    async def send(self, text: str) -> None:
        try:
            await self._response.write(text.encode())
        except OSError as error:
            raise ClientGoneError("the client has left") from error

    async def receive(self) -> str:
        await self._gone.wait()
        raise ClientGoneError("the client has left")

    async def cut(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()


def sse_bytes(
    stream: EventStream[Any, Any] | FrameSource,
    *,
    request: Any = None,
    interval: float = 0.03,
    max_buffer: int = 256 * 1024,
    keep_alive: float | None = 15.0,
    raw: bool = False,
) -> SSEBytes:
    """Return the body of an event stream: an async iterator of bytes, which ends the stream when it is not read on.

    Args:
        stream: As of `relay`; best not opened yet, so that nothing is asked for before the body is read.
        request: That of Starlette or FastAPI: its client's leaving ends the stream at once, also on servers whose streaming
            responses notice it only when they write. None leaves it to the framework.
        interval: As of `relay`; so are `max_buffer` and `raw`.
        max_buffer: As of `relay`.
        keep_alive: Seconds without a frame after which a comment is sent.
        raw: As of `relay`.
    """
    return SSEBytes(stream, request, Coalescer(interval, max_buffer), keep_alive, raw=raw)


class SSEBytes:
    """The body of an event stream; see `sse_bytes`.

    It runs in the task that reads it, and reads the stream only then: a slow client slows the stream. It is closed by
    `aclose()`, by the cancellation of a read, and by being dropped.

    Attributes:
        report: How it went, once it has ended; None before.
    """

    def __init__(
        self,
        stream: EventStream[Any, Any] | FrameSource,
        request: Any,
        coalescer: Coalescer,
        keep_alive: float | None,
        *,
        raw: bool,
    ) -> None:
        self._stream = stream
        self._request = request
        self._coalescer = coalescer
        self._keep_alive = keep_alive
        self._framer = framer_of(stream, raw=raw)
        # The mutable state: where frames or events come from; what opens the stream and waits for its first event (None before
        # and after); the loop and the watch over the request, once there are any; whether the stream is at its end, and the
        # body; when the client was last sent something; and for the report when it began, the outcome so far, the error, and
        # the counts.
        self._items: AsyncIterator[Any] = stream.__aiter__()
        self._first: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: RequestWatch | None = None
        self._whole = False
        self._over = False
        self._spoke = 0.0
        self._started = 0.0
        self._outcome: Outcome = "completed"
        self._error: DGridError | None = None
        self._sent = 0
        self._events = 0
        self.report: Report | None = None

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes: one event or several, or a comment.

        Raises:
            StopAsyncIteration: The last frame has been given, or the client has left.
            ConfigError: The call was wrong.

        Cancel: the stream is closed; there is no next read.
        """
        if self._over:
            raise StopAsyncIteration
        try:
            if self._loop is None:
                await self._begin()
            return await self._next()
        except StopAsyncIteration:
            self._close()
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._outcome = "client_gone"
            self._close()
            raise

    async def aclose(self) -> None:
        """End the stream, if it has not ended. A second call does nothing."""
        if not self._over:
            self._outcome = self._outcome if self._whole and not len(self._coalescer) else "client_gone"
            self._close()

    def __del__(self) -> None:
        if getattr(self, "_over", True) or self._loop is None or self._loop.is_closed():
            return
        # The collector may run in any thread and inside any call.
        self._loop.call_soon_threadsafe(_release, self._stream, self._first, self._watch)

    async def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._spoke = monotonic()
        if self._request is not None:
            self._watch = RequestWatch(self._stream.abort)
            self._watch.begin(self._request)
        if isinstance(self._stream, EventStream):
            # Neither a timer for keep-alives nor one for sending may cut a request or its retries.
            self._first = self._loop.create_task(_first_of(self._stream))

    async def _next(self) -> bytes:
        coalescer = self._coalescer
        while True:
            now = monotonic()
            wait = coalescer.wait(now)
            if wait == 0 or (wait is not None and self._whole):
                frames = coalescer.take(now)
                self._sent += len(frames)
                self._spoke = now
                return "".join(map(_spelt, frames)).encode()
            if self._whole:
                raise StopAsyncIteration
            if wait is None and self._keep_alive is not None:
                wait = self._spoke + self._keep_alive - now
                if wait <= 0:
                    self._spoke = now
                    return _PING.encode()
            await self._read(wait)

    async def _read(self, seconds: float | None) -> None:
        """Read until something is due, or so many seconds."""
        try:
            if self._first is not None:
                done, _ = await asyncio.wait((self._first,), timeout=seconds)
                if done:
                    first, self._first = self._first, None
                    self._put(first.result())
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._read_on()
        except StopAsyncIteration:
            self._end()
        except ClientClosedError as error:
            if self._watch is not None and self._watch.left:
                self._outcome = "client_gone"
                self._whole = True
                self._coalescer.take(monotonic())
            else:
                self._fail(error)
        except ConfigError:
            raise
        except DGridError as error:
            self._fail(error)

    async def _read_on(self) -> None:
        read, coalescer = self._items.__anext__, self._coalescer
        waiting = len(coalescer) > 0
        while True:
            self._put(await read())
            # What is the first to wait is due sooner than the time that the caller gave.
            if coalescer.wait(monotonic()) == 0 or (not waiting and len(coalescer)):
                return

    def _put(self, event: Any) -> None:
        self._events += 1
        self._add(self._framer.frames(event))

    def _add(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._coalescer.add(frame)

    def _end(self) -> None:
        self._whole = True
        if isinstance(self._framer, Passage) and self._framer.failed:
            self._outcome = "upstream_error"
            self._error = getattr(self._stream, "error", None)
        self._add(self._framer.end(self._usage()))

    def _fail(self, error: DGridError) -> None:
        self._whole = True
        self._outcome = "upstream_error"
        self._error = error
        self._add(self._framer.fail(error, self._usage()))

    def _usage(self) -> Any:
        return getattr(self._stream, "usage", None)

    def _close(self) -> None:
        self._over = True
        _release(self._stream, self._first, self._watch)
        self._first = self._watch = None
        try:
            reply = getattr(self._stream, "snapshot", None)
        except DGridError:  # the events so far make none
            reply = None
        seconds = monotonic() - self._started if self._started else 0.0
        self.report = Report(self._outcome, self._sent, self._events, seconds, self._usage(), reply, self._error)


async def _first_of(stream: Any) -> Any:
    """Open a stream and return its first event."""
    await stream.open()
    return await anext(stream)


def _release(stream: Any, first: asyncio.Task[Any] | None, watch: RequestWatch | None) -> None:
    stream.abort()
    if first is not None:
        # What it raises now is nobody's news.
        first.add_done_callback(lambda task: task.cancelled() or task.exception())
        first.cancel()
    if watch is not None:
        watch.close()
