"""The bytes that every competitor is fed: streams, tool calls and plain replies of the four formats, made here.

The same arguments always give the same bytes. This module knows nothing of the package under test, so that no misreading of
a format cancels itself out.
"""

from __future__ import annotations

import json
import random
from functools import lru_cache
from typing import Any

import attrs

__all__ = ["FORMATS", "PATHS", "Stream", "plain", "stamped_stream", "text_stream", "tool_stream"]

FORMATS = ("chat_completions", "messages", "responses", "generate_content")
PATHS = {
    "chat_completions": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "generate_content": "/v1/models/bench-model:streamGenerateContent",
}
MODEL = "bench-model"

# What a tokenizer makes of prose: mostly short words with their space in front, some punctuation, some beyond ASCII.
_PIECES = (
    *(" the", " of", " and", " a", " to", " in", " stream", " token", " answer", " is", " that", " with", "ing", "ed"),
    *(" it", "'s", " gateway", " each", " model", " reply", " 42", " which", " understand", " considerably", " event"),
    *(" for", " as", "s", ",", ".", "\n\n", " (", ")", ' "quoted"', ":\n", "- ", " **", "**", "\\n"),
    *(" café", " naïve", " 東京", " — ", " 🙂"),
)
# What stands in the place of the moment of sending until the server knows it.
_HOLE = "@@@"
_TOOL_PIECE = 16


@attrs.frozen
class Stream:
    """One streamed answer.

    Attributes:
        format: One of `FORMATS`.
        head: The events before the first delta, each as the bytes of one server-sent event, its blank line included.
        deltas: The events that add text, or a tool call's arguments.
        tail: The events after them, the last of which ends the stream by the rules of its format.
        text: What the deltas add up to.
    """

    format: str
    head: tuple[bytes, ...]
    deltas: tuple[bytes, ...]
    tail: tuple[bytes, ...]
    text: str

    @property
    def events(self) -> tuple[bytes, ...]:
        """All events, in their order."""
        return self.head + self.deltas + self.tail

    @property
    def data(self) -> list[bytes]:
        """The JSON text of each event, without what is no JSON."""
        found = [event.partition(b"data: ")[2].rstrip() for event in self.events]
        return [data for data in found if data.startswith(b"{")]


def _sse(value: Any, name: str | None = None) -> bytes:
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"{f'event: {name}' + chr(10) if name else ''}data: {data}\n\n".encode()


def _pieces(count: int) -> list[str]:
    draw = random.Random(count)  # the same text in each run
    return ["Well", *(draw.choice(_PIECES) for _ in range(count - 1))][:count]


@lru_cache(maxsize=64)
def text_stream(format: str, deltas: int) -> Stream:  # noqa: A002 -- the house's word for it
    """Return a stream of so many text deltas."""
    return _MADE[format](_pieces(deltas))


@lru_cache(maxsize=4)
def stamped_stream(format: str) -> tuple[Stream, bytes, bytes]:  # noqa: A002
    """Return a stream whose delta is to be written anew each time, and what stands before and behind its text.

    The text is to be the moment of sending, so that the receiver knows how late it is.
    """
    stream = _MADE[format]([_HOLE])
    before, _, behind = stream.deltas[0].partition(_HOLE.encode())
    return stream, before, behind


@lru_cache(maxsize=8)
def tool_stream(format: str, pieces: int, piece: int = _TOOL_PIECE) -> Stream:  # noqa: A002
    """Return a stream of one tool call whose arguments come in so many pieces of so many characters.

    The formats are those that stream arguments in pieces: all but generateContent.
    """
    size = pieces * piece
    rows: list[Any] = []
    length = len('{"rows":[]}')
    while True:
        row = {"id": len(rows), "name": f"entry number {len(rows)}", "tags": ["a", "b\n"], "value": len(rows) * 0.5, "ok": True}
        length += len(json.dumps(row, separators=(",", ":"))) + 1
        if length > size:
            break
        rows.append(row)
    text = json.dumps({"rows": rows}, separators=(",", ":"))
    text = text[:-1] + " " * (size - len(text)) + "}"  # blanks before the last brace fill the last pieces
    cut = [text[at : at + piece] for at in range(0, size, piece)]
    return _TOOLS_MADE[format](cut)


# ---------------------------------------------------------------------------------------------------- chat completions


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _sse(
        {
            "id": "chatcmpl-BenchAbCdEfGhIjKlMnOpQr",
            "object": "chat.completion.chunk",
            "created": 1734000000,
            "model": MODEL,
            "service_tier": "default",
            "system_fingerprint": "fp_0a1b2c3d4e",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            "usage": None,
        }
    )


def _chat_end(finish: str) -> tuple[bytes, ...]:
    usage = {"prompt_tokens": 12, "completion_tokens": 2000, "total_tokens": 2012}
    last = {"id": "chatcmpl-BenchAbCdEfGhIjKlMnOpQr", "object": "chat.completion.chunk", "created": 1734000000, "model": MODEL}
    return _chunk({}, finish), _sse({**last, "choices": [], "usage": usage}), b"data: [DONE]\n\n"


def _chat(pieces: list[str]) -> Stream:
    return Stream(
        "chat_completions",
        (_chunk({"role": "assistant", "content": "", "refusal": None}),),
        tuple(_chunk({"content": piece}) for piece in pieces),
        _chat_end("stop"),
        "".join(pieces),
    )


