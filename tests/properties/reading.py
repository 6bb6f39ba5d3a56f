"""Reads the bytes of a stream through the sans-IO layer, as the stream does, without a socket or a loop.

It judges nothing: it says which events came, which reply they make and which error ended them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from dgrid_async.apis.chat_completions.endpoint import ENDPOINT as CHAT_COMPLETIONS
from dgrid_async.apis.generate_content.endpoint import ENDPOINT as GENERATE_CONTENT
from dgrid_async.apis.messages.endpoint import ENDPOINT as MESSAGES
from dgrid_async.apis.responses.endpoint import ENDPOINT as RESPONSES
from dgrid_async.body import Body
from dgrid_async.endpoint import Endpoint
from dgrid_async.errors import DGridError

__all__ = ["ENDPOINTS", "Outcome", "cut", "read", "without_nulls"]

ENDPOINTS: Mapping[str, Endpoint[Any, Any]] = {
    endpoint.name: endpoint for endpoint in (MESSAGES, CHAT_COMPLETIONS, RESPONSES, GENERATE_CONTENT)
}
MAX_EVENT_BYTES = 1024 * 1024


@dataclass
class Head:
    """The head of an answer that went well."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    content_type: str = "text/event-stream"
    request_id: str | None = "req_property"
    secret: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a body came to.

    Attributes:
        events: What was handed out.
        reply: The reply at the end, or what there was of it; None if there was none.
        error: What ended it, or None for a whole answer.
    """

    events: list[Any]
    reply: Any
    error: DGridError | None

    def told(self) -> tuple[Any, ...]:
        """Return all of it as plain values, to be compared with another reading of the same answer."""
        events = [(type(event).__name__, event.to_dict()) for event in self.events]
        reply = None if self.reply is None else (type(self.reply).__name__, self.reply.to_dict(), self.reply.text)
        failed = None if self.error is None else (type(self.error).__name__, getattr(self.error, "status", None))
        return events, reply, failed


def read(api: str, chunks: Iterable[bytes], *, max_event_bytes: int = MAX_EVENT_BYTES) -> Outcome:
    """Return what a body in these chunks comes to; raises what the layer lets escape."""
    body: Body[Any, Any] = Body(ENDPOINTS[api], Head(), max_event_bytes)
    events: list[Any] = []

    def take() -> None:
        while (event := body.take()) is not None:
            events.append(event)

    for chunk in chunks:
        if body.over:
            break
        body.feed(chunk)
        take()
    if not body.over:
        body.end()
        take()
    verdict = body.verdict()
    try:
        reply = body.snapshot()
    except DGridError as error:
        return Outcome(events, None, verdict or error)
    return Outcome(events, reply, verdict)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the data cut at these places; none of the chunks is empty."""
    bounds = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[start:end] for start, end in pairwise(bounds) if end > start]


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the fields that are null, at any depth."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
