"""The four APIs as the command line sees them: how a question is put to each, and what is shown of its answer.

The same plan four times; nothing here waits or writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from dgrid_async import media
from dgrid_async.errors import ConfigError

if TYPE_CHECKING:
    from dgrid_async.client import AsyncDGrid
    from dgrid_async.stream import EventStream

__all__ = ["ENTRIES", "Entry", "Question"]

# Claude's API wants a bound; this one is below that of every model.
_MAX_TOKENS = 4096


@attrs.frozen(kw_only=True)
class Question:
    """What to ask, in no format yet.

    Attributes:
        media: Files that come before the prompt: image, audio or video, and the bytes or the path.
    """

    model: str
    prompt: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    media: tuple[tuple[str, media.Media], ...] = ()


class Entry(ABC):
    """One API.

    Attributes:
        name: As in `--api`.
        title: For people.
        model: The one to demonstrate it with.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    model: ClassVar[str]
    slice_name: ClassVar[str]
    blocks: ClassVar[Mapping[str, Callable[[media.Media], Any]]]
    """For each kind of media that the API takes, what makes a block of it."""

    def params(self, question: Question, *, stream: bool) -> dict[str, Any]:
        """Return the parameters of the call.

        Raises:
            ConfigError: The API takes no media of a kind that is there, or a file cannot be read or recognised.
        """
        for kind, _ in question.media:
            if kind not in self.blocks:
                able = [entry.name for entry in ENTRIES.values() if kind in entry.blocks]
                raise ConfigError(f"the {self.name} API takes no {kind}: use --api {' or '.join(able)}")
        try:
            blocks = [self.blocks[kind](data) for kind, data in question.media]
        except OSError as error:
            raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error
        fields = {"model": question.model, "temperature": question.temperature, **self._fields(question, blocks)}
        if stream:
            fields |= self._stream_fields
        return {name: value for name, value in fields.items() if value is not None}

    _stream_fields: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def _fields(self, question: Question, blocks: list[Any]) -> dict[str, Any]:
        """Return what this API calls prompt, system text and bound; None is left out."""

    @abstractmethod
    def stream(self, client: AsyncDGrid, params: dict[str, Any]) -> EventStream[Any, Any]:
        """Return the stream of the call, not opened."""

    @abstractmethod
    def create(self, client: AsyncDGrid, params: dict[str, Any]) -> Awaitable[Any]:
        """Return the call, to be awaited for the reply."""

    @property
    def text_of(self) -> Callable[[Any], str]:
        """What gives the answer's text that an event adds."""
        text_of: Callable[[Any], str] = import_module(f"dgrid_async.apis.{self.slice_name}.endpoint").ENDPOINT.text_of
        return text_of

    @abstractmethod
    def reasoning_of(self, event: Any) -> str:
        """Return the reasoning that an event adds, or an empty string."""

    @abstractmethod
    def thoughts_of(self, reply: Any) -> str:
        """Return the reasoning of a whole reply, or an empty string."""

    def refusal_of(self, reply: Any) -> str:
        """Return why the model does not answer, or an empty string; some formats keep that apart from the text."""
        del reply
        return ""

    @abstractmethod
    def finish_of(self, reply: Any) -> str | None:
        """Return why the answer ended, in the format's own word."""

    def tokens_of(self, usage: Any) -> tuple[int | None, int | None]:
        """Return the tokens that went in and came out; None where the gateway did not say."""
        return (None, None) if usage is None else self._counts(usage)

    @abstractmethod
    def _counts(self, usage: Any) -> tuple[int | None, int | None]:
        """Return the same, where there is something to read."""


class _Messages(Entry):
    name, title, model = "messages", "Claude Messages", "anthropic/claude-sonnet-4.5"
    slice_name = "messages"
    blocks: ClassVar = {"image": media.image_block}

    def _fields(self, question: Question, blocks: list[Any]) -> dict[str, Any]:
        return {
            "max_tokens": question.max_tokens or _MAX_TOKENS,
            "system": question.system,
            "messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": question.prompt}]}],
        }

    def stream(self, client: AsyncDGrid, params: dict[str, Any]) -> EventStream[Any, Any]:
        return client.messages.stream(**params)

    def create(self, client: AsyncDGrid, params: dict[str, Any]) -> Awaitable[Any]:
        return client.messages.create(**params)

    def reasoning_of(self, event: Any) -> str:
        delta = event.delta if event.type == "content_block_delta" else None
        return delta.thinking if delta is not None and delta.type == "thinking_delta" else ""

    def thoughts_of(self, reply: Any) -> str:
        return str(reply.thinking)

    def finish_of(self, reply: Any) -> str | None:
        reason: str | None = reply.stop_reason
        return reason

    def _counts(self, usage: Any) -> tuple[int | None, int | None]:
        return usage.input_tokens, usage.output_tokens


