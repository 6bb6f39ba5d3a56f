"""The reply's classes: all that the vendor's own package names is there, and nothing on the wire is lost."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any, Literal

import pytest

from dgrid_async.apis import messages
from dgrid_async.scalars import MismatchError
from dgrid_async.structuring import structure
from dgrid_async.wire import Unknown, WireObject, wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

# Catalogue name to ours, where several classes of one shape are one here or the vendor's name says nothing.
ALIASES = {
    "CacheMissMessagesChanged": "CacheMissReason",
    "CacheMissModelChanged": "CacheMissReason",
    "CacheMissPreviousMessageNotFound": "CacheMissReason",
    "CacheMissSystemChanged": "CacheMissReason",
    "CacheMissToolsChanged": "CacheMissReason",
    "CacheMissUnavailable": "CacheMissReason",
    "Delta": "MessageDeltaBody",
    "ServerToolCaller20260120": "ServerToolCaller",
}
CLASSES = sorted(CATALOGUE["classes"])


def ours(name: str) -> Any:
    return getattr(messages, ALIASES.get(name, name))


def tags(cls: type[WireObject]) -> tuple[str, ...] | None:
    """Return the kinds that a class says it serves, or None where it leaves them open."""
    hint = typing.get_type_hints(cls).get("type")
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else None


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_every_field(name: str) -> None:
    missing = set(CATALOGUE["classes"][name]["fields"]) - set(wire_names(ours(name)))
    assert not missing


@pytest.mark.parametrize("name", [name for name in CLASSES if CATALOGUE["classes"][name]["types"]])
def test_every_class_serves_its_kinds(name: str) -> None:
    served = tags(ours(name))
    assert served is None or set(CATALOGUE["classes"][name]["types"]) <= set(served)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_may_be_made_of_nothing_and_goes_back_as_it_came(name: str) -> None:
    cls = ours(name)
    wire: dict[str, Any] = dict.fromkeys(CATALOGUE["classes"][name]["fields"])
    wire["a_new_field"] = {"deep": [1]}
    came = structure(wire, cls)
    assert came.to_dict() == wire
    assert came.extra == {"a_new_field": {"deep": [1]}}
    assert "None" not in [value for field in wire_names(cls).values() if isinstance(value := getattr(came, field), str)]
    assert structure({}, cls).to_dict() == {}


BLOCKS: dict[str, dict[str, Any]] = {
    "text": {
        "text": "T",
        "citations": [
            {
                "type": "char_location",
                "cited_text": "c",
                "document_index": 0,
                "start_char_index": 0,
                "end_char_index": 1,
            },
            {"type": "a_new_location", "where": 1},
        ],
    },
    "thinking": {"thinking": "hm", "signature": "sig"},
    "redacted_thinking": {"data": "AAA"},
    "tool_use": {"id": "t", "name": "f", "input": {"a": [1]}, "caller": {"type": "direct"}, "toolset_name": None},
    "server_tool_use": {
        "id": "s",
        "name": "web_search",
        "input": {"type": "x"},
        "caller": {"type": "code_execution_20260120", "tool_id": "c"},
    },
    "web_search_tool_result": {
        "tool_use_id": "s",
        "content": [{"type": "web_search_result", "title": "L", "url": "u", "encrypted_content": "e", "page_age": None}],
        "caller": {"type": "a_new_caller", "x": 1},
    },
    "web_fetch_tool_result": {
        "tool_use_id": "s",
        "content": {
            "type": "web_fetch_result",
            "url": "u",
            "retrieved_at": "2026-01-01T00:00:00Z",
            "content": {
                "type": "document",
                "title": "D",
                "citations": {"enabled": True},
                "source": {"type": "text", "media_type": "text/plain", "data": "d"},
            },
        },
    },
    "code_execution_tool_result": {
        "tool_use_id": "s",
        "content": {
            "type": "encrypted_code_execution_result",
            "encrypted_stdout": "e",
            "stderr": "",
            "return_code": 1,
            "content": [{"type": "code_execution_output", "file_id": "f"}],
        },
    },
    "bash_code_execution_tool_result": {
        "tool_use_id": "s",
        "content": {"type": "bash_code_execution_tool_result_error", "error_code": "unavailable"},
    },
    "text_editor_code_execution_tool_result": {
        "tool_use_id": "s",
        "content": {"type": "text_editor_code_execution_str_replace_result", "lines": ["-a", "+b"], "new_start": 1},
    },
    "tool_search_tool_result": {
        "tool_use_id": "s",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": "f"}],
        },
    },
    "container_upload": {"file_id": "f"},
}

BLOCK_CLASSES = [cls for cls in typing.get_args(messages.ContentBlock) if not issubclass(cls, Unknown)]


def message(*blocks: dict[str, Any], **fields: Any) -> messages.Message:
    return structure({"type": "message", "content": list(blocks), **fields}, messages.Message)


def test_there_is_an_example_of_each_block() -> None:
    assert {tag for cls in BLOCK_CLASSES for tag in tags(cls) or ()} == set(BLOCKS)


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_is_told_by_its_type_and_goes_back_unchanged(kind: str) -> None:
    wire = {"type": kind, **BLOCKS[kind]}
    (block,) = message(wire).content
    assert kind in (tags(type(block)) or ())
    assert block.to_dict() == wire


@pytest.mark.parametrize(
    ("block", "path", "cls"),
    [
        ("text", "citations.0", messages.CitationCharLocation),
        ("text", "citations.1", messages.UnknownCitation),
        ("tool_use", "caller", messages.DirectCaller),
        ("server_tool_use", "caller", messages.ServerToolCaller),
        ("web_search_tool_result", "caller", messages.UnknownCaller),
        ("web_search_tool_result", "content.0", messages.WebSearchResultBlock),
        ("web_fetch_tool_result", "content.content.source", messages.PlainTextSource),
        ("code_execution_tool_result", "content", messages.EncryptedCodeExecutionResultBlock),
        ("bash_code_execution_tool_result", "content", messages.BashCodeExecutionToolResultErrorObject),
        (
            "text_editor_code_execution_tool_result",
            "content",
            messages.TextEditorCodeExecutionStrReplaceResultBlock,
        ),
        ("tool_search_tool_result", "content.tool_references.0", messages.ToolReferenceBlock),
    ],
)
def test_what_a_block_holds_is_told_by_its_type(block: str, path: str, cls: type) -> None:
    value: Any = message({"type": block, **BLOCKS[block]}).content[0]
    for step in path.split("."):
        value = value[int(step)] if step.isdecimal() else getattr(value, step)
    assert type(value) is cls


def test_a_web_search_that_failed_holds_an_object_instead_of_a_list() -> None:
    wire = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    (block,) = message({"type": "web_search_tool_result", "tool_use_id": "s", "content": wire}).content
    assert isinstance(block, messages.WebSearchToolResultBlock)
    assert isinstance(block.content, messages.WebSearchToolResultErrorObject)
    assert block.content.error_code == "max_uses_exceeded"


@pytest.mark.parametrize("kind", ["web_fetch_tool_result", "code_execution_tool_result", "tool_search_tool_result"])
def test_an_unknown_result_is_kept(kind: str) -> None:
    wire = {"type": kind, "tool_use_id": "s", "content": {"type": "a_new_result", "x": 1}}
    (block,) = message(wire).content
    assert isinstance(getattr(block, "content", None), messages.UnknownResult)
    assert block.to_dict() == wire


@pytest.mark.parametrize("wire", [{"type": "a_new_block", "x": {"y": 1}}, {"x": 1}, {"type": None}, {"type": ["text"]}])
def test_an_unknown_block_is_kept(wire: dict[str, Any]) -> None:
    (block,) = message(wire).content
    assert isinstance(block, messages.UnknownBlock)
    assert block.to_dict() == wire


@pytest.mark.parametrize(
    "wire",
    [
        [],
        "message",
        {"content": {}},
        {"content": "text"},
        {"content": [None]},
        {"content": [3]},
        {"content": [[]]},
        {"content": [{"type": "text", "text": {}}]},
        {"content": [{"type": "text", "citations": [1]}]},
        {"content": [{"type": "tool_use", "caller": "me"}]},
        {"usage": []},
        {"usage": {"input_tokens": "many"}},
        {"stop_reason": {}},
        {"model": []},
    ],
)
def test_a_wrong_kind_in_a_known_field_is_a_value_error(wire: Any) -> None:
    with pytest.raises(MismatchError):
        structure(wire, messages.Message)


@pytest.mark.parametrize("value", ['{"a": 1', ["a"], 5, {"type": "object", "a": 1}])
def test_a_tools_input_is_taken_as_it_comes(value: Any) -> None:
    (block,) = message({"type": "tool_use", "id": "t", "name": "f", "input": value}).tool_uses
    assert block.input == value
    assert block.to_dict()["input"] == value


def test_a_tools_input_is_an_object_where_nothing_came() -> None:
    assert [block.input for block in message({"type": "tool_use"}, {"type": "tool_use", "input": None}).tool_uses] == [
        {},
        {},
    ]


def test_the_raw_input_is_no_field_of_the_wire() -> None:
    (block,) = message({"type": "tool_use", "id": "t", "name": "f", "input": {}}).tool_uses
    assert block.input_raw is None
    block.input_raw = '{"a'
    assert block.input_raw == '{"a'
    assert block.to_dict() == {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def test_what_users_ask_a_message_for() -> None:
    reply = message(
        {"type": "thinking", "thinking": "hm ", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "a_new_block", "text": "not mine"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        {"type": "thinking", "thinking": "so", "signature": "s"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "b"},
    )
    assert reply.text == "ab"
    assert reply.thinking == "hm so"
    assert [(tool.id, tool.input) for tool in reply.tool_uses] == [("t", {"x": 1})]
    assert reply.usage is None


def test_enumerations_are_open() -> None:
    reply = message(stop_reason="a_new_reason", usage={"service_tier": "a_new_tier"}, role="a_new_role")
    assert reply.stop_reason == "a_new_reason"
    assert reply.usage is not None
    assert reply.usage.service_tier == "a_new_tier"
    assert reply.to_dict()["role"] == "a_new_role"


def test_every_public_class_has_a_docstring_and_is_exported_once() -> None:
    assert len(messages.__all__) == len(set(messages.__all__))
    classes = [value for name in messages.__all__ if isinstance(value := getattr(messages, name), type)]
    assert all(cls.__doc__ for cls in classes)
    assert {cls.__name__ for cls in BLOCK_CLASSES} <= set(messages.__all__)
