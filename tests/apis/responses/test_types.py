"""The types of the Responses slice hold every field that the API documents, and what it does not document yet."""

from __future__ import annotations

import copy
import json
import pickle
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis.responses import types
from dgrid_async.structuring import structure
from dgrid_async.wire import wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

# Documented names that are one class here, because their shape is one; the first pattern that fits counts.
ALIASES = {
    r"Action|.*\.ShellCallAction": "ShellAction",
    r"AcknowledgedSafetyCheck|.*SafetyCheck": "SafetyCheck",
    r".*Caller(Direct|Program)": "Caller",
    r"ApplyPatchTool|.*\.(Tool)?(LocalShell|ProgrammaticToolCalling)": "PlainTool",
    r"ComputerUsePreviewTool": "ComputerTool",
    r"WebSearchPreviewTool": "WebSearchTool",
    r".*\.ToolFunction": "FunctionTool",
    r"ToolSearchOutputNamespaceTool": "NamespaceTool",
    r".*\.(Tool)?CodeInterpreter": "CodeInterpreterTool",
    r".*\.(Tool)?CodeInterpreterContainer\w+": "ContainerAuto",
    r".*\.(Tool)?ImageGeneration": "ImageGenerationTool",
    r".*\.(Tool)?ImageGenerationSvg": "ImageGenerationSvg",
    r".*\.(Tool)?ImageGenerationSvgReasoning": "Reasoning",
    r".*\.(Tool)?Mcp": "McpTool",
    r".*\.(Tool)?McpRequireApprovalMcpToolApprovalFilter": "McpApprovalFilter",
    r".*\.(Tool)?Mcp\w+(Filter|Always|Never)": "McpToolFilter",
    r"custom_tool_input_format\..*": "CustomToolFormat",
    r".*\.(Comparison|Compound)Filter": "SearchFilter",
    r"ContainerNetworkPolicy(Allowlist|Disabled)": "NetworkPolicy",
    r"ResponseContainerReference": "ContainerReference",
    r"ResponseLocalEnvironment": "LocalEnvironment",
    r"InlineSkill|SkillReference": "Skill",
    r"(response\.)?ToolChoice\w+": "ToolChoice",
    r"EasyInputMessage|response_input_item\.Message": "ResponseInputMessage",
    r"ResponseInput(Text|Image|File)Content": r"ResponseInput\1",
    r"ResponseFormatTextJSONSchemaConfig|response_format_.*": "ResponseFormat",
    r"ResponseConfigurationUpdateItemParam": "ConfigurationUpdate",
    r"response_configuration_update_item_param\.Text": "ResponseTextConfig",
    r"ResponseCompactionItemParam": "ResponseCompactionItem",
    r"ResponseCustomToolCallOutput": "ResponseCustomToolCallOutputItem",
    r"response_input_item\.FunctionCallOutput": "ResponseFunctionToolCallOutputItem",
    r"response_input_item\.ComputerCallOutput": "ResponseComputerToolCallOutputItem",
    r"response_input_item\.ToolSearchCall": "ResponseToolSearchCall",
    r"ResponseToolSearchOutputItemParam": "ResponseToolSearchOutputItem",
    r"response_input_item\.ApplyPatchCall(Output)?": r"ResponseApplyPatchToolCall\1",
    r".*Operation(Create|Delete|Update)File": "ApplyPatchOperation",
    r"response_input_item\.ShellCall(Output)?": r"ResponseFunctionShellToolCall\1",
    r"ResponseFunctionShellCallOutputContent|.*\.Output": "ShellOutput",
    r".*Outcome(Exit|Timeout)": "ShellOutcome",
    r".*\.(Action)?DragPath": "DragPath",
    r"(computer_action|response_computer_tool_call)\..*": "ComputerAction",
    r"response_file_search_tool_call\.Result": "FileSearchResult",
    r".*\.ActionSearchSource": "WebSearchSource",
    r".*\.Action(Find|OpenPage|Search)": "WebSearchAction",
    r"response_code_interpreter_tool_call\.Output(Image|Logs)": "CodeInterpreterOutput",
    r"mcp_tool_call_error\..*": "McpCallError",
    r".*\.(Content|PartReasoningText)": "ReasoningText",
    r".*\.(Summary|Part)": "SummaryText",
    r".*\.LogprobTopLogprob": "Logprob",
    r"Moderation(Input|Output)Error": "ModerationError",
    r"Moderation(Input|Output)ModerationResult": "ModerationResult",
    r"PromptCacheDiagnostics\w+": "PromptCacheDiagnostics",
    r"response\.Image": "ImageOptions",
}
# Left as dicts: the settings of a tool that the caller wrote a moment ago, and figures behind a figure.
PLAIN = {
    r"ContainerNetworkPolicyDomainSecret|InlineSkillSource": "the caller's own settings, repeated",
    r"web_search_tool\.Filters": "the caller's own settings, repeated",
    r".*(ImageGenerationInputImageMask|RankingOptionsHybridSearch)": "the caller's own settings, repeated",
    r"InputTokensDetailsCacheWriteTokensDetails|ToolUsageImageGen\w+Details": "what a count is made up of",
    r"MisalignmentSteer": "one message",
    r".*ImageGenerationCallErrorModerationDetails": "two words on an error",
}
# Classes whose type is any string.
OF_ANY_TYPE = (types.ToolChoice, types.InputTransformation, types.UserLocation)
# In the stream alone, so its class is among the events.
EVENTS_OWN = {"Delta"}
DOCUMENTED = [
    name
    for name in CATALOGUE["response"]
    if name not in EVENTS_OWN and not any(re.fullmatch(pattern, name) for pattern in PLAIN)
]


