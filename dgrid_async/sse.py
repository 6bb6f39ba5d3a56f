"""The event stream format: bytes in, server-sent events out.

Rules (WHATWG HTML, "Server-sent events", 9.2.6)
1. The stream is UTF-8; one leading byte order mark is dropped; invalid bytes become U+FFFD.
2. A line ends with LF, CR LF or CR; nothing else ends a line.
3. A blank line dispatches the event gathered so far; one without data is dropped. The last event id outlives its event.

Additions for what gateways send
4. An event that the end of the body leaves without its blank line is delivered by `end()` when its data is complete JSON
   or `[DONE]`; the standard drops it.
5. A line that is no field and begins with `{` or `[` starts a stray JSON text: gateways write late failures that way.
   `feed` ignores it as the standard says; `payloads` hands it on as a `Stray`.
6. One event, and one line, is bounded in bytes.
7. An event of one large data line is handed on by `payloads` as a `LargeJSON`, taken in as it came.

The decoder is sans-IO and linear in its input, in whatever pieces it comes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import attrs

from dgrid_async.errors import EventTooLargeError
from dgrid_async.large_json import LARGE_BYTES, LargeJSON

__all__ = ["SSEDecoder", "ServerSentEvent", "Stray"]

# Inline images and audio make events of many megabytes; gateways of this family allow 64 MiB.
MAX_EVENT_BYTES = 64 * 1024 * 1024
# Comments are thrown out of an unfinished event when it has grown beyond this, and each time it has doubled since.
_TIDY_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
# The names that say something that an event's data may not.
_TELLING = (b"error", b"ping")
_STRAY_STARTS = (b"{", b"[")
# More digits of milliseconds than these are no time, and int() refuses some thousands of them.
_RETRY_DIGITS = 18


@attrs.define
class ServerSentEvent:
    """One dispatched event.

    Attributes:
        event: The event's type; "message" where the stream named none.
        data: The data lines, joined by LF.
        id: The last event id of the stream so far, or an empty string.
        retry: The reconnection time in milliseconds that came with this event, or None.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None


@attrs.frozen
class Stray:
    """A JSON text outside the grammar.

    Attributes:
        text: The bytes from its first line on, as far as they have come; the next one of the stream holds these and more.
    """

    text: bytes


Payload = bytes | LargeJSON | ServerSentEvent | Stray


