"""Takes the picture of the page that the README shows: `python -m tests.web.picture benchmarks/results/web.png`.

The gateway is an emulator, and its answer stops in the middle; chromium is needed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from dgrid_async import AsyncDGrid
from dgrid_async.emulator import Emulator, Script, Stall, ToolCall, Usage
from dgrid_async.web import Server
from tests.web.browser import Browser, Chromium

_FIRST = Script(
    reasoning="Two sentences: what it is, and why it matters to whoever streams.",
    text=(
        "Backpressure is the way in which a slow reader makes a fast writer wait, so that nothing piles up between them. "
        "Without it, one frozen browser tab fills the server's memory with tokens that nobody reads."
    ),
    usage=Usage(18, 61, reasoning=16),
)
_SECOND = Script(
    reasoning="Today's weather is nothing that I know by heart. There is a tool for it.",
    text="Let me look that up.",
    tool_calls=(ToolCall("weather", {"city": "Lisbon", "days": 3, "unit": "celsius"}),),
    fault=Stall(),
)


async def take(path: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Chromium(Path(folder)) as chromium:
        async with (
            Emulator([_FIRST, _SECOND]) as emulator,
            AsyncDGrid("any-key", base_url=emulator.url) as client,
            Server(client, port=0) as server,
            Browser(chromium) as browser,
        ):
            tab = await browser.tab(server.url)
            await tab.call("Emulation.setDeviceMetricsOverride", width=1000, height=740, deviceScaleFactor=1, mobile=False)
            await tab.get(
                "(f => { f.value = 'messages'; f.dispatchEvent(new Event('change')); })(document.getElementById('format'))"
            )
            await tab.ask("What is backpressure, in two sentences?")
            await tab.until("document.querySelector('.answer > .facts')")
            await tab.ask("And how will the weather be in Lisbon?")
            await tab.until("document.querySelector('.call pre')?.textContent.includes('celsius')")
            await asyncio.sleep(0.5)
            await tab.picture(path)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
