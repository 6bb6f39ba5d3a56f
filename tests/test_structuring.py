"""Structuring: what each kind of field takes, what it refuses by name, and the same whichever way an object goes."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgrid_async.scalars import MismatchError
from dgrid_async.structuring import _compile, converter, structure, structurer
from dgrid_async.wire import WireObject, wire_names, wire_type
from tests.wire_classes import CallPart, Everything, Part, Plain, TextPart, Tree, UnknownPart, both_ways

# ------------------------------------------------------------------------------------------------------- fields in

TAKEN: list[tuple[str, Any, Any]] = [
    ("text", "x", "x"),
    ("text", 5, "5"),
    ("text", 1.5, "1.5"),
    ("text", None, ""),
    ("note", None, None),
    ("count", 3, 3),
    ("count", 3.0, 3),
    ("count", "-12", -12),
    ("count", None, 0),
    ("share", 2, 2),
    ("share", "2.5", 2.5),
    ("share", None, 1.5),
    ("rate", 0.1, 0.1),
    ("flag", True, True),
    ("flag", 1, True),
    ("flag", 0, False),
    ("flag", None, False),
    ("maybe", None, None),
    ("data", "+/8=", b"\xfb\xff"),
    ("data", "-_8=", b"\xfb\xff"),
    ("data", "-_8", b"\xfb\xff"),
    ("data", "", b""),
    ("data", None, b""),
    ("kind", "never seen", "never seen"),
    ("kind", None, "a"),
    ("anything", [{"a": None}], [{"a": None}]),
    ("one", {"text": "x"}, TextPart(text="x")),
    ("one", None, None),
    ("always", None, TextPart()),
    ("parts", [], []),
    ("parts", None, []),
    ("parts", [{"type": "text", "text": "x"}], [TextPart(text="x")]),
    ("parts", [{"type": "call", "name": "f"}], [CallPart(name="f")]),
    ("parts", [{"type": "server_call"}], [CallPart(type="server_call")]),
    ("parts", [{"type": "new", "z": 1}], [UnknownPart("new", {"type": "new", "z": 1})]),
    (
        "parts",
        [{"z": 1}, {"type": 5}, {"type": ["text"]}],
        [UnknownPart("", {"z": 1}), UnknownPart("", {"type": 5}), UnknownPart("", {"type": ["text"]})],
    ),
    ("texts", [{"text": "x"}, {"type": "other"}], [TextPart(text="x"), TextPart(type="other")]),
    ("words", ["a", 1], ["a", "1"]),
    ("gaps", [1, None, "2"], [1, None, 2]),
    ("grid", [[1, 2.0], []], [[1, 2], []]),
    ("names", {"a": 1, "b": "2"}, {"a": 1, "b": 2}),
    ("boxes", {"a": {"text": "x"}}, {"a": TextPart(text="x")}),
    ("raw", {"a": [None]}, {"a": [None]}),
    ("loose", [1, None, {}], [1, None, {}]),
    ("content", "x", "x"),
    ("content", [{"type": "text", "text": "x"}], [TextPart(text="x")]),
    ("number", 1, 1),
    ("number", 1.5, 1.5),
    ("object", {"type": "text", "text": "x"}, TextPart(text="x")),
    ("object", {"type": "new"}, {"type": "new"}),
    ("child", {"text": "x", "child": {"count": 2}}, Everything(text="x", child=Everything(count=2))),
]


@pytest.mark.parametrize(("name", "came", "value"), TAKEN)
def test_field_takes(name: str, came: Any, value: Any) -> None:
    made = both_ways({name: came, "x": 1})
    found = getattr(made, name)
    assert found == value
    assert type(found) is type(value)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert json.dumps(again.to_dict()) == json.dumps(made.to_dict())


REFUSED: list[tuple[str, Any, str]] = [
    ("text", [], "Everything.text: a string belongs here, an array came"),
    ("text", {}, "Everything.text: a string belongs here, an object came"),
    ("text", True, "Everything.text: a string belongs here, true came"),
    ("note", False, "Everything.note: a string belongs here, false came"),
    ("count", "x", "Everything.count: an integer belongs here, a string came"),
    ("count", 1.5, "Everything.count: an integer belongs here, the number 1.5 came"),
    ("count", True, "Everything.count: an integer belongs here, true came"),
    ("count", math.inf, "Everything.count: an integer belongs here, the number inf came"),
    ("count", "9" * 5000, "Everything.count: an integer"),
    ("share", "x", "Everything.share: a number"),
    ("share", "nan", "Everything.share: a number"),
    ("share", True, "Everything.share: a number"),
    ("flag", "true", "Everything.flag: true or false"),
    ("flag", 2, "Everything.flag: true or false"),
    ("flag", 10**4000, "a huge number came"),
    ("flag", 1.0, "Everything.flag: true or false"),
    ("data", "a", "Everything.data: base64"),
    ("data", "é", "Everything.data: base64"),
    ("data", "a b=", "Everything.data: base64"),
    ("data", 5, "Everything.data: base64"),
    ("one", "x", "TextPart: an object belongs here, a string came"),
    ("one", {"text": []}, "TextPart.text: a string"),
    ("parts", {}, "Everything.parts: an array"),
    ("parts", [None], "Everything.parts"),
    ("parts", ["x"], "Everything.parts"),
    ("texts", "x", "Everything.texts: an array"),
    ("texts", [None], "TextPart: an object belongs here, null came"),
    ("words", [None], "Everything.words"),
    ("grid", [1], "Everything.grid"),
    ("names", [], "Everything.names: an object"),
    ("names", {"a": "x"}, "Everything.names"),
    ("raw", [], "Everything.raw: an object"),
    ("content", 5, "Everything.content: one of its known forms"),
    ("content", {}, "Everything.content"),
    ("number", "x", "Everything.number"),
    ("object", [], "Everything.object"),
    ("child", {"child": {"count": []}}, "Everything.count: an integer"),
]


@pytest.mark.parametrize(("name", "came", "words"), REFUSED)
def test_field_refuses_by_name(name: str, came: Any, words: str) -> None:
    with pytest.raises(MismatchError) as caught:
        structure({name: came}, Everything)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200
    for twin in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (type(twin), str(twin)) == (MismatchError, str(caught.value))


@pytest.mark.parametrize("value", [None, [], "x", 5, True])
@pytest.mark.parametrize("cls", [Everything, TextPart, UnknownPart])
def test_an_object_belongs_at_the_top(cls: type[Any], value: Any) -> None:
    with pytest.raises(MismatchError, match=f"{cls.__name__}: an object belongs here"):
        structure(value, cls)


@pytest.mark.parametrize("came", [5, None, [], {}, True])
def test_a_tag_that_is_no_string_is_harmless(came: Any) -> None:
    assert both_ways({"type": came, "text": "x"}, TextPart) == TextPart(text="x")


def test_defaults_are_each_objects_own() -> None:
    first, second = structure({}, Everything), structure({}, Everything)
    assert first == second == Everything()
    first.parts.append(TextPart())
    first.always.text = "changed"
    assert second == Everything()


def test_classes_refer_to_each_other_and_to_themselves() -> None:
    value = {"name": "a", "leaves": [{"name": "b", "leaves": [{"leaves": []}]}, {}]}
    made = both_ways(value, Tree)
    assert made.leaves[0].leaves[0] == Tree()


def test_nesting_too_deep_for_classes_is_a_mismatch() -> None:
    depth = 3000
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"leaves": [value]}
    # How deep is too deep depends on the Python: 3.13 holds this.
    said = ""
    tree = Tree()
    try:
        tree = structure(value, Tree)
    except MismatchError as error:
        said, depth = str(error), 0
    while tree.leaves:
        (tree,) = tree.leaves
        depth -= 1
    assert depth == 0
    assert said in {"", "Tree: less nesting belongs here, an object came"}


def test_a_union_alone_has_a_function_too() -> None:
    hook = structurer(Part)
    assert hook is structurer(Part)
    assert hook({"type": "text"}) == TextPart()
    assert hook({"type": "?"}) == UnknownPart("?", {"type": "?"})
    assert hook({"type": "call"}) == hook({"type": "call"}) == CallPart()
    with pytest.raises(MismatchError):
        hook("x")


@wire_type
class Guess(WireObject):
    with_untagged: TextPart | Plain | None = None
    tagged: TextPart | CallPart | None = None
    open: TextPart | Any = None


def test_unions_without_an_unknown_member() -> None:
    assert both_ways({"with_untagged": {"type": "?", "text": "x"}}, Guess).with_untagged.text == "x"
    assert isinstance(both_ways({"with_untagged": {"text": "x"}}, Guess).with_untagged, Plain)
    assert isinstance(both_ways({"tagged": {"text": "x"}}, Guess).tagged, TextPart)
    assert both_ways({"open": {"type": "text"}}, Guess).open == TextPart()
    for value in ({"type": "?"}, [1], 5, "x"):
        assert both_ways({"open": value}, Guess).open == value


def test_a_hint_without_a_rule_is_the_programmers_mistake() -> None:
    with pytest.raises(TypeError, match="no rule to structure"):
        structurer(set[int])


def test_the_converter_knows_the_classes() -> None:
    assert converter() is converter()
    assert converter().structure({"text": "x"}, TextPart) == TextPart(text="x")
    assert converter().unstructure(structure({"text": "x", "z": 1}, TextPart)) == {"text": "x", "z": 1}
    assert converter().structure("AA==", bytes) == b"\0"


# ------------------------------------------------------------------------------------------------------- ways

CAME_OFTEN = 50


def fresh(cls: type[Any]) -> Any:
    """Return a class's structuring function as it is before any object came."""
    return _compile(cls)


