"""The floor: bare aiohttp, split at blank lines, JSON to dict. It checks nothing, and gives no typed event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Self

import aiohttp
import orjson

from benchmarks.corpus import FORMATS, PATHS
from benchmarks.peers import parameters, text_in, text_of_reply

__all__ = ["PEER", "Bare", "BareClient"]


class BareClient:
    """An aiohttp session."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._connections = connections

    async def __aenter__(self) -> Self:
        """Return the client."""
        connector = aiohttp.TCPConnector(limit=self._connections, timeout_ceil_threshold=math.inf)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        await self._session.close()

    def _post(self, format: str, *, streamed: bool) -> Any:  # noqa: A002 -- the house's word for it
        body = parameters(format)
        if format != "generate_content":
            body["stream"] = streamed
        path = PATHS[format]
        headers = {"authorization": "Bearer k", "content-type": "application/json"}
        return self._session.post(self._url + path, data=orjson.dumps(body), headers=headers)

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002
        """Return how many events came."""
        loads = orjson.loads
        count = 0
        rest = b""
        async with self._post(format, streamed=True) as response:
            read = response.content.readany
            while chunk := await read():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    data = block[block.find(b"data: ") + 6 :]
                    if data != b"[DONE]":
                        loads(data)
                        count += 1
                        if after is not None:
                            after()
        return count

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Hand each event's text on."""
        loads = orjson.loads
        rest = b""
        async with self._post(format, streamed=True) as response:
            read = response.content.readany
            while chunk := await read():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    data = block[block.find(b"data: ") + 6 :]
                    if data != b"[DONE]":
                        event = loads(data)
                        if event.get("choices") != []:
                            see(text_in(format, event))

    async def plain(self, format: str) -> str:  # noqa: A002
        """Return the reply's text."""
        async with self._post(format, streamed=False) as response:
            reply = orjson.loads(await response.read())
        return text_of_reply(format, reply)


class Bare:
    """The floor."""

    formats = frozenset(FORMATS)
    skills = frozenset({"stream", "plain", "split", "decode", "accumulate", "ready"})
    packages: tuple[str, ...] = ("aiohttp", "orjson")
    module = "aiohttp"

    def client(self, url: str, connections: int) -> BareClient:
        """Return a client."""
        return BareClient(url, connections)

    def split(self, chunks: Iterable[bytes]) -> int:
        """Return how many events the chunks hold: blank lines, and what stands behind `data: `."""
        count = 0
        rest = b""
        for chunk in chunks:
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                if block[block.find(b"data: ") + 6 :]:
                    count += 1
        return count

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        """Return JSON to dict."""
        del format
        return orjson.loads

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        """Join the texts; of a tool call, only at the end."""
        del live
        return "".join([text_in(format, event) for event in events if event.get("choices") != []])


PEER = Bare()
