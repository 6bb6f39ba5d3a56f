"""Breaks valid streams: bytes flipped, taken out and repeated, events swapped, values of the wrong kind.

It says nothing of what a client should make of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from tests.faults.formats import Document
from tests.properties.streams import json_values

__all__ = ["broken_bytes", "broken_documents"]

Draw = Callable[[st.SearchStrategy[Any]], Any]

DEEP: Any = None
for _ in range(200):
    DEEP = [DEEP]
# Values that are hard on those who expect another.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 1.5, 1e308, "", "x", "0", "error", "stop", "message",
    "\ud83d", [], {}, [None], [[]], [{}], {"": None}, {"type": None}, {"type": 1}, {"type": []}, {"type": "text"},
    {"index": "a"}, {"error": {}}, DEEP,
)  # fmt: skip
SNIPPETS = (
    b"\n", b"\n\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"[", b"}", b'"', b"data: ", b"data: {}\n\n",
    b"data: null\n\n", b"data: [DONE]\n\n", b"event: error\n", b"event: ping\n", b'{"error": "no"}\n', b"<html>", b": \n",
    b"id: \n", b"\\ud83d", b"NaN", b"-", b"e9999", b'{"type": "error", "error": {"type": "overloaded_error"}}',
)  # fmt: skip


def broken_bytes(draw: Draw, data: bytes) -> bytes:
    """Return the data with a few wounds."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["flip", "delete", "repeat", "truncate", "insert", "move"])):
            case "flip" if start < len(data):
                data = data[:start] + bytes([data[start] ^ draw(st.integers(1, 255))]) + data[start + 1 :]
            case "delete":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end] + data[end:]
            case "truncate":
                data = data[:start]
            case "move":
                to = draw(st.integers(0, start))
                data = data[:to] + data[start:end] + data[to:start] + data[end:]
            case _:
                data = data[:start] + draw(st.sampled_from(SNIPPETS) | st.binary(max_size=4)) + data[start:]
    return data


def broken_documents(draw: Draw, documents: list[Document]) -> list[Document]:
    """Return the events in another order, some missing or twice, and some with values of the wrong kind."""
    documents = list(documents)
    for _ in range(draw(st.integers(1, 4))):
        if not documents:
            break
        at = draw(st.integers(0, len(documents) - 1))
        other = draw(st.integers(0, len(documents) - 1))
        match draw(st.sampled_from(["swap", "delete", "repeat", "rename", "value", "value", "value", "value"])):
            case "swap":
                documents[at], documents[other] = documents[other], documents[at]
            case "delete":
                del documents[at]
            case "repeat":
                documents.insert(other, documents[at])
            case "rename":
                documents[at] = Document(documents[other].name, documents[at].data)
            case _:
                documents[at] = Document(documents[at].name, confused(draw, documents[at].data))
    return documents


def confused(draw: Draw, value: Any) -> Any:
    """Return a JSON value in which one value, anywhere, is another, is gone, or has moved."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        # A document that is text goes out as it is, and UTF-8 has no lone surrogates.
        return draw(st.sampled_from([odd for odd in ODD if odd != "\ud83d"]))
    container, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["odd", "odd", "any", "delete", "wrap", "borrow"])):
        case "odd":
            container[key] = draw(st.sampled_from(ODD))
        case "any":
            container[key] = draw(json_values)
        case "delete":
            del container[key]
        case "wrap":
            container[key] = [container[key]]
        case _:
            elsewhere, there = draw(st.sampled_from(places))
            container[key] = copy.deepcopy(elsewhere[there])
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container with each of its keys, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)
