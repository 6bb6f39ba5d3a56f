"""A clock that leaps over waits: what takes a test seconds on the wall takes it none, and a busy machine makes nothing late.

Only for tests whose client and server share one event loop without threads or other processes: there, nothing can happen
while all tasks wait but the next timer. The clock then jumps to it. Between the waits it runs by this process's own work.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# The kernel hands over what went into a loopback socket at once; on a busy machine its helper thread may do so a little later.
DELIVERY_SECONDS = 0.01


@contextmanager
def leaping(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a loop, and all that tells the time by `monotonic`, live by the leaping clock; other clocks stay as they are."""
    selector: Any = getattr(loop, "_selector", None)
    assert selector is not None, "uvloop tells its own time"
    really, work = time.monotonic, time.process_time
    begun, worked, waited = really(), work(), 0.0
    select = selector.select

    def told() -> float:
        return begun + work() - worked + waited

    def selected(timeout: float | None = None) -> list[Any]:
        nonlocal waited
        # A thread's result comes when it comes: no leap over that.
        if timeout is None or timeout <= 0 or getattr(loop, "_default_executor", None) is not None:
            started = really()
            found: list[Any] = select(timeout)
            waited += really() - started
            return found
        found = select(min(timeout, DELIVERY_SECONDS))
        if not found:
            waited += timeout
        return found

    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in {"aiohttp", "dgrid_async"} and vars(module).get("monotonic") is really:
                patch.setattr(module, "monotonic", told)
        patch.setattr(time, "monotonic", told)
        patch.setattr(selector, "select", selected)
        yield
