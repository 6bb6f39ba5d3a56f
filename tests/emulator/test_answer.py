"""Answers made from prompts and scripts, before any format."""

from __future__ import annotations

import pytest

from dgrid_async.emulator import Script, ToolCall, Usage
from dgrid_async.emulator.answer import Answer, compose
from dgrid_async.emulator.prompt import Media, Prompt, Tool


def answer(script: Script | None = None, *, number: int = 1, **prompt: object) -> Answer:
    return compose(Prompt(model="m", **prompt), script or Script(), {}, number, "req_1")  # type: ignore[arg-type]  # short


def said(made: Answer) -> str:
    return "".join(made.texts[0])


def test_the_default_is_a_short_echo_in_words() -> None:
    made = answer(text="What is a gateway?", words=("What is a gateway?",))
    assert "“What is a gateway?”" in said(made)
    assert 10 <= len(made.texts[0]) <= 20
    assert not any((made.reasoning, made.calls, made.refusal))
    assert made.usage.input == 5


def test_a_long_text_is_quoted_in_part() -> None:
    assert len(answer(text="word " * 500).texts[0]) < 30


def test_media_are_named() -> None:
    made = answer(text="Look", media=(Media("image/png", 68), Media("audio/wav", 120)))
    assert "image/png, 68 bytes; audio/wav, 120 bytes" in said(made)


def test_the_same_request_and_number_give_the_same_answer() -> None:
    assert answer(text="Hi", number=3) == answer(text="Hi", number=3)
    first, second = answer(number=1), answer(number=2)
    assert (first.id, first.created) != (second.id, second.created)


def test_a_demanded_tool_is_called_without_text() -> None:
    tool = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})
    made = answer(tool=tool)
    assert [(call.name, call.parsed()) for call in made.calls] == [("get_weather", {"city": "city"})]
    assert made.texts == ((),)
    assert not answer(Script(text="No call."), tool=tool).calls


def test_a_demanded_schema_is_met() -> None:
    assert said(answer(schema={"type": "object", "properties": {"n": {"type": "integer"}}})) == '{"n": 1}'


def test_reasoning_when_asked_for_or_scripted() -> None:
    assert answer(reasoning=True).reasoning
    assert answer(Script(reasoning=""), reasoning=True).reasoning == ()
    assert answer(Script(reasoning=("a", "b"))).reasoning == ("a", "b")


def test_choices_and_alternatives() -> None:
    assert len(answer(choices=3).texts) == 3
    assert answer(Script(text="a", alternatives=("b", ("c", "d")))).texts == (("a",), ("b",), ("c", "d"))


def test_pieces_join_to_the_text() -> None:
    text = "  two  words\nand a line \n"
    made = answer(Script(text=text, tool_calls=(ToolCall("f", '{"a": "long enough to split"}'),)))
    assert said(made) == text
    assert len(made.calls[0].pieces) > 2
    assert made.calls[0].arguments == '{"a": "long enough to split"}'


def test_arguments_that_are_no_object() -> None:
    for text in ("{broken", "[1]"):
        made = answer(Script(tool_calls=(ToolCall("f", text),)))
        with pytest.raises(ValueError, match=r"f are no JSON object|property name"):
            made.calls[0].parsed()


def test_usage_counts_every_choice_or_is_scripted() -> None:
    made = answer(Script(text="one two", reasoning="three", alternatives=("four",)), words=("a b c",))
    assert made.usage == Usage(input=3, output=5, reasoning=2)
    assert answer(Script(usage=Usage(7, 8))).usage == Usage(7, 8)


def test_ids_of_calls() -> None:
    made = answer(Script(tool_calls=(ToolCall("f"), ToolCall("f"), ToolCall("f", id="mine"))))
    ids = [call.id("call_") for call in made.calls]
    assert len(set(ids)) == 3
    assert ids[0].startswith("call_")
    assert ids[2] == "mine"