def _chat_tool(pieces: list[str]) -> Stream:
    call = {"index": 0, "id": "call_bench", "type": "function", "function": {"name": "put_rows", "arguments": ""}}
    return Stream(
        "chat_completions",
        (_chunk({"role": "assistant", "content": None, "tool_calls": [call]}),),
        tuple(_chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces),
        _chat_end("tool_calls"),
        "".join(pieces),
    )


# ------------------------------------------------------------------------------------------------------------ messages


def _named(value: dict[str, Any]) -> bytes:
    return _sse(value, value["type"])


def _message_head(block: dict[str, Any]) -> tuple[bytes, ...]:
    message: dict[str, Any] = {
        "id": "msg_01BenchAbCdEfGhIjKlMn",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
            "service_tier": "standard",
        },
    }
    return (
        _named({"type": "message_start", "message": message}),
        _named({"type": "content_block_start", "index": 0, "content_block": block}),
    )


def _message_tail(reason: str) -> tuple[bytes, ...]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return (
        _named({"type": "content_block_stop", "index": 0}),
        _named({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2000}}),
        _named({"type": "message_stop"}),
    )


def _message(pieces: list[str]) -> Stream:
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return Stream(
        "messages",
        _message_head({"type": "text", "text": ""}),
        tuple(_named({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas),
        _message_tail("end_turn"),
        "".join(pieces),
    )


def _message_tool(pieces: list[str]) -> Stream:
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    return Stream(
        "messages",
        _message_head({"type": "tool_use", "id": "toolu_01Bench", "name": "put_rows", "input": {}}),
        tuple(_named({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas),
        _message_tail("tool_use"),
        "".join(pieces),
    )


# ----------------------------------------------------------------------------------------------------------- responses


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    usage = {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2000,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2012,
    }
    return {
        "id": "resp_01BenchAbCdEf",
        "object": "response",
        "created_at": 1741476542,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if status == "completed" else None,
        "user": None,
        "metadata": {},
    }


def _numbered(values: list[dict[str, Any]]) -> list[bytes]:
    return [_named({"type": value["type"], "sequence_number": n, **value}) for n, value in enumerate(values)]


def _responses(pieces: list[str]) -> Stream:
    text = "".join(pieces)
    item = {"id": "msg_01BenchItem", "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    whole = {**item, "status": "completed", "content": [part]}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    head: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response("in_progress", [])},
        {"type": "response.in_progress", "response": _response("in_progress", [])},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
    ]
    deltas = [{"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in pieces]
    tail: list[dict[str, Any]] = [
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": _response("completed", [whole])},
    ]
    return _parted("responses", head, deltas, tail, text)


def _responses_tool(pieces: list[str]) -> Stream:
    text = "".join(pieces)
    item = {"id": "fc_01Bench", "type": "function_call", "status": "in_progress", "arguments": "", "call_id": "call_1"}
    item["name"] = "put_rows"
    whole = {**item, "status": "completed", "arguments": text}
    place = {"item_id": item["id"], "output_index": 0}
    head: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response("in_progress", [])},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
    ]
    deltas = [{"type": "response.function_call_arguments.delta", **place, "delta": piece} for piece in pieces]
    tail: list[dict[str, Any]] = [
        {"type": "response.function_call_arguments.done", **place, "arguments": text, "name": "put_rows"},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": _response("completed", [whole])},
    ]
    return _parted("responses", head, deltas, tail, text)


def _parted(format: str, head: list[Any], deltas: list[Any], tail: list[Any], text: str) -> Stream:  # noqa: A002
    events = tuple(_numbered([*head, *deltas, *tail]))
    first, last = len(head), len(head) + len(deltas)
    return Stream(format, events[:first], events[first:last], events[last:], text)


# ---------------------------------------------------------------------------------------------------- generate content


def _generated(parts: list[Any], count: int, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 12,
            "candidatesTokenCount": count,
            "totalTokenCount": 12 + count,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
        },
        "modelVersion": MODEL,
        "responseId": "bench-response",
    }


def _generate(pieces: list[str]) -> Stream:
    return Stream(
        "generate_content",
        (),
        tuple(_sse(_generated([{"text": piece}], n)) for n, piece in enumerate(pieces, 1)),
        (_sse(_generated([{"text": ""}], len(pieces), "STOP")),),
        "".join(pieces),
    )


_MADE = {"chat_completions": _chat, "messages": _message, "responses": _responses, "generate_content": _generate}
_TOOLS_MADE = {"chat_completions": _chat_tool, "messages": _message_tool, "responses": _responses_tool}


# --------------------------------------------------------------------------------------------------------------- plain


@lru_cache(maxsize=8)
def plain(format: str) -> tuple[bytes, str]:  # noqa: A002
    """Return the JSON of a plain reply of some sixty words, and its text."""
    text = "".join(_pieces(80))
    if format == "chat_completions":
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        reply: dict[str, Any] = {
            "id": "chatcmpl-BenchAbCdEfGhIjKlMnOpQr",
            "object": "chat.completion",
            "created": 1734000000,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 80, "total_tokens": 92},
            "service_tier": "default",
            "system_fingerprint": "fp_0a1b2c3d4e",
        }
    elif format == "messages":
        reply = {
            "id": "msg_01BenchAbCdEfGhIjKlMn",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "output_tokens": 80},
        }
    elif format == "responses":
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        item = {"id": "msg_1", "type": "message", "status": "completed", "content": [part], "role": "assistant"}
        reply = _response("completed", [item])
    else:
        reply = _generated([{"text": text}], 80, "STOP")
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode(), text
