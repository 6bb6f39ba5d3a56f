"""The pool, over real sockets: loops, threads and forks, slots, ages and ends."""

from __future__ import annotations

import asyncio
import contextlib
import math
import platform
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dgrid_async import (
    APIConnectionError,
    APITimeoutError,
    ClientClosedError,
    ConfigError,
    Limits,
    PoolTimeoutError,
    Retries,
    Timeouts,
)
from dgrid_async.network import Network
from dgrid_async.pool import Home, Pool, PoolStats
from dgrid_async.transport import warm_up
from tests.loopback import (
    BODY,
    KEY,
    SSE,
    Exchange,
    Loopback,
    ask,
    blackhole,
    client_of,
    good,
    hang,
    loopback,
    open_stream,
    stream_text,
)

ROOT = Path(__file__).parents[1]
AT_ONCE = 0.05
"""Seconds within which whoever waits has ended; every limit in these tests is far longer."""


async def run_script(server: Loopback, script: str, *, warnings: str = "error") -> str:
    """Run a program of its own against the server, every warning an error, and return what it complained of."""
    program = textwrap.dedent(script).replace("URL", repr(server.url)).replace("KEY", repr(KEY))
    prelude = textwrap.dedent(
        """
        import asyncio, os, sys, threading, gc
        from dgrid_async import AsyncDGrid
        client = AsyncDGrid(KEY, base_url=URL)
        async def ask():
            return (await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])).text
        async def stream():
            async with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}]) as s:
                return (await s.final()).text
        """
    ).replace("URL", repr(server.url)).replace("KEY", repr(KEY))  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", warnings, "-c", prelude + program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


# ------------------------------------------------------------------------------------------------ loops, threads, processes


async def test_one_client_survives_two_runs() -> None:
    async with loopback() as server:
        out = await run_script(
            server,
            """
            assert asyncio.run(ask()) == "hello"
            async def second():
                assert await ask() == "hello"
                assert await stream() == "hello"
                await client.close()
            asyncio.run(second())
            """,
        )
    assert out == ""
    assert len(server.requests) == 3


async def test_a_client_that_nobody_closed_says_nothing_of_loops_that_have_ended() -> None:
    async with loopback() as server:
        out = await run_script(
            server,
            """
            for _ in range(3):
                assert asyncio.run(ask()) == "hello"
            del client
            gc.collect()
            """,
        )
        assert out == ""
        assert len(server.requests) == 3
        await server.wait_open(0)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library, which asks the kernel in other ways")
async def test_the_kernel_maps_no_memory_for_each_read() -> None:
    async with loopback() as server:
        out = await run_script(
            server,
            """
            import resource
            async def main():
                async with client:
                    await ask()
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                    for _ in range(200):
                        await ask()
                    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
            asyncio.run(main())
            """,
        )
    assert len(server.requests) == 201
    assert int(out) < 100  # without a block given back first: 405


async def test_an_abandoned_call_of_an_ended_loop_is_dropped() -> None:
    async def second_hangs(exchange: Exchange) -> None:
        await (exchange.left() if exchange.number == 2 else good(exchange))

    async with loopback(second_hangs) as server:
        out = await run_script(
            server,
            """
            async def abandon():
                await ask()
                task = asyncio.create_task(ask())
                await asyncio.sleep(0.1)
            asyncio.run(abandon())
            async def second():
                async with client:
                    assert await ask() == "hello"
            asyncio.run(second())
            """,
        )
    assert out == ""
    assert len(server.requests) == 3


async def test_two_loops_in_two_threads() -> None:
    async with loopback() as server:
        out = await run_script(
            server,
            """
            texts = []
            both = threading.Barrier(2)
            async def work():
                both.wait()
                texts.extend(await asyncio.gather(*(ask() for _ in range(20))))
                assert client.stats().sessions == 1
            threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(2)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert texts == ["hello"] * 40
            async def end(): await client.close()
            asyncio.run(end())
            """,
        )
    assert out == ""
    assert len(server.requests) == 40


