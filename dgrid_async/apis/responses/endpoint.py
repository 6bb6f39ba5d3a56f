"""The Responses API as an endpoint: how a call is written and how its answer is read.

This module never does I/O and never changes what the caller gave.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dgrid_async.apis.responses.accumulator import ResponseAccumulator, failure_in
from dgrid_async.apis.responses.events import Event, decode_event, text_of
from dgrid_async.apis.responses.types import Response
from dgrid_async.endpoint import Endpoint, Target
from dgrid_async.structuring import structure

__all__ = ["ENDPOINT"]

PATH = "/v1/responses"

# The event that ends a stream, by the response's status; a response that waits or is being made has none.
_LAST_EVENTS = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "cancelled": "response.incomplete",
    "failed": "response.failed",
    "queued": "response.queued",
    "in_progress": "response.in_progress",
}
# The texts that stream on their own: by the item's type their field and the first words of their events' names.
_CALLS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code"),
}
_PARTS = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
    "summary_text": ("text", "response.reasoning_summary_text"),
}
_LISTS = {
    "content": ("content_index", "response.content_part"),
    "summary": ("summary_index", "response.reasoning_summary_part"),
}

_Json = dict[str, Any]


def _encode(params: Mapping[str, Any], stream: bool) -> Target:  # noqa: FBT001 -- the contract of Endpoint
    body = dict(params)
    if stream:
        body["stream"] = True
    return Target(PATH, body)


def _decode_reply(value: Any) -> Response:
    if not isinstance(value, dict):
        raise ValueError(f"a response is a JSON object, not {type(value).__name__}")  # noqa: TRY004 -- the contract
    if value.get("object") != "response" and not isinstance(value.get("output"), list):
        names = ", ".join(list(value)[:8]) or "nothing"
        raise ValueError(f'neither "object": "response" nor a list "output" among its fields: {names}')
    return structure(value, Response)


def _replay(reply: _Json) -> list[_Json]:
    return [{**event, "sequence_number": number} for number, event in enumerate(_replayed(reply))]


def _replayed(reply: _Json) -> Iterator[_Json]:
    begun = {**reply, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    for index, item in enumerate(reply.get("output") or ()):
        yield from _item_events(item, index)
    yield {"type": _LAST_EVENTS.get(reply.get("status") or "", "response.completed"), "response": reply}


def _item_events(item: _Json, index: int) -> Iterator[_Json]:
    place = {"item_id": item.get("id") or "", "output_index": index}
    field, name = _CALLS.get(item.get("type") or "", ("", ""))
    shell: _Json = {key: [] if key in _LISTS and value else value for key, value in item.items()}
    if field in shell:
        shell[field] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": shell}
    for key, (position, part_name) in _LISTS.items():
        parts = item.get(key)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            yield from _part_events(part, part_name, {**place, position: number})
    if item.get(field):
        yield {"type": f"{name}.delta", **place, "delta": item[field]}
        yield {"type": f"{name}.done", **place, field: item[field]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(part: _Json, part_name: str, place: _Json) -> Iterator[_Json]:
    field, name = _PARTS.get(part.get("type") or "", ("", ""))
    yield {"type": f"{part_name}.added", **place, "part": {**part, field: ""} if field else part}
    if part.get(field):
        yield {"type": f"{name}.delta", **place, "delta": part[field]}
        yield {"type": f"{name}.done", **place, field: part[field]}
    yield {"type": f"{part_name}.done", **place, "part": part}


ENDPOINT: Endpoint[Event, Response] = Endpoint(
    name="responses",
    required=("model",),
    encode=_encode,
    decode_reply=_decode_reply,
    decode_event=decode_event,
    accumulator=ResponseAccumulator,
    text_of=text_of,
    replay=_replay,
    failure_of=failure_in,
)
