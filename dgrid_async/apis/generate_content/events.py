"""The events of a stream: each is a `GenerateContentResponse` that holds only what is new.

The format has no kinds of event and no names for them. This module decodes one event; it never merges two.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dgrid_async.apis.generate_content.types import GenerateContentResponse
from dgrid_async.structuring import lazy

__all__ = ["Event", "decode_event", "text_of"]

Event = GenerateContentResponse


def decode_event(data: dict[str, Any]) -> Event | None:
    """Return the event that a JSON object describes, or None for one that only keeps the connection open.

    Fields it does not know are kept.

    Raises:
        ValueError: A known field holds what it cannot hold.
    """
    if "candidates" not in data and (not data or data.get("type") == "ping"):
        return None
    return _structure(data)


_structure: Callable[[dict[str, Any]], Event] = lazy(globals(), "_structure", GenerateContentResponse)


def text_of(event: Event) -> str:
    """Return the answer's text that an event adds to the first candidate, reasoning left out."""
    for position, candidate in enumerate(event.candidates):
        # A candidate without an index is the one of its place.
        if (position if candidate.index is None else candidate.index) == 0:
            return "" if candidate.content is None else candidate.content.text
    return ""
