"""Claude's format: what is read out of requests, and the parts of replies and streams."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dgrid_async.emulator import Script, ToolCall, Usage, messages
from dgrid_async.emulator.answer import Answer, compose
from dgrid_async.emulator.problems import Problem

HEADERS = {"anthropic-version": "2023-06-01"}
DATA = base64.b64encode(b"x" * 68).decode()
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}], **more}


def content(*blocks: dict[str, Any]) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": list(blocks)}])


def answer(script: Script, request: dict[str, Any] | None = None) -> Answer:
    request = request or body()
    return compose(messages.read(request, HEADERS), script, request, 1, "req_1")


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (body(model=None), "model"),
        (body(model=5), "model"),
        (body(max_tokens=None), "max_tokens"),
        (body(max_tokens="16"), "max_tokens"),
        (body(max_tokens=0), "max_tokens"),
        (body(messages=None), "messages"),
        (body(messages=[]), "messages"),
        (body(messages="Hi"), "messages"),
        (body(messages=[{"role": "tool", "content": "x"}]), "messages.0.role"),
        (body(messages=[{"role": "user"}]), "messages.0.content"),
        (body(stream="yes"), "stream"),
        (body(messages=[{"role": "user", "content": ["x"]}]), "messages.0.content.0"),
        (content({"text": "no type"}), "messages.0.content.0.type"),
        (content({"type": "image"}), "messages.0.content.0.source"),
        (content({"type": "image", "source": {"type": "ftp"}}), "messages.0.content.0.source.type"),
        (
            content({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%"}}),
            "messages.0.content.0.source.data",
        ),
        (body(tool_choice={"type": "any"}), "tools"),
        (body(tool_choice={"type": "tool", "name": "gone"}, tools=[TOOL]), "tool_choice.name"),
    ],
)
def test_refused(request_: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem) as caught:
        messages.read(request_, HEADERS)
    assert caught.value.status == 400
    assert caught.value.param == named
    assert named in caught.value.message


def test_the_version_header_is_required() -> None:
    with pytest.raises(Problem, match="anthropic-version"):
        messages.read(body(), {})


def test_media_of_every_kind_of_source() -> None:
    def source(kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "source": more}

    prompt = messages.read(
        content(
            source("image", type="base64", media_type="image/png", data=DATA),
            source("document", type="base64", media_type="application/pdf", data=DATA),
            source("image", type="url", url="https://example.com/a.png"),
            source("document", type="text", media_type="text/plain", data="grün"),
            source("document", type="file", file_id="file_1"),
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [source("image", type="url", url="data:a/b;base64,AA==")],
            },
            source("document", type="content", content=[source("image", type="url", url="https://example.com/b.png")]),
            {"type": "thinking", "thinking": "left aside"},
            {"type": "text", "text": "Look"},
        ),
        HEADERS,
    )
    assert list(map(str, prompt.media)) == [
        "image/png, 68 bytes",
        "application/pdf, 68 bytes",
        "image at https://example.com/a.png",
        "text/plain, 5 bytes",
        "document at file_1",
        "a/b, 1 bytes",
        "image at https://example.com/b.png",
    ]
    assert prompt.text == "Look"


def test_the_last_user_text_is_found_behind_tool_results() -> None:
    prompt = messages.read(
        body(
            system=[{"type": "text", "text": "Be brief"}],
            messages=[
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "w", "input": {"city": "Bern"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "rain"}]},
            ],
        ),
        HEADERS,
    )
    assert prompt.text == "Weather?"
    assert prompt.words == ("Be brief", "Weather?", '{"city":"Bern"}', "rain")


def test_demands() -> None:
    prompt = messages.read(body(tools=[TOOL], tool_choice={"type": "any"}), HEADERS)
    assert prompt.tool is not None
    assert prompt.tool.name == "look"
    assert messages.read(body(tools=[TOOL], tool_choice={"type": "tool", "name": "look"}), HEADERS).tool == prompt.tool
    assert messages.read(body(tools=[TOOL], tool_choice={"type": "auto"}), HEADERS).tool is None
    assert messages.read(body(thinking={"type": "adaptive"}), HEADERS).reasoning
    assert not messages.read(body(thinking={"type": "disabled"}), HEADERS).reasoning
    schema = {"type": "object"}
    assert messages.read(body(output_config={"format": {"type": "json_schema", "schema": schema}}), HEADERS).schema == schema


def test_reply() -> None:
    script = Script(text="Yes", reasoning="Hm", tool_calls=(ToolCall("f", {"a": 1}, id="toolu_x"),), usage=Usage(9, 5, 2, 4))
    reply = messages.reply(answer(script))
    assert [block["type"] for block in reply["content"]] == ["thinking", "text", "tool_use"]
    assert reply["content"][2] == {"type": "tool_use", "id": "toolu_x", "name": "f", "input": {"a": 1}}
    assert reply["stop_reason"] == "tool_use"
    assert reply["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
    }


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(), "end_turn"),
        (Script(stop_reason="length"), "max_tokens"),
        (Script(stop_reason="pause_turn"), "pause_turn"),
        (Script(refusal="No."), "refusal"),
        (Script(stop_reason="stop_sequence", stop_sequence="END"), "stop_sequence"),
    ],
)
def test_stop_reasons(script: Script, reason: str) -> None:
    reply = messages.reply(answer(script))
    assert reply["stop_reason"] == reason
    assert reply["stop_sequence"] == script.stop_sequence
    assert ("stop_details" in reply) == (script.refusal is not None)


def test_several_calls_one_without_arguments() -> None:
    stream = b"".join(
        event.data for event in messages.stream(answer(Script(tool_calls=(ToolCall("f", ""), ToolCall("g", ("{", "}"))))))
    )
    assert stream.count(b"content_block_start\n") == 2
    assert stream.count(b'"partial_json":""') == 2
    assert b'"partial_json":"{"' in stream
    assert messages.reply(answer(Script(tool_calls=(ToolCall("f", ""),))))["content"][0]["input"] == {}


def test_only_the_end_counts_as_the_end() -> None:
    ends = [event.ends for event in messages.stream(answer(Script(text="a")))]
    assert ends == [False] * 5 + [True, True]
