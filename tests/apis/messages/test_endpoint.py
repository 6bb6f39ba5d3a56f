"""The endpoint: what goes out for which parameters, what counts as a reply, and a reply taken apart into events."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import codec
from dgrid_async.apis import messages
from dgrid_async.apis.messages.endpoint import ENDPOINT
from dgrid_async.endpoint import Progress, Target

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts" / "messages"

PARAMS: dict[str, Any] = {
    "model": "provider/model",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hi"}],
}

REPLY: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "provider/model",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s", "a_new_field": 1},
        {"type": "redacted_thinking", "data": "AAA"},
        {
            "type": "text",
            "text": "Hi \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
            "citations": None,
        },
        {"type": "text", "text": "", "citations": [{"type": "page_location", "cited_text": "c"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"é": [1, {"x": None}]}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "u", "name": "f", "input": {}},
        {"type": "tool_use", "id": "v", "name": "f", "input": "no object"},
        {"type": "server_tool_use", "id": "w", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "w", "content": []},
        {"type": "a_new_block", "text": "x", "input": {"y": 1}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "stop_details": None,
    "container": {"id": "c", "expires_at": "2026-01-01T00:00:00Z"},
    "usage": {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": None, "a_new_count": 1},
    "a_new_field": {"x": [1]},
}


def encoded(params: dict[str, Any], *, stream: bool) -> Target:
    return ENDPOINT.encode(params, stream)


def sent(**params: Any) -> dict[str, Any]:
    """Return the JSON that goes out, as the gateway reads it."""
    body: dict[str, Any] = json.loads(codec.encode(encoded({**PARAMS, **params}, stream=False).body))
    return body


# --------------------------------------------------------------------------------------------------------------- encode


def test_a_plain_call_sends_what_was_given_and_nothing_else() -> None:
    target = encoded(PARAMS, stream=False)
    assert target.path == "/v1/messages"
    assert target.body == PARAMS
    assert dict(target.query) == {}
    assert dict(target.headers) == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("given", "stream", "sent_as"),
    [
        ({}, True, True),
        ({"stream": True}, True, True),
        ({"stream": False}, True, True),
        ({"stream": True}, False, None),
    ],
)
def test_the_request_asks_for_a_stream_when_one_is_wanted(given: dict[str, Any], stream: bool, sent_as: Any) -> None:
    assert encoded({**PARAMS, **given}, stream=stream).body.get("stream") is sent_as


def test_some_parameters_travel_as_headers() -> None:
    target = encoded({**PARAMS, "user_profile_id": "u", "workspace_id": "w", "betas": ["a", "b"]}, stream=False)
    assert dict(target.headers) == {
        "anthropic-version": "2023-06-01",
        "anthropic-user-profile-id": "u",
        "anthropic-workspace-id": "w",
        "anthropic-beta": "a,b",
    }
    assert target.body == PARAMS


def test_a_header_that_was_not_given_is_not_sent() -> None:
    target = encoded({**PARAMS, "user_profile_id": None, "betas": []}, stream=False)
    assert dict(target.headers) == {"anthropic-version": "2023-06-01"}
    assert target.body == PARAMS


def test_unknown_parameters_and_nulls_pass_through() -> None:
    assert sent(a_new_parameter={"x": 1}, cache_control=None) == {
        **PARAMS,
        "a_new_parameter": {"x": 1},
        "cache_control": None,
    }


def test_encoding_leaves_the_callers_own_objects_alone() -> None:
    reply = ENDPOINT.decode_reply(copy.deepcopy(REPLY))
    params = {**PARAMS, "messages": (*PARAMS["messages"], reply), "user_profile_id": "u"}
    before = dict(params)
    encoded(params, stream=True)
    assert params == before


def test_a_replys_blocks_go_back_unchanged() -> None:
    reply = ENDPOINT.decode_reply(copy.deepcopy(REPLY))
    turn = {"role": "assistant", "content": REPLY["content"]}
    assert sent(messages=[*PARAMS["messages"], {"role": "assistant", "content": reply.content}])["messages"][1] == turn
    assert sent(messages=[*PARAMS["messages"], reply])["messages"] == [*PARAMS["messages"], turn]


def test_objects_that_the_caller_made_are_sent_as_their_fields() -> None:
    blocks = [messages.TextBlock("a"), messages.ToolUseBlock(id="t", name="f", input={"x": 1})]
    assert sent(messages=[{"role": "assistant", "content": blocks}])["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]


def test_bytes_are_sent_as_base64() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": b"\x89PNG"}
    content = [{"type": "image", "source": source}]
    sent_content = sent(messages=[{"role": "user", "content": content}])["messages"][0]["content"]
    assert sent_content[0]["source"]["data"] == "iVBORw=="


@pytest.mark.parametrize("odd", [None, "Hi", {"role": "user"}])
def test_messages_of_another_shape_are_the_gateways_to_refuse(odd: Any) -> None:
    assert sent(messages=odd)["messages"] == odd


# --------------------------------------------------------------------------------------------------------------- decode


def test_a_reply_goes_back_out_as_it_came() -> None:
    reply = ENDPOINT.decode_reply(copy.deepcopy(REPLY))
    assert isinstance(reply, messages.Message)
    assert reply.to_dict() == REPLY
    assert pickle.loads(pickle.dumps(reply)) == reply  # noqa: S301 -- our own


@pytest.mark.parametrize("data", [{"content": []}, {"type": "message"}, {"type": "message", "content": None}])
def test_a_reply_may_lack_nearly_everything(data: dict[str, Any]) -> None:
    reply = ENDPOINT.decode_reply(data)
    assert (reply.id, reply.text, reply.content, reply.usage, reply.stop_reason) == ("", "", [], None, None)
    assert reply.to_dict() == data


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "message",
        5,
        {},
        {"id": "m"},
        {"choices": []},
        {"content": "Hi"},
        {"content": {}},
        {"type": "error"},
        {"type": "message", "content": "Hi"},
        {"type": ["message"]},
        {"content": [1]},
    ],
)
def test_what_is_no_message_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"belongs here"):
        ENDPOINT.decode_reply(data)


@pytest.mark.parametrize("data", [{"type": "error"}, {"type": "error", "message": "no"}])
def test_an_error_in_a_plain_answer_is_told_from_a_message(data: dict[str, Any]) -> None:
    assert ENDPOINT.failure_of(data) == data
    assert ENDPOINT.failure_of(REPLY) is None


# --------------------------------------------------------------------------------------------------------------- replay


def replayed(data: dict[str, Any]) -> tuple[messages.Message, str, list[str]]:
    """Return the message that a reply's events make, their text and their kinds."""
    accumulator, text, kinds = ENDPOINT.accumulator(), "", []
    for wire in ENDPOINT.replay(data):
        event = ENDPOINT.decode_event(wire)
        assert event is not None
        accumulator.add(event)
        text += ENDPOINT.text_of(event)
        kinds.append(event.type)
    assert accumulator.progress is Progress.CLOSED
    assert accumulator.failure is None
    message = accumulator.snapshot()
    assert message is not None
    return message, text, kinds


