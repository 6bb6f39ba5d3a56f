"""One logical call on the wire: its attempts, its limits, and the one place where other libraries' errors become ours.

Rules
1. A `Call` is sent as often as the retry policy allows, with one Idempotency-Key; an `Answer` is one 2xx, its body unread.
2. Redirects are never left to the HTTP library: a key goes to no other host, and a POST stays a POST.
3. The key is put into the headers at the moment of sending and kept nowhere else.
4. Limits cost one timer per call here; per read nothing.

It knows nothing of events; `stream` reads an answer, `client` makes the calls.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import attrs

from dgrid_async import failures, retry
from dgrid_async.config import Limits, Retries, Secret, Timeouts
from dgrid_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    ConfigError,
    DGridError,
    EventTooLargeError,
    Phase,
    RateLimitError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    import aiohttp

    from dgrid_async.pool import Lease, Pool

__all__ = ["Answer", "Call", "CoolDown", "Request"]

# A connection whose answer is whole is kept this long, in seconds, for the few bytes that end the body: then it can be
# used again. Longer would hold the slot of a gateway that never ends its bodies.
_LINGER = 0.25
# Same-host 307 and 308 that are followed; more is a loop.
_MAX_REDIRECTS = 5
# One step of decompression, in bytes: bounds memory and the time that the loop is held, whatever the ratio.
_INFLATE_STEP = 256 * 1024
_OK, _REDIRECT, _ERROR = range(200, 300), range(300, 400), 400
_KEEPS_POST = frozenset({307, 308})


class CoolDown:
    """The pause that all calls of a client share after the gateway asked for one."""

    def __init__(self) -> None:
        self._until = 0.0  # the mutable state, by the monotonic clock

    def ask(self, seconds: float) -> None:
        """Let no attempt begin for this long."""
        self._until = max(self._until, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds still to wait, spread a little so that the calls do not come back as one herd."""
        left = self._until - time.monotonic()
        return left + random.uniform(0, min(1.0, left / 4)) if left > 0 else 0.0  # noqa: S311 -- no secret in a jitter