def ours(name: str) -> type[Any]:
    bare = name.rpartition(".")[2]
    for pattern, alias in ALIASES.items():
        match = re.fullmatch(pattern, name)
        if match and not hasattr(types, name):
            bare = match.expand(alias)
            break
    cls: type[Any] = getattr(types, bare)
    return cls


def tags(cls: type[Any]) -> tuple[str, ...]:
    return typing.get_args(typing.get_type_hints(cls)["type"])


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_type_has_all_its_fields(name: str) -> None:
    documented = CATALOGUE["response"][name]
    cls = ours(name)
    assert set(documented["fields"]) <= set(wire_names(cls))
    if documented["tags"] and cls not in OF_ANY_TYPE:
        assert set(documented["tags"]) <= set(tags(cls))


def test_every_name_is_public_once() -> None:
    assert len(types.__all__) == len(set(types.__all__))
    assert all(hasattr(types, name) for name in types.__all__)


OUTPUT_ITEMS = {
    "message": types.ResponseOutputMessage,
    "file_search_call": types.ResponseFileSearchToolCall,
    "function_call": types.ResponseFunctionToolCall,
    "function_call_output": types.ResponseFunctionToolCallOutputItem,
    "web_search_call": types.ResponseFunctionWebSearch,
    "computer_call": types.ResponseComputerToolCall,
    "computer_call_output": types.ResponseComputerToolCallOutputItem,
    "reasoning": types.ResponseReasoningItem,
    "program": types.Program,
    "program_output": types.ProgramOutput,
    "tool_search_call": types.ResponseToolSearchCall,
    "tool_search_output": types.ResponseToolSearchOutputItem,
    "additional_tools": types.AdditionalTools,
    "compaction": types.ResponseCompactionItem,
    "image_generation_call": types.ImageGenerationCall,
    "code_interpreter_call": types.ResponseCodeInterpreterToolCall,
    "local_shell_call": types.LocalShellCall,
    "local_shell_call_output": types.LocalShellCallOutput,
    "shell_call": types.ResponseFunctionShellToolCall,
    "shell_call_output": types.ResponseFunctionShellToolCallOutput,
    "apply_patch_call": types.ResponseApplyPatchToolCall,
    "apply_patch_call_output": types.ResponseApplyPatchToolCallOutput,
    "mcp_call": types.McpCall,
    "mcp_list_tools": types.McpListTools,
    "mcp_approval_request": types.McpApprovalRequest,
    "mcp_approval_response": types.McpApprovalResponse,
    "custom_tool_call": types.ResponseCustomToolCall,
    "custom_tool_call_output": types.ResponseCustomToolCallOutputItem,
    "agent_message": types.UnknownItem,
}


