"""Each kind of event becomes its own class, and what is unknown survives."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis import responses
from dgrid_async.apis.responses import events, types
from dgrid_async.apis.responses.events import decode_event, text_of
from dgrid_async.wire import wire_names

DOCUMENTED: dict[str, list[str]] = json.loads((Path(__file__).parent / "catalogue.json").read_text())["events"]

# A value for a field that no string fits.
VALUES: dict[str, Any] = {
    "response": {"id": "r", "output": []},
    "item": {"type": "message", "id": "m", "content": []},
    "part": {"type": "output_text", "text": ""},
    "annotation": {"type": "file_path", "file_id": "f", "index": 1},
    "logprobs": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}],
    "output": [{"outcome": {"type": "exit", "exit_code": 0}, "stdout": "o", "stderr": ""}],
}


def example(kind: str) -> dict[str, Any]:
    event: dict[str, Any] = {"type": kind}
    for name in DOCUMENTED[kind]:
        if name.endswith(("_index", "_number")):
            event[name] = 2
        elif name != "type":
            event[name] = VALUES.get(name, "x")
    if kind == "response.shell_call_output_content.delta":
        event["delta"] = {"stdout": "o", "stderr": "e"}
    if "reasoning_summary_part" in kind:
        event["part"] = {"type": "summary_text", "text": ""}
    return event


def decoded(data: dict[str, Any]) -> events.Event:
    event = decode_event(data)
    assert event is not None
    return event


def class_name(kind: str) -> str:
    """Return the name that a wire name makes by rule."""
    if kind == "error":
        return "ErrorEvent"
    words = kind.removeprefix("response.")
    prefix = "" if "." in words else "Response"
    return prefix + "".join(word.capitalize() for word in words.replace(".", "_").split("_"))


def test_there_are_59_kinds() -> None:
    assert len(DOCUMENTED) == 59
    known = {cls for cls in typing.get_args(events.Event) if cls is not events.UnknownEvent}
    assert known == {getattr(events, class_name(kind)) for kind in DOCUMENTED}


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_every_kind_has_its_class_and_all_its_fields(kind: str) -> None:
    data = example(kind)
    event = decoded(data)
    assert type(event) is getattr(responses, class_name(kind))
    cls: Any = type(event)
    assert set(DOCUMENTED[kind]) <= set(wire_names(cls))
    assert event.extra == {}
    assert event.to_dict() == data


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_unknown_fields_survive_and_missing_ones_are_no_error(kind: str) -> None:
    data = {"type": kind, "agent": {"agent_name": "a"}, "obfuscation": "zzz"}
    event = decoded(data)
    assert type(event).__name__ == class_name(kind)
    assert event.to_dict() == data


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_null_is_no_word(kind: str) -> None:
    event = decoded({**dict.fromkeys(DOCUMENTED[kind]), "type": kind})
    assert "None" not in json.dumps(event.to_dict())
    assert getattr(event, "delta", "") in ("", events.ShellOutputDelta())


@pytest.mark.parametrize(
    "data",
    [
        {"type": "response.tomorrow", "x": [1]},
        {"type": "response.steer.pending"},
        {"type": 7, "x": 1},
        {"x": 1},
        {"type": []},
    ],
)
def test_an_unknown_event_is_kept_whole(data: dict[str, Any]) -> None:
    event = decoded(data)
    assert type(event) is events.UnknownEvent
    assert event.type == (data.get("type") if isinstance(data.get("type"), str) else "")
    assert event.to_dict() == data


@pytest.mark.parametrize("data", [{"type": "ping"}, {"type": "keepalive", "sequence_number": 3}, {}])
def test_what_only_keeps_the_connection_open_is_no_event(data: dict[str, Any]) -> None:
    assert decode_event(data) is None


def test_unknown_items_and_parts_are_kept_whole() -> None:
    item = {"type": "agent_message", "content": [{"x": 1}]}
    added = decode_event({"type": "response.output_item.added", "output_index": 0, "item": item})
    assert isinstance(added, events.OutputItemAdded)
    assert isinstance(added.item, types.UnknownItem)
    assert added.item.data == item
    part = decode_event({"type": "response.content_part.done", "part": {"type": "poem", "lines": 4}})
    assert isinstance(part, events.ContentPartDone)
    assert isinstance(part.part, types.UnknownContent)
    assert part.to_dict()["part"] == {"type": "poem", "lines": 4}


@pytest.mark.parametrize(
    "data",
    [
        {"type": "response.output_text.delta", "delta": {"x": 1}},
        {"type": "response.output_text.delta", "delta": "x", "output_index": "one"},
        {"type": "response.output_text.delta", "delta": "x", "logprobs": {}},
        {"type": "response.output_item.added", "item": "message"},
        {"type": "response.completed", "response": []},
        {"type": "response.shell_call_output_content.delta", "delta": "text"},
    ],
)
def test_a_known_field_of_a_wrong_type_is_a_value_error(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="belongs here"):
        decode_event(data)


def test_only_output_text_is_the_answers_text() -> None:
    texts = {kind: text_of(decoded(example(kind))) for kind in DOCUMENTED}
    assert {kind for kind, text in texts.items() if text} == {"response.output_text.delta"}
    assert texts["response.output_text.delta"] == "x"


def test_the_sequence_number_is_none_where_the_gateway_does_not_count() -> None:
    event = decoded({"type": "response.output_text.delta", "delta": "x"})
    assert isinstance(event, events.OutputTextDelta)
    assert event.sequence_number is None
    counted = decode_event({"type": "response.output_text.delta", "delta": "x", "sequence_number": 0})
    assert isinstance(counted, events.OutputTextDelta)
    assert counted.sequence_number == 0
