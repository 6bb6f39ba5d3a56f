from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from dgrid_async import DGridError
from dgrid_async.relay import ClientGoneError, cancel_on_disconnect
from tests.loopback import Exchange, ask, client_of, loopback
from tests.relay.stacks import uvicorn_running


class App:
    """A server whose handler makes a plain call, and how that ended."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.url = ""
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def call(self, request: Any) -> str:
        try:
            text = await cancel_on_disconnect(request, ask(self.client))
        except BaseException as error:
            self.ended.set_result(error)
            raise
        self.ended.set_result(text)
        return text


@asynccontextmanager
async def on_aiohttp(app: App) -> AsyncIterator[App]:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        try:
            return web.Response(text=await app.call(request))
        except ClientGoneError:
            return web.Response(status=499)

    application = web.Application()
    application.router.add_route("*", "/call", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    app.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield app
    finally:
        await runner.cleanup()


@asynccontextmanager
async def on_starlette(app: App) -> AsyncIterator[App]:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def handler(request: Any) -> PlainTextResponse:
        try:
            return PlainTextResponse(await app.call(request))
        except ClientGoneError:
            return PlainTextResponse("", 499)

    server = await uvicorn_running(Starlette(routes=[Route("/call", handler, methods=["GET", "POST"])]))
    app.url = server.url
    try:
        yield app
    finally:
        await server.stop()


SERVERS = {"aiohttp": on_aiohttp, "starlette": on_starlette}
REQUESTS = {
    "GET": b"GET /call HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "POST": b"POST /call HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("method", list(REQUESTS))
@pytest.mark.parametrize("server", list(SERVERS))
async def test_the_call_ends_when_the_browser_does(server: str, method: str) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        asked.set()
        await exchange.left()
        left.set()

    async with loopback(silent) as gateway, client_of(gateway) as client, SERVERS[server](App(client)) as app:
        address = urlsplit(app.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(REQUESTS[method])
        async with asyncio.timeout(5):
            await asked.wait()
            await asyncio.sleep(0.1)
            assert not app.ended.done()
            writer.transport.abort()
            async with asyncio.timeout(1):
                await left.wait()
            error = await app.ended
    assert isinstance(error, ClientGoneError)
    assert isinstance(error, DGridError)


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("method", list(REQUESTS))
@pytest.mark.parametrize("server", list(SERVERS))
async def test_a_browser_that_waits_gets_the_answer(server: str, method: str) -> None:
    async with loopback() as gateway, client_of(gateway) as client, SERVERS[server](App(client)) as app:
        address = urlsplit(app.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(REQUESTS[method])
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"hello" in answer


class Request:
    """As much of a Starlette request as is looked at, whose client stays."""

    def __init__(self) -> None:
        self.receive = asyncio.Event().wait

    async def body(self) -> bytes:
        return b""


async def test_an_error_of_the_call_is_raised_as_it_is() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await cancel_on_disconnect(Request(), fails())


async def test_a_cancellation_is_passed_on_and_waits_for_the_call_to_end() -> None:
    ended = asyncio.Event()

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(cancel_on_disconnect(Request(), call()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_call_that_cancels_itself_is_no_client_that_left() -> None:
    async def call() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await cancel_on_disconnect(Request(), call())


async def test_an_unknown_request_is_a_type_error_and_the_call_is_ended() -> None:
    async def call() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TypeError, match="the client of a str leaves"):
        await cancel_on_disconnect("request", call())