class SSEDecoder:
    """Turns the bytes of one stream into events; one decoder per stream, read by `feed` or by `payloads`.

    Args:
        max_event_bytes: The most bytes that one event may take, field names included and comments left out, and the
            most that one line may; None is no bound.
    """

    def __init__(self, max_event_bytes: int | None = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        # The mutable state: the pieces of the unfinished event, their size, the size at which comments are thrown out
        # of them, the bytes that may yet be a byte order mark (None: past it), whether the last chunk ended in CR, the
        # last event id, the stray text so far, whether an event above the bound has been met, what stood before the data of
        # the last payload (the next one mostly begins with the same), and of an event with a large data line what stands
        # before that and the line; what follows is then gathered as if the line were empty. And whether of all this nothing
        # counts but the beginning of an event, no more than a piece: then `payloads` has a short way.
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._tidy_at = _TIDY_BYTES if max_event_bytes is None else min(_TIDY_BYTES, max_event_bytes + 1)
        self._first_tidy = self._tidy_at
        self._head: bytes | None = b""
        self._after_cr = False
        self._id = ""
        self._stray = bytearray()
        self._overflow = False
        self._lead = b"data: "
        self._large: tuple[bytes, LargeJSON] | None = None
        self._calm = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this chunk completes.

        Raises:
            EventTooLargeError: The event under way is above the bound; the events before it have been returned.
        """
        return [event for block in self._blocks(chunk) if block and (event := self._parse(block)) is not None]

    def end(self) -> list[ServerSentEvent]:
        """Return the last event if the body's end left it without its blank line and it is complete.

        Raises:
            EventTooLargeError: As `feed`.
        """
        event = self._parse(self._last_block())
        return [event] if event is not None and _is_complete(event.data) else []

    def payloads(self, chunk: bytes) -> list[Payload]:
        """Return what `feed` does in the form that costs least, and stray texts.

        An event of one data line whose type says nothing that its data does not is only that data. Once a stray text has
        begun, all that follows is taken for more of it.

        Raises:
            EventTooLargeError: As `feed`; or the stray text is above the bound.
        """
        lead, begun = self._lead, self._pieces
        # How nearly every chunk is: events, mostly one, that are one line behind what stood before the last payload. Then none
        # needs a look of its own.
        if self._calm and b"\r" not in chunk and self._size + len(chunk) < self._first_tidy:
            text = begun[0] + chunk if begun else chunk
            end = text.rfind(b"\n\n")
            if end > 0 and text.startswith(lead):
                data: Any = text[len(lead) : end]
                if end + 2 == len(text) and b"\n" not in data:
                    self._pieces, self._size = [], 0
                    return [data]
                payloads: list[Any] = data.split(b"\n\n" + lead)
                if b"\n" not in b"".join(payloads):  # in one go: a look at each costs more, and so does counting
                    tail = text[end + 2 :]
                    self._pieces = [tail] if tail else []
                    self._size = len(tail)
                    return payloads
        return self._payloads(chunk)

    def _payloads(self, chunk: bytes) -> list[Payload]:
        """Return what `payloads` does, whatever the chunk."""
        items: list[Payload] = []
        append = items.append
        if self._large is not None:
            blocks = self._blocks_behind(*self._large, chunk)
            if blocks and isinstance(blocks[0], LargeJSON):
                append(blocks.pop(0))
        else:
            blocks = self._blocks(chunk)
        if self._stray:
            return self._gather(blocks, items)
        rest = iter(blocks)
        lead = self._lead
        for block in rest:
            found = lead if block.startswith(lead) else _lead(block)
            start = len(found)
            if start and block.find(b"\n", start) < 0:
                lead = found
                append(block[start:])
            elif block:
                fields, stray = _split_stray(block)
                event = self._parse(fields)
                if event is not None:
                    append(event)
                if stray:
                    self._gather([stray, *rest], items)
        self._lead = lead
        if self._size >= LARGE_BYTES and not self._stray:
            self._look_for_large()
        unusual = self._after_cr or self._stray or self._overflow or self._large or len(self._pieces) > 1
        self._calm = self._head is None and not unusual and self._tidy_at == self._first_tidy
        return items

    def last_payloads(self) -> list[Payload]:
        """Return what `end` does, and the stray text."""
        if self._large is not None:
            last = self._blocks_behind(*self._large, b"\n\n")
            if isinstance(last[0], LargeJSON):
                return [last[0]] if _is_complete(last[0]) else []
            self._pieces = [last[0]]
        block = self._last_block()
        if self._stray:
            return self._gather([block], [])
        fields, stray = _split_stray(block)
        event = self._parse(fields)
        items: list[Payload] = [event] if event is not None and _is_complete(event.data) else []
        return self._gather([stray], items) if stray else items

    def _look_for_large(self) -> None:
        """Take the data of the unfinished event in as it comes from here on, if it is one large line."""
        block = self._pieces[0]
        lead = _lead(block)
        if lead and len(self._pieces) == 1 and block.find(b"\n", len(lead)) < 0:
            self._large = lead, LargeJSON(bytes(block[len(lead) :]))
            self._pieces, self._size = [], 0

    def _blocks_behind(self, lead: bytes, data: LargeJSON, chunk: bytes) -> list[Any]:
        """Return what `_blocks` does, of a chunk behind the beginning of a large line: that line is the first."""
        if not self._pieces:
            end = min((at for mark in (b"\n", b"\r") if (at := chunk.find(mark)) >= 0), default=len(chunk))
            data.add(chunk[:end])
            chunk = chunk[end:]
            if self.max_event_bytes is not None and len(lead) + len(data) > self.max_event_bytes:
                self._overflow, self._large = True, None
                raise self._too_large()
            if not chunk:
                return []
            self._pieces = [lead]
            self._size = len(lead)
        blocks: list[Any] = self._blocks(chunk)
        if blocks:
            self._large = None
            if blocks[0] == lead:
                blocks[0] = data
            else:
                further = blocks[0][len(lead) :]
                size = sum(1 + len(line) for line in further.split(b"\n") if line and not line.startswith(b":"))
                if self.max_event_bytes is not None and len(lead) + len(data) + size > self.max_event_bytes:
                    self._overflow = True
                    raise self._too_large()
                blocks[0] = lead + bytes(data) + further
        return blocks

    def _gather(self, blocks: Iterable[bytes], items: list[Payload]) -> list[Payload]:
        """Return the items, and behind them the stray text, grown by what of these blocks is within the bound.

        Its own blank lines separate nothing.
        """
        stray, limit = self._stray, self.max_event_bytes or sys.maxsize
        size = len(stray)
        for block in blocks:
            more = b"\n\n" + block if stray else block
            if len(stray) + len(more) > limit:
                self._overflow = True
                break
            stray += more
        if len(stray) > size:
            items.append(Stray(bytes(stray)))
        elif self._overflow and not items:
            raise self._too_large()
        return items

    def _last_block(self) -> bytes:
        """Return what the end of the body leaves unfinished."""
        if self._head:
            self._pieces, self._head = [self._head], None
        block = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        if self._overflow or self._exceeds(block):
            self._overflow = True
            raise self._too_large()
        return block

    def _blocks(self, chunk: bytes) -> list[bytes]:
        """Return the text of each event that the chunk completes, its lines ended by LF, its blank line taken off."""
        self._calm = False
        if self._head is not None:
            chunk = self._head + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._head = chunk
                return []
            self._head = None
            chunk = chunk.removeprefix(_BOM)
        if self._overflow:
            raise self._too_large()
        if self._after_cr:
            self._after_cr = not chunk
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not chunk:
            return []
        pieces, size = self._pieces, self._size + len(chunk)
        blocks: list[Any]  # of bytes; a large one is a bytearray
        if not pieces:
            blocks = chunk.split(b"\n\n")
        else:
            if chunk.startswith(b"\n") and pieces[-1].endswith(b"\n"):  # the blank line lies on the seam
                pieces[-1], end, rest = pieces[-1][:-1], 0, 1
            else:
                end = chunk.find(b"\n\n")
                rest = end + 2
            if end < 0:
                if size < LARGE_BYTES:
                    pieces.append(chunk)
                elif isinstance(pieces[0], bytearray) and len(pieces) == 1:
                    pieces[0] += chunk
                else:  # thousands of small blocks, once freed, may stay with the process; one large one does not
                    pieces[:] = [bytearray().join([*pieces, chunk])]
                self._size = size
                if size > self._tidy_at:
                    self._tidy()
                return []
            if isinstance(pieces[0], bytearray) and len(pieces) == 1:
                pieces[0] += chunk[:end]
                block: bytes | bytearray = pieces[0]
            else:
                pieces.append(chunk[:end])
                block = b"".join(pieces)
            blocks = [block, *chunk[rest:].split(b"\n\n")]
            pieces.clear()
        tail = blocks.pop()
        self._pieces = [tail] if tail else []
        self._size = len(tail)
        self._tidy_at = self._first_tidy
        if self.max_event_bytes is not None and size > self.max_event_bytes:
            return self._bounded(blocks)
        return blocks

    def _bounded(self, blocks: list[bytes]) -> list[bytes]:
        """Return the events before the first one above the bound."""
        for n, block in enumerate([*blocks, *self._pieces]):
            if self._exceeds(block):
                self._overflow = True
                if n == 0:
                    raise self._too_large()
                return blocks[:n]
        return blocks

    def _exceeds(self, block: bytes | bytearray) -> bool:
        """Return whether a block has a line above the bound, or is above it when its comments are left out."""
        limit = self.max_event_bytes
        if limit is None or len(block) <= limit:
            return False
        lines = [line for line in block.split(b"\n") if line]
        fields = [len(line) for line in lines if not line.startswith(b":")]
        return sum(fields) + len(fields) - 1 > limit or max(map(len, lines), default=0) > limit

    def _tidy(self) -> None:
        """Throw complete comment lines out of the unfinished event, and check its size.

        A piece is copied only where comments are: a large event is not copied over and over.
        """
        pieces, limit = self._pieces, self.max_event_bytes
        # The piece in which the unfinished line begins, where in it, and the size of the lines before it.
        last = next((n for n in range(len(pieces) - 1, 0, -1) if b"\n" in pieces[n]), 0)
        begin, complete, overlong = pieces[last].rfind(b"\n") + 1, 0, False
        starts = (pieces[last][begin : begin + 1], *pieces[last + 1 :])
        comment = next((part for part in starts if part), b"").startswith(b":")
        if begin:
            found = b"".join([*pieces[:last], pieces[last][: begin - 1]]).split(b"\n")
            overlong = limit is not None and max(map(len, found)) > limit
            lines = [line for line in found if line and not line.startswith(b":")]
            complete = sum(map(len, lines)) + len(lines)
            if len(lines) < len(found):
                lines.append(b"")
                kept = (b"\n".join(lines), pieces[last][begin:], *pieces[last + 1 :])
                self._pieces = [piece for piece in kept if piece]
        self._size = sum(map(len, self._pieces))
        unfinished = self._size - complete
        # The line end behind the last field is none of the event's.
        counted = self._size if unfinished and not comment else complete - 1
        if limit is not None and (overlong or max(counted, unfinished) > limit):
            self._overflow = True
            self._pieces = []
            raise self._too_large()
        # Doubled, so that the work stays linear; but no more than the bound allows: one byte beyond it may be the line end of
        # an event that has just the size, and a comment under way may have that size too, beside the event.
        self._tidy_at = max(_TIDY_BYTES, 2 * self._size)
        if limit is not None:
            self._tidy_at = min(self._tidy_at, self._size + limit if comment else limit + 1)

    def _parse(self, block: bytes) -> ServerSentEvent | None:
        """Return the event of one block by the whole grammar, or None where it has no data."""
        event, retry = "", None
        data: list[bytes] = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode("utf-8", "replace")
            elif name == b"id":
                if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
            elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
                retry = int(value)
        if not data:
            return None
        return ServerSentEvent(event or "message", b"\n".join(data).decode("utf-8", "replace"), self._id, retry)

    def _too_large(self) -> EventTooLargeError:
        limit = self.max_event_bytes or 0
        return EventTooLargeError(
            f"one event of the stream is above {limit:,} bytes: raise Limits.max_event_bytes if that is expected",
            limit=limit,
        )


def _lead(block: bytes | bytearray) -> bytes:
    """Return what stands before the data of an event whose type says nothing that the data does not; or nothing."""
    if block.startswith(b"data: "):
        return b"data: "
    data = block.find(b"\n") + 1
    plain = block.startswith(b"event: ") and not block.startswith(_TELLING, 7) and block.startswith(b"data: ", data)
    return bytes(block[: data + 6]) if plain else b""


def _split_stray(block: bytes) -> tuple[bytes, bytes]:
    """Return the block up to the line where a stray text begins, and that."""
    if block.startswith(_STRAY_STARTS):
        return b"", block
    found = [at for start in _STRAY_STARTS if (at := block.find(b"\n" + start)) >= 0]
    end = min(found) + 1 if found else len(block)
    return block[:end], block[end:]


def _is_complete(data: str | LargeJSON) -> bool:
    if isinstance(data, LargeJSON):
        if data.in_string:
            return False
        with suppress(ValueError):
            data.value()
            return True
        data = bytes(data).decode("utf-8", "replace")
    if data.strip() == "[DONE]":
        return True
    try:
        json.loads(data, parse_int=str)  # int() refuses some thousands of digits
    except (ValueError, RecursionError):
        return False
    return True
