"""JSON: bytes to values and values to bytes.

orjson does both; what it refuses (NaN, huge integers, lone surrogates, integer keys) goes through the standard library
behind it, so that the fast path never has to ask. Walks over decoded values keep a stack of their own: a value may be
nested more deeply than Python calls may be. This module never does I/O, and knows neither a wire format nor a class of
the wire.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import json
import math
import re
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs
import orjson

from dgrid_async.large_json import LARGE_BYTES, LargeJSON

__all__ = ["SurrogateMender", "decode", "decode_hard", "encode", "mend", "to_json", "with_strings"]

# From here on a copy costs more than the room that it frees.
_ROOMY_BYTES = 64 * 1024
# CPython refuses to convert more digits than this by default (CVE-2020-10735).
_MAX_INT_DIGITS = 4300
_SURROGATE = re.compile("[\ud800-\udfff]")
# The fields by which the formats tell apart what they stream side by side.
_IDENTITY = ("type", "index", "output_index", "content_index", "summary_index", "item_id")
# Events that may wait for the second half of a character: keep-alives, or the deltas of other choices.
_MOST_HELD = 16
# Beyond what either decoder holds; a value inside itself is found by it.
_MOST_NESTED = 2000
_TOO_DEEP = "nested too deeply for JSON"

# Where in an event a string is: the place around it, and what tells it apart there.
_Place = tuple[Any, ...]


def decode(data: bytes | LargeJSON) -> Any:
    """Return the value of one JSON text; its strings can be encoded.

    Of a repeated key the last value counts. An integer of more than 64 bits may come as a float.

    Raises:
        ValueError: It is no JSON, or nested too deeply to hold.
    """
    try:
        if isinstance(data, bytes) and len(data) < LARGE_BYTES:
            return orjson.loads(data)
        return (data if isinstance(data, LargeJSON) else LargeJSON(data)).value()
    except ValueError:
        pass
    return mend(decode_hard(bytes(data)))


def decode_hard(data: bytes) -> Any:
    """Return the value of a JSON text that the fast decoder refused, for whatever reason.

    A byte order mark is dropped; invalid UTF-8 becomes U+FFFD; NaN and infinities are floats; an integer too long to
    convert stays the string of its digits. Lone surrogates are left in place: `SurrogateMender` or `mend` deals with them.

    Raises:
        ValueError: As `decode`.
    """
    text = str(data, "utf-8", "replace").removeprefix("\ufeff")
    try:
        value = json.loads(text, parse_int=_parse_int)
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at character {error.pos}"
    except RecursionError:
        problem = _TOO_DEEP
    else:
        # How deep the standard library goes depends on its version: what cannot be written again is not read.
        if text.count("[") + text.count("{") <= _MOST_NESTED or not _is_deeper(value, _MOST_NESTED):
            return value
        problem = _TOO_DEEP
    # Not from the library's own error, which keeps the whole text: a gateway may have echoed the key in it.
    raise ValueError(problem)


def _is_deeper(value: Any, depth: int) -> bool:
    """Tell whether there are more containers in each other than that."""
    layer = [value]
    for _ in range(depth + 1):
        inner = (box.values() if isinstance(box, dict) else box for box in layer if isinstance(box, (dict, list)))
        layer = [item for items in inner for item in items]
    return bool(layer)


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else digits


def encode(value: Any) -> bytes:
    """Return the JSON text of a value: dicts, lists, scalars, attrs objects (ours by `to_dict()`) and bytes (base64).

    NaN and infinities, for which JSON has no word, become null.

    Raises:
        TypeError: It holds something that has no JSON form; the message names its type.
        ValueError: It is nested too deeply, or holds itself.
    """
    try:
        text = orjson.dumps(value, default=to_json, option=orjson.OPT_PASSTHROUGH_DATACLASS)
        # orjson leaves 4 KiB behind each text, and a call keeps its own to its end.
        return bytes(memoryview(text)) if len(text) < _ROOMY_BYTES else text
    except TypeError:
        # Integer keys (logit_bias), integers above 64 bits, lone surrogates, deep nesting: the slow path takes them.
        try:
            return "".join(_written(value)).encode()
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None


def _written(value: Any) -> Iterator[str]:
    """Yield the pieces of a JSON text, as deep as anything that was decoded may be."""
    # What is still to be written, the next at the end: text, or a value (with None in place of the text) and its depth.
    rest: list[tuple[str | None, Any, int]] = [(None, value, 0)]
    while rest:
        text, item, depth = rest.pop()
        if text is not None:
            yield text
        elif item is None or isinstance(item, (bool, int, str)):
            yield json.dumps(item)
        elif isinstance(item, float):
            yield json.dumps(item) if math.isfinite(item) else "null"
        elif depth > _MOST_NESTED:
            raise ValueError(_TOO_DEEP)
        elif isinstance(item, dict):
            yield "{"
            rest.append(("}", None, 0))
            for n, (key, inner) in reversed(list(enumerate(item.items()))):
                rest.append((None, inner, depth + 1))
                rest.append(((", " if n else "") + json.dumps({key: 0})[1:-2], None, 0))
        elif isinstance(item, (list, tuple)):
            yield "["
            rest.append(("]", None, 0))
            for n in range(len(item) - 1, -1, -1):
                rest.append((None, item[n], depth + 1))
                rest.append((", " if n else "", None, 0))
        else:
            rest.append((None, to_json(item), depth + 1))


def to_json(value: Any) -> Any:
    """Return the JSON form of a value that JSON has no literal for; what it holds may need the same again.

    Raises:
        TypeError: There is none.
    """
    kind = type(value)
    if callable(to_dict := getattr(kind, "to_dict", None)):
        return to_dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return dict(value)
    if attrs.has(kind):
        return _fields(value, (field.name for field in attrs.fields(kind)))
    if dataclasses.is_dataclass(kind):
        return _fields(value, (field.name for field in dataclasses.fields(kind)))
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    # An iterator is refused: the first try to encode would use it up, and a file or a model object is one by accident.
    if isinstance(value, Collection):
        return list(value)
    advice = ": make a list of it" if isinstance(value, Iterator) else ""
    raise TypeError(f"a value of type {kind.__qualname__} has no JSON form{advice}")


def _fields(value: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: item for name in names if (item := getattr(value, name)) is not None}


def mend(value: Any) -> Any:
    """Return a copy with every lone surrogate made U+FFFD and every split pair joined, so that it can be encoded."""
    return with_strings(value, _join_surrogates)


def _join_surrogates(text: str) -> str:
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def with_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Return a copy of a JSON value with `change` made to every string in it, keys included."""
    root = [value]
    boxes: list[Any] = [root]
    while boxes:
        box = boxes.pop()
        for place, item in box.items() if isinstance(box, dict) else enumerate(box):
            if isinstance(item, str):
                box[place] = change(item)
            elif isinstance(item, dict):
                box[place] = {change(key): inner for key, inner in item.items()}
                boxes.append(box[place])
            elif isinstance(item, list):
                box[place] = item.copy()
                boxes.append(box[place])
    return root[0]


