"""Websockets of the usual frameworks behind one small interface; the frameworks are known by what their objects can do.

No framework is imported. A websocket that is not known: wrap it in a `Sink` of your own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from dgrid_async.relay.disconnect import ClientGoneError

__all__ = ["Message", "Sink", "sink_of"]

Message = str | bytes
"""What a client sends."""

# How long, in seconds, a client that reads nothing has for a farewell, where no harder way is there.
_FAREWELL = 0.5
# RFC 6455, 7.4.1: 1008, a policy was violated; the policy is to read.
_POLICY = 1008


@runtime_checkable
class Sink(Protocol):
    """Where frames go: one client's websocket, accepted and open."""

    async def send(self, text: str) -> None:
        """Send one text message, and wait while the client reads too slowly.

        Raises:
            ClientGoneError: The client has left.

        Cancel: the message may have been sent or not.
        """

    async def receive(self) -> Message:
        """Wait for the next message of the client; while a relay runs nobody else may.

        Raises:
            ClientGoneError: The client has left.

        Cancel: no message is lost.
        """
        raise NotImplementedError

    async def cut(self) -> None:
        """Part from a client that does not read, without waiting for it."""


def sink_of(target: Any) -> Sink:
    """Return the sink that a websocket is or is wrapped into.

    Raises:
        TypeError: It is no websocket that is known, and no `Sink`.
    """
    for marks, made in _KNOWN:
        if all(hasattr(target, mark) for mark in marks):
            return made(target)
    if all(hasattr(target, name) for name in ("send", "receive", "cut")):
        return target  # type: ignore[no-any-return]  # as much of a Sink as can be seen
    raise TypeError(
        f"{type(target).__module__}.{type(target).__name__} is no websocket that is known (aiohttp.web, Starlette, FastAPI, "
        "websockets, Litestar, Quart, Sanic): give an object with the methods send, receive and cut of dgrid_async.relay.Sink"
    )


class _AiohttpSink:
    """aiohttp.web.WebSocketResponse, prepared."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send_str(text)
        except OSError as error:
            raise ClientGoneError("the client has left") from error

    async def receive(self) -> Message:
        message = await self._websocket.receive()
        if message.type.name in {"TEXT", "BINARY"}:
            return message.data  # type: ignore[no-any-return]
        raise ClientGoneError("the client has left")

    async def cut(self) -> None:
        sock = self._websocket.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _ASGISink:
    """A WebSocket of Starlette, FastAPI or Litestar, accepted: all pass on the messages of ASGI."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send_text(text)
        except Exception as error:
            if self._left(error):
                raise ClientGoneError("the client has left") from error
            raise

    async def receive(self) -> Message:
        try:
            message = await self._websocket.receive()
        except Exception as error:
            if self._left(error):
                raise ClientGoneError("the client has left") from error
            raise
        if message["type"] == "websocket.disconnect":
            raise ClientGoneError("the client has left")
        text = message.get("text")
        return message.get("bytes") or b"" if text is None else text

    async def cut(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_FAREWELL):
                await self._websocket.close(code=_POLICY, reason="too slow")

    def _left(self, error: Exception) -> bool:
        """Tell a client that has left from a mistake of the handler's, such as a websocket that was not accepted."""
        if isinstance(error, OSError) or type(error).__name__ in {"WebSocketDisconnect", "WebSocketDisconnected"}:
            return getattr(getattr(self._websocket, "application_state", None), "name", "") != "CONNECTING"
        return False


class _WebsocketsSink:
    """A connection of `websockets`' asyncio server."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        await _until_closed(self._connection.send(text))

    async def receive(self) -> Message:
        return await _until_closed(self._connection.recv())  # type: ignore[no-any-return]

    async def cut(self) -> None:
        self._connection.transport.abort()


class _SanicSink:
    """Sanic's websocket; where the client leaves, Sanic cancels the handler, or `recv` ends with a cancellation of its own."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        await _until_closed(self._websocket.send(text))

    async def receive(self) -> Message:
        try:
            message = await _until_closed(self._websocket.recv())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ClientGoneError("the client has left") from None
        if message is None:
            raise ClientGoneError("the client has left")
        return message  # type: ignore[no-any-return]

    async def cut(self) -> None:
        transport = self._websocket.io_proto.transport
        if transport is not None:
            transport.abort()


class _QuartSink:
    """Quart's `websocket`; where the client leaves, Quart cancels the handler, and the relay with it."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        await self._websocket.send(text)

    async def receive(self) -> Message:
        return await self._websocket.receive()  # type: ignore[no-any-return]

    async def cut(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_FAREWELL):
                await self._websocket.close(_POLICY, "too slow")


async def _until_closed(action: Awaitable[Any]) -> Any:
    try:
        return await action
    except Exception as error:
        names = {cls.__name__ for cls in type(error).__mro__}
        if names & {"ConnectionClosed", "WebsocketClosed"} or isinstance(error, OSError):
            raise ClientGoneError("the client has left") from error
        raise


_KNOWN: tuple[tuple[tuple[str, ...], Callable[[Any], Sink]], ...] = (
    (("send_str", "receive", "prepare"), _AiohttpSink),
    (("send_text", "receive", "client_state", "application_state"), _ASGISink),
    (("send_text", "receive", "connection_state"), _ASGISink),
    (("send", "recv", "wait_closed", "transport"), _WebsocketsSink),
    (("send", "recv", "io_proto", "ws_proto"), _SanicSink),
    (("send", "receive", "accept", "send_json", "close"), _QuartSink),
)
