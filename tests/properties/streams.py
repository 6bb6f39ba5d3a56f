"""Conforming streams of the four formats, made at random, each with the reply that it must come to.

The reply is put together beside the stream from the same pieces, by the vendors' public formats; nothing here reads a
stream or knows the package.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.faults.formats import DONE, Document

__all__ = ["STREAMS", "Stream", "json_values", "texts"]

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

# What ends a line elsewhere, looks like a field, or takes several bytes.
TRICKY = ("\u2028", "\x85", "\n", "\r\n", "\n\ndata: ", "[DONE]", "{", '"', "\\", "é", "🙂", "👩‍👩‍👧", "\0", ": ", "\ufeff")
INT64 = 2**63

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(TRICKY)
names = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
numbers = st.integers(-INT64, INT64 - 1) | st.floats(allow_nan=False, allow_infinity=False, width=32)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, json_values, max_size=3)
counts = st.integers(0, 10**9)


@dataclass(frozen=True)
class Stream:
    """A stream and what it comes to.

    Attributes:
        api: The slice's name.
        documents: Its events.
        reply: The JSON of its reply; fields that are null may be left out.
    """

    api: str
    documents: list[Document]
    reply: Json

    def data(self) -> bytes:
        """Return the stream's bytes."""
        return b"".join(document.sse() for document in self.documents)


