"""Scalars of the wire: JSON values to strings, numbers and bytes, where nothing is lost by it.

It knows no class of the wire.
"""

from __future__ import annotations

import base64
import binascii
import copyreg
import math
from collections.abc import Callable
from typing import Any

__all__ = ["EXACT", "SCALARS", "MismatchError", "to_bool", "to_bytes", "to_float", "to_int", "to_str"]

_SHOWN_BITS = 128


class MismatchError(ValueError):
    """JSON that a known field cannot hold; the message names the field, what belongs there and what came."""

    def __init__(self, place: str, wanted: str, value: Any) -> None:
        super().__init__(f"{place}: {wanted} belongs here, {_kind(value)} came")

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone.
        return copyreg.__newobj__, (type(self), str(self))  # type: ignore[attr-defined]  # pickle's own name for it


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a huge number"
    kinds: dict[type, str] = {dict: "an object", list: "an array", str: "a string"}
    return kinds.get(type(value)) or f"the number {value}"


def to_str(value: Any, place: str) -> str:
    """Return a string: one as it is, a number as its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise MismatchError(place, "a string", value)


def to_int(value: Any, place: str) -> int:
    """Return an integer: one as it is, a float without a fraction, a string of digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:  # noqa: PLR2004 -- 64 bits
        return int(value)
    raise MismatchError(place, "an integer", value)


def to_float(value: Any, place: str) -> float:
    """Return a number as it is, or what a string of digits says."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise MismatchError(place, "a number", value)


def to_bool(value: Any, place: str) -> bool:
    """Return true or false, which 1 and 0 also say."""
    if isinstance(value, int) and value in (0, 1):  # a bool is one of them
        return bool(value)
    raise MismatchError(place, "true or false", value)


def to_bytes(value: Any, place: str) -> bytes:
    """Return what base64 says, in either alphabet, padded or not."""
    if not isinstance(value, str):
        raise MismatchError(place, "base64", value)
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MismatchError(place, "base64", value) from None


SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    str: to_str,
    int: to_int,
    float: to_float,
    bool: to_bool,
    bytes: to_bytes,
}
# What a value of the right kind needs no conversion to be.
EXACT = {str: "str", int: "int", float: "float", bool: "bool"}
