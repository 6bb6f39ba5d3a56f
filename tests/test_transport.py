"""A call on the wire, over real sockets: its attempts, limits and errors, and its end at every step."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import aiohttp
import anyio
import attrs
import pytest

import dgrid_async
from dgrid_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncDGrid,
    ClientClosedError,
    DGridError,
    InternalServerError,
    Limits,
    RateLimitError,
    Retries,
    StreamTruncatedError,
    Timeouts,
)
from dgrid_async.config import Secret
from dgrid_async.network import Network
from dgrid_async.pool import Pool
from dgrid_async.transport import Call
from tests.loopback import (
    BODY,
    KEY,
    NO_WAIT,
    ON_TIME,
    ONCE,
    SSE,
    Exchange,
    Loopback,
    Play,
    answering,
    ask,
    blackhole,
    call_to,
    client_of,
    ends_within,
    good,
    hang,
    in_turn,
    keys,
    loopback,
    moved,
    open_stream,
    stream_text,
)


async def drop(exchange: Exchange) -> None:
    exchange.writer.transport.abort()
    await exchange.left()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def cut_the_body(exchange: Exchange) -> None:
    await exchange.send(exchange.head() + BODY[:30])
    exchange.writer.transport.abort()


# -------------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize("bad", [answering(500), answering(429), drop, reset, cut_the_body], ids=lambda play: play.__name__)
async def test_one_idempotency_key_for_all_attempts_of_a_call(bad: Play) -> None:
    async with loopback(in_turn(bad, bad, good)) as server, client_of(server, retries=NO_WAIT) as client:
        assert await ask(client) == "hello"
        assert await ask(client) == "hello"
        assert len(server.requests) == 4
        assert keys(server)[0]
        assert keys(server)[0] == keys(server)[1] == keys(server)[2] != keys(server)[3]


async def test_a_callers_own_idempotency_key() -> None:
    async with loopback(in_turn(answering(500), good)) as server, client_of(server, retries=NO_WAIT) as client:
        assert await ask(client, idempotency_key="mine") == "hello"
        assert await ask(client, extra_headers={"Idempotency-Key": "too"}) == "hello"
        assert keys(server) == ["mine", "mine", "too"]


async def test_the_error_lists_the_attempts_before_it() -> None:
    plays = in_turn(answering(500), drop, answering(503))
    async with loopback(plays) as server, client_of(server, retries=NO_WAIT) as client:
        with pytest.raises(dgrid_async.ServiceUnavailableError) as caught:
            await ask(client)
        assert [type(each) for each in caught.value.attempts] == [InternalServerError, APIConnectionError]
        assert "after 3 attempts" in str(caught.value)
        assert isinstance(caught.value.attempts[1].__cause__, aiohttp.ServerDisconnectedError)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own
        assert [type(each) for each in again.attempts] == [InternalServerError, APIConnectionError]


async def test_one_attempt_is_no_retry() -> None:
    async with loopback(answering(500)) as server, client_of(server, retries=ONCE) as client:
        with pytest.raises(InternalServerError) as caught:
            await ask(client)
        assert caught.value.attempts == ()
        assert len(server.requests) == 1


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(status: int) -> None:
    plays = in_turn(answering(status, retry_after="0.3"), good)
    async with loopback(plays) as server, client_of(server) as client:
        assert await ask(client) == "hello"
        first, second = server.requests
        assert 0.3 <= second.at - first.at <= 0.4


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize(
    ("asked", "timeouts"), [("61", Timeouts()), ("2", Timeouts(total=1.0)), ("2", Timeouts(first_event=1.0))], ids=str
)
async def test_a_wait_that_does_not_fit_raises_at_once(asked: str, timeouts: Timeouts) -> None:
    async with loopback(answering(429, retry_after=asked)) as server, client_of(server, timeouts=timeouts) as client:
        with ends_within(0, ON_TIME), pytest.raises(RateLimitError) as caught:
            await ask(client)
        assert caught.value.retry_after == float(asked)
        assert len(server.requests) == 1


@pytest.mark.usefixtures("leaping_clock")
async def test_fifty_calls_keep_the_pause_and_do_not_come_back_as_one() -> None:
    async def busy(exchange: Exchange) -> None:
        await (exchange.answer(429, b"{}", retry_after="0.5") if exchange.number <= 50 else good(exchange))

    async with loopback(busy) as server, client_of(server) as client:
        assert await asyncio.gather(*(ask(client) for _ in range(50))) == ["hello"] * 50
        assert len(server.requests) == 100
        paused = server.requests[49].at
        back = [exchange.at for exchange in server.requests[50:]]
        assert min(back) >= paused + 0.5
        assert max(back) - min(back) > 0.05
        middle = sorted(back)[5:45]
        assert middle[-1] - middle[0] > 0.02


@pytest.mark.usefixtures("leaping_clock")
async def test_calls_that_wait_for_a_slot_keep_the_pause() -> None:
    async def busy(exchange: Exchange) -> None:
        await (exchange.answer(429, b"{}", retry_after="0.4") if exchange.number <= 3 else good(exchange))

    async with loopback(busy) as server, client_of(server, limits=Limits(max_connections=3)) as client:
        calls = [asyncio.create_task(ask(client)) for _ in range(30)]
        await server.wait(3)
        await asyncio.sleep(0.1)
        assert len(server.requests) == 3
        assert client.stats().in_use == 0
        assert await ask(client) == "hello"
        assert await asyncio.gather(*calls) == ["hello"] * 30
        assert server.requests[3].at >= server.requests[2].at + 0.4
        assert len(server.requests) == 34


async def test_no_second_post_once_an_event_was_handed_out() -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(SSE[0])
        await exchange.chunk(b"")

    async with loopback(cut) as server, client_of(server, retries=NO_WAIT) as client:
        async with open_stream(client) as stream:
            assert await anext(stream)
            with pytest.raises(StreamTruncatedError) as caught:
                await anext(stream)
        assert caught.value.snapshot.text == "hel"
        assert len(server.requests) == 1


async def test_a_stream_cut_before_its_first_event_is_sent_again() -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b": keep-alive\n\n")
        await exchange.chunk(b"")

    async with loopback(in_turn(cut, good)) as server, client_of(server, retries=NO_WAIT) as client:
        assert await stream_text(client) == "hello"
        assert keys(server)[0] == keys(server)[1]


# ----------------------------------------------------------------------------------------------------------------- limits


async def inside_the_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
    await exchange.left()


async def inside_the_body(exchange: Exchange) -> None:
    await exchange.send(exchange.head() + BODY[:20])
    await exchange.left()


async def inside_an_error(exchange: Exchange) -> None:
    await exchange.send(exchange.head(400) + BODY[:20])
    await exchange.left()


async def byte_by_byte(exchange: Exchange) -> None:
    with contextlib.suppress(ConnectionError):
        await exchange.send(exchange.head(body=b" " * 2000))
        for _ in range(200):
            await exchange.send(b" ")
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("phase", ["first_event", "total"])
@pytest.mark.parametrize("state", [hang, inside_the_head, inside_the_body, inside_an_error, byte_by_byte])
async def test_a_limit_ends_a_call_in_every_state(state: Play, phase: str, streamed: bool) -> None:
    timeouts = attrs.evolve(Timeouts(), **{phase: 0.3})
    async with loopback(state) as server, client_of(server, timeouts=timeouts) as client:
        with ends_within(0.29, 0.3 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await (stream_text(client) if streamed else ask(client))
        assert caught.value.phase == phase
        assert caught.value.seconds == 0.3
        assert caught.value.__context__ is None
        assert client.stats().in_use == 0
        await asyncio.wait_for(server.wait_open(0), 1)


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("phase", ["connect", "first_event", "total"])
async def test_a_limit_ends_connecting(phase: str, streamed: bool) -> None:
    timeouts = attrs.evolve(Timeouts(), **{phase: 0.3})
    async with blackhole() as url, client_of(url, timeouts=timeouts, retries=ONCE) as client:
        with ends_within(0.29, 0.3 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await (stream_text(client) if streamed else ask(client))
        assert caught.value.phase == phase
        assert phase != "connect" or "127.0.0.1" in str(caught.value)


@pytest.mark.usefixtures("leaping_clock")
async def test_connecting_is_tried_again_and_each_attempt_has_its_own_limit() -> None:
    retries = Retries(max_attempts=2, initial_delay=0.0)
    async with blackhole() as url, client_of(url, timeouts=Timeouts(connect=0.2), retries=retries) as client:
        with ends_within(0.39, 0.4 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await ask(client)
        assert [each.phase for each in caught.value.attempts] == ["connect"]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("phase", ["first_event", "total"])
async def test_a_limit_ends_the_wait_for_a_slot(phase: str) -> None:
    async with loopback(hang) as server, client_of(server, limits=Limits(max_connections=1)) as client:
        first = asyncio.create_task(ask(client))
        await server.wait(1)
        with ends_within(0.29, 0.3 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await ask(client, timeouts=attrs.evolve(Timeouts(), **{phase: 0.3}))
        assert caught.value.phase == phase
        assert (client.stats().in_use, client.stats().waiting) == (1, 0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


@pytest.mark.usefixtures("leaping_clock")
async def test_a_limit_ends_the_wait_in_a_pause() -> None:
    async with loopback(answering(429, retry_after="30")) as server, client_of(server) as client:
        first = asyncio.create_task(ask(client))
        await server.wait(1)
        await asyncio.sleep(0.05)
        with ends_within(0.29, 0.3 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await ask(client, timeouts=Timeouts(total=0.3))
        assert caught.value.phase == "total"
        assert len(server.requests) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


@pytest.mark.usefixtures("leaping_clock")
async def test_the_clock_runs_from_sending_not_from_making() -> None:
    async with loopback() as server, client_of(server, timeouts=Timeouts(total=0.2)) as client:
        stream = open_stream(client)
        await asyncio.sleep(0.3)
        async with stream:
            assert (await stream.final()).text == "hello"


@pytest.mark.usefixtures("leaping_clock")
async def test_an_error_whose_body_never_comes_is_told_by_its_status() -> None:
    limits = Limits(error_seconds=0.2)
    async with loopback(inside_an_error) as server, client_of(server, limits=limits) as client:
        with ends_within(0.19, 0.2 + ON_TIME), pytest.raises(dgrid_async.BadRequestError):
            await ask(client)


async def test_interrupting_twice_keeps_the_first_reason() -> None:
    async with loopback(hang) as server:
        pool = Pool(Limits(), Network())
        call = call_to(server.url + "/v1/messages", pool, Secret(KEY))
        task = asyncio.create_task(call.send())
        await server.wait(1)
        call.interrupt(ClientClosedError("first"))
        await asyncio.sleep(0)
        call.interrupt(ClientClosedError("second"))
        with pytest.raises(ClientClosedError, match="first"):
            await task
        await pool.close()


async def test_interrupting_what_its_limit_has_just_ended() -> None:
    async with loopback(hang) as server:
        pool = Pool(Limits(), Network())
        call = call_to(server.url, pool)
        task = asyncio.create_task(call.send())
        await server.wait(1)
        scope: Any = call._scope
        scope.end()
        call.interrupt(ClientClosedError("closed"))
        with pytest.raises(ClientClosedError, match="closed"):
            await task
        await pool.close()


# ------------------------------------------------------------------------------------------------------------ cancellation


async def settle(server: Loopback) -> None:
    """Wait until no task is left but the server's."""
    for _ in range(200):
        if not asyncio.all_tasks() - {asyncio.current_task()} - server._tasks:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(asyncio.all_tasks() - {asyncio.current_task()} - server._tasks)


