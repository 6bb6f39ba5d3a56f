"""The stream's events: each kind is an object of its own class, and what is unknown is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis import messages
from dgrid_async.scalars import MismatchError
from dgrid_async.wire import WireObject, wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

EVENTS: dict[str, tuple[type[WireObject], dict[str, Any]]] = {
    "message_start": (messages.MessageStart, {"message": {"id": "m", "type": "message", "content": []}}),
    "content_block_start": (messages.ContentBlockStart, {"index": 1, "content_block": {"type": "text", "text": "A"}}),
    "content_block_delta": (messages.ContentBlockDelta, {"index": 1, "delta": {"type": "text_delta", "text": "B"}}),
    "content_block_stop": (messages.ContentBlockStop, {"index": 1}),
    "message_delta": (messages.MessageDelta, {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
    "message_stop": (messages.MessageStop, {}),
    "error": (messages.ErrorEvent, {"error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}),
}

DELTAS: dict[str, tuple[type, dict[str, Any]]] = {
    "text_delta": (messages.TextDelta, {"text": "t"}),
    "thinking_delta": (messages.ThinkingDelta, {"thinking": "t"}),
    "signature_delta": (messages.SignatureDelta, {"signature": "s"}),
    "input_json_delta": (messages.InputJSONDelta, {"partial_json": "{"}),
    "citations_delta": (messages.CitationsDelta, {"citation": {"type": "page_location", "cited_text": "c"}}),
    "a_new_delta": (messages.UnknownDelta, {"what": [1]}),
}


def decoded(wire: dict[str, Any]) -> Any:
    return messages.decode_event(wire)


def delta(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **fields}}


def test_every_event_of_the_catalogue_is_here() -> None:
    assert set(CATALOGUE["events"]) == set(EVENTS) - {"error"}
    for kind, fields in CATALOGUE["events"].items():
        assert set(fields) <= set(wire_names(EVENTS[kind][0]))


@pytest.mark.parametrize("kind", EVENTS)
def test_each_kind_is_an_object_of_its_own_class(kind: str) -> None:
    cls, fields = EVENTS[kind]
    wire = {"type": kind, **fields, "a_new_field": {"x": 1}}
    for _ in range(2):  # the first of a kind takes another way than the rest
        event = decoded(wire)
        assert isinstance(event, cls)
        assert event.to_dict()["type"] == kind
        assert event.extra == {"a_new_field": {"x": 1}}
        assert event.to_dict() == wire


@pytest.mark.parametrize("kind", DELTAS)
def test_each_delta_is_an_object_of_its_own_class(kind: str) -> None:
    cls, fields = DELTAS[kind]
    wire = delta(kind, **fields, estimated_tokens=7)
    event = decoded(wire)
    assert type(event.delta) is cls
    assert event.to_dict() == wire


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_may_lack_everything_but_its_type(kind: str) -> None:
    assert decoded({"type": kind}).to_dict() == {"type": kind}
    wire = {"type": kind, **dict.fromkeys(EVENTS[kind][1])}
    event = decoded(wire)
    assert event.to_dict() == wire
    assert messages.text_of(event) == ""


@pytest.mark.parametrize("wire", [{"type": "a_new_event", "x": {"y": 1}}, {"x": 1}, {"type": None}, {"type": []}, {"type": 5}])
def test_an_unknown_event_is_kept(wire: dict[str, Any]) -> None:
    event = decoded(wire)
    assert type(event) is messages.UnknownEvent
    assert event.to_dict() == wire
    assert messages.text_of(event) == ""


def test_a_ping_is_no_event() -> None:
    assert decoded({"type": "ping"}) is None


@pytest.mark.parametrize(
    "wire",
    [
        [],
        "message_stop",
        None,
        3,
        {"type": "message_start", "message": []},
        {"type": "content_block_start", "content_block": "text"},
        {"type": "content_block_start", "index": "first"},
        {"type": "content_block_delta", "index": [0]},
        {"type": "content_block_delta", "delta": "text"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ["a"]}},
        {"type": "message_delta", "delta": []},
        {"type": "message_delta", "usage": {"output_tokens": {}}},
    ],
)
def test_a_wrong_kind_in_a_known_field_is_a_value_error(wire: Any) -> None:
    with pytest.raises(MismatchError):
        decoded(wire)


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (delta("text_delta", text="more"), "more"),
        (delta("text_delta", text=None), ""),
        (delta("thinking_delta", thinking="hm"), ""),
        (delta("input_json_delta", partial_json="{"), ""),
        (delta("a_new_delta", text="no"), ""),
        ({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "already"}}, "already"),
        ({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "hm"}}, ""),
        ({"type": "message_start", "message": {"content": [{"type": "text", "text": "all"}]}}, "all"),
        ({"type": "message_stop"}, ""),
    ],
)
def test_the_text_that_an_event_adds(wire: dict[str, Any], text: str) -> None:
    assert messages.text_of(decoded(wire)) == text
