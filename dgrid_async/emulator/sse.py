"""The bytes of one event in a stream, and the JSON in it.

It writes; it never reads a stream. What an event says is the formats' business.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = ["DONE", "Sse", "encode", "named", "unnamed"]

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(separators=(",", ":")).encode


class Sse(NamedTuple):
    """One event as bytes; `ends` is true from the first event on that says the reply is over."""

    data: bytes
    ends: bool = False


DONE = Sse(b"data: [DONE]\n\n", ends=True)


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8; half a surrogate pair goes out escaped, as vendors send it."""
    try:
        return _compact(value).encode()
    except UnicodeEncodeError:
        return _ascii(value).encode()


def named(data: dict[str, Any], *, ends: bool = False) -> Sse:
    """Return an event whose name is the `type` in its data."""
    return Sse(b"event: %b\ndata: %b\n\n" % (data["type"].encode(), encode(data)), ends)


def unnamed(data: dict[str, Any], *, ends: bool = False) -> Sse:
    """Return an event of data alone."""
    return Sse(b"data: %b\n\n" % encode(data), ends)
