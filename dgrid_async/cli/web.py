"""`web`: a chat page on this machine, until a signal ends it.

Without a key it runs against an emulator of its own, which ends with it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import webbrowser
from contextlib import AsyncExitStack

from dgrid_async.cli.exits import Exit
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.terminal import Terminal
from dgrid_async.client import AsyncDGrid
from dgrid_async.errors import ConfigError
from dgrid_async.web.guard import is_loopback
from dgrid_async.web.server import Server

__all__ = ["run"]

_OPEN_TO_ALL = """\
Warning: {host} is no loopback address. Whoever can reach it can ask, in plain HTTP, and your key pays. Leave --host out to \
keep the page to this machine."""


def run(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    """Serve the page until a signal comes.

    Raises:
        ConfigError: The configuration is wrong, or the address cannot be had.
        KeyboardInterrupt: The signal has come.
    """
    return interrupts.run(_serve(arguments, terminal))


async def _serve(arguments: argparse.Namespace, terminal: Terminal) -> int:
    emulated = arguments.base_url is None and not os.environ.get("DGRID_API_KEY", "").strip()
    async with AsyncExitStack() as stack:
        if emulated:
            import aiohttp

            from dgrid_async.emulator import Emulator
            from dgrid_async.web.rehearsal import rehearse

            emulator = await stack.enter_async_context(Emulator(rehearse))
            # A session of its own, since the client's would take a proxy from the environment to reach this process.
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = AsyncDGrid("emulator", base_url=emulator.url, session=session)
            terminal.note(f"DGRID_API_KEY is not set: an emulator answers, at {emulator.url}")
        else:
            client = AsyncDGrid(base_url=arguments.base_url)
        await stack.enter_async_context(client)
        server = Server(client, host=arguments.host, port=arguments.port, emulated=emulated)
        try:
            await stack.enter_async_context(server)
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"cannot listen on {arguments.host}, port {arguments.port}: {why}") from error
        if not is_loopback(arguments.host):
            terminal.note(_OPEN_TO_ALL.format(host=arguments.host))
        terminal.write(server.url + "\n")
        terminal.note("The page is there. Ctrl-C stops it.")
        if arguments.open and not await asyncio.to_thread(webbrowser.open, server.url):
            terminal.note("No browser could be opened: open the address yourself.")
        await asyncio.Event().wait()
    return Exit.OK
