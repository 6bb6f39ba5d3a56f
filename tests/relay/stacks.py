"""The same websocket and event-stream app on each web framework and server, on real sockets of this loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

__all__ = ["STACKS", "Serve", "running"]

Serve = Callable[[Any], Awaitable[None]]
"""What the app does with an accepted websocket of its framework."""


class Running:
    """A running server.

    Attributes:
        url: Where it listens.
        stop: Shuts it down as its own program would, and returns when it is down.
    """

    def __init__(self, url: str, stop: Callable[[], Awaitable[Any]]) -> None:
        self.url = url
        self._stop: Callable[[], Awaitable[Any]] | None = stop

    async def stop(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            await stop()


def _listening() -> tuple[socket.socket, str]:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    sock.setblocking(False)
    return sock, f"http://127.0.0.1:{sock.getsockname()[1]}"


async def _aiohttp(serve: Serve) -> Running:
    from aiohttp import web

    async def handler(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await serve(websocket)
        await websocket.close()
        return websocket

    app = web.Application()
    app.router.add_get("/ws", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    sock, url = _listening()
    await web.SockSite(runner, sock).start()
    return Running(url, runner.cleanup)


def fastapi_app(serve: Serve) -> Any:
    from fastapi import FastAPI, WebSocket

    app = FastAPI()

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await serve(websocket)
        with contextlib.suppress(RuntimeError):  # it has closed already
            await websocket.close()

    handler.__annotations__ = {"websocket": WebSocket, "return": None}  # a name of this function, which no one else could find
    app.add_api_websocket_route("/ws", handler)
    return app


async def uvicorn_running(app: Any, ws: str = "auto") -> Running:
    """Run an ASGI app on uvicorn."""
    uvicorn = pytest.importorskip("uvicorn")

    class Server(uvicorn.Server):  # type: ignore[misc, name-defined]
        def capture_signals(self) -> Any:
            return contextlib.nullcontext()  # the tests' own program keeps its signals

    sock, url = _listening()
    config = uvicorn.Config(app, ws=ws, log_level="critical", timeout_graceful_shutdown=1, lifespan="off")
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.005)

    async def stop() -> None:
        server.should_exit = True
        await task
        sock.close()

    return Running(url, stop)


async def _uvicorn_websockets(serve: Serve) -> Running:
    pytest.importorskip("websockets")
    return await uvicorn_running(fastapi_app(serve), "websockets-sansio")


async def _uvicorn_wsproto(serve: Serve) -> Running:
    pytest.importorskip("wsproto")
    return await uvicorn_running(fastapi_app(serve), "wsproto")


async def _websockets(serve: Serve) -> Running:
    server_module = pytest.importorskip("websockets.asyncio.server")
    sock, url = _listening()
    server = await server_module.serve(serve, sock=sock)

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    return Running(url, stop)


async def _litestar(serve: Serve) -> Running:
    pytest.importorskip("litestar")
    from litestar import Litestar, WebSocket, websocket

    async def handler(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await serve(socket)
        if socket.connection_state != "disconnect":
            await socket.close()

    handler.__annotations__ = {"socket": WebSocket, "return": None}
    return await uvicorn_running(Litestar([websocket("/ws")(handler)], openapi_config=None))


async def _quart(serve: Serve) -> Running:
    quart = pytest.importorskip("quart")
    hypercorn = pytest.importorskip("hypercorn.asyncio")
    from hypercorn.config import Config

    app = quart.Quart("page")

    async def handler() -> None:
        await quart.websocket.accept()
        await serve(quart.websocket)

    app.websocket("/ws")(handler)
    sock, url = _listening()
    port = sock.getsockname()[1]
    sock.close()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "CRITICAL"
    config.graceful_timeout = 0.5
    down = asyncio.Event()
    task = asyncio.create_task(hypercorn.serve(app, config, shutdown_trigger=down.wait))
    for _ in range(400):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            break

    async def stop() -> None:
        down.set()
        await task

    return Running(url, stop)


async def _sanic(serve: Serve) -> Running:
    sanic = pytest.importorskip("sanic")
    app = sanic.Sanic("page", configure_logging=False)
    app.config.TOUCHUP = False  # it rewrites its own source, which works once in a process

    async def handler(_request: Any, websocket: Any) -> None:
        await serve(websocket)

    app.add_websocket_route(handler, "/ws")
    sock, url = _listening()
    try:
        server = await app.create_server(sock=sock, return_asyncio_server=True, access_log=False)
        assert server is not None
        await server.startup()
        await server.start_serving()
    finally:
        sanic.Sanic._app_registry.clear()

    async def stop() -> None:
        server.close()
        for connection in list(server.connections):
            connection.websocket.fail_connection(1001) if connection.websocket else connection.abort()
        await server.wait_closed()
        sock.close()

    return Running(url, stop)


STACKS: dict[str, Callable[[Serve], Awaitable[Running]]] = {
    "aiohttp": _aiohttp,
    "fastapi-uvicorn-websockets": _uvicorn_websockets,
    "fastapi-uvicorn-wsproto": _uvicorn_wsproto,
    "websockets": _websockets,
    "litestar-uvicorn": _litestar,
    "quart-hypercorn": _quart,
    "sanic": _sanic,
}


@asynccontextmanager
async def running(stack: str, serve: Serve) -> AsyncIterator[Running]:
    """Run an app whose route `/ws` serves websockets."""
    server = await STACKS[stack](serve)
    try:
        yield server
    finally:
        async with asyncio.timeout(10):
            await server.stop()
