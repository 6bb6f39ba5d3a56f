"""The chunk: its classes, how it is decoded, and the text it adds."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis import chat_completions
from dgrid_async.apis.chat_completions import events
from dgrid_async.apis.chat_completions.accumulator import ChatCompletionAccumulator
from dgrid_async.scalars import MismatchError
from dgrid_async.wire import wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

ALIASES = {
    "ChoiceDeltaToolCallFunction": "ChoiceDeltaFunctionCall",
    "chat_completion_chunk.Choice": "ChunkChoice",
    "chat_completion_chunk.ChoiceLogprobs": "ChoiceLogprobs",
    "chat_completion_chunk.Moderation": "Moderation",
    "chat_completion_chunk.ModerationInputError": "ModerationError",
    "chat_completion_chunk.ModerationOutputError": "ModerationError",
    "chat_completion_chunk.ModerationInputModerationResults": "ModerationResults",
    "chat_completion_chunk.ModerationOutputModerationResults": "ModerationResults",
    "chat_completion_chunk.ModerationInputModerationResultsResult": "ModerationResult",
    "chat_completion_chunk.ModerationOutputModerationResultsResult": "ModerationResult",
}

CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1734000000,
    "model": "m",
    "provider": "somewhere",
    "obfuscation": "xyz",
    "service_tier": None,
    "usage": None,
    "choices": [
        {
            "index": 0,
            "finish_reason": None,
            "logprobs": None,
            "native_finish_reason": None,
            "delta": {
                "role": "assistant",
                "content": "Hi",
                "reasoning_content": "R",
                "reasoning_details": [{"type": "reasoning.text", "text": "R", "index": 0}],
                "tool_calls": [
                    {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}},
                    {"index": 1, "id": "2", "type": "custom", "custom": {"name": "c", "input": "x"}},
                    {"id": "3", "type": "telepathy", "telepathy": {}},
                ],
                "function_call": {"name": "f", "arguments": "{"},
                "audio": {"id": "a", "data": "cGNt"},
                "annotations": [{"type": "novel", "x": 1}],
                "images": [{"type": "image_url"}],
            },
        }
    ],
}


def decode(data: dict[str, Any]) -> events.ChatCompletionChunk:
    event = events.decode_event(data)
    assert isinstance(event, events.ChatCompletionChunk)
    return event


@pytest.mark.parametrize("name", CATALOGUE["stream"])
def test_class_has_the_fields_of_the_catalogue(name: str) -> None:
    cls = getattr(chat_completions, ALIASES.get(name, name))
    assert set(CATALOGUE["stream"][name]["fields"]) <= set(wire_names(cls))


def test_chunk_goes_through_objects_unchanged() -> None:
    chunk = decode(copy.deepcopy(CHUNK))
    assert chunk.to_dict() == CHUNK
    assert chunk.extra == {"provider": "somewhere"}
    delta = chunk.choices[0].delta
    assert delta.extra == {"images": [{"type": "image_url"}]}
    assert delta.tool_calls is not None
    assert delta.tool_calls[1].custom == events.ChoiceDeltaCustomCall("c", "x")
    assert delta.tool_calls[2].type == "telepathy"
    assert delta.tool_calls[2].index is None


def test_null_is_never_a_word() -> None:
    blank: dict[str, Any] = dict.fromkeys(wire_names(events.ChatCompletionChunk))
    blank["object"] = "chat.completion.chunk"
    blank["choices"] = [{"delta": dict.fromkeys(wire_names(events.ChoiceDelta))}, {"delta": None}, {}]
    chunk = decode(blank)
    assert "None" not in json.dumps(chunk.to_dict())
    assert [choice.delta.content for choice in chunk.choices] == [None, None, None]
    assert events.text_of(chunk) == ""


@pytest.mark.parametrize(
    "data",
    [
        {"object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": [{"delta": {"content": "Hi"}}]},
        {"object": "chat.completion.chunk"},
        {"object": "chat.completion.chunk", "choices": None},
        {"object": [], "choices": []},
        {"usage": {"total_tokens": 1}},
    ],
)
def test_chunk_by_its_marks(data: dict[str, Any]) -> None:
    assert decode(copy.deepcopy(data)).to_dict() == data


@pytest.mark.parametrize("data", [{"type": "novelty", "x": [1]}, {"object": "thing"}, {"type": 5}, {"type": ["ping"]}])
def test_unknown_event_survives(data: dict[str, Any]) -> None:
    event = events.decode_event(copy.deepcopy(data))
    assert isinstance(event, events.UnknownEvent)
    assert event.to_dict() == data
    assert events.text_of(event) == ""


@pytest.mark.parametrize("data", [{}, {"type": "ping"}, {"type": "keepalive"}])
def test_keep_alive_is_no_event(data: dict[str, Any]) -> None:
    assert events.decode_event(data) is None


@pytest.mark.parametrize(
    "choices",
    [
        "none",
        [5],
        [{"delta": "Hi"}],
        [{"delta": {"content": {}}}],
        [{"delta": {"tool_calls": "f"}}],
        [{"delta": {"tool_calls": [None]}}],
        [{"delta": {"tool_calls": [{"index": "first"}]}}],
        [{"delta": {"audio": "cGNt"}}],
        [{"finish_reason": {}}],
        [{"logprobs": []}],
    ],
)
def test_wrong_kind_is_a_value_error(choices: Any) -> None:
    with pytest.raises(MismatchError):
        events.decode_event({"object": "chat.completion.chunk", "choices": choices})


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([{"index": 0, "delta": {"content": "Hi"}}], "Hi"),
        ([{"index": 1, "delta": {"content": "other"}}], ""),
        ([{"index": 1, "delta": {"content": "other"}}, {"index": 0, "delta": {"content": "Hi"}}], "Hi"),
        ([{"delta": {"reasoning_content": "R", "reasoning": "R"}}], ""),
        ([{"delta": {"refusal": "No"}}], ""),
        ([{"delta": {"content": None}}], ""),
        ([], ""),
        (None, ""),
    ],
)
def test_text_is_that_of_the_first_choice(choices: Any, text: str) -> None:
    assert events.text_of(decode({"object": "chat.completion.chunk", "choices": choices})) == text


REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "provider": "somewhere",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": {
                "content": [{"token": "H", "logprob": -1.0, "bytes": None, "top_logprobs": []}],
                "refusal": None,
            },
            "message": {
                "role": "assistant",
                "content": "Hi",
                "reasoning_content": "R",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
                "audio": {"id": "a", "data": "cGNtLTE=", "expires_at": 5, "transcript": "Hi"},
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1},
                    }
                ],
            },
        },
        {"index": 1, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "Ho"}},
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


@pytest.mark.parametrize("come", ["replayed", "in one event", "in one event without its name"])
def test_whole_reply_streams_as_itself(come: str) -> None:
    body = copy.deepcopy(REPLY)
    if come == "in one event without its name":
        del body["object"]
    stream = [decode(data) for data in events.replay(body)] if come == "replayed" else [decode(body)]
    accumulator = ChatCompletionAccumulator()
    for event in stream:
        accumulator.add(event)
    reply = accumulator.snapshot()
    assert reply is not None
    expected = copy.deepcopy(REPLY)
    del expected["choices"][0]["logprobs"]["refusal"]
    del expected["choices"][1]["logprobs"]
    assert reply.to_dict() == expected
    assert "".join(map(events.text_of, stream)) == "Hi"
    assert {**body, "object": "chat.completion"} == REPLY


@pytest.mark.parametrize("choices", [None, 5, [5], [{"message": 5}], [{"message": {"tool_calls": [5]}}]])
def test_replay_leaves_complaints_to_the_decoding(choices: Any) -> None:
    [chunk] = events.replay({"object": "chat.completion", "choices": choices})
    if choices is None:
        assert decode(chunk).choices == []
    else:
        with pytest.raises(MismatchError):
            events.decode_event(chunk)
