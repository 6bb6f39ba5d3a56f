"""Scalars: what each takes without loss, and how it names what it refuses."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from dgrid_async.scalars import EXACT, SCALARS, MismatchError, to_bool, to_bytes, to_float, to_int, to_str

HUGE = 10**40


@pytest.mark.parametrize(
    ("read", "came", "value"),
    [
        (to_str, "x", "x"),
        (to_str, 5, "5"),
        (to_str, 2.5, "2.5"),
        (to_int, 5, 5),
        (to_int, 5.0, 5),
        (to_int, "-12", -12),
        (to_float, 5, 5),
        (to_float, 2.5, 2.5),
        (to_float, "2.5", 2.5),
        (to_bool, True, True),
        (to_bool, 0, False),
        (to_bytes, "+/8=", b"\xfb\xff"),
        (to_bytes, "-_8", b"\xfb\xff"),
    ],
)
def test_what_loses_nothing_is_taken(read: Callable[[Any, str], Any], came: Any, value: Any) -> None:
    found = read(came, "place")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("read", "came", "words"),
    [
        (to_str, True, "place: a string belongs here, true came"),
        (to_str, ["x"], "place: a string belongs here, an array came"),
        (to_int, 2.5, "place: an integer belongs here, the number 2.5 came"),
        (to_int, "2.5", "place: an integer belongs here, a string came"),
        (to_int, "9" * 20, "place: an integer belongs here, a string came"),
        (to_int, None, "place: an integer belongs here, null came"),
        (to_float, "nan", "place: a number belongs here, a string came"),
        (to_float, "1e999", "place: a number belongs here, a string came"),
        (to_float, False, "place: a number belongs here, false came"),
        (to_bool, 2, "place: true or false belongs here, the number 2 came"),
        (to_bool, HUGE, "place: true or false belongs here, a huge number came"),
        (to_bool, "true", "place: true or false belongs here, a string came"),
        (to_bytes, "a", "place: base64 belongs here, a string came"),
        (to_bytes, "a b=", "place: base64 belongs here, a string came"),
        (to_bytes, {}, "place: base64 belongs here, an object came"),
    ],
)
def test_what_would_lose_something_is_named(read: Callable[[Any, str], Any], came: Any, words: str) -> None:
    with pytest.raises(MismatchError) as caught:
        read(came, "place")
    assert str(caught.value) == words
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (MismatchError, words)


def test_every_scalar_has_its_reader() -> None:
    assert {str: to_str, int: to_int, float: to_float, bool: to_bool, bytes: to_bytes} == SCALARS
    assert all(kind.__name__ == name for kind, name in EXACT.items())