async def in_pieces(exchange: Exchange) -> None:
    packed = gzip.compress(BODY)
    await exchange.send(exchange.head(body=packed, content_encoding="gzip"))
    for n in range(0, len(packed), 40):
        await exchange.send(packed[n : n + 40])
        await asyncio.sleep(0)


async def every_second_fails(exchange: Exchange) -> None:
    await (good(exchange) if exchange.number % 2 == 0 else exchange.answer(500, b'{"error": {"message": "no"}}'))


async def every_second_pauses(exchange: Exchange) -> None:
    await (good(exchange) if exchange.number % 2 == 0 else exchange.answer(429, b"{}", retry_after="0.002"))


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
@pytest.mark.parametrize("play", [good, moved, in_pieces, every_second_fails, every_second_pauses, drop])
async def test_cancelled_at_every_step(play: Play, kept: bool, streamed: bool) -> None:
    """Cancel after n steps of the loop, for every n until the call is through: nothing may be left of it."""

    async def twice(client: AsyncDGrid) -> None:
        # Over one slot, so that the second call waits for it.
        call = stream_text if streamed and play is not in_pieces else ask
        both = call(client, retries=NO_WAIT), call(client, retries=NO_WAIT)
        ended = await asyncio.gather(*both, return_exceptions=True)
        expected = APIConnectionError if play is drop else str
        assert all(isinstance(each, expected) for each in ended), ended

    async with loopback(play) as server, client_of(server, limits=Limits(max_connections=1)) as client:
        through, n = False, 0
        while n < 10_000:
            if kept and play is not drop:
                server.play = good
                await ask(client)
                server.play = play
            task = asyncio.create_task(twice(client))
            for _ in range(n):
                if task.done():
                    break
                await asyncio.sleep(0)
            if task.done():
                through = True
                task.result()
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (client.stats().in_use, client.stats().waiting) == (0, 0), f"after {n} steps"
            await settle(server)
            n += 1 + n // 200  # a pause takes the more steps of the loop, the faster the machine is
        assert through
        assert n > 5
        server.play = good
        assert await ask(client) == "hello"
        await asyncio.wait_for(server.wait_open(1), 1)