async def test_fork_after_a_run_that_has_ended() -> None:
    async with loopback() as server:
        out = await run_script(
            server,
            """
            async def last():
                async with client:
                    assert await ask() == "hello"
            assert asyncio.run(ask()) == "hello"
            child = os.fork()
            asyncio.run(last())
            if child == 0:
                sys.stdout.flush()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            """,
        )
    assert out == ""
    assert len(server.requests) == 3


async def test_fork_beside_a_loop_that_lives_on() -> None:
    """The child takes a loop of its own; the parent goes on over the connection that it had."""
    async with loopback() as server:
        out = await run_script(
            server,
            """
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(ask()) == "hello"
            child = os.fork()
            if child == 0:
                try:
                    assert asyncio.run(ask()) == "hello"
                    assert len(client._pool._homes) == 1
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert loop.run_until_complete(ask()) == "hello"
            loop.run_until_complete(client.close())
            loop.close()
            """,
        )
    assert out == ""
    assert len(server.requests) == 3
    assert [exchange.connection for exchange in server.requests] == [1, 2, 1]


async def test_a_session_whose_closing_is_cancelled_is_closed_all_the_same() -> None:
    """A loop that ends cancels all tasks, those among them that have not begun."""
    async with loopback() as server, client_of(server) as client:
        assert await ask(client) == "hello"
        pool = client._pool
        home = pool._home()
        (generation,) = home.generations
        pool._retire(home, generation)
        (closing,) = home.closing
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        await asyncio.wait_for(server.wait_open(0), 1)
        assert generation.session.closed
        assert await ask(client) == "hello"


async def test_uvloop_twice() -> None:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    async with loopback() as server:
        out = await run_script(
            server,
            """
            import uvloop
            def run(main):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: return runner.run(main)
            async def close(): await client.close()
            async def second():
                assert await ask() == "hello"
                assert await stream() == "hello"
                await client.close()
            assert run(ask()) == "hello"
            run(second())
            """,
            # uvloop itself warns of each transport that is open at its end, before anybody could close one.
            warnings="ignore::ResourceWarning",
        )
    assert out == ""
    assert len(server.requests) == 3


async def test_terminate_reaches_the_loops_of_other_threads() -> None:
    async with loopback(lambda exchange: exchange.left()) as server:
        client = client_of(server)
        ended: list[BaseException] = []

        async def work() -> None:
            try:
                await ask(client)
            except BaseException as error:  # noqa: BLE001 -- looked at below
                ended.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(work()))
        thread.start()
        await server.wait(1)
        client.terminate()
        await asyncio.to_thread(thread.join, 5)
        assert [type(error) for error in ended] == [ClientClosedError]
        await server.wait_open(0)


async def test_close_lets_other_loops_finish_and_closes_behind_them() -> None:
    go = asyncio.Event()

    async def when_told(exchange: Exchange) -> None:
        await go.wait()
        await good(exchange)

    async with loopback(when_told) as server:
        client = client_of(server)
        texts: list[Any] = []

        async def work() -> None:
            texts.append(await ask(client))
            await asyncio.sleep(0.05)
            texts.append(client.stats().sessions)

        thread = threading.Thread(target=lambda: asyncio.run(work()))
        thread.start()
        await server.wait(1)
        await client.close()
        go.set()
        await asyncio.to_thread(thread.join, 5)
        assert texts == ["hello", 0]


# ------------------------------------------------------------------------------------------------------------ the slots


async def test_the_gateway_never_sees_more_than_the_limit() -> None:
    async def after_a_while(exchange: Exchange) -> None:
        await asyncio.sleep(0.005)
        await good(exchange)

    async with loopback(after_a_while) as server, client_of(server, limits=Limits(max_connections=20)) as client:
        texts = await asyncio.gather(*(ask(client) for _ in range(1000)))
        assert texts == ["hello"] * 1000
        assert len(server.requests) == 1000
        assert server.peak == 20
        assert server.connections == 20
        assert client.stats() == PoolStats(in_use=0, waiting=0, limit=20, sessions=1)


