"""OpenAI's Chat format: what is read out of requests, and the parts of replies and streams."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dgrid_async.emulator import Script, ToolCall, Usage, chat_completions
from dgrid_async.emulator.answer import Answer, compose
from dgrid_async.emulator.problems import Problem

DATA = base64.b64encode(b"x" * 68).decode()
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"q": {}}}}}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}


def content(*parts: dict[str, Any]) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": list(parts)}])


def answer(script: Script, request: dict[str, Any] | None = None) -> Answer:
    request = request or body()
    return compose(chat_completions.read(request, {}), script, request, 1, "req_1")


def chunks(made: Answer) -> list[Any]:
    datas = [event.data.removeprefix(b"data: ").strip() for event in chat_completions.stream(made)]
    return [data.decode() if data == b"[DONE]" else json.loads(data) for data in datas]


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (body(model=""), "model"),
        (body(messages=None), "messages"),
        (body(messages=[]), "messages"),
        (body(messages=[{"role": "model", "content": "x"}]), "messages.0.role"),
        (body(messages=[{"role": "user"}]), "messages.0.content"),
        (body(messages=[{"role": "user", "content": {}}]), "messages.0.content"),
        (body(n=0), "n"),
        (body(n=1000), "n"),
        (body(max_tokens="many"), "max_tokens"),
        (body(stream=1), "stream"),
        (body(messages=[{"role": "user", "content": ["x"]}]), "messages.0.content.0"),
        (content({"type": "text"}), "messages.0.content.0.text"),
        (content({"type": "image_url", "image_url": 5}), "messages.0.content.0.image_url"),
        (
            content({"type": "image_url", "image_url": {"url": "data:image/png;base64,%"}}),
            "messages.0.content.0.image_url.url",
        ),
        (content({"type": "input_audio", "input_audio": {"data": DATA}}), "messages.0.content.0.input_audio.format"),
        (body(tool_choice="required"), "tools"),
        (body(tool_choice={"type": "function", "function": {"name": "gone"}}, tools=[TOOL]), "tool_choice"),
    ],
)
def test_refused(request_: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem) as caught:
        chat_completions.read(request_, {})
    assert (caught.value.status, caught.value.param) == (400, named)
    assert named in caught.value.message


def test_media() -> None:
    prompt = chat_completions.read(
        content(
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
            {"type": "image_url", "image_url": "https://example.com/a.png"},
            {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{DATA}"}},
            {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}", "filename": "a.pdf"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "text", "text": "Look"},
        ),
        {},
    )
    assert list(map(str, prompt.media)) == [
        "image/png, 68 bytes",
        "image at https://example.com/a.png",
        "video/mp4, 68 bytes",
        "audio/wav, 68 bytes",
        "application/pdf, 68 bytes",
        "file at file-1",
    ]
    assert prompt.text == "Look"


def test_the_last_user_text_is_found_behind_tool_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
        {"role": "user", "content": [{"type": "new_kind"}]},
    ]
    prompt = chat_completions.read(body(messages=history), {})
    assert (prompt.text, prompt.media) == ("Weather?", ())
    assert prompt.words[1].startswith('[{"id":"c"')


def test_demands() -> None:
    def read(**more: Any) -> Any:
        return chat_completions.read(body(**more), {})

    assert read(tools=[TOOL], tool_choice="required").tool.name == "look"
    assert read(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "look"}}).tool.name == "look"
    assert read(tools=[TOOL]).tool is None
    assert read(n=3).choices == 3
    assert read(reasoning_effort="low").reasoning
    assert not read(reasoning_effort="none").reasoning
    assert read(response_format={"type": "json_schema", "json_schema": {"schema": {"a": 1}}}).schema == {"a": 1}
    assert read(response_format={"type": "text"}).schema is None


def test_reply() -> None:
    script = Script(reasoning="Hm", tool_calls=(ToolCall("f", {"a": 1}, id="call_x"), ToolCall("g", "{broken")))
    reply = chat_completions.reply(answer(script))
    choice = reply["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning_content"] == "Hm"
    assert choice["message"]["tool_calls"][0] == {
        "id": "call_x",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":1}'},
    }
    assert choice["message"]["tool_calls"][1]["function"]["arguments"] == "{broken"


def test_refusal_and_stop_reasons() -> None:
    choice = chat_completions.reply(answer(Script(refusal="No.")))["choices"][0]
    assert (choice["message"]["content"], choice["message"]["refusal"], choice["finish_reason"]) == (
        None,
        "No.",
        "stop",
    )
    for word, expected in (("length", "length"), ("content_filter", "content_filter"), ("odd_error", "odd_error")):
        assert chat_completions.reply(answer(Script(stop_reason=word)))["choices"][0]["finish_reason"] == expected


def test_choices_come_by_turns() -> None:
    made = answer(Script(text=("A", "a"), alternatives=(("B",), ("C", "c", "k"))))
    stream = chunks(made)[:-1]
    order = [(choice["index"], choice["delta"].get("content")) for chunk in stream for choice in chunk["choices"]]
    assert order[:3] == [(0, ""), (1, ""), (2, "")]
    assert order[3:9] == [(0, "A"), (1, "B"), (2, "C"), (0, "a"), (2, "c"), (2, "k")]
    assert order[9:] == [(0, None), (1, None), (2, None)]
    assert [len(chunk["choices"]) for chunk in stream] == [1] * len(order)


def test_usage_chunk_only_when_asked_for() -> None:
    made = answer(Script(usage=Usage(3, 4, 1, 2)), body(stream_options={"include_usage": True}))
    *rest, last, done = chunks(made)
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in rest)
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (
        3,
        4,
        7,
    )
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
    assert all("usage" not in chunk for chunk in chunks(answer(Script()))[:-1])


def test_text_then_calls() -> None:
    deltas = [
        c["choices"][0]["delta"] for c in chunks(answer(Script(text="Wait", tool_calls=(ToolCall("f", ("{", "}")),))))[:-1]
    ]
    assert [sorted(delta) for delta in deltas] == [
        ["content", "refusal", "role"],
        ["content"],
        ["tool_calls"],
        ["tool_calls"],
        ["tool_calls"],
        [],
    ]
