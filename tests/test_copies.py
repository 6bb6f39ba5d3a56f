"""Copies: equal, apart, and made without a stack as deep as the JSON."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest

from dgrid_async.copies import copied
from dgrid_async.structuring import structure
from dgrid_async.wire import WireObject, wire_type
from tests.wire_classes import CallPart, Part, TextPart, UnknownPart


@wire_type
class Holder(WireObject):
    part: TextPart | None = None
    parts: list[Part] | None = None
    mixed: list[Part | str] | None = None
    anything: Any = None
    made: TextPart = attrs.field(factory=TextPart)


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_copy_is_equal_and_shares_nothing_that_can_change(generation: int) -> None:
    data = {
        "part": {"type": "text", "text": "a", "kept": {"x": 1}},
        "parts": [{"type": "call", "input": {"x": 1}}],
        "mixed": ["word", {"type": "novel", "x": 1}, {"type": "text", "text": "b"}],
        "anything": [{"x": 1}],
        "kept": {"x": 1},
    }
    before = json.dumps(data)
    held = structure(data, Holder)
    for _ in range(generation - 1):
        held = copied(held)
    one = copied(held)
    assert one == held
    assert json.dumps(one.to_dict()) == before
    assert one.part is not None
    one.part.extra["kept"]["x"] = "mine"
    one.part.text = "mine"
    assert one.parts is not None
    assert isinstance(one.parts[0], CallPart)
    one.parts[0].input["x"] = "mine"
    assert one.mixed is not None
    assert isinstance(one.mixed[1], UnknownPart)
    one.mixed[1].data["x"] = "mine"
    one.mixed.clear()
    one.anything[0]["x"] = "mine"
    one.extra["kept"]["x"] = "mine"
    one.made.text = "mine"
    assert json.dumps(held.to_dict()) == json.dumps(data) == before
    assert held.made.text == ""


def test_a_copy_of_a_copy_can_be_pickled() -> None:
    one = copied(copied(structure({"part": {"type": "text", "text": "a", "kept": 1}}, Holder)))
    found = pickle.loads(pickle.dumps(one))  # noqa: S301 -- made in the line itself
    assert found == one
    assert found.to_dict() == one.to_dict()


def test_lists_of_any_length_are_copied() -> None:
    for count in range(4):
        held = structure({"parts": [{"type": "text", "text": "a"}] * count}, Holder)
        one = copied(held)
        assert one == held
        assert one.parts is not None
        assert held.parts is not None
        assert not any(copy is part for copy, part in zip(one.parts, held.parts, strict=True))


def test_a_copy_of_deep_json_needs_no_stack() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"x": [deep]}
    found = copied(structure({"anything": deep}, Holder)).anything
    for _ in range(5000):
        found = found["x"][0]
    assert found == 1
