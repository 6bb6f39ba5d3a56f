"""Pages for a server under test: websockets that read and throw away, in a process of their own.

`python -m benchmarks.pages PORT NUMBER` opens so many to the route `/ws` of a loopback port, and ends when the server has
closed them all.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from contextlib import suppress

__all__ = ["main"]

_CLOSE = b"\x88\x80\0\0\0\0"


class _Page(asyncio.Protocol):
    def __init__(self, over: asyncio.Future[None]) -> None:
        self._over = over
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        # A farewell is the last thing that comes: two bytes of head, two of code.
        if self._transport is not None and data[-4:-2] == b"\x88\x02":
            self._transport.write(_CLOSE)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._over.done():
            self._over.set_result(None)


async def main(port: int, number: int) -> None:
    """Open the pages, and wait for their ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    loop = asyncio.get_running_loop()
    ends = []
    for count in range(number):
        over = loop.create_future()
        ends.append(over)
        await loop.create_connection(lambda over=over: _Page(over), "127.0.0.1", port)  # type: ignore[misc]  # bound at once
        if count % 20 == 19:  # a burst of a thousand connections measures something else
            await asyncio.sleep(0.01)
    await asyncio.gather(*ends)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
