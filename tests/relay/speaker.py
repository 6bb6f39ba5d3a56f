"""An upstream that says what a test tells it to, when it does, and knows when its reader has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dgrid_async import AsyncDGrid
from tests.loopback import Exchange, Loopback, client_of, loopback, open_stream


def chunk(text: str | None = None, finish: str | None = None) -> bytes:
    """Return one event of a chat stream."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %s\n\n" % json.dumps(value).encode()


END = chunk(finish="stop") + b"data: [DONE]\n\n"


class Speaker:
    """One stream at a time: `say` sends words, `send` anything, `end` ends it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.client: AsyncDGrid
        self.server: Loopback
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def stream(self, **params: Any) -> Any:
        """Return a stream, not opened."""
        return open_stream(self.client, **params)

    def say(self, *words: str) -> None:
        """Send each word as an event of its own, in one go."""
        self.send(b"".join(map(chunk, words)))

    def send(self, data: bytes | None) -> None:
        """Send bytes; None ends the body."""
        self._pieces.put_nowait(data)

    def end(self) -> None:
        """End the answer as it should be."""
        self.send(END)
        self.send(None)

    async def play(self, exchange: Exchange) -> None:
        self.asked.set()
        gone = asyncio.create_task(exchange.left())
        try:
            begun = False
            while True:
                piece = asyncio.create_task(self._pieces.get())
                await asyncio.wait({piece, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not piece.done():
                    piece.cancel()
                    self.left.set()
                    return
                if not begun:
                    begun = True
                    await exchange.begin_stream()
                if piece.result() is None:
                    await exchange.chunk(b"")
                    return
                await exchange.chunk(piece.result() or b"")
        finally:
            gone.cancel()
            await asyncio.wait({gone})


@asynccontextmanager
async def speaking(**options: Any) -> AsyncIterator[Speaker]:
    """Run one, with a client of it."""
    speaker = Speaker()
    async with loopback(speaker.play) as server, client_of(server, **options) as client:
        speaker.server, speaker.client = server, client
        yield speaker
