"""What is read as a question, and what each format makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from dgrid_async import AsyncDGrid, ConfigError
from dgrid_async.emulator import Emulator, Script
from dgrid_async.relay.broadcasting import broadcast
from dgrid_async.web.questions import FORMATS, Question, Turn

GOOD: dict[str, Any] = {"format": "messages", "model": " m ", "turns": [{"role": "user", "text": "Hi"}]}
TALK = [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Ho"}, {"role": "user", "text": "And?"}]


def test_a_question_is_read() -> None:
    assert Question.read(GOOD) == Question(format="messages", model="m", turns=(Turn("user", "Hi"),))
    assert Question.read({**GOOD, "reasoning": True}).reasoning is True
    assert Question.read({**GOOD, "reasoning": "yes"}).reasoning is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "morse"},
        {"format": None},
        {"format": ["messages"]},
        {"model": ""},
        {"model": "  "},
        {"model": 7},
        {"model": "m" * 201},
        {"turns": []},
        {"turns": "Hi"},
        {"turns": ["Hi"]},
        {"turns": [{"role": "system", "text": "Hi"}]},
        {"turns": [{"role": "user", "text": " \n"}]},
        {"turns": [{"role": "user", "text": {"a": 1}}]},
        {"turns": [{"role": ["user"], "text": "Hi"}]},
        {"turns": TALK[:2]},
    ],
    ids=str,
)
def test_what_is_no_question_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Question.read({**GOOD, **wrong})


@pytest.mark.parametrize("data", [None, [], "Hi", 7])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="object"):
        Question.read(data)


def said(body: Any) -> list[tuple[str, str]]:
    """Return the conversation as each format writes it."""
    turns = body.get("messages") or body.get("input") or body["contents"]
    return [(turn["role"], turn["content"] if "content" in turn else turn["parts"][0]["text"]) for turn in turns]


@pytest.mark.parametrize("name", FORMATS)
async def test_the_conversation_goes_along_in_each_format(name: str) -> None:
    model = FORMATS[name].models[0]
    question = Question.read({"format": name, "model": model, "turns": TALK})
    async with Emulator(Script(text="Fine.")) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        async with broadcast(question.stream(client)) as live:
            report = await live.wait()
        assert (report.outcome, report.reply.text) == ("completed", "Fine.")
        assert report.usage is not None
        other = "model" if name == "generate_content" else "assistant"
        assert said(emulator.log[0].body) == [("user", "Hi"), (other, "Ho"), ("user", "And?")]
        assert model in (emulator.log[0].path + str(emulator.log[0].body.get("model")))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wanted", [True, False])
async def test_reasoning_is_asked_for_in_each_formats_way(name: str, wanted: bool) -> None:
    question = Question.read({"format": name, "model": "m", "turns": TALK[:1], "reasoning": wanted})
    async with (
        Emulator() as emulator,
        AsyncDGrid("k", base_url=emulator.url) as client,
        broadcast(question.stream(client)) as live,
    ):
        frames = [frame async for frame in live.subscribe()]
    assert frames[-1]["type"] == "finish"
    assert any(frame["type"] == "reasoning" for frame in frames) is wanted
