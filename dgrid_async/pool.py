"""The session pool: which connection a call may use, and what becomes of connections when clients, loops and processes end.

Rules
1. An aiohttp session belongs to one (process, event loop) and is made on first use there, so one client survives two
   `asyncio.run` calls, threads with loops of their own, and a fork.
2. What belongs to a dead loop or to the parent process is dropped without awaiting and without touching the parent's sockets.
3. A slot is taken before a connection and given back after it, so the gateway never sees more than the bound.
4. A session above its age is retired: calls that hold it finish, new ones get a new session.

It never sends a request and knows nothing of formats.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from dgrid_async.config import Limits
from dgrid_async.errors import ClientClosedError, ConfigError, PoolTimeoutError

if TYPE_CHECKING:
    import ssl

    import aiohttp

__all__ = ["Lease", "Network", "Pool", "PoolStats"]


@attrs.frozen(kw_only=True)
class Network:
    """How to reach the gateway.

    Attributes:
        session: The caller's own session; used, never closed.
        proxy: Address of an HTTP proxy, or None for what the environment says (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
        ca_file: Path of a PEM file of authorities to trust, or None for the system's (SSL_CERT_FILE, SSL_CERT_DIR).
        client_cert: Path of a PEM file with certificate and key, or the two paths.
    """

    session: aiohttp.ClientSession | None = None
    proxy: str | None = attrs.field(default=None, repr=False)  # may hold a password
    ca_file: str | os.PathLike[str] | None = None
    client_cert: str | os.PathLike[str] | tuple[str, str] | None = None


@attrs.frozen(kw_only=True)
class PoolStats:
    """What the pool of the running loop looks like now.

    Attributes:
        in_use: Connections that calls and streams hold.
        waiting: Calls that wait for one.
        limit: `Limits.max_connections`.
        sessions: Sessions alive, retired ones that still serve a call included.
    """

    in_use: int = 0
    waiting: int = 0
    limit: int | None = None
    sessions: int = 0


class _Generation:
    """One aiohttp session and the calls that hold it."""

    __slots__ = ("born", "leases", "retired", "session")

    def __init__(self, session: aiohttp.ClientSession, born: float) -> None:
        self.session = session
        self.born = born
        self.leases = 0
        self.retired = False


class _Home:
    """What the pool keeps for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limiter: anyio.CapacityLimiter) -> None:
        self.loop = loop
        self.limiter = limiter
        # The mutable state: the sessions, newest last, the leases out, the sessions being closed, and who waits for the
        # last lease.
        self.generations: list[_Generation] = []
        self.leases: set[Lease] = set()
        self.closing: set[asyncio.Task[None]] = set()
        self.drained: asyncio.Event | None = None


class Lease:
    """The right to use one connection of a session; given back once, by `release`."""

    __slots__ = ("_home", "_pool", "cut", "generation")

    generation: _Generation

    def __init__(self, pool: Pool, home: _Home) -> None:
        self._pool = pool
        self._home: _Home | None = home
        self.cut: Callable[[], None] | None = None
        """What `terminate` calls to end the use of the connection at once."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session to send with."""
        return self.generation.session

    def release(self) -> None:
        """Give the slot back; a second call does nothing."""
        home, self._home = self._home, None
        if home is not None:
            self.cut = None
            self._pool._give_back(self, home)  # noqa: SLF001 -- one mechanism in two classes


