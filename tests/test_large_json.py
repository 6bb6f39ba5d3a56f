"""Large JSON texts: what the standard library makes of them whole, in whatever pieces they come, and no room beside it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgrid_async import codec, large_json
from dgrid_async.large_json import LargeJSON

LONG = "x" * 9
TEXT = st.sampled_from(
    [
        LONG,
        LONG + "é",
        "\U0001f600" * 4,
        LONG + "\n" + LONG,
        "a:",
        "\x000",
        "\x001",
        'say "' + LONG,
        "\\" * 9,
        "\\ud83d",
        "short",
        "",
    ]
)
VALUE = st.recursive(
    TEXT | st.sampled_from([1, -2.5, None, True, [1] * 40]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@pytest.fixture(autouse=True, scope="module")
def some_bytes_are_long() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_LONG_BYTES", 5)
        yield


def gathered(text: bytes, cuts: Iterable[int] = ()) -> LargeJSON:
    large = LargeJSON()
    for start, end in pairwise([0, *cuts, len(text)]):
        large.add(text[start:end])
    return large


@st.composite
def cut_values(draw: st.DrawFn) -> tuple[Any, bytes, list[int]]:
    value = draw(VALUE)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode()
    return value, text, sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))


@settings(max_examples=400, deadline=None)
@given(cut_values())
@example(({LONG: LONG}, b'{"xxxxxxxxx": "xxxxxxxxx"}', [4, 18]))  # a long name is no value
def test_any_value_in_any_pieces(case: tuple[Any, bytes, list[int]]) -> None:
    value, text, cuts = case
    for large in (LargeJSON(text), gathered(text, cuts), gathered(text, range(1, len(text)))):
        assert large.value() == value
        assert large.value() == value, "a second look changes nothing"
        assert json.loads(bytes(large)) == value
        assert len(large) == len(text)
        assert not large.in_string


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": "' + b"x" * 40,
        b'{"a:"' + b"1" * 40 + b'"b"}',
        b'"' + b"\xff" * 40 + b'"',
        b"x" * 40,
        b'"' + b"x" * 40 + b'\\"',
        b'"' + b"x" * 40 + b'" "',
        b'"' + b"x" * 40 + b'\\ud83d" ' + b" " * 20,
        b'"' + b"x" * 40 + b'\\ude00"',
        b'"' + b"x" * 40 + b'\\u12"                ',
        b'"' + b"x" * 40 + b"\\x" + b"x" * 40 + b'"',
        b"[NaN, " + b"1," * 40 + b"1]",
        b"",
    ],
)
def test_what_the_fast_decoder_refuses_comes_back_as_it_was(text: bytes) -> None:
    for cut in range(len(text) + 1):
        large = gathered(text, [cut])
        with pytest.raises(ValueError):
            large.value()
        assert bytes(large) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"' + b"x" * 40 + b'\\ud83d" ' + b" " * 20, "x" * 40 + "\ufffd"),
        (b'["' + b"x" * 40 + b'\\ud83d", "' + b"y" * 40 + b'"]', ["x" * 40 + "\ufffd", "y" * 40]),
        (b'"' + b"x" * 40 + b'\xff"', "x" * 40 + "\ufffd"),
        (b'["' + b"x" * 40 + b'", NaN]', ["x" * 40, pytest.approx(float("nan"), nan_ok=True)]),
    ],
)
def test_the_slow_way_takes_what_the_fast_decoder_refuses(text: bytes, value: Any) -> None:
    for cut in range(len(text) + 1):
        assert codec.decode(gathered(text, [cut])) == value


def test_it_says_whether_it_ends_in_a_string() -> None:
    text = b'{"a": "xxxxxxxxx\\"", "b": 1}'
    ends = [n for n in range(len(text) + 1) if gathered(text[:n]).in_string]
    assert ends == [2, 3, *range(7, 19), 22, 23]


def test_the_strings_take_their_own_room_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_json, "_LONG_BYTES", 65536)
    chunk = b"x" * 65536
    line = b"y\\n" * 20_000
    tracemalloc.start()
    try:
        large = LargeJSON(b'{"a": "')
        for _ in range(200):
            large.add(chunk)
        large.add(b'", "b": ["')
        for _ in range(200):
            large.add(line)
        large.add(b'"]}')
        value = large.value()
        room = len(value["a"]) + len(value["b"][0])
        assert tracemalloc.get_traced_memory()[1] < room + 3_000_000
    finally:
        tracemalloc.stop()
    assert (len(value["a"]), len(value["b"][0])) == (200 * 65536, 200 * 40_000)
    assert set(value["b"][0]) == {"y", "\n"}
