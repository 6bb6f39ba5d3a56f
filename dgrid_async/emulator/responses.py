"""OpenAI's `POST /v1/responses`: a request read, a reply and a stream written, as raw JSON.

Source: https://platform.openai.com/docs/api-reference/responses and .../responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from dgrid_async.emulator import failures
from dgrid_async.emulator.answer import Answer, Call
from dgrid_async.emulator.problems import Problem, must_be, must_have, roles_must_be
from dgrid_async.emulator.prompt import Media, Prompt, Tool, media_from_base64, media_from_url
from dgrid_async.emulator.sse import Sse, named

__all__ = ["failure", "failure_sse", "read", "reply", "stream"]

_ROLES = ("user", "assistant", "system", "developer")
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_COMPLETE = {None, "end", "tool", "stop_sequence", "completed"}

_Item = dict[str, Any]
_Event = dict[str, Any]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Prompt:
    """Return what the request asks for.

    Raises:
        Problem: 400, naming the field that is missing or of a wrong type.
    """
    del headers
    must_have(body, "model", str)
    if not any(body.get(name) for name in ("prompt", "previous_response_id", "conversation")):
        must_have(body, "input", str, list)
    must_be(body, "input", str, list)
    must_be(body, "instructions", str)
    must_be(body, "stream", bool)
    must_be(body, "tools", list)
    must_be(body, "tool_choice", str, dict)
    must_be(body, "text", dict)
    must_be(body, "reasoning", dict)
    must_be(body, "max_output_tokens", int, least=1)
    given = body.get("input") or []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    roles_must_be(items, _ROLES, "input", required=False)
    words: list[str] = [body["instructions"]] if body.get("instructions") else []
    media: list[Media] = []
    last = ""
    for index, item in enumerate(items):
        said = _content(item, index, words, media)
        if item.get("role") == "user" and said:
            last = said
    return Prompt(
        model=body["model"],
        text=last,
        words=tuple(words),
        media=tuple(media),
        tool=_tool(body),
        reasoning=bool((body.get("reasoning") or {}).get("summary")),
        schema=_schema(body),
    )


def reply(answer: Answer) -> dict[str, Any]:
    """Return the whole response."""
    status = _status(answer)
    output = [_closed(answer, item, status) for item in _items(answer)]
    return _response(answer, status, [] if status == "failed" else output)


def stream(answer: Answer) -> Iterator[Sse]:
    """Yield the events from response.created to the terminal one, numbered from 0."""
    numbers = count()

    def event(data: _Event, *, ends: bool = False) -> Sse:
        return named({"type": data.pop("type"), "sequence_number": next(numbers), **data}, ends=ends)

    status = _status(answer)
    yield event({"type": "response.created", "response": _response(answer, "in_progress", [])})
    yield event({"type": "response.in_progress", "response": _response(answer, "in_progress", [])})
    output: list[_Item] = []
    for index, shell in enumerate(_items(answer)):
        yield event({"type": "response.output_item.added", "output_index": index, "item": shell})
        place = {"item_id": shell["id"], "output_index": index}
        match shell["type"]:
            case "reasoning":
                inside = _reasoning_events(answer, place)
            case "message":
                inside = _message_events(answer, place)
            case _:
                inside = _call_events(answer.calls[len(answer.calls) - (_item_count(answer) - index)], place)
        for data in inside:
            yield event(data)
        if status == "failed" and index == _item_count(answer) - 1:
            # A failed response leaves its last item open.
            break
        output.append(_closed(answer, shell, status))
        yield event({"type": "response.output_item.done", "output_index": index, "item": output[-1]})
    last = {"type": f"response.{status}", "response": _response(answer, status, [] if status == "failed" else output)}
    yield event(last, ends=True)


def failure(status: int, message: str | None, request_id: str, param: str | None = None) -> dict[str, Any]:
    """Return an error body; the format has no place for the request id."""
    del request_id
    return failures.openai(status, message, param)


def failure_sse(status: int, message: str | None, request_id: str, number: int) -> Sse:
    """Return an error within a stream; `number` is its place in the sequence."""
    del request_id
    error = failures.openai(status, message)["error"]
    code = error["code"] or error["type"]
    return named({"type": "error", "sequence_number": number, "code": code, "message": error["message"], "param": None})


def _content(item: Mapping[str, Any], index: int, words: list[str], media: list[Media]) -> str:
    """Gather the texts and media of one input item; return a message's own texts, joined."""
    place = f"input.{index}"
    kind = item.get("type") or "message"
    if kind != "message":
        words.extend(item[name] for name in ("arguments", "output") if isinstance(item.get(name), str))
        parts = item.get("output")
        return _parts(parts, f"{place}.output", words, media) if isinstance(parts, list) else ""
    must_have(item, "role", str, place=f"{place}.")
    must_be(item, "content", str, list, place=f"{place}.")
    content = item.get("content")
    if content is None:
        raise Problem(400, f"{place}.content: field required", param=f"{place}.content")
    if isinstance(content, str):
        words.append(content)
        return content
    return _parts(content, f"{place}.content", words, media)


