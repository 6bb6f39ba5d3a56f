"""The package under test, used as its README says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from typing import Any, Self

import orjson

from benchmarks.corpus import FORMATS
from benchmarks.peers import parameters
from dgrid_async import AsyncDGrid, Limits
from dgrid_async.endpoint import Endpoint
from dgrid_async.partial_json import PartialJSON
from dgrid_async.sse import SSEDecoder

__all__ = ["PEER"]


class _DGridClient:
    def __init__(self, url: str, connections: int) -> None:
        self._client = AsyncDGrid(api_key="k", base_url=url, limits=Limits(max_connections=connections))

    async def __aenter__(self) -> Self:
        """Return the client."""
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._client.__aexit__(None, None, None)

    def _method(self, format: str, *, streamed: bool) -> Callable[..., Any]:  # noqa: A002 -- the house's word for it
        client: Any = self._client
        if format == "generate_content":
            method: Callable[..., Any] = client.models.stream_generate_content if streamed else client.models.generate_content
            return method
        entry = client.chat.completions if format == "chat_completions" else getattr(client, format)
        method = entry.stream if streamed else entry.create
        return method  # noqa: RET504 -- gives it a type

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002
        """Return how many events came."""
        count = 0
        async with self._method(format, streamed=True)(**parameters(format)) as stream:
            async for _ in stream:
                count += 1
                if after is not None:
                    after()
        return count

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Hand each event's text on."""
        text_of = _endpoint(format).text_of
        async with self._method(format, streamed=True)(**parameters(format)) as stream:
            async for event in stream:
                see(text_of(event))

    async def plain(self, format: str) -> str:  # noqa: A002
        """Return the reply's text."""
        reply = await self._method(format, streamed=False)(**parameters(format))
        return str(reply.text)


@cache
def _endpoint(format: str) -> Endpoint[Any, Any]:  # noqa: A002
    endpoint: Endpoint[Any, Any] = import_module(f"dgrid_async.apis.{format}.endpoint").ENDPOINT
    return endpoint


class _DGrid:
    formats = frozenset(FORMATS)
    skills = frozenset({"stream", "plain", "split", "decode", "accumulate", "ready"})
    packages = ("dgrid_async", "aiohttp", "orjson", "attrs", "cattrs", "anyio")
    module = "dgrid_async"

    def client(self, url: str, connections: int) -> _DGridClient:
        return _DGridClient(url, connections)

    def split(self, chunks: Iterable[bytes]) -> int:
        payloads = SSEDecoder().payloads
        return sum([len(payloads(chunk)) for chunk in chunks])

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        loads, decode_event = orjson.loads, _endpoint(format).decode_event
        return lambda data: decode_event(loads(data))

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        accumulator: Any = _endpoint(format).accumulator()
        add, snapshot = accumulator.add, accumulator.snapshot
        look = _looker(format)
        for event in events:
            add(event)
            if live:
                look(snapshot())
        reply = snapshot()
        arguments = look(reply)
        return reply.text if arguments is None else arguments


def _looker(format: str) -> Callable[[Any], Any]:  # noqa: A002
    """Return what looks at what a tool call's arguments say so far; it gives None where there is no tool call."""
    if format == "messages":  # the snapshot holds them parsed
        return lambda reply: getattr(reply.content[0], "input", None) if reply.content else None
    if format != "chat_completions":
        return lambda _: None
    parser, fed = PartialJSON(), 0

    def look(reply: Any) -> Any:  # as text, so this parses what is new, as a caller would
        nonlocal fed
        calls = reply.choices[0].message.tool_calls if reply.choices else None
        if not calls:
            return None
        text = calls[0].function.arguments
        parser.feed(text[fed:])
        fed = len(text)
        return parser.copy()

    return look


PEER = _DGrid()
