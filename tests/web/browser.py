"""A headless Chromium, driven over the DevTools protocol: as much of it as a page with one text field needs.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import aiohttp

__all__ = ["CHROMIUM", "WAIT", "Browser", "Chromium", "Tab"]

CHROMIUM = shutil.which("chromium")
WAIT = 15.0
"""Seconds for what takes a fraction of one on an idle machine."""

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--password-store=basic",
    "--window-size=1000,720",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)
_KEYS: dict[str, tuple[int, str | None]] = {"Enter": (13, "\r"), "Escape": (27, None), "Tab": (9, None)}
_SHIFT = 8
# Once it is complete, and has its settings from the server: the conversation is shown in the same go.
_READY = "document.readyState === 'complete' && document.querySelectorAll('#format option').length > 0"


class Tab:
    """One tab; `complaints` has the errors of the page: exceptions, refused loads, broken policies."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, target: str) -> None:
        self.target = target
        self.complaints: list[str] = []
        self._websocket = websocket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for message in self._websocket:
            data = json.loads(message.data)
            if "id" in data:
                future = self._waiting.pop(data["id"])
                if not future.done():
                    future.set_result(data)
            elif data["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(data["params"]["exceptionDetails"])[:500])
            elif data["method"] == "Log.entryAdded" and data["params"]["entry"]["level"] == "error":
                self.complaints.append(data["params"]["entry"]["text"])
        for future in self._waiting.values():
            future.cancel()

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol."""
        self._number += 1
        future = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._websocket.send_json({"id": self._number, "method": method, "params": params})
        answer = await asyncio.wait_for(future, WAIT)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    async def open(self, url: str) -> None:
        """Go to an address, listening to the page's complaints."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.until(_READY)

    async def reload(self) -> None:
        """Load the page anew, and wait until it is there."""
        await self.get("window.old = true")
        await self.call("Page.reload", ignoreCache=True)
        await self.until(f"!window.old && {_READY}")

    async def get(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = WAIT) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(seconds):
            while True:
                # While a page is being replaced there is nothing to ask.
                with suppress(AssertionError):
                    if await self.get(f"Boolean({expression})"):
                        return
                await asyncio.sleep(0.02)

    async def write(self, text: str) -> None:
        """Put text in where the focus is, as a keyboard with that layout would."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        code, text = _KEYS[key]
        event: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": _SHIFT if shift else 0}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
        await self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    async def ask(self, text: str) -> None:
        """Type a question and send it by the keyboard."""
        await self.get("document.getElementById('prompt').focus()")
        await self.write(text)
        await self.press("Enter")

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        place = await self.get(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def text(self, selector: str) -> str:
        """Return the text of the last element that matches, white space as the model said it; empty without one."""
        found: str = await self.get(f"[...document.querySelectorAll({json.dumps(selector)})].at(-1)?.textContent ?? ''")
        return found

    async def picture(self, path: Path) -> None:
        """Write what is to be seen as a PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def end(self) -> None:
        """Let go of the tab, which stays open."""
        await self._websocket.close()
        await self._listening


class Chromium:
    """A process of our own, with a profile of its own; its start is what takes time, so that many may use it."""

    def __init__(self, profile: Path) -> None:
        self.address = ""
        self._profile = profile
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert CHROMIUM is not None
        self._process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        port = self._profile / "DevToolsActivePort"
        end = time.monotonic() + WAIT
        try:
            while not (port.exists() and port.read_text().strip()):
                assert self._process.poll() is None, "chromium has ended"
                assert time.monotonic() < end, "chromium does not listen"
                time.sleep(0.02)
        except BaseException:
            self._end()
            raise
        self.address = f"127.0.0.1:{port.read_text().split()[0]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            # Its group, which is none but its own.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Browser:
    """One user of a Chromium: tabs that share nothing with those of others."""

    def __init__(self, chromium: Chromium) -> None:
        self._address = chromium.address
        self._stack = AsyncExitStack()
        self._tabs: list[Tab] = []
        self._context = ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            async with self._session.get(f"http://{self._address}/json/version") as response:
                url = (await response.json(content_type=None))["webSocketDebuggerUrl"]
            self._whole = Tab(await self._session.ws_connect(url, max_msg_size=0), "")
            stack.push_async_callback(self._whole.end)
            self._context = (await self._whole.call("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._stack:
            for tab in self._tabs:
                await tab.end()
            await self._whole.call("Target.disposeBrowserContext", browserContextId=self._context)

    async def tab(self, url: str | None = None) -> Tab:
        """Open a tab, at an address if one is given."""
        opened = await self._whole.call("Target.createTarget", url="about:blank", browserContextId=self._context)
        target = opened["targetId"]
        websocket = await self._session.ws_connect(f"ws://{self._address}/devtools/page/{target}", max_msg_size=0)
        tab = Tab(websocket, target)
        self._tabs.append(tab)
        if url is not None:
            await tab.open(url)
        return tab

    async def close(self, tab: Tab) -> None:
        """Close a tab, as its user does."""
        self._tabs.remove(tab)
        await self._whole.call("Target.closeTarget", targetId=tab.target)
        await tab.end()