@pytest.mark.usefixtures("leaping_clock")
async def test_waiting_too_long_says_how_many_are_in_use_and_waiting() -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.left()

    limits = Limits(max_connections=2, pool_timeout=0.15)
    async with loopback(hang) as server, client_of(server, limits=limits) as client:
        tasks = [asyncio.create_task(ask(client)) for _ in range(5)]
        await server.wait(2)
        assert client.stats() == PoolStats(in_use=2, waiting=3, limit=2, sessions=1)
        errors: list[Any] = await asyncio.gather(*tasks[2:], return_exceptions=True)
        assert all(isinstance(error, PoolTimeoutError) for error in errors)
        assert [(error.in_use, error.waiting) for error in errors] == [(2, 3), (2, 2), (2, 1)]
        assert "2 in use, 3 waiting" in str(errors[0])
        assert client.stats().waiting == 0
        for task in tasks[:2]:
            task.cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        assert client.stats().in_use == 0
        assert len(server.requests) == 2


async def test_first_come_first_served() -> None:
    async with loopback() as server, client_of(server, limits=Limits(max_connections=1)) as client:
        tasks = []
        for n in range(12):
            tasks.append(asyncio.create_task(ask(client, user=f"n{n:02}")))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert [exchange.body[exchange.body.index(b'"n') :][1:4] for exchange in server.requests] == [
            b"n%02d" % n for n in range(12)
        ]


async def test_who_comes_in_the_moment_of_handing_over_does_not_overtake() -> None:
    pool = Pool(Limits(max_connections=1), Network())
    order: list[str] = []

    async def take(name: str) -> None:
        lease = await pool.acquire()
        order.append(name)
        lease.release()

    held = await pool.acquire()
    waiter = asyncio.create_task(take("first"))
    await asyncio.sleep(0)
    held.release()
    await take("second")
    await waiter
    assert order == ["first", "second"]
    await pool.close()


@pytest.mark.parametrize("moment", ["waiting", "handed over"])
async def test_a_cancelled_waiter_takes_no_slot(moment: str) -> None:
    pool = Pool(Limits(max_connections=1), Network())
    held = await pool.acquire()
    waiters = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    if moment == "handed over":
        held.release()
        waiters[0].cancel()
    else:
        waiters[0].cancel()
        await asyncio.sleep(0)
        held.release()
    with pytest.raises(asyncio.CancelledError):
        await waiters[0]
    second = await waiters[1]
    assert (pool.stats().in_use, pool.stats().waiting) == (1, 1)
    second.release()
    second.release()
    (await waiters[2]).release()
    assert (pool.stats().in_use, pool.stats().waiting) == (0, 0)
    await pool.close()


async def test_a_waiter_cancelled_as_its_time_runs_out_gives_nothing_back() -> None:
    pool = Pool(Limits(max_connections=1), Network())
    held = await pool.acquire()
    waiter = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    slots = pool._home().slots
    (future,) = slots.waiters
    slots._expire(future, 0.01)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert (pool.stats().in_use, pool.stats().waiting) == (1, 0)
    held.release()
    assert pool.stats().in_use == 0
    await pool.close()


async def test_no_limit() -> None:
    pool = Pool(Limits(max_connections=None), Network())
    leases = [await pool.acquire() for _ in range(1500)]
    assert pool.stats() == PoolStats(in_use=1500, waiting=0, limit=None, sessions=1)
    for lease in leases:
        lease.release()
    await pool.close()
    assert pool.stats() == PoolStats()


# ------------------------------------------------------------------------------------------------------ the connections


