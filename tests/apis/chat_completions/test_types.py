"""The reply's classes: all that the format lists is there, and what it does not list survives."""

from __future__ import annotations

import copy
import json
import pickle
import typing
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import codec
from dgrid_async.apis import chat_completions
from dgrid_async.apis.chat_completions import types
from dgrid_async.scalars import MismatchError
from dgrid_async.structuring import structure
from dgrid_async.wire import wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

# The catalogue's names that are not ours.
ALIASES = {
    "chat_completion.Choice": "Choice",
    "chat_completion.ChoiceLogprobs": "ChoiceLogprobs",
    "chat_completion_message.FunctionCall": "FunctionCall",
    "chat_completion_message_function_tool_call.Function": "FunctionCall",
    "chat_completion_message_custom_tool_call.Custom": "CustomCall",
    "chat_completion.Moderation": "Moderation",
    "chat_completion.ModerationInputError": "ModerationError",
    "chat_completion.ModerationOutputError": "ModerationError",
    "chat_completion.ModerationInputModerationResults": "ModerationResults",
    "chat_completion.ModerationOutputModerationResults": "ModerationResults",
    "chat_completion.ModerationInputModerationResultsResult": "ModerationResult",
    "chat_completion.ModerationOutputModerationResultsResult": "ModerationResult",
}


@pytest.mark.parametrize("name", CATALOGUE["reply"])
def test_class_has_the_fields_of_the_catalogue(name: str) -> None:
    cls = getattr(chat_completions, ALIASES.get(name, name))
    listed = CATALOGUE["reply"][name]
    assert set(listed["fields"]) <= set(wire_names(cls))
    if "type" in listed:
        assert listed["type"] in typing.get_args(typing.get_type_hints(cls)["type"])


def test_every_public_class_is_exported() -> None:
    assert set(types.__all__) <= set(chat_completions.__all__)
    assert all(getattr(chat_completions, name) is not None for name in chat_completions.__all__)


FULL: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1734000000,
    "model": "m",
    "metadata": {"k": "v"},
    "service_tier": "platinum",
    "system_fingerprint": None,
    "provider": "somewhere",
    "contents": [{"type": "image", "url": "data:image/png;base64,AA=="}],
    "choices": [
        {
            "index": 0,
            "finish_reason": "because",
            "native_finish_reason": "STOP",
            "logprobs": {
                "content": [
                    {
                        "token": "H",
                        "logprob": -1,
                        "bytes": [72],
                        "top_logprobs": [{"token": "H", "logprob": -1.5, "bytes": None}],
                    }
                ],
                "refusal": None,
            },
            "message": {
                "role": "assistant",
                "content": "Hi",
                "refusal": None,
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"start_index": 0, "end_index": 2, "title": "t", "url": "u", "z": 1},
                    },
                    {"type": "file_citation", "file_citation": {"id": "f"}},
                ],
                "audio": {"id": "a", "data": "cGNt", "expires_at": 5, "transcript": "Hi"},
                "function_call": {"name": "f", "arguments": "{}"},
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}', "strict": None}},
                    {"id": "2", "type": "custom", "custom": {"name": "c", "input": "x"}},
                    {"id": "3", "type": "telepathy", "telepathy": {"thought": "y"}},
                ],
                "reasoning_content": "R",
                "reasoning": None,
                "reasoning_details": [{"type": "reasoning.text", "text": "R", "index": 0}],
                "images": [{"type": "image_url"}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "cost": 0.1,
    },
    "moderation": {
        "input": {
            "type": "moderation_results",
            "model": "mod",
            "results": [
                {
                    "type": "moderation_result",
                    "model": "mod",
                    "flagged": True,
                    "categories": {"a": True},
                    "category_scores": {"a": 1},
                    "category_applied_input_types": {"a": ["text"]},
                }
            ],
        },
        "output": {"type": "later", "why": "?"},
    },
}


def test_full_reply_goes_through_objects_unchanged() -> None:
    reply = structure(copy.deepcopy(FULL), types.ChatCompletion)
    assert reply.to_dict() == FULL
    choice = reply.choices[0]
    assert isinstance(choice, types.Choice)
    assert choice.finish_reason == "because"
    assert choice.extra == {"native_finish_reason": "STOP"}
    assert reply.extra == {"provider": "somewhere"}
    assert reply.usage is not None
    assert reply.usage.extra == {"cost": 0.1}
    assert [type(item).__name__ for item in choice.message.annotations or ()] == ["Annotation", "UnknownAnnotation"]
    assert [type(call) for call in reply.tool_calls] == [
        types.ChatCompletionMessageFunctionToolCall,
        types.ChatCompletionMessageCustomToolCall,
        types.UnknownToolCall,
    ]
    assert reply.moderation is not None
    assert isinstance(reply.moderation.input, types.ModerationResults)
    assert isinstance(reply.moderation.input.results[0], types.ModerationResult)
    assert isinstance(reply.moderation.output, types.UnknownModeration)
    assert isinstance(
        choice.logprobs and choice.logprobs.content and choice.logprobs.content[0].top_logprobs[0], types.TopLogprob
    )