@pytest.mark.parametrize(("name", "came", "value"), TAKEN)
def test_what_keeps_coming_is_made_as_at_first(name: str, came: Any, value: Any) -> None:
    hook = fresh(Everything)
    data = {"zzz": [1], name: came, "other-name": None}
    code = hook.__code__
    made = [hook(data) for _ in range(CAME_OFTEN)]
    assert hook.__code__ is not code
    for one in made:
        assert {name: getattr(one, name) for name in wire_names(Everything).values()} == {
            name: getattr(made[0], name) for name in wire_names(Everything).values()
        }
        assert type(getattr(one, name)) is type(value)
        assert getattr(one, name) == value
        assert one == made[0]
        assert one.extra == {"zzz": [1]}
        assert json.dumps(one.to_dict()) == json.dumps(data)
    made[-1].parts.append(TextPart())
    made[-1].always.text = "changed"
    assert (made[-2].parts, made[-2].always) == (made[0].parts, made[0].always)


@pytest.mark.parametrize(("name", "came", "words"), REFUSED)
def test_what_keeps_coming_is_refused_as_at_first(name: str, came: Any, words: str) -> None:
    hook = fresh(Everything)
    right = next((value for field, value, _ in TAKEN if field == name), None)
    code = hook.__code__
    for _ in range(CAME_OFTEN):
        hook({"text": "x", name: right})
    assert hook.__code__ is not code
    with pytest.raises(MismatchError) as caught:
        hook({"text": "x", name: came})
    assert words in str(caught.value)
    for value in (None, [], "x"):
        with pytest.raises(MismatchError, match="Everything: an object belongs here"):
            hook(value)


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.sets(st.sampled_from(["aaa", "text", "note", "count", "zzz", "kind"])), min_size=1, max_size=8))
@example([{"text", "note"}, {"text", "count"}, {"note", "count"}, {"text", "zzz"}, {"zzz", "kind"}, set()])
@example([{"aaa", "text"}, {"note", "text"}])
def test_objects_of_many_kinds_by_turns(kinds: list[set[str]]) -> None:
    values: dict[str, Any] = {"aaa": 1, "text": "a", "note": "b", "count": 3, "zzz": {}, "kind": None}
    hook = fresh(Everything)
    objects = [{name: values[name] for name in sorted(kind)} for kind in kinds]
    plain = [fresh(Everything)(data) for data in objects]
    for data, expected in zip(objects, plain, strict=True):  # each long enough for a way of its own
        assert [hook(data) for _ in range(20)] == [expected] * 20
    for _ in range(3):
        assert [hook(data) for data in objects] == plain


