"""A call on the wire, over real sockets: its attempts, limits, redirects, encodings and errors, and its end at every step."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import logging
import pickle
import traceback
import zlib
from collections.abc import Iterator
from typing import Any

import aiohttp
import anyio
import attrs
import pytest
from blockbuster import blockbuster_ctx

import dgrid_async
from dgrid_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncDGrid,
    ClientClosedError,
    DGridError,
    EventTooLargeError,
    InternalServerError,
    Limits,
    RateLimitError,
    Retries,
    StreamTruncatedError,
    Timeouts,
    UnexpectedResponseError,
)
from dgrid_async.config import Secret
from dgrid_async.pool import Network, Pool
from dgrid_async.transport import Call, CoolDown, Request, _address, redirected
from tests.loopback import (
    BODY,
    KEY,
    SSE,
    Exchange,
    Loopback,
    Play,
    ask,
    blackhole,
    client_of,
    good,
    loopback,
    open_stream,
    stream_text,
)

NO_WAIT = Retries(initial_delay=0.0)
ONCE = Retries(max_attempts=1)
ON_TIME = 0.2


def in_turn(*plays: Play) -> Play:
    """Return a play for each request in turn, the last for all after it."""

    async def play(exchange: Exchange) -> None:
        await plays[min(exchange.number, len(plays)) - 1](exchange)

    return play


def answering(status: int, body: Any = b"{}", **headers: str) -> Play:
    return lambda exchange: exchange.answer(status, body, **headers)


async def hang(exchange: Exchange) -> None:
    await exchange.left()


async def drop(exchange: Exchange) -> None:
    exchange.writer.transport.abort()
    await exchange.left()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def cut_the_body(exchange: Exchange) -> None:
    await exchange.send(exchange.head() + BODY[:30])
    exchange.writer.transport.abort()


def keys(server: Loopback) -> list[str]:
    return [exchange.headers["idempotency-key"] for exchange in server.requests]


def request_to(url: str, *, secret: Secret | None = None, streamed: bool = False, limits: Limits | None = None) -> Request:
    return Request(
        url=url,
        body=b"{}",
        headers={},
        secret=secret,
        streamed=streamed,
        timeouts=Timeouts(),
        retries=ONCE,
        limits=limits or Limits(),
    )


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.contextmanager
def ends_within(low: float, high: float) -> Iterator[None]:
    begun = now()
    yield
    assert low <= now() - begun <= high


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


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(status: int) -> None:
    plays = in_turn(answering(status, retry_after="0.3"), good)
    async with loopback(plays) as server, client_of(server) as client:
        assert await ask(client) == "hello"
        first, second = server.requests
        assert 0.3 <= second.at - first.at <= 0.4


@pytest.mark.parametrize(
    ("asked", "timeouts"), [("61", Timeouts()), ("2", Timeouts(total=1.0)), ("2", Timeouts(first_event=1.0))], ids=str
)
async def test_a_wait_that_does_not_fit_raises_at_once(asked: str, timeouts: Timeouts) -> None:
    async with loopback(answering(429, retry_after=asked)) as server, client_of(server, timeouts=timeouts) as client:
        with ends_within(0, ON_TIME), pytest.raises(RateLimitError) as caught:
            await ask(client)
        assert caught.value.retry_after == float(asked)
        assert len(server.requests) == 1


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


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("phase", ["connect", "first_event", "total"])
async def test_a_limit_ends_connecting(phase: str, streamed: bool) -> None:
    timeouts = attrs.evolve(Timeouts(), **{phase: 0.3})
    async with blackhole() as url, client_of(url, timeouts=timeouts, retries=ONCE) as client:
        with ends_within(0.29, 0.3 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await (stream_text(client) if streamed else ask(client))
        assert caught.value.phase == phase
        assert phase != "connect" or "127.0.0.1" in str(caught.value)


async def test_connecting_is_tried_again_and_each_attempt_has_its_own_limit() -> None:
    retries = Retries(max_attempts=2, initial_delay=0.0)
    async with blackhole() as url, client_of(url, timeouts=Timeouts(connect=0.2), retries=retries) as client:
        with ends_within(0.39, 0.4 + ON_TIME), pytest.raises(APITimeoutError) as caught:
            await ask(client)
        assert [each.phase for each in caught.value.attempts] == ["connect"]  # type: ignore[attr-defined]


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


async def test_the_clock_runs_from_sending_not_from_making() -> None:
    async with loopback() as server, client_of(server, timeouts=Timeouts(total=0.2)) as client:
        stream = open_stream(client)
        await asyncio.sleep(0.3)
        async with stream:
            assert (await stream.final()).text == "hello"


async def test_an_error_whose_body_never_comes_is_told_by_its_status() -> None:
    limits = Limits(error_seconds=0.2)
    async with loopback(inside_an_error) as server, client_of(server, limits=limits) as client:
        with ends_within(0.19, 0.2 + ON_TIME), pytest.raises(dgrid_async.BadRequestError):
            await ask(client)


async def test_interrupting_twice_keeps_the_first_reason() -> None:
    async with loopback(hang) as server:
        pool = Pool(Limits(), Network())
        request = request_to(server.url + "/v1/messages", secret=Secret(KEY))
        call = Call(pool, CoolDown(), request)
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
        call = Call(pool, CoolDown(), request_to(server.url))
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


async def moved(exchange: Exchange) -> None:
    if "there" in exchange.line:
        await good(exchange)
    else:
        await exchange.answer(307, b"", location="/there/v1/chat/completions")


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


# --------------------------------------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_to_the_same_host_is_followed(status: int) -> None:
    async def play(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.answer(status, b"gone there", location="/there/v1/chat/completions?x=1")
        else:
            await good(exchange)

    async with loopback(play) as server, client_of(server) as client:
        assert await ask(client) == "hello"
        first, second = server.requests
        assert second.line == "POST /there/v1/chat/completions?x=1 HTTP/1.1"
        assert second.body == first.body
        assert second.headers["authorization"] == f"Bearer {KEY}"
        assert keys(server)[0] == keys(server)[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_key_goes_to_another_host(status: int) -> None:
    async with loopback() as other:
        elsewhere = f"http://localhost:{other.port}/v1/chat/completions"
        async with loopback(answering(status, b"", location=elsewhere)) as server, client_of(server) as client:
            with pytest.raises(UnexpectedResponseError, match="redirects to http://localhost/v1") as caught:
                await ask(client)
            assert caught.value.status == status
            assert client.stats().in_use == 0
        assert other.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_never_becomes_a_get(status: int) -> None:
    async with loopback(answering(status, b"", location="/there")) as server, client_of(server) as client:
        with pytest.raises(UnexpectedResponseError):
            await ask(client)
        assert len(server.requests) == 1


async def test_a_loop_of_redirects_ends() -> None:
    async with loopback(answering(307, b"", location="/again")) as server, client_of(server) as client:
        with pytest.raises(UnexpectedResponseError, match="more than 5 redirects"):
            await ask(client)
        assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://h/v1", "/x", "http://h/x"),
        ("http://h/v1/a", "b", "http://h/v1/b"),
        ("http://h/v1", "//h/x", "http://h/x"),
        ("http://h/v1", "http://H:80/x", "http://H:80/x"),
        ("http://h/v1", "https://h/x", "https://h/x"),
        ("http://h:80/v1", "https://h:443/x", "https://h:443/x"),
        ("http://h:8080/v1", "https://h:8080/x", "https://h:8080/x"),
        ("http://h:8080/v1", "https://h/x", None),
        ("http://h/v1", "https://h:8443/x", None),
        ("https://h/v1", "http://h/x", None),
        ("https://h/v1", "https://h:8443/x", None),
        ("https://h/v1", "https://h.evil.test/x", None),
        ("https://h/v1", "https://evil.test\\@h/x", None),
        ("https://h/v1", "https://h@evil.test/x", None),
        ("https://h/v1", "https://me@h/x", None),
        ("https://h/v1", "//evil.test/x", None),
        ("https://h/v1", "ftp://h/x", None),
        ("https://h/v1", "https://h:99999/x", None),
        ("https://h/v1", "https://[h/x", None),
        ("https://h/v1", None, None),
    ],
)
def test_where_a_redirect_may_lead(url: str, location: str | None, target: str | None) -> None:
    headers = {} if location is None else {"location": location}
    if target is not None:
        assert redirected(url, 307, headers) == target
        assert redirected(url, 308, headers) == target
    else:
        with pytest.raises(UnexpectedResponseError):
            redirected(url, 307, headers)
    with pytest.raises(UnexpectedResponseError):
        redirected(url, 302, headers)


def test_a_refused_redirect_does_not_show_a_key_in_its_address() -> None:
    with pytest.raises(UnexpectedResponseError, match=r"http://elsewhere\.test/\*\*\*/x:") as caught:
        redirected("http://h/v1", 307, {"location": f"http://elsewhere.test/{KEY}/x"}, Secret(KEY))
    assert KEY not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("status", [101, 204, 300, 304])
async def test_a_status_that_is_no_answer_is_typed(status: int) -> None:
    timeouts = Timeouts(total=2)
    async with loopback(answering(status, b"")) as server, client_of(server, retries=ONCE, timeouts=timeouts) as client:
        with pytest.raises((UnexpectedResponseError, APIStatusError)):
            await ask(client)
        assert client.stats().in_use == 0


# --------------------------------------------------------------------------------------------------------------- encodings


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def flushed(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(data[n : n + 7]) + packer.flush(zlib.Z_SYNC_FLUSH) for n in range(0, len(data), 7)]
    return b"".join([*pieces, packer.flush()])


ENCODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("X-GZIP", gzip.compress(BODY)),
    "deflate": ("deflate", zlib.compress(BODY)),
    "raw deflate": ("deflate", raw_deflate(BODY)),
    "deflate with more behind": ("deflate", zlib.compress(BODY) + b"more"),
    "members": ("gzip", b"".join(gzip.compress(BODY[n : n + 50]) for n in range(0, len(BODY), 50))),
    "padded": ("gzip", gzip.compress(BODY) + b"\0" * 512),
    "flushed": ("gzip", flushed(BODY)),
    "identity": ("identity", BODY),
}


@pytest.mark.parametrize("split", [None, 1, 13])
@pytest.mark.parametrize("name", ENCODED)
async def test_an_encoded_answer(name: str, split: int | None) -> None:
    encoding, packed = ENCODED[name]

    async def play(exchange: Exchange) -> None:
        await exchange.send(exchange.head(body=packed, content_encoding=encoding))
        step = split or len(packed)
        for n in range(0, len(packed), step):
            await exchange.send(packed[n : n + step])
            await asyncio.sleep(0)

    async with loopback(play) as server, client_of(server) as client:
        assert await ask(client) == "hello"
        assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"
        assert client.stats().in_use == 0


async def test_a_compressed_stream_is_handed_on_as_it_comes_and_as_far_as_it_came() -> None:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in SSE]
    read = asyncio.Event()

    async def play(exchange: Exchange) -> None:
        assert exchange.headers["accept-encoding"] == "identity"
        await exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 9999\r\n\r\n"
        )
        await exchange.send(pieces[0])
        await read.wait()
        await exchange.send(pieces[1])
        exchange.writer.write_eof()
        await exchange.left()

    async with loopback(play) as server, client_of(server) as client:
        async with open_stream(client) as stream:
            assert (await anext(stream)).choices[0].delta.content == "hel"
            read.set()
            assert (await anext(stream)).choices[0].delta.content == "lo"
            with pytest.raises(APIConnectionError) as caught:
                await anext(stream)
        assert caught.value.snapshot.text == "hello"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-nobody"])
async def test_an_encoding_that_cannot_be_decoded_is_named(encoding: str) -> None:
    async with loopback(answering(200, BODY, content_encoding=encoding)) as server, client_of(server) as client:
        with pytest.raises(UnexpectedResponseError, match=repr(encoding)):
            await ask(client)
        assert len(server.requests) == 1
        assert client.stats().in_use == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_what_is_not_in_the_encoding_it_claims(encoding: str) -> None:
    async with loopback(answering(200, BODY, content_encoding=encoding)) as server, client_of(server) as client:
        with pytest.raises(UnexpectedResponseError, match=f"no valid {encoding}") as caught:
            await ask(client)
        assert isinstance(caught.value.__cause__, zlib.error)
        assert caught.value.excerpt


async def test_a_truncated_gzip_is_a_lost_connection_and_tried_again() -> None:
    cut = answering(200, gzip.compress(BODY)[:-12], content_encoding="gzip")
    async with loopback(in_turn(cut, good)) as server, client_of(server, retries=NO_WAIT) as client:
        assert await ask(client) == "hello"
        assert keys(server)[0] == keys(server)[1]
    async with loopback(cut) as server, client_of(server, retries=ONCE) as client:
        with pytest.raises(APIConnectionError, match="ended inside its gzip"):
            await ask(client)


async def test_an_error_that_is_compressed() -> None:
    body = gzip.compress(json.dumps({"error": {"message": "not so", "code": "odd"}}).encode())
    async with loopback(answering(400, body, content_encoding="gzip")) as server, client_of(server) as client:
        with pytest.raises(dgrid_async.BadRequestError, match="not so") as caught:
            await ask(client)
        assert caught.value.code == "odd"


async def test_a_bomb_is_bounded_and_lets_others_run() -> None:
    packer = zlib.compressobj(level=9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(100)) + packer.flush()
    assert len(bomb) < 110_000
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    limits = Limits(max_event_bytes=40 * 1024 * 1024)
    bombs = answering(200, bomb, content_encoding="gzip")
    async with loopback(bombs) as server, client_of(server, limits=limits) as client:
        pool = Pool(limits, Network())
        answer = await Call(pool, CoolDown(), request_to(server.url, limits=limits)).send()
        sizes: list[int] = []
        counting = asyncio.create_task(count())
        with blockbuster_ctx():
            while len(sizes) < 200 and (chunk := await answer.read()):
                sizes.append(len(chunk))
        assert max(sizes) <= 256 * 1024
        assert turns >= 190
        answer.close()
        counting.cancel()
        await pool.close()
        with pytest.raises(EventTooLargeError):
            await ask(client)
        assert len(server.requests) == 2
        assert client.stats().in_use == 0


# ------------------------------------------------------------------------------------------------------------------ bodies


async def test_a_large_request_goes_out_whole_and_warns_of_nothing() -> None:
    text = "x" * 3_000_000
    messages = [{"role": "user", "content": text}]
    async with loopback(in_turn(moved, moved, answering(500), good)) as server, client_of(server, retries=NO_WAIT) as client:
        reply = await client.chat.completions.create(model="m", messages=messages)
        assert reply.text == "hello"
        assert [json.loads(exchange.body)["messages"] == messages for exchange in server.requests] == [True] * 2
        server.play = in_turn(good, good, answering(500), good)
        assert (await client.chat.completions.create(model="m", messages=messages)).text == "hello"
        assert [len(exchange.body) > len(text) for exchange in server.requests] == [True] * 4


async def test_an_answer_above_its_bound() -> None:
    async with loopback() as server, client_of(server, limits=Limits(max_event_bytes=100)) as client:
        with pytest.raises(EventTooLargeError, match="above 100 bytes"):
            await ask(client)
        assert client.stats().in_use == 0


async def test_a_body_that_never_ends_holds_no_slot_for_long() -> None:
    async def and_hang(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for piece in SSE:
            await exchange.chunk(piece)
        await exchange.left()

    async with loopback(and_hang) as server, client_of(server) as client:
        assert await stream_text(client) == "hello"
        with ends_within(0, 0.25 + ON_TIME):
            while client.stats().in_use:
                await asyncio.sleep(0.005)
            await server.wait_open(0)


async def test_a_stream_dropped_after_its_loop_has_ended_does_no_harm() -> None:
    async with loopback(hang) as server:
        pool = Pool(Limits(), Network())
        request = request_to(server.url, streamed=True, limits=pool.limits)

        async def take() -> Any:
            return await Call(pool, CoolDown(), request).send()

        server.play = good
        answer = await asyncio.to_thread(asyncio.run, take())
        answer.close_soon()
        pool.terminate()


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


# ---------------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h/v1/models/a%3Ab:generateContent", "http://h/v1/models/a%3Ab:generateContent"),
        ("http://h/v1/models/a%2Fb%20c%25?alt=sse", "http://h/v1/models/a%2Fb%20c%25?alt=sse"),
        ("http://h/p?q=a%26b+c%3D&r=%2B", "http://h/p?q=a%26b+c%3D&r=%2B"),
        ("http://H.Example:8080/P", "http://h.example:8080/P"),
        ("http://[::1]:80/p", "http://[::1]:80/p"),
        ("http://h", "http://h/"),
        ("http://b\u00fccher.example:81/caf\u00e9%3A/p?q=\u00e9", "http://xn--bcher-kva.example:81/caf%C3%A9%3A/p?q=%C3%A9"),
        ("http://h/a b", "http://h/a%20b"),
    ],
)
def test_an_address_is_sent_as_it_stands(url: str, sent: str) -> None:
    address = _address(url)
    assert f"{address.scheme}://{address.raw_authority}{address.raw_path_qs}" == sent


@pytest.mark.parametrize("base", ["", "/deep/caf\u00e9%3A"])
async def test_what_is_quoted_in_path_and_query_reaches_the_gateway_so(base: str) -> None:
    async with loopback(answering(400)) as server, client_of(server.url + base, retries=ONCE) as client:
        with pytest.raises(APIStatusError):
            await client.models.generate_content(
                model="models/a:b c", contents="hi", extra_query={"tag": "x&y=z", "colon": "a:b"}
            )
    prefix = base.replace("\u00e9", "%C3%A9")
    line = server.requests[0].line
    assert line.startswith(f"POST {prefix}/v1/models/")
    path, _, query = line.split()[1].partition("?")
    assert path.endswith("a%3Ab%20c:generateContent")
    assert query == "tag=x%26y%3Dz&colon=a%3Ab"


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
