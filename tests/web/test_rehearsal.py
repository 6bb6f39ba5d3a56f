"""What the emulator says to a page without a key."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dgrid_async import AsyncDGrid
from dgrid_async.emulator import Emulator
from dgrid_async.relay.broadcasting import broadcast
from dgrid_async.web.questions import FORMATS, Question
from dgrid_async.web.rehearsal import PROMPTS, rehearse

LAST = {prompt: "error" if "Fail" in prompt else "finish" for prompt in PROMPTS}
SHORT = [prompt for prompt in PROMPTS if "long" not in prompt]


async def frames_of(name: str, *prompts: str) -> list[dict[str, Any]]:
    turns = [{"role": "user", "text": prompt} for prompt in prompts]
    question = Question.read({"format": name, "model": "m", "turns": turns})
    async with (
        Emulator(lambda received: dataclasses.replace(rehearse(received), pace=0.0)) as emulator,
        AsyncDGrid("k", base_url=emulator.url) as client,
        broadcast(question.stream(client)) as live,
    ):
        return [frame async for frame in live.subscribe()]


@pytest.mark.parametrize("name", FORMATS)
async def test_each_suggested_prompt_has_its_answer_in_each_format(name: str) -> None:
    kinds = {prompt: {frame["type"] for frame in await frames_of(name, prompt)} for prompt in SHORT}
    assert {prompt: next(iter(kinds[prompt] & {"finish", "error"})) for prompt in SHORT} == {p: LAST[p] for p in SHORT}
    assert "reasoning" in kinds["Think first, then answer"]
    assert {"text", "tool_call", "tool_end"} <= kinds["Call a tool"]
    assert "text" in kinds["Fail halfway"]


async def test_anything_else_is_echoed_and_only_the_last_turn_counts() -> None:
    frames = await frames_of("chat_completions", "Fail halfway", "Hello there")
    assert "Hello there" in "".join(frame.get("text", "") for frame in frames)
    assert frames[-1]["type"] == "finish"


def test_all_is_slow_enough_to_be_watched() -> None:
    assert all(script.pace > 0 for script in PROMPTS.values())


def test_a_long_answer_is_long() -> None:
    assert len(str(PROMPTS["Write a long answer"].text).split()) > 2000
