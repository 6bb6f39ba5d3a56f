"""How a call of the Responses API is written, and how its plain answer is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import codec
from dgrid_async.apis.responses import types
from dgrid_async.apis.responses.endpoint import ENDPOINT
from dgrid_async.apis.responses.events import UnknownEvent
from dgrid_async.endpoint import Progress
from dgrid_async.structuring import structure

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts" / "responses"


def final(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((TRANSCRIPTS / f"{name}.expect.json").read_text("utf-8"))["final"]
    return body


NAMES = sorted(
    path.name.removesuffix(".expect.json")
    for path in TRANSCRIPTS.glob("*.expect.json")
    if "final" in json.loads(path.read_text("utf-8"))
)


def test_it_says_what_it_is() -> None:
    assert ENDPOINT.name == "responses"
    assert ENDPOINT.required == ("model",)


@pytest.mark.parametrize(
    ("params", "stream", "body"),
    [
        ({"model": "m", "input": "Hi"}, False, {"model": "m", "input": "Hi"}),
        ({"model": "m", "input": "Hi"}, True, {"model": "m", "input": "Hi", "stream": True}),
        ({"model": "m", "stream": False}, True, {"model": "m", "stream": True}),
        ({"model": "m", "stream": False}, False, {"model": "m", "stream": False}),
        ({"model": "m", "grown_yesterday": [None]}, False, {"model": "m", "grown_yesterday": [None]}),
        ({"model": "m", "instructions": None}, False, {"model": "m", "instructions": None}),
    ],
)
def test_a_request_holds_what_the_caller_gave(params: dict[str, Any], body: dict[str, Any], *, stream: bool) -> None:
    given = dict(params)
    target = ENDPOINT.encode(params, stream)
    assert (target.path, target.body) == ("/v1/responses", body)
    assert (dict(target.query), dict(target.headers)) == ({}, {})
    assert params == given


def test_a_replys_output_goes_back_into_the_next_request() -> None:
    items = [
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}", "new": 1},
        {"type": "tomorrow", "x": 1},
    ]
    response = ENDPOINT.decode_reply({"object": "response", "output": items})
    answer = types.ResponseFunctionToolCallOutputItem(call_id="c", output="42")
    target = ENDPOINT.encode({"model": "m", "input": [*response.output, answer]}, False)
    assert json.loads(codec.encode(target.body))["input"] == [
        *items,
        {"type": "function_call_output", "call_id": "c", "output": "42"},
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_answer_is_read_and_written_back(name: str) -> None:
    body = final(name)
    response = ENDPOINT.decode_reply(body)
    assert response.to_dict() == body
    assert response.id == body["id"]


@pytest.mark.parametrize("body", [{"object": "response"}, {"output": []}, {"object": "response", "output": None}])
def test_little_makes_a_response(body: dict[str, Any]) -> None:
    response = ENDPOINT.decode_reply(body)
    assert (response.text, response.output, response.usage) == ("", [], None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "not NoneType"),
        ([], "not list"),
        ("hello", "not str"),
        ({}, "among its fields: nothing"),
        ({"choices": [], "object": "chat.completion"}, "among its fields: choices, object"),
        ({"output": "text"}, "among its fields: output"),
        ({"object": "response", "output": "text"}, "an array belongs here"),
    ],
)
def test_what_is_no_response_is_refused(body: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ENDPOINT.decode_reply(body)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ({"status": "failed", "error": {"code": "c", "message": "m"}}, {"code": "c", "message": "m"}),
        ({"status": "completed", "error": None}, None),
        ({"status": "incomplete"}, None),
        ({"status": "queued"}, None),
        ({}, None),
    ],
)
def test_a_failed_response_is_a_failure(body: dict[str, Any], failure: Any) -> None:
    assert ENDPOINT.failure_of(body) == failure


def test_a_failure_without_words_is_one_still() -> None:
    assert ENDPOINT.failure_of({"status": "failed", "error": None})["message"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "failed"])
def test_a_whole_answer_replays_as_the_stream_it_would_have_been(name: str) -> None:
    body = final(name)
    accumulator = ENDPOINT.accumulator()
    texts = []
    replayed = ENDPOINT.replay(body)
    assert [data["sequence_number"] for data in replayed] == list(range(len(replayed)))
    for data in replayed[:-1]:
        event = ENDPOINT.decode_event(data)
        assert event is not None
        assert not isinstance(event, UnknownEvent)
        accumulator.add(event)
        texts.append(ENDPOINT.text_of(event))
        assert accumulator.progress is Progress.OPEN
    before = accumulator.snapshot()
    assert before is not None
    assert before.to_dict()["output"] == body["output"]
    last = ENDPOINT.decode_event(replayed[-1])
    assert last is not None
    accumulator.add(last)
    assert accumulator.progress is Progress.CLOSED
    assert accumulator.snapshot() == structure(body, types.Response)
    assert "".join(texts) == structure(body, types.Response).text


@pytest.mark.parametrize(
    ("status", "last", "progress"),
    [
        ("completed", "response.completed", Progress.CLOSED),
        (None, "response.completed", Progress.CLOSED),
        ("tomorrow", "response.completed", Progress.CLOSED),
        ("incomplete", "response.incomplete", Progress.CLOSED),
        ("cancelled", "response.incomplete", Progress.CLOSED),
        ("queued", "response.queued", Progress.OPEN),
        ("in_progress", "response.in_progress", Progress.OPEN),
    ],
)
def test_a_replay_ends_as_the_status_says(status: str | None, last: str, progress: Progress) -> None:
    accumulator = ENDPOINT.accumulator()
    replayed = ENDPOINT.replay({"object": "response", "status": status, "output": []})
    for data in replayed:
        event = ENDPOINT.decode_event(data)
        assert event is not None
        accumulator.add(event)
    assert replayed[-1]["type"] == last
    assert accumulator.progress is progress
    response = accumulator.snapshot()
    assert response is not None
    assert response.status == (status or "completed")


def test_a_replay_streams_every_text() -> None:
    body = {
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "reasoning", "id": "a", "summary": [{"type": "summary_text", "text": "s"}]},
            {"type": "reasoning", "id": "b", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
            {"type": "message", "id": "c", "content": [{"type": "refusal", "refusal": "no"}, {"type": "poem", "x": 1}]},
            {"type": "function_call", "id": "d", "arguments": "{}", "name": "f", "call_id": "1"},
            {"type": "custom_tool_call", "id": "e", "input": "i", "name": "g", "call_id": "2"},
            {"type": "mcp_call", "id": "f", "arguments": "{}", "name": "h", "server_label": "l"},
            {"type": "code_interpreter_call", "id": "g", "code": "1+1", "container_id": "k"},
            {"type": "code_interpreter_call", "id": "h", "code": None, "container_id": "k"},
            {"type": "tomorrow", "id": "i", "content": "words"},
        ],
    }
    replayed = ENDPOINT.replay(body)
    kinds = [data["type"] for data in replayed if data["type"].endswith(".delta")]
    assert kinds == [
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
    ]
    accumulator = ENDPOINT.accumulator()
    for data in replayed[:-1]:
        event = ENDPOINT.decode_event(data)
        assert event is not None
        accumulator.add(event)
    response = accumulator.snapshot()
    assert response is not None
    assert response.to_dict()["output"] == body["output"]
