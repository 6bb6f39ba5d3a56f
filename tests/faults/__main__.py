"""Serves every fault from a process of its own: `python -m tests.faults [PORT]`.

Prints one line of JSON with its ports and then serves until standard input closes or SIGTERM comes; with
/dev/null or a file as its input only the signal ends it. `--table` prints the table of faults as Markdown instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys

from tests.faults.catalogue import FAULTS, table
from tests.faults.server import FaultServer


async def serve(port: int) -> None:
    """Serve until standard input closes or SIGTERM or SIGINT comes."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def read() -> None:
        try:
            alive = os.read(sys.stdin.fileno(), 4096)
        except OSError:
            alive = b""
        if not alive:
            ended.set()

    server = FaultServer(FAULTS)
    await server.start(port)
    try:
        # epoll refuses plain files and /dev/null; with those only the signals end the server.
        with contextlib.suppress(PermissionError):
            loop.add_reader(sys.stdin.fileno(), read)
        ports = {"port": server.port, "elsewhere": server.elsewhere_port, "closed": server.closed_port}
        line = json.dumps({**ports, "blackhole": server.blackhole_port, "url": server.url})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
        await server.close()


def markdown() -> str:
    """Return the table of faults as Markdown."""
    rows = [("Group", "Fault", "The server", "Formats", "A good client gives"), ("---",) * 5, *table()]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    if arguments == ["--table"]:
        sys.stdout.write(markdown())
        return
    asyncio.run(serve(int(arguments[0]) if arguments else 0))


if __name__ == "__main__":
    main(sys.argv[1:])
