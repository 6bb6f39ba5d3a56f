"""One logical call on the wire: its attempts and its limits.

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
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dgrid_async import retry
from dgrid_async.addresses import redirected, url_of
from dgrid_async.answer import Answer
from dgrid_async.config import Retries, Secret, Timeouts, header_name
from dgrid_async.errors import (
    APITimeoutError,
    ClientClosedError,
    DGridError,
    Phase,
    RateLimitError,
    UnexpectedResponseError,
)
from dgrid_async.large_json import LargeJSON
from dgrid_async.scope import Scope
from dgrid_async.translation import secrets_of, timed_out, translated

if TYPE_CHECKING:
    import aiohttp

    from dgrid_async.pool import Home, Lease, Pool
    from dgrid_async.session import EagerBody

__all__ = ["Call", "CoolDown", "warm_up"]

# Same-host 307 and 308 that are followed; more is a loop.
_MAX_REDIRECTS = 5
# What is read at a time, in bytes, is at most twice this: decoding it holds the loop for some milliseconds.
_READ_BYTES = 64 * 1024
# A body above this is handed to aiohttp as a file: it would write it at one go, and says so by a warning from 1 MiB on.
_WHOLE_BODY = 512 * 1024
# Behind a pause each waiting call comes back later by up to this for each that waits, in seconds, and by no more than
# that: one alone is on time, and a thousand do not come as one.
_STAGGER, _MOST_STAGGER = 0.01, 1.0
_OK, _REDIRECT = range(200, 300), range(300, 400)


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
        return self.until and self.until - time.monotonic()

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


class Call:
    """One logical call: the same request, sent until it is answered or given up.

    Args:
        pool: Whose connections, and whose limits.
        cool_down: The pause that it keeps.
        url: The full address, query included.
        body: The JSON text.
        headers: Everything but the key; names in lower case, at best by `header_name`. Shared: never changed here.
        secret: The key, or None where the caller's own headers carry it.
        timeouts, retries: The rules.

    Attributes:
        idempotency_key: The same for all attempts; made at the first where nobody gave one.
        failures: The failures so far.
        started, until: When it was first sent (0: not yet), by the monotonic clock, and when its time is up, by the loop's.
        between: What waits for the next attempt in the place of a sleep: told the failure and the least seconds.
        eager: Whether the body leaves in the turn of the loop in which an attempt begins. Else tasks that are ready may come
            first, which is later, and costs less where many calls are made.
    """

    __slots__ = (
        "_body",
        "_cool_down",
        "_headers",
        "_interrupted",
        "_pool",
        "_request_id",
        "_retries",
        "_scope",
        "_secret",
        "_url",
        "between",
        "eager",
        "failures",
        "idempotency_key",
        "limits",
        "started",
        "timeouts",
        "until",
    )

    def __init__(
        self,
        pool: Pool,
        cool_down: CoolDown,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        secret: Secret | None,
        timeouts: Timeouts,
        retries: Retries,
    ) -> None:
        self._pool = pool
        self._cool_down = cool_down
        self._url = url
        self._body = body
        self._headers = headers
        self._secret = secret
        self.timeouts = timeouts
        self._retries = retries
        self.limits = pool.limits
        # The mutable state: the key of its attempts, when it was first sent, when its time is up by the loop's clock, the
        # failures so far, what ends `send` while that runs, why it was ended from outside, and the gateway's name for the
        # attempt that it has answered.
        self.idempotency_key = headers.get("idempotency-key")
        self.started = 0.0
        self.until = math.inf
        self.failures: list[DGridError] = []
        self._scope: Scope | None = None
        self._interrupted: DGridError | None = None
        self._request_id: str | None = None
        self.between: Callable[[DGridError, float], Awaitable[None]] | None = None
        self.eager = False

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
        home = self._pool.enter(self, resumed=self.started > 0)
        self.started = self.started or time.monotonic()
        try:
            left = self.left()
            if left is not None:
                self.until = home.loop.time() + left
                home.watch(self.until)
            with Scope(home.loop) as self._scope:
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
        first, total = self.timeouts.first_event, self.timeouts.total
        bound = total if first is None or (total is not None and total < first) else first
        return None if bound is None else self.started + bound - time.monotonic()

    def fail(self, failure: DGridError) -> DGridError:
        """Return the failure with the earlier attempts on it: what the caller is to see."""
        failure.attempts = tuple(self.failures)
        return failure

    def _expired(self) -> APITimeoutError:
        limits = self.timeouts
        phase: Phase = "first_event"
        seconds = limits.first_event
        if seconds is None or (limits.total is not None and limits.total < seconds):
            phase, seconds = "total", limits.total
        return timed_out(phase, seconds or 0.0, self._request_id)

    def _wait_after(self, failure: DGridError) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        attempt = len(self.failures) + 1
        draw = random.random()
        wait = retry.delay(self._retries, attempt, failure, left=self.left(), draw=draw)
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
        cool_down = self._cool_down
        self._request_id = None
        if cool_down.left() > 0:
            await cool_down.wait()
        lease = self._pool.lease(home)
        while lease is None:
            lease = await self._pool.acquire(home)
            if cool_down.left() > 0:  # a pause was asked for while this waited for the slot
                lease.release()
                await cool_down.wait()
                lease = self._pool.lease(home)
        response: aiohttp.ClientResponse | None = None
        url, status = self._url, 0
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                response = await lease.session.post(
                    url_of(url),
                    data=self._data(),
                    headers=self._signed(),
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,
                    read_bufsize=_READ_BYTES,
                    proxy=self._pool.route.proxy_for(url),
                    timeout=_client_timeout(self.timeouts.connect),
                )
                status = response.status
                if status not in _REDIRECT:
                    answer = Answer(response, lease, self._secret, self.timeouts, self.limits)
                    self._request_id = answer.request_id
                    if self._interrupted is not None:
                        raise self._interrupted  # in the very moment in which the headers came
                    if status in _OK:
                        return answer
                    raise await answer.failure()
                url = redirected(url, status, response.headers, self._secret)
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

    def _data(self) -> bytes | BytesIO | EagerBody:
        if len(self._body) > _WHOLE_BODY:
            return BytesIO(self._body)
        if not self.eager:
            return self._body
        from dgrid_async.session import EagerBody

        return EagerBody(self._body)

    def _signed(self) -> dict[str, str]:
        if not self.idempotency_key:
            self.idempotency_key = os.urandom(16).hex()
        headers = {**self._headers, header_name("idempotency-key"): self.idempotency_key}
        if self._secret is not None:
            headers[header_name("authorization")] = f"Bearer {self._secret.reveal()}"
        return headers

    def _translated(self, error: Exception, url: str, lease: Lease) -> DGridError:
        secrets = tuple(secrets_of(self._secret, self._pool.route.proxy_for(url)))
        host = urlsplit(url).hostname or url
        ours = translated(error, host, self.timeouts, secrets)
        if self._interrupted is not None:
            return self._interrupted
        return ClientClosedError(f"the session that sends to {host} was closed") if lease.session.closed else ours


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

    session, proxy = lease.session, pool.route.proxy_for(url)
    try:
        request = aiohttp.ClientRequest(
            "POST",
            url_of(url),
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
