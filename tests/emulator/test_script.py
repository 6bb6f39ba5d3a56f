"""Scripts as values: what they refuse, and their way through JSON and back."""

from __future__ import annotations

import json

import pytest

from dgrid_async.emulator import (
    Abort,
    Close,
    Cut,
    ErrorEvent,
    HoldOpen,
    Html,
    Insert,
    Malformed,
    Script,
    Stall,
    ToolCall,
    Usage,
    WholeJson,
)


@pytest.mark.parametrize(
    "script",
    [
        Script(),
        Script(text="Hallo", reasoning=("a", "b"), refusal="No.", alternatives=("x", ("y", "z"))),
        Script(tool_calls=(ToolCall("f", {"a": [1]}), ToolCall("g", ("{", "}"), id="call_x")), stop_reason="length"),
        Script(usage=Usage(1, 2, reasoning=1, cached=1), model="other", stop_sequence="END"),
        Script(status=429, headers={"Retry-After": "2"}, message="slow down", delay=0.5),
        Script(status=500, body={"a": [1, {"b": None}]}, content_type="application/json"),
        Script(body=[1, [2]], pace=0.1, chunk_size="all", done=True),
        Script(inserts=(Insert(), Insert(": x\n", before=2, times=3, inside=True)), chunk_size=7),
        *(
            Script(fault=fault)
            for fault in (
                Cut(),
                Abort(after=2),
                Stall("inside_event", after=1, comment_every=0.1),
                ErrorEvent(after=3, status=429, message="m"),
                Malformed(after=1),
                Html(),
                Close(),
                HoldOpen(),
                WholeJson(),
            )
        ),
    ],
)
def test_json_and_back(script: Script) -> None:
    text = script.to_json()
    assert text.isascii()
    assert Script.from_dict(json.loads(text)) == script


def test_to_json_leaves_defaults_out() -> None:
    assert Script().to_json() == "{}"
    assert json.loads(Script(fault=Cut(after=1)).to_json()) == {"fault": {"kind": "cut", "after": 1}}


def test_fault_by_its_kind_alone() -> None:
    assert Script.from_dict({"fault": "hold_open"}).fault == HoldOpen()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"txet": "a"}, "unknown txet"),
        ({"fault": "earthquake"}, "no such fault: 'earthquake'"),
        ({"fault": {"kind": "cut", "when": 1}}, "when"),
        ({"fault": {"kind": "stall", "where": "nowhere"}}, "nowhere"),
        ({"tool_calls": [{"arguments": {}}]}, "name"),
        ({"tool_calls": 3}, "script"),
        ({"usage": {"input": 1}}, "output"),
        ({"pace": -1}, "not negative"),
        ({"pace": "fast"}, "script"),
        ({"chunk_size": 0}, "chunk_size"),
        ([], "an object is wanted"),
    ],
)
def test_what_does_not_fit_is_a_value_error(data: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Script.from_dict(data)  # type: ignore[arg-type]  # wrong data on purpose


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        Script().text = "other"  # type: ignore[misc]  # the point of the test
