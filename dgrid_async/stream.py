"""The stream of events that all four formats share: bytes of an answer in, events, texts and the reply out.

Rules
1. One class with `__anext__`, no generator: there is nothing to close twice and no state that runs while nobody reads.
2. A read's events are decoded in one go and handed out one by one; each is merged into the reply when it is handed out.
3. What arrived before a failure is handed out first; the failure comes after it, with the reply so far.
4. The format's own terminal rule ends a stream, never the end of the body alone, and the body's end is not waited for.
5. One timer per stream watches all limits, and only the time in which a reader waits counts; an event costs it two
   assignments.
6. A failure before the first event is the retry policy's; after it, the caller's.
"""

from __future__ import annotations

import asyncio
import json
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import orjson

from dgrid_async import codec, failures
from dgrid_async.endpoint import Endpoint, Progress
from dgrid_async.errors import (
    APIStatusError,
    ClientClosedError,
    ConfigError,
    DGridError,
    EventTooLargeError,
    Phase,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
)
from dgrid_async.sse import Payload, SSEDecoder, ServerSentEvent, Stray
from dgrid_async.transport import Answer, Call, timed_out
from dgrid_async.wire import Reply

__all__ = ["EventStream", "TextStream"]

Event = TypeVar("Event")
ReplyT = TypeVar("ReplyT", bound=Reply)