def _parts(parts: list[Any], place: str, words: list[str], media: list[Media]) -> str:
    said: list[str] = []
    for number, part in enumerate(parts):
        where = f"{place}.{number}"
        if not isinstance(part, dict):
            raise Problem(400, f"{where}: must be an object", param=where)
        must_have(part, "type", str, place=f"{where}.")
        if part["type"] in {"input_text", "output_text", "text"}:
            must_be(part, "text", str, place=f"{where}.")
            said.append(part.get("text") or "")
            words.append(said[-1])
        else:
            media.extend(_media(part, where))
    return " ".join(said)


def _media(part: Mapping[str, Any], place: str) -> Iterator[Media]:
    match part["type"]:
        case "input_image" if part.get("file_id") and not part.get("image_url"):
            yield Media("image", None, str(part["file_id"]))
        case "input_image":
            yield media_from_url(part.get("image_url"), "image", f"{place}.image_url")
        case "input_audio":
            sound = part.get("input_audio")
            if not isinstance(sound, dict):
                raise Problem(400, f"{place}.input_audio: must be an object", param=f"{place}.input_audio")
            kind = f"audio/{sound.get('format')}"
            yield media_from_base64(sound.get("data"), kind, f"{place}.input_audio.data")
        case "input_file" if part.get("file_data"):
            yield media_from_url(part["file_data"], "file", f"{place}.file_data")
        case "input_file":
            yield Media("file", None, str(part.get("file_url") or part.get("file_id")))


def _tool(body: Mapping[str, Any]) -> Tool | None:
    choice = body.get("tool_choice")
    tools = [
        tool
        for tool in body.get("tools") or ()
        if isinstance(tool, dict) and tool.get("type") == "function" and tool.get("name")
    ]
    if isinstance(choice, dict) and choice.get("type") == "function":
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
        if not tools:
            raise Problem(400, f"tool_choice: no tool {choice.get('name')!r} among tools", param="tool_choice")
    elif choice != "required":
        return None
    elif not tools:
        raise Problem(400, "tools: field required where tool_choice is required", param="tools")
    return Tool(tools[0]["name"], tools[0].get("parameters") or {})


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        return wanted.get("schema") or {"type": "object"}
    return {"type": "object"} if wanted.get("type") == "json_object" else None


def _status(answer: Answer) -> str:
    reason = answer.stop_reason
    return "completed" if reason in _COMPLETE else "failed" if reason == "failed" else "incomplete"


