"""OpenAI's `POST /v1/chat/completions`: a request read, a reply and a stream written, as raw JSON.

`reasoning_content` is the gateway's own.

Source: https://platform.openai.com/docs/api-reference/chat and .../chat-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from dgrid_async.emulator import failures
from dgrid_async.emulator.answer import Answer
from dgrid_async.emulator.problems import Problem, must_be, must_have, roles_must_be
from dgrid_async.emulator.prompt import Media, Prompt, Tool, media_from_base64, media_from_url
from dgrid_async.emulator.sse import DONE, Sse, encode, unnamed

__all__ = ["failure", "failure_sse", "read", "reply", "stream"]

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_FINISH_REASONS = {
    "end": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "content_filter": "content_filter",
    "tool": "tool_calls",
}
_MAX_CHOICES = 128
_FINGERPRINT = "fp_emulator"


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Prompt:
    """Return what the request asks for.

    Raises:
        Problem: 400, naming the field that is missing or of a wrong type.
    """
    del headers
    must_have(body, "model", str)
    must_have(body, "messages", list)
    must_be(body, "stream", bool)
    must_be(body, "stream_options", dict)
    must_be(body, "tools", list)
    must_be(body, "tool_choice", str, dict)
    must_be(body, "response_format", dict)
    must_be(body, "n", int, least=1)
    must_be(body, "max_tokens", int, least=1)
    must_be(body, "max_completion_tokens", int, least=1)
    if (body.get("n") or 1) > _MAX_CHOICES:
        raise Problem(400, f"n: must be at most {_MAX_CHOICES}", param="n")
    roles_must_be(body["messages"], _ROLES, "messages")
    words: list[str] = []
    media: list[Media] = []
    last = ""
    for index, message in enumerate(body["messages"]):
        said = _content(message, index, words, media)
        if message["role"] == "user" and said:
            last = said
    return Prompt(
        model=body["model"],
        text=last,
        words=tuple(words),
        media=tuple(media),
        tool=_tool(body),
        choices=int(body.get("n") or 1),
        reasoning=body.get("reasoning_effort") not in {None, "none"} or bool(body.get("reasoning")),
        schema=_schema(body),
    )


def reply(answer: Answer) -> dict[str, Any]:
    """Return the whole completion."""
    choices = [
        {"index": index, "message": _message(answer, text), "logprobs": None, "finish_reason": _finish(answer)}
        for index, text in enumerate(answer.texts)
    ]
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": choices,
        "usage": _usage(answer),
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def stream(answer: Answer) -> Iterator[Sse]:
    """Yield the chunks, those of several choices by turns, and `[DONE]`."""
    with_usage = bool((answer.request.get("stream_options") or {}).get("include_usage"))
    head: dict[str, Any] = {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    tail: dict[str, Any] = {"usage": None} if with_usage else {}
    finish = _finish(answer)
    for turn in zip_longest(*(_deltas(answer, text) for text in answer.texts)):
        for index, delta in enumerate(turn):
            if delta is not None:
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
                yield unnamed({**head, "choices": [choice], **tail})
    for index in range(len(answer.texts)):
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": finish}
        yield unnamed({**head, "choices": [choice], **tail}, ends=True)
    if with_usage:
        yield unnamed({**head, "choices": [], "usage": _usage(answer)}, ends=True)
    yield DONE


def failure(status: int, message: str | None, request_id: str, param: str | None = None) -> dict[str, Any]:
    """Return an error body; the format has no place for the request id."""
    del request_id
    return failures.openai(status, message, param)


def failure_sse(status: int, message: str | None, request_id: str, number: int) -> Sse:
    """Return an error within a stream."""
    del number
    return unnamed(failure(status, message, request_id))


def _content(message: Mapping[str, Any], index: int, words: list[str], media: list[Media]) -> str:
    """Gather the texts and media of one message; return its own texts, joined."""
    must_be(message, "content", str, list, place=f"messages.{index}.")
    content = message.get("content")
    if content is None:
        if message["role"] != "assistant":
            where = f"messages.{index}.content"
            raise Problem(400, f"{where}: field required", param=where)
        words.append(encode(message.get("tool_calls") or []).decode())
        return ""
    if isinstance(content, str):
        words.append(content)
        return content
    said: list[str] = []
    for number, part in enumerate(content):
        where = f"messages.{index}.content.{number}"
        if not isinstance(part, dict):
            raise Problem(400, f"{where}: must be an object", param=where)
        must_have(part, "type", str, place=f"{where}.")
        if part["type"] == "text":
            must_have(part, "text", str, place=f"{where}.")
            said.append(part["text"])
            words.append(part["text"])
        else:
            media.extend(_media(part, where))
    return " ".join(said)


def _media(part: Mapping[str, Any], place: str) -> Iterator[Media]:
    kind = part["type"]
    if kind not in {"image_url", "video_url", "input_audio", "file"}:
        return
    value = part.get(kind)
    where = f"{place}.{kind}"
    if kind in {"image_url", "video_url"} and isinstance(value, str):
        # Some gateways take the bare address where OpenAI wants an object.
        value = {"url": value}
    if not isinstance(value, dict):
        raise Problem(400, f"{where}: must be an object", param=where)
    if kind in {"image_url", "video_url"}:
        yield media_from_url(value.get("url"), kind.removesuffix("_url"), f"{where}.url")
    elif kind == "input_audio":
        must_have(value, "format", str, place=f"{where}.")
        yield media_from_base64(value.get("data"), f"audio/{value['format']}", f"{where}.data")
    elif value.get("file_data"):
        yield media_from_url(value["file_data"], "file", f"{where}.file_data")
    else:
        yield Media("file", None, str(value.get("file_id")))


def _tool(body: Mapping[str, Any]) -> Tool | None:
    choice = body.get("tool_choice")
    tools = [
        tool["function"]
        for tool in body.get("tools") or ()
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict) and tool["function"].get("name")
    ]
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = (choice.get("function") or {}).get("name")
        tools = [tool for tool in tools if tool["name"] == name]
        if not tools:
            raise Problem(400, f"tool_choice: no tool {name!r} among tools", param="tool_choice")
    elif choice != "required":
        return None
    elif not tools:
        raise Problem(400, "tools: field required where tool_choice is required", param="tools")
    return Tool(tools[0]["name"], tools[0].get("parameters") or {})


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return (wanted.get("json_schema") or {}).get("schema") or {"type": "object"}
    return {"type": "object"} if wanted.get("type") == "json_object" else None


def _message(answer: Answer, text: tuple[str, ...]) -> dict[str, Any]:
    silent = not text and (answer.calls or answer.refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if silent else "".join(text),
        "refusal": "".join(answer.refusal) if answer.refusal else None,
        "annotations": [],
    }
    if answer.reasoning:
        message["reasoning_content"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id("call_"), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
    return message


def _deltas(answer: Answer, text: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield one choice's deltas; the role rides with the first kind of content there is."""
    calls = [list(_call_deltas(answer, index)) for index in range(len(answer.calls))]
    opening: dict[str, Any] = {"role": "assistant", "content": None}
    if answer.reasoning:
        yield opening | {"reasoning_content": ""}
        for piece in answer.reasoning:
            yield {"reasoning_content": piece}
    elif text or not (calls or answer.refusal):
        yield opening | {"content": "", "refusal": None}
    elif answer.refusal:
        yield opening | {"refusal": ""}
    else:
        yield opening | calls[0].pop(0)
    for piece in text:
        yield {"content": piece}
    for piece in answer.refusal:
        yield {"refusal": piece}
    for deltas in calls:
        yield from deltas


def _call_deltas(answer: Answer, index: int) -> Iterator[dict[str, Any]]:
    call = answer.calls[index]
    function = {"name": call.name, "arguments": ""}
    yield {"tool_calls": [{"index": index, "id": call.id("call_"), "type": "function", "function": function}]}
    for piece in call.pieces:
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _finish(answer: Answer) -> str:
    reason = answer.stop_reason or ("tool" if answer.calls else "end")
    return _FINISH_REASONS.get(reason, reason)


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