def test_ways_are_few_and_the_search_for_them_ends() -> None:
    hook = fresh(Everything)
    codes = set()
    for width in range(1, 12):
        data = dict.fromkeys([*wire_names(Everything)][:width])
        for _ in range(CAME_OFTEN):
            hook(data)
        codes.add(hook.__code__)
    assert len(codes) == 4

    patient = fresh(Everything)
    code = patient.__code__
    for number in range(2000):
        patient({"text": "x", f"new{number}": 1})
    for _ in range(CAME_OFTEN):
        patient({"text": "x"})
    assert patient.__code__ is code


def test_names_from_the_wire_are_no_code() -> None:
    hook = fresh(Everything)
    data = {"text": "x", "'] or boom() or d['": 1, "\n boom()": 2, "\ud800": 3, "{boom}": 4, "": 5}
    code = hook.__code__
    made = [hook(data) for _ in range(CAME_OFTEN)]
    assert hook.__code__ is not code
    assert made[-1] == made[0]
    assert made[-1].extra == {name: value for name, value in data.items() if name != "text"}
    code = hook.__code__
    for unlikely in ({f"name {number}": number for number in range(100)}, {"n" * 100: 1}):
        assert [hook(unlikely).extra for _ in range(CAME_OFTEN)] == [unlikely] * CAME_OFTEN
        assert hook.__code__ is code
