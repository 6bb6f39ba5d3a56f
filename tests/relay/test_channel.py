"""The channel and its subscriptions, without a stream: who gets what, who waits, who has left."""

from __future__ import annotations

import asyncio
import gc
import pickle
from typing import Any

import pytest

from dgrid_async import ClientClosedError, ConfigError, DGridError
from dgrid_async.relay.channel import Channel, SubscriberTooSlowError, Subscription
from dgrid_async.relay.history import History


def text(number: int, words: str = "word ") -> dict[str, Any]:
    return {"id": number, "type": "text", "choice": 0, "block": 0, "text": words}


def make(*, grace: float | None = None, max_buffer: int | None = None, max_history: int | None = None) -> Channel:
    channel = Channel(History(max_history), grace=grace, abandon=lambda: abandoned.append(channel), max_buffer=max_buffer)
    abandoned: list[Channel] = []
    channel.abandoned = abandoned  # type: ignore[attr-defined]
    return channel


async def all_of(subscription: Subscription) -> list[int]:
    return [frame["id"] async for frame in subscription]


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_waiting_reader_gets_the_very_frame_that_was_added() -> None:
    channel = make()
    readers = [asyncio.ensure_future(anext(Subscription(channel))) for _ in range(3)]
    await settle()
    frame = text(1)
    channel.add([frame])
    assert all(each is frame for each in await asyncio.gather(*readers))


async def test_readers_end_behind_the_last_frame() -> None:
    channel = make()
    early = asyncio.ensure_future(all_of(Subscription(channel)))
    await settle()
    channel.add([text(1)])
    await settle()
    channel.add([text(2)])
    channel.end()
    assert await early == [1, 2]
    assert await all_of(Subscription(channel)) == [2]
    assert await all_of(Subscription(channel, 2)) == []
    assert channel.listeners == 0


async def test_an_error_behind_the_last_frame_is_each_readers_own() -> None:
    channel = make()
    failure = DGridError("gone")
    failure.__cause__ = OSError("why")
    readers = [Subscription(channel) for _ in range(2)]
    channel.add([text(1)])
    channel.end(failure)
    raised = []
    for reader in readers:
        assert (await anext(reader))["id"] == 1
        with pytest.raises(DGridError, match="gone") as told:
            await anext(reader)
        with pytest.raises(DGridError, match="gone"):
            await anext(reader)
        raised.append(told.value)
    assert raised[0] is not raised[1]
    assert all(each is not failure and each.__cause__ is failure.__cause__ for each in raised)
    assert failure.__traceback__ is None
    assert channel.listeners == 0


async def test_the_end_is_said_once() -> None:
    channel = make()
    channel.end()
    channel.end(DGridError("too late"))
    assert await all_of(Subscription(channel)) == []


async def test_a_cancelled_read_loses_nothing_and_leaves_nothing() -> None:
    channel = make()
    reader, other = Subscription(channel), Subscription(channel)
    waiting = asyncio.ensure_future(anext(other))
    for _ in range(100):
        task = asyncio.ensure_future(anext(reader))
        await settle()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
    assert len(channel.waiters) == 1
    channel.add([text(1)])
    assert (await anext(reader))["id"] == 1
    assert (await waiting)["id"] == 1


async def test_a_read_that_is_cancelled_as_the_frame_comes_loses_nothing() -> None:
    channel = make()
    reader = Subscription(channel)
    task = asyncio.ensure_future(anext(reader))
    await settle()
    channel.add([text(1)])
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (await anext(reader))["id"] == 1


async def test_two_tasks_cannot_read_one_subscription() -> None:
    channel = make()
    reader = Subscription(channel)
    task = asyncio.ensure_future(anext(reader))
    await settle()
    with pytest.raises(ConfigError, match="two tasks"):
        await anext(reader)
    channel.add([text(1)])
    assert (await task)["id"] == 1


async def test_a_waiting_reader_is_told_that_its_subscription_was_closed() -> None:
    channel = make()
    reader, other = Subscription(channel), Subscription(channel)
    waiting = asyncio.ensure_future(anext(other))
    task = asyncio.ensure_future(anext(reader))
    await settle()
    reader.abort()
    reader.abort()
    await reader.close()
    with pytest.raises(ClientClosedError):
        await task
    assert channel.listeners == 1
    channel.add([text(1)])
    assert (await waiting)["id"] == 1
    with pytest.raises(ClientClosedError):
        await anext(reader)


async def test_leaving_the_block_and_dropping_the_object_are_leaving() -> None:
    channel = make()
    async with Subscription(channel):
        dropped = Subscription(channel)
        assert channel.listeners == 2
    assert channel.listeners == 1
    del dropped
    gc.collect()
    await settle()
    assert channel.listeners == 0


