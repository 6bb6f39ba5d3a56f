"""Readers of a broadcast: one that stays, and one that comes and goes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from dgrid_async.relay.channel import Subscription


async def text_of(subscription: Subscription) -> str:
    """Return the text of all frames, to the end."""
    return "".join([frame["text"] async for frame in subscription if frame["type"] == "text"])


async def restless(subscribe: Callable[[Any], Subscription], dice: random.Random) -> tuple[str, int]:
    """Read an answer in many short visits; return its text, and how many there were."""
    text, last, visits = "", 0, 0
    while True:
        visits += 1
        stay = dice.randrange(1, 6)
        # What a browser sends is text.
        async with subscribe(dice.choice((last, str(last)))) as subscription:
            async for frame in subscription:
                assert frame["id"] > last
                text, last, stay = text + frame.get("text", ""), frame["id"], stay - 1
                if not stay:
                    break
            else:
                return text, visits
        await asyncio.sleep(dice.random() * 0.02)
