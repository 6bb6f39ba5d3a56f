"""What a stream of the Messages API is made of: its events, their deltas, and how JSON becomes them.

The kind of an event is what its JSON says; the event line of the stream is not looked at, since gateways leave it out.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from dgrid_async.apis.messages.types import (
    CacheCreation,
    Citation,
    Container,
    ContentBlock,
    Message,
    OutputTokensDetails,
    RefusalStopDetails,
    ServerToolUsage,
    StopReason,
    TextBlock,
)
from dgrid_async.structuring import structurer
from dgrid_async.wire import Unknown, WireObject, wire_type

__all__ = [
    "CitationsDelta",
    "ContentBlockDelta",
    "ContentBlockStart",
    "ContentBlockStop",
    "ContentDelta",
    "ErrorEvent",
    "Event",
    "InputJSONDelta",
    "MessageDelta",
    "MessageDeltaBody",
    "MessageDeltaUsage",
    "MessageStart",
    "MessageStop",
    "SignatureDelta",
    "TextDelta",
    "ThinkingDelta",
    "UnknownDelta",
    "UnknownEvent",
    "decode_event",
    "text_of",
]


# -------------------------------------------------------------------------------------------------------------- deltas


@wire_type
class TextDelta(WireObject):
    """More text."""

    text: str = ""
    type: Literal["text_delta"] = "text_delta"


@wire_type
class ThinkingDelta(WireObject):
    """More reasoning."""

    thinking: str = ""
    type: Literal["thinking_delta"] = "thinking_delta"


@wire_type
class SignatureDelta(WireObject):
    """The signature of the reasoning, whole."""

    signature: str = ""
    type: Literal["signature_delta"] = "signature_delta"


@wire_type
class InputJSONDelta(WireObject):
    """More of the JSON text of a tool call's input.

    Attributes:
        partial_json: A piece cut anywhere; the first is often empty, and all are where a tool takes no arguments.
    """

    partial_json: str = ""
    type: Literal["input_json_delta"] = "input_json_delta"


@wire_type
class CitationsDelta(WireObject):
    """One more citation of the text."""

    citation: Citation | None = None
    type: Literal["citations_delta"] = "citations_delta"


@wire_type
class UnknownDelta(Unknown):
    """A delta of a kind that this version does not know."""


ContentDelta = TextDelta | InputJSONDelta | ThinkingDelta | SignatureDelta | CitationsDelta | UnknownDelta
"""What is new in a content block."""


@wire_type
class MessageDeltaBody(WireObject):
    """What is new in the message beside its blocks."""

    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    stop_details: RefusalStopDetails | None = None
    container: Container | None = None


@wire_type
class MessageDeltaUsage(WireObject):
    """The counts so far: totals, not increments.

    Attributes:
        input_tokens: None, like every other count, where the event does not say; what came before then stands.
        cache_creation: This and the last three belong to the message's start; gateways send them here as well.
    """

    output_tokens: int | None = None
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUsage | None = None
    cache_creation: CacheCreation | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None


# -------------------------------------------------------------------------------------------------------------- events


@wire_type
class MessageStart(WireObject):
    """The answer begins.

    Attributes:
        message: The message without its blocks, and with the first counts.
    """

    message: Message = attrs.field(factory=Message)
    type: Literal["message_start"] = "message_start"


@wire_type
class ContentBlockStart(WireObject):
    """A block begins.

    Attributes:
        index: The block's place in the message's content.
        content_block: An empty shell that deltas fill, or a whole block: tool results come so.
    """

    index: int = 0
    content_block: ContentBlock | None = None
    type: Literal["content_block_start"] = "content_block_start"


@wire_type
class ContentBlockDelta(WireObject):
    """A block grows.

    Attributes:
        index: The block's place in the message's content.
    """

    index: int = 0
    delta: ContentDelta | None = None
    type: Literal["content_block_delta"] = "content_block_delta"


@wire_type
class ContentBlockStop(WireObject):
    """A block is whole.

    Attributes:
        index: The block's place in the message's content.
    """

    index: int = 0
    type: Literal["content_block_stop"] = "content_block_stop"


@wire_type
class MessageDelta(WireObject):
    """Why the model stopped, and the counts so far; may come several times."""

    delta: MessageDeltaBody = attrs.field(factory=MessageDeltaBody)
    usage: MessageDeltaUsage | None = None
    type: Literal["message_delta"] = "message_delta"


@wire_type
class MessageStop(WireObject):
    """The answer is whole; the last event of a stream."""

    type: Literal["message_stop"] = "message_stop"


@wire_type
class ErrorEvent(WireObject):
    """The answer failed; nothing follows.

    Attributes:
        error: What failed: an object with `type` and `message`, or what else the server put there. A plain value, since
            errors of every vendor come here.
    """

    error: Any = None
    request_id: str | None = None
    type: Literal["error"] = "error"


@wire_type
class UnknownEvent(Unknown):
    """An event of a kind that this version does not know."""


Event = (
    MessageStart
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
    | ErrorEvent
    | UnknownEvent
)
"""What a stream yields."""


# ------------------------------------------------------------------------------------------------------------ decoding

_CLASSES: dict[str, type[WireObject]] = {
    "content_block_delta": ContentBlockDelta,
    "content_block_start": ContentBlockStart,
    "content_block_stop": ContentBlockStop,
    "error": ErrorEvent,
    "message_delta": MessageDelta,
    "message_start": MessageStart,
    "message_stop": MessageStop,
}

# The structuring functions of the kinds that have come so far; a ping says nothing but that the connection is alive.
_DECODERS: dict[str, Callable[[Any], Any]] = {"ping": lambda _: None}


def decode_event(data: dict[str, Any]) -> Event | None:
    """Return the event that a JSON object of the stream describes, or None for a ping.

    Raises:
        MismatchError: A known field holds what it cannot hold.
    """
    try:
        decode = _DECODERS[data["type"]]
    except (KeyError, TypeError):
        decode = _decoder(data)
    return decode(data)  # type: ignore[no-any-return]  # one function for each class of the union


def _decoder(data: Any) -> Callable[[Any], Any]:
    """Return the function for an event whose kind has not come yet, or is none that is known."""
    kind = data.get("type") if isinstance(data, dict) else None
    cls = _CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return structurer(UnknownEvent)
    return _DECODERS.setdefault(kind, structurer(cls))  # type: ignore[arg-type]  # a string: it has a class


def text_of(event: Event) -> str:
    """Return the answer's text that an event adds, or an empty string; reasoning is none of it."""
    if type(event) is ContentBlockDelta:
        delta = event.delta
        return delta.text if type(delta) is TextDelta else ""
    if isinstance(event, ContentBlockStart) and isinstance(event.content_block, TextBlock):
        return event.content_block.text
    if isinstance(event, MessageStart):
        return event.message.text
    return ""