# How long, in seconds, a gateway may stay silent after the answer is whole before the stream ends by itself: usage comes
# right behind the last word, and some gateways then hold the socket open without ever saying that they are done.
_GRACE = 1.0
# Bytes looked at to tell an event stream from a page or a JSON text.
_SNIFFED = 64
# Up to this many bytes a JSON text in the place of a stream is tried before the body's end.
_WORTH_A_TRY = 1024 * 1024
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


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
        self._decode = endpoint.decode_event
        # The mutable state. Of the call: the answer, whether its connection is held, whether one is being waited for, and
        # whether an event has been handed out, after which there is no other attempt.
        self._answer: Answer | None = None
        self._attached = False
        self._opening = False
        self._handed = False
        # Of the clock: since when the reader waits for bytes (0: it does not) and for an event, since when the answer is
        # whole, the timer, and whether it is set for the limits of a reader.
        self._waits_since = 0.0
        self._quiet_since = 0.0
        self._whole_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watching = False
        self._reset()

    def _reset(self) -> None:
        """Begin with a fresh body."""
        # The mutable state of one body: its decoder and accumulator, the bytes that do not show yet whether it is an event
        # stream (None: it is), the events decoded and not handed out, how many were decoded, whether there will be no more
        # bytes and why, the error to raise behind the last event, and whether all has been told.
        self._decoder = SSEDecoder(self._call.request.limits.max_event_bytes)
        self._accumulator = self._endpoint.accumulator()
        self._mender: codec.SurrogateMender | None = None
        self._unclear: bytearray | None = bytearray()
        self._ready: deque[Event] = deque()
        self._decoded = 0
        self._body_over = False
        self._cause: DGridError | None = None
        self._error: DGridError | None = None
        self._ended = False

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
        if self._error is not None and failure is None:
            raise self._error
        self._opening = True
        try:
            answer: Answer = await self._call.send(failure=failure)
        except DGridError as error:
            self._error = error
            raise
        finally:
            self._opening = False
        if failure is not None:
            self._reset()
        self._answer = answer
        self._attached = True
        self._watch()

    def abort(self) -> None:
        """End the stream now: a task that waits in it gets a `ClientClosedError` at once, and the connection is cut.

        Callable from any task of the loop and at any time; a second call does nothing.
        """
        self._stop(ClientClosedError("the stream was aborted"), cut=True)

    async def close(self) -> None:
        """End the stream as `abort` does, where it has not ended by itself. A second call does nothing."""
        self._stop(ClientClosedError("the stream was closed"), cut=not self._accumulator.progress)

    def _stop(self, reason: DGridError, *, cut: bool) -> None:
        if self._opening:
            self._error = reason
            self._call.interrupt(reason)
        elif not self._ended and self._error is None:
            self._forget_ready()
            self._error = reason
            self._detach(reason if cut or self._waits_since else None)

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
        try:
            reply = self._accumulator.snapshot()
        except Exception as error:
            failure = StreamDecodeError(f"the events so far make no reply: {error}", request_id=self.request_id)
            failure.events_received = self._decoded - len(self._ready)
            raise failure from error
        if reply is not None:
            reply._request_id = self.request_id  # noqa: SLF001 -- no field of the wire, so no argument of the class
        return reply

    @property
    def usage(self) -> Any:
        """The token counts so far, the object that the reply holds; None until the gateway sends some."""
        return self._accumulator.usage

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
        reply = self.snapshot
        if reply is None:
            raise self._told(StreamTruncatedError("the stream held no event"))
        return reply

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
        ready = self._ready
        while True:
            if not ready:
                if self._waits_since:
                    raise ConfigError("two tasks read one stream at the same time: let one read and hand the events on")
                self._waits_since = self._quiet_since = monotonic()
                if not self._watching:
                    self._watch()
                try:
                    while not ready:
                        if self._body_over or self._error is not None or self._answer is None:
                            await self._conclude()
                            ready = self._ready
                            continue
                        try:
                            chunk = await self._answer.read()
                        except Exception as error:  # noqa: BLE001 -- whatever the HTTP library raises becomes ours
                            self._lost(error)
                        else:
                            self._take(chunk)
                        self._waits_since = monotonic()
                finally:
                    self._waits_since = 0.0
            event = ready.popleft()
            try:
                self._accumulator.add(event)
            except Exception as error:  # noqa: BLE001 -- a vendor's surprise must not escape as a bare TypeError
                self._refuse(StreamDecodeError(f"an event that cannot follow what came before: {error}"), error)
                continue
            if self._accumulator.progress and not self._progressed():
                continue
            self._handed = True
            return event

    async def _conclude(self) -> None:
        """Tell how the body ended, or get another one."""
        if self._answer is None and self._error is None:
            raise ConfigError("the stream is not open: use `async with`, or await open()")
        if self._error is None and not self._ended:
            if self._accumulator.progress:
                self._ended = True
            else:
                self._error = self._cause or StreamTruncatedError(
                    "the body ended before the terminal event of its format: the answer is not whole"
                )
            self._detach(self._error)
        if self._ended:
            raise StopAsyncIteration
        if self._handed or self._answer is None or isinstance(self._error, ClientClosedError):
            raise self._told(self._error)
        self._detach(self._error)
        try:
            await self._open(self._error)
        except DGridError as error:
            raise self._told(error) from error.__cause__

    def _progressed(self) -> bool:
        """Act on what the accumulator says of the last event; return whether the event counts."""
        accumulator = self._accumulator
        if accumulator.failure is not None:
            self._refuse(self._in_band(accumulator.failure))
            return False
        if accumulator.progress is Progress.CLOSED:
            self._forget_ready()
            self._body_over = self._ended = True
            self._detach()
        else:
            begun = not self._whole_since
            self._whole_since = monotonic()
            if begun:
                self._watch()
        return True

    def _refuse(self, error: DGridError, cause: BaseException | None = None) -> None:
        """Let neither the event at hand count nor what comes after it; this error does."""
        if cause is not None:
            error.__cause__ = cause
        self._forget_ready()
        self._decoded -= 1
        self._error = error
        self._detach(error)

    def _forget_ready(self) -> None:
        self._decoded -= len(self._ready)
        self._ready.clear()

    def _lost(self, error: Exception) -> None:
        """Take in that the connection failed, after what had arrived before it did."""
        answer = self._answer
        if self._error is not None or answer is None:
            return
        rest = answer.rest()
        if rest:
            self._take(rest)
        if self._error is None and not self._body_over:
            self._cause = answer.translate(error)
            if self._cause is not error:
                self._cause.__cause__ = error
            self._take(b"")

    def _told(self, error: DGridError | None) -> DGridError:
        """Return the error with what had arrived on it."""
        if error is None:
            error = ClientClosedError("the stream has ended")
        if error.snapshot is None and self._decoded:
            try:
                error.snapshot = self.snapshot
            except DGridError:
                error.snapshot = None
        error.events_received = self._decoded - len(self._ready)
        error.request_id = error.request_id or self.request_id
        return self._call.fail(error)

    # --------------------------------------------------------------------------------------------------------- decoding

    def _take(self, chunk: bytes) -> None:
        """Turn the next bytes of the body into events; no bytes are its end."""
        try:
            if not chunk:
                self._take_end()
            elif self._unclear is not None:
                self._sniff(chunk)
            else:
                self._take_payloads(self._decoder.payloads(chunk))
        except EventTooLargeError as error:
            self._error = error

    def _take_payloads(self, payloads: list[Payload]) -> None:
        if self._mender is not None:
            self._take_slowly(payloads)
        else:
            loads, decode, append = orjson.loads, self._decode, self._ready.append
            for n, payload in enumerate(payloads):
                try:
                    value = loads(payload)  # type: ignore[arg-type]  # what it refuses goes the slow way
                    if "error" in value and value["error"]:
                        raise ValueError  # noqa: TRY301
                    event = decode(value)
                except Exception:  # noqa: BLE001 -- the slow way finds out what it is
                    self._take_slowly(payloads[n:])
                    break
                if event is not None:
                    append(event)
        self._decoded += len(self._ready)

    def _take_slowly(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            if self._error is not None or self._body_over:
                return
            if isinstance(payload, Stray):
                self._error = self._misplaced(payload.text)
            elif isinstance(payload, ServerSentEvent):
                self._take_data(payload.data.encode("utf-8", "surrogatepass"), payload.event)
            else:
                self._take_data(bytes(payload), "message")

    def _take_data(self, data: bytes, name: str) -> None:
        text = data.strip()
        if not text or (name == "ping" and not text.startswith(b"{")):
            return
        if text == b"[DONE]":
            self._body_over = True
            return
        try:
            try:
                values = [orjson.loads(text)]
                if self._mender is not None:
                    values = self._mender.feed(values[0])
            except orjson.JSONDecodeError:
                self._mender = self._mender or codec.SurrogateMender()
                values = self._mender.feed(codec.decode_hard(text))
        except ValueError as error:
            self._error = (
                self._in_band(text.decode("utf-8", "replace")) if name == "error" else self._undecodable("no JSON", text, error)
            )
            return
        self._take_values(values, name)

    def _take_values(self, values: list[Any], name: str = "message") -> None:
        for value in values:
            if isinstance(value, list) and len(value) == 1:
                value = value[0]  # noqa: PLW2901 -- Gemini's list of one
            if isinstance(value, dict) and (name == "error" or value.get("error")):
                self._error = self._in_band(value.get("error") or value)
                return
            if not isinstance(value, dict):
                self._error = self._undecodable("no JSON object", codec.encode(value))
                return
            try:
                event = self._decode(value)
            except Exception as error:  # noqa: BLE001 -- of any class: the wire made it
                self._error = self._undecodable(f"not of this format ({error})", codec.encode(value), error)
                return
            if event is not None:
                self._ready.append(event)

    def _take_end(self) -> None:
        """Take in the end of the body: what it left unfinished, and what was held back."""
        if self._unclear is not None:
            self._take_whole(bytes(self._unclear))
        else:
            self._take_payloads(self._decoder.last_payloads())
        if self._mender is not None and self._error is None:
            before = len(self._ready)
            self._take_values(self._mender.end())
            self._decoded += len(self._ready) - before
        self._body_over = True

    def _sniff(self, chunk: bytes) -> None:
        """Tell by the first byte that is no space what the body is, whatever its content type says."""
        body = self._unclear = (self._unclear or bytearray()) + chunk
        start = bytes(body[:_SNIFFED]).lstrip(_BLANK)
        if len(start) < len(_BOM) and _BOM.startswith(start) and len(body) < _SNIFFED:
            return
        start = start.removeprefix(_BOM).lstrip(_BLANK)
        limit = self._call.request.limits.max_event_bytes
        if start.startswith(b"<"):
            self._error = self._unexpected("an HTML page", bytes(body))
        elif not start.startswith((b"{", b"[")):
            self._unclear = None
            self._take_payloads(self._decoder.payloads(bytes(body)))
        elif len(body) > limit:
            self._error = EventTooLargeError(f"the answer is above {limit:,} bytes: raise Limits.max_event_bytes", limit=limit)
        elif len(body) < _WORTH_A_TRY and bytes(body[-_SNIFFED:]).rstrip(_BLANK).endswith((b"}", b"]")):
            self._take_whole(bytes(body), at_end=False)  # some gateways never end the body

    def _take_whole(self, body: bytes, *, at_end: bool) -> None:
        """Take in one JSON text in the place of a stream: a reply is a stream of one result, an error an error."""
        text = body.lstrip(_BLANK).removeprefix(_BOM).strip(_BLANK)
        if not text:
            return
        try:
            value = codec.mend(codec.decode(text))
        except ValueError as error:
            value = _first_json(text)
            if not at_end:
                return
            if failures.error_in(value) is None:
                if self._cause is None:
                    self._error = self._undecodable("neither an event stream nor JSON", text, error)
                return
        self._unclear = None
        self._body_over = True
        # Gemini's stream without alt=sse is a list of what would have been the events.
        for item in value if isinstance(value, list) else [value]:
            failure = failures.error_in(item) or (self._endpoint.failure_of(item) if isinstance(item, dict) else None)
            if failure is not None:
                self._error = self._in_band(failure)
                break
            try:
                self._endpoint.decode_reply(item)
                events = self._endpoint.replay(item)
            except Exception as error:  # noqa: BLE001 -- of any class: the wire made it
                self._error = self._unexpected(f"JSON that is no reply ({error})", text, error)
                break
            self._take_values(events)
        self._decoded += len(self._ready)

    def _in_band(self, error: Any) -> APIStatusError:
        secret = None if self._answer is None else self._answer.secret
        return failures.from_event(error, self.headers, secret=secret)

    def _misplaced(self, text: bytes) -> DGridError:
        """Return the error for a JSON text outside the event stream's grammar: the one it holds, if it does."""
        failure = failures.error_in(_first_json(text))
        return self._undecodable("a line that is no field of an event stream", text) if failure is None else self._in_band(failure)

    def _undecodable(self, what: str, data: bytes, cause: BaseException | None = None) -> StreamDecodeError:
        shown = failures.excerpt(data)
        error = StreamDecodeError(f"the stream of {self._endpoint.name} holds {what}: {shown!r}", excerpt=shown)
        error.__cause__ = cause
        return error

    def _unexpected(self, what: str, body: bytes, cause: BaseException | None = None) -> UnexpectedResponseError:
        answer = self._answer
        content_type = "" if answer is None else answer.content_type
        shown = failures.excerpt(body)
        error = UnexpectedResponseError(
            f"the answer to a stream request is {what} (content type {content_type!r}): check base_url; it begins {shown!r}",
            status=self.status or 0,
            content_type=content_type,
            excerpt=shown,
        )
        error.__cause__ = cause
        return error

    # ------------------------------------------------------------------------------------------------------------ limits

    def _watch(self) -> None:
        """Set the timer for the first moment at which a limit could run out."""
        moments = [moment for moment, _, _ in self._limits()]
        self._set_timer(min(moments, default=None))
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
        limits, started = self._call.request.timeouts, self._call.started
        idle_from = self._waits_since or monotonic()
        event_from = self._quiet_since if self._waits_since else idle_from
        found: list[tuple[float, Phase | None, float]] = []
        if limits.total is not None:
            found.append((started + limits.total, "total", limits.total))
        if limits.idle is not None:
            found.append((idle_from + limits.idle, "idle", limits.idle))
        if not self._handed:
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
                self._forget_ready()
                self._error = timed_out(phase, seconds, self.request_id)
                self._detach(self._error)
                return
        if self._waits_since:
            self._watch()
        else:
            # Nobody reads: the next read sets the timer anew.
            total = self._call.request.timeouts.total
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


def _check(reference: weakref.ref[EventStream[Any, Any]]) -> None:
    stream = reference()
    if stream is not None:
        stream._check_limits()  # noqa: SLF001 -- its own timer


def _first_json(text: bytes) -> Any:
    """Return the JSON value that a text begins with, or None."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError):
        return None
    return codec.mend(value)
