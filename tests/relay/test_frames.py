from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import ConfigError, RateLimitError
from dgrid_async.relay import frames as module
from dgrid_async.relay.frames import Framer, error_frame, frame_json
from tests.relay.answers import SLICES, events_of, framed

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


def data_of(name: str, title: str = "text") -> bytes:
    return (TRANSCRIPTS / name / f"{title}.sse").read_bytes()


@pytest.mark.parametrize("name", SLICES)
def test_one_shape_for_all_formats(name: str) -> None:
    frames, body = framed(name, data_of(name))
    start, *said, finish = frames
    assert start == {"id": 1, "type": "start", "reply": start["reply"], "model": start["model"]}
    assert start["model"]
    if body.usage is not None:
        usage = said.pop()
        assert usage["type"] == "usage"
        assert usage["input_tokens"] > 0 < usage["output_tokens"]
    assert (finish["type"], finish["reason"]) == ("finish", "stop")
    assert {frame["type"] for frame in said} == {"text"}
    assert "".join(frame["text"] for frame in said) == body.snapshot().text


@pytest.mark.parametrize("name", SLICES)
def test_every_frame_is_of_a_kind_and_shape_that_is_documented(name: str) -> None:
    told = {"id", "type", "refusal", "reasoning_tokens", "cached_tokens", "choices"}
    rows = re.findall(r"^    (\w+) +((?:\w+, )*\w+)", module.__doc__ or "", re.MULTILINE)
    shapes = {kind: {*fields.split(", ")} for kind, fields in rows}
    assert set(shapes) >= {"start", "text", "reasoning", "tool_call", "tool_arguments", "tool_end", "usage", "finish", "error"}
    shapes["error"] |= {"request_id"}
    shapes["tool_call"] |= {"kind", "call"}
    for path in (TRANSCRIPTS / name).glob("*.sse"):
        for frame in framed(name, path.read_bytes())[0]:
            assert set(frame) - told == shapes[frame["type"]], frame


@pytest.mark.parametrize("name", SLICES)
def test_raw_frames_are_the_vendors_events(name: str) -> None:
    frames, _ = framed(name, data_of(name), raw=True)
    events, _ = events_of(name, data_of(name))
    assert [frame["event"] for frame in frames if frame["type"] == "raw"] == [event.to_dict() for event in events]
    assert {frame["type"] for frame in frames} - {"usage"} == {"start", "raw", "finish"}
    assert [frame["id"] for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1]["reason"] == "stop"


@pytest.mark.parametrize(
    ("name", "title", "reason"),
    [
        ("messages", "tool_use", "tool_calls"),
        ("messages", "refusal", "filtered"),
        ("chat_completions", "tool_call", "tool_calls"),
        ("responses", "function_call", "tool_calls"),
        ("responses", "web_search", "stop"),
        ("responses", "incomplete", "length"),
        ("generate_content", "function_call", "tool_calls"),
        ("generate_content", "safety_prompt_block", "filtered"),
    ],
)
def test_reasons_have_one_vocabulary(name: str, title: str, reason: str) -> None:
    assert framed(name, data_of(name, title))[0][-1]["reason"] == reason


@pytest.mark.parametrize("name", SLICES)
def test_counts_have_one_meaning(name: str) -> None:
    from dgrid_async import chat_completions, generate_content, messages, responses

    usage: Any = {
        "messages": messages.Usage(input_tokens=5, cache_read_input_tokens=3, cache_creation_input_tokens=2, output_tokens=9),
        "chat_completions": chat_completions.CompletionUsage(
            10, 9, 19, chat_completions.PromptTokensDetails(cached_tokens=3), None
        ),
        "responses": responses.ResponseUsage(10, responses.InputTokensDetails(cached_tokens=3), 9, None, 19),
        "generate_content": generate_content.UsageMetadata(
            prompt_token_count=10, candidates_token_count=4, thoughts_token_count=5, cached_content_token_count=3
        ),
    }[name]
    frame = Framer(name).end(usage)[0]
    thought = {"reasoning_tokens": 5} if name == "generate_content" else {}
    assert frame == {"id": 1, "type": "usage", "input_tokens": 10, "output_tokens": 9, "cached_tokens": 3, **thought}


def test_an_answer_may_end_in_an_error_or_be_stopped() -> None:
    error = RateLimitError("slow down", status=429, code="rate", retry_after=2.5, request_id="r1")
    assert Framer("messages").fail(error) == [
        {
            "id": 1,
            "type": "error",
            "error": "RateLimitError",
            "status": 429,
            "code": "rate",
            "message": "slow down",
            "retry_after": 2.5,
            "request_id": "r1",
        }
    ]
    assert Framer("messages").stop() == [{"id": 1, "type": "finish", "reason": "stopped", "native": None}]


@pytest.mark.parametrize("error", [ValueError("secret /srv/path"), ConfigError("secret option")])
def test_the_servers_own_mistakes_are_none_of_the_pages_business(error: Exception) -> None:
    frame = error_frame(error)
    assert frame["error"] == "InternalError"
    assert "secret" not in json.dumps(frame)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'smoke'.*messages"):
        Framer("smoke")


def test_json_is_one_line() -> None:
    text = frame_json({"id": 1, "type": "text", "text": "a\nb\u2028 🙂"})
    assert len(text.splitlines()) == 1 or "\u2028" in text
    assert "\n" not in text
    assert json.loads(text)["text"] == "a\nb\u2028 🙂"