async def test_a_connection_is_used_again() -> None:
    async with loopback() as server, client_of(server) as client:
        for _ in range(10):
            assert await ask(client) == "hello"
            assert await stream_text(client) == "hello"
        assert server.connections == 1


async def test_an_answered_error_leaves_its_connection_usable() -> None:
    async def fail_once(exchange: Exchange) -> None:
        await (exchange.answer(500, b"{}") if exchange.number == 1 else good(exchange))

    async with loopback(fail_once) as server, client_of(server, retries=Retries(initial_delay=0.0)) as client:
        assert await ask(client) == "hello"
        assert [exchange.connection for exchange in server.requests] == [1, 1]


async def test_a_kept_connection_holds_none_of_the_answers_it_carried() -> None:
    async def slowly(exchange: Exchange) -> None:
        if b'"stream":true' in exchange.body:
            return await good(exchange)
        await exchange.send(exchange.head())
        await asyncio.sleep(0.01)
        return await exchange.send(BODY)

    async with loopback(slowly) as server, client_of(server) as client:
        for _ in range(5):
            await ask(client)
            await stream_text(client)
        (home,) = client._pool._homes.values()
        connector: Any = home.generations[-1].session.connector
        ((protocol, _),) = (entry for entries in connector._conns.values() for entry in entries)
        assert len(protocol.closed._callbacks or ()) <= 1
        assert server.connections == 1


@pytest.mark.usefixtures("leaping_clock")
async def test_a_connection_on_which_the_gateway_spoke_unasked_is_not_used() -> None:
    async def and_more(exchange: Exchange) -> None:
        await good(exchange)
        if exchange.number == 1:
            await asyncio.sleep(0.05)
            await exchange.answer(200, b'{"not": "asked for"}')

    async with loopback(and_more) as server, client_of(server, retries=Retries(max_attempts=1)) as client:
        assert await ask(client) == "hello"
        await asyncio.sleep(0.15)
        assert await ask(client) == "hello"
        assert server.connections == 2


@pytest.mark.usefixtures("leaping_clock")
async def test_a_connection_above_its_age_is_not_used_and_its_calls_finish() -> None:
    go = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        if b'"stream":true' not in exchange.body:
            return await good(exchange)
        await exchange.begin_stream()
        await exchange.chunk(SSE[0])
        await go.wait()
        for piece in [*SSE[1:], b""]:
            await exchange.chunk(piece)
        return None

    async with loopback(slowly) as server, client_of(server, limits=Limits(max_age=0.2)) as client:
        async with open_stream(client) as stream:
            await anext(stream)
            await ask(client)
            await ask(client)
            assert server.connections == 2
            await asyncio.sleep(0.25)
            await ask(client)
            assert server.connections == 3
            assert client.stats().sessions == 2
            go.set()
            assert (await stream.final()).text == "hello"
        await server.wait_open(1)
        assert client.stats().sessions == 1


async def test_an_idle_connection_is_closed_after_keep_alive() -> None:
    async with loopback() as server, client_of(server, limits=Limits(keep_alive=0.1)) as client:
        await ask(client)
        await asyncio.wait_for(server.wait_open(0), 2)
        await ask(client)
        assert server.connections == 2


async def test_warm_up_opens_connections_and_sends_nothing() -> None:
    async with loopback() as server, client_of(server, limits=Limits(max_connections=3)) as client:
        assert await warm_up(client._pool, server.url + "/v1/anything", 2, Timeouts()) == 2
        await server.wait_open(2)
        assert await warm_up(client._pool, server.url, 9, Timeouts()) == 3
        await server.wait_open(3)
        assert server.requests == []
        assert client.stats() == PoolStats(in_use=0, waiting=0, limit=3, sessions=1)
        assert await asyncio.gather(*(ask(client) for _ in range(3))) == ["hello"] * 3
        assert server.connections == 3