@attrs.frozen(eq=False, kw_only=True)
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
        self.started = time.monotonic()
        self._pool = pool
        self._cool_down = cool_down
        # The mutable state: the failures so far, the time limit in force while something is awaited, why that was ended
        # from outside, and the connection limit's own message.
        self.failures: list[DGridError] = []
        self._scope: asyncio.Timeout | None = None
        self._interrupted: DGridError | None = None
        self._key = request.headers.get("idempotency-key") or uuid4().hex

    async def send(
        self, decode: Callable[[Answer, bytes], Any] | None = None, *, failure: DGridError | None = None
    ) -> Any:
        """Send until a 2xx comes and return it with its body unread, or what `decode` makes of its whole body.

        Args:
            decode: Called with the answer and its body; the errors it raises are retried as the policy says.
            failure: What was wrong with the answer before, where this goes on after one.

        Raises:
            DGridError: The last failure, with the earlier ones as its `attempts`; or one that is not to be retried.

        Cancel: the connection in use is closed and the slot given back.
        """
        left = self.left()
        when = None if left is None else asyncio.get_running_loop().time() + left
        try:
            async with asyncio.timeout_at(when) as self._scope:
                if self._interrupted is not None:
                    raise self._interrupted
                while True:
                    if failure is not None:
                        await self._recover(failure)
                    try:
                        answer = await self._attempt()
                        if decode is None:
                            return answer
                        try:
                            return decode(answer, await answer.read_all())
                        finally:
                            answer.release()
                    except DGridError as error:
                        failure = error
        except TimeoutError:
            raise self.fail(self._interrupted or self._expired()) from None
        finally:
            self._scope = None

    def interrupt(self, reason: DGridError) -> None:
        """End `send`, wherever it waits, with this error; from any task of the loop."""
        self._interrupted = reason
        if self._scope is not None:
            self._scope.reschedule(0.0)

    def left(self) -> float | None:
        """Return the seconds left until the first limit of the whole call, or None for no limit."""
        deadline = self._deadline()
        return None if deadline is None else deadline - time.monotonic()

    def fail(self, failure: DGridError) -> DGridError:
        """Return the failure with the earlier attempts on it: what the caller is to see."""
        failure.attempts = tuple(self.failures)
        return failure

    def _deadline(self) -> float | None:
        limits = self.request.timeouts
        bounds = [limit for limit in (limits.first_event, limits.total) if limit is not None]
        return self.started + min(bounds) if bounds else None

    def _expired(self) -> APITimeoutError:
        limits = self.request.timeouts
        phase: Phase = "first_event"
        seconds = limits.first_event
        if seconds is None or (limits.total is not None and limits.total < seconds):
            phase, seconds = "total", limits.total
        return timed_out(phase, seconds or 0.0)

    async def _recover(self, failure: DGridError) -> None:
        """Wait as the policy says before the next attempt, or raise the failure."""
        attempt = len(self.failures) + 1
        draw = random.random()  # noqa: S311 -- jitter
        wait = retry.delay(self.request.retries, attempt, failure, left=self.left(), draw=draw)
        if wait is None:
            raise self.fail(failure)
        self.failures.append(failure)
        if isinstance(failure, RateLimitError):
            self._cool_down.ask(wait)
        await asyncio.sleep(wait)

    async def _attempt(self) -> Answer:
        """Send once, same-host redirects included, and return a 2xx."""
        import aiohttp

        if pause := self._cool_down.left():
            await asyncio.sleep(pause)
        request = self.request
        headers = {**request.headers, "idempotency-key": self._key}
        if request.secret is not None:
            headers["authorization"] = f"Bearer {request.secret.reveal()}"
        timeout = aiohttp.ClientTimeout(total=None, connect=request.timeouts.connect, ceil_threshold=math.inf)
        url = request.url
        lease = await self._pool.acquire()
        response: aiohttp.ClientResponse | None = None
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                response = await lease.session.post(
                    url,
                    data=request.body,
                    headers=headers,
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,
                    proxy=self._pool.proxy_for(url),
                    timeout=timeout,
                )
                answer = Answer(response, lease, request)
                if response.status in _OK:
                    return answer
                if response.status not in _REDIRECT:
                    raise await answer.failure()
                url = self._redirected(url, answer)
                response.close()
            raise UnexpectedResponseError(f"more than {_MAX_REDIRECTS} redirects: check base_url", status=response.status)
        except BaseException as error:
            if response is not None:
                response.close()
            lease.release()
            if isinstance(error, (aiohttp.ClientError, OSError, RuntimeError, ValueError)):
                raise self._translated(error, url) from error
            raise

    def _redirected(self, url: str, answer: Answer) -> str:
        target = urljoin(url, answer.headers.get("location", ""))
        here, there = urlsplit(url), urlsplit(target)
        same_host = there.hostname == here.hostname and (
            (there.scheme, there.port) == (here.scheme, here.port) or (here.scheme, there.scheme) == ("http", "https")
        )
        if answer.status in _KEEPS_POST and same_host and "location" in answer.headers:
            return target
        shown = f"{there.scheme}://{there.hostname}{there.path}" if "location" in answer.headers else "nowhere"
        raise UnexpectedResponseError(
            f"HTTP {answer.status} redirects to {shown}: only a 307 or 308 to the same host is followed, because the key "
            "must go nowhere else and a POST must stay one; set base_url to the right address",
            status=answer.status,
            content_type=answer.content_type,
            request_id=answer.request_id,
        )

    def _translated(self, error: BaseException, url: str) -> DGridError:
        if self._pool.closed:
            return ClientClosedError("the client was closed during this call")
        return translated(error, urlsplit(url).hostname or url, self.request.timeouts)


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
        "_content",
        "_lease",
        "_linger",
        "_request",
        "_response",
        "content_type",
        "headers",
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
        headers: dict[str, str] = {}
        for name, value in response.headers.items():
            name = name.lower()  # noqa: PLW2901
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers: Mapping[str, str] = headers
        self.request_id = failures.request_id_of(headers)
        self.content_type = headers.get("content-type", "")
        self.read: Callable[[], Awaitable[bytes]] = self._content.readany
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", ""}:
            self.read = _Inflater(self._content.readany, encoding, self).read
        lease.cut = self.close

    @property
    def secret(self) -> str | None:
        """The key that was sent, for nothing but taking it out of what the gateway says."""
        return None if self._request.secret is None else self._request.secret.reveal()

    async def read_all(self) -> bytes:
        """Return the whole body.

        Raises:
            EventTooLargeError: It is above `Limits.max_event_bytes`.
            APIConnectionError: The connection was lost on the way.
        """
        limit = self._request.limits.max_event_bytes
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := await self.read():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    self.close()
                    raise EventTooLargeError(
                        f"the answer is above {limit:,} bytes: raise Limits.max_event_bytes if that is expected", limit=limit
                    )
        except BaseException as error:
            self.close()
            if isinstance(error, Exception):
                raise self.translate(error) from error
            raise
        return b"".join(chunks)

    async def failure(self) -> APIStatusError:
        """Return the error that this answer is, from what its body gives within its bounds."""
        limits = self._request.limits
        body = b""
        try:
            async with asyncio.timeout(limits.error_seconds):
                while len(body) < limits.max_error_bytes and (chunk := await self.read()):
                    body += chunk
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001, S110 -- a body that does not come or cannot be read: the status still says enough
            pass
        body = body[: limits.max_error_bytes]
        return failures.from_response(self.status, self.headers, body, now=time.time(), secret=self.secret)

    def rest(self) -> bytes:
        """Return what had arrived before the connection failed and was not read yet."""
        content = self._content
        exception = content.exception()
        if exception is None or self.read != content.readany:
            return b""
        # A stream reader with an exception refuses to give out its buffer; what came before the failure still counts.
        content.set_exception(cast("BaseException", None))
        try:
            return content.read_nowait(-1)
        finally:
            content.set_exception(exception)

    def translate(self, error: Exception) -> DGridError:
        """Return our error for one that reading raised."""
        if isinstance(error, DGridError):
            return error
        host = self._response.url.host or ""
        ours = translated(error, host, self._request.timeouts)
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
        loop = self._response._loop  # noqa: SLF001 -- the loop it belongs to
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.close)

    def release(self) -> None:
        """Be done with a whole answer: its connection is used again if its body ends at once."""
        if self._lease is None:
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
        if lease is not None:
            lease.release()


