"""openai-python: Chat Completions and Responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Self

from openai import AsyncOpenAI
from openai._models import construct_type
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from benchmarks.peers import parameters

__all__ = ["PEER"]

_CLASSES: dict[str, Any] = {"chat_completions": ChatCompletionChunk, "responses": ResponseStreamEvent}
# Strict, or the arguments are not parsed while they come.
_TOOL: Any = {"type": "function", "function": {"name": "put_rows", "strict": True, "parameters": {"type": "object"}}}


class _OpenAIClient:
    def __init__(self, url: str) -> None:
        self._client = AsyncOpenAI(api_key="k", base_url=url + "/v1", max_retries=0)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._client.close()

    def _create(self, format: str) -> Callable[..., Any]:  # noqa: A002 -- the house's word for it
        return self._client.chat.completions.create if format == "chat_completions" else self._client.responses.create

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002
        """Return how many events came."""
        count = 0
        async for _ in await self._create(format)(**parameters(format), stream=True):
            count += 1
            if after is not None:
                after()
        return count

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Hand each event's text on."""
        stream = await self._create(format)(**parameters(format), stream=True)
        if format == "chat_completions":
            async for chunk in stream:
                see((chunk.choices[0].delta.content or "") if chunk.choices else "")
        else:
            async for event in stream:
                see(event.delta if event.type == "response.output_text.delta" else "")

    async def plain(self, format: str) -> str:  # noqa: A002
        """Return the reply's text."""
        reply = await self._create(format)(**parameters(format))
        return str(reply.choices[0].message.content if format == "chat_completions" else reply.output_text)


class _OpenAI:
    formats = frozenset(_CLASSES)
    skills = frozenset({"stream", "plain", "split", "decode", "accumulate", "ready"})
    packages = ("openai",)
    module = "openai"

    def client(self, url: str, connections: int) -> _OpenAIClient:
        del connections  # its own bound is a thousand
        return _OpenAIClient(url)

    def split(self, chunks: Iterable[bytes]) -> int:
        return sum(1 for _ in SSEDecoder().iter_bytes(iter(chunks)))

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        cls = _CLASSES[format]
        return lambda data: construct_type(type_=cls, value=json.loads(data))

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        if format != "chat_completions":
            raise NotImplementedError
        state: Any = ChatCompletionStreamState(input_tools=[_TOOL])
        for event in events:
            state.handle_chunk(event)
            if live:
                message = state.current_completion_snapshot.choices[0].message
                _ = message.tool_calls[0].function.parsed_arguments if message.tool_calls else message.content
        message = state.current_completion_snapshot.choices[0].message
        return json.loads(message.tool_calls[0].function.arguments) if message.tool_calls else message.content


PEER = _OpenAI()
