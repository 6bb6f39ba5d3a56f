"""The request's parameters: everything that the vendor's own package lets a caller say can be said here."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any, Literal

import pytest

from dgrid_async.apis import messages
from dgrid_async.apis.messages.endpoint import ENDPOINT
from dgrid_async.config import CallOptions

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

ALIASES = {
    "BashCodeExecutionToolResultBlockParam": "ServerToolResultBlockParam",
    "BrowserToolset20260801Param": "ToolsetParam",
    "CacheControlEphemeralParam": "CacheControlParam",
    "CodeExecutionTool20250522Param": "ServerToolParam",
    "CodeExecutionTool20250825Param": "ServerToolParam",
    "CodeExecutionTool20260120Param": "ServerToolParam",
    "CodeExecutionTool20260521Param": "ServerToolParam",
    "CodeExecutionToolResultBlockParam": "ServerToolResultBlockParam",
    "ComputerToolset20260801Param": "ToolsetParam",
    "FileDocumentSourceParam": "FileSourceParam",
    "FileImageSourceParam": "FileSourceParam",
    "MemoryTool20250818Param": "ServerToolParam",
    "TextEditorCodeExecutionToolResultBlockParam": "ServerToolResultBlockParam",
    "ThinkingConfigAdaptiveParam": "ThinkingConfigParam",
    "ThinkingConfigBetweenToolsParam": "ThinkingConfigParam",
    "ThinkingConfigDisabledParam": "ThinkingConfigParam",
    "ThinkingConfigEnabledParam": "ThinkingConfigParam",
    "ToolBash20250124Param": "ServerToolParam",
    "ToolChoiceAnyParam": "ToolChoiceParam",
    "ToolChoiceAutoParam": "ToolChoiceParam",
    "ToolChoiceNoneParam": "ToolChoiceParam",
    "ToolChoiceToolParam": "ToolChoiceParam",
    "ToolSearchToolBm25_20251119Param": "ServerToolParam",
    "ToolSearchToolRegex20251119Param": "ServerToolParam",
    "ToolSearchToolResultBlockParam": "ServerToolResultBlockParam",
    "ToolTextEditor20250124Param": "ServerToolParam",
    "ToolTextEditor20250429Param": "ServerToolParam",
    "ToolTextEditor20250728Param": "ServerToolParam",
    "URLImageSourceParam": "URLSourceParam",
    "URLPDFSourceParam": "URLSourceParam",
    "WebFetchTool20250910Param": "WebFetchToolParam",
    "WebFetchTool20260209Param": "WebFetchToolParam",
    "WebFetchTool20260309Param": "WebFetchToolParam",
    "WebFetchTool20260318Param": "WebFetchToolParam",
    "WebFetchToolResultBlockParam": "ServerToolResultBlockParam",
    "WebSearchTool20250305Param": "WebSearchToolParam",
    "WebSearchTool20260209Param": "WebSearchToolParam",
    "WebSearchTool20260318Param": "WebSearchToolParam",
    "WebSearchToolResultBlockParam": "ServerToolResultBlockParam",
}

# Not in the vendor's package of this version, but on the wire.
BESIDE_THE_CATALOGUE = {"temperature", "top_p", "top_k", "betas"}


def literals(hint: Any) -> set[Any]:
    if typing.get_origin(hint) is Literal:
        return set(typing.get_args(hint))
    return set().union(*(literals(argument) for argument in typing.get_args(hint)))


def test_every_parameter_that_crosses_the_wire_is_here_and_no_other() -> None:
    hints = typing.get_type_hints(messages.CreateParams)
    named = set(hints) - set(CallOptions.__annotations__)
    # `stream` is the client's own argument: it decides what `create` returns.
    assert named == (set(CATALOGUE["params"]) | BESIDE_THE_CATALOGUE) - {"stream"}


def test_the_required_ones_are_those_of_the_endpoint() -> None:
    required = {name for name, param in CATALOGUE["params"].items() if param["required"]}
    assert messages.CreateParams.__required_keys__ == required
    assert set(ENDPOINT.required) == required


def test_the_call_options_are_inherited() -> None:
    hints = typing.get_type_hints(messages.CreateParams)
    assert {name: hints[name] for name in CallOptions.__annotations__} == typing.get_type_hints(CallOptions)


@pytest.mark.parametrize("name", CATALOGUE["request_types"])
def test_every_part_of_a_request_has_every_field(name: str) -> None:
    part = CATALOGUE["request_types"][name]
    cls = getattr(messages, ALIASES.get(name, name))
    hints = typing.get_type_hints(cls)
    assert {*part["required"], *part["optional"]} <= set(hints)
    assert cls.__required_keys__ <= set(part["required"]), "what the API leaves open is open here"
    assert set(part["types"]) <= literals(hints.get("type"))
    if name not in ALIASES:
        assert cls.__required_keys__ == set(part["required"])
