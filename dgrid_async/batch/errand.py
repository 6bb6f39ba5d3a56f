"""Blocking work in a thread that ends soon once nobody waits for it: surveys and merges of files that take minutes to read.

It knows nothing of the work, but that it calls a `tick` every few thousand lines and lets pass what that raises.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar, overload

__all__ = ["run_errand"]

T = TypeVar("T")


class _GivenUpError(Exception):
    """Nobody waits for the work any more."""


@overload
async def run_errand(work: Callable[..., T]) -> T: ...
@overload
async def run_errand(work: Callable[..., T], *, stop: asyncio.Event | None, drop: Callable[[T], object]) -> T | None: ...
async def run_errand(
    work: Callable[..., T], *, stop: asyncio.Event | None = None, drop: Callable[[T], object] = lambda _: None
) -> T | None:
    """Return what the work does; None where somebody said stop before its end.

    Args:
        work: Called in a thread, with `tick` for a keyword.
        stop: Once it is set, the work is given up.
        drop: Called with what the work returns all the same when nobody waits for it any more.

    Cancel: the work is given up, and its end waited for.
    """
    given_up = threading.Event()

    def tick(_lines: int) -> None:
        if given_up.is_set():
            raise _GivenUpError

    working = asyncio.ensure_future(asyncio.to_thread(work, tick=tick))
    stopped = None if stop is None else asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([each for each in (working, stopped) if each is not None], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            given_up.set()
        try:
            return await asyncio.shield(working)
        except _GivenUpError:
            return None
    except asyncio.CancelledError:
        given_up.set()

        def ended(work: asyncio.Future[T]) -> None:
            if not work.cancelled() and work.exception() is None:
                drop(work.result())

        working.add_done_callback(ended)
        await asyncio.wait((working,))
        raise
    finally:
        if stopped is not None:
            stopped.cancel()
