"""What the page asks: a conversation so far, for one model in one format, and how that becomes a call.

It reads what came as JSON and trusts nothing of it. It waits for nothing: the stream that it returns is not opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import attrs

from dgrid_async.client import AsyncDGrid
from dgrid_async.errors import ConfigError
from dgrid_async.stream import EventStream

__all__ = ["FORMATS", "Format", "Question", "Turn"]

# Claude's API wants a bound on the answer, and with thoughts one on those, which the first includes.
_MAX_TOKENS = 8192
_MOST_THOUGHT = 4096
_LONGEST_MODEL = 200
_ROLES = ("user", "assistant")


@attrs.frozen
class Turn:
    """What one side said; `role` is "user" or "assistant"."""

    role: str
    text: str


@attrs.frozen(kw_only=True)
class Question:
    """What the page asks.

    Attributes:
        format: A name among `FORMATS`.
        model: The model's id, whatever it is.
        turns: The conversation; the last turn is the user's.
        reasoning: Whether the model is asked to show what it thinks; one that cannot may refuse.
    """

    format: str
    model: str
    turns: tuple[Turn, ...]
    reasoning: bool = False

    @classmethod
    def read(cls, data: Any) -> Self:
        """Return the question in what was sent as JSON.

        Raises:
            ConfigError: It is none.
        """
        if not isinstance(data, dict):
            raise ConfigError("a question is a JSON object")
        name, model, turns = data.get("format"), data.get("model"), data.get("turns")
        if not isinstance(name, str) or name not in FORMATS:
            raise ConfigError(f"format: give one of {', '.join(FORMATS)}")
        if not isinstance(model, str) or not 0 < len(model.strip()) <= _LONGEST_MODEL:
            raise ConfigError(f"model: give an id of 1 to {_LONGEST_MODEL} characters")
        if not isinstance(turns, list) or not turns:
            raise ConfigError("turns: give a list with one at least")
        said = tuple(_turn(turn) for turn in turns)
        if said[-1].role != "user":
            raise ConfigError("turns: the last one is the user's")
        return cls(format=name, model=model.strip(), turns=said, reasoning=data.get("reasoning") is True)

    def stream(self, client: AsyncDGrid) -> EventStream[Any, Any]:
        """Return the stream of the answer, not opened.

        Raises:
            ConfigError: The format cannot name this model.
        """
        return FORMATS[self.format].ask(client, self)


def _turn(data: Any) -> Turn:
    role, text = (data.get("role"), data.get("text")) if isinstance(data, dict) else (None, None)
    if role not in _ROLES or not isinstance(text, str) or not text.strip():
        raise ConfigError('turns: each has a role, "user" or "assistant", and a text that is not empty')
    return Turn(role, text)


# ----------------------------------------------------------------------------------------------------------- the formats


@attrs.frozen
class Format:
    """One wire format as the page offers it.

    Attributes:
        title: For people.
        models: Some to begin with, the first of them chosen; any other can be typed.
        ask: From a question to a stream.
    """

    title: str
    models: tuple[str, ...]
    ask: Callable[[AsyncDGrid, Question], EventStream[Any, Any]]


def _said(question: Question) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.text} for turn in question.turns]


def _messages(client: AsyncDGrid, question: Question) -> EventStream[Any, Any]:
    params: dict[str, Any] = {"model": question.model, "max_tokens": _MAX_TOKENS, "messages": _said(question)}
    if question.reasoning:
        params["thinking"] = {"type": "enabled", "budget_tokens": _MOST_THOUGHT}
    return client.messages.stream(**params)


def _chat_completions(client: AsyncDGrid, question: Question) -> EventStream[Any, Any]:
    params: dict[str, Any] = {
        "model": question.model,
        "messages": _said(question),
        # Without it no stream of this format tells its token counts.
        "stream_options": {"include_usage": True},
    }
    if question.reasoning:
        params["reasoning_effort"] = "medium"
    return client.chat.completions.stream(**params)


def _responses(client: AsyncDGrid, question: Question) -> EventStream[Any, Any]:
    # The conversation comes with each question, so nothing needs to be kept for the next one.
    params: dict[str, Any] = {"model": question.model, "input": _said(question), "store": False}
    if question.reasoning:
        params["reasoning"] = {"effort": "medium", "summary": "auto"}
    return client.responses.stream(**params)


def _generate_content(client: AsyncDGrid, question: Question) -> EventStream[Any, Any]:
    roles = {"user": "user", "assistant": "model"}
    contents = [{"role": roles[turn.role], "parts": [{"text": turn.text}]} for turn in question.turns]
    params: dict[str, Any] = {"model": question.model, "contents": contents}
    if question.reasoning:
        params["config"] = {"thinking_config": {"include_thoughts": True}}
    return client.models.stream_generate_content(**params)


FORMATS: Mapping[str, Format] = {
    "chat_completions": Format(
        "OpenAI Chat Completions",
        ("openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash", "dgridai/free"),
        _chat_completions,
    ),
    "messages": Format(
        "Claude Messages", ("anthropic/claude-sonnet-4.5", "anthropic/claude-haiku-4.5", "anthropic/claude-opus-4.1"), _messages
    ),
    "responses": Format("OpenAI Responses", ("openai/gpt-4o", "openai/gpt-5", "openai/o4-mini"), _responses),
    "generate_content": Format(
        "Gemini", ("google/gemini-2.5-flash", "google/gemini-2.5-pro", "gemini-1.5-pro"), _generate_content
    ),
}
"""The formats by their names, in the order in which the page offers them."""
