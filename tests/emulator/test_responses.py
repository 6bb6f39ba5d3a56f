"""OpenAI's Responses format: what is read out of requests, and the parts of replies and streams."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dgrid_async.emulator import Script, ToolCall, Usage, responses
from dgrid_async.emulator.answer import Answer, compose
from dgrid_async.emulator.problems import Problem

DATA = base64.b64encode(b"x" * 68).decode()
TOOL = {"type": "function", "name": "look", "parameters": {"properties": {"q": {}}}}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "input": "Hi", **more}


def content(*parts: Any) -> dict[str, Any]:
    return body(input=[{"role": "user", "content": list(parts)}])


def answer(script: Script, request: dict[str, Any] | None = None) -> Answer:
    request = request or body()
    return compose(responses.read(request, {}), script, request, 1, "req_1")


def events(made: Answer) -> list[dict[str, Any]]:
    return [json.loads(event.data.partition(b"data: ")[2]) for event in responses.stream(made)]


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (body(model=None), "model"),
        (body(input=None), "input"),
        (body(input=5), "input"),
        (body(input=[{"role": "boss", "content": "x"}]), "input.0.role"),
        (body(input=[{"content": "x"}]), "input.0.role"),
        (body(input=[{"role": "user"}]), "input.0.content"),
        (body(instructions=[1]), "instructions"),
        (body(max_output_tokens="x"), "max_output_tokens"),
        (content({"text": "x"}), "input.0.content.0.type"),
        (content("x"), "input.0.content.0"),
        (content({"type": "input_image", "image_url": "data:image/png;base64,%"}), "input.0.content.0.image_url"),
        (content({"type": "input_audio"}), "input.0.content.0.input_audio"),
        (body(tool_choice="required"), "tools"),
        (body(tool_choice={"type": "function", "name": "gone"}, tools=[TOOL]), "tool_choice"),
    ],
)
def test_refused(request_: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem) as caught:
        responses.read(request_, {})
    assert (caught.value.status, caught.value.param) == (400, named)
    assert named in caught.value.message


def test_input_may_be_left_out_where_something_else_says_it() -> None:
    assert responses.read({"model": "m", "previous_response_id": "resp_1"}, {}).text == ""


def test_items_and_media() -> None:
    prompt = responses.read(
        body(
            instructions="Be brief",
            input=[
                {"role": "user", "content": [{"type": "input_text", "text": "Look"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "done"},
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"},
                        {"type": "input_image", "file_id": "file-1"},
                        {"type": "input_audio", "input_audio": {"data": DATA, "format": "mp3"}},
                        {"type": "input_file", "file_data": f"data:application/pdf;base64,{DATA}"},
                        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                        {"type": "new_kind"},
                    ],
                },
            ],
        ),
        {},
    )
    assert prompt.text == "Look"
    assert prompt.words == ("Be brief", "Look", "{}", "done")
    assert list(map(str, prompt.media)) == [
        "image/png, 68 bytes",
        "image at file-1",
        "audio/mp3, 68 bytes",
        "application/pdf, 68 bytes",
        "file at https://example.com/a.pdf",
    ]


def test_demands() -> None:
    def read(**more: Any) -> Any:
        return responses.read(body(**more), {})

    assert read(tools=[TOOL], tool_choice="required").tool.name == "look"
    assert read(tools=[TOOL], tool_choice={"type": "function", "name": "look"}).tool.name == "look"
    assert read(tools=[TOOL], tool_choice="auto").tool is None
    assert read(reasoning={"summary": "auto"}).reasoning
    assert not read(reasoning={"effort": "low"}).reasoning
    assert read(text={"format": {"type": "json_schema", "schema": {"a": 1}}}).schema == {"a": 1}


def test_the_sequence_is_numbered_and_the_end_holds_all() -> None:
    script = Script(
        text=("Yes", "!"),
        reasoning="Hm",
        tool_calls=(ToolCall("f", {"a": 1}), ToolCall("g", "")),
        usage=Usage(9, 5, 2, 4),
    )
    made = answer(script)
    stream = events(made)
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    assert stream[-1]["type"] == "response.completed"
    assert stream[-1]["response"] == responses.reply(made)
    done = [event["item"] for event in stream if event["type"] == "response.output_item.done"]
    assert done == stream[-1]["response"]["output"]
    assert [item["type"] for item in done] == ["reasoning", "message", "function_call", "function_call"]
    arguments = [event["arguments"] for event in stream if event["type"].endswith("arguments.done")]
    assert arguments == ['{"a":1}', ""]
    assert stream[-1]["response"]["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 14,
    }


def test_deltas_go_to_items_that_are_open() -> None:
    made = answer(Script(text="a b", reasoning="c d", tool_calls=(ToolCall("f", {"a": 1}),)))
    items: dict[int, str] = {}
    for event in events(made):
        if event["type"] == "response.output_item.added":
            items[event["output_index"]] = event["item"]["id"]
        elif event["type"] == "response.output_item.done":
            assert items.pop(event["output_index"]) == event["item"]["id"]
        elif "item_id" in event:
            assert items[event["output_index"]] == event["item_id"]
    assert not items


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("end", "completed", None),
    ],
)
def test_ends(word: str, status: str, reason: str | None) -> None:
    made = answer(Script(text="a", stop_reason=word))
    last = events(made)[-1]
    assert last["type"] == f"response.{status}"
    assert (last["response"]["incomplete_details"] or {}).get("reason") == reason
    assert last["response"]["output"][0]["status"] == status


def test_failed_leaves_the_item_open() -> None:
    stream = events(answer(Script(text="a", stop_reason="failed")))
    assert stream[-1]["type"] == "response.failed"
    assert stream[-1]["response"]["error"]["code"] == "server_error"
    assert stream[-1]["response"]["usage"] is None
    assert "response.output_item.done" not in [event["type"] for event in stream]


def test_refusal() -> None:
    made = answer(Script(refusal=("No", ".")))
    types = [event["type"] for event in events(made)]
    assert types.count("response.refusal.delta") == 2
    assert types.count("response.refusal.done") == 1
    assert responses.reply(made)["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_the_request_is_echoed_and_thoughts_are_encrypted_when_asked() -> None:
    request = body(metadata={"a": "b"}, temperature=0.2, include=["reasoning.encrypted_content"], tools=[TOOL])
    reply = responses.reply(answer(Script(reasoning="Hm"), request))
    assert (reply["metadata"], reply["temperature"], reply["tools"]) == ({"a": "b"}, 0.2, [TOOL])
    assert reply["output"][0]["encrypted_content"]
