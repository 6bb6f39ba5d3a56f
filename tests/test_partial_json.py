"""`PartialJSON`: any cut of a text gives the same values, the last of them what the whole text says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async.partial_json import PartialJSON
from tests.counting import calls_made

TEXTS = [
    '{"a":1,"b":[1,2.5,-3e4,true,false,null,"x\\"y\\u00e9\\ud83d\\ude00z\\\\"],"c":{"d":{},"e":[]}}  ',
    '{"f": {"k":[[1],[2,{"z":"q"}]]}}',
    ' \t\r\n[ 1 , "a" , { } , [ ] ] ',
    '{"a":{"b":1},"c":2,"a":{"d":[3]}}',
    '{"":"","é漢😀":"\u2028\u0085"}',
    '"alone \\n"',
    "null ",
    "-0.5e+10 ",
    "[]",
]


def fed(*pieces: str) -> PartialJSON:
    parser = PartialJSON()
    for piece in pieces:
        parser.feed(piece)
    return parser


def grows_into(part: Any, whole: Any) -> bool:
    """Return whether `part` is `whole` as it stood earlier: all members equal but the last, which may still grow."""
    if isinstance(part, dict) and isinstance(whole, dict):
        keys = list(part)
        if keys != list(whole)[: len(keys)]:
            return False
        settled = all(part[key] == whole[key] for key in keys[:-1])
        return settled and all(grows_into(part[key], whole[key]) for key in keys[-1:])
    if isinstance(part, list) and isinstance(whole, list):
        count = max(len(part) - 1, 0)
        return part[:count] == whole[:count] and all(map(grows_into, part[count:], whole[count:]))
    return type(part) is type(whole) and part == whole


@pytest.mark.parametrize("text", TEXTS)
def test_every_size_of_piece_gives_what_the_whole_text_says(text: str) -> None:
    for size in range(1, len(text) + 1):
        parser = fed(*(text[at : at + size] for at in range(0, len(text), size)))
        assert parser.complete
        assert parser.value == json.loads(text)
        assert parser.copy() == parser.value


@pytest.mark.parametrize("text", TEXTS)
def test_a_value_depends_on_the_text_alone_never_on_the_cuts(text: str) -> None:
    steps = PartialJSON()
    for end in range(1, len(text) + 1):
        steps.feed(text[end - 1])
        at_once = fed(text[:end])
        assert (steps.value, steps.complete) == (at_once.value, at_once.complete)
        for middle in range(end):
            assert fed(text[:middle], text[middle:end]).value == at_once.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (" ", None),
        ("{", {}),
        ('{"a', {}),
        ('{"a"', {}),
        ('{"a":', {}),
        ('{"a": "unfin', {}),
        ('{"path": "/a", "text": "unfin', {"path": "/a"}),
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": tru', {}),
        ('{"a": true\n', {"a": True}),
        ('{"a": {"b": [', {"a": {"b": []}}),
        ('{"a": {"b": [1, 2', {"a": {"b": [1]}}),
        ('[[], {}, "x\\', [[], {}]),
        ("[12", []),
        ("12", None),
        ("12 ", 12),
        ('"abc', None),
    ],
)
def test_what_is_unfinished_is_left_out(text: str, value: Any) -> None:
    assert fed(text).value == value


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON, st.booleans(), st.sampled_from([None, 1]), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_values_only_grow(value: Any, ascii_only: bool, indent: int | None, sizes: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent) + " "
    whole = json.loads(text)
    parser, at, step = PartialJSON(), 0, 0
    while at < len(text):
        size = sizes[step % len(sizes)]
        parser.feed(text[at : at + size])
        assert parser.copy() == parser.value
        assert grows_into(parser.value, whole) or (parser.value is None and not parser.complete)
        at, step = at + size, step + 1
    assert parser.complete
    assert parser.value == whole


def test_a_copy_stays_as_it_is_while_the_value_grows() -> None:
    parser = fed('{"list":[{"n":1},{"deep":[1,')
    before = parser.copy()
    parser.feed('2]},3],"more":"x"}')
    assert before == {"list": [{"n": 1}, {"deep": [1]}]}
    before["list"].append("mine")
    assert parser.value == {"list": [{"n": 1}, {"deep": [1, 2]}, 3], "more": "x"}


def test_a_copy_of_a_key_that_came_twice_takes_the_later_one() -> None:
    assert fed('{"a":{"b":1},"c":2,"a":{"d":[3,').copy() == {"a": {"d": [3]}, "c": 2}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a":1}x', "at character 7: nothing belongs here, 'x' came"),
        ('["abc", "d\ne"]', r"at character 10: '\n' stands unescaped"),
        ('["abc", "d\\xe"]', "before character 13: a bad escape"),
        ('["abc", 012 ]', "before character 11: '012'"),
        ('{"abc" 1}', "at character 7: ':' belongs here, '1' came"),
        ("[1, 2}", "at character 5: ',' or the end of the container belongs here, '}' came"),
    ],
)
def test_a_fault_is_named_with_its_place_wherever_the_text_is_cut(text: str, place: str) -> None:
    for size in range(1, len(text) + 1):
        with pytest.raises(ValueError, match=re.escape(place)):
            fed(*(text[at : at + size] for at in range(0, len(text), size)))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("{a", {}),
        ('{"a" 1}', {}),
        ("[1,]", [1]),
        ('{"a":1,}', {"a": 1}),
        ("{,", {}),
        ("[,1]", []),
        ("[1 2]", [1]),
        ("tru ", None),
        ("[01]", []),
        ("[1.]", []),
        ("[+1]", []),
        ("[--1]", []),
        ("[NaN]", []),
        ("[-Infinity]", []),
        ('{"a":1}x', {"a": 1}),
        ('{"a":1}{"a":1}', {"a": 1}),
        ('["\n"]', []),
        ('["\\x"]', []),
        ('["\\u12"]', []),
        ("}", None),
        ("]", None),
        ("[}", []),
        ("{]", {}),
        ('{"a":]', {}),
        ('{"a"}', {}),
        ('{"a"::1}', {}),
        ("é", None),
        ("[\u0661]", []),
        ("<html>", None),
    ],
)
def test_no_json_raises_and_goes_on_raising(text: str, kept: Any) -> None:
    for pieces in ([text], list(text)):
        parser = PartialJSON()
        with pytest.raises(ValueError, match="JSON"):  # noqa: PT012 -- which of the pieces is the bad one depends
            for piece in pieces:
                parser.feed(piece)
        assert parser.value == kept
        with pytest.raises(ValueError, match="JSON"):
            parser.feed('"')
        assert parser.value == kept


def test_depth_is_bounded() -> None:
    parser = fed("[" * 250)
    with pytest.raises(ValueError, match="250"):
        parser.feed("[")
    assert fed("[" * 250 + "]" * 250).complete


def test_odd_scalars_can_be_encoded_again() -> None:
    value = fed('["\\ud83d", "\\ud83d', "\\ude00", '", ' + "9" * 5000 + "]").value
    assert value == ["\ufffd", "\U0001f600", "9" * 5000]


def calls_for(text: str, size: int) -> int:
    """Return how many Python and C calls it takes to feed the text in pieces: a count, so load does not matter."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    parser = PartialJSON()

    def feed() -> None:
        for piece in pieces:
            parser.feed(piece)
            parser.copy()

    count = calls_made(feed)
    assert parser.complete
    return count


@pytest.mark.parametrize("shape", ["string", "numbers", "objects"])
def test_work_is_linear_in_the_text(shape: str) -> None:
    def text(n: int) -> str:
        values = {"string": "word " * n, "numbers": list(range(1000, 1000 + n)), "objects": [{"n": 1, "s": "x"}] * n}
        return json.dumps({"value": values[shape]})

    assert calls_for(text(800), 5) < 2.2 * calls_for(text(400), 5)