async def test_a_reader_behind_its_bound_is_cut_off_and_can_come_back() -> None:
    channel = make(max_buffer=2000)
    slow, quick = Subscription(channel), Subscription(channel)
    reading = asyncio.ensure_future(all_of(quick))
    await settle()
    channel.add([text(1)])
    await settle()
    assert (await anext(slow))["id"] == 1
    for number in range(2, 12):
        channel.add([text(number)])
        await settle()
    with pytest.raises(SubscriberTooSlowError, match="2000 may") as told:
        await anext(slow)
    assert (told.value.last_id, told.value.kept) == (1, True)
    assert slow.last_id == 1
    again = pickle.loads(pickle.dumps(told.value))  # noqa: S301 -- our own
    assert (again.last_id, again.kept) == (1, True)
    with pytest.raises(SubscriberTooSlowError):
        await anext(slow)
    assert channel.listeners == 1
    back = Subscription(channel, told.value.last_id)
    frame = await anext(back)
    assert (frame["id"], frame["text"]) == (11, "word " * 10)
    channel.end()
    assert await reading == list(range(1, 12))


async def test_a_burst_while_it_waits_and_what_was_before_it_came_are_no_fault_of_a_reader() -> None:
    channel = make(max_buffer=2000)
    reader = Subscription(channel)
    task = asyncio.ensure_future(anext(reader))
    await settle()
    channel.add([text(number) for number in range(1, 21)])
    assert (await task)["id"] == 20
    late = Subscription(channel)
    assert (await anext(late))["id"] == 20


async def test_without_a_bound_a_slow_reader_gets_all_in_fewer_frames() -> None:
    channel = make()
    slow = Subscription(channel)
    for number in range(1, 101):
        channel.add([text(number)])
        await settle()
    frame = await anext(slow)
    assert (frame["id"], frame["text"]) == (100, "word " * 100)


async def test_who_is_behind_what_is_kept_is_told_so() -> None:
    channel = make(max_history=2000)
    slow = Subscription(channel)
    channel.add([text(number) for number in range(1, 21)])
    kept_from = channel.history.lost_id
    assert kept_from > 10
    for reader in (slow, Subscription(channel), Subscription(channel, kept_from - 1)):
        with pytest.raises(SubscriberTooSlowError, match="not kept") as told:
            await anext(reader)
        assert told.value.kept is False
    frame = await anext(Subscription(channel, kept_from))
    assert frame["text"] == "word " * (20 - kept_from)
    await settle()
    assert channel.listeners == 0


async def test_a_reader_that_is_ahead_of_what_has_come_waits_for_what_follows_its_id() -> None:
    channel = make()
    reader = Subscription(channel, 5)
    task = asyncio.ensure_future(anext(reader))
    for number in range(1, 6):
        await settle()
        channel.add([text(number)])
    await settle()
    assert not task.done()
    channel.add([text(6)])
    assert (await task) == text(6)


async def test_a_reader_ahead_of_a_lost_stretch_misses_nothing() -> None:
    channel = make()
    early = Subscription(channel, 12)
    channel.add([text(1)])
    ahead, behind = Subscription(channel, 12), Subscription(channel, 3)
    channel.history.lose(10)
    channel.add([text(11), text(12), text(13)])
    assert (await anext(early)) == text(13)
    assert (await anext(ahead)) == text(13)
    with pytest.raises(SubscriberTooSlowError):
        await anext(behind)


@pytest.mark.usefixtures("leaping_clock")
async def test_the_grace_time_runs_while_nobody_listens() -> None:
    channel = make(grace=0.05)
    async with Subscription(channel):
        await asyncio.sleep(0.15)
        assert channel.abandoned == []  # type: ignore[attr-defined]
        second = Subscription(channel)
    await asyncio.sleep(0.15)
    assert channel.abandoned == []  # type: ignore[attr-defined]
    second.abort()
    while not channel.abandoned:  # type: ignore[attr-defined]
        await asyncio.sleep(0.005)


async def test_no_timer_is_left_behind_the_end() -> None:
    channel = make(grace=0.02)
    channel.end()
    await asyncio.sleep(0.06)
    assert channel.abandoned == []  # type: ignore[attr-defined]


async def test_news_come_or_the_time_is_over() -> None:
    channel = make()
    await channel.news(0.01)
    await channel.news(-1)
    assert channel.waiters == set()
    waiting = asyncio.ensure_future(channel.news(100))
    await settle()
    channel.add([text(1)])
    await asyncio.wait_for(waiting, 5)
