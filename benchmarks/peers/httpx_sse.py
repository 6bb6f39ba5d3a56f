"""httpx-sse: a decoder of event streams over httpx, JSON to dict by hand; all four formats, and no typed event."""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from typing import Any, Self

import httpx
from httpx_sse import aconnect_sse
from httpx_sse._decoders import SSEDecoder, SSELineDecoder

from benchmarks.corpus import FORMATS, PATHS
from benchmarks.peers import parameters, text_in, text_of_reply

__all__ = ["PEER"]


class _HttpxClient:
    def __init__(self, url: str, connections: int) -> None:
        limits = httpx.Limits(max_connections=connections)
        self._url = url
        self._client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)  # noqa: S113 -- as all peers here

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._client.aclose()

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002 -- the house's word for it
        """Return how many events came."""
        count = 0
        body = {**parameters(format), "stream": True}
        async with aconnect_sse(self._client, "POST", self._url + PATHS[format], json=body) as source:
            async for sse in source.aiter_sse():
                if sse.data != "[DONE]":
                    json.loads(sse.data)
                    count += 1
                    if after is not None:
                        after()
        return count

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Hand each event's text on."""
        body = {**parameters(format), "stream": True}
        async with aconnect_sse(self._client, "POST", self._url + PATHS[format], json=body) as source:
            async for sse in source.aiter_sse():
                if sse.data != "[DONE]":
                    event = json.loads(sse.data)
                    if event.get("choices") != []:
                        see(text_in(format, event))

    async def plain(self, format: str) -> str:  # noqa: A002
        """Return the reply's text."""
        response = await self._client.post(self._url + PATHS[format], json=parameters(format))
        return text_of_reply(format, response.json())


class _HttpxSSE:
    formats = frozenset(FORMATS)
    skills = frozenset({"stream", "plain", "split"})
    packages = ("httpx-sse", "httpx")
    module = "httpx_sse"

    def client(self, url: str, connections: int) -> _HttpxClient:
        return _HttpxClient(url, connections)

    def split(self, chunks: Iterable[bytes]) -> int:
        lines, decoder, characters = SSELineDecoder(), SSEDecoder(), getincrementaldecoder("utf-8")()
        count = 0
        for chunk in chunks:
            for line in lines.decode(characters.decode(chunk)):
                count += decoder.decode(line) is not None
        return count

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        del format
        return json.loads

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        raise NotImplementedError  # it knows nothing of what the events mean


PEER = _HttpxSSE()
