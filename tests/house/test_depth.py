"""How deep a call and a token go: counts, which no machine's load changes."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from dgrid_async import AsyncDGrid
from dgrid_async.emulator import Emulator, Script

MOST_CALLS, MOST_AWAITS, MOST_FRAMES = 90, 3, 4
TOKENS = 150
WORDS = tuple(f"tok{n} " for n in range(TOKENS + 60))
CALLS: dict[str, Any] = {
    "messages": lambda c: c.messages.stream(model="m", max_tokens=64, messages=[{"role": "user", "content": "Hi"}]),
    "chat_completions": lambda c: c.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Hi"}]),
    "responses": lambda c: c.responses.stream(model="m", input="Hi"),
    "generate_content": lambda c: c.models.stream_generate_content(model="m", contents="Hi"),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An emulator in a thread of its own: what it calls is not what the client calls."""
    ready = threading.Event()
    box: dict[str, Any] = {}

    async def run() -> None:
        async with Emulator(Script(text=WORDS, pace=0.001)) as emulator:
            box.update(url=emulator.url, loop=asyncio.get_running_loop(), stop=asyncio.Event())
            ready.set()
            await box["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    yield box["url"]
    box["loop"].call_soon_threadsafe(box["stop"].set)
    thread.join()


@pytest.mark.parametrize("name", list(CALLS))
async def test_python_calls_of_a_token(url: str, name: str) -> None:
    """From the socket's readiness to the event in the caller's hand: the event loop's and aiohttp's calls included."""
    calls = 0

    def count(_frame: Any, what: str, _argument: Any) -> None:
        nonlocal calls
        calls += what == "call"

    seen = 0
    async with AsyncDGrid("k", base_url=url) as client, CALLS[name](client) as stream:
        async for _ in stream:
            seen += 1
            if seen == 40:
                sys.setprofile(count)
            elif seen == 40 + TOKENS:
                sys.setprofile(None)
                break
    per_token = calls / TOKENS
    assert 5 < per_token <= MOST_CALLS, per_token


@pytest.mark.parametrize("name", list(CALLS))
async def test_awaits_between_the_loop_and_the_socket(url: str, name: str) -> None:
    async with AsyncDGrid("k", base_url=url) as client, CALLS[name](client) as stream:

        async def read() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(read())
        deepest = 0
        while not task.done():
            names, awaited = [], task.get_coro()
            while awaited is not None and hasattr(awaited, "cr_await"):
                names.append(awaited.__qualname__)
                awaited = awaited.cr_await
            if "QuickReader.readany" in names:
                deepest = max(deepest, len(names) - 1)  # `read` is the caller's
            await asyncio.sleep(0)
        await task
    assert 1 < deepest <= MOST_AWAITS


@pytest.mark.parametrize("name", ["messages", "chat_completions", "responses", "generate_content"])
async def test_frames_between_create_and_the_http_library(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = aiohttp.ClientSession._request
    frames: list[str] = []

    async def seen(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame: Any = sys._getframe()
        while frame is not None:
            if "/dgrid_async/" in frame.f_code.co_filename:
                frames.append(frame.f_code.co_qualname)
            frame = frame.f_back
        return await request(self, *args, **kwargs)

    async def call(client: AsyncDGrid) -> None:
        messages: Any = [{"role": "user", "content": "Hi"}]
        if name == "messages":
            await client.messages.create(model="m", max_tokens=64, messages=messages)
        elif name == "chat_completions":
            await client.chat.completions.create(model="m", messages=messages)
        elif name == "responses":
            await client.responses.create(model="m", input="Hi")
        else:
            await client.models.generate_content(model="m", contents="Hi")

    async with AsyncDGrid("k", base_url=url) as client:
        await call_once(client)
        monkeypatch.setattr(aiohttp.ClientSession, "_request", seen)
        await call(client)
    assert 1 < len(frames) <= MOST_FRAMES, frames


async def call_once(client: AsyncDGrid) -> None:
    """Let what is made at the first call be made."""
    await client.responses.create(model="m", input="Hi")
