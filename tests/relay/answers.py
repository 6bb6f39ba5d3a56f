"""What an answer's frames come to when a page joins them, and what its reply says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from dgrid_async.body import Body
from dgrid_async.relay.frames import Framer
from tests.properties.reading import Head

__all__ = ["SLICES", "events_of", "framed", "joined", "said_by_frames", "said_by_reply"]

SLICES = ("messages", "chat_completions", "responses", "generate_content")
Said = tuple[str, str, list[tuple[str, Any]]]


def events_of(name: str, data: bytes) -> tuple[list[Any], Body[Any, Any]]:
    """Return the events of a stream's bytes, and the body they came of."""
    body = Body(import_module(f"dgrid_async.apis.{name}.endpoint").ENDPOINT, Head(), 1 << 24)
    body.feed(data)
    if not body.over:
        body.end()
    events = []
    while (event := body.take()) is not None:
        events.append(event)
    return events, body


def framed(name: str, data: bytes, **options: Any) -> tuple[list[Any], Body[Any, Any]]:
    """Return the frames of a stream's bytes from start to end, and the body they came of."""
    events, body = events_of(name, data)
    framer = Framer(name, **options)
    frames = [frame for event in events for frame in framer.frames(event)]
    verdict = body.verdict()
    frames += framer.end(body.usage) if verdict is None else framer.fail(verdict, body.usage)
    return frames, body


def joined(frames: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """Return the blocks that a page shows, by their numbers; it asserts that they are told in order."""
    blocks: dict[int, dict[str, Any]] = {}
    for frame in frames:
        if "block" not in frame:
            continue
        number, kind = frame["block"], frame["type"]
        if number not in blocks:
            assert number == len(blocks)
            assert kind in {"text", "reasoning", "tool_call"}
            blocks[number] = {**frame, "text": frame.get("text", ""), "ended": False}
            continue
        block = blocks[number]
        assert block["choice"] == frame["choice"]
        assert not block["ended"]
        if kind == "tool_end":
            assert block["type"] == "tool_call"
            block["ended"] = True
        else:
            assert kind == ("tool_arguments" if block["type"] == "tool_call" else block["type"])
            block["text"] += frame["text"]
    return blocks


def said_by_frames(frames: Iterable[Any]) -> Said:
    """Return the first choice's text, reasoning, and calls with their arguments."""
    blocks = [block for block in joined(frames).values() if block["choice"] == 0]
    text = "".join(block["text"] for block in blocks if block["type"] == "text" and not block.get("refusal"))
    reasoning = "".join(block["text"] for block in blocks if block["type"] == "reasoning")
    calls = [(block["name"], _value(block["text"])) for block in blocks if block["type"] == "tool_call"]
    return text, reasoning, sorted(calls, key=repr)


def said_by_reply(name: str, reply: Any) -> Said:
    """Return the same of a reply."""
    made = {"messages": _message, "chat_completions": _completion, "responses": _response, "generate_content": _content}
    reasoning, calls = made[name](reply.to_dict())
    return reply.text, reasoning, sorted(((call, _value(arguments)) for call, arguments in calls), key=repr)


def _value(arguments: Any) -> Any:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return arguments or None
    return arguments or None


def _message(body: Any) -> tuple[str, list[tuple[str, Any]]]:
    content = body["content"]
    calls = [(block["name"], block.get("input")) for block in content if block["type"].endswith("tool_use")]
    return "".join(block["thinking"] for block in content if block["type"] == "thinking"), calls


def _completion(body: Any) -> tuple[str, list[tuple[str, Any]]]:
    choices = [choice for choice in body["choices"] if choice["index"] == 0]
    message = choices[0]["message"] if choices else {}
    calls = []
    for call in message.get("tool_calls") or ():
        made = call.get("custom") or call.get("function") or {}
        calls.append((made.get("name", ""), made.get("arguments", made.get("input"))))
    return message.get("reasoning_content") or message.get("reasoning") or "", calls


def _response(body: Any) -> tuple[str, list[tuple[str, Any]]]:
    reasoning, calls = "", []
    for item in body["output"]:
        if item["type"] == "reasoning":
            parts = [*(item.get("content") or ()), *(item.get("summary") or ())]
            reasoning += "".join(part["text"] for part in parts)
        elif item["type"].endswith("_call"):
            fields = [item[field] for field in ("arguments", "input", "code", "action") if item.get(field)]
            calls.append((item.get("name") or item["type"].removesuffix("_call"), fields[0] if fields else None))
    return reasoning, calls


def _content(body: Any) -> tuple[str, list[tuple[str, Any]]]:
    reasoning, calls = "", []
    for place, candidate in enumerate(body.get("candidates") or ()):
        if candidate.get("index", place) != 0:
            continue
        for part in (candidate.get("content") or {}).get("parts") or ():
            if part.get("thought") and part.get("text"):
                reasoning += part["text"]
            elif "functionCall" in part:
                calls.append((part["functionCall"].get("name", ""), part["functionCall"].get("args")))
            elif "executableCode" in part:
                calls.append(("code_execution", part["executableCode"].get("code")))
    return reasoning, calls