def pieces(draw: Draw, text: str) -> list[str]:
    """Return a text in pieces, some of which may be empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def json_pieces(draw: Draw, value: Any) -> list[str]:
    """Return the JSON of a value in pieces."""
    return pieces(draw, json.dumps(value, ensure_ascii=draw(st.booleans())))


# ------------------------------------------------------------------------------------------------------------ messages

CITATIONS: tuple[Json, ...] = (
    {
        "type": "char_location",
        "cited_text": "grass",
        "document_index": 0,
        "document_title": "Colours",
        "start_char_index": 0,
        "end_char_index": 5,
    },
    {
        "type": "search_result_location",
        "cited_text": "green",
        "search_result_index": 0,
        "source": "kb://1",
        "title": "KB",
        "start_block_index": 0,
        "end_block_index": 1,
    },
)


def _text_block(draw: Draw) -> tuple[Json, list[Json], Json]:
    said = draw(st.lists(texts, max_size=4))
    deltas: list[Json] = [{"type": "text_delta", "text": text} for text in said]
    shell: Json = {"type": "text", "text": draw(st.sampled_from(["", "Oh. "]))}
    block = {**shell, "text": shell["text"] + "".join(said)}
    cited = draw(st.lists(st.sampled_from(CITATIONS), max_size=2))
    if cited:
        shell["citations"], block["citations"] = [], cited
        for citation in cited:
            place = draw(st.integers(0, len(deltas)))
            deltas.insert(place, {"type": "citations_delta", "citation": citation})
        block["citations"] = [delta["citation"] for delta in deltas if delta["type"] == "citations_delta"]
    return shell, deltas, block


def _thinking_block(draw: Draw) -> tuple[Json, list[Json], Json]:
    said = draw(st.lists(texts, max_size=4))
    deltas: list[Json] = [{"type": "thinking_delta", "thinking": text} for text in said]
    deltas.append({"type": "signature_delta", "signature": "EqQBsig=="})
    shell = {"type": "thinking", "thinking": "", "signature": ""}
    return shell, deltas, {"type": "thinking", "thinking": "".join(said), "signature": "EqQBsig=="}


def _tool_block(draw: Draw) -> tuple[Json, list[Json], Json]:
    given = draw(objects)
    kind = draw(st.sampled_from(["tool_use", "server_tool_use"]))
    name = "web_search" if kind == "server_tool_use" else draw(names)
    shell = {"type": kind, "id": f"toolu_{draw(counts)}", "name": name, "input": {}}
    parts = ["", *(json_pieces(draw, given) if given else [])]
    return shell, [{"type": "input_json_delta", "partial_json": part} for part in parts], {**shell, "input": given}


def _whole_block(draw: Draw) -> tuple[Json, list[Json], Json]:
    found = {"type": "web_search_result", "title": draw(texts), "url": "https://example.org", "encrypted_content": "Eq=="}
    block: Json = draw(
        st.sampled_from(
            [
                {"type": "redacted_thinking", "data": "EmwK=="},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]},
            ]
        )
    )
    return block, [], block


@st.composite
def messages(draw: Draw) -> Stream:
    """Return a stream of the Messages API."""
    usage: Json = {"input_tokens": draw(counts), "cache_read_input_tokens": draw(counts), "output_tokens": 1}
    shell: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
    start = {**shell, "stop_reason": None, "stop_sequence": None, "usage": dict(usage)}
    events: list[Json] = [{"type": "message_start", "message": start}]
    content = []
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([_text_block, _thinking_block, _tool_block, _whole_block]))
        opening, deltas, block = kind(draw)
        events.append({"type": "content_block_start", "index": index, "content_block": opening})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
        content.append(block)
    stop: Json = draw(
        st.sampled_from(
            [
                {"stop_reason": "end_turn", "stop_sequence": None},
                {"stop_reason": "tool_use", "stop_sequence": None},
                {"stop_reason": "stop_sequence", "stop_sequence": "END"},
                {"stop_reason": "max_tokens", "stop_sequence": None},
            ]
        )
    )
    endings = draw(st.integers(1, 2))
    for n in range(endings):
        total: Json = {"output_tokens": draw(counts)}
        if draw(st.booleans()):
            total["input_tokens"] = draw(counts | st.none())
        usage.update({name: count for name, count in total.items() if count is not None})
        said = stop if n == endings - 1 else {"stop_reason": None, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": said, "usage": total})
    events.append({"type": "message_stop"})
    for place in draw(st.lists(st.integers(1, len(events) - 1), max_size=2)):
        events.insert(place, {"type": "ping"})
    documents = [Document(event["type"], event) for event in events]
    return Stream("messages", documents, {**shell, **stop, "content": content, "usage": usage})


# ---------------------------------------------------------------------------------------------------- chat completions


def _choice(draw: Draw, index: int) -> tuple[list[Json], Json]:
    """Return the choice objects of one choice's chunks, and the choice as it ends."""
    message: Json = {"role": "assistant", "content": None}
    deltas: list[Json] = [{"role": "assistant", "content": None}]
    kind = draw(st.sampled_from(["content", "refusal", "tools", "reasoning_content"]))
    finish = "stop"
    said: dict[str, list[str]] = {}
    if kind == "tools":
        finish = "tool_calls"
        calls = []
        for number in range(draw(st.integers(1, 3))):
            arguments = json_pieces(draw, draw(objects))
            call: Json = {"id": f"call_{index}_{number}", "type": "function"}
            name = draw(names)
            deltas.append({"tool_calls": [{"index": number, **call, "function": {"name": name, "arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": number, "function": {"arguments": part}}]} for part in arguments]
            calls.append({**call, "function": {"name": name, "arguments": "".join(arguments)}})
        message["tool_calls"] = calls
    else:
        said[kind] = draw(st.lists(texts, min_size=1, max_size=4))
    if kind == "reasoning_content":
        said["content"] = draw(st.lists(texts, min_size=1, max_size=3))
    for field, words in said.items():
        deltas += [{field: word} for word in words]
        message[field] = "".join(words)
    with_logprobs = kind == "content" and draw(st.booleans())
    choices: list[Json] = []
    logprobs: list[Json] = []
    for delta in deltas:
        choice: Json = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        if with_logprobs and delta.get("content") is not None:
            token = {"token": delta["content"], "logprob": -0.5, "bytes": None, "top_logprobs": []}
            choice["logprobs"] = {"content": [token], "refusal": None}
            logprobs.append(token)
        choices.append(choice)
    choices.append({"index": index, "delta": {}, "logprobs": None, "finish_reason": finish})
    whole: Json = {"index": index, "message": message, "finish_reason": finish}
    if with_logprobs:
        whole["logprobs"] = {"content": logprobs, "refusal": None}
    return choices, whole


@st.composite
def chat_completions(draw: Draw) -> Stream:
    """Return a stream of the Chat Completions API."""
    shell: Json = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_734_000_000,
        "model": "gpt",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
    number = draw(st.integers(1, 3))
    made = [_choice(draw, index) for index in range(number)]
    # Every choice is begun in the order of the indices, as at the vendor; then they take turns as they like.
    queues = [list(choices) for choices, _ in made]
    order = [queue.pop(0) for queue in queues]
    while any(queues):
        order.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    chunks: list[Json] = [{**shell, "choices": [choice]} for choice in order]
    reply: Json = {**shell, "object": "chat.completion", "choices": [whole for _, whole in made]}
    with_usage = draw(st.sampled_from(["none", "own chunk", "last chunk"]))
    if with_usage != "none":
        details = {"cached_tokens": draw(counts), "audio_tokens": 0}
        usage = {
            "prompt_tokens": draw(counts),
            "completion_tokens": draw(counts),
            "total_tokens": draw(counts),
            "prompt_tokens_details": details,
        }
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        if with_usage == "own chunk":
            chunks.append({**shell, "choices": []})
        chunks[-1]["usage"] = reply["usage"] = usage
    return Stream("chat_completions", [*(Document(None, chunk) for chunk in chunks), DONE], reply)


# ----------------------------------------------------------------------------------------------------------- responses

ANNOTATIONS: tuple[Json, ...] = (
    {"type": "url_citation", "start_index": 0, "end_index": 6, "title": "Zürich", "url": "https://example.org/zh"},
    {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 10},
)


def _event(kind: str, **fields: Any) -> Json:
    return {"type": f"response.{kind}", **fields}


def _message_item(draw: Draw, index: int) -> tuple[list[Json], Json]:
    shell: Json = {"id": f"msg_{index}", "type": "message", "role": "assistant"}
    events = [_event("output_item.added", output_index=index, item={**shell, "status": "in_progress", "content": []})]
    content: list[Json] = []
    for number in range(draw(st.integers(1, 2))):
        at = {"item_id": shell["id"], "output_index": index, "content_index": number}
        said = draw(st.lists(texts, max_size=4))
        whole = "".join(said)
        part: Json
        if draw(st.booleans()):
            notes = draw(st.lists(st.sampled_from(ANNOTATIONS), max_size=2))
            empty: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            part = {**empty, "text": whole, "annotations": notes}
            events.append(_event("content_part.added", **at, part=empty))
            events += [_event("output_text.delta", **at, delta=text, logprobs=[]) for text in said]
            events += [
                _event("output_text.annotation.added", **at, annotation_index=n, annotation=note)
                for n, note in enumerate(notes)
            ]
            events.append(_event("output_text.done", **at, text=whole, logprobs=[]))
        else:
            part = {"type": "refusal", "refusal": whole}
            events.append(_event("content_part.added", **at, part={"type": "refusal", "refusal": ""}))
            events += [_event("refusal.delta", **at, delta=text) for text in said]
            events.append(_event("refusal.done", **at, refusal=whole))
        events.append(_event("content_part.done", **at, part=part))
        content.append(part)
    return events, {**shell, "status": "completed", "content": content}


def _reasoning_item(draw: Draw, index: int) -> tuple[list[Json], Json]:
    shell: Json = {"id": f"rs_{index}", "type": "reasoning"}
    events = [_event("output_item.added", output_index=index, item={**shell, "summary": []})]
    summary: list[Json] = []
    for number in range(draw(st.integers(0, 2))):
        at = {"item_id": shell["id"], "output_index": index, "summary_index": number}
        said = draw(st.lists(texts, max_size=3))
        part = {"type": "summary_text", "text": "".join(said)}
        events.append(_event("reasoning_summary_part.added", **at, part={**part, "text": ""}))
        events += [_event("reasoning_summary_text.delta", **at, delta=text) for text in said]
        events.append(_event("reasoning_summary_text.done", **at, text=part["text"]))
        events.append(_event("reasoning_summary_part.done", **at, part=part))
        summary.append(part)
    return events, {**shell, "summary": summary}


def _call_item(draw: Draw, index: int) -> tuple[list[Json], Json]:
    parts = json_pieces(draw, draw(objects))
    shell: Json = {"id": f"fc_{index}", "type": "function_call", "call_id": f"call_{index}", "name": draw(names)}
    at = {"item_id": shell["id"], "output_index": index}
    opening = {**shell, "status": "in_progress", "arguments": ""}
    item = {**shell, "status": "completed", "arguments": "".join(parts)}
    events = [
        _event("output_item.added", output_index=index, item=opening),
        *(_event("function_call_arguments.delta", **at, delta=part) for part in parts),
        _event("function_call_arguments.done", **at, arguments=item["arguments"]),
    ]
    return events, item


@st.composite
def responses(draw: Draw) -> Stream:
    """Return a stream of the Responses API."""
    shell: Json = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_741_476_542,
        "model": "gpt",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "text": {"format": {"type": "text"}},
        "metadata": {},
    }
    running = {**shell, "status": "in_progress", "output": [], "usage": None, "error": None}
    events = [_event("created", response=running), _event("in_progress", response=running)]
    output = []
    for index in range(draw(st.integers(0, 3))):
        more, item = draw(st.sampled_from([_message_item, _reasoning_item, _call_item]))(draw, index)
        events += [*more, _event("output_item.done", output_index=index, item=item)]
        output.append(item)
    usage = {
        "input_tokens": draw(counts),
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": draw(counts),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": draw(counts),
    }
    reply = {**shell, "status": "completed", "output": output, "usage": usage}
    events.append(_event("completed", response=reply))
    documents = [Document(event["type"], {**event, "sequence_number": n}) for n, event in enumerate(events)]
    return Stream("responses", documents, reply)