def test_reply_pickles_and_copies() -> None:
    reply = structure(copy.deepcopy(FULL), types.ChatCompletion)
    assert pickle.loads(pickle.dumps(reply)) == reply  # noqa: S301 -- our own
    assert copy.deepcopy(reply).to_dict() == FULL


def test_null_is_never_a_word() -> None:
    blank: dict[str, Any] = dict.fromkeys(wire_names(types.ChatCompletion))
    blank["choices"] = [dict.fromkeys(wire_names(types.Choice))]
    blank["choices"][0]["message"] = dict.fromkeys(wire_names(types.ChatCompletionMessage))
    reply = structure(blank, types.ChatCompletion)
    assert "None" not in json.dumps(reply.to_dict())
    assert (reply.id, reply.created, reply.text, reply.reasoning, reply.tool_calls, reply.usage) == (
        "",
        0,
        "",
        "",
        [],
        None,
    )
    assert reply.message.role == "assistant"


def test_empty_reply_has_empty_answers() -> None:
    reply = structure({}, types.ChatCompletion)
    assert (reply.text, reply.reasoning, reply.tool_calls, reply.choices) == ("", "", [], [])
    assert reply.to_dict() == {}


@pytest.mark.parametrize(
    "body",
    [
        {"id": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"message": "Hi"}]},
        {"choices": [{"message": {"content": ["Hi"]}}]},
        {"choices": [{"message": {"tool_calls": {}}}]},
        {"choices": [{"message": {"tool_calls": [7]}}]},
        {"choices": [{"message": {"tool_calls": [{"type": "function", "function": "f"}]}}]},
        {"choices": [{"index": "first"}]},
        {"choices": [{"logprobs": {"content": [{"logprob": "low"}]}}]},
        {"usage": 5},
        {"usage": {"prompt_tokens": {}}},
        {"moderation": {"input": "ok"}},
        [],
        "reply",
    ],
)
def test_wrong_kind_is_a_value_error(body: Any) -> None:
    with pytest.raises(MismatchError):
        structure(body, types.ChatCompletion)


def test_first_choice_is_the_one_of_the_lowest_index() -> None:
    choices = [
        {"index": 1, "message": {"content": "second", "reasoning_content": "r2"}},
        {
            "index": 0,
            "message": {"content": "first", "reasoning": "r1", "tool_calls": [{"type": "function", "id": "x"}]},
        },
    ]
    reply = structure({"choices": choices}, types.ChatCompletion)
    assert (reply.text, reply.reasoning) == ("first", "r1")
    assert [call.to_dict() for call in reply.tool_calls] == [{"type": "function", "id": "x"}]


def test_text_leaves_reasoning_out() -> None:
    reply = structure({"choices": [{"message": {"content": "51", "reasoning_content": "17*3"}}]}, types.ChatCompletion)
    assert (reply.text, reply.reasoning) == ("51", "17*3")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [('{"a": [1]}', {"a": [1]}), ("", {}), ("  ", {}), ('"x"', "x"), ('{"z": "\\u00fc"}', {"z": "ü"})],
)
def test_arguments_parse(arguments: str, value: Any) -> None:
    assert types.FunctionCall("f", arguments).parse_arguments() == value


@pytest.mark.parametrize("arguments", ['{"a":', "not json", '{"a": 1} trailing'])
def test_arguments_that_are_no_json_keep_their_text(arguments: str) -> None:
    call = types.FunctionCall("f", arguments)
    with pytest.raises(ValueError, match=r".+"):
        call.parse_arguments()
    assert call.arguments == arguments


def test_audio_decodes() -> None:
    assert types.ChatCompletionAudio("a", "cGNtLTE=").to_bytes() == b"pcm-1"
    with pytest.raises(MismatchError):
        types.ChatCompletionAudio("a", "???").to_bytes()


def test_message_goes_back_as_it_came() -> None:
    reply = structure(copy.deepcopy(FULL), types.ChatCompletion)
    assert json.loads(codec.encode({"messages": [reply.message]})) == {"messages": [FULL["choices"][0]["message"]]}


def test_object_of_the_caller_has_the_wire_form() -> None:
    call = types.ChatCompletionMessageFunctionToolCall("1", types.FunctionCall("f", "{}"))
    assert call.to_dict() == {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
