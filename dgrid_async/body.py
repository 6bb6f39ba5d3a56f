"""The body of one answer: its bytes in, the events, the reply so far, and how it ended out.

Rules
1. A chunk is decoded in one go into `ready`; an event is merged into the reply when it is taken, not sooner.
2. What came before a failure is taken first; the failure comes after it.
3. The format's own terminal rule ends a stream, never the end of the body alone. What is wrong behind a whole answer does not
   count, but an error that the gateway itself sends does.
4. The fast way takes what is in order and asks nothing; the first thing it does not like goes the slow way, which finds out
   what it is.

It never waits and reads no clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import orjson

from dgrid_async import codec, failures
from dgrid_async.endpoint import Endpoint, Progress
from dgrid_async.errors import (
    APIStatusError,
    DGridError,
    EventTooLargeError,
    StreamDecodeError,
    StreamTruncatedError,
    UnexpectedResponseError,
)
from dgrid_async.large_json import LargeJSON
from dgrid_async.sse import Payload, ServerSentEvent, SSEDecoder, Stray
from dgrid_async.wire import Reply

__all__ = ["Body", "Head", "reply_of"]

Event = TypeVar("Event")
ReplyT = TypeVar("ReplyT", bound=Reply)

# A JSON text in the place of a stream is tried before the body's end, for gateways that never end it: up to this size, and as
# long as no more bytes than these have been tried in vain.
_WORTH_A_TRY = 1024 * 1024
_VAIN_BYTES = 16 * 1024 * 1024
# An error that a gateway writes outside the grammar is some hundred bytes; what is longer than this is none.
_STRAY_BYTES = 64 * 1024
_BLANK = b" \t\r\n"
# Bytes at the end that are looked at, and that are kept of spaces.
_TAIL = 64
_BOM = b"\xef\xbb\xbf"
# How nearly every event stream begins.
_FIELDS = (b"data:", b"event:")
_LEAD = re.compile(rb"[ \t\r\n]*(?:\xef\xbb\xbf)?[ \t\r\n]*")


class Head(Protocol):
    """What has to be known of the answer that a body belongs to.

    Attributes:
        status: The HTTP status.
        headers: The response headers, names in lower case.
        content_type: The Content-Type header, or an empty string.
        request_id: The gateway's name for the call, or None.
        secret: The API key, to be taken out of what is shown; None where the client does not know it.
    """

    status: int
    request_id: str | None

    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102 -- above

    @property
    def content_type(self) -> str: ...  # noqa: D102 -- above

    @property
    def secret(self) -> str | None: ...  # noqa: D102 -- above


class Body(Generic[Event, ReplyT]):
    """One streamed body.

    Args:
        endpoint: The format.
        head: The answer that the body belongs to.
        max_event_bytes: The most that one event may take.

    Attributes:
        ready: Events decoded and not taken yet, oldest first.
        given: How many have been taken.
        over: Whether further bytes are of no use: the body has ended, or said its last word, or cannot be read on.
        progress: How far the events taken have come by the format's terminal rule.
    """

    __slots__ = (
        "_accumulator",
        "_cause",
        "_decode",
        "_decoder",
        "_endpoint",
        "_failure",
        "_head",
        "_limit",
        "_mender",
        "_stray",
        "_tried",
        "_unclear",
        "given",
        "over",
        "progress",
        "ready",
    )

    def __init__(self, endpoint: Endpoint[Event, ReplyT], head: Head, max_event_bytes: int) -> None:
        self._endpoint = endpoint
        self._head = head
        self._limit = max_event_bytes
        self._decode = endpoint.decode_event
        # The mutable state, beside the attributes above: the decoder and the accumulator, the bytes that do not show yet
        # whether this is an event stream (None: it is), how many of them were tried as JSON in vain, what mends split
        # characters (None: none was met), a JSON text outside the grammar, the error that the gateway sent, and what else
        # ended the body.
        self._decoder = SSEDecoder(max_event_bytes)
        self._accumulator = endpoint.accumulator()
        self._unclear: bytearray | None = bytearray()
        self._tried = 0
        self._mender: codec.SurrogateMender | None = None
        self._stray = b""
        self._failure: DGridError | None = None
        self._cause: DGridError | None = None
        # A list: an empty deque keeps 760 bytes, and few events are ever ready at a time.
        self.ready: list[Event] = []
        self.given = 0
        self.over = False
        self.progress = Progress.OPEN

    # ---------------------------------------------------------------------------------------------------------- taking

    def take(self) -> Event | None:
        """Return the next event, merged into the reply; or None if there is none until more bytes come."""
        if not self.ready:
            return None
        event = self.ready.pop(0)
        accumulator = self._accumulator
        try:
            accumulator.add(event)
        except Exception as error:  # noqa: BLE001 -- a vendor's surprise must not escape as a bare TypeError
            failure = StreamDecodeError(f"an event that cannot follow what came before: {error}")
            failure.__cause__ = error
            self._refuse(failure)
            return None
        progress = self.progress = accumulator.progress
        if progress:
            if accumulator.failure is not None:
                self._refuse(self._in_band(accumulator.failure))
                return None
            if progress is Progress.CLOSED:
                self.ready.clear()
                self.over = True
                self._failure = self._cause = None
        self.given += 1
        return event

    def verdict(self) -> DGridError | None:
        """Return what is wrong with the answer once all events of a body that is over are taken, or None if it is whole."""
        if self._failure is not None or self.progress:
            return self._failure
        if self._cause is None:
            words = "the body ended before the terminal event of its format: the answer is not whole"
            self._cause = StreamTruncatedError(words)
        return self._cause

    def forget(self) -> None:
        """Give up what has not been taken."""
        self.ready.clear()
        self.over = True

    def snapshot(self) -> ReplyT | None:
        """Return the reply that the events taken make, as an object of its own; None before the first.

        Raises:
            StreamDecodeError: They make none.
        """
        try:
            reply = self._accumulator.snapshot()
        except Exception as error:
            failure = StreamDecodeError(f"the events so far make no reply: {error}", request_id=self._head.request_id)
            failure.events_received = self.given
            raise failure from error
        return None if reply is None else _named(reply, self._head)

    @property
    def usage(self) -> Any:
        """The token counts so far, or None."""
        return self._accumulator.usage

    def _refuse(self, failure: DGridError) -> None:
        """Let neither the event at hand count nor what comes after it; this error does."""
        self.forget()
        self._failure = failure

    # --------------------------------------------------------------------------------------------------------- feeding

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes; not to be called once the body is over."""
        try:
            if self._unclear is None:
                self._take_payloads(self._decoder.payloads(chunk))
            elif not self._unclear and chunk.startswith(_FIELDS):
                self._unclear = None
                self._take_payloads(self._decoder.payloads(chunk))
            else:
                self._unclear += chunk
                self._sniff(self._unclear)
        except EventTooLargeError as error:
            self._give_up(error)

    def end(self, cause: DGridError | None = None) -> None:
        """Take in that no more bytes come.

        Args:
            cause: Why, where it is not the body's own end; what is wrong unless the answer is whole.
        """
        self._cause = self._cause or cause
        try:
            if self._unclear is not None:
                self._take_whole(bytes(self._unclear), at_end=True)
            else:
                self._take_payloads(self._decoder.last_payloads())
                if self._stray and not self.over:
                    self._misplaced(self._stray)
        except EventTooLargeError as error:
            self._give_up(error)
        self._take_held()
        self.over = True

    def _take_payloads(self, payloads: list[Payload]) -> None:
        if self._mender is not None:
            self._take_slowly(payloads)
            return
        # Only the first can have come in more than one chunk.
        large = payloads and payloads[0].__class__ is LargeJSON
        loads: Callable[[Any], Any] = _loads if large else orjson.loads
        decode, append = self._decode, self.ready.append
        for n, payload in enumerate(payloads):  # noqa: B007 -- where the slow way begins
            try:
                value = loads(payload)  # what it refuses goes the slow way
                if "error" in value and value["error"]:  # noqa: RUF019 -- a call less per event
                    raise ValueError
                event = decode(value)
            except Exception:  # noqa: BLE001 -- the slow way finds out what it is
                break
            if event is not None:
                append(event)
        else:
            return
        # Not inside the except: what it raises would keep the decoder's own error, and that the whole text.
        self._take_slowly(payloads[n:])

    def _take_slowly(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            if self.over:
                return
            if isinstance(payload, Stray):
                text = self._stray = payload.text[:_STRAY_BYTES]
                if len(payload.text) > _STRAY_BYTES or _first_json(text) is not None:
                    self._misplaced(text)
            elif isinstance(payload, ServerSentEvent):
                self._take_data(payload.data.encode("utf-8", "surrogatepass"), payload.event)
            else:
                self._take_data(bytes(payload), "message")

    def _take_data(self, data: bytes, name: str) -> None:
        text = data.strip()
        if not text or (name == "ping" and not text.startswith(b"{")):
            return
        if text.startswith(b"[DONE]"):
            self._take_held()
            self.over = True
            return
        try:
            values = self._mended(text)
        except ValueError as error:
            self._take_held()
            if name == "error":
                self._fail(text.decode("utf-8", "replace"))
            else:
                self._undecodable("no JSON", text, error)
            return
        self._take_values(values, name)

    def _mended(self, text: bytes) -> list[Any]:
        """Return the values that are complete now that this one came."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = None
        if value is None:  # refused, or null: for either the slow way is right
            self._mender = self._mender or codec.SurrogateMender()
            value = codec.decode_hard(text)
        return [value] if self._mender is None else self._mender.feed(value)

    def _take_values(self, values: list[Any], name: str = "message") -> None:
        for value in values:
            if isinstance(value, list) and len(value) == 1:
                value = value[0]  # noqa: PLW2901 -- Gemini's list of one
            if isinstance(value, dict) and (name == "error" or value.get("error")):
                self._fail(value.get("error") or value)
                return
            if not isinstance(value, dict):
                self._undecodable("no JSON object", codec.encode(value))
                return
            try:
                event = self._decode(value)
            except Exception as error:  # noqa: BLE001 -- of any class: the wire made it
                self._undecodable(f"what this format does not allow ({error})", codec.encode(value), error)
                return
            if event is not None:
                self.ready.append(event)

    def _take_held(self) -> None:
        """Take in the events that waited for the other half of a character."""
        if self._mender is not None and not self.over:
            self._take_values(self._mender.end())

    def _sniff(self, body: bytearray) -> None:
        """Tell by the first byte that is no space what the body is, whatever its content type says."""
        lead = _LEAD.match(body)
        begin = 0 if lead is None else lead.end()
        start = body[begin : begin + len(_BOM)]
        if not start:
            del body[:-_TAIL]  # spaces for ever must neither be kept nor looked at again
        elif start != _BOM and _BOM.startswith(start):
            return
        elif start.startswith(b"<"):
            self._unexpected("an HTML page", bytes(body))
        elif not start.startswith((b"{", b"[")):
            self._unclear = None
            self._take_payloads(self._decoder.payloads(bytes(body)))
        elif len(body) > self._limit:
            raise EventTooLargeError(
                f"the answer is above {self._limit:,} bytes: raise Limits.max_event_bytes if that is expected",
                limit=self._limit,
            )
        elif body[-_TAIL:].rstrip(_BLANK).endswith((b"}", b"]")) and len(body) < _WORTH_A_TRY and self._tried < _VAIN_BYTES:
            self._tried += len(body)
            self._take_whole(bytes(body), at_end=False)

    def _take_whole(self, body: bytes, *, at_end: bool) -> None:
        """Take in one JSON text in the place of a stream: a reply is a stream of one result, an error an error."""
        text = _LEAD.sub(b"", body, count=1).rstrip(_BLANK)
        if not text:
            return
        try:
            value = codec.decode(text)
        except ValueError as error:
            if not at_end:
                return
            # What would have been taken before the rest came, had it come by itself.
            value = _first_json(text[:_WORTH_A_TRY])
            if value is None:
                if self._cause is None:
                    self._undecodable("neither an event stream nor whole JSON", text, error)
                return
        self._unclear = None
        # Gemini's stream without alt=sse is a list of what would have been the events.
        for item in value if isinstance(value, list) else [value]:
            failure = failures.error_in(item) or (self._endpoint.failure_of(item) if isinstance(item, dict) else None)
            if failure is not None:
                self._fail(failure)
                break
            try:
                self._endpoint.decode_reply(item)
                events = self._endpoint.replay(item)
            except Exception as error:  # noqa: BLE001 -- of any class: the wire made it
                self._unexpected(f"JSON that is no reply ({error})", text, error)
                break
            self._take_values(events)
        self.over = True

    # ---------------------------------------------------------------------------------------------------------- failing

    def _fail(self, error: Any) -> None:
        """Take in an error that the gateway sent."""
        self._failure = self._in_band(error)
        self.over = True

    def _in_band(self, error: Any) -> APIStatusError:
        return failures.from_event(error, self._head.headers, secret=self._head.secret)

    def _give_up(self, error: DGridError, cause: BaseException | None = None) -> None:
        """Read no further: the error is told behind what is ready, unless the answer is whole by then."""
        error.__cause__ = cause
        self._cause = self._cause or error
        self.over = True

    def _misplaced(self, text: bytes) -> None:
        """Take in a JSON text outside the event stream's grammar: the error it holds, if it does."""
        failure = failures.error_in(_first_json(text))
        if failure is not None:
            self._fail(failure)
        else:
            self._undecodable("a line that is no field of an event stream", text)

    def _undecodable(self, what: str, data: bytes, cause: BaseException | None = None) -> None:
        shown = failures.excerpt(data, secret=self._head.secret)
        self._give_up(StreamDecodeError(f"the stream of {self._endpoint.name} holds {what}: {shown!r}", excerpt=shown), cause)

    def _unexpected(self, what: str, body: bytes, cause: BaseException | None = None) -> None:
        self._give_up(_no_answer(self._endpoint, self._head, body, what), cause)


def _loads(data: Any) -> Any:
    return data.value() if isinstance(data, LargeJSON) else orjson.loads(data)


def reply_of(endpoint: Endpoint[Any, ReplyT], head: Head, body: bytes | LargeJSON) -> ReplyT:
    """Return the reply that the whole body of a plain 2xx answer is.

    Raises:
        APIStatusError: It is an error all the same.
        UnexpectedResponseError: It is no reply of this endpoint.
    """
    try:
        value = codec.decode(body)
    except ValueError as error:
        body = bytes(body)
        what = "an HTML page" if failures.looks_like_html(body) else "not JSON" if body.strip() else "empty"
        raise _no_answer(endpoint, head, body, what) from error
    failure = failures.error_in(value)
    if failure is None and isinstance(value, dict):
        failure = endpoint.failure_of(value)
    if failure is not None:
        raise failures.from_event(failure, head.headers, secret=head.secret)
    try:
        reply = endpoint.decode_reply(value)
    except Exception as error:
        raise _no_answer(endpoint, head, bytes(body), f"JSON of the wrong shape ({error})") from error
    return _named(reply, head)


def _named(reply: ReplyT, head: Head) -> ReplyT:
    # No field of the wire, so no argument of the class.
    reply._request_id = head.request_id  # type: ignore[attr-defined]  # noqa: SLF001 -- a slot without an annotation
    return reply


def _no_answer(endpoint: Endpoint[Any, Any], head: Head, body: bytes, what: str) -> UnexpectedResponseError:
    shown = failures.excerpt(body, secret=head.secret)
    return UnexpectedResponseError(
        f"the answer of {endpoint.name} is {what} (content type {head.content_type!r}): check base_url; it begins {shown!r}",
        status=head.status,
        content_type=head.content_type,
        excerpt=shown,
        request_id=head.request_id,
    )


def _first_json(text: bytes) -> Any:
    """Return the JSON value that a text begins with, or None."""
    said = text.decode("utf-8", "replace").lstrip()
    try:
        _, end = json.JSONDecoder(parse_int=str).raw_decode(said)  # int() refuses some thousands of digits
        return codec.decode(said[:end].encode())
    except (ValueError, RecursionError):
        return None
