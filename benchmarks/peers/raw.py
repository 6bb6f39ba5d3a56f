"""Below the floor: bare aiohttp that reads the bytes of a stream and looks at none of them."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers.bare import Bare, BareClient

__all__ = ["PEER"]


class _RawClient(BareClient):
    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002 -- the house's word for it
        """Return how many reads it took."""
        count = 0
        async with self._post(format, streamed=True) as response:
            read = response.content.readany
            while await read():
                count += 1
                if after is not None:
                    after()
        return count


class _Raw(Bare):
    skills = frozenset({"stream"})

    def client(self, url: str, connections: int) -> _RawClient:
        """Return a client."""
        return _RawClient(url, connections)


PEER = _Raw()