class _Inflater:
    """Decompresses a body as it comes, in bounded steps."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], encoding: str, answer: Answer) -> None:
        if encoding not in {"gzip", "x-gzip", "deflate"}:
            raise UnexpectedResponseError(
                f"the answer is in content encoding {encoding!r}, which was not asked for and cannot be decoded",
                status=answer.status,
                content_type=answer.content_type,
                request_id=answer.request_id,
            )
        self._read = read
        self._encoding = encoding
        self._answer = answer
        # The mutable state: the decompressor, what it has not taken yet, and whether anything has come.
        self._inflate: Any = None
        self._rest = b""
        self._begun = False

    async def read(self) -> bytes:
        """Return the next decompressed bytes; empty at the end.

        Raises:
            UnexpectedResponseError: The bytes are not in the encoding that the headers name.
            APIConnectionError: The body ended inside it.
        """
        while True:
            if self._rest:
                # A full step may be one of thousands: other streams go on between them.
                await asyncio.sleep(0)
                chunk = self._rest
            else:
                chunk = await self._read()
                if not chunk:
                    if self._begun and not self._inflate.eof:
                        raise APIConnectionError(f"the answer ended inside its {self._encoding} encoding")
                    return b""
            if data := self._step(chunk):
                return data

    def _step(self, chunk: bytes) -> bytes:
        if self._inflate is None or (self._inflate.eof and self._encoding != "deflate"):
            self._inflate = zlib.decompressobj(self._window(chunk))
        self._begun = True
        try:
            data = cast("bytes", self._inflate.decompress(chunk, _INFLATE_STEP))
        except zlib.error as error:
            raise UnexpectedResponseError(
                f"the answer is no valid {self._encoding}, which its content-encoding header names: {error}",
                status=self._answer.status,
                content_type=self._answer.content_type,
                excerpt=failures.excerpt(chunk),
                request_id=self._answer.request_id,
            ) from error
        # A gzip body may be several members in a row; bytes after a deflate body mean nothing.
        self._rest = self._inflate.unconsumed_tail or (self._inflate.unused_data if self._encoding != "deflate" else b"")
        return data

    def _window(self, chunk: bytes) -> int:
        if self._encoding != "deflate":
            return 16 + zlib.MAX_WBITS
        # "deflate" means zlib's wrapping (RFC 9110, 8.4.1.2), but servers send it bare as well.
        wrapped = chunk[0] & 0x0F == 8 and (len(chunk) < 2 or (chunk[0] << 8 | chunk[1]) % 31 == 0)  # noqa: PLR2004
        return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


def timed_out(phase: Phase, seconds: float, request_id: str | None = None) -> APITimeoutError:
    """Return the error of one limit of `Timeouts`."""
    what = {
        "connect": "no connection was made",
        "first_event": "the first content event, or the whole of a plain answer, did not come",
        "idle": "nothing at all came over the wire",
        "event": "no content event came, keep-alives aside",
        "total": "the call did not end",
    }[phase]
    return APITimeoutError(
        f"{what} within {seconds:g} s: raise Timeouts.{phase} if that is expected",
        phase=phase,
        seconds=seconds,
        request_id=request_id,
    )


def translated(error: BaseException, host: str, timeouts: Timeouts) -> DGridError:
    """Return our error for one of aiohttp's or the system's; the caller raises it from the original."""
    import aiohttp

    # A request kept on an error would show its headers, the key among them, to whoever prints the error's repr.
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.WSServerHandshakeError)):
        error.args = (error.status, error.message)
        error.request_info = cast("Any", None)
        error.history = ()
    if isinstance(error, DGridError):
        return error
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        failure: DGridError = timed_out("connect", timeouts.connect or 0.0)
        failure.message = f"{host}: {failure.message}"
        return failure
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError(f"the address of {host!r} is not valid: check base_url")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return APIConnectionError(f"the proxy on the way to {host} answered {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return APIConnectionError(f"the name {host!r} cannot be resolved: {error.os_error}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return APIConnectionError(f"the certificate of {host} is not trusted: {error.certificate_error}; ca_file= names others")
    if isinstance(error, aiohttp.ClientConnectorError):
        return APIConnectionError(f"no connection to {host}, port {error.port}: {error.os_error}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return APIConnectionError(f"{host} closed the connection without an answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return APIConnectionError(f"the connection to {host} was lost inside the answer: {error}")
    if isinstance(error, aiohttp.ClientResponseError):
        return APIConnectionError(f"{host} answered what is no HTTP: {error.message}")
    if isinstance(error, ValueError):
        return ConfigError(f"the request to {host} cannot be sent: {error}")
    if isinstance(error, RuntimeError):
        return ClientClosedError(f"the session or connection to {host} is closed: {error}")
    return APIConnectionError(f"the connection to {host} failed: {error or type(error).__name__}")
