"""One logical call on the wire: its attempts, its limits, and the answer that is read.

Rules
1. A `Call` is sent as often as the retry policy allows, with one Idempotency-Key; an `Answer` is one 2xx, its body unread.
2. Redirects are never left to the HTTP library: a key goes to no other host, and a POST stays a POST.
3. The key is put into the headers at the moment of sending; no name, attribute, error or traceback of ours holds it.
4. Limits cost no timer per call here, for the pool has one for all calls; and nothing per read.
5. While the gateway has asked for a pause, no attempt holds a slot or reaches it.

It knows nothing of events; `stream` reads an answer, `client` makes the calls.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

import attrs

from dgrid_async import failures, retry
from dgrid_async.compression import Inflater
from dgrid_async.config import Limits, Retries, Secret, Timeouts
from dgrid_async.errors import (
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    DGridError,
    EventTooLargeError,
    Phase,
    RateLimitError,
    UnexpectedResponseError,
)
from dgrid_async.large_json import LargeJSON
from dgrid_async.translation import secrets_of, timed_out, translated

if TYPE_CHECKING:
    import aiohttp
    from multidict import CIMultiDictProxy
    from yarl import URL

    from dgrid_async.pool import Home, Lease, Pool

__all__ = ["Answer", "Call", "CoolDown", "Request", "timed_out", "warm_up"]

# A connection whose answer is whole is kept this long, in seconds, for the few bytes that end the body: then it can be
# used again. Longer would hold the slot of a gateway that never ends its bodies.
_LINGER = 0.25
# Same-host 307 and 308 that are followed; more is a loop.
_MAX_REDIRECTS = 5
# What is read at a time, in bytes, is at most twice this: decoding it holds the loop for some milliseconds.
_READ_BYTES = 64 * 1024
# From this size on a body is decoded while it comes.
_LARGE_BYTES = 1024 * 1024
# A body above this is handed to aiohttp as a file: it would write it at one go, and says so by a warning from 1 MiB on.
_WHOLE_BODY = 512 * 1024
# Behind a pause each waiting call comes back later by up to this for each that waits, in seconds, and by no more than
# that: one alone is on time, and a thousand do not come as one.
_STAGGER, _MOST_STAGGER = 0.01, 1.0
_OK, _REDIRECT = range(200, 300), range(300, 400)
_KEEPS_POST = frozenset({307, 308})
# What stays as it is in a path or a query, the percent sign of what has been quoted before among it (RFC 3986, 3.3 and 3.4).
_SENT = "%/?:@!$&'()*+,;=~"


class CoolDown:
    """The pause that all calls of a client share after the gateway asked for one."""

    def __init__(self) -> None:
        # The mutable state: when it ends, by the monotonic clock (0: none was asked for), and how many calls wait for that.
        self.until = 0.0
        self._waiting = 0

    def ask(self, seconds: float) -> None:
        """Let no attempt begin for this long."""
        self.until = max(self.until, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds until it ends; 0 or less: there is none."""
        return self.until - time.monotonic()

    async def wait(self) -> None:
        """Wait until it has ended, and a little longer, so that the calls do not come back as one herd.

        Cancel: nothing has been taken.
        """
        self._waiting += 1
        try:
            while (left := self.left()) > 0:
                stagger = random.uniform(0, min(_MOST_STAGGER, _STAGGER * self._waiting))
                await asyncio.sleep(left + stagger)
        finally:
            self._waiting -= 1


