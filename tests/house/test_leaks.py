"""After a mixed crowd of calls nothing is left: no task, no socket, no timer that holds one, no warning."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from pathlib import Path

import pytest

from dgrid_async import AsyncDGrid, DGridError, Limits, Retries, Timeouts
from tests.loopback import BODY, SSE, Exchange, Loopback, ask, client_of, good, loopback, open_stream, stream_text

pytestmark = pytest.mark.slow

FDS = Path("/proc/self/fd")
CALLS = 200


def open_sockets() -> set[str]:
    """Return the sockets that this process holds."""
    found = set()
    for each in FDS.iterdir():
        with contextlib.suppress(OSError):  # the descriptor that lists them is gone by now
            target = str(each.readlink())
            if target.startswith("socket:"):
                found.add(target)
    return found


async def mixed(exchange: Exchange) -> None:
    """Answer one in eight in each of eight ways, by what the call asks for."""
    way = int(exchange.body.partition(b'"user":"')[2].partition(b'"')[0] or 0) % 8
    if way == 1:
        await exchange.answer(500, b'{"error": {"message": "no"}}')
    elif way == 2:
        exchange.reset()
    elif way == 3:
        await exchange.send(exchange.head() + BODY[:20])
        exchange.writer.transport.abort()
    elif way == 4:
        await exchange.begin_stream()
        await exchange.chunk(SSE[0])
        await exchange.left()
    elif way == 5:
        await exchange.left()
    elif way == 6:
        await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
        await exchange.left()
    else:
        await good(exchange)


async def one(client: AsyncDGrid, n: int) -> str:
    """Make the n-th call and return how it ended."""
    user = str(n)
    try:
        async with asyncio.timeout(0.05 if n % 5 == 0 else 5):
            if n % 3 == 0:
                return await ask(client, user=user)
            if n % 3 == 1:
                return await stream_text(client, user=user)
            async with open_stream(client, user=user) as stream:
                async for _ in stream:
                    break
            return "left"
    except (DGridError, TimeoutError) as error:
        return type(error).__name__


async def crowd(server: Loopback) -> None:
    options = {
        "limits": Limits(max_connections=100),
        "retries": Retries(max_attempts=2, initial_delay=0.01),
        "timeouts": Timeouts(idle=0.2, first_event=2.5),
    }
    async with client_of(server, **options) as client:
        tasks = [asyncio.create_task(one(client, n)) for n in range(CALLS)]
        await asyncio.sleep(0.1)
        for task in tasks[::7]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = {"cancelled" if isinstance(each, asyncio.CancelledError) else str(each) for each in ended}
        assert {"hello", "left", "cancelled", "TimeoutError", "InternalServerError", "APIConnectionError"} <= kinds
        assert all(isinstance(each, (str, asyncio.CancelledError)) for each in ended)
        # A whole answer whose body does not end gives its slot back a moment later.
        async with asyncio.timeout(1):
            while client.stats().in_use:
                await asyncio.sleep(0.01)
        assert client.stats().waiting == 0


@pytest.mark.skipif(not FDS.is_dir(), reason="lists its sockets only where /proc does")
async def test_nothing_is_left_of_a_mixed_crowd() -> None:
    gc.collect()
    before, tasks = open_sockets(), asyncio.all_tasks()
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with loopback(mixed) as server:
            await crowd(server)
            async with asyncio.timeout(2):
                while asyncio.all_tasks() - tasks - server._tasks:
                    await asyncio.sleep(0.01)
                while server.open:
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert open_sockets() - before == set()
    assert complaints == []
    assert [str(each.message) for each in warned] == []


async def test_many_calls_over_one_client_grow_nothing() -> None:
    """What a call leaves behind is the same after 300 of them as after 100."""
    async with loopback() as server, client_of(server) as client:

        async def count() -> int:
            for _ in range(50):
                await ask(client)
                await stream_text(client)
            server.requests.clear()
            gc.collect()
            return len(gc.get_objects())

        first = await count()
        await count()
        third = await count()
        assert third - first < 50


async def test_a_kept_connection_that_is_reset_later_is_nobodys_error() -> None:
    """Its answers were all read: asyncio must not report an exception that nobody looked at."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))

    async def slowly(exchange: Exchange) -> None:
        await exchange.send(exchange.head())
        await asyncio.sleep(0.01)  # so that the connection belongs to an answer that goes on
        await exchange.send(BODY)

    async with loopback(slowly) as server, client_of(server) as client:
        assert [await ask(client) for _ in range(3)] == ["hello"] * 3
        assert server.connections == 1
        server.requests.pop().reset()
        server.requests.clear()
        await server.wait_open(0)
        await asyncio.sleep(0.05)
        gc.collect()
        assert await ask(client) == "hello"
        assert server.connections == 2
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
