"""JSON in and out: whatever comes is a value or a ValueError, whatever goes is JSON or a TypeError that names the culprit."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import io
import json
import math
import tracemalloc
import uuid
from collections import OrderedDict, deque, namedtuple
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgrid_async.codec import SurrogateMender, decode, decode_hard, encode, mend, to_json, with_strings
from dgrid_async.large_json import LargeJSON
from dgrid_async.wire import Unknown

HIGH, LOW = "\ud83d", "\ude00"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in [*value, *value.values()] for text in strings(item)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


# ------------------------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        (b" \n5\t", 5),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 1, "a": NaN, "a": 2}', {"a": 2}),
        (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
        (b"[1e999999, -1e999999]", [math.inf, -math.inf]),
        (b"[1e-999999]", [0.0]),
        (b"[%s]" % (b"9" * 4300), [10**4300 - 1]),
        (b"[%s]" % (b"9" * 5000), ["9" * 5000]),
        (b"[-%s]" % (b"9" * 5000), ["-" + "9" * 5000]),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        (b'"\\ud83d"', "\ufffd"),
        (b'"\\ude00x"', "\ufffdx"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"\\ud83d": ["a\\ud83d\\ud83d\\ude00"]}', {"\ufffd": ["a\ufffd\U0001f600"]}),
        (b'"a\xffb"', "a\ufffdb"),
        (b'{"\xc3": "\xf0\x9f\x98"}', {"\ufffd": "\ufffd"}),
        (b"\xef\xbb\xbf[1]", [1]),
        (b"\xef\xbb\xbf[NaN, 1]", [pytest.approx(math.nan, nan_ok=True), 1]),
    ],
)
def test_decode(data: bytes, value: Any) -> None:
    assert decode(data) == value
    assert decode(LargeJSON(data)) == value


def test_nan_is_a_float() -> None:
    (value,) = decode(b"[NaN]")
    assert math.isnan(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b"{'a': 1}",
        b"<html>",
        b"nan",
        b"[1] [2]",
        b'"\n"',
        b"\xff",
        b"01",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    for read in (decode, decode_hard):
        with pytest.raises(ValueError):
            read(data)


@pytest.mark.parametrize("depth", [100, 500, 600, 800, 1000, 1024, 2000, 2001, 10_000, 100_000])
@pytest.mark.parametrize("core", [b"1", b"NaN", b'"\\ud83d"', b'"\xff"'])
@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_held_or_a_value_error(depth: int, core: bytes, start: bytes, end: bytes) -> None:
    try:
        value = decode(start * depth + core + end * depth)
    except ValueError:
        assert depth > 500
        return
    assert depth <= 2000
    levels = 0
    while isinstance(value, (list, dict)):
        (value,) = value if isinstance(value, list) else value.values()
        levels += 1
    assert levels == depth
    assert encode(decode(start * depth + core + end * depth))
    assert value in {1, "\ufffd"} or math.isnan(value)


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.binary(max_size=30)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.text('[]{}":,\\ud8\ud83d0eN').map(lambda t: t.encode("utf-8", "surrogatepass"))
)
@example(b'{"\\ud83d": "\\ude00"}')
def test_decode_gives_strings_that_can_be_encoded_or_a_value_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    for text in strings(value):
        text.encode()


# ------------------------------------------------------------------------------------------------------- encoding


@settings(max_examples=100, deadline=None, database=None)
@given(JSON)
def test_json_comes_back(value: Any) -> None:
    assert json.loads(encode(value)) == value
    # An integer key sends all of it the slow way.
    assert json.loads(encode({1: value})) == {"1": value}


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    TWO = 2


@attrs.define
class Plain:
    name: str
    size: int | None = None
    data: bytes = b"\0"


@dataclasses.dataclass
class Record:
    name: str
    size: int | None = None


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 -- the untyped form is one that callers use


class Own:
    def to_dict(self) -> dict[str, Any]:
        return {"own": Plain("x")}


SENT: list[tuple[Any, Any]] = [
    (b"\xfb\xff", "+/8="),
    (bytearray(b"abc"), "YWJj"),
    (memoryview(b"abcdef")[::2], "YWNl"),
    (Plain("x"), {"name": "x", "data": "AA=="}),
    (Plain("x", 0, b""), {"name": "x", "size": 0, "data": ""}),
    (Record("x"), {"name": "x"}),
    (Own(), {"own": {"name": "x", "data": "AA=="}}),
    (Unknown("k", {"type": "k", "z": [1]}), {"type": "k", "z": [1]}),
    ((1, 2), [1, 2]),
    (Pair(1, b"a"), [1, "YQ=="]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    (deque([1, b"a"]), [1, "YQ=="]),
    (range(3), [0, 1, 2]),
    ({"a": 1}.values(), [1]),
    (MappingProxyType({"a": b"a"}), {"a": "YQ=="}),
    (OrderedDict(a=1), {"a": 1}),
    (Colour.RED, "red"),
    (Number.TWO, 2),
    (dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2024-01-02T03:04:05+00:00"),
    (dt.date(2024, 1, 2), "2024-01-02"),
    (dt.time(3, 4), "03:04:00"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (math.nan, None),
    ([math.inf, -math.inf], [None, None]),
    (2**64, 2**64),
    (-(10**30), -(10**30)),
    ("\ud83d", "\ud83d"),
    ("\u00e9\U0001f600\u2028", "\u00e9\U0001f600\u2028"),
]


@pytest.mark.parametrize(("value", "form"), SENT, ids=lambda value: type(value).__name__)
def test_encode_says_the_same_on_both_ways(value: Any, form: Any) -> None:
    fast, slow = encode({"a": [value]}), encode({1: [value]})
    assert json.loads(fast) == {"a": [form]}
    assert json.loads(slow) == {"1": [form]}
    assert b"NaN" not in slow
    assert b"Infinity" not in slow


def test_keys_that_are_no_strings() -> None:
    value = {"logit_bias": {50256: -100, 1.5: 1, True: 2, None: 3}}
    assert json.loads(encode(value)) == {"logit_bias": {"50256": -100, "1.5": 1, "true": 2, "null": 3}}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "object"),
        (1j, "complex"),
        (Plain, "type"),
        (len, "builtin_function_or_method"),
        (io.BytesIO(b"file"), "BytesIO"),
        ((n for n in [1]), "generator"),
        (map(str, [1]), "map"),
        (Own, "type"),
    ],
)
def test_what_cannot_be_sent_is_named(value: Any, name: str) -> None:
    for whole in (value, [value], {"a": {"b": value}}, {1: value}, Plain(value), Record(value)):
        with pytest.raises(TypeError, match=rf"type {name} "):
            encode(whole)


def test_keys_that_cannot_be_sent_are_named() -> None:
    with pytest.raises(TypeError, match="tuple"):
        encode({(1, 2): 3})


def test_an_iterator_is_refused_before_it_is_used_up() -> None:
    numbers = iter([1, 2])
    with pytest.raises(TypeError, match="make a list of it"):
        encode({"messages": numbers, "logit_bias": {1: 2}})
    assert list(numbers) == [1, 2]


def test_nesting_and_loops_are_value_errors() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, {1: loop}, deep):
        with pytest.raises(ValueError, match="nested"):
            encode(value)
    while deep:
        deep = deep.pop()


@pytest.mark.parametrize("depth", [200, 300, 900, 1024])
def test_what_was_decoded_can_be_encoded(depth: int) -> None:
    data = b"[" * depth + b"]" * depth
    assert encode(decode(data)) == data
    # Compared as text: comparing the values would recurse.
    assert encode({1: decode(data[1:-1])}) == b'{"1": ' + data[1:-1] + b"}"


def test_a_number_of_too_many_digits_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="digits"):
        encode(10**5000)


def test_to_json_leaves_the_inside_to_the_next_step() -> None:
    inner = Plain("x")
    assert to_json(MappingProxyType({"a": inner})) == {"a": inner}


# ------------------------------------------------------------------------------------------------------- surrogates


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("plain é", "plain é"),
        (HIGH + LOW, "\U0001f600"),
        (LOW + HIGH, "\ufffd\ufffd"),
        (HIGH + HIGH + LOW + LOW, "\ufffd\U0001f600\ufffd"),
        ("a" + HIGH, "a\ufffd"),
        (HIGH + "\U0001f600", "\ufffd\U0001f600"),
    ],
)
def test_mend(text: str, mended: str) -> None:
    whole = {"k" + text: [text, {"a": text}, 1, None]}
    assert mend(whole) == {"k" + mended: [mended, {"a": mended}, 1, None]}
    assert mend(text) == mended
    assert whole == {"k" + text: [text, {"a": text}, 1, None]}


def test_with_strings_copies() -> None:
    value = {"a": ["b", {"c": 1}], "d": None}
    copied = with_strings(value, str.upper)
    assert copied == {"A": ["B", {"C": 1}], "D": None}
    copied["A"].append(2)
    assert value == {"a": ["b", {"c": 1}], "d": None}
    assert [with_strings(item, str.upper) for item in (5, None, "x")] == [5, None, "X"]


def delta(text: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}}], **more}


def texts(events: list[Any]) -> list[tuple[int, str]]:
    return [(choice["index"], choice["delta"]["content"]) for event in events for choice in event.get("choices", [])]


def mended(*events: Any) -> list[Any]:
    """Return what a stream of events becomes; each is given as its own JSON, so that none shares with another."""
    mender = SurrogateMender()
    ready = [item for event in events for item in mender.feed(json.loads(json.dumps(event)))]
    ready += mender.end()
    assert not mender.holding
    assert mender.end() == []
    assert all(text.encode() for text in strings(ready) if text)
    return ready


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([delta("a"), delta("b")], [(0, "a"), (0, "b")]),
        ([delta("a" + HIGH), delta(LOW + "b")], [(0, "a\U0001f600"), (0, "b")]),
        ([delta(HIGH), delta(LOW)], [(0, "\U0001f600"), (0, "")]),
        ([delta(HIGH), delta("b")], [(0, "\ufffd"), (0, "b")]),
        ([delta(LOW), delta(HIGH)], [(0, "\ufffd"), (0, "\ufffd")]),
        ([delta(HIGH), delta(HIGH), delta(LOW)], [(0, "\ufffd"), (0, "\U0001f600"), (0, "")]),
        ([delta(HIGH), delta(LOW + HIGH), delta(LOW)], [(0, "\U0001f600"), (0, "\U0001f600"), (0, "")]),
        ([delta(HIGH), delta(""), delta(LOW)], [(0, "\U0001f600"), (0, ""), (0, "")]),
        ([delta(HIGH), delta(LOW, 1), delta(LOW)], [(0, "\U0001f600"), (1, "\ufffd"), (0, "")]),
        ([delta(HIGH), delta(HIGH, 1), delta(LOW), delta(LOW, 1)], [(0, "\U0001f600"), (1, "\U0001f600"), (0, ""), (1, "")]),
        ([delta(HIGH), {"choices": [], "usage": {}}, delta(LOW)], [(0, "\U0001f600"), (0, "")]),
        ([delta(HIGH), {"type": "ping"}], [(0, "\ufffd")]),
        ([delta(HIGH, service_tier="x" + HIGH), delta(LOW)], [(0, "\U0001f600"), (0, "")]),
    ],
)
def test_halves_of_one_character_meet(events: list[Any], expected: list[tuple[int, str]]) -> None:
    ready = mended(*events)
    assert texts(ready) == expected
    assert len(ready) == len(events)


def test_two_choices_in_one_event_and_then_each_alone() -> None:
    both = {"choices": [{"index": 0, "delta": {"content": HIGH}}, {"index": 1, "delta": {"content": "b" + HIGH}}]}
    ready = mended(both, delta(LOW, 1), delta(LOW + "a", 0))
    assert texts(ready) == [(0, "\U0001f600"), (1, "b\U0001f600"), (1, ""), (0, "a")]


def test_another_kind_of_delta_is_another_place() -> None:
    first = {"type": "response.output_text.delta", "output_index": 0, "delta": HIGH, "sequence_number": 1}
    other = {"type": "response.reasoning_text.delta", "output_index": 0, "delta": LOW, "sequence_number": 2}
    item = {"type": "response.output_text.delta", "output_index": 1, "delta": LOW, "sequence_number": 3}
    last = {"type": "response.output_text.delta", "output_index": 0, "delta": LOW, "sequence_number": 4}
    assert [event["delta"] for event in mended(first, other, item, last)] == ["\U0001f600", "\ufffd", "\ufffd", ""]


def test_parts_without_an_index_go_by_their_position() -> None:
    parts = [{"parts": [{"text": "a"}, {"text": HIGH}]}, {"parts": [{"text": LOW}, {"text": LOW}]}]
    assert mended(*parts) == [{"parts": [{"text": "a"}, {"text": "\U0001f600"}]}, {"parts": [{"text": "\ufffd"}, {"text": ""}]}]


def test_holding_lasts_until_it_is_clear() -> None:
    mender = SurrogateMender()
    assert mender.feed(delta("a")) == [delta("a")]
    assert not mender.holding
    assert mender.feed(delta(HIGH)) == []
    assert mender.holding
    assert len(mender.feed(delta(LOW))) == 2
    assert not mender.holding


def test_holding_is_bounded() -> None:
    mender = SurrogateMender()
    mender.feed(delta(HIGH))
    ready: list[Any] = []
    fed = 0
    while not ready and fed < 50:
        ready = mender.feed({"type": "ping"})
        fed += 1
    assert fed < 50
    assert texts(ready) == [(0, "\ufffd")]
    assert not mender.holding


def test_values_that_are_no_events() -> None:
    assert mended(HIGH, LOW, 5, None, [HIGH], [LOW]) == ["\ufffd", "\ufffd", 5, None, ["\U0001f600"], [""]]


def test_deep_and_wide_values_take_memory_by_their_size() -> None:
    value: Any = HIGH
    for _ in range(500):
        value = {"a": [value, "x"], **{f"b{n}": "x" for n in range(20)}}
    mender = SurrogateMender()
    tracemalloc.start()
    try:
        assert mender.feed(value) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Each of the ten thousand strings with a path of its own would be some 80 MB.
    assert peak < 8_000_000
    (ready,) = mender.end()
    for _ in range(500):
        ready = ready["a"][0]
    assert ready == "\ufffd"


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.text(alphabet=["a", HIGH, LOW, "é"], max_size=3)), max_size=8))
def test_each_choice_reads_as_if_it_had_come_whole(pieces: list[tuple[int, str]]) -> None:
    ready = mended(*(delta(text, index) for index, text in pieces))
    assert [index for index, _ in texts(ready)] == [index for index, _ in pieces]
    for index in range(3):
        whole = "".join(text for n, text in pieces if n == index)
        assert "".join(text for n, text in texts(ready) if n == index) == mend(whole)


# ------------------------------------------------------------------------------------------------------------- large texts


def test_a_large_text_takes_twice_its_size_at_most() -> None:
    picture = "x" * 32_000_000
    text = json.dumps({"image": {"data": picture}, "more": [1, "NUL"]}).encode()
    tracemalloc.start()
    try:
        value = decode(text)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * len(text)
    finally:
        tracemalloc.stop()
    assert value == {"image": {"data": picture}, "more": [1, "NUL"]}


def test_a_text_takes_the_room_of_its_bytes() -> None:
    tracemalloc.start()
    try:
        texts = [encode({"number": n}) for n in range(1000)]
        assert tracemalloc.get_traced_memory()[0] < 200 * len(texts)
    finally:
        tracemalloc.stop()
