"""The frames of an answer, joined by a page, are the reply: in all formats, also where gateways bend them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.budgets import brief, long
from tests.properties.streams import STREAMS
from tests.relay.answers import SLICES, framed, joined, said_by_frames, said_by_reply

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
ALL = [(name, path.name) for name in SLICES for path in sorted((TRANSCRIPTS / name).glob("*.sse"))]


def check(name: str, data: bytes) -> list[Any]:
    """Assert what is true of the frames of every answer."""
    frames, body = framed(name, data)
    assert [frame["id"] for frame in frames] == list(range(1, len(frames) + 1))
    last = [frame["type"] for frame in frames if frame["type"] in {"finish", "error"}]
    assert last == [frames[-1]["type"]] == ["error" if body.verdict() else "finish"]
    starts = [place for place, frame in enumerate(frames) if frame["type"] == "start"]
    assert starts in ([0], [])
    reply = body.snapshot()
    if reply is not None:
        assert said_by_frames(frames) == said_by_reply(name, reply)
    if body.verdict() is None:
        assert all(block["ended"] for block in joined(frames).values() if block["type"] == "tool_call")
    return frames


@pytest.mark.parametrize(("name", "title"), ALL)
def test_a_recorded_answer(name: str, title: str) -> None:
    check(name, (TRANSCRIPTS / name / title).read_bytes())


@pytest.mark.parametrize("name", SLICES)
@brief(12)
@given(data=st.data())
def test_any_answer(name: str, data: Any) -> None:
    check(name, data.draw(STREAMS[name]).data())


@pytest.mark.slow
@pytest.mark.parametrize("name", SLICES)
@long(200)
@given(data=st.data())
def test_any_of_many_answers(name: str, data: Any) -> None:
    check(name, data.draw(STREAMS[name]).data())


# ------------------------------------------------------------------------------------------------------ what gateways bend


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def completion(*deltas: dict[str, Any], finish: str = "stop") -> bytes:
    choices = [{"index": 0, "delta": delta} for delta in deltas] + [{"index": 0, "delta": {}, "finish_reason": finish}]
    return sse(*({"object": "chat.completion.chunk", "id": "c", "model": "m", "choices": [choice]} for choice in choices))


def call(name: str | None = None, arguments: str = "", index: int | None = 0, call_id: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    piece = {"function": function} | ({} if index is None else {"index": index}) | ({"id": call_id} if call_id else {})
    return {"tool_calls": [piece]}


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([call("f", '{"a', call_id="1"), call(None, '":1}')], [("f", {"a": 1})]),
        ([call("f", '{"a":', call_id="1"), call("f", "1}", call_id="1")], [("f", {"a": 1})]),  # name and id again
        ([call("f", '{"a":1}', 0, "1"), call("g", '{"b":2}', 0, "2")], [("f", {"a": 1}), ("g", {"b": 2})]),  # one index for two
        ([call("f", '{"a":', None, "1"), call(None, "1}", None)], [("f", {"a": 1})]),  # no index
        ([call(None, '{"a":'), call("f", "1}", call_id="1")], [("f", {"a": 1})]),  # the name comes late
        ([call("f", "{}", 0, "1"), call("g", "{", 1, "2"), call(None, "}", 1)], [("f", None), ("g", None)]),
    ],
)
def test_pieces_of_calls_find_their_call(deltas: list[dict[str, Any]], calls: list[Any]) -> None:
    frames = check("chat_completions", completion(*deltas, finish="tool_calls"))
    assert said_by_frames(frames)[2] == calls
    kinds = [frame["type"] for frame in frames if "block" in frame]
    assert kinds[0] == "tool_call"  # never arguments before their call
    assert kinds.count("tool_end") == len(calls)


def test_a_refusal_is_text_that_says_so() -> None:
    frames = check("chat_completions", completion({"refusal": "I "}, {"refusal": "won't"}))
    assert [frame.get("refusal") for frame in frames if frame["type"] == "text"] == [True, True]
    assert joined(frames)[0]["text"] == "I won't"


def test_choices_are_told_apart() -> None:
    chunks = [
        {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": {"content": text}}]}
        for index, text in ((0, "a"), (1, "b"), (0, "c"))
    ]
    ends = [
        {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": {}, "finish_reason": why}]}
        for index, why in ((0, "stop"), (1, "length"))
    ]
    frames, _ = framed("chat_completions", sse(*chunks, *ends))
    assert {(block["choice"], block["text"]) for block in joined(frames).values()} == {(0, "ac"), (1, "b")}
    assert frames[-1]["choices"] == [
        {"choice": 0, "reason": "stop", "native": "stop"},
        {"choice": 1, "reason": "length", "native": "length"},
    ]


def message(*events: dict[str, Any], reason: str = "end_turn") -> bytes:
    start = {"type": "message_start", "message": {"id": "m1", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 0}}}
    stop = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}
    return sse(start, *events, stop, {"type": "message_stop"})


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


TEXT, TOOL = {"type": "text", "text": ""}, {"type": "tool_use", "name": "f", "id": "t", "input": {}}


@pytest.mark.parametrize(
    "events",
    [
        [
            begin(0, **TEXT),
            delta(0, type="text_delta", text="a"),
            stop(0),
            begin(0, **TEXT),
            delta(0, type="text_delta", text="b"),
        ],
        [delta(0, type="text_delta", text="a"), begin(0, **TEXT), delta(0, type="text_delta", text="b")],
        [begin(0, type="tool_use", name="f", id="t", input={"a": 1}), stop(0)],
        [
            begin(0, type="tool_use", name="f", id="t", input={"a": 1}),
            delta(0, type="input_json_delta", partial_json="{}"),
            stop(0),
        ],
        [
            begin(0, **TOOL),
            stop(0),
            begin(0, **{**TOOL, "id": "u"}),
            delta(0, type="input_json_delta", partial_json="{}"),
            stop(0),
        ],
        [begin(0, **TOOL), begin(0, **TOOL), delta(0, type="input_json_delta", partial_json='{"a":1}'), stop(0)],
        [delta(0, type="input_json_delta", partial_json='{"a":1}'), begin(0, **TOOL), stop(0)],
        [begin(0, **TEXT), delta(0, type="thinking_delta", thinking="hm"), delta(0, type="text_delta", text="a")],
    ],
    ids=[
        "index-twice",
        "delta-early",
        "input-at-once",
        "input-then-text",
        "two-tools",
        "start-twice",
        "tool-early",
        "kinds-mixed",
    ],
)
def test_blocks_of_messages_are_the_accumulators(events: list[dict[str, Any]]) -> None:
    check("messages", message(*events, reason="tool_use"))


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def test_a_response_that_is_told_only_whole() -> None:
    output = [
        item("reasoning", id="r", summary=[{"type": "summary_text", "text": "hm"}]),
        item("message", id="m", role="assistant", content=[{"type": "output_text", "text": "yes", "annotations": []}]),
        item("function_call", id="f", call_id="c", name="f", arguments='{"a":1}'),
    ]
    response = {"id": "resp", "model": "m", "status": "completed", "output": output}
    for events in (
        [{"type": "response.completed", "response": response}],
        [
            *({"type": "response.output_item.done", "output_index": n, "item": each} for n, each in enumerate(output)),
            {"type": "response.completed", "response": response},
        ],
    ):
        frames = check("responses", sse(*events))
        assert said_by_frames(frames) == ("yes", "hm", [("f", {"a": 1})])
        assert frames[-1]["reason"] == "tool_calls"


def test_what_comes_whole_after_its_deltas_is_not_said_twice() -> None:
    place = {"output_index": 0, "item_id": "m", "content_index": 0}
    whole = item("message", id="m", role="assistant", content=[{"type": "output_text", "text": "abcd", "annotations": []}])
    frames, _ = framed(
        "responses",
        sse(
            {"type": "response.output_item.added", "output_index": 0, "item": {**whole, "content": []}},
            {"type": "response.output_text.delta", **place, "delta": "ab"},
            {"type": "response.output_text.done", **place, "text": "abc"},
            {"type": "response.output_item.done", "output_index": 0, "item": whole},
            {"type": "response.completed", "response": {"id": "x", "status": "completed", "output": [whole]}},
        ),
    )
    assert [frame["text"] for frame in frames if frame["type"] == "text"] == ["ab", "c", "d"]


def content(*parts: dict[str, Any], reason: str = "STOP") -> bytes:
    events = [{"candidates": [{"content": {"parts": [part]}, "index": 0}], "modelVersion": "m"} for part in parts]
    return sse(*events, {"candidates": [{"finishReason": reason, "index": 0}]})


def test_a_gemini_call_in_pieces_is_one_call() -> None:
    pieces = [
        {"functionCall": {"name": "f", "id": "1", "willContinue": True}},
        {
            "functionCall": {
                "partialArgs": [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}],
                "willContinue": True,
            }
        },
        {"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "y"}], "willContinue": True}},
        {"functionCall": {"partialArgs": [{"jsonPath": "$.b", "numberValue": 2}]}},
    ]
    frames = check("generate_content", content({"text": "so "}, *pieces, {"text": "done"}))
    assert said_by_frames(frames) == ("so done", "", [("f", {"a": "xy", "b": 2})])
    assert [frame["type"] for frame in frames if frame.get("block") == 1] == ["tool_call", "tool_arguments", "tool_end"]
    assert frames[-1] == {"id": len(frames), "type": "finish", "reason": "tool_calls", "native": "STOP"}


def test_a_gemini_call_that_is_never_ended_is_told_at_the_end() -> None:
    piece = {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "boolValue": True}], "willContinue": True}}
    assert said_by_frames(framed("generate_content", content(piece))[0])[2] == [("f", {"a": True})]


def test_a_blocked_prompt_is_filtered() -> None:
    frames = check("generate_content", sse({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert (frames[-1]["reason"], frames[-1]["native"]) == ("filtered", "SAFETY")


@pytest.mark.parametrize("name", SLICES)
def test_events_that_are_not_known_have_no_frame(name: str) -> None:
    data = {"messages": message, "chat_completions": completion, "generate_content": content}.get(name, lambda: b"")()
    if name == "responses":
        data = sse({"type": "response.completed", "response": {"id": "x", "status": "completed", "output": []}})
    plain, _ = framed(name, data)
    strange, _ = framed(name, sse({"type": "of.tomorrow", "object": "tomorrow", "x": 1}) + data)
    assert [frame["type"] for frame in strange] == [frame["type"] for frame in plain]
