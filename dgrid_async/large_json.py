"""JSON texts of many megabytes, taken in as they come: an event with an image in it, mostly.

Such a text is long strings with little beside them. Each is decoded while it arrives and grows in its place, so that no
step costs more than its chunk, and a text of 100 MB takes 100 MB: to decode it at its end would take the loop 0.1 s for
the memory alone, and twice or three times the room. What a text has beside is decoded at its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import orjson

__all__ = ["LARGE_BYTES", "LargeJSON"]

LARGE_BYTES = 1024 * 1024
"""From this size on a text is taken in as it comes; below, the fast decoder alone costs less."""

# What a string must hold to be decoded as it comes, in bytes.
_LONG_BYTES = 64 * 1024
# What is looked at in one step, in bytes.
_STEP_BYTES = 64 * 1024
# Beside its long strings a text may hold so many bytes: they are all walked through to put the strings in their places.
_MOST_BESIDE_BYTES = 256 * 1024
# Outside strings, up to the quote of one that does not end here.
_BETWEEN = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.DOTALL)
# Inside a string, up to its end or an escape that is not all here; the two halves of a character are one escape.
_INSIDE = re.compile(
    rb"""[^"\\]*+(?:\\(?:[^u]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"""
    rb"""[^"\\]*+)*+""",
    re.DOTALL,
)
# No escape is longer, that of a character in two halves included.
_LONGEST_ESCAPE = 12
_MARK = b"\\u0000"


class LargeJSON:
    """One JSON text.

    `len()` is its size in bytes as it came, `bytes()` the text itself or one that says the same.

    Args:
        data: The text, as far as it is here.
    """

    __slots__ = ("_growing", "_open", "_parts", "_raw", "_rest", "_size")

    def __init__(self, data: bytes = b"") -> None:
        # The mutable state: its size; its long strings and, as bytes, what stands between them; what of the string in which
        # it ends so far is not decoded yet (None: it ends in none), and whether the last part is that string's beginning;
        # an escape that is not all here; and the whole text once nothing of it may be decoded before its end.
        self._size = 0
        self._parts: list[bytearray | str] = [bytearray()]
        self._open: bytearray | None = None
        self._growing = False
        self._rest = b""
        self._raw: bytearray | None = None
        for at in range(0, len(data), _STEP_BYTES):
            self.add(data[at : at + _STEP_BYTES])

    def __len__(self) -> int:
        """Return the size in bytes."""
        return self._size

    def __bytes__(self) -> bytes:
        """Return the text."""
        if self._raw is not None:
            return bytes(self._raw)
        texts = [orjson.dumps(part) if isinstance(part, str) else part for part in self._parts]
        if self._growing:
            texts[-1] = texts[-1][:-1]
        elif self._open is not None:
            texts.append(b'"')
        return b"".join([*texts, self._open or b"", self._rest])

    @property
    def in_string(self) -> bool:
        """Whether the text, as far as it is here, ends inside a string."""
        return self._raw is None and self._open is not None

    def add(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self._size += len(chunk)
        if self._raw is not None:
            self._raw += chunk
            return
        data, at = self._rest + chunk, 0
        self._rest = b""
        try:
            while at < len(data):
                if self._open is None:
                    at = self._between(data, at)
                elif data.startswith(b'"', at):
                    self._end_string(self._open)
                    at += 1
                else:
                    at = self._string(self._open, data, at)
        except ValueError:
            self._raw = bytearray(bytes(self))
            self._raw += data[at:]
            self._parts.clear()

    def value(self) -> Any:
        """Return the value that the text is.

        Raises:
            ValueError: It is no JSON that the fast decoder takes.
        """
        strings: dict[str, str] = {}
        beside: list[bytes | bytearray] = []
        for part in self._parts:
            if isinstance(part, str):
                beside.append(b'"%b%d"' % (_MARK, len(strings)))
                strings[f"\0{len(strings)}"] = part
            else:
                beside.append(part)
        if strings and self._open is None and sum(map(len, beside)) <= _MOST_BESIDE_BYTES:
            marked = b"".join(beside)
            # A text that has a NUL of its own could be taken for a mark.
            if marked.count(_MARK) == len(strings) and _put_back(value := orjson.loads(marked), strings):
                return value
        return orjson.loads(bytes(self))

    def _between(self, data: bytes, at: int) -> int:
        """Take in what is outside strings, and strings that end here; return where the next one begins, or the end."""
        found = _BETWEEN.match(data, at)
        end = at if found is None else found.end()
        part = self._parts[-1]
        if isinstance(part, str):
            self._parts.append(part := bytearray())
        part += data[at:end]
        if end < len(data):
            self._open = bytearray()
        return end + 1

    def _string(self, text: bytearray, data: bytes, at: int) -> int:
        """Take in more of the string under way; return where that ends.

        Raises:
            ValueError: It cannot be decoded.
        """
        if len(text) >= _LONG_BYTES:
            self._decode(text, _whole_characters(text))
        if data.find(b'"', at) < 0 and data.find(b"\\", at) < 0:
            end = len(data)
        else:
            found = _INSIDE.match(data, at)
            end = at if found is None else found.end()
        if end == at:
            if len(data) - at >= _LONGEST_ESCAPE:
                raise ValueError("an escape that is none, or half a character")
            self._rest = data[at:]
            return len(data)
        text += data[at:end]
        return end

    def _end_string(self, text: bytearray) -> None:
        if self._growing:
            self._decode(text, len(text))
        else:  # it is short, and may be a name
            cast("bytearray", self._parts[-1]).extend(b'"%b"' % bytes(text))
        self._open, self._growing = None, False

    def _decode(self, text: bytearray, end: int) -> None:
        """Decode the first bytes of what is not decoded yet of the string under way."""
        raw = bytes(text[:end])
        piece = orjson.loads(b'"%b"' % raw) if b"\\" in raw else str(raw, "utf-8")
        if not self._growing:
            self._growing = True
            self._parts.append("")
        # A text that nobody else holds grows in its place.
        whole = cast("str", self._parts.pop())
        whole += piece
        self._parts.append(whole)
        del text[:end]


def _whole_characters(text: bytearray) -> int:
    """Return how many bytes there are without the last character, where that may be one of several bytes."""
    for back, byte in enumerate(reversed(text[-3:]), 1):
        if byte >= 0xC0:  # noqa: PLR2004 -- begins one, RFC 3629
            return len(text) - back
    return len(text)


def _put_back(value: Any, strings: Mapping[str, str]) -> bool:
    """Put each string in the place of its mark; return whether every mark was met once, as a value."""
    met = 0
    boxes = [value]
    while boxes:
        box = boxes.pop()
        places = box.items() if isinstance(box, dict) else enumerate(box) if isinstance(box, list) else ()
        for place, item in places:
            if isinstance(item, str):
                if item in strings:
                    box[place] = strings[item]
                    met += 1
            else:
                boxes.append(item)
    return met == len(strings)
