"""A block that can be ended from outside, whatever it waits for.

What `asyncio.timeout` does, without its two coroutines and its timer a call: who has one timer for many blocks ends them here.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Scope"]


class Scope:
    """Ends a block when told to, as the scopes of `asyncio.timeout` do, without their two coroutines and timer a call.

    A sync context manager, entered by the task that made it. Where it ended the block it swallows the `CancelledError` that did
    it; a cancellation from elsewhere passes through, one at the same moment too.
    """

    __slots__ = ("_before", "_loop", "_over", "_soon", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 -- a coroutine of ours runs in a task
        self._loop = loop
        self._task = task
        self._before = task.cancelling()
        # The mutable state: whether it has ended the block, and what is about to.
        self._over = False
        self._soon: asyncio.Handle | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Tell whether what ended the block is this."""
        if self._soon is not None:
            self._soon.cancel()
        if not self._over:
            return False
        # Taken back whatever the block ended with: nobody else has cancelled the task.
        alone = self._task.uncancel() <= self._before
        return alone and kind is not None and issubclass(kind, asyncio.CancelledError)

    def end(self) -> None:
        """End the block; not to be called by the task that is in it."""
        if not self._over:
            self._over = True
            self._task.cancel()

    def end_soon(self) -> None:
        """End the block as soon as the loop comes to it; from any task of the loop."""
        if not self._over and self._soon is None:
            self._soon = self._loop.call_soon(self.end)