def _response(answer: Answer, status: str, output: list[_Item]) -> dict[str, Any]:
    request = answer.request
    reason = answer.stop_reason or ""
    reasoning = request.get("reasoning") or {}
    over = status in {"completed", "incomplete"}
    error = {"code": "server_error", "message": failures.words(500)} if status == "failed" else None
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": error,
        "incomplete_details": {"reason": _INCOMPLETE.get(reason, reason)} if status == "incomplete" else None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "previous_response_id": request.get("previous_response_id"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "temperature": request.get("temperature", 1.0),
        "text": request.get("text") or {"format": {"type": "text"}},
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": request.get("tools") or [],
        "top_p": request.get("top_p", 1.0),
        "truncation": request.get("truncation") or "disabled",
        "usage": _usage(answer) if over else None,
        "user": request.get("user"),
        "metadata": request.get("metadata") or {},
    }


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def _has_message(answer: Answer) -> bool:
    return bool(answer.texts[0] or answer.refusal or not answer.calls)


def _item_count(answer: Answer) -> int:
    return bool(answer.reasoning) + _has_message(answer) + len(answer.calls)


def _items(answer: Answer) -> Iterator[_Item]:
    """Yield the output items as they are before anything is in them."""
    if answer.reasoning:
        yield {"id": f"rs_{answer.id}", "type": "reasoning", "summary": []}
    if _has_message(answer):
        message: _Item = {"id": f"msg_{answer.id}", "type": "message", "status": "in_progress", "content": []}
        message["role"] = "assistant"
        if answer.reasoning:
            message["phase"] = "final_answer"
        yield message
    for call in answer.calls:
        yield {
            "id": f"fc_{call.number}",
            "type": "function_call",
            "call_id": call.id("call_"),
            "name": call.name,
            "status": "in_progress",
            "arguments": "",
        }


def _closed(answer: Answer, shell: _Item, status: str) -> _Item:
    """Return an output item with all that belongs in it."""
    match shell["type"]:
        case "reasoning":
            item = {**shell, "summary": [_summary("".join(answer.reasoning))]}
            if "reasoning.encrypted_content" in (answer.request.get("include") or ()):
                item["encrypted_content"] = answer.signature
            return item
        case "message":
            parts = [part for part, _ in _message_parts(answer)]
            return {**shell, "status": "completed" if status == "completed" else "incomplete", "content": parts}
        case _:
            call = next(call for call in answer.calls if shell["id"] == f"fc_{call.number}")
            return {**shell, "status": "completed", "arguments": call.arguments}


def _summary(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def _reasoning_events(answer: Answer, place: dict[str, Any]) -> Iterator[_Event]:
    where = {**place, "summary_index": 0}
    text = "".join(answer.reasoning)
    yield {"type": "response.reasoning_summary_part.added", **where, "part": _summary("")}
    for piece in answer.reasoning:
        yield {"type": "response.reasoning_summary_text.delta", **where, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **where, "text": text}
    yield {"type": "response.reasoning_summary_part.done", **where, "part": _summary(text)}


def _message_parts(answer: Answer) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Yield each part of the message, whole and in its pieces."""
    text = answer.texts[0]
    if text or not answer.refusal:
        yield {"type": "output_text", "annotations": [], "logprobs": [], "text": "".join(text)}, text
    if answer.refusal:
        yield {"type": "refusal", "refusal": "".join(answer.refusal)}, answer.refusal


def _message_events(answer: Answer, place: dict[str, Any]) -> Iterator[_Event]:
    for index, (part, pieces) in enumerate(_message_parts(answer)):
        where = {**place, "content_index": index}
        field = "refusal" if part["type"] == "refusal" else "text"
        kind = "response.refusal" if field == "refusal" else "response.output_text"
        more: dict[str, Any] = {} if field == "refusal" else {"logprobs": []}
        yield {"type": "response.content_part.added", **where, "part": {**part, field: ""}}
        for piece in pieces:
            yield {"type": f"{kind}.delta", **where, "delta": piece, **more}
        yield {"type": f"{kind}.done", **where, field: part[field], **more}
        yield {"type": "response.content_part.done", **where, "part": part}


def _call_events(call: Call, place: dict[str, Any]) -> Iterator[_Event]:
    for piece in call.pieces:
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **place, "arguments": call.arguments}