class Pool:
    """Hands out sessions under a bound; one per client, shared by its `with_options` twins."""

    def __init__(self, limits: Limits, network: Network) -> None:
        self.limits = limits
        self.network = network
        # The mutable state: the homes by event loop, the process they belong to, and whether the pool is closed,
        # and what the environment said of each address.
        self._homes: dict[asyncio.AbstractEventLoop, _Home] = {}
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._proxies: dict[str, str | None] = {}
        self._ssl: ssl.SSLContext | bool | None = None
        self.closed = False

    async def acquire(self) -> Lease:
        """Return a lease on a session of the running loop.

        Raises:
            PoolTimeoutError: No slot became free in `Limits.pool_timeout` seconds.
            ClientClosedError: The pool is closed.

        Cancel: nothing has been taken.
        """
        home = self._home()
        lease = Lease(self, home)
        try:
            home.limiter.acquire_on_behalf_of_nowait(lease)
        except anyio.WouldBlock:
            await self._wait(home.limiter, lease)
        try:
            if self.closed:
                raise ClientClosedError("the client was closed while this call waited for a connection")
            lease.generation = self._generation(home)
        except BaseException:
            home.limiter.release_on_behalf_of(lease)
            raise
        home.leases.add(lease)
        return lease

    async def _wait(self, limiter: anyio.CapacityLimiter, lease: Lease) -> None:
        try:
            with anyio.fail_after(self.limits.pool_timeout):
                await limiter.acquire_on_behalf_of(lease)
        except TimeoutError:
            told = limiter.statistics()
            raise PoolTimeoutError(
                f"no connection became free in {self.limits.pool_timeout:g} s: {told.borrowed_tokens} in use, "
                f"{told.tasks_waiting + 1} waiting; raise Limits.max_connections or run fewer calls at a time",
                in_use=told.borrowed_tokens,
                waiting=told.tasks_waiting + 1,
            ) from None

    def stats(self) -> PoolStats:
        """Return the numbers of the running loop's part of the pool."""
        home = self._homes.get(asyncio.get_running_loop()) if self._pid == os.getpid() else None
        if home is None:
            return PoolStats(limit=self.limits.max_connections)
        told = home.limiter.statistics()
        return PoolStats(
            in_use=told.borrowed_tokens,
            waiting=told.tasks_waiting,
            limit=self.limits.max_connections,
            sessions=len(home.generations),
        )

    async def close(self) -> None:
        """Refuse new calls, wait until those under way in this loop have ended, then close its sessions.

        Cancel: the pool stays closed to new calls; call again, or `terminate`.
        """
        self.closed = True
        home = self._homes.get(asyncio.get_running_loop()) if self._pid == os.getpid() else None
        if home is None:
            return
        if home.leases:
            home.drained = asyncio.Event()
            await home.drained.wait()
        await self.wait_closed()

    def terminate(self) -> None:
        """Refuse new calls and cut those under way in this loop: their readers end at once."""
        self.closed = True
        self._drop_dead()
        try:
            home = self._homes.get(asyncio.get_running_loop())
        except RuntimeError:  # no loop runs here: nothing to cut, and the loop's own end drops the rest
            return
        if home is None:
            return
        for lease in tuple(home.leases):
            if lease.cut is not None:
                lease.cut()
        for generation in tuple(home.generations):
            self._retire(home, generation, force=True)

    async def wait_closed(self) -> None:
        """Wait until the sessions that `close` and `terminate` end in this loop are closed."""
        home = self._homes.get(asyncio.get_running_loop()) if self._pid == os.getpid() else None
        if home is None:
            return
        for generation in tuple(home.generations):
            self._retire(home, generation, force=True)
        if home.closing:
            await asyncio.shield(asyncio.gather(*home.closing, return_exceptions=True))
        self._homes.pop(home.loop, None)

    def _home(self) -> _Home:
        if self.closed:
            raise ClientClosedError("the client is closed: make a new AsyncDGrid, or keep this one open for longer")
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is not None and self._pid == os.getpid():
            return home
        with self._lock:
            self._drop_dead()
            limit = self.limits.max_connections
            home = self._homes[loop] = _Home(loop, anyio.CapacityLimiter(math.inf if limit is None else limit))
        return home

    def _generation(self, home: _Home) -> _Generation:
        """Return the session for a new call, the old one retired when it is above its age."""
        own = self.network.session
        generation = home.generations[-1] if home.generations else None
        if generation is not None and own is None:
            old = self.limits.max_age is not None and home.loop.time() - generation.born > self.limits.max_age
            if old or generation.session.closed:
                self._retire(home, generation)
                generation = None
        if generation is None:
            generation = _Generation(own if own is not None else self._new_session(), home.loop.time())
            home.generations.append(generation)
        generation.leases += 1
        return generation

    def _new_session(self) -> aiohttp.ClientSession:
        import aiohttp

        connector = aiohttp.TCPConnector(
            limit=0,  # the slots above are the bound: a wait inside aiohttp could not be told from connecting
            ttl_dns_cache=max(1, round(self.limits.dns_cache)),
            keepalive_timeout=self.limits.keep_alive,
            ssl=self._ssl_context(),
            timeout_ceil_threshold=math.inf,  # aiohttp rounds longer limits up to whole seconds
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    def _ssl_context(self) -> ssl.SSLContext | bool:
        if self._ssl is None:
            network = self.network
            if network.ca_file is None and network.client_cert is None:
                self._ssl = True
            else:
                import ssl

                try:
                    context = ssl.create_default_context(cafile=network.ca_file)
                    if network.client_cert is not None:
                        pair = network.client_cert
                        context.load_cert_chain(*(pair if isinstance(pair, tuple) else (pair,)))
                except (OSError, ssl.SSLError) as error:
                    raise ConfigError(
                        f"ca_file={network.ca_file!r}, client_cert={network.client_cert!r} cannot be loaded: {error}"
                    ) from error
                self._ssl = context
        return self._ssl

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy for an address: the caller's, or the environment's, or None."""
        network = self.network
        if network.proxy is not None or network.session is not None:
            return network.proxy
        origin = url.partition("?")[0]
        if origin not in self._proxies:
            self._proxies[origin] = _environment_proxy(url, os.environ)
        return self._proxies[origin]

    def _retire(self, home: _Home, generation: _Generation, *, force: bool = False) -> None:
        if generation.leases and not force:
            generation.retired = True
            return
        if generation in home.generations:
            home.generations.remove(generation)
        if generation.session is not self.network.session and not generation.session.closed:
            task = home.loop.create_task(generation.session.close())
            home.closing.add(task)
            task.add_done_callback(home.closing.discard)

    def _give_back(self, lease: Lease, home: _Home) -> None:
        generation = lease.generation
        home.leases.discard(lease)
        home.limiter.release_on_behalf_of(lease)
        generation.leases -= 1
        if generation.retired and not generation.leases:
            self._retire(home, generation)
        if home.drained is not None and not home.leases:
            home.drained.set()

    def _drop_dead(self) -> None:
        """Forget the sessions of loops that have ended and of the process that this one was forked from."""
        forked = self._pid != os.getpid()
        self._pid = os.getpid()
        for loop, home in list(self._homes.items()):
            if forked or loop.is_closed():
                del self._homes[loop]
                for generation in home.generations:
                    if generation.session is not self.network.session:
                        _discard(generation.session)


def _environment_proxy(url: str, environment: Mapping[str, str]) -> str | None:
    """Return what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say of an address; None is a direct connection."""
    if not any(name.lower().endswith("_proxy") for name in environment):
        return None
    from urllib.parse import urlsplit
    from urllib.request import getproxies_environment, proxy_bypass_environment

    parts = urlsplit(url)
    proxies = getproxies_environment()
    if proxy_bypass_environment(parts.netloc, proxies):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None


def _discard(session: aiohttp.ClientSession) -> None:
    """Close the sockets of a session whose loop is gone, and nothing else.

    The transports cannot be closed as usual: their loop is closed, or is the parent's, whose selector a forked child shares.
    """
    connector: Any = session.connector
    session.detach()
    if connector is None:
        return
    protocols = [entry[0] for entries in connector._conns.values() for entry in entries]  # noqa: SLF001 -- no public way
    for protocol in [*protocols, *connector._acquired]:  # noqa: SLF001
        transport: Any = protocol.transport
        protocol.transport = None
        inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        if inner is not None:
            transport._closed = True  # noqa: SLF001 -- a TLS transport that did not say goodbye would warn
        for each in (transport, inner):
            sock = getattr(each, "_sock", None)
            if sock is not None:
                sock.close()
                each._sock = None  # noqa: SLF001
    connector._conns.clear()  # noqa: SLF001
    connector._acquired.clear()  # noqa: SLF001
    connector._closed = True  # noqa: SLF001
