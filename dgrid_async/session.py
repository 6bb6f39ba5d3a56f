"""The aiohttp session that the pool makes, and what is ours inside it.

It imports aiohttp, so it is imported where the first call is made, and not sooner.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.payload import BytesPayload

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection

    from dgrid_async.config import Limits
    from dgrid_async.network import Route

__all__ = ["EagerBody", "begun", "new_session", "quicken"]


def new_session(limits: Limits, route: Route) -> aiohttp.ClientSession:
    """Return a session of the running loop."""
    connector = Connector(
        limit=0,  # the pool's slots are the bound: a wait inside aiohttp could not be told from connecting
        ttl_dns_cache=max(1, round(limits.dns_cache)),
        keepalive_timeout=limits.keep_alive,
        ssl=route.ssl_context(),
        timeout_ceil_threshold=math.inf,  # aiohttp rounds longer limits up to whole seconds
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        request_class=_REQUEST_CLASS,
    )


class Connector(aiohttp.TCPConnector):
    """Hands out no kept connection on which the gateway spoke unasked: that would be taken for the next answer."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection."""
        while True:
            kept = bool(self._conns)
            connection = await super().connect(*args, **kwargs)
            if not kept or connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class QuickReader(aiohttp.StreamReader):
    """A body that is only ever read as far as it has come.

    What aiohttp's own reader does beside that, at each HTTP chunk and at each read, is left out: where chunks end, a timer that
    has no time, and the parser's going on although it was not paused.
    """

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        """Take in what the parser found."""
        del size
        if data:
            buffer = self._buffer
            buffer.append(data)
            self._size = held = self._size + len(data)
            waiter = self._waiter
            if waiter is not None:
                self._waiter = None
                if not waiter.done():
                    waiter.set_result(None)
            if held > self._high_water or len(buffer) > self._high_water_chunks:
                self._protocol.pause_reading()
        return False

    def begin_http_chunk_receiving(self) -> None:
        """Nobody asks."""

    def end_http_chunk_receiving(self) -> None:
        """Nobody asks."""

    async def readany(self) -> bytes:
        """Return what has come; empty at the end.

        Cancel: nothing is lost.
        """
        buffer, protocol = self._buffer, self._protocol
        while not buffer and not self._eof:
            if self._exception is not None:
                raise self._exception
            if self._waiter is not None or protocol.transport is None:
                return await super().readany()  # which says what is wrong
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        if self._exception is not None:
            raise self._exception
        if self._buffer_offset:
            return await super().readany()
        self._size = 0
        if len(buffer) == 1:
            data = buffer.popleft()
        else:
            data = b"".join(buffer)
            buffer.clear()
        # Behind its end the connection may carry another answer.
        if protocol._reading_paused and not self._eof:  # noqa: SLF001 -- aiohttp has no public way to it
            protocol.resume_reading()
        return data


# With other insides than these, aiohttp's own reader is left as it is.
_FITS = (
    aiohttp.StreamReader.__slots__
    == (
        *("_protocol", "_low_water", "_high_water", "_low_water_chunks", "_high_water_chunks", "_loop", "_size", "_cursor"),
        *("_http_chunk_splits", "_buffer", "_buffer_offset", "_eof", "_waiter", "_eof_waiter", "_exception", "_timer"),
        *("_eof_callbacks", "_eof_counter", "total_bytes", "total_compressed_bytes"),
    )
    and "_reading_paused" in BaseProtocol.__slots__
)


def quicken(content: aiohttp.StreamReader) -> aiohttp.StreamReader:
    """Make the body of an answer, of which nothing has been read, a `QuickReader`, and return it."""
    if _FITS and type(content) is aiohttp.StreamReader:
        content.__class__ = QuickReader
        content._http_chunk_splits = None  # noqa: SLF001 -- the ends that came with the headers take 0.7 KB
    return content


class EagerBody(BytesPayload):
    """A body that leaves in the turn of the loop in which its request is made."""


class EagerRequest(aiohttp.ClientRequest):
    """A request that may have an `EagerBody`.

    aiohttp writes a body in a task. From Python 3.12 on that begins at once; before, it waits for all tasks that are ready:
    calls whose answers came together then leave together, behind the work of all of them, and come back together.
    """

    # Of no certain type, as checkers do not agree on that of the method that this overrides.
    def write_bytes(self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None) -> Any:
        """Return the coroutine that writes the body, or what is left of it."""
        writing = super().write_bytes(writer, conn, content_length)
        return begun(writing) if isinstance(self.body, EagerBody) else writing


_REQUEST_CLASS = aiohttp.ClientRequest if sys.version_info >= (3, 12) else EagerRequest


def begun(work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    """Take a coroutine up to its first wait, and return what is left of it."""
    try:
        wanted = work.send(None)
    except StopIteration:
        return _nothing()
    return _rest(work, wanted)


async def _nothing() -> None: ...


async def _rest(work: Coroutine[Any, Any, None], wanted: object) -> None:
    while True:
        try:
            got = await _handed_up(wanted)
        except BaseException as error:  # noqa: BLE001 -- a cancellation too is the work's affair
            try:
                wanted = work.throw(error)
            except StopIteration:
                return
        else:
            try:
                wanted = work.send(got)
            except StopIteration:
                return


@coroutine
def _handed_up(wanted: object) -> Generator[object, Any, Any]:
    return (yield wanted)