# ---------------------------------------------------------------------------------------------------- generate content


def _part(draw: Draw) -> Json:
    kind = draw(st.sampled_from(["text", "text", "thought", "signed", "call", "data"]))
    if kind == "call":
        return {"functionCall": {"id": "fc-1", "name": draw(names), "args": draw(objects)}, "thoughtSignature": "AQID"}
    if kind == "data":
        data = base64.b64encode(draw(st.binary(max_size=9))).decode()
        return {"inlineData": {"mimeType": "image/png", "data": data}}
    if kind == "signed":
        return {"text": draw(texts), "thoughtSignature": "AQIDBA=="}
    part: Json = {"text": draw(texts.filter(bool))}
    if kind == "thought":
        part["thought"] = True
    return part


def merged(parts: list[Json]) -> list[Json]:
    """Return parts with neighbouring texts of one kind joined; what carries a signature stays alone."""
    joined: list[Json] = []
    for part in parts:
        last = joined[-1] if joined else {}
        both_text = "text" in part and "text" in last
        signed = "thoughtSignature" in part or "thoughtSignature" in last
        if both_text and not signed and part.get("thought") == last.get("thought"):
            joined[-1] = {**last, "text": last["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


RATING = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}


@st.composite
def generate_content(draw: Draw) -> Stream:
    """Return a stream of Gemini's generateContent."""
    shell: Json = {"modelVersion": "gemini", "responseId": "r-1"}
    number = draw(st.integers(1, 2))
    said: list[list[Json]] = [[] for _ in range(number)]
    chunks: list[Json] = []
    usage: Json = {}
    for turn in range(draw(st.integers(1, 6))):
        # The first chunk has all candidates, so that none comes to an end before another is known.
        indices = range(number) if turn == 0 else draw(st.lists(st.sampled_from(range(number)), min_size=1, unique=True))
        candidates = []
        for index in indices:
            parts = [_part(draw) for _ in range(draw(st.integers(1, 2)))]
            said[index] += parts
            candidates.append({"index": index, "content": {"role": "model", "parts": parts}})
        chunk = {"candidates": candidates, **shell}
        if draw(st.booleans()):
            usage = {"promptTokenCount": 3, "candidatesTokenCount": turn, "totalTokenCount": draw(counts)}
            chunk["usageMetadata"] = usage
        chunks.append(chunk)
    ends = [{"index": index, "finishReason": "STOP", "safetyRatings": [RATING]} for index in range(number)]
    chunks.append({"candidates": ends, **shell})
    if draw(st.booleans()):
        usage = {"promptTokenCount": 3, "candidatesTokenCount": 9, "totalTokenCount": 12}
        chunks.append({**shell, "usageMetadata": usage})
    candidates = [{**end, "content": {"role": "model", "parts": merged(parts)}} for end, parts in zip(ends, said, strict=True)]
    reply: Json = {**shell, "candidates": candidates}
    if usage:
        reply["usageMetadata"] = usage
    return Stream("generate_content", [Document(None, chunk) for chunk in chunks], reply)


STREAMS: Mapping[str, st.SearchStrategy[Stream]] = {
    "messages": messages(),
    "chat_completions": chat_completions(),
    "responses": responses(),
    "generate_content": generate_content(),
}
