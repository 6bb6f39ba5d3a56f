"""Tells when the client of a web request has left: for aiohttp.web, which says so by the transport alone, and for ASGI.

It imports no framework, and nothing of the package but its errors.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from dgrid_async.errors import DGridError

__all__ = ["ClientGoneError", "RequestWatch", "cancel_on_disconnect"]

T = TypeVar("T")

# aiohttp tells nobody that a connection is lost unless the server was started with handler_cancellation; a look at a thousand
# transports takes a tenth of a millisecond.
_LOOK_EVERY = 0.025


class ClientGoneError(DGridError):
    """The client of the web request or websocket has left."""


async def cancel_on_disconnect(request: Any, awaitable: Awaitable[T]) -> T:
    """Return what the awaitable returns, which is cancelled as soon as the client has left.

    Args:
        request: That of an aiohttp.web handler, or of Starlette, FastAPI and their like; of these the body is read first.
        awaitable: A plain call of the client, say.

    Raises:
        ClientGoneError: The client has left. Nobody reads what the handler answers then.
        TypeError: The request is neither.

    Cancel: the awaitable is cancelled and has ended.
    """
    task = asyncio.ensure_future(awaitable)
    watch = RequestWatch(task.cancel)
    try:
        if hasattr(request, "body"):
            # What says that the client has left comes behind the body, which would be lost to whoever asks for it later.
            with suppress(RuntimeError):  # it has been read as a stream
                await request.body()
        watch.begin(request)
        await asyncio.wait((task,))
    finally:
        watch.close()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    if task.cancelled() and watch.left:
        raise ClientGoneError("the client has left: the call was cancelled")
    return task.result()


class RequestWatch:
    """A watch over one request; close it when the answer is sent.

    Args:
        call: Called once, in a task or timer of the loop, when the client has left.

    Attributes:
        left: Whether the client has left.
    """

    __slots__ = ("_call", "_close", "left")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._close: Callable[[], object] | None = None
        self.left = False

    def begin(self, request: Any) -> None:
        """Begin to watch a request.

        Args:
            request: As of `cancel_on_disconnect`; its body has been read.

        Raises:
            TypeError: The request is of a kind that is not known.
        """
        loop = asyncio.get_running_loop()
        if hasattr(request, "transport") and hasattr(request, "protocol"):
            looks = _Looks.of(loop)
            key = looks.add(request, self._notice)
            self._close = lambda: looks.remove(key)
        elif callable(receive := getattr(request, "receive", None)):
            self._close = loop.create_task(_await_disconnect(receive, self._notice)).cancel
        else:
            raise TypeError(f"no way is known to tell when the client of a {type(request).__name__} leaves")

    def close(self) -> None:
        """End the watch. A second call does nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _notice(self) -> None:
        self.left = True
        self._call()


async def _await_disconnect(receive: Callable[[], Any], left: Callable[[], object]) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            left()
            return


class _Looks:
    """The aiohttp requests of one event loop that are looked at in turn, by one timer."""

    _all: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Looks]] = weakref.WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The timer's own: a loop that is closed takes it along.
        self._loop = weakref.ref(loop)
        self._watched: dict[int, tuple[Any, Callable[[], object]]] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Looks:
        found = cls._all.get(loop)
        if found is None:
            found = cls._all[loop] = cls(loop)
        return found

    def add(self, request: Any, left: Callable[[], object]) -> int:
        self._count += 1
        self._watched[self._count] = (request, left)
        if self._timer is None:
            self._set()
        return self._count

    def remove(self, key: int) -> None:
        self._watched.pop(key, None)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        loop = self._loop()
        if loop is not None:
            self._timer = loop.call_later(_LOOK_EVERY, self._look)

    def _look(self) -> None:
        self._timer = None
        for key, (request, left) in list(self._watched.items()):
            transport = request.transport
            if transport is None or transport.is_closing():
                self._watched.pop(key, None)
                left()
        if self._watched and self._timer is None:
            self._set()
