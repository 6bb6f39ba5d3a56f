"""The README's web apps, run as they are written: tokens, reused connections, clients that leave, and a shutdown in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from dgrid_async.emulator import Emulator, Script
from tests.loopback import Exchange, loopback
from tests.relay.upstream import Page, connect

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
RECIPES = {"aiohttp": "web.run_app(", "fastapi": "uvicorn.run("}
SAID = "this is said"
# Each starts a program that imports a web framework, and the shutdowns take their five seconds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def recipe(name: str) -> str:
    [found] = [snippet for snippet in SNIPPETS if RECIPES[name] in snippet]
    return found


@asynccontextmanager
async def served(name: str, gateway: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run a recipe against a gateway; yield its address and process."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environment = {**os.environ, "DGRID_API_KEY": "k", "DGRID_BASE_URL": gateway, "PORT": str(port), "PYTHONWARNINGS": "error"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", recipe(name), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(15):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, (await process.communicate())[1].decode()
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ask(page: Page, question: str) -> str:
    page.say(question)
    frames = await page.until(lambda frame: frame["type"] in {"finish", "error"})
    assert frames[-1]["type"] == "finish", frames[-1]
    return "".join(frame["text"] for frame in frames if frame["type"] == "text")


@pytest.mark.parametrize("name", list(RECIPES))
async def test_a_page_gets_its_answers(name: str) -> None:
    async with Emulator(Script(text=SAID)) as emulator, served(name, emulator.url) as (url, _):
        for _ in range(2):
            async with connect(url, "/chat") as page:
                for question in ("one", "two"):
                    assert await ask(page, question) == SAID
        async with ClientSession() as session, session.get(f"{url}/events", params={"q": "three"}) as response:
            assert response.content_type == "text/event-stream"
            assert '"type":"finish"' in await response.text()
        assert len(emulator.log) == 5


@pytest.mark.parametrize("name", list(RECIPES))
async def test_connections_are_used_again(name: str) -> None:
    async with Emulator(Script(text=SAID)) as emulator:
        target = emulator.url.rpartition(":")[2]

        async def forward(exchange: Exchange) -> None:
            """Pass one request on, and its answer back."""
            reader, writer = await asyncio.open_connection("127.0.0.1", int(target))
            names = {**exchange.headers, "connection": "close", "content-length": str(len(exchange.body))}
            lines = "".join(f"{field}: {value}\r\n" for field, value in names.items())
            writer.write(f"{exchange.line}\r\n{lines}\r\n".encode() + exchange.body)
            answer = await reader.read()
            writer.close()
            await exchange.send(re.sub(rb"(?i)connection: close\r\n", b"", answer, count=1))

        async with loopback(forward) as gateway, served(name, gateway.url) as (url, _):
            for _ in range(3):
                async with connect(url, "/chat") as page:
                    assert await ask(page, "hi") == SAID
            assert len(gateway.requests) == 3
            assert gateway.connections == 1


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("path", ["/chat", "/events?q=hi"])
async def test_a_client_that_leaves_ends_the_upstream(name: str, path: str) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        asked.set()
        await exchange.left()
        left.set()

    async with loopback(silent) as gateway, served(name, gateway.url) as (url, process):
        async with asyncio.timeout(10):
            if path == "/chat":
                async with connect(url, path) as page:
                    page.say("hi")
                    await asked.wait()
            else:
                async with ClientSession() as session:
                    asking = asyncio.ensure_future(_read(session, url + path))
                    await asked.wait()
                    asking.cancel()
                    await asyncio.wait((asking,))
            await left.wait()
            process.send_signal(signal.SIGTERM)
            _, errors = await process.communicate()
        assert b"Traceback" not in errors


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("path", ["/chat", "/events?q=hi"])
async def test_a_shutdown_with_open_streams_is_bounded(name: str, path: str) -> None:
    asked = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        asked.set()
        await exchange.left()

    async with (
        loopback(silent) as gateway,
        served(name, gateway.url) as (url, process),
        ClientSession() as session,
    ):
        opened = asyncio.ensure_future(_hold(url) if path == "/chat" else _read(session, url + path))
        async with asyncio.timeout(10):
            await asked.wait()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(12):  # the five seconds that are written there, and the process' own end
            await process.communicate()
            await gateway.wait_open(0)
        opened.cancel()
        await asyncio.wait((opened,))
    assert time.monotonic() - began < 12


async def _hold(url: str) -> None:
    async with connect(url, "/chat") as page:
        page.say("hi")
        await page.rest()


async def _read(session: ClientSession, url: str) -> None:
    with contextlib.suppress(ClientError):
        async with session.get(url) as response:
            await response.read()
