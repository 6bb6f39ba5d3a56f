"""The endpoint: the request that a call makes, and what its plain answer is taken for."""

from __future__ import annotations

import copy
import json
from types import MappingProxyType
from typing import Any

import pytest

from dgrid_async import codec
from dgrid_async.apis import chat_completions
from dgrid_async.apis.chat_completions.endpoint import ENDPOINT
from dgrid_async.endpoint import Endpoint

HELLO = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def test_endpoint_is_one() -> None:
    assert isinstance(ENDPOINT, Endpoint)
    assert ENDPOINT.name == "chat_completions"
    assert ENDPOINT.required == ("model", "messages")


def test_call_sends_what_was_given_and_nothing_else() -> None:
    target = ENDPOINT.encode(HELLO, False)
    assert (target.path, dict(target.query), dict(target.headers)) == ("/v1/chat/completions", {}, {})
    assert target.body == HELLO


def test_stream_asks_for_one() -> None:
    given = MappingProxyType({**HELLO, "seed": None})
    assert ENDPOINT.encode(given, True).body == {**HELLO, "seed": None, "stream": True}
    assert "stream" not in given


def test_unknown_parameter_passes() -> None:
    assert ENDPOINT.encode({**HELLO, "novelty": {"x": 1}, "reasoning": {"effort": "low"}}, False).body == {
        **HELLO,
        "novelty": {"x": 1},
        "reasoning": {"effort": "low"},
    }


def test_model_is_never_rewritten() -> None:
    assert ENDPOINT.encode({**HELLO, "model": "a/b:c d"}, False).body["model"] == "a/b:c d"


def test_objects_of_a_reply_go_back() -> None:
    reply = ENDPOINT.decode_reply(
        {
            "choices": [
                {
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "reasoning_content": "R",
                        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    }
                }
            ]
        }
    )
    answer = {"role": "tool", "tool_call_id": "1", "content": "ok"}
    body = ENDPOINT.encode({**HELLO, "messages": [*HELLO["messages"], reply.message, answer]}, False).body
    assert json.loads(codec.encode(body))["messages"][1] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "R",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}], "usage": None},
        {"choices": None, "contents": [{"type": "image"}]},
        {"contents": [{"type": "image"}]},
    ],
)
def test_reply_may_miss_much(body: dict[str, Any]) -> None:
    reply = ENDPOINT.decode_reply(copy.deepcopy(body))
    assert isinstance(reply, chat_completions.ChatCompletion)
    assert reply.to_dict() == body
    assert reply.text == ""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "an array"),
        (None, "nothing"),
        ("hello", "a string"),
        (5, "something else"),
        ({}, "list of choices"),
        ({"object": "chat.completion"}, "list of choices"),
        ({"choices": None}, "nothing"),
        ({"choices": {}}, "an object"),
        ({"choices": "x", "contents": []}, "a string"),
        ({"object": "list", "data": [], "success": True}, "list of choices"),
    ],
)
def test_what_is_no_reply_is_refused(body: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ENDPOINT.decode_reply(body)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ({"id": "1", "function": {"name": "f", "arguments": "{"}}, "function"),
        ({"id": "1", "type": None, "custom": {"name": "f", "input": "x"}}, "custom"),
    ],
)
def test_tool_call_without_type_is_still_one(call: dict[str, Any], kind: str) -> None:
    reply = ENDPOINT.decode_reply({"choices": [{"message": {"tool_calls": [copy.deepcopy(call)]}}]})
    assert [found.to_dict() for found in reply.tool_calls] == [{**call, "type": kind}]
    assert not isinstance(reply.tool_calls[0], chat_completions.UnknownToolCall)


@pytest.mark.parametrize("reason", ["error", "rate_limit_error", "upstream_error"])
def test_plain_reply_that_failed(reason: str) -> None:
    body = {"choices": [{"finish_reason": "stop"}, {"finish_reason": reason, "message": {"content": "half"}}]}
    assert ENDPOINT.failure_of(body)["type"] == reason
    said = {"code": 502, "message": "upstream"}
    assert ENDPOINT.failure_of({"choices": [{"finish_reason": reason, "error": said}]}) == said


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": [None, {"finish_reason": None}]},
        {"choices": [{"finish_reason": "length"}]},
        {"choices": [{"finish_reason": "content_filter", "error": None}]},
        {"choices": [{"finish_reason": 5}]},
        {"choices": [{"finish_reason": "errors_found"}]},
    ],
)
def test_plain_reply_that_did_not_fail(body: dict[str, Any]) -> None:
    assert ENDPOINT.failure_of(body) is None


def test_parts_of_one_endpoint_fit() -> None:
    accumulator = ENDPOINT.accumulator()
    for data in ENDPOINT.replay({"id": "1", "choices": [{"finish_reason": "stop", "message": {"content": "Hi"}}]}):
        event = ENDPOINT.decode_event(data)
        assert event is not None
        assert ENDPOINT.text_of(event) == "Hi"
        accumulator.add(event)
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.text == "Hi"