class SurrogateMender:
    """Joins the two halves of a character that arrive in two deltas.

    A stream feeds it from the first event on that the fast decoder refused. An event that ends a string in half a
    character is held back, and with it those that follow, until one goes on in the same place: with the other half, or
    without it.
    """

    def __init__(self) -> None:
        # The mutable state: the events held back, in their order, and what waits for its other half: by its place the
        # event, and the box and key that hold the string.
        self._held: deque[Any] = deque()
        self._open: dict[_Place, tuple[Any, Any, Any]] = {}

    @property
    def holding(self) -> bool:
        """True while an event is held back; every event must be fed until it is not."""
        return bool(self._held)

    def feed(self, value: Any) -> list[Any]:
        """Return the events that are complete now, mended, in the order they came; the value may be changed."""
        for text, box, key, place in _strings(value):
            half = "\ud800" <= text[-1:] <= "\udbff"
            if not text or not (half or self._open):
                continue
            if place in self._open:
                _, first_box, first_key = self._open.pop(place)
                if "\udc00" <= text[0] <= "\udfff":
                    first_box[first_key] += text[0]
                    box[key] = text[1:]
            if half:
                self._open[place] = (value, box, key)
        self._held.append(value)
        if len(self._held) > _MOST_HELD:
            self._open.clear()
        waiting = {id(event) for event, _, _ in self._open.values()}
        ready = []
        while self._held and id(self._held[0]) not in waiting:
            ready.append(mend(self._held.popleft()))
        return ready

    def end(self) -> list[Any]:
        """Return what was held back; halves whose other never came are U+FFFD."""
        held, self._held = self._held, deque()
        self._open.clear()
        return [mend(event) for event in held]


def _strings(value: Any) -> Iterator[tuple[str, Any, Any, _Place]]:
    """Yield the strings inside a JSON value in their order: each with its box, its key there, and its place.

    Strings of two events with the same place are one after the other in one text. A place is chained, not spelt out:
    the strings of a deeply nested value would take the square of its size. In a list the items' own `index` counts before
    their position, where they have one.
    """
    rest: list[tuple[Any, Any, Any, _Place]] = [(value, None, None, ())]
    while rest:
        item, box, key, place = rest.pop()
        if isinstance(item, str):
            if box is not None:
                yield item, box, key, place
        elif isinstance(item, dict):
            own = tuple(mark if isinstance(mark := item.get(name), (str, int)) else None for name in _IDENTITY)
            if isinstance(box, list) and isinstance(item.get("index"), int):
                place = place[:1]
            rest.extend((inner, item, name, (place, own, name)) for name, inner in reversed(item.items()))
        elif isinstance(item, list):
            rest.extend((item[n], item, n, (place, n)) for n in range(len(item) - 1, -1, -1))
