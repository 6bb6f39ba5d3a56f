"""anthropic-sdk-python: Messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Self

from anthropic import AsyncAnthropic
from anthropic._models import construct_type
from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent

from benchmarks.peers import parameters

__all__ = ["PEER"]


class _AnthropicClient:
    def __init__(self, url: str) -> None:
        self._client: Any = AsyncAnthropic(api_key="k", base_url=url, max_retries=0)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._client.close()

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002 -- the house's word for it
        """Return how many events came."""
        count = 0
        async for _ in await self._client.messages.create(**parameters(format), stream=True):
            count += 1
            if after is not None:
                after()
        return count

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Hand each event's text on."""
        async for event in await self._client.messages.create(**parameters(format), stream=True):
            see(event.delta.text if event.type == "content_block_delta" else "")

    async def plain(self, format: str) -> str:  # noqa: A002
        """Return the reply's text."""
        reply = await self._client.messages.create(**parameters(format))
        return str(reply.content[0].text)


class _Anthropic:
    formats = frozenset({"messages"})
    skills = frozenset({"stream", "plain", "split", "decode", "accumulate", "ready"})
    packages = ("anthropic",)
    module = "anthropic"

    def client(self, url: str, connections: int) -> _AnthropicClient:
        del connections  # its own bound is a thousand
        return _AnthropicClient(url)

    def split(self, chunks: Iterable[bytes]) -> int:
        return sum(1 for _ in SSEDecoder().iter_bytes(iter(chunks)))

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        del format
        cls: Any = RawMessageStreamEvent
        return lambda data: construct_type(type_=cls, value=json.loads(data))

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        del format, live  # its snapshot is parsed at each event, looked at or not
        snapshot: Any = None
        buffers: dict[int, bytes] = {}
        for event in events:
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
        block = snapshot.content[0]
        return block.text if block.type == "text" else block.input


PEER = _Anthropic()
