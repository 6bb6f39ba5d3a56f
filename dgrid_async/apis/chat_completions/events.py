"""The stream of Chat Completions: its one kind of event, the chunk, and how to read it.

A chunk carries what each choice has to add. This module never merges chunks; `accumulator` does.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from dgrid_async.apis.chat_completions.types import (
    ChoiceLogprobs,
    CompletionUsage,
    FinishReason,
    MessageAnnotation,
    Moderation,
    Role,
    ServiceTier,
)
from dgrid_async.structuring import lazy, structure
from dgrid_async.wire import Unknown, WireObject, wire_type

__all__ = [
    "ChatCompletionChunk",
    "ChoiceDelta",
    "ChoiceDeltaAudio",
    "ChoiceDeltaCustomCall",
    "ChoiceDeltaFunctionCall",
    "ChoiceDeltaToolCall",
    "ChunkChoice",
    "Event",
    "UnknownEvent",
    "decode_event",
    "replay",
    "text_of",
]


@wire_type
class ChoiceDeltaFunctionCall(WireObject):
    """A piece of a function call.

    Attributes:
        name: In the first piece; some gateways repeat it.
        arguments: The next characters of the JSON text.
    """

    name: str | None = None
    arguments: str | None = None


@wire_type
class ChoiceDeltaCustomCall(WireObject):
    """A piece of a custom tool's call.

    Attributes:
        name: In the first piece; some gateways repeat it.
        input: The next characters of the input.
    """

    name: str | None = None
    input: str | None = None


@wire_type
class ChoiceDeltaToolCall(WireObject):
    """A piece of a tool call.

    Attributes:
        index: Which call of the message it belongs to; None where the gateway left it out.
        id: In the first piece; some gateways repeat it.
    """

    index: int | None = None
    id: str | None = None
    function: ChoiceDeltaFunctionCall | None = None
    custom: ChoiceDeltaCustomCall | None = None
    type: str | None = None


@wire_type
class ChoiceDeltaAudio(WireObject):
    """A piece of the answer as sound; each chunk brings some of the fields.

    Attributes:
        data: Base64 of the next bytes, padded for itself.
        transcript: The next characters of what is said.
    """

    id: str | None = None
    data: str | None = None
    expires_at: int | None = None
    transcript: str | None = None


@wire_type
class ChoiceDelta(WireObject):
    """What a chunk adds to the message of a choice.

    Attributes:
        reasoning_content: Reasoning, under the name that most gateways give it.
        reasoning: The same under the name that some give it.
        reasoning_details: The same in pieces; those with one `index` belong together.
    """

    role: Role | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ChoiceDeltaToolCall] | None = None
    function_call: ChoiceDeltaFunctionCall | None = None
    audio: ChoiceDeltaAudio | None = None
    annotations: list[MessageAnnotation] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


@wire_type
class ChunkChoice(WireObject):
    """What a chunk has to say of one choice.

    Attributes:
        finish_reason: Set on the last chunk of the choice.
    """

    index: int = 0
    delta: ChoiceDelta = attrs.field(factory=ChoiceDelta)
    finish_reason: FinishReason | None = None
    logprobs: ChoiceLogprobs | None = None


@wire_type
class ChatCompletionChunk(WireObject):
    """One event of the stream.

    Attributes:
        id: The same on every chunk of a stream, as a rule.
        choices: Empty on a chunk that only brings usage or moderation.
        created: In Unix seconds.
        obfuscation: Random characters that hide the length of the text from who watches the network.
        usage: So far, or of the whole call, where the request or the gateway wants it.
        contents: What image models put beside the choices, as it came.
    """

    id: str = ""
    choices: list[ChunkChoice] = attrs.field(factory=list)
    created: int = 0
    model: str = ""
    metadata: dict[str, Any] | None = None
    moderation: Moderation | None = None
    obfuscation: str | None = None
    service_tier: ServiceTier | None = None
    system_fingerprint: str | None = None
    usage: CompletionUsage | None = None
    contents: Any = None
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


@wire_type
class UnknownEvent(Unknown):
    """An event that is no chunk."""


Event = ChatCompletionChunk | UnknownEvent


def decode_event(data: dict[str, Any]) -> Event | None:
    """Return the event that a JSON object of the stream describes, or None for one that only keeps the connection open.

    Raises:
        ValueError: A known field holds what it cannot hold.
    """
    if data.get("object") != "chat.completion.chunk":
        return _decode_other(data)
    return _structure(data)


_structure: Callable[[dict[str, Any]], ChatCompletionChunk] = lazy(globals(), "_structure", ChatCompletionChunk)


def _decode_other(data: dict[str, Any]) -> Event | None:
    if data.get("object") == "chat.completion" or _has_messages(data.get("choices")):
        [data] = replay(data)  # some gateways answer with the whole completion in one event
    elif not ("choices" in data or "usage" in data):
        if not data or data.get("type") in ("ping", "keepalive"):
            return None
        return structure(data, UnknownEvent)
    return structure(data, ChatCompletionChunk)


def _has_messages(choices: Any) -> bool:
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and "message" in choice and "delta" not in choice for choice in choices
    )


def text_of(event: Event) -> str:
    """Return the text that an event adds to the first choice, reasoning left out; or an empty string."""
    if isinstance(event, ChatCompletionChunk):
        for choice in event.choices:
            if choice.index == 0:
                return choice.delta.content or ""
    return ""


def replay(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the chunks that would have streamed a whole completion: one, with all of each message as its delta."""
    choices = body.get("choices")
    head = {name: value for name, value in body.items() if name not in {"choices", "object"}}
    return [{**head, "object": "chat.completion.chunk", "choices": _replay_choices(choices)}]


def _replay_choices(choices: Any) -> Any:
    # What is no list of objects is left for the structuring to complain of.
    if not isinstance(choices, list):
        return choices
    return [_replay_choice(place, choice) if isinstance(choice, dict) else choice for place, choice in enumerate(choices)]


def _replay_choice(place: int, choice: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in choice.items() if name != "message"}
    delta = choice.get("message", choice.get("delta"))
    if isinstance(delta, dict) and isinstance(delta.get("tool_calls"), list):
        calls = [
            {"index": number, **call} if isinstance(call, dict) else call for number, call in enumerate(delta["tool_calls"])
        ]
        delta = {**delta, "tool_calls": calls}
    return {"index": place, **rest, "delta": delta}
