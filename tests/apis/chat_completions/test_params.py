"""The parameters: all that the format lists can be written, and type hints resolve."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from dgrid_async.apis.chat_completions import params
from dgrid_async.apis.chat_completions.endpoint import ENDPOINT
from dgrid_async.config import CallOptions

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

ALIASES = {
    "Audio": "AudioReferenceParam",
    "CustomFormatGrammar": "CustomFormatGrammarParam",
    "CustomFormatGrammarGrammar": "GrammarParam",
    "CustomFormatText": "CustomFormatTextParam",
    "File": "ContentPartFileParam",
    "FileFile": "FileParam",
    "FilePromptCacheBreakpoint": "PromptCacheBreakpointParam",
    "FunctionDefinition": "FunctionDefinition",
    "ImageURL": "ImageURLParam",
    "InputAudio": "InputAudioParam",
    "JSONSchema": "JSONSchemaParam",
    "ModerationPolicy": "ModerationPolicyParam",
    "ModerationPolicyInput": "ModerationModeParam",
    "ModerationPolicyOutput": "ModerationModeParam",
    "PromptCacheOptions": "PromptCacheOptionsParam",
    "ResponseFormatJSONObject": "ResponseFormatJSONObjectParam",
    "ResponseFormatJSONSchema": "ResponseFormatJSONSchemaParam",
    "ResponseFormatText": "ResponseFormatTextParam",
    "VoiceID": "VoiceParam",
    "WebSearchOptions": "WebSearchOptionsParam",
    "WebSearchOptionsUserLocation": "UserLocationParam",
    "WebSearchOptionsUserLocationApproximate": "LocationParam",
    "ChatCompletionFunctionCallOptionParam": "NamedToolParam",
    "ChatCompletionMessageCustomToolCallParam": "CustomToolCallParam",
    "ChatCompletionMessageFunctionToolCallParam": "FunctionToolCallParam",
    "chat_completion_assistant_message_param.FunctionCall": "FunctionCallParam",
    "chat_completion_content_part_image_param.PromptCacheBreakpoint": "PromptCacheBreakpointParam",
    "chat_completion_content_part_input_audio_param.PromptCacheBreakpoint": "PromptCacheBreakpointParam",
    "chat_completion_content_part_text_param.PromptCacheBreakpoint": "PromptCacheBreakpointParam",
    "chat_completion_custom_tool_param.Custom": "CustomToolDefinition",
    "chat_completion_message_custom_tool_call_param.Custom": "CustomCallParam",
    "chat_completion_message_function_tool_call_param.Function": "FunctionCallParam",
    "chat_completion_named_tool_choice_custom_param.Custom": "NamedToolParam",
    "chat_completion_named_tool_choice_param.Function": "NamedToolParam",
    "completion_create_params.Function": "FunctionDefinition",
    "completion_create_params.Moderation": "ModerationParam",
}


def test_every_parameter_of_the_catalogue_is_there() -> None:
    ours = set(typing.get_type_hints(params.CreateParams)) - set(CallOptions.__annotations__)
    # `stream` is the client's own argument: it decides what `create` returns.
    assert ours == set(CATALOGUE["parameters"]) - {"stream"}


def test_required_parameters_are_those_of_the_endpoint() -> None:
    assert params.CreateParams.__required_keys__ == set(CATALOGUE["required"]) == set(ENDPOINT.required)


def test_options_of_a_call_are_among_the_parameters() -> None:
    assert set(CallOptions.__annotations__) <= set(params.CreateParams.__annotations__)


@pytest.mark.parametrize("name", CATALOGUE["parameter_types"])
def test_nested_type_has_the_fields_of_the_catalogue(name: str) -> None:
    listed = CATALOGUE["parameter_types"][name]
    ours = getattr(params, ALIASES.get(name) or name.removeprefix("ChatCompletion"))
    hints = typing.get_type_hints(ours)
    assert set(listed["fields"]) <= set(hints)
    if "type" in listed:
        assert listed["type"] in typing.get_args(hints["type"])


def test_public_names_exist() -> None:
    assert sorted(params.__all__) == params.__all__
    assert all(hasattr(params, name) for name in params.__all__)
