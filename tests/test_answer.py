"""An answer on the wire, over real sockets: its encodings, its bounds, and how long it holds its connection."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

import dgrid_async
from dgrid_async import (
    APIConnectionError,
    EventTooLargeError,
    Limits,
    UnexpectedResponseError,
)
from dgrid_async.network import Network
from dgrid_async.pool import Pool
from tests.loopback import (
    BODY,
    NO_WAIT,
    ON_TIME,
    ONCE,
    SSE,
    Exchange,
    answering,
    ask,
    call_to,
    client_of,
    ends_within,
    good,
    hang,
    in_turn,
    keys,
    loopback,
    open_stream,
    stream_text,
)

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
        answer = await call_to(server.url, pool).send()
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


async def test_an_answer_above_its_bound() -> None:
    async with loopback() as server, client_of(server, limits=Limits(max_event_bytes=100)) as client:
        with pytest.raises(EventTooLargeError, match="above 100 bytes"):
            await ask(client)
        assert client.stats().in_use == 0


@pytest.mark.usefixtures("leaping_clock")
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

        async def take() -> Any:
            return await call_to(server.url, pool).send()

        server.play = good
        answer = await asyncio.to_thread(asyncio.run, take())
        answer.close_soon()
        pool.terminate()
