"""Claude's `POST /v1/messages`: a request read, a reply and a stream written, as raw JSON.

Source: https://docs.claude.com/en/api/messages and https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dgrid_async.emulator import failures
from dgrid_async.emulator.answer import Answer
from dgrid_async.emulator.problems import Problem, must_be, must_have, roles_must_be
from dgrid_async.emulator.prompt import Media, Prompt, Tool, media_from_base64, media_from_url
from dgrid_async.emulator.sse import Sse, encode, named

__all__ = ["failure", "failure_sse", "read", "reply", "stream"]

_ROLES = ("user", "assistant", "system")
_STOP_REASONS = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "content_filter": "refusal",
    "tool": "tool_use",
}


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Prompt:
    """Return what the request asks for.

    Raises:
        Problem: 400, naming the header or the field that is missing or of a wrong type.
    """
    if not headers.get("anthropic-version"):
        raise Problem(400, "anthropic-version: header is required", param="anthropic-version")
    must_have(body, "model", str)
    must_have(body, "max_tokens", int, least=1)
    must_have(body, "messages", list)
    must_be(body, "stream", bool)
    must_be(body, "tools", list)
    must_be(body, "tool_choice", dict)
    must_be(body, "system", str, list)
    must_be(body, "thinking", dict)
    roles_must_be(body["messages"], _ROLES, "messages")
    words: list[str] = []
    media: list[Media] = []
    _content(body.get("system"), "system", words, media)
    last = ""
    for index, message in enumerate(body["messages"]):
        place = f"messages.{index}.content"
        must_have(message, "content", str, list, place=f"messages.{index}.")
        said = _content(message["content"], place, words, media)
        if message["role"] == "user" and said:
            last = said
    return Prompt(
        model=body["model"],
        text=last,
        words=tuple(words),
        media=tuple(media),
        tool=_tool(body),
        reasoning=(body.get("thinking") or {}).get("type") in {"enabled", "adaptive"},
        schema=_schema(body),
    )


def reply(answer: Answer) -> dict[str, Any]:
    """Return the whole message."""
    content: list[dict[str, Any]] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": "".join(answer.reasoning), "signature": answer.signature})
    if text := _said(answer):
        content.append({"type": "text", "text": "".join(text)})
    content.extend(
        {"type": "tool_use", "id": call.id("toolu_"), "name": call.name, "input": call.parsed()} for call in answer.calls
    )
    return _message(answer, content) | _stop(answer) | {"usage": _usage(answer, answer.usage.output)}


def stream(answer: Answer) -> Iterator[Sse]:
    """Yield the events from message_start to message_stop."""
    start = _message(answer, []) | {"stop_reason": None, "stop_sequence": None, "usage": _usage(answer, 1, thought=0)}
    yield named({"type": "message_start", "message": start})
    yield named({"type": "ping"})
    for index, (shell, deltas) in enumerate(_blocks(answer)):
        yield named({"type": "content_block_start", "index": index, "content_block": shell})
        for delta in deltas:
            yield named({"type": "content_block_delta", "index": index, "delta": delta})
        yield named({"type": "content_block_stop", "index": index})
    usage: dict[str, Any] = {"output_tokens": answer.usage.output}
    if answer.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": answer.usage.reasoning}
    yield named({"type": "message_delta", "delta": _stop(answer), "usage": usage}, ends=True)
    yield named({"type": "message_stop"}, ends=True)


def failure(status: int, message: str | None, request_id: str, param: str | None = None) -> dict[str, Any]:
    """Return an error body; the format has no place for `param`."""
    del param
    return failures.claude(status, message, request_id)


def failure_sse(status: int, message: str | None, request_id: str, number: int) -> Sse:
    """Return an error within a stream."""
    del number
    return Sse(b"event: error\ndata: %b\n\n" % encode(failure(status, message, request_id)))


def _content(content: Any, place: str, words: list[str], media: list[Media]) -> str:
    """Gather the texts and media of one content field; return its own texts, joined."""
    if isinstance(content, str):
        words.append(content)
        return content
    said: list[str] = []
    for index, block in enumerate(content or ()):
        where = f"{place}.{index}"
        if not isinstance(block, dict):
            raise Problem(400, f"{where}: must be an object", param=where)
        must_have(block, "type", str, place=f"{where}.")
        match block["type"]:
            case "text":
                must_be(block, "text", str, place=f"{where}.")
                said.append(block.get("text") or "")
                words.append(said[-1])
            case "image" | "document":
                must_have(block, "source", dict, place=f"{where}.")
                media.extend(_source(block["source"], block["type"], f"{where}.source", words))
            case "tool_result":
                _content(block.get("content"), f"{where}.content", words, media)
            case "tool_use":
                words.append(encode(block.get("input")).decode())
    return " ".join(said)


def _source(source: Mapping[str, Any], kind: str, place: str, words: list[str]) -> Iterator[Media]:
    match source.get("type"):
        case "base64":
            yield media_from_base64(source.get("data"), source.get("media_type"), f"{place}.data")
        case "url":
            yield media_from_url(source.get("url"), kind, f"{place}.url")
        case "file":
            yield Media(kind, None, str(source.get("file_id")))
        case "text":
            text = str(source.get("data") or "")
            words.append(text)
            yield Media(str(source.get("media_type") or "text/plain"), len(text.encode(errors="replace")))
        case "content":
            media: list[Media] = []
            _content(source.get("content"), f"{place}.content", words, media)
            yield from media
        case other:
            raise Problem(400, f"{place}.type: {other!r} is no kind of source", param=f"{place}.type")


def _tool(body: Mapping[str, Any]) -> Tool | None:
    choice = body.get("tool_choice") or {}
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, dict) and tool.get("name")]
    if choice.get("type") == "tool":
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
        if not tools:
            raise Problem(400, f"tool_choice.name: no tool {choice.get('name')!r} among tools", param="tool_choice.name")
    elif choice.get("type") != "any":
        return None
    elif not tools:
        raise Problem(400, "tools: field required where tool_choice is any", param="tools")
    return Tool(tools[0]["name"], tools[0].get("input_schema") or {})


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = body.get("output_format") or (body.get("output_config") or {}).get("format")
    return wanted.get("schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None


def _message(answer: Answer, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
    }


def _said(answer: Answer) -> tuple[str, ...]:
    return (*answer.texts[0], *answer.refusal)


def _blocks(answer: Answer) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each content block's empty shell and its deltas."""
    if answer.reasoning:
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in answer.reasoning]
        signature = {"type": "signature_delta", "signature": answer.signature}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signature]
    if text := _said(answer):
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in text]
    for call in answer.calls:
        shell = {"type": "tool_use", "id": call.id("toolu_"), "name": call.name, "input": {}}
        # The real service opens every call with an empty piece, and a call without arguments consists of it alone.
        yield shell, [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *call.pieces)]


def _stop(answer: Answer) -> dict[str, Any]:
    reason = answer.stop_reason or ("refusal" if answer.refusal else "tool" if answer.calls else "end")
    stop: dict[str, Any] = {
        "stop_reason": _STOP_REASONS.get(reason, reason),
        "stop_sequence": answer.stop_sequence,
    }
    if answer.refusal:
        stop["stop_details"] = {
            "type": "refusal",
            "category": "general_harms",
            "explanation": "".join(answer.refusal),
        }
    return stop


def _usage(answer: Answer, output: int, *, thought: int | None = None) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": answer.usage.input - answer.usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.usage.cached,
        "output_tokens": output,
    }
    if answer.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": answer.usage.reasoning if thought is None else thought}
    return usage
