"""google-genai: generateContent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Self

from google import genai
from google.genai import types

from benchmarks.peers import parameters

__all__ = ["PEER"]


class _GenaiClient:
    def __init__(self, url: str) -> None:
        self._client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url, api_version="v1"))

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._client.aio.aclose()

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002 -- the house's word for it
        """Return how many events came."""
        count = 0
        async for _ in await self._client.aio.models.generate_content_stream(**parameters(format)):
            count += 1
            if after is not None:
                after()
        return count

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Hand each event's text on."""
        async for chunk in await self._client.aio.models.generate_content_stream(**parameters(format)):
            see(chunk.text or "")

    async def plain(self, format: str) -> str:  # noqa: A002
        """Return the reply's text."""
        reply = await self._client.aio.models.generate_content(**parameters(format))
        return reply.text or ""


class _Genai:
    formats = frozenset({"generate_content"})
    skills = frozenset({"stream", "plain", "decode", "ready"})
    packages = ("google-genai",)
    module = "google.genai"

    def client(self, url: str, connections: int) -> _GenaiClient:
        del connections  # left as it comes
        return _GenaiClient(url)

    def split(self, chunks: Iterable[bytes]) -> int:
        raise NotImplementedError  # it has no decoder of event streams: it takes lines that begin with `data: `

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        del format
        made: Any = types.GenerateContentResponse._from_response  # noqa: SLF001 -- what its stream calls for each chunk
        empty: dict[str, Any] = {}
        return lambda data: made(response=json.loads(data), kwargs=empty)

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        raise NotImplementedError  # it has none


PEER = _Genai()