async def test_warm_up_fails_by_type_and_gives_its_slots_back() -> None:
    async with blackhole() as url, client_of(url) as client:
        with pytest.raises(APITimeoutError) as caught:
            await warm_up(client._pool, url, 2, Timeouts(connect=0.1))
        assert caught.value.phase == "connect"
        assert client.stats().in_use == 0


# --------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.usefixtures("leaping_clock")
async def test_close_lets_what_is_under_way_finish_and_refuses_what_is_new() -> None:
    go = asyncio.Event()
    seen: list[int] = []

    async def when_told(exchange: Exchange) -> None:
        seen.append(exchange.number)
        if b'"retried"' in exchange.body and sum(b'"retried"' in other.body for other in server.requests) == 1:
            return await exchange.answer(429, b"{}", retry_after="0.3")
        if b'"stream":true' in exchange.body:
            await exchange.begin_stream()
            await exchange.chunk(SSE[0])
            await go.wait()
            for piece in [*SSE[1:], b""]:
                await exchange.chunk(piece)
            return None
        await go.wait()
        return await good(exchange)

    async with loopback(when_told) as server:
        client = client_of(server, limits=Limits(max_connections=3))
        retried = asyncio.create_task(ask(client, user="retried"))
        await server.wait(1)
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
        await anext(stream)
        plain = [asyncio.create_task(ask(client)) for _ in range(4)]
        closing = [asyncio.create_task(client.close()) for _ in range(2)]
        await asyncio.sleep(0.02)
        assert client.closed
        with pytest.raises(ClientClosedError):
            await ask(client)
        with pytest.raises(ClientClosedError):
            await stream_text(client)
        go.set()
        assert await asyncio.gather(retried, *plain) == ["hello"] * 5
        assert not any(task.done() for task in closing)
        assert (await stream.final()).text == "hello"
        await asyncio.wait_for(asyncio.gather(*closing), 2)
        await server.wait_open(0)
        await client.close()
        client.terminate()
        assert client.stats() == PoolStats(limit=3)
        assert len(seen) == 7


async def test_close_lets_a_stream_make_its_other_attempts() -> None:
    go = asyncio.Event()

    async def cut_once(exchange: Exchange) -> None:
        if exchange.number > 1:
            return await good(exchange)
        await exchange.begin_stream()
        await go.wait()
        return await exchange.chunk(b"")

    async with loopback(cut_once) as server:
        client = client_of(server, retries=Retries(initial_delay=0.02))
        reading = asyncio.create_task(stream_text(client))
        await server.wait(1)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0.02)
        go.set()
        assert await reading == "hello"
        await asyncio.wait_for(closing, 2)
        assert len(server.requests) == 2
        await server.wait_open(0)


@pytest.mark.usefixtures("leaping_clock")
async def test_terminate_ends_a_close_that_waits() -> None:
    async with loopback(lambda exchange: exchange.left()) as server:
        client = client_of(server)
        call = asyncio.create_task(ask(client))
        await server.wait(1)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0.01)
        client.terminate()
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(call, AT_ONCE)
        await asyncio.wait_for(closing, AT_ONCE)


@pytest.mark.usefixtures("leaping_clock")
async def test_a_cancelled_close_leaves_the_pool_closed_to_new_calls() -> None:
    go = asyncio.Event()

    async def when_told(exchange: Exchange) -> None:
        await go.wait()
        await good(exchange)

    async with loopback(when_told) as server:
        client = client_of(server)
        call = asyncio.create_task(ask(client))
        await server.wait(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(), 0.02)
        with pytest.raises(ClientClosedError):
            await ask(client)
        go.set()
        assert await call == "hello"
        await client.close()
        await server.wait_open(0)


async def hang_inside_the_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
    await exchange.left()


async def hang_inside_the_body(exchange: Exchange) -> None:
    await exchange.send(exchange.head() + BODY[:20])
    await exchange.left()


