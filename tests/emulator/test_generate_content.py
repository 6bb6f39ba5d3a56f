"""Google's format: what is read out of requests, and the parts of replies and streams."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dgrid_async.emulator import Script, ToolCall, Usage, generate_content
from dgrid_async.emulator.answer import Answer, compose
from dgrid_async.emulator.problems import Problem
from dgrid_async.emulator.prompt import MEDIA_TOKENS

DATA = base64.b64encode(b"x" * 68).decode()
FUNCTIONS = [
    {
        "functionDeclarations": [
            {"name": "a"},
            {"name": "look", "parameters": {"type": "OBJECT", "properties": {"q": {}}}},
        ]
    }
]


def body(**more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **more}


def answer(script: Script, request: dict[str, Any] | None = None) -> Answer:
    request = request or body()
    return compose(generate_content.read(request, {}), script, request, 1, "req_1")


def chunks(made: Answer) -> list[dict[str, Any]]:
    return [json.loads(event.data.removeprefix(b"data: ")) for event in generate_content.stream(made)]


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (body(contents="Hi"), "contents"),
        (body(contents=[{"role": "assistant"}]), "contents.0.role"),
        (body(contents=[{"parts": 5}]), "contents.0.parts"),
        (body(contents=[{"parts": ["x"]}]), "contents.0.parts.0"),
        (body(contents=[{"parts": [{"text": 5}]}]), "contents.0.parts.0.text"),
        (
            body(contents=[{"parts": [{"inlineData": {"mimeType": "image/png", "data": "%"}}]}]),
            "contents.0.parts.0.inlineData",
        ),
        (body(generationConfig=[]), "generationConfig"),
        (body(generationConfig={"candidateCount": 9}), "generationConfig.candidateCount"),
        (body(toolConfig={"functionCallingConfig": {"mode": "ANY"}}), "tools"),
    ],
)
def test_refused(request_: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem) as caught:
        generate_content.read(request_, {})
    assert (caught.value.status, caught.value.param) == (400, named)
    assert named in caught.value.message


def test_an_empty_body_is_allowed() -> None:
    assert generate_content.read({}, {}).text == ""


def test_both_spellings() -> None:
    for blob, config in (
        ({"inlineData": {"mimeType": "image/png", "data": DATA}}, {"generationConfig": {"candidateCount": 2}}),
        ({"inline_data": {"mime_type": "image/png", "data": DATA}}, {"generation_config": {"candidate_count": 2}}),
    ):
        prompt = generate_content.read({"contents": {"parts": [blob, {"text": "Look"}]}, **config}, {})
        assert (prompt.choices, prompt.text, list(map(str, prompt.media))) == (2, "Look", ["image/png, 68 bytes"])


def test_history_and_files() -> None:
    prompt = generate_content.read(
        {
            "systemInstruction": {"parts": [{"text": "Be brief"}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [{"text": "Weather?"}, {"fileData": {"fileUri": "gs://a", "mimeType": "video/mp4"}}],
                },
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
            ],
        },
        {},
    )
    assert prompt.text == "Weather?"
    assert list(map(str, prompt.media)) == ["video/mp4 at gs://a"]
    assert prompt.words == ("Be brief", "Weather?", '{"name":"f","args":{}}', '{"name":"f","response":{}}')


def test_demands() -> None:
    def read(**more: Any) -> Any:
        return generate_content.read(body(**more), {})

    calling: dict[str, Any] = {"mode": "ANY"}
    assert read(tools=FUNCTIONS, toolConfig={"functionCallingConfig": calling}).tool.name == "a"
    calling["allowedFunctionNames"] = ["look"]
    assert read(tools=FUNCTIONS, toolConfig={"functionCallingConfig": calling}).tool.name == "look"
    assert read(tools=FUNCTIONS).tool is None
    calling["allowedFunctionNames"] = ["gone"]
    with pytest.raises(Problem, match="tools"):
        read(tools=FUNCTIONS, toolConfig={"functionCallingConfig": calling})
    assert read(generationConfig={"thinkingConfig": {"includeThoughts": True}}).reasoning
    assert read(generationConfig={"responseSchema": {"type": "OBJECT"}}).schema == {"type": "OBJECT"}


def test_the_stream_adds_up_to_the_reply() -> None:
    script = Script(text=("Yes", ", ", "sure"), reasoning=("Hm", "m"), tool_calls=(ToolCall("f", {"a": 1}),))
    made = answer(script)
    stream = chunks(made)
    reply = generate_content.reply(made)
    parts = reply["candidates"][0]["content"]["parts"]
    assert [sorted(part) for part in parts] == [["text", "thought"], ["text"], ["functionCall", "thoughtSignature"]]
    for thought in (None, True):
        pieces = [part for chunk in stream for part in chunk["candidates"][0]["content"]["parts"]]
        streamed = "".join(part["text"] for part in pieces if "text" in part and part.get("thought") == thought)
        assert streamed == "".join(part["text"] for part in parts if "text" in part and part.get("thought") == thought)
    assert stream[-1]["usageMetadata"] == reply["usageMetadata"]
    assert [chunk["candidates"][0].get("finishReason") for chunk in stream] == [None] * 5 + ["STOP"]


def test_counts_run_up_to_the_total() -> None:
    for usage in (None, Usage(10, 9, reasoning=3, cached=4), Usage(10, 100)):
        stream = chunks(answer(Script(text=("a b", "c", "d"), reasoning=("x", "y"), usage=usage)))
        totals = [chunk["usageMetadata"]["totalTokenCount"] for chunk in stream]
        assert totals == sorted(totals)
        if usage:
            last = stream[-1]["usageMetadata"]
            assert last["totalTokenCount"] == usage.input + usage.output
            assert last["thoughtsTokenCount"] == usage.reasoning
            assert last["candidatesTokenCount"] == usage.output - usage.reasoning
            assert last.get("cachedContentTokenCount", 0) == usage.cached


def test_media_count_by_modality() -> None:
    blobs = [
        {"inlineData": {"mimeType": kind, "data": DATA}} for kind in ("image/png", "image/gif", "audio/wav", "application/pdf")
    ]
    reply = generate_content.reply(answer(Script(), {"contents": [{"parts": [{"text": "two words"}, *blobs]}]}))
    usage = reply["usageMetadata"]
    assert usage["promptTokensDetails"] == [
        {"modality": "TEXT", "tokenCount": 2},
        {"modality": "IMAGE", "tokenCount": 2 * MEDIA_TOKENS},
        {"modality": "AUDIO", "tokenCount": MEDIA_TOKENS},
        {"modality": "DOCUMENT", "tokenCount": MEDIA_TOKENS},
    ]
    assert usage["promptTokenCount"] == sum(detail["tokenCount"] for detail in usage["promptTokensDetails"])


def test_candidates_of_different_length() -> None:
    stream = chunks(answer(Script(text=("A", "a"), alternatives=(("B", "b", "c"), ()))))
    seen = [[(c["index"], c.get("finishReason")) for c in chunk["candidates"]] for chunk in stream]
    assert seen == [[(0, None), (1, None), (2, "STOP")], [(0, "STOP"), (1, None)], [(1, "STOP")]]


def test_no_text_at_all_still_ends() -> None:
    stream = chunks(answer(Script(text="")))
    assert len(stream) == 1
    assert stream[0]["candidates"] == [{"content": {"parts": [], "role": "model"}, "index": 0, "finishReason": "STOP"}]


def test_refused_at_once_or_midway() -> None:
    made = answer(Script(refusal="No."))
    assert chunks(made) == [generate_content.reply(made)]
    assert "candidates" not in chunks(made)[0]
    assert chunks(made)[0]["promptFeedback"]["blockReason"] == "SAFETY"
    midway = generate_content.reply(answer(Script(text="Well", refusal="No.")))["candidates"][0]
    assert (midway["finishReason"], midway["finishMessage"]) == ("SAFETY", "No.")


def test_signature_without_a_call_stands_on_an_empty_text() -> None:
    parts = generate_content.reply(answer(Script(text="a", reasoning="b")))["candidates"][0]["content"]["parts"]
    assert sorted(parts[-1]) == ["text", "thoughtSignature"]
    assert parts[-1]["text"] == ""


def test_lines_end_as_at_google() -> None:
    for event in generate_content.stream(answer(Script(text=("a", "b")))):
        assert event.data.endswith(b"}\r\n\r\n")
        assert event.data.count(b"\n") == 2


def test_an_empty_stream_is_an_empty_list_of_events() -> None:
    assert list(generate_content.listed(iter(()))) == []


def test_as_one_json_list() -> None:
    made = answer(Script(text=("a", "b")))
    elements = list(generate_content.listed(generate_content.stream(made)))
    assert json.loads(b"".join(event.data for event in elements)) == chunks(made)
    for number in (0, 1):
        sent = b"".join(event.data for event in elements[:number])
        failure = generate_content.listed_failure(503, None, "req_1", number)
        assert json.loads(sent + failure.data)[-1]["error"]["status"] == "UNAVAILABLE"
