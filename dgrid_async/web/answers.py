"""The answers of the page's server: each a broadcast under an id that its page made up, so that it can be read again.

Rules
1. The id is the page's: it knows where to go on even where it never heard that its question arrived.
2. The same id again is the same answer: a question that is sent twice is asked once.
3. Only answers that have ended are let go of, the oldest first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dgrid_async.relay.broadcasting import Broadcast, broadcast
from dgrid_async.stream import EventStream
from dgrid_async.web.bounds import Bounds

__all__ = ["Answers"]


class Answers:
    """Answers by their ids.

    Args:
        bounds: How many at once, how many and how much is kept.
        grace: Seconds for which an answer goes on while no page shows it.
    """

    def __init__(self, bounds: Bounds, grace: float) -> None:
        self._bounds = bounds
        self._grace = grace
        # The mutable state, oldest first.
        self._kept: dict[str, Broadcast] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def at_once(self) -> int:
        """How many are being written."""
        return sum(live.report is None for live in self._kept.values())

    @property
    def full(self) -> bool:
        """Whether one more would be too many at once."""
        return self.at_once >= self._bounds.answers_at_once

    def get(self, key: str) -> Broadcast | None:
        """Return an answer; None if there is none of this id, or none any more."""
        return self._kept.get(key)

    def begin(self, key: str, make: Callable[[], EventStream[Any, Any]]) -> Broadcast:
        """Return the answer of this id, which is begun if there is none.

        Args:
            key: The id.
            make: Called for a new one alone; what it raises is raised.
        """
        found = self._kept.get(key)
        if found is None:
            stream = make()
            found = broadcast(stream, grace=self._grace, max_history=self._bounds.answer_bytes)
            self._kept[key] = found
            self._let_go()
        return found

    def _let_go(self) -> None:
        excess = len(self._kept) - self._bounds.answers_kept
        ended = [key for key, live in self._kept.items() if live.report is not None]
        for key in ended[: max(0, excess)]:
            del self._kept[key]

    async def close(self) -> None:
        """End those that are being written.

        Cancel: all have been told to end.
        """
        running = [live for live in self._kept.values() if live.report is None]
        for live in running:
            live.abort()
        await asyncio.gather(*(live.close() for live in running))
