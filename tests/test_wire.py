"""The classes of the wire: what each kind of field takes, what it refuses by name, and the same JSON out as in."""

# ruff: noqa: S301 -- what is unpickled was pickled here

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any, ClassVar, Literal

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dgrid_async.wire import (
    MismatchError,
    Reply,
    Unknown,
    WireObject,
    _compile,
    converter,
    fields_of,
    structure,
    structurer,
    wire_names,
    wire_type,
)


@wire_type
class TextPart(WireObject):
    type: Literal["text"] = "text"
    text: str = ""


@wire_type
class CallPart(WireObject):
    type: Literal["call", "server_call"] = "call"
    name: str = ""
    input: Any = None


@wire_type
class UnknownPart(Unknown):
    pass


Part = TextPart | CallPart | UnknownPart


@wire_type
class Everything(Reply):
    text: str = ""
    note: str | None = None
    count: int = 0
    limit: int | None = None
    share: float = 1.5
    rate: float | None = None
    flag: bool = False
    maybe: bool | None = None
    data: bytes = b""
    blob: bytes | None = None
    kind: Literal["a", "b"] | str = "a"
    anything: Any = None
    one: TextPart | None = None
    always: TextPart = attrs.field(factory=TextPart)
    parts: list[Part] = attrs.field(factory=list)
    texts: list[TextPart] | None = None
    words: list[str] = attrs.field(factory=list)
    gaps: list[int | None] | None = None
    grid: list[list[int]] | None = None
    names: dict[str, int] = attrs.field(factory=dict)
    boxes: dict[str, TextPart] | None = None
    raw: dict[str, Any] | None = None
    loose: list[Any] | None = None
    content: str | list[Part] | None = None
    number: int | float | None = None
    object: TextPart | dict[str, Any] | None = None
    child: Everything | None = None
    async_: str | None = None
    renamed: str | None = attrs.field(default=None, metadata={"wire": "other-name"})


@wire_type
class Camel(WireObject):
    camel: ClassVar[bool] = True
    mime_type: str | None = None
    data: bytes | None = None
    token_count_2: int | None = None


@wire_type
class Plain(WireObject):
    text: str | None = None


@wire_type
class Tree(WireObject):
    name: str = ""
    leaves: list[Tree] = attrs.field(factory=list)


def both_ways(value: dict[str, Any], cls: type[Any] = Everything) -> Any:
    """Return the object of a JSON value, after checking that it gives back the very same JSON."""
    made = structure(value, cls)
    assert json.dumps(made.to_dict(), sort_keys=True) == json.dumps(value, sort_keys=True)
    return made


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
    value: dict[str, Any] = {}
    for _ in range(3000):
        value = {"leaves": [value]}
    with pytest.raises(MismatchError, match="Tree: less nesting belongs here"):
        structure(value, Tree)


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