def finals() -> list[dict[str, Any]]:
    expectations = [json.loads(path.read_text()) for path in sorted(TRANSCRIPTS.glob("*.expect.json"))]
    return [expectation["final"] for expectation in expectations if "final" in expectation]


@pytest.mark.parametrize("data", [REPLY, *finals()])
def test_the_events_of_a_reply_make_the_same_reply(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    message, text, kinds = replayed(data)
    assert message.to_dict() == data == before
    assert text == message.text
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])


def test_the_events_of_a_reply_are_those_that_a_stream_would_have() -> None:
    events = ENDPOINT.replay({"type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"})
    assert events == [
        {"type": "message_start", "message": {"type": "message", "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": None},
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("data", [{"type": "message"}, {"content": []}, {"type": "message", "content": None}])
def test_a_reply_with_next_to_nothing_has_events_too(data: dict[str, Any]) -> None:
    message, text, _ = replayed(data)
    assert (message.content, text) == ([], "")


@pytest.mark.parametrize("depth", [200, 900, 5000])
def test_an_input_that_no_encoder_takes_stays_in_its_start(depth: int) -> None:
    deep: Any = {}
    for _ in range(depth):
        deep = {"x": deep}
    message, _, _ = replayed({"type": "message", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": deep}]})
    assert set(message.tool_uses[0].input) == {"x"}


@pytest.mark.parametrize("data", [[], {}, {"choices": []}, {"type": "message", "content": 5}])
def test_what_is_no_message_has_no_events(data: Any) -> None:
    with pytest.raises(ValueError, match="belongs here"):
        ENDPOINT.replay(data)


def test_a_block_that_is_none_is_refused_when_its_event_is_decoded() -> None:
    events = ENDPOINT.replay({"type": "message", "content": ["Hi"]})
    with pytest.raises(ValueError, match="content_block"):
        ENDPOINT.decode_event(events[1])
