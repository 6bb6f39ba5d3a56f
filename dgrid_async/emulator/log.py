"""What the emulator received, and how each request ended.

It records; it judges nothing and keeps no more than it was told to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

__all__ = ["Log", "Received"]


@dataclass(slots=True, eq=False)
class Received:
    """One request as it came in, and what became of it.

    Args:
        number: Its number on this server, from 1.
        connection: The number of the TCP connection it came on, from 1.
        path: The path, percent-decoded.
        query: The query's parameters; the last of those with one name.
        headers: The request's headers, matched without regard to case. They hold the key.
        at: When its head was read, in seconds of the loop's clock.
        body: The JSON value sent, None where there was none.
        size: Bytes of the body.
        status: The status answered, None before there was one and where none came.
        events_sent: Events of the stream sent whole, comments not counted.
        closed: Set once the request is over on this side, in whatever way; `await received.closed.wait()`.
        closed_at: When that was, by the loop's clock.
        closed_early: Whether the client left before the last byte was written; None while that is open.
    """

    number: int
    connection: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    at: float
    body: Any = field(default=None, repr=False)
    size: int = 0
    status: int | None = None
    events_sent: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    closed_at: float | None = None
    closed_early: bool | None = None

    @property
    def request_id(self) -> str:
        """What the answer's `DGrid-Request-ID` said."""
        return f"req_{self.number:08d}"


class Log(Sequence[Received]):
    """The requests received, oldest first; the oldest are dropped beyond `size`.

    Args:
        size: How many are kept; None = all.
    """

    def __init__(self, size: int | None = None) -> None:
        self._entries: deque[Received] = deque(maxlen=size)
        self._grown = asyncio.Event()
        self.total = 0
        """Requests received since the start or the last `clear()`, dropped ones included."""

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Received: ...

    @overload
    def __getitem__(self, index: slice) -> list[Received]: ...

    def __getitem__(self, index: int | slice) -> Received | list[Received]:
        return list(self._entries)[index] if isinstance(index, slice) else self._entries[index]

    def __iter__(self) -> Iterator[Received]:
        return iter(self._entries)

    def add(self, received: Received) -> None:
        """Keep one more request."""
        self._entries.append(received)
        self.total += 1
        self._grown.set()

    def clear(self) -> None:
        """Forget everything so far."""
        self._entries.clear()
        self.total = 0

    async def wait(self, count: int = 1) -> Received:
        """Return the newest request once `count` have been received in all.

        Cancel: nothing is lost; waiting again is allowed.
        """
        while self.total < count:
            self._grown.clear()
            await self._grown.wait()
        return self._entries[-1]