@pytest.mark.parametrize(("kind", "cls"), OUTPUT_ITEMS.items())
def test_output_items_are_told_apart_by_type(kind: str, cls: type[Any]) -> None:
    body = {"object": "response", "output": [{"type": kind, "id": "i", "new": {"deep": [1]}}]}
    response = structure(body, types.Response)
    assert type(response.output[0]) is cls
    assert response.to_dict() == body


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("message", types.ResponseInputMessage),
        ("item_reference", types.ItemReference),
        ("compaction_trigger", types.CompactionTrigger),
        ("configuration_update", types.ConfigurationUpdate),
        ("function_call_output", types.ResponseFunctionToolCallOutputItem),
        ("mcp_call", types.McpCall),
        ("tomorrow", types.UnknownItem),
    ],
)
def test_instructions_may_be_items(kind: str, cls: type[Any]) -> None:
    response = structure({"instructions": [{"type": kind}]}, types.Response)
    assert response.instructions is not None
    assert type(response.instructions[0]) is cls
    assert structure({"instructions": "be brief"}, types.Response).instructions == "be brief"


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("function", types.FunctionTool),
        ("file_search", types.FileSearchTool),
        ("computer", types.ComputerTool),
        ("computer_use_preview", types.ComputerTool),
        ("web_search", types.WebSearchTool),
        ("web_search_2025_08_26", types.WebSearchTool),
        ("web_search_preview", types.WebSearchTool),
        ("web_search_preview_2025_03_11", types.WebSearchTool),
        ("mcp", types.McpTool),
        ("code_interpreter", types.CodeInterpreterTool),
        ("programmatic_tool_calling", types.PlainTool),
        ("image_generation", types.ImageGenerationTool),
        ("local_shell", types.PlainTool),
        ("apply_patch", types.PlainTool),
        ("shell", types.FunctionShellTool),
        ("custom", types.CustomTool),
        ("namespace", types.NamespaceTool),
        ("tool_search", types.ToolSearchTool),
        ("tomorrow", types.UnknownTool),
    ],
)
def test_tools_are_told_apart_by_type(kind: str, cls: type[Any]) -> None:
    assert type(structure({"tools": [{"type": kind}]}, types.Response).tools[0]) is cls


@pytest.mark.parametrize(
    ("choice", "cls"),
    [
        ("auto", str),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            types.ToolChoiceAllowed,
        ),
        ({"type": "function", "name": "f"}, types.ToolChoice),
        ({"type": "mcp", "server_label": "s"}, types.ToolChoice),
        ({"type": "tomorrow"}, types.ToolChoice),
    ],
)
def test_tool_choice_is_a_word_or_an_object(choice: Any, cls: type[Any]) -> None:
    response = structure({"tool_choice": choice}, types.Response)
    assert type(response.tool_choice) is cls
    assert response.to_dict() == {"tool_choice": choice}


def test_places_with_two_forms() -> None:
    filters = {"type": "and", "filters": [{"type": "eq", "key": "k", "value": 1}, {"type": "or", "filters": []}]}
    tools = [
        {"type": "mcp", "server_label": "a", "allowed_tools": ["x"], "require_approval": "never"},
        {"type": "mcp", "allowed_tools": {"read_only": True}, "require_approval": {"always": {"tool_names": ["x"]}}},
        {"type": "code_interpreter", "container": "cntr_1"},
        {"type": "code_interpreter", "container": {"type": "auto", "network_policy": {"type": "disabled"}}},
        {"type": "file_search", "vector_store_ids": ["v"], "filters": filters},
        {"type": "shell", "environment": {"type": "moon"}},
    ]
    response = structure({"tools": tools}, types.Response)
    assert isinstance(response.tools[1], types.McpTool)
    assert isinstance(response.tools[1].require_approval, types.McpApprovalFilter)
    assert isinstance(response.tools[3], types.CodeInterpreterTool)
    assert isinstance(response.tools[3].container, types.ContainerAuto)
    assert isinstance(response.tools[4], types.FileSearchTool)
    assert response.tools[4].filters is not None
    assert response.tools[4].filters.filters is not None
    assert response.tools[4].filters.filters[0].value == 1
    assert isinstance(response.tools[5], types.FunctionShellTool)
    assert isinstance(response.tools[5].environment, types.UnknownEnvironment)
    assert response.to_dict() == {"tools": tools}

    errors = [{"type": "http_error", "code": 500, "message": "m"}, "an older server's words", None]
    calls = [structure({"type": "mcp_call", "error": error}, types.McpCall) for error in errors]
    assert [call.to_dict()["error"] for call in calls] == errors
    assert isinstance(calls[0].error, types.McpCallError)