class _Scope:
    """Ends a block when told to, as the scopes of `asyncio.timeout` do, without their two coroutines and timer a call.

    A sync context manager, entered by the task that made it. Where it ended the block it swallows the `CancelledError` that did
    it; a cancellation from elsewhere passes through, one at the same moment too.
    """

    __slots__ = ("_before", "_loop", "_over", "_soon", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 -- a coroutine of ours runs in a task
        self._loop = loop
        self._task = task
        self._before = task.cancelling()
        # The mutable state: whether it has ended the block, and what is about to.
        self._over = False
        self._soon: asyncio.Handle | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Tell whether what ended the block is this."""
        if self._soon is not None:
            self._soon.cancel()
        if not self._over:
            return False
        # Taken back whatever the block ended with: nobody else has cancelled the task.
        alone = self._task.uncancel() <= self._before
        return alone and kind is not None and issubclass(kind, asyncio.CancelledError)

    def end(self) -> None:
        """End the block; not to be called by the task that is in it."""
        if not self._over:
            self._over = True
            self._task.cancel()

    def end_soon(self) -> None:
        """End the block as soon as the loop comes to it; from any task of the loop."""
        if not self._over and self._soon is None:
            self._soon = self._loop.call_soon(self.end)


# Not frozen, as other values are: to make it one costs each call 3.6 µs in the place of 0.8.
@attrs.define(eq=False, kw_only=True)
class Request:
    """What one logical call sends and under which rules.

    Attributes:
        url: The full address, query included.
        body: The JSON text.
        headers: Everything but the key; names in lower case.
        secret: The key, or None where the caller's own headers carry it.
        streamed: Whether the answer is read as a stream.
        timeouts, retries, limits: The rules.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = attrs.field(repr=False)
    secret: Secret | None
    streamed: bool
    timeouts: Timeouts
    retries: Retries
    limits: Limits


class Call:
    """One logical call: the same request, sent until it is answered or given up."""

    def __init__(self, pool: Pool, cool_down: CoolDown, request: Request) -> None:
        self.request = request
        self._pool = pool
        self._cool_down = cool_down
        self._key = request.headers.get("idempotency-key") or os.urandom(16).hex()
        # The mutable state: when it was first sent, when its time is up by the loop's clock, the failures so far, what ends
        # `send` while that runs, why it was ended from outside, and the gateway's name for the attempt that it has answered.
        self.started = time.monotonic()
        self.until = math.inf
        self._begun = False
        self.failures: list[DGridError] = []
        self._scope: _Scope | None = None
        self._interrupted: DGridError | None = None
        self._request_id: str | None = None
        # What waits for the next attempt in the place of a sleep: told the failure and the least seconds.
        self.between: Callable[[DGridError, float], Awaitable[None]] | None = None

    async def send(
        self, decode: Callable[[Answer, bytes | LargeJSON], Any] | None = None, *, failure: DGridError | None = None
    ) -> Any:
        """Send until a 2xx comes and return it with its body unread, or what `decode` makes of its whole body.

        Args:
            decode: Called with the answer and its body; the errors it raises are retried as the policy says.
            failure: What was wrong with the answer before, where this goes on after one.

        Raises:
            DGridError: The last failure, with the earlier ones as its `attempts`; or one that is not to be retried.

        Cancel: the connection in use is closed and the slot given back.
        """
        home = self._pool.enter(self, resumed=self._begun)
        if not self._begun:
            self._begun = True
            self.started = time.monotonic()
        try:
            left = self.left()
            if left is not None:
                self.until = home.loop.time() + left
                home.watch(self.until)
            with _Scope(home.loop) as self._scope:
                while True:
                    if self._interrupted is not None:
                        raise self.fail(self._interrupted)
                    if failure is not None:
                        wait = self._wait_after(failure)
                        if wait is None:
                            raise self.fail(failure)
                        if self.between is not None:
                            await self.between(failure, wait)
                        elif wait:
                            await asyncio.sleep(wait)
                    try:
                        answer = await self._attempt(home)
                        if decode is None:
                            return answer
                        try:
                            return decode(answer, await answer.read_all())
                        finally:
                            answer.release()
                    except DGridError as error:
                        failure = error
        finally:
            self._scope = None
            self._pool.leave(self, home)
            failure = None  # an error must not hold the frame that its own traceback holds
        # Raised here, where no traceback of the HTTP library's frames comes along.
        raise self.fail(self._interrupted or self._expired())

    def interrupt(self, reason: DGridError) -> None:
        """End `send`, wherever it waits, with this error; from any task of the loop. The first reason counts."""
        if self._interrupted is None:
            self._interrupted = reason
            if self._scope is not None:
                self._scope.end_soon()

    def expire(self) -> None:
        """End `send`, wherever it waits, because its time is up; not from its own task."""
        if self._scope is not None:
            self._scope.end()

    def left(self) -> float | None:
        """Return the seconds left until the first limit of the whole call, or None for no limit."""
        first, total = self.request.timeouts.first_event, self.request.timeouts.total
        bound = total if first is None or (total is not None and total < first) else first
        return None if bound is None else self.started + bound - time.monotonic()

    def fail(self, failure: DGridError) -> DGridError:
        """Return the failure with the earlier attempts on it: what the caller is to see."""
        failure.attempts = tuple(self.failures)
        return failure

    def _expired(self) -> APITimeoutError:
        limits = self.request.timeouts
        phase: Phase = "first_event"
        seconds = limits.first_event
        if seconds is None or (limits.total is not None and limits.total < seconds):
            phase, seconds = "total", limits.total
        return timed_out(phase, seconds or 0.0, self._request_id)

    def _wait_after(self, failure: DGridError) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        attempt = len(self.failures) + 1
        draw = random.random()
        wait = retry.delay(self.request.retries, attempt, failure, left=self.left(), draw=draw)
        if wait is None:
            return None
        # Its frames would keep all that the attempt had in hand for as long as the call lives.
        self.failures.append(failure.with_traceback(None))
        # Who waits in between has limits of its own, for which a refusal without a time says to send less, not to stop all.
        if isinstance(failure, RateLimitError) and (self.between is None or failure.retry_after is not None):
            self._cool_down.ask(wait)  # this call waits there as well
            return 0.0
        return wait

    async def _attempt(self, home: Home) -> Answer:
        """Send once, same-host redirects included, and return a 2xx."""
        request = self.request
        cool_down = self._cool_down
        self._request_id = None
        while True:
            if cool_down.until and cool_down.left() > 0:
                await cool_down.wait()
            lease = self._pool.lease(home) or await self._pool.acquire(home)
            if not cool_down.until or cool_down.left() <= 0:
                break
            lease.release()  # a pause was asked for while this waited for the slot
        response: aiohttp.ClientResponse | None = None
        url, status = request.url, 0
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                response = await lease.session.post(
                    _address(url),
                    data=request.body if len(request.body) <= _WHOLE_BODY else BytesIO(request.body),
                    headers=self._headers(),
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,
                    read_bufsize=_READ_BYTES,
                    proxy=self._pool.proxy_for(url),
                    timeout=_client_timeout(request.timeouts.connect),
                )
                status = response.status
                if status not in _REDIRECT:
                    answer = Answer(response, lease, request)
                    self._request_id = answer.request_id
                    if self._interrupted is not None:
                        raise self._interrupted  # in the very moment in which the headers came
                    if status in _OK:
                        return answer
                    raise await answer.failure()
                url = redirected(url, status, response.headers, request.secret)
                response.close()
            raise UnexpectedResponseError(f"more than {_MAX_REDIRECTS} redirects: check base_url", status=status)
        except BaseException as error:
            import aiohttp

            if response is not None:
                response.close()
            elif isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
                lease.distrust()
            lease.release()
            if isinstance(error, DGridError) or not isinstance(error, Exception):
                raise
            raise self._translated(error, url, lease) from error

    def _headers(self) -> dict[str, str]:
        headers = {_name(name): value for name, value in self.request.headers.items()}
        headers[_name("idempotency-key")] = self._key
        if self.request.secret is not None:
            headers[_name("authorization")] = f"Bearer {self.request.secret.reveal()}"
        return headers

    def _translated(self, error: Exception, url: str, lease: Lease) -> DGridError:
        secrets = tuple(secrets_of(self.request.secret, self._pool.proxy_for(url)))
        host = urlsplit(url).hostname or url
        ours = translated(error, host, self.request.timeouts, secrets)
        if self._interrupted is not None:
            return self._interrupted
        return ClientClosedError(f"the session that sends to {host} was closed") if lease.session.closed else ours


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
        "_linger",
        "_request",
        "_response",
        "read",
        "request_id",
        "status",
    )

    def __init__(self, response: aiohttp.ClientResponse, lease: Lease, request: Request) -> None:
        self._response = response
        self._lease: Lease | None = lease
        self._request = request
        self._content = response.content
        self._linger: asyncio.TimerHandle | None = None
        self.status = response.status
        self._headers: Mapping[str, str] | None = None
        self.request_id = _request_id(response.headers)
        self.read: Callable[[], Awaitable[bytes]] = self._content.readany
        self._inflater: Inflater | None = None
        if "content-encoding" in response.headers:
            secret = self.secret
            encoding = failures.excerpt(self.headers["content-encoding"], secret=secret).strip().lower()
            if encoding not in {"identity", ""}:
                self._inflater = Inflater(encoding, secret=secret)
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
        return None if self._request.secret is None else self._request.secret.reveal()

    async def read_all(self) -> bytes | LargeJSON:
        """Return the whole body; a large one is decoded while it comes.

        Raises:
            EventTooLargeError: It is above `Limits.max_event_bytes`.
            APIConnectionError: The connection was lost on the way.
        """
        limit = self._request.limits.max_event_bytes
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
                    if size > _LARGE_BYTES:
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
        limits = self._request.limits
        body = bytearray()
        try:
            async with asyncio.timeout(limits.error_seconds):
                while len(body) < limits.max_error_bytes and (chunk := await self.read()):
                    body += chunk
        except Exception:  # noqa: BLE001 -- a body that does not come or cannot be read: the status still says enough
            self.close()
        except BaseException:
            self.close()
            raise
        else:
            self.release()
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
        ours = translated(
            error, self._response.url.host or "", self._request.timeouts, tuple(secrets_of(self._request.secret, None))
        )
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
    for name in failures.REQUEST_ID_HEADERS:
        if name in headers and (value := ", ".join(headers.getall(name))):
            return value
    return None


