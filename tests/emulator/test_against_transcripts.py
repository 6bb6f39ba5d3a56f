"""The emulator's streams beside hand-made conforming ones: same events, same order, same keys.

The pieces of each transcript are played back through a script; what is left to differ are ids, times, names of models,
opaque signatures and counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.emulator import (
    Script,
    ToolCall,
    chat_completions,
    generate_content,
    messages,
    responses,
)
from dgrid_async.emulator.answer import compose

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"

VARIES = {
    "id", "item_id", "call_id", "created", "created_at", "model", "modelVersion", "responseId", "system_fingerprint",
    "signature", "thoughtSignature", "encrypted_content", "category", "explanation",
}  # fmt: skip

Event = tuple[str | None, Any]


def transcript(name: str, parse: Callable[[bytes], list[Event]]) -> list[Event]:
    events = parse((TRANSCRIPTS / f"{name}.sse").read_bytes())
    # Pings may come anywhere; where ours comes has its own test.
    return [event for event in events if event[0] != "ping"]


def played(api: Any, script: Script, request: dict[str, Any], parse: Callable[[bytes], list[Event]]) -> list[Event]:
    prompt = api.read(request, {"anthropic-version": "1"})
    body = b"".join(event.data for event in api.stream(compose(prompt, script, request, 1, "req_1")))
    return [event for event in parse(body) if event[0] != "ping"]


def skeleton(value: Any, key: str = "") -> Any:
    """Return the value with all that may vary replaced by the name of its type."""
    if isinstance(value, dict):
        return {name: skeleton(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [skeleton(item, key) for item in value]
    counts = isinstance(value, int) and ("token" in key.lower())
    return type(value).__name__ if key in VARIES or counts else value


def skeletons(events: list[Event]) -> list[Event]:
    return [(name, skeleton(data)) for name, data in events]


def kinds(events: list[Event]) -> list[str]:
    """Return the types in order, with runs of one type as one."""
    order: list[str] = []
    for name, data in events:
        kind = name or (data if isinstance(data, str) else "chunk")
        if not order or order[-1] != kind:
            order.append(kind)
    return order


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every key; lists do not count as a step."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{path}.{name}"
            yield from keys(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from keys(item, path)


# --- messages


def claude_script(events: list[Event]) -> Script:
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[tuple[str, list[str]]] = []
    refused = False
    for _, data in events:
        if data["type"] == "content_block_start" and data["content_block"]["type"] == "tool_use":
            calls.append((data["content_block"]["name"], []))
        delta = data.get("delta", {})
        text += [delta["text"]] if delta.get("type") == "text_delta" else []
        reasoning += [delta["thinking"]] if delta.get("type") == "thinking_delta" else []
        if delta.get("partial_json"):
            calls[-1][1].append(delta["partial_json"])
        refused = refused or delta.get("stop_reason") == "refusal"
    return Script(
        text=() if refused else tuple(text),
        refusal=tuple(text) if refused else None,
        reasoning=tuple(reasoning),
        tool_calls=tuple(ToolCall(name, tuple(pieces)) for name, pieces in calls),
    )


CLAUDE = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("name", ["text", "text_unicode", "tool_use", "parallel_tools", "refusal"])
def test_messages(name: str, parse: Any) -> None:
    events = transcript(f"messages/{name}", parse)
    assert skeletons(played(messages, claude_script(events), CLAUDE, parse)) == skeletons(events)


def test_messages_thinking(parse: Any) -> None:
    events = transcript("messages/thinking", parse)
    # The transcript has a block of redacted thoughts between the others; without it the two are alike.
    plain = [
        (name, {**data, "index": 1} if data.get("index") == 2 else data) for name, data in events if data.get("index") != 1
    ]
    assert len(plain) == len(events) - 2
    assert skeletons(played(messages, claude_script(events), CLAUDE, parse)) == skeletons(plain)


def test_messages_ping_comes_after_the_start(parse: Any) -> None:
    first = [name for name, _ in parse((TRANSCRIPTS / "messages/text.sse").read_bytes())][:3]
    prompt = messages.read(CLAUDE, {"anthropic-version": "1"})
    stream = messages.stream(compose(prompt, Script(text="a"), CLAUDE, 1, "req_1"))
    assert [name for name, _ in parse(b"".join(event.data for event in stream))][:3] == first


# --- chat completions


def chat_script(events: list[Event]) -> Script:
    texts: dict[int, list[str]] = {0: []}
    reasoning: list[str] = []
    refusal: list[str] = []
    calls: list[tuple[str, list[str]]] = []
    for _, data in events:
        for choice in data["choices"] if isinstance(data, dict) else ():
            delta = choice["delta"]
            texts.setdefault(choice["index"], []).extend([delta["content"]] if delta.get("content") else [])
            reasoning += [delta["reasoning_content"]] if delta.get("reasoning_content") else []
            refusal += [delta["refusal"]] if delta.get("refusal") else []
            for call in delta.get("tool_calls", ()):
                if "name" in call["function"]:
                    calls.append((call["function"]["name"], []))
                else:
                    calls[-1][1].append(call["function"]["arguments"])
    return Script(
        text=tuple(texts.pop(0)),
        alternatives=tuple(tuple(text) for text in texts.values()),
        reasoning=tuple(reasoning),
        refusal=tuple(refusal) or None,
        tool_calls=tuple(ToolCall(name, tuple(pieces)) for name, pieces in calls),
    )


CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    "name", ["text", "text_unicode", "parallel_tool_calls", "refusal", "reasoning_content", "usage_empty_choices"]
)
def test_chat_completions(name: str, parse: Any) -> None:
    events = transcript(f"chat_completions/{name}", parse)
    with_usage = name == "usage_empty_choices"
    if not with_usage:
        # One transcript has a null usage on its last chunk alone.
        events = [(n, {k: v for k, v in d.items() if k != "usage"} if isinstance(d, dict) else d) for n, d in events]
    request = CHAT | ({"stream_options": {"include_usage": True}} if with_usage else {})
    assert skeletons(played(chat_completions, chat_script(events), request, parse)) == skeletons(events)


def test_chat_completions_n2(parse: Any) -> None:
    events = transcript("chat_completions/n2_choices", parse)
    ours = skeletons(played(chat_completions, chat_script(events), CHAT | {"n": 2}, parse))
    # In which order two choices take turns is free; within one choice it is not.
    for index in (0, 1):
        assert [e for e in ours if isinstance(e[1], dict) and e[1]["choices"][0]["index"] == index] == [
            e for e in skeletons(events) if isinstance(e[1], dict) and e[1]["choices"][0]["index"] == index
        ]
    assert ours[-1] == events[-1] == (None, "[DONE]")


# --- responses


def responses_script(events: list[Event], **more: Any) -> Script:
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[tuple[str, list[str]]] = []
    for _, data in events:
        match data["type"]:
            case "response.output_text.delta":
                text.append(data["delta"])
            case "response.reasoning_summary_text.delta" if data["summary_index"] == 0:
                reasoning.append(data["delta"])
            case "response.output_item.added" if data["item"]["type"] == "function_call":
                calls.append((data["item"]["name"], []))
            case "response.function_call_arguments.delta":
                calls[-1][1].append(data["delta"])
    return Script(
        text=tuple(text),
        reasoning=tuple(reasoning),
        tool_calls=tuple(ToolCall(name, tuple(pieces)) for name, pieces in calls),
        **more,
    )


RESPONSES = {"model": "m", "input": "Hi"}


@pytest.mark.parametrize("name", ["text", "function_call"])
def test_responses(name: str, parse: Any) -> None:
    events = transcript(f"responses/{name}", parse)
    assert skeletons(played(responses, responses_script(events), RESPONSES, parse)) == skeletons(events)


def test_responses_reasoning(parse: Any) -> None:
    events = transcript("responses/reasoning_summary", parse)
    request = RESPONSES | {
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    ours = skeletons(played(responses, responses_script(events), request, parse))
    # The transcript's summary has a second part, ours has one; the numbers shift by its events.
    theirs = skeletons([event for event in events if event[1].get("summary_index") != 1])
    for event in (*ours, *theirs):
        event[1].pop("sequence_number")
        for item in (event[1].get("item", {}), *event[1].get("response", {}).get("output", ())):
            del item.get("summary", [])[1:]
    assert ours == theirs


@pytest.mark.parametrize(("name", "reason"), [("incomplete", "length"), ("failed", "failed")])
def test_responses_other_ends(name: str, reason: str, parse: Any) -> None:
    events = transcript(f"responses/{name}", parse)
    request = RESPONSES | {"max_output_tokens": 4}
    ours = played(responses, responses_script(events, stop_reason=reason), request, parse)
    theirs = list(events)
    order = kinds(theirs)
    if name == "failed":
        # The transcript fails in mid-text, ours once the text is said.
        order[-1:-1] = ["response.output_text.done", "response.content_part.done"]
    assert kinds(ours) == order
    assert set(keys(ours[-1][1])) - {".response.output.content.logprobs"} == set(keys(theirs[-1][1]))


# --- generate content


def gemini_script(events: list[Event], **more: Any) -> Script:
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    for _, data in events:
        for part in data["candidates"][0]["content"]["parts"]:
            if "functionCall" in part:
                calls.append(ToolCall(part["functionCall"]["name"], part["functionCall"]["args"]))
            elif part.get("thought"):
                reasoning.append(part["text"])
            elif part["text"]:
                text.append(part["text"])
    return Script(text=tuple(text), reasoning=tuple(reasoning), tool_calls=tuple(calls), **more)


GEMINI = {"contents": [{"parts": [{"text": "Hi"}]}]}


@pytest.mark.parametrize("name", ["text", "thoughts"])
def test_generate_content(name: str, parse: Any) -> None:
    events = transcript(f"generate_content/{name}", parse)
    assert skeletons(played(generate_content, gemini_script(events), GEMINI, parse)) == skeletons(events)


def test_generate_content_function_call(parse: Any) -> None:
    events = transcript("generate_content/function_call", parse)
    script = gemini_script(events)
    ours = skeletons(played(generate_content, script, GEMINI, parse))
    for number, (_, data) in enumerate(skeletons(events)):
        # The transcript sends its counts at the end only, and signs without having thought aloud.
        data["candidates"][0]["content"]["parts"][0].pop("thoughtSignature", None)
        assert ours[number][1]["candidates"] == data["candidates"]
        assert set(keys(data)) <= set(keys(ours[number][1]))


def test_generate_content_blocked_prompt(parse: Any) -> None:
    ((_, theirs),) = transcript("generate_content/safety_prompt_block", parse)
    ((_, ours),) = played(generate_content, Script(refusal="No."), GEMINI, parse)
    assert set(keys(theirs)) <= set(keys(ours))
    assert set(keys(ours)) - set(keys(theirs)) == {".promptFeedback.blockReasonMessage"}


# --- all


def test_lines_end_alike() -> None:
    """Google ends its lines with CR LF, the others with LF."""
    for path, api, request in (
        ("messages/text", messages, CLAUDE),
        ("chat_completions/text", chat_completions, CHAT),
        ("responses/text", responses, RESPONSES),
        ("generate_content/text", generate_content, GEMINI),
    ):
        theirs = (TRANSCRIPTS / f"{path}.sse").read_bytes()
        prompt = api.read(request, {"anthropic-version": "1"})
        ours = b"".join(event.data for event in api.stream(compose(prompt, Script(text="a"), request, 1, "req_1")))
        assert (b"\r\n" in ours) == (b"\r\n" in theirs)
        assert ours.endswith(theirs[-4:] if b"\r" in theirs else b"\n\n")
        assert (b"event: " in ours) == (b"event: " in theirs)


def test_every_transcript_is_listed() -> None:
    index = json.loads((TRANSCRIPTS / "index.json").read_text())
    listed = {f"{folder}/{name}" for folder, names in index.items() for name in names}
    present = {f"{path.parent.name}/{path.stem}" for path in TRANSCRIPTS.glob("*/*.sse")}
    assert present == listed