def test_text_reasoning_and_calls_are_at_hand() -> None:
    response = structure(
        {
            "text": {"format": {"type": "text"}, "verbosity": "low"},
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a plan. "}]},
                {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "short"}],
                    "content": [{"type": "reasoning_text", "text": "long"}],
                },
                {
                    "type": "message",
                    "content": [
                        {"type": "output_text", "text": "Hel"},
                        {"type": "refusal", "refusal": "no"},
                        {"type": "poem", "text": "!"},
                    ],
                },
                {"type": "function_call", "name": "f", "call_id": "c", "arguments": '{"a": [1]}'},
                {"type": "custom_tool_call", "name": "g", "call_id": "d", "input": "x"},
                {"type": "message", "content": [{"type": "output_text", "text": "lo"}]},
            ],
        },
        types.Response,
    )
    assert response.text == response.output_text == "Hello"
    assert response.reasoning_text == "a plan. long"
    assert [call.name for call in response.tool_calls] == ["f", "g"]
    assert response.text_config is not None
    assert response.text_config.verbosity == "low"
    assert response.to_dict()["text"] == {"format": {"type": "text"}, "verbosity": "low"}


@pytest.mark.parametrize(
    ("arguments", "value"),
    [('{"a": [1]}', {"a": [1]}), ("", None), ('{"a": ', None), ("oops", None), ('"\ud83d"', "?")],
)
def test_arguments_that_are_no_json_stay_a_string(arguments: str, value: Any) -> None:
    call = structure({"type": "function_call", "arguments": arguments}, types.ResponseFunctionToolCall)
    assert call.arguments == arguments
    assert call.parsed_arguments == value


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 4, "total_tokens": 7},
        {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens": 4, "total_tokens": 7},
        {"input_tokens": 3, "output_tokens": 4, "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        {"input_tokens": 0, "output_tokens": 0, "prompt_tokens": 3, "completion_tokens": 4},
    ],
)
def test_usage_reads_either_naming(usage: dict[str, Any]) -> None:
    response = structure({"output": [], "usage": usage}, types.Response)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 4)
    if "input_tokens_details" in usage or "prompt_tokens_details" in usage:
        assert response.usage.input_tokens_details is not None
        assert response.usage.input_tokens_details.cached_tokens == 1
    assert response.to_dict()["usage"] == usage


def test_usage_is_none_where_the_gateway_sent_none() -> None:
    assert structure({"output": []}, types.Response).usage is None
    assert structure({"output": [], "usage": None}, types.Response).usage is None


def test_null_is_the_default_and_never_a_word() -> None:
    names = wire_names(types.Response)
    response = structure(dict.fromkeys(names), types.Response)
    assert response == types.Response()
    assert "None" not in json.dumps(response.to_dict())
    for name in types.__all__:
        cls = getattr(types, name)
        if isinstance(cls, type) and not name.startswith("Unknown"):
            body = dict.fromkeys(name for name in wire_names(cls) if name != "type")
            assert "None" not in json.dumps(structure(body, cls).to_dict())


@pytest.mark.parametrize(
    "body",
    [
        {"output": {}},
        {"output": [3]},
        {"output": [None]},
        {"output": [{"type": "message", "content": "text"}]},
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": ["x"]}]}]},
        {"output": [{"type": "function_call", "arguments": {"a": 1}}]},
        {"usage": []},
        {"usage": {"input_tokens": "many"}},
        {"tools": [{"type": "function", "parameters": "none"}]},
        {"tool_choice": 3},
        {"status": {}},
        {"created_at": "yesterday"},
    ],
)
def test_a_known_field_of_a_wrong_type_is_a_value_error(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="belongs here"):
        structure(body, types.Response)


def test_a_response_pickles_and_copies() -> None:
    body = {
        "id": "r",
        "new": 1,
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": []}]}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    }
    response = structure(body, types.Response)
    for twin in (pickle.loads(pickle.dumps(response)), copy.deepcopy(response)):  # noqa: S301 -- our own bytes
        assert twin == response
        assert twin.to_dict() == body
        assert twin.text == "x"


def test_what_the_caller_makes_sends_only_what_is_set() -> None:
    output = types.ResponseFunctionToolCallOutputItem(call_id="c", output="42")
    assert output.to_dict() == {"call_id": "c", "output": "42", "type": "function_call_output"}
    message = types.ResponseInputMessage(content=[types.ResponseInputText(text="Hi")])
    assert message.to_dict() == {
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
        "type": "message",
    }