def redirected(url: str, status: int, headers: Mapping[str, str], secret: Secret | None = None) -> str:
    """Return where a redirect of a POST to `url` leads, if it may be followed.

    Args:
        url: Where the request went.
        status: 3xx.
        headers: Of the answer, looked up without regard to case.
        secret: The key, which the error must not show where the gateway put it into the address.

    Raises:
        UnexpectedResponseError: It leads to another host or back to plain HTTP, would make a GET of the POST, or leads nowhere.
    """
    location = headers.get("location")
    shown = "nowhere"
    if location is not None:
        try:
            target = urljoin(url, location)
            here, there = urlsplit(url), urlsplit(target)
            shown = f"{there.scheme}://{there.hostname}{there.path}"
            if status in _KEEPS_POST and there.username is None and _same_place(here, there):
                return target
        except ValueError:
            shown = "an address that is none"
    shown = failures.excerpt(shown, secret=None if secret is None else secret.reveal())
    raise UnexpectedResponseError(
        f"HTTP {status} redirects to {shown}: only a 307 or 308 to the same host is followed, because the key must go "
        "nowhere else and a POST must stay one; set base_url to the right address",
        status=status,
        content_type=headers.get("content-type") or "",
        request_id=failures.request_id_of(headers),
    )


def _same_place(here: SplitResult, there: SplitResult) -> bool:
    """Tell whether both are one host and port; from HTTP to HTTPS counts as one, between the ports usual for them too."""
    ports = {"http": 80, "https": 443}
    if here.hostname != there.hostname or there.scheme not in ports:
        return False
    port, other = here.port or ports[here.scheme], there.port or ports[there.scheme]
    if here.scheme == there.scheme:
        return port == other
    return there.scheme == "https" and (other == port or (port, other) == (80, 443))


