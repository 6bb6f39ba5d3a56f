"""How the Messages API is called and how its answers are read: `POST /v1/messages`.

This module never does I/O; the key and the client's own headers are added elsewhere.

Source: https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dgrid_async import codec
from dgrid_async.apis.messages.accumulator import MessageAccumulator
from dgrid_async.apis.messages.events import Event, decode_event, text_of
from dgrid_async.apis.messages.types import Message
from dgrid_async.endpoint import Endpoint, Target
from dgrid_async.structuring import structure

__all__ = ["ENDPOINT"]

PATH = "/v1/messages"

# The only version there is; a request without it is refused (https://docs.claude.com/en/api/versioning).
VERSION = "2023-06-01"
_VERSIONED = {"anthropic-version": VERSION}

# Parameters that travel as headers.
_HEADERS = {
    "user_profile_id": "anthropic-user-profile-id",
    "workspace_id": "anthropic-workspace-id",
    "betas": "anthropic-beta",
}


def encode(params: Mapping[str, Any], stream: bool) -> Target:  # noqa: FBT001 -- the contract of `Endpoint.encode`
    """Return the request that the parameters ask for."""
    body = dict(params)
    headers = _VERSIONED
    for name, header in _HEADERS.items():
        if name in body and (value := body.pop(name)):
            headers = {**headers, header: value if isinstance(value, str) else ",".join(value)}
    if stream:
        body["stream"] = True
    elif body.get("stream"):
        del body["stream"]
    messages = body.get("messages")
    if isinstance(messages, (list, tuple)):
        body["messages"] = [_turn(message) for message in messages]
    return Target(PATH, body, headers=headers)


def _turn(message: Any) -> Any:
    """Return a turn of the conversation; of a reply what a request may say, since the API refuses the rest."""
    if isinstance(message, Message):
        return {"role": message.role, "content": message.content}
    return message


def decode_reply(data: Any) -> Message:
    """Return the message that the JSON of a plain answer describes.

    Raises:
        ValueError: It is no message.
    """
    return structure(_checked(data), Message)


def _checked(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("a message belongs here, JSON that is no object came")  # noqa: TRY004 -- not the caller's type
    content = data.get("content")
    if not isinstance(content, list) and (content is not None or data.get("type") != "message"):
        raise ValueError("a message belongs here, an object without a list of `content` came")
    return data


def replay(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events that would have streamed a reply.

    Raises:
        ValueError: It is no message.
    """
    message = dict(_checked(data))
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    start: dict[str, Any] = {**message, **dict.fromkeys(ending), "content": []}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(message.get("content") or []):
        shell, deltas = _unmerged(block)
        events.append({"type": "content_block_start", "index": index, "content_block": shell})
        events.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": ending, "usage": message.get("usage")})
    events.append({"type": "message_stop"})
    return events


def _unmerged(block: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Return a block as its start carries it, and the deltas that fill it."""
    if not isinstance(block, dict):
        return block, []
    kind, shell, deltas = block.get("type"), dict(block), []
    if kind == "text" and isinstance(block.get("text"), str):
        shell["text"] = ""
        deltas.append({"type": "text_delta", "text": block["text"]})
    elif kind == "thinking" and isinstance(block.get("thinking"), str):
        shell["thinking"] = ""
        deltas.append({"type": "thinking_delta", "thinking": block["thinking"]})
    elif kind in {"tool_use", "server_tool_use"} and isinstance(block.get("input"), dict) and block["input"]:
        with suppress(ValueError):  # nested too deeply for any encoder: it may stay where it is
            deltas.append({"type": "input_json_delta", "partial_json": codec.encode(block["input"]).decode()})
            shell["input"] = {}
    return shell, deltas


def failure_of(data: dict[str, Any]) -> Any:
    """Return the error that a plain answer is instead of a message, or None."""
    return data if data.get("type") == "error" else None


ENDPOINT: Endpoint[Event, Message] = Endpoint(
    name="messages",
    required=("model", "max_tokens", "messages"),
    encode=encode,
    decode_reply=decode_reply,
    decode_event=decode_event,
    accumulator=MessageAccumulator,
    text_of=text_of,
    replay=replay,
    failure_of=failure_of,
)
"""The Messages API."""