async def hang_inside_an_error(exchange: Exchange) -> None:
    await exchange.send(exchange.head(400) + BODY[:20])
    await exchange.left()


async def ask_for_a_pause(exchange: Exchange) -> None:
    await exchange.answer(429, b"{}", retry_after="10")


async def fail(exchange: Exchange) -> None:
    await exchange.answer(500, b"{}", retry_after="10")


STATES: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "before the head": hang,
    "inside the head": hang_inside_the_head,
    "inside the body": hang_inside_the_body,
    "inside an error's body": hang_inside_an_error,
    "in a retry's wait": fail,
    "in a pause": ask_for_a_pause,
}


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("how", ["terminate", "the end of async with"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("state", [*STATES, "connecting", "waiting for a slot"])
async def test_what_is_under_way_is_cut_at_once(state: str, streamed: bool, how: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(loopback(STATES.get(state, hang)))
        address = await stack.enter_async_context(blackhole()) if state == "connecting" else server.url
        client = client_of(address, limits=Limits(max_connections=1), retries=Retries(max_attempts=5))
        calls = [asyncio.create_task(stream_text(client) if streamed else ask(client))]
        if state != "connecting":
            await server.wait(1)
        if state == "waiting for a slot":
            calls.append(asyncio.create_task(stream_text(client) if streamed else ask(client)))
        await asyncio.sleep(0.05)
        begun = asyncio.get_running_loop().time()
        if how == "terminate":
            client.terminate()
        else:
            async with client:
                pass
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 2)
        assert asyncio.get_running_loop().time() - begun < AT_ONCE
        assert [type(error) for error in ended] == [ClientClosedError] * len(calls)
        await asyncio.wait_for(server.wait_open(0), 1)
        assert len(server.requests) == (0 if state == "connecting" else 1)
        with pytest.raises(ClientClosedError):
            await ask(client)


@pytest.mark.usefixtures("leaping_clock")
async def test_a_stream_that_nobody_reads_is_cut() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(SSE[0])
        await exchange.left()

    async with loopback(endless) as server:
        async with client_of(server) as client:
            stream = await client.chat.completions.create(model="m", messages=[], stream=True)
            await anext(stream)
        await asyncio.wait_for(server.wait_open(0), 1)
        with pytest.raises(ClientClosedError) as caught:
            await anext(stream)
        assert caught.value.snapshot.text == "hel"
        assert client._pool._homes == {}


# --------------------------------------------------------------------------------------------------- the caller's session


async def test_a_callers_own_session_is_used_and_never_closed() -> None:
    async with loopback() as server, aiohttp.ClientSession(headers={"x-mine": "1"}, raise_for_status=True) as session:
        async with client_of(server, session=session) as client:
            assert await ask(client) == "hello"
            assert await stream_text(client) == "hello"
        assert not session.closed
        second = client_of(server, session=session)
        assert await ask(second) == "hello"
        await second.close()
        third = client_of(server, session=session)
        third.terminate()
        assert not session.closed
        assert [exchange.headers["x-mine"] for exchange in server.requests] == ["1"] * 3
        assert server.connections == 1


async def test_a_callers_own_session_that_is_closed_is_named() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    async with loopback() as server, client_of(server, session=session) as client:
        with pytest.raises(ClientClosedError, match="session="):
            await ask(client)
        assert client.stats().in_use == 0


async def test_a_callers_own_session_closed_during_a_call() -> None:
    async with loopback(hang) as server:
        session = aiohttp.ClientSession()
        async with client_of(server, session=session) as client:
            call = asyncio.create_task(ask(client))
            await server.wait(1)
            await session.close()
            with pytest.raises(ClientClosedError, match="was closed"):
                await asyncio.wait_for(call, 2)


async def test_a_callers_own_session_of_another_loop_is_refused() -> None:
    async with loopback() as server, aiohttp.ClientSession() as session:
        client = client_of(server, session=session)

        def elsewhere() -> BaseException | None:
            with contextlib.suppress(asyncio.TimeoutError):
                try:
                    asyncio.run(ask(client))
                except ConfigError as error:
                    return error
            return None

        error = await asyncio.to_thread(elsewhere)
        assert error is not None
        assert "another event loop" in str(error)
        assert server.requests == []


# -------------------------------------------------------------------------------------------------- what cannot be reached


async def test_a_name_that_resolves_nowhere_is_named() -> None:
    async with client_of("http://gateway.invalid", retries=Retries(max_attempts=1)) as client:
        with pytest.raises(APIConnectionError, match=r"gateway\.invalid.*cannot be resolved"):
            await ask(client)


async def test_a_refused_connection_names_host_and_port() -> None:
    async with client_of("http://127.0.0.1:1", retries=Retries(max_attempts=1)) as client:
        with pytest.raises(APIConnectionError, match=r"no connection to 127\.0\.0\.1, port 1"):
            await ask(client)


# ------------------------------------------------------------------------------------------------------------------ limits


class Underway:
    """A call as the pool knows it, which writes down that it was ended."""

    def __init__(self, name: str, until: float, ended: list[str]) -> None:
        self.until = until
        self._name = name
        self._ended = ended

    def expire(self) -> None:
        self._ended.append(self._name)

    def interrupt(self, reason: object) -> None:
        raise AssertionError(reason)


async def test_all_calls_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    set_timers: list[Any] = []
    call_at = loop.call_at

    def counted(when: float, callback: Callable[..., Any], *args: Any, **more: Any) -> asyncio.TimerHandle:
        set_timers.append(callback)
        return call_at(when, callback, *args, **more)

    async with loopback() as server, client_of(server, timeouts=Timeouts(connect=None)) as client:
        await asyncio.gather(*(ask(client) for _ in range(10)))
        monkeypatch.setattr(loop, "call_at", counted)
        await asyncio.gather(*(ask(client) for _ in range(10)))
        assert await ask(client) == "hello"
        assert set_timers == []


@pytest.mark.usefixtures("leaping_clock")
async def test_each_call_ends_at_its_own_limit() -> None:
    seconds = [0.5, 0.1, 0.3, 0.2, 0.4]
    ended: list[float] = []

    async def hang(exchange: Exchange) -> None:
        await exchange.left()

    async def late(client: Any, total: float) -> None:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(APITimeoutError) as caught:
            await ask(client, timeouts=Timeouts(total=total))
        assert caught.value.seconds == total
        assert asyncio.get_running_loop().time() - begun >= total - 0.01
        ended.append(total)

    async with loopback(hang) as server, client_of(server) as client:
        await asyncio.gather(*(late(client, total) for total in seconds))
        assert ended == sorted(seconds)
        assert client.stats().in_use == 0


async def test_a_timer_that_rings_early_ends_what_is_due_and_is_set_for_the_next() -> None:
    home = Home(asyncio.get_running_loop(), None)
    now, ended = home.loop.time(), list[str]()
    calls = [Underway("due", now + 0.0005, ended), Underway("next", now + 60.0, ended), Underway("never", math.inf, ended)]
    home.calls.update(calls)
    for call in calls:
        home.watch(call.until)
    home.ring()
    assert ended == ["due"]
    assert home._alarm is not None
    assert home._alarm.when() == now + 60.0
    home.calls.clear()
    home.ring()
    assert home._alarm is None


async def test_the_timer_of_the_limits_keeps_no_pool_alive_and_goes_with_it() -> None:
    home = Home(asyncio.get_running_loop(), None)
    home.watch(home.loop.time() + 60.0)
    forgotten = weakref.ref(home)
    del home
    assert forgotten() is None
    async with loopback() as server, client_of(server) as client:
        await ask(client)
        (kept,) = client._pool._homes.values()
        assert kept._alarm is not None
    assert kept._alarm is None
