"""JSON: bytes to values and values to bytes.

orjson does both; what it refuses (NaN, huge integers, lone surrogates, integer keys) goes through the standard library behind
it, so that the fast path never has to ask. This module never does I/O, and knows neither a wire format nor a class of the wire.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import orjson

__all__ = ["SurrogateMender", "decode", "decode_hard", "encode", "mend", "to_json"]

# CPython refuses to convert more digits than this by default (CVE-2020-10735).
_MAX_INT_DIGITS = 4300
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(data: bytes | memoryview) -> Any:
    """Return the value of one JSON text; its strings can be encoded.

    Raises:
        ValueError: It is no JSON, or nested too deeply to hold.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return mend(decode_hard(data))
        except RecursionError:
            raise ValueError("JSON nested too deeply") from None


def decode_hard(data: bytes | memoryview) -> Any:
    """Return the value of a JSON text that the fast decoder refused, for whatever reason.

    Invalid UTF-8 becomes U+FFFD; NaN and infinities are floats; an integer too long to convert stays the string of its
    digits. Lone surrogates are left in place: `SurrogateMender` or `mend` deals with them.
    """
    text = str(data, "utf-8", "replace")
    try:
        return json.loads(text, parse_int=_parse_int)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else digits


def encode(value: Any) -> bytes:
    """Return the JSON text of a value: dicts, lists, scalars, attrs objects (ours by `to_dict()`) and bytes (base64).

    Raises:
        TypeError: It holds something that has no JSON form; the message names its type.
    """
    try:
        return orjson.dumps(value, default=to_json)
    except TypeError:
        # Integer keys (logit_bias), integers above 64 bits, lone surrogates: the slow path takes them.
        return json.dumps(value, default=to_json, ensure_ascii=True).encode()


def to_json(value: Any) -> Any:
    """Return the JSON form of a value that JSON has no literal for.

    Raises:
        TypeError: There is none.
    """
    to_dict = getattr(value, "to_dict", None)
    if to_dict is not None:
        return to_dict()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    if attrs.has(type(value)):
        return {field.name: item for field in attrs.fields(type(value)) if (item := getattr(value, field.name)) is not None}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"a value of type {type(value).__qualname__} has no JSON form")


def mend(value: Any) -> Any:
    """Return the value with every lone surrogate replaced by U+FFFD and every split pair joined, so that it can be encoded."""
    if isinstance(value, str):
        return _join_surrogates(value) if _SURROGATE.search(value) else value
    if isinstance(value, dict):
        return {mend(key): mend(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mend(item) for item in value]
    return value


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateMender:
    """Joins the two halves of a character that arrive in two deltas.

    A stream feeds it only the events that the fast decoder refused. An event that ends a string in half a character is held
    back until the next one shows whether the other half follows in the same place.
    """

    def __init__(self) -> None:
        # The mutable state: the event held back and the place of its half.
        self._held: Any = None
        self._path: tuple[str, ...] | None = None

    @property
    def holding(self) -> bool:
        """True while an event is held back; every event must be fed until it is not."""
        return self._path is not None

    def feed(self, value: Any) -> list[Any]:
        """Return the events that are complete now, mended, in the order they came."""
        ready = []
        if self._path is not None:
            low = _at(value, self._path)
            if isinstance(low, str) and "\udc00" <= low[:1] <= "\udfff":
                _put(self._held, self._path, _at(self._held, self._path) + low[0])
                _put(value, self._path, low[1:])
            ready.extend(self.end())
        self._path = _trailing_half(value)
        if self._path is None:
            ready.append(mend(value))
        else:
            self._held = value
        return ready

    def end(self) -> list[Any]:
        """Return what was held back, its half replaced by U+FFFD if the other never came."""
        if self._path is None:
            return []
        held, self._held, self._path = self._held, None, None
        return [mend(held)]


def _trailing_half(value: Any, path: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return path if "\ud800" <= value[-1:] <= "\udbff" else None
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        found = _trailing_half(item, (*path, key))
        if found:
            return found
    return None


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def _put(value: Any, path: tuple[Any, ...], item: Any) -> None:
    _at(value, path[:-1])[path[-1]] = item
