"""The classes of the wire: the same JSON out as in, and objects as objects are."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgrid_async.scalars import MismatchError
from dgrid_async.structuring import structure
from dgrid_async.wire import fields_of, wire_names
from tests.wire_classes import CallPart, Camel, Everything, Plain, TextPart, UnknownPart, both_ways

# ------------------------------------------------------------------------------------------------------- names


def test_wire_names() -> None:
    assert wire_names(Camel) == {"mimeType": "mime_type", "data": "data", "tokenCount2": "token_count_2"}
    names = wire_names(Everything)
    assert (names["async"], names["other-name"]) == ("async_", "renamed")
    made = both_ways({"async": "x", "other-name": "y", "async_": 1, "renamed": 2})
    assert (made.async_, made.renamed) == ("x", "y")
    assert made.extra == {"async_": 1, "renamed": 2}


def test_camel_case() -> None:
    made = both_ways({"mimeType": "image/png", "data": "-_8", "tokenCount2": 3, "mime_type": "unknown here"}, Camel)
    assert (made.mime_type, made.data, made.token_count_2) == ("image/png", b"\xfb\xff", 3)
    assert Camel(mime_type="a", data=b"\xfb\xff").to_dict() == {"mimeType": "a", "data": "+/8="}


# ------------------------------------------------------------------------------------------------------- fields out


def test_null_and_absent_are_told_apart() -> None:
    both_ways({})
    both_ways(dict.fromkeys(wire_names(Everything)))
    both_ways({"text": "", "count": 0, "parts": [], "type": None})


def test_unknown_fields_come_back_and_are_read() -> None:
    value = {"new": {"a": [1, None]}, "text": "x", "parts": [{"type": "text", "text": "y", "newer": 1}]}
    made = both_ways(value)
    assert made.extra == {"new": {"a": [1, None]}}
    made.extra["more"] = 1
    assert made.extra == {"new": {"a": [1, None]}}
    assert made.parts[0].extra == {"newer": 1}
    assert Everything().extra == {}


@pytest.mark.parametrize("depth", [100, 900])
def test_what_is_nested_more_deeply_than_calls_may_be_goes_out(depth: int) -> None:
    def nested(inmost: Any) -> Any:
        for n in range(depth):
            inmost = [inmost] if n % 2 else {"a": inmost, "b": n}
        return inmost

    came = nested("came")
    for part in (CallPart(input=nested(b"\0")), structure({"type": "call", "input": came}, CallPart)):
        part.input = nested([b"\0", TextPart(text="x"), None])
        out = part.to_dict()["input"]
        for n in reversed(range(depth)):
            out = out[0] if n % 2 else out["a"]
        assert out == ["AA==", {"type": "text", "text": "x"}, None]
    for n in reversed(range(depth)):
        came = came[0] if n % 2 else came["a"]
    assert came == "came"


def test_changes_go_out() -> None:
    made = structure(
        {"text": "x", "count": "5", "note": None, "names": {"a": "1"}, "words": ["a", 7], "data": "-_8", "z": 1}, Everything
    )
    made.text, made.note, made.limit = "y", "now", 3
    made.names["b"] = 2
    made.words.append("c")
    made.data += b"\0"
    made.parts.append(CallPart(name="f"))
    made.child = Everything(flag=True)
    out = made.to_dict()
    assert out["child"]["flag"] is True
    del out["child"]
    assert out == {
        "text": "y",
        "count": "5",
        "note": "now",
        "names": {"a": "1", "b": 2},
        "words": ["a", 7, "c"],
        "data": "+/8A",
        "z": 1,
        "limit": 3,
        "parts": [{"type": "call", "name": "f"}],
    }
    made.text = None  # type: ignore[assignment]  # a caller may
    made.words = []
    assert (made.to_dict()["text"], made.to_dict()["words"]) == (None, [])


def test_what_the_caller_makes_goes_out_without_none() -> None:
    assert TextPart(text="x").to_dict() == {"type": "text", "text": "x"}
    assert CallPart(input={"a": b"\0", "b": [TextPart()]}).to_dict() == {
        "type": "call",
        "name": "",
        "input": {"a": "AA==", "b": [{"type": "text", "text": ""}]},
    }


def test_unknown_kinds_go_out_as_they_came() -> None:
    value = {"type": "new", "a": {"b": None}}
    made = both_ways(value, UnknownPart)
    assert (made.type, made.data, made.extra) == ("new", value, {})
    made.to_dict()["more"] = 1
    assert made.to_dict() == value
    assert UnknownPart("made", {"a": 1}).to_dict() == {"type": "made", "a": 1}
    assert UnknownPart("", {"a": 1}).to_dict() == {"a": 1}
    assert both_ways({"type": 5}, UnknownPart).type == ""


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from(["text", "call", "-_8", "12", "1.5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*wire_names(Everything), "type", "name", "input", "zzz"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, database=None)
@given(VALUE)
@example({"count": "١٢", "share": " 1 ", "words": [1e22], "data": "AB=="})
@example({"names": {"a": "1"}, "number": 1.0, "flag": 1, "always": {"type": 0}})
def test_any_json_is_an_object_that_says_the_same_or_a_mismatch(value: Any) -> None:
    try:
        made = structure(value, Everything)
    except MismatchError:
        return
    for twin in (made, copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert json.dumps(twin.to_dict(), sort_keys=True) == json.dumps(value, sort_keys=True)
        assert twin == made
        assert repr(twin) == repr(made)


# ------------------------------------------------------------------------------------------------------- as objects


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_with_what_it_does_not_know(protocol: int) -> None:
    made = structure({"text": "x", "new": [1], "parts": [{"type": "?"}], "data": "-_8"}, Everything)
    made._request_id = "req_1"
    made.note = "changed"
    twin = pickle.loads(pickle.dumps(made, protocol))
    assert twin == made
    assert twin.to_dict() == made.to_dict()
    assert (twin.request_id, twin.extra) == ("req_1", {"new": [1]})
    assert pickle.loads(pickle.dumps(TextPart(text="x"), protocol)) == TextPart(text="x")


def test_copies_are_apart() -> None:
    made = structure({"parts": [{"type": "text", "text": "x"}], "new": {"a": [1]}}, Everything)
    shallow, deep = copy.copy(made), copy.deepcopy(made)
    made.parts[0].text = "y"
    assert (shallow.parts[0].text, deep.parts[0].text) == ("y", "x")
    deep.extra["new"]["a"].append(2)
    assert made.extra == {"new": {"a": [1]}}


def test_equal_is_of_one_class_with_the_same_fields_known_or_not() -> None:
    assert structure({"text": "x"}, TextPart) == TextPart(text="x")
    assert structure({"text": "x", "z": 1}, TextPart) != TextPart(text="x")
    assert structure({"text": "x", "z": 1}, TextPart) == structure({"z": 1, "text": "x"}, TextPart)
    assert TextPart(text="x") != Plain(text="x")
    assert TextPart() != {"type": "text", "text": ""}
    with pytest.raises(TypeError):
        hash(TextPart())


def test_repr_shows_what_is_not_default() -> None:
    assert repr(TextPart(text="x")) == "TextPart(type='text', text='x')"
    assert repr(structure({"text": "x", "count": 0, "new": 1}, Everything)) == "Everything(text='x', new=1)"
    assert repr(UnknownPart("a", {"type": "a"})) == "UnknownPart(type='a', data={'type': 'a'})"


def test_request_id_is_no_field() -> None:
    made = structure({"text": "x"}, Everything)
    assert made.request_id is None
    made._request_id = "req_1"
    assert made.request_id == "req_1"
    assert "req_1" not in json.dumps(made.to_dict())
    with pytest.raises(AttributeError):
        made.unheard_of = 1  # type: ignore[attr-defined]  # slots


def test_fields_say_what_they_hold() -> None:
    assert [field.name for field in fields_of(Everything)] == [*wire_names(Everything).values()]
    kinds: dict[str, set[str]] = {}
    for field in fields_of(Everything):
        kinds.setdefault(field.holds, set()).add(field.name)
    assert kinds["object"] == {"one", "always", "child"}
    assert kinds["objects"] == {"parts", "texts"}
    containers = {"anything", "words", "gaps", "grid", "names", "boxes", "raw", "loose", "content", "object"}
    assert kinds["anything"] == {*containers, "number"}
    assert kinds["scalar"] >= {"text", "rate", "blob", "kind"}