async def test_inside_a_task_group() -> None:
    async with loopback(in_turn(good, good, good, answering(400), hang)) as server, client_of(server) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(client)) for _ in range(3)]
        assert [task.result() for task in tasks] == ["hello"] * 3
        with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 -- what the group raises is what is looked at
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(ask(client))
        assert [type(each) for each in caught.value.exceptions] == [dgrid_async.BadRequestError]
        assert client.stats().in_use == 0
        await settle(server)


async def test_inside_a_callers_own_limits() -> None:
    async with loopback(hang) as server, client_of(server) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(client)
        with anyio.move_on_after(0.05) as scope:
            await ask(client)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(ask, client)
            group.start_soon(stream_text, client)
            await server.wait(4)
            group.cancel_scope.cancel()
        assert client.stats().in_use == 0
        await asyncio.wait_for(server.wait_open(0), 1)
        await settle(server)


@pytest.mark.usefixtures("leaping_clock")
async def test_a_callers_limit_and_ours_at_one_time() -> None:
    async with loopback(hang) as server, client_of(server, timeouts=Timeouts(total=0.1)) as client:
        for seconds in (0.099, 0.1, 0.101):
            with pytest.raises((TimeoutError, APITimeoutError)):
                async with asyncio.timeout(seconds):
                    await ask(client)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
        assert client.stats().in_use == 0


