"""`dgrid-async web` as a process: what it says, what it serves, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

import dgrid_async
from dgrid_async.cli import main
from dgrid_async.cli.exits import Exit
from dgrid_async.emulator import Emulator

KEY = "sk-never-to-be-shown-1234567890"
WAIT = 15
"""Seconds for what takes less than one on an idle machine."""


@asynccontextmanager
async def web(*arguments: str, **variables: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the program, and yield it with the address that it told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dgrid_async",
        "web",
        "--port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error", **variables},
        cwd=Path(dgrid_async.__file__).parents[1],
    )
    assert process.stdout is not None
    try:
        yield process, (await asyncio.wait_for(process.stdout.readline(), WAIT)).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process, number: int = signal.SIGINT) -> tuple[int, str, str]:
    """End the program, and return its code and what else it said."""
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), WAIT)
    return process.returncode or 0, out.decode(), err.decode()


async def asked(session: aiohttp.ClientSession, url: str) -> str:
    """Ask by the page's own way, and return the event stream."""
    answer = f"{url}api/answers/{'a' * 24}"
    question = {"format": "messages", "model": "m", "turns": [{"role": "user", "text": "Hello there"}]}
    async with session.put(answer, json=question, headers={"Origin": url.rstrip("/")}) as response:
        assert response.status == 201
    async with session.get(answer) as response:
        return await response.text()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_without_a_key_an_emulator_answers_until_a_signal(number: int) -> None:
    async with web() as (process, url), aiohttp.ClientSession() as session:
        assert url.startswith("http://127.0.0.1:")
        async with session.get(url) as response:
            assert "<!doctype html>" in await response.text()
        async with session.get(url + "api/settings") as response:
            assert (await response.json())["emulated"] is True
        events = await asked(session, url)
        assert '"reason":"stop"' in events
        code, out, err = await ended(process, number)
    assert (code, out) == (128 + number, "")
    assert "DGRID_API_KEY is not set: an emulator answers, at http://127.0.0.1:" in err
    assert "Warning" not in err
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))) != 0


async def test_with_a_key_the_gateway_answers_and_the_key_stays_here(emulator: Emulator) -> None:
    async with web(DGRID_API_KEY=KEY, DGRID_BASE_URL=emulator.url) as (process, url), aiohttp.ClientSession() as session:
        shown = [await asked(session, url)]
        for path in ("", "api/settings"):
            async with session.get(url + path) as response:
                shown += [await response.text(), str(response.headers)]
        _, out, err = await ended(process)
    assert emulator.log[0].headers["Authorization"] == f"Bearer {KEY}"
    assert '"emulated": false' in shown[3]
    assert not any(KEY in text for text in (*shown, out, err))
    assert "emulator" not in err


async def test_an_address_for_all_is_warned_of() -> None:
    async with web("--host", "0.0.0.0") as (process, url):
        _, _, err = await ended(process)
    assert url.startswith("http://127.0.0.1:")
    assert "Warning: 0.0.0.0 is no loopback address" in err


@pytest.mark.parametrize("opens", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_a_browser_is_opened_where_there_is_one(tmp_path: Path, opens: bool) -> None:
    browser, told = tmp_path / "browser", tmp_path / "told"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\nexit {0 if opens else 1}\n')
    browser.chmod(0o755)
    # No display, and no other browser in the path: else that would be opened in the second case.
    variables = {"BROWSER": f"{browser} %s", "PATH": "/nowhere", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    async with web("--open", **variables) as (process, url):
        assert process.stderr is not None
        async with asyncio.timeout(WAIT):
            while not told.exists() or not told.read_text():
                await asyncio.sleep(0.02)
            if not opens:
                await process.stderr.readuntil(b"No browser could be opened")
        assert told.read_text().strip() == url
        assert (await ended(process))[0] == 130


async def test_what_is_wrong_is_said(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    port = emulator.url.rpartition(":")[2]
    for arguments, message in (
        (["--port", port], f"cannot listen on 127.0.0.1, port {port}: "),
        (["--port", "65536"], "0 to 65535"),
        (["--base-url", emulator.url], "DGRID_API_KEY"),
    ):
        assert await asyncio.to_thread(main, ["web", *arguments]) == Exit.USAGE
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""


async def test_help_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--port", "--host", "--open", "--base-url", "8765"))
