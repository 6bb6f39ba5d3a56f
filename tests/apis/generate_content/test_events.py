"""One streamed event: decoded whole, and the text in it."""

from __future__ import annotations

from typing import Any

import pytest

from dgrid_async.apis.generate_content.events import Event, decode_event, text_of
from dgrid_async.apis.generate_content.types import GenerateContentResponse


def event(wire: dict[str, Any]) -> Event:
    decoded = decode_event(wire)
    assert decoded is not None
    return decoded


def said(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    return {"content": {"parts": list(parts), "role": "model"}, **candidate}


def test_an_event_is_a_reply_of_what_is_new() -> None:
    wire = {"candidates": [said({"text": "x"}, index=0)], "modelVersion": "m", "new": [1], "promptFeedback": None}
    decoded = event(wire)
    assert type(decoded) is Event is GenerateContentResponse
    assert decoded.model_version == "m"
    assert decoded.extra == {"new": [1]}
    assert decoded.to_dict() == wire


@pytest.mark.parametrize("wire", [{}, {"type": "ping"}])
def test_keep_alives_are_no_events(wire: dict[str, Any]) -> None:
    assert decode_event(wire) is None


@pytest.mark.parametrize("wire", [{"type": "heartbeat", "n": 1}, {"type": "ping", "candidates": []}, {"x": None}])
def test_what_is_unknown_is_kept(wire: dict[str, Any]) -> None:
    assert event(wire).to_dict() == wire


@pytest.mark.parametrize("wire", [{"candidates": "x"}, {"candidates": [5]}, {"responseId": []}])
def test_wrong_types_are_value_errors(wire: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="belongs here"):
        decode_event(wire)


@pytest.mark.parametrize(
    ("candidates", "text"),
    [
        ([said({"text": "a"}, index=0)], "a"),
        ([said({"text": "a"})], "a"),
        ([said({"text": "a"}, {"inlineData": {}}, {"text": "b"}, index=0)], "ab"),
        ([said({"text": "hm", "thought": True}, {"text": "b", "thought": False}, index=0)], "b"),
        ([said({"text": "b"}, index=1), said({"text": "a"}, index=0)], "a"),
        ([said({"text": "b"}, index=1)], ""),
        ([said({"text": "a"}), said({"text": "b"})], "a"),
        ([{"index": 0, "finishReason": "STOP"}], ""),
        ([said({"text": ""}, index=0)], ""),
        ([], ""),
        (None, ""),
    ],
)
def test_text_is_that_of_the_first_candidate(candidates: Any, text: str) -> None:
    assert text_of(event({"candidates": candidates})) == text
