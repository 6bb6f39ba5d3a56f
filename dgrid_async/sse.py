"""The event stream format: bytes in, server-sent events out.

Rules (WHATWG HTML, "Server-sent events", 9.2.6)
1. The stream is UTF-8; one leading byte order mark is dropped; invalid bytes become U+FFFD.
2. A line ends with LF, CR LF or CR; nothing else ends a line.
3. A blank line dispatches the event gathered so far; one without data is dropped. The last event id outlives its event.

Three additions for what gateways send
4. An event that the end of the body leaves without its blank line is delivered by `end()` when its data is complete JSON or
   `[DONE]`; the standard drops it.
5. A line that is no field and begins with `{` or `[` starts a stray JSON text: gateways write late failures that way.
   `feed` ignores it as the standard says; `payloads` hands it on as a `Stray`.
6. One event is bounded in bytes.

The decoder is sans-IO and linear in its input, in whatever pieces it comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs

from dgrid_async.errors import EventTooLargeError

__all__ = ["SSEDecoder", "ServerSentEvent", "Stray"]

# Inline images and audio make events of many megabytes; gateways of this family allow 64 MiB.
MAX_EVENT_BYTES = 64 * 1024 * 1024
# Comments are thrown out of an unfinished event when it has grown beyond this, and each time it has doubled since.
_TIDY_BYTES = 64 * 1024
# Above this a copy of the data costs more than a view of it.
_VIEW_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


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
        text: The bytes from its first line to the next blank line or the end.
    """

    text: bytes


Payload = bytes | memoryview | ServerSentEvent | Stray


class SSEDecoder:
    """Turns the bytes of one stream into events; one decoder per stream.

    Args:
        max_event_bytes: The most bytes that one event may take, field names included; None is no bound.
    """

    def __init__(self, max_event_bytes: int | None = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        # The mutable state: the pieces of the unfinished event, their size, the size at which comments are thrown out of
        # them, the bytes that may yet be a byte order mark (None: past it), whether the last chunk ended in CR, the last
        # event id, and whether an event above the bound has been met.
        self._pieces: list[bytes] = []
        self._size = 0
        self._tidy_at = self._first_tidy()
        self._head: bytes | None = b""
        self._after_cr = False
        self._id = ""
        self._overflow = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this chunk completes.

        Raises:
            EventTooLargeError: The event under way is above the bound; the events before it have been returned.
        """
        return _events(item for block in self._blocks(chunk) for item in self._parse(block))

    def end(self) -> list[ServerSentEvent]:
        """Return the last event if the body's end left it without its blank line and it is complete.

        Raises:
            EventTooLargeError: As `feed`.
        """
        return _events(self.last_payloads())

    def payloads(self, chunk: bytes) -> list[Payload]:
        """Return what `feed` does in the form that costs least, and stray texts.

        An event of one data line whose type says nothing that its data does not is only the bytes of that data.
        """
        items: list[Payload] = []
        append = items.append
        for block in self._blocks(chunk):
            if block.startswith(b"data: "):
                start = 6
            elif block.startswith(b"event: ") and not block.startswith(b"error", 7):
                start = block.find(b"\n") + 7
                if not block.startswith(b"data: ", start - 6):
                    items.extend(self._parse(block))
                    continue
            else:
                items.extend(self._parse(block))
                continue
            if block.find(b"\n", start) >= 0:
                items.extend(self._parse(block))
            else:
                append(block[start:] if len(block) < _VIEW_BYTES else memoryview(block)[start:])
        return items

    def last_payloads(self) -> list[Payload]:
        """Return what `end` does, and a stray text."""
        if self._head:
            self._pieces, self._head = [self._head], None
        if self._overflow:
            raise self._too_large()
        block = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return [item for item in self._parse(block) if isinstance(item, Stray) or _is_complete(item.data)]

    def _blocks(self, chunk: bytes) -> list[bytes]:
        """Return the text of each event that the chunk completes, its lines ended by LF, its blank line taken off."""
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
        if not pieces:
            blocks = chunk.split(b"\n\n")
        else:
            if chunk.startswith(b"\n") and pieces[-1].endswith(b"\n"):  # the blank line lies on the seam
                pieces[-1], end, rest = pieces[-1][:-1], 0, 1
            else:
                end = chunk.find(b"\n\n")
                rest = end + 2
            if end < 0:
                pieces.append(chunk)
                self._size = size
                self._tidy()
                return []
            pieces.append(chunk[:end])
            blocks = [b"".join(pieces), *chunk[rest:].split(b"\n\n")]
            pieces.clear()
        tail = blocks.pop()
        self._pieces = [tail] if tail else []
        self._size = len(tail)
        self._tidy_at = self._first_tidy()
        if self.max_event_bytes is not None and size > self.max_event_bytes:
            return self._bounded(blocks)
        return blocks

    def _bounded(self, blocks: list[bytes]) -> list[bytes]:
        """Return the events before the first one above the bound."""
        limit = self.max_event_bytes or 0
        for n, block in enumerate([*blocks, *self._pieces]):
            if len(block) > limit:
                self._overflow = True
                if n == 0:
                    raise self._too_large()
                return blocks[:n]
        return blocks

    def _tidy(self) -> None:
        """Throw complete comment lines out of the unfinished event, and check its size."""
        if self._size > self._tidy_at:
            lines, newline, last = b"".join(self._pieces).rpartition(b"\n")
            if newline:
                kept = [line for line in lines.split(b"\n") if line and not line.startswith(b":")]
                lines = b"\n".join([*kept, b""])
            self._pieces = [piece for piece in (lines, last) if piece]
            self._size = len(lines) + len(last)
            self._tidy_at = max(self._first_tidy(), 2 * self._size)
        if self.max_event_bytes is not None and self._size > self.max_event_bytes:
            self._overflow = True
            raise self._too_large()

    def _first_tidy(self) -> int:
        return _TIDY_BYTES if self.max_event_bytes is None else min(_TIDY_BYTES, self.max_event_bytes)

    def _parse(self, block: bytes) -> list[ServerSentEvent | Stray]:
        """Return the event of one block by the whole grammar, and the stray text in it, if there is any."""
        event, retry, stray = "", None, None
        data: list[bytes] = []
        lines = block.split(b"\n")
        for n, line in enumerate(lines):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode("utf-8", "replace")
            elif name == b"id":
                if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
            elif name == b"retry":
                # More digits than these are no time, and int() refuses some thousands of them.
                retry = int(value) if value.isdigit() and len(value) <= 18 else retry  # noqa: PLR2004
            elif line.startswith((b"{", b"[")):
                stray = Stray(b"\n".join(lines[n:]))
                break
        found: list[ServerSentEvent | Stray] = []
        if data:
            found.append(ServerSentEvent(event or "message", b"\n".join(data).decode("utf-8", "replace"), self._id, retry))
        if stray:
            found.append(stray)
        return found

    def _too_large(self) -> EventTooLargeError:
        limit = self.max_event_bytes or 0
        return EventTooLargeError(
            f"one event of the stream is above {limit:,} bytes: raise Limits.max_event_bytes if that is expected", limit=limit
        )


def _events(items: Iterable[Payload]) -> list[ServerSentEvent]:
    return [item for item in items if isinstance(item, ServerSentEvent)]


def _is_complete(data: str) -> bool:
    if data.strip() == "[DONE]":
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