class _Chat(Entry):
    name, title, model = "chat", "Chat Completions", "openai/gpt-4o"
    slice_name = "chat_completions"
    blocks: ClassVar = {"image": media.image_part, "audio": media.input_audio}
    # Without it no stream of this format tells its token counts.
    _stream_fields: ClassVar = {"stream_options": {"include_usage": True}}

    def _fields(self, question: Question, blocks: list[Any]) -> dict[str, Any]:
        content = [*blocks, {"type": "text", "text": question.prompt}] if blocks else question.prompt
        system = [] if question.system is None else [{"role": "system", "content": question.system}]
        return {"max_tokens": question.max_tokens, "messages": [*system, {"role": "user", "content": content}]}

    def stream(self, client: AsyncDGrid, params: dict[str, Any]) -> EventStream[Any, Any]:
        return client.chat.completions.stream(**params)

    def create(self, client: AsyncDGrid, params: dict[str, Any]) -> Awaitable[Any]:
        return client.chat.completions.create(**params)

    def reasoning_of(self, event: Any) -> str:
        for choice in getattr(event, "choices", ()):
            if choice.index == 0:
                return choice.delta.reasoning_content or choice.delta.reasoning or ""
        return ""

    def thoughts_of(self, reply: Any) -> str:
        return str(reply.reasoning)

    def refusal_of(self, reply: Any) -> str:
        return reply.message.refusal or ""

    def finish_of(self, reply: Any) -> str | None:
        first = min(reply.choices, key=lambda choice: choice.index, default=None)
        return None if first is None else first.finish_reason

    def _counts(self, usage: Any) -> tuple[int | None, int | None]:
        return usage.prompt_tokens, usage.completion_tokens


class _Responses(Entry):
    name, title, model = "responses", "Responses", "openai/gpt-4o"
    slice_name = "responses"
    blocks: ClassVar = {"image": media.input_image, "audio": media.input_audio}

    def _fields(self, question: Question, blocks: list[Any]) -> dict[str, Any]:
        content = [*blocks, {"type": "input_text", "text": question.prompt}]
        return {
            "max_output_tokens": question.max_tokens,
            "instructions": question.system,
            "input": [{"role": "user", "content": content}] if blocks else question.prompt,
        }

    def stream(self, client: AsyncDGrid, params: dict[str, Any]) -> EventStream[Any, Any]:
        return client.responses.stream(**params)

    def create(self, client: AsyncDGrid, params: dict[str, Any]) -> Awaitable[Any]:
        return client.responses.create(**params)

    def reasoning_of(self, event: Any) -> str:
        kinds = {"response.reasoning_text.delta", "response.reasoning_summary_text.delta"}
        return event.delta if event.type in kinds else ""

    def thoughts_of(self, reply: Any) -> str:
        return str(reply.reasoning_text)

    def refusal_of(self, reply: Any) -> str:
        parts = (part for item in reply.output if item.type == "message" for part in item.content)
        return "".join(part.refusal for part in parts if part.type == "refusal")

    def finish_of(self, reply: Any) -> str | None:
        why: str | None = reply.incomplete_details and reply.incomplete_details.reason
        return why or reply.status

    def _counts(self, usage: Any) -> tuple[int | None, int | None]:
        return usage.input_tokens, usage.output_tokens


def _part(data: media.Media) -> Any:
    from dgrid_async.apis.generate_content.types import Part

    return Part.from_path(data) if isinstance(data, str) else Part.from_bytes(data)  # type: ignore[arg-type]


class _Gemini(Entry):
    name, title, model = "gemini", "Gemini", "gemini-1.5-pro"
    slice_name = "generate_content"
    blocks: ClassVar = {"image": _part, "audio": _part, "video": _part}

    def _fields(self, question: Question, blocks: list[Any]) -> dict[str, Any]:
        return {
            "max_output_tokens": question.max_tokens,
            "system_instruction": question.system,
            "contents": [*blocks, {"text": question.prompt}] if blocks else question.prompt,
        }

    def stream(self, client: AsyncDGrid, params: dict[str, Any]) -> EventStream[Any, Any]:
        return client.models.stream_generate_content(**params)

    def create(self, client: AsyncDGrid, params: dict[str, Any]) -> Awaitable[Any]:
        return client.models.generate_content(**params)

    def reasoning_of(self, event: Any) -> str:
        return str(event.reasoning)

    def thoughts_of(self, reply: Any) -> str:
        return str(reply.reasoning)

    def finish_of(self, reply: Any) -> str | None:
        blocked: str | None = reply.prompt_feedback and reply.prompt_feedback.block_reason
        return reply.finish_reason or blocked

    def _counts(self, usage: Any) -> tuple[int | None, int | None]:
        out, thoughts = usage.candidates_token_count, usage.thoughts_token_count
        return usage.prompt_token_count, None if out is thoughts is None else (out or 0) + (thoughts or 0)


ENTRIES: Mapping[str, Entry] = {entry.name: entry for entry in (_Chat(), _Messages(), _Responses(), _Gemini())}
