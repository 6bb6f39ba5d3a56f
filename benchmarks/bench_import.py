"""Importing, in fresh processes: time, memory and modules, of the import alone, of a ready client, and up to a first reply."""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.arena import ROOT, Arena
from benchmarks.figures import Row
from benchmarks.peers import FLOOR

__all__ = ["run"]

# Nothing but what is measured is imported before memory and modules are read.
_PROGRAM = """
import os, sys, time
def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
url, known = sys.argv[1], len(sys.modules)
wall, cpu = time.perf_counter(), time.process_time()
{code}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
memory, modules = resident(), len(sys.modules) - known
print('{{"ms": %f, "ms CPU": %f, "MB resident": %f, "modules": %d}}' % (wall * 1e3, cpu * 1e3, memory / 1e6, modules))
"""
_IMPORTS = {
    FLOOR: "import aiohttp",
    "dgrid": "import dgrid_async",
    "openai": "import openai",
    "anthropic": "import anthropic",
    "google_genai": "import google.genai",
}
# As far as one comes without a connection: the first call's path is loaded, an aiohttp session could connect.
_READY = {
    FLOOR: """
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession(): pass
asyncio.run(main())
""",
    "dgrid": """
import asyncio, dgrid_async
async def main():
    async with dgrid_async.AsyncDGrid(api_key="k", base_url=url) as client:
        client.chat.completions.stream(model="m", messages=[])
        import aiohttp
        async with aiohttp.ClientSession(): pass
asyncio.run(main())
""",
    "openai": """
import asyncio, openai
async def main():
    async with openai.AsyncOpenAI(api_key="k", base_url=url) as client:
        client.chat.completions
asyncio.run(main())
""",
    "anthropic": """
import asyncio, anthropic
async def main():
    async with anthropic.AsyncAnthropic(api_key="k", base_url=url) as client:
        client.messages
asyncio.run(main())
""",
    "google_genai": """
import asyncio, google.genai
async def main():
    client = google.genai.Client(api_key="k", http_options={"base_url": url, "api_version": "v1"})
    client.aio.models
    await client.aio.aclose()
asyncio.run(main())
""",
}
_REPLY = {
    FLOOR: """
import asyncio, json, aiohttp
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.post(url + "/v1/chat/completions", json={"model": "m", "messages": []}) as response:
            json.loads(await response.read())
asyncio.run(main())
""",
    "dgrid": """
import asyncio, dgrid_async
async def main():
    async with dgrid_async.AsyncDGrid(api_key="k", base_url=url) as client:
        await client.chat.completions.create(model="m", messages=[])
asyncio.run(main())
""",
    "openai": """
import asyncio, openai
async def main():
    async with openai.AsyncOpenAI(api_key="k", base_url=url + "/v1") as client:
        await client.chat.completions.create(model="m", messages=[])
asyncio.run(main())
""",
    "anthropic": """
import asyncio, anthropic
async def main():
    async with anthropic.AsyncAnthropic(api_key="k", base_url=url) as client:
        await client.messages.create(model="m", max_tokens=9, messages=[])
asyncio.run(main())
""",
    "google_genai": """
import asyncio, google.genai
async def main():
    client = google.genai.Client(api_key="k", http_options={"base_url": url, "api_version": "v1"})
    await client.aio.models.generate_content(model="m", contents="Hi")
    await client.aio.aclose()
asyncio.run(main())
""",
}


@contextmanager
def _installed() -> Iterator[str]:
    """Give the folder of a copy of this package that is compiled, as pip leaves all that it installs.

    Those of the tree itself need not be: under PYTHONDONTWRITEBYTECODE each process would compile them anew.
    """
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "dgrid_async", Path(folder) / "dgrid_async", ignore=shutil.ignore_patterns("__pycache__"))
        if not compileall.compile_dir(folder, quiet=1):
            raise RuntimeError("a module of the package does not compile")
        yield folder


def _measure(code: str, url: str, folder: str) -> dict[str, float]:
    program = [sys.executable, "-c", _PROGRAM.format(code=code), url]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run(arena: Arena) -> list[Row]:
    """Return the figures of all packages that are installed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    cases = {"import": _IMPORTS, "ready client": _READY, "first reply": _REPLY}
    peers = arena.peers("ready")
    with _installed() as folder:
        for number in range(1 if arena.quick else 0, arena.rounds(11) + 1):
            for case, programs in cases.items():
                for peer in peers:
                    for figure, value in _measure(programs[peer], arena.url + "/plain", folder).items():
                        if number:  # the first round brings the files into the system's cache
                            found.setdefault((case, figure, peer), []).append(value)
    return [Row("import", case, figure, peer, tuple(values)) for (case, figure, peer), values in found.items()]