# ------------------------------------------------------------------------------------------------------------------- errors


async def echo_in_the_head(exchange: Exchange) -> None:
    await exchange.send(f"{exchange.headers['authorization']} is no HTTP\r\n\r\n".encode())
    await exchange.left()


async def echo_in_an_error(exchange: Exchange) -> None:
    await exchange.answer(
        401, {"error": {"message": f"bad key {exchange.headers['authorization']}", "code": "invalid_api_key"}}
    )


async def echo_in_a_redirect(exchange: Exchange) -> None:
    await exchange.answer(302, b"", location="http://elsewhere.test/")


async def bad_chunk(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
    await exchange.left()


BAD: list[Play] = [
    drop,
    reset,
    cut_the_body,
    echo_in_the_head,
    echo_in_an_error,
    echo_in_a_redirect,
    bad_chunk,
    answering(500),
    answering(200, b"<html>"),
    answering(200, b"\x1f\x8b?", content_encoding="gzip"),
]


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("play", [*BAD, hang, None], ids=lambda play: getattr(play, "__name__", "nobody there"))
async def test_no_error_shows_the_key(play: Play | None, streamed: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"retries": Retries(max_attempts=2, initial_delay=0.0), "timeouts": Timeouts(total=0.3)}
    async with loopback(play or good) as server, client_of(server if play else "http://127.0.0.1:1", **options) as client:
        with pytest.raises(DGridError) as caught:
            await (stream_text(client) if streamed else ask(client))
        chain: BaseException | None = caught.value
        texts = [caplog.text, "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())]
        for each in (caught.value, *caught.value.attempts):
            chain = each
            while chain is not None:
                texts += [str(chain), repr(chain), repr(vars(chain)), repr(chain.args)]
                chain = chain.__cause__ or chain.__context__
        texts.append(repr(pickle.dumps(caught.value)))
        texts += list(strings_of(client))
        assert not [text for text in texts if KEY in text]


def strings_of(thing: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Yield every string that attributes of the package's objects lead to, as a debugger or a reporter would find it."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    yield repr(thing)
    if isinstance(thing, dict):
        children = [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set)):
        children = list(thing)
    elif type(thing).__module__.startswith("dgrid_async"):
        slots = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
        children = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
        children += [getattr(thing, name, None) for name in slots if name != "__weakref__"]
    else:
        return
    for child in children:
        yield from strings_of(child, seen)


async def test_no_object_at_work_shows_the_key() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(SSE[0])
        await exchange.left()

    async with loopback(begin) as server, client_of(server) as client, open_stream(client) as stream:
        await anext(stream)
        assert [text for thing in (client, stream) for text in strings_of(thing) if KEY in text] == []


async def test_a_failed_call_leaves_no_cycle_of_errors_and_frames() -> None:
    async with loopback(answering(500)) as server, client_of(server, retries=NO_WAIT) as client:
        gc.collect()
        before = [each for each in gc.get_objects() if isinstance(each, (InternalServerError, Call))]
        known = set(map(id, before))
        gc.disable()
        try:
            for _ in range(5):
                with contextlib.suppress(InternalServerError):
                    await ask(client)
            await asyncio.sleep(0)
            after = [each for each in gc.get_objects() if isinstance(each, (InternalServerError, Call))]
            assert [each for each in after if id(each) not in known] == []
        finally:
            gc.enable()


# ---------------------------------------------------------------------------------------------------------- kept connections


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a stream"])
@pytest.mark.parametrize("end", [drop, reset], ids=["closed", "reset"])
async def test_a_gateway_that_has_left_its_kept_connections_costs_one_attempt(end: Play, beside: bool) -> None:
    """However many connections were kept: the second attempt is made on a new one, and a stream under way goes on."""
    seen: set[int] = set()
    ready = asyncio.Barrier(4)
    failed = asyncio.Event()

    async def leave(exchange: Exchange) -> None:
        if b'"stream":true' in exchange.body:
            await exchange.begin_stream()
            await exchange.chunk(SSE[0])
            await failed.wait()
            for piece in (*SSE[1:], b""):
                await exchange.chunk(piece)
        elif exchange.connection in seen:
            await end(exchange)
        else:
            seen.add(exchange.connection)
            if exchange.number <= 4:
                await ready.wait()
            await good(exchange)

    async with loopback(leave) as server, client_of(server, retries=Retries(max_attempts=2, initial_delay=0)) as client:
        assert await asyncio.gather(*(ask(client) for _ in range(4))) == ["hello"] * 4
        assert server.connections == 4
        async with contextlib.AsyncExitStack() as stack:
            stream = await stack.enter_async_context(open_stream(client)) if beside else None
            assert await ask(client) == "hello"
            assert server.connections == 5
            assert len(set(keys(server)[-2:])) == 1
            failed.set()
            if stream is not None:
                assert (await stream.final()).text == "hello"
        assert client.stats().sessions == 1


# ---------------------------------------------------------------------------------------------------------------- request ids


async def test_a_limit_inside_an_answer_names_the_request() -> None:
    async def stall(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.answer(500, b"{}", dgrid_request_id="req_1")
        else:
            await exchange.send(exchange.head(dgrid_request_id="req_2") + BODY[:9])
            await exchange.left()

    async with loopback(stall) as server, client_of(server, retries=NO_WAIT, timeouts=Timeouts(total=0.1)) as client:
        with pytest.raises(APITimeoutError) as caught:
            await ask(client)
    assert caught.value.request_id == "req_2"
    assert [error.request_id for error in caught.value.attempts] == ["req_1"]


async def test_a_limit_before_an_answer_names_no_other_request() -> None:
    async with (
        loopback(in_turn(answering(500, dgrid_request_id="req_1"), hang)) as server,
        client_of(server, retries=NO_WAIT, timeouts=Timeouts(total=0.1)) as client,
    ):
        with pytest.raises(APITimeoutError) as caught:
            await ask(client)
    assert caught.value.request_id is None
