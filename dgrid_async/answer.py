"""One answer on the wire: a 2xx, or an error, whose body is being read.

Rules
1. Whoever has an answer reads it to its end and releases it, or closes it; until then it holds a connection and a slot.
2. What came before the connection failed is still given out.

It knows nothing of requests and nothing of events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from dgrid_async import failures
from dgrid_async.compression import Inflater
from dgrid_async.config import Limits, Secret, Timeouts, header_name
from dgrid_async.errors import APIStatusError, DGridError, EventTooLargeError, UnexpectedResponseError
from dgrid_async.large_json import LARGE_BYTES, LargeJSON
from dgrid_async.translation import secrets_of, translated

if TYPE_CHECKING:
    import aiohttp
    from multidict import CIMultiDictProxy

    from dgrid_async.pool import Lease

__all__ = ["Answer"]

# A connection whose answer is whole is kept this long, in seconds, for the few bytes that end the body: then it can be
# used again. Longer would hold the slot of a gateway that never ends its bodies.
_LINGER = 0.25


class Answer:
    """A 2xx whose body is being read.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case; of a repeated header the values joined by ", ".
        request_id: The gateway's name for the call, or None.
        read: Coroutine function: the next bytes of the body, empty at its end. Raises aiohttp's and our errors: give them
            to `translate`.
    """

    __slots__ = (
        "_closed",
        "_content",
        "_headers",
        "_inflater",
        "_lease",
        "_limits",
        "_linger",
        "_response",
        "_secret",
        "_timeouts",
        "read",
        "request_id",
        "status",
    )

    def __init__(
        self, response: aiohttp.ClientResponse, lease: Lease, secret: Secret | None, timeouts: Timeouts, limits: Limits
    ) -> None:
        from dgrid_async.session import quicken

        self._response = response
        self._lease: Lease | None = lease
        self._secret = secret
        self._timeouts = timeouts
        self._limits = limits
        self._content = quicken(response.content)
        self._linger: asyncio.TimerHandle | None = None
        self.status = response.status
        self._headers: Mapping[str, str] | None = None
        self.request_id = _request_id(response.headers)
        self.read: Callable[[], Awaitable[bytes]] = self._content.readany
        self._inflater: Inflater | None = None
        if header_name("content-encoding") in response.headers:
            encoding = failures.excerpt(self.headers["content-encoding"], secret=self.secret).strip().lower()
            if encoding not in {"identity", ""}:
                self._inflater = Inflater(encoding, secret=self.secret)
                self.read = self._read_inflated
        lease.cut = self.fail
        self._closed: asyncio.Future[None] | None = None
        if not self._content.is_eof():
            # A body whose framing breaks is closed by aiohttp without a word to whoever reads it.
            connection = response.connection
            self._closed = None if connection is None or connection.protocol is None else connection.protocol.closed
            if self._closed is not None:
                self._closed.add_done_callback(self._connection_closed)

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers, made when asked for."""
        headers = self._headers
        if headers is None:
            found: dict[str, str] = {}
            for name, value in self._response.headers.items():
                name = name.lower()  # noqa: PLW2901
                found[name] = f"{found[name]}, {value}" if name in found else value
            headers = self._headers = found
        return headers

    @property
    def content_type(self) -> str:
        """The Content-Type header, fit to be shown: a gateway may echo the key anywhere."""
        return failures.excerpt(self.headers.get("content-type", ""), secret=self.secret)

    @property
    def arrived(self) -> bool:
        """Whether the whole body is here, so that no read waits for the gateway any more."""
        return self._content.is_eof()

    @property
    def secret(self) -> str | None:
        """The key that was sent, for nothing but taking it out of what the gateway says."""
        return None if self._secret is None else self._secret.reveal()

    async def read_all(self) -> bytes | LargeJSON:
        """Return the whole body; a large one is decoded while it comes.

        Raises:
            EventTooLargeError: It is above `Limits.max_event_bytes`.
            APIConnectionError: The connection was lost on the way.
        """
        limit = self._limits.max_event_bytes
        content = self._content
        chunks: list[bytes] = []
        large: LargeJSON | None = None
        size, whole = 0, False
        try:
            while not whole:
                # Most bodies are here with their headers: these need not be awaited.
                whole = self._inflater is None and content.is_eof()
                chunk = content.read_nowait(-1) if whole else await self.read()
                whole = whole or not chunk
                size += len(chunk)
                if large is not None:
                    large.add(chunk)
                else:
                    chunks.append(chunk)
                    if size > LARGE_BYTES:
                        large = LargeJSON(b"".join(chunks))
                if size > limit:
                    self.close()
                    raise EventTooLargeError(
                        f"the answer is above {limit:,} bytes: raise Limits.max_event_bytes if that is expected", limit=limit
                    )
        except BaseException as error:
            self.close()
            if isinstance(error, DGridError) or not isinstance(error, Exception):
                raise
            raise self.translate(error) from error
        return b"".join(chunks) if large is None else large

    async def failure(self) -> APIStatusError:
        """Return the error that this answer is, from what its body gives within its bounds."""
        limits = self._limits
        body, whole = bytearray(), False
        try:
            # A body that does not come or cannot be read: the status still says enough.
            with suppress(Exception):
                async with asyncio.timeout(limits.error_seconds):
                    while len(body) < limits.max_error_bytes and (chunk := await self.read()):
                        body += chunk
                whole = True
        finally:
            if whole:
                self.release()
            else:
                self.close()
        said = bytes(body[: limits.max_error_bytes])
        return failures.from_response(self.status, self.headers, said, now=time.time(), secret=self.secret)

    def rest(self) -> bytes:
        """Return what had arrived before the connection failed and was not read yet."""
        content = self._content
        exception = content.exception()
        if exception is None:
            return b""
        # A stream reader with an exception refuses to give out its buffer; what came before the failure still counts.
        content.set_exception(cast("BaseException", None))
        try:
            rest = content.read_nowait(-1)
        finally:
            content.set_exception(exception)
        return rest if self._inflater is None else self._inflater.last(rest)

    async def _read_inflated(self) -> bytes:
        inflater = cast("Inflater", self._inflater)
        try:
            while True:
                if inflater.pending:
                    # A full step may be one of thousands: other streams go on between them.
                    await asyncio.sleep(0)
                    chunk = b""
                elif not (chunk := await self._content.readany()):
                    inflater.end()
                    return b""
                if data := inflater.feed(chunk):
                    return data
        except UnexpectedResponseError as error:
            error.status, error.content_type, error.request_id = self.status, self.content_type, self.request_id
            raise

    def _connection_closed(self, closed: asyncio.Future[None]) -> None:
        reason = None if closed.cancelled() else closed.exception()
        content = self._content
        if self._lease is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(reason or ConnectionError("the body is not framed as its headers say"))

    def translate(self, error: Exception) -> DGridError:
        """Return our error for one that reading raised."""
        if isinstance(error, DGridError):
            return error
        ours = translated(error, self._response.url.host or "", self._timeouts, tuple(secrets_of(self._secret, None)))
        ours.request_id = self.request_id
        return ours

    def fail(self, error: DGridError) -> None:
        """Wake a reader with this error and cut the connection."""
        self._content.set_exception(error)
        self.close()

    def close(self) -> None:
        """Cut the connection, whatever it still carries, and give the slot back."""
        self._response.close()
        self._end()

    def close_soon(self) -> None:
        """Cut the connection from wherever this is called, another thread included."""
        with suppress(RuntimeError):  # the loop is closed, and the connection with it
            self._response._loop.call_soon_threadsafe(self.close)  # noqa: SLF001 -- the loop it belongs to

    def release(self) -> None:
        """Be done with a whole answer: its connection is used again if its body ends at once."""
        if self._lease is None or self._linger is not None:
            return
        if self._content.is_eof():
            self._end()
            return
        self._linger = self._response._loop.call_later(_LINGER, self.close)  # noqa: SLF001 -- the loop it belongs to
        self._content.on_eof(self._end)

    def _end(self) -> None:
        lease, self._lease = self._lease, None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._closed is not None:
            # A kept connection must not keep every answer that it has carried.
            self._closed.remove_done_callback(self._connection_closed)
            # But asyncio complains of an end that nobody has looked at.
            self._closed.remove_done_callback(_looked_at)
            self._closed.add_done_callback(_looked_at)
            self._closed = None
        if lease is not None:
            lease.release()


def _looked_at(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()


def _request_id(headers: CIMultiDictProxy[str]) -> str | None:
    """Return what `failures.request_id_of` does, without a dict made of the headers."""
    for name in map(header_name, failures.REQUEST_ID_HEADERS):
        if name in headers and (value := ", ".join(headers.getall(name))):
            return value
    return None
