"""Answers as server-sent events: aiohttp.web with and without handler cancellation, Starlette on uvicorn, and by hand."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, web

from dgrid_async import RateLimitError, Retries
from dgrid_async.relay import SSE_HEADERS, Report, sse_bytes, sse_response
from dgrid_async.sse import SSEDecoder
from tests.relay.stacks import uvicorn_running
from tests.relay.test_pump import WHOLE, Source, text
from tests.relay.upstream import WORDS, Upstream, upstream


def events_in(data: bytes) -> list[tuple[str, Any]]:
    """Return ids and frames of an event stream."""
    decoder = SSEDecoder(1 << 20)
    return [(event.id, json.loads(event.data)) for event in [*decoder.feed(data), *decoder.end()]]


class App:
    """A server with the route `/sse`, and what came of its last answer."""

    def __init__(self, gateway: Upstream, **options: Any) -> None:
        self.gateway = gateway
        self.options = options
        self.url = ""
        self.report: Report | None = None
        self.cancelled = False
        self.ended = asyncio.Event()

    def take(self, report: Report) -> None:
        self.report = report

    async def aiohttp_handler(self, request: web.Request) -> web.StreamResponse:
        try:
            response = await sse_response(request, self.gateway.stream(), on_report=self.take, **self.options)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()
        assert isinstance(response, web.StreamResponse)
        return response


@asynccontextmanager
async def on_aiohttp(app: App, *, handler_cancellation: bool = False) -> AsyncIterator[App]:
    application = web.Application()
    application.router.add_get("/sse", app.aiohttp_handler)
    runner = web.AppRunner(application, handler_cancellation=handler_cancellation, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    app.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield app
    finally:
        await runner.cleanup()


@asynccontextmanager
async def on_starlette(app: App, *, watched: bool) -> AsyncIterator[App]:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def handler(request: Request) -> StreamingResponse:
        body = sse_bytes(app.gateway.stream(), request=request if watched else None, **app.options)
        return StreamingResponse(body, headers=dict(SSE_HEADERS))

    server = await uvicorn_running(Starlette(routes=[Route("/sse", handler)]))
    app.url = server.url
    try:
        yield app
    finally:
        await server.stop()


SERVERS: dict[str, Any] = {
    "aiohttp": on_aiohttp,
    "aiohttp-cancelling": lambda app: on_aiohttp(app, handler_cancellation=True),
    "starlette": lambda app: on_starlette(app, watched=False),
    "starlette-watched": lambda app: on_starlette(app, watched=True),
}
QUICK = ("aiohttp", "starlette-watched")
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SERVERS]


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("server", EVERY)
async def test_frames_are_events_with_ids(server: str) -> None:
    async with (
        upstream() as gateway,
        SERVERS[server](App(gateway)) as app,
        ClientSession() as session,
        session.get(f"{app.url}/sse") as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        events = events_in(await response.read())
    assert [number for number, _ in events] == [str(frame["id"]) for _, frame in events]
    frames = [frame for _, frame in events]
    assert frames[0]["type"] == "start"
    assert frames[-1]["type"] == "finish"
    words = [frame["text"] for frame in frames if frame["type"] == "text"]
    assert "".join(words) == WHOLE
    assert len(words) < WORDS / 2


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("play", ["no_headers", "no_token", "falls_silent", "refuses"])
@pytest.mark.parametrize("server", EVERY)
async def test_the_upstream_ends_when_the_client_leaves(server: str, play: str) -> None:
    async with upstream(play) as gateway, SERVERS[server](App(gateway)) as app:
        address = urlsplit(app.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET /sse HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await gateway.asked.wait()
            if play == "falls_silent":
                await reader.readuntil(b"w3 ")
            if play == "refuses":
                await asyncio.sleep(0.1)
            writer.transport.abort()
            if play != "refuses":
                async with asyncio.timeout(1):
                    await gateway.left.wait()
            if server.startswith("aiohttp"):
                await app.ended.wait()
    assert len(gateway.server.requests) == 1
    if server == "aiohttp":
        assert app.report is not None
        assert app.report.outcome == "client_gone"
    assert app.cancelled == (server == "aiohttp-cancelling")


async def test_a_client_that_has_left_may_be_outlived() -> None:
    async with (
        upstream() as gateway,
        on_aiohttp(App(gateway, on_client_gone="finish")) as app,
        ClientSession() as session,
    ):
        response = await session.get(f"{app.url}/sse")
        await response.content.readany()
        response.close()
        async with asyncio.timeout(5):
            await app.ended.wait()
    assert app.report is not None
    assert app.report.outcome == "client_gone"
    assert app.report.reply.text == WHOLE


@pytest.mark.parametrize("server", ["aiohttp", "starlette"])
async def test_a_client_that_does_not_read_slows_the_stream_or_is_given_up(server: str) -> None:
    options: dict[str, Any] = {"send_timeout": 0.3} if server == "aiohttp" else {}
    async with upstream("endless") as gateway, SERVERS[server](App(gateway, max_buffer=65536, **options)) as app:
        address = urlsplit(app.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
        writer.write(f"GET /sse HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(8):
            if server == "aiohttp":
                await app.ended.wait()
                assert app.report is not None
                assert app.report.outcome == "client_too_slow"
                await gateway.left.wait()
            else:
                sent = -1
                while sent != gateway.sent:
                    sent = gateway.sent
                    await asyncio.sleep(0.3)
                assert not gateway.left.is_set()
        assert gateway.sent * 4096 < 64 * 1024 * 1024
        writer.transport.abort()


async def test_an_idle_client_gets_comments() -> None:
    async with (
        upstream("no_token") as gateway,
        on_aiohttp(App(gateway, keep_alive=0.02)) as app,
        ClientSession() as session,
        session.get(f"{app.url}/sse") as response,
    ):
        assert await response.content.readexactly(24) == b": ping\n\n" * 3
    async with upstream("no_token") as gateway:
        body = sse_bytes(gateway.stream(), keep_alive=0.02)
        assert [await anext(body) for _ in range(3)] == [b": ping\n\n"] * 3
        assert len(gateway.server.requests) == 1  # no comment has cut the request
        await body.aclose()
        assert events_in(b": ping\n\n") == []


# ------------------------------------------------------------------------------------------------------- sse_bytes, by hand


async def test_the_body_is_the_frames_and_reports() -> None:
    async with upstream() as gateway:
        body = sse_bytes(gateway.stream())
        assert body.report is None
        data = b"".join([piece async for piece in body])
        assert [piece async for piece in body] == []
    frames = [frame for _, frame in events_in(data)]
    report = body.report
    assert report is not None
    assert (report.outcome, report.frames, report.events) == ("completed", len(frames), WORDS + 1)
    assert report.reply.text == WHOLE
    await body.aclose()
    assert body.report is report


async def test_nothing_is_asked_for_before_the_body_is_read() -> None:
    async with upstream() as gateway:
        body = sse_bytes(gateway.stream())
        await asyncio.sleep(0.02)
        assert gateway.server.requests == []
        await body.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(body)


async def test_an_error_is_the_last_event() -> None:
    async with upstream("refuses", retries=Retries(max_attempts=1)) as gateway:
        body = sse_bytes(gateway.stream())
        [(_, frame)] = events_in(b"".join([piece async for piece in body]))
    assert (frame["type"], frame["error"]) == ("error", "RateLimitError")
    assert body.report is not None
    assert body.report.outcome == "upstream_error"
    assert isinstance(body.report.error, RateLimitError)


@pytest.mark.parametrize("play", ["no_headers", "no_token", "falls_silent"])
@pytest.mark.parametrize("way", ["cancelled", "closed", "dropped"])
async def test_a_body_that_is_not_read_on_ends_the_upstream(play: str, way: str) -> None:
    async with upstream(play) as gateway:
        body = sse_bytes(gateway.stream(), keep_alive=0.05)
        await anext(body)
        while play == "falls_silent" and b"w3" not in await anext(body):
            pass
        if way == "cancelled":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_read(body), 0.02)
            with pytest.raises(StopAsyncIteration):
                await anext(body)
            assert body.report is not None
            assert body.report.outcome == "client_gone"
        elif way == "closed":
            await body.aclose()
            assert body.report is not None
        else:
            del body
            gc.collect()
        async with asyncio.timeout(1):
            await gateway.left.wait()
        names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
        assert "_first_of" not in names


async def _read(body: Any) -> None:
    while True:
        await anext(body)


async def test_a_body_of_frames() -> None:
    source = Source(text(7, "a"), text(8, "b"), {"id": 9, "type": "finish", "reason": "stop"})
    source.aborted.set()
    body = sse_bytes(source)
    frames = [frame for _, frame in events_in(b"".join([piece async for piece in body]))]
    assert [frame["id"] for frame in frames] in ([7, 8, 9], [8, 9])
    assert body.report is not None
    assert body.report.outcome == "completed"

    body = sse_bytes(Source(text(1, "a"), error=RateLimitError("no", status=429)))
    frames = [frame for _, frame in events_in(b"".join([piece async for piece in body]))]
    assert (frames[-1]["id"], frames[-1]["error"]) == (2, "RateLimitError")