@lru_cache(maxsize=128)
def _address(url: str) -> URL:
    """Return an address that is sent as it stands: left to it, aiohttp makes a colon of the %3A in a model's name."""
    from yarl import URL

    parts = urlsplit(url)
    place = parts.netloc if parts.netloc.isascii() else URL(f"{parts.scheme}://{parts.netloc}").raw_authority
    path, query = quote(parts.path, safe=_SENT), quote(parts.query, safe=_SENT)
    return URL(urlunsplit((parts.scheme, place.lower(), path or "/", query, "")), encoded=True)


@lru_cache(maxsize=256)
def _name(header: str) -> str:
    """Return a header's name as aiohttp need not make it lower case again: it does that some four times a header."""
    from multidict import istr

    return istr(header)


@lru_cache(maxsize=16)
def _client_timeout(connect: float | None) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, connect=connect, ceil_threshold=math.inf)


async def warm_up(pool: Pool, url: str, connections: int, timeouts: Timeouts) -> int:
    """Open connections to an address and leave them to the calls to come; no request is sent.

    Args:
        pool: Whose connections.
        url: Any address at the gateway.
        connections: How many there are to be; no more are opened than slots are free.
        timeouts: `connect` bounds each.

    Returns:
        How many were opened or found open.

    Raises:
        DGridError: One could not be opened; those that could are kept.

    Cancel: what is open by then is kept, the rest given up.
    """
    import anyio

    limit = pool.limits.max_connections
    free = connections if limit is None else min(connections, limit - pool.stats().in_use)
    leases: list[Lease] = []
    opened: list[aiohttp.connector.Connection] = []
    failed: list[DGridError] = []

    async def connect(lease: Lease) -> None:
        try:
            opened.append(await _connected(pool, lease, url, timeouts))
        except DGridError as error:
            failed.append(error)

    try:
        leases.extend([await pool.acquire() for _ in range(free)])
        async with anyio.create_task_group() as tasks:
            for lease in leases:
                tasks.start_soon(connect, lease)
    finally:
        # Not sooner: each of them would else be given the one that came first.
        for connection in opened:
            connection.release()
        for lease in leases:
            lease.release()
    if failed:
        raise failed[0]
    return len(opened)


async def _connected(pool: Pool, lease: Lease, url: str, timeouts: Timeouts) -> aiohttp.connector.Connection:
    import aiohttp
    from yarl import URL

    session, proxy = lease.session, pool.proxy_for(url)
    try:
        request = aiohttp.ClientRequest(
            "POST",
            _address(url),
            loop=asyncio.get_running_loop(),
            session=session,
            proxy=None if proxy is None else URL(proxy),
        )
        assert session.connector is not None  # noqa: S101 -- only a closed session has none, and a lease has no such
        return await session.connector.connect(request, traces=[], timeout=_client_timeout(timeouts.connect))
    except TimeoutError as error:
        raise timed_out("connect", timeouts.connect or 0.0) from error
    except Exception as error:
        host = urlsplit(url).hostname or url
        raise translated(error, host, timeouts, tuple(secrets_of(None, proxy))) from error
