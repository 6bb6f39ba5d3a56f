"""The session pool: which connection a call may use, and what becomes of connections when clients, loops and processes end.

Rules
1. An aiohttp session belongs to one (process, event loop) and is made on first use there, so one client survives two
   `asyncio.run` calls, threads with loops of their own, and a fork. The bound on connections is of each of these.
2. What belongs to a dead loop or to the parent process is dropped without awaiting and without touching the parent's sockets.
3. A slot is taken before a connection and given back after it, in the order of asking.
4. A session above its age is retired: calls that hold it finish, new ones get a new session.
5. Every call under way is known here, waiting or sending or reading: `close` waits for all, `terminate` ends all.

It never sends a request and knows nothing of formats.
"""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from dgrid_async.config import Limits
from dgrid_async.errors import ClientClosedError, ConfigError, DGridError, PoolTimeoutError
from dgrid_async.network import Network, Route

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Home", "Interruptible", "Lease", "Pool", "PoolStats"]

_CLOSED = "the client is closed: make a new AsyncDGrid, or keep this one open for longer"
_CUT = "the client was closed during this call"
# Timers may ring so many seconds before their time: uvloop's count in milliseconds.
_EARLY = 0.001
# asyncio asks for a quarter of a megabyte whenever it reads, and gives back what did not come. glibc has the kernel map so much
# anew each time, which costs more than the read, until the process has once given back a larger block.
_LARGER_THAN_A_READ = 512 * 1024


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


class Interruptible(Protocol):
    """A call under way, as the pool knows it.

    Attributes:
        until: When its time is up, by the loop's clock; infinity for never.
    """

    until: float

    def expire(self) -> None:
        """End it because its time is up, wherever it waits."""

    def interrupt(self, reason: DGridError) -> None:
        """End it with this error, wherever it waits."""


class _Generation:
    """One aiohttp session and the calls that hold it."""

    __slots__ = ("leases", "retired", "session", "until")

    def __init__(self, session: aiohttp.ClientSession, until: float) -> None:
        self.session = session
        self.until = until
        self.leases = 0
        self.retired = False


class _Slots:
    """A bound on what is in use at one time, first come first served."""

    __slots__ = ("_limit", "in_use", "waiters")

    def __init__(self, limit: int | None) -> None:
        self._limit = math.inf if limit is None else limit
        # The mutable state: the slots taken, and who waits for one, in order.
        self.in_use = 0
        self.waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def take_at_once(self) -> bool:
        """Take a slot if one is free; none is while somebody waits, for those are handed over."""
        if self.in_use >= self._limit:
            return False
        self.in_use += 1
        return True

    async def take(self, seconds: float | None) -> None:
        """Wait for a slot, at most this long.

        Raises:
            PoolTimeoutError: None became free.

        Cancel: none is taken.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self.waiters[waiter] = None
        timer = None if seconds is None else loop.call_later(seconds, self._expire, waiter, seconds)
        try:
            await waiter
        except asyncio.CancelledError:
            self.waiters.pop(waiter, None)
            if not waiter.cancelled() and waiter.exception() is None:
                self.give_back()  # it had been handed over in the same moment
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def give_back(self) -> None:
        """Hand a slot to who has waited longest, or free it."""
        while self.waiters:
            waiter, _ = self.waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return
        self.in_use -= 1

    def _expire(self, waiter: asyncio.Future[None], seconds: float) -> None:
        if waiter.done():
            return
        waiting = len(self.waiters)
        del self.waiters[waiter]
        waiter.set_exception(
            PoolTimeoutError(
                f"no connection became free in {seconds:g} s: {self.in_use} in use, {waiting} waiting; raise "
                "Limits.max_connections or run fewer calls at a time",
                in_use=self.in_use,
                waiting=waiting,
            )
        )


class Home:
    """What the pool keeps for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int | None) -> None:
        self.loop = loop
        self.slots = _Slots(limit)
        # The mutable state: the sessions, newest last, the calls under way, the leases out, the sessions being closed, and the
        # timer for the first call whose time is up, and when that is.
        self.generations: list[_Generation] = []
        self.calls: set[Interruptible] = set()
        self.leases: set[Lease] = set()
        self.closing: set[asyncio.Task[None]] = set()
        self.quiet = asyncio.Event()
        """Set when the last call and the last lease of a closed pool have ended."""
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    def watch(self, until: float) -> None:
        """Have an eye on the limits of the calls under way, of which this is one.

        One timer stands for all: it is set for the first, and when it rings, for the first of those that are left. As calls end
        long before their limits, that is seldom. To set and cancel one for each would cost a call a twentieth of what bare
        aiohttp takes for it.
        """
        if until < self._alarm_at:
            self.unwatch()
            self._alarm_at = until
            # A strong reference would keep the sessions of a client that has been dropped until then.
            self._alarm = self.loop.call_at(until, _ring, weakref.ref(self))

    def unwatch(self) -> None:
        """Take the timer away."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, math.inf

    def ring(self) -> None:
        """End the calls whose time is up, and set the timer for the next."""
        self.unwatch()
        now = self.loop.time() + _EARLY
        following = math.inf
        for call in tuple(self.calls):
            if call.until <= now:
                call.expire()
            elif call.until < following:
                following = call.until
        self.watch(following)


def _ring(reference: weakref.ref[Any]) -> None:
    home: Home | None = reference()
    if home is not None:
        home.ring()


class Lease:
    """The right to use one connection of a session; given back once, by `release`."""

    __slots__ = ("_home", "_pool", "cut", "generation")

    def __init__(self, pool: Pool, home: Home, generation: _Generation) -> None:
        self.generation = generation
        self._pool = pool
        self._home: Home | None = home
        self.cut: Callable[[DGridError], None] | None = None
        """What `terminate` calls, with the reason, to end the use of the connection at once."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session to send with."""
        return self.generation.session

    def distrust(self) -> None:
        """Let no later call use a connection that this session has kept: the gateway may have left them all."""
        self.generation.retired = True

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
        self.route = Route(network)
        self._own = network.session
        # The mutable state: the homes by process and loop, and how far the end has come. Only the thread of a loop makes its
        # home, so no lock is needed, and none can be held by another thread at a fork.
        self._homes: dict[tuple[int, asyncio.AbstractEventLoop], Home] = {}
        self.closed = False
        self.terminated = False

    # ------------------------------------------------------------------------------------------------- calls and leases

    def enter(self, call: Interruptible, *, resumed: bool = False) -> Home:
        """Count a call as under way, until `leave` is given what this returns.

        Args:
            call: The call.
            resumed: It had begun before; a pool that drains still lets it go on.

        Raises:
            ClientClosedError: The pool is closed.
        """
        if self.closed and (self.terminated or not resumed):
            raise ClientClosedError(_CLOSED)
        home = self._homes.get((os.getpid(), asyncio.get_running_loop())) or self._home()
        home.calls.add(call)
        return home

    def leave(self, call: Interruptible, home: Home) -> None:
        """Count the call no more; what it still reads, its lease stands for."""
        home.calls.discard(call)
        if self.closed:
            self._settle(home)

    async def acquire(self, home: Home | None = None) -> Lease:
        """Return a lease on a session of the running loop.

        Args:
            home: What `enter` returned, to whom it did.

        Raises:
            PoolTimeoutError: No slot became free in `Limits.pool_timeout` seconds.
            ClientClosedError: The pool is terminated, or the caller's own session is closed.
            ConfigError: The certificates cannot be loaded, or the caller's own session is another loop's.

        Cancel: nothing has been taken.
        """
        home = home or self._home()
        lease = self.lease(home)
        if lease is None:
            await home.slots.take(self.limits.pool_timeout)
            lease = self._lease(home)
        return lease

    def lease(self, home: Home) -> Lease | None:
        """Return what `acquire` does where that need not wait, else None; raises as it does."""
        return self._lease(home) if home.slots.take_at_once() else None

    def _lease(self, home: Home) -> Lease:
        """Return a lease for a slot that has been taken."""
        try:
            if self.terminated:
                raise ClientClosedError(_CUT)
            lease = Lease(self, home, self._generation(home))
        except BaseException:
            home.slots.give_back()
            raise
        home.leases.add(lease)
        return lease

    def stats(self) -> PoolStats:
        """Return the numbers of the running loop's part of the pool."""
        home = self._home_here()
        if home is None:
            return PoolStats(limit=self.limits.max_connections)
        return PoolStats(
            in_use=home.slots.in_use,
            waiting=len(home.slots.waiters),
            limit=self.limits.max_connections,
            sessions=len(home.generations),
        )

    def _give_back(self, lease: Lease, home: Home) -> None:
        generation = lease.generation
        home.leases.discard(lease)
        generation.leases -= 1
        if generation.retired and not generation.leases:
            self._retire(home, generation)
        home.slots.give_back()
        if self.closed:
            self._settle(home)

    # ---------------------------------------------------------------------------------------------------------- the end

    async def close(self) -> None:
        """Refuse new calls, wait until those under way in this loop have ended, then close its sessions.

        Calls in other loops finish as well; their sessions close behind them.

        Cancel: the pool stays closed to new calls; call again, or `terminate`.
        """
        self.closed = True
        self._everywhere(self._settle)
        home = self._home_here()
        while home is not None and (home.calls or home.leases):
            # A stream may go on with another attempt in the moment in which it holds nothing: hence the loop.
            home.quiet.clear()
            await home.quiet.wait()
        await self.wait_closed()

    def terminate(self) -> None:
        """Refuse new calls and cut those under way in every loop: whoever waits for one gets a `ClientClosedError`."""
        self.closed = self.terminated = True
        self._drop_dead()
        self._everywhere(self._cut)

    async def wait_closed(self) -> None:
        """Wait until the sessions that `close` and `terminate` end in this loop are closed."""
        home = self._home_here()
        if home is None:
            return
        for generation in tuple(home.generations):
            self._retire(home, generation, force=True)
        if home.closing:
            await asyncio.shield(asyncio.gather(*home.closing, return_exceptions=True))
        home.unwatch()
        self._homes.pop((os.getpid(), home.loop), None)

    def __del__(self) -> None:
        # Nobody can close the sessions of loops that have ended; what belongs to a living one, aiohttp warns of.
        with suppress(Exception):
            self._drop_dead()

    def _everywhere(self, act: Callable[[Home], None]) -> None:
        """Do this with the home of every loop of this process, each in its own thread."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        for (pid, loop), home in list(self._homes.items()):
            if loop is here:
                act(home)
            elif pid == os.getpid():
                with suppress(RuntimeError):  # the loop has been closed
                    loop.call_soon_threadsafe(act, home)

    def _settle(self, home: Home) -> None:
        """Close what a closed pool has no more use for."""
        if not home.calls and not home.leases:
            for generation in tuple(home.generations):
                self._retire(home, generation)
            home.quiet.set()

    def _cut(self, home: Home) -> None:
        for call in tuple(home.calls):
            call.interrupt(ClientClosedError(_CUT))
        for lease in tuple(home.leases):
            if lease.cut is not None:
                lease.cut(ClientClosedError(_CUT))
        for generation in tuple(home.generations):
            self._retire(home, generation, force=True)

    # --------------------------------------------------------------------------------------------- homes and generations

    def _home_here(self) -> Home | None:
        return self._homes.get((os.getpid(), asyncio.get_running_loop()))

    def _home(self) -> Home:
        home = self._home_here()
        if home is None:
            self._drop_dead()
            bytes(_LARGER_THAN_A_READ)  # and given back
            loop = asyncio.get_running_loop()
            home = self._homes[os.getpid(), loop] = Home(loop, self.limits.max_connections)
        return home

    def _drop_dead(self) -> None:
        """Forget the sessions of loops that have ended and of the process that this one was forked from."""
        for key, home in list(self._homes.items()):
            pid, loop = key
            # Of two threads that come here at a time, the one that takes the home out discards it.
            if (pid != os.getpid() or loop.is_closed()) and self._homes.pop(key, None) is not None:
                for generation in home.generations:
                    if generation.session is not self._own:
                        _discard(generation.session)

    def _generation(self, home: Home) -> _Generation:
        """Return the session for a new call, the old one retired when it is above its age."""
        generation = home.generations[-1] if home.generations else None
        if self._own is not None:
            _check_own(self._own, home.loop)
        elif generation is not None and (
            generation.retired or home.loop.time() > generation.until or generation.session.closed
        ):
            self._retire(home, generation)
            generation = None
        if generation is None:
            age = self.limits.max_age
            until = math.inf if age is None else home.loop.time() + age
            generation = _Generation(self._own or self._new_session(), until)
            home.generations.append(generation)
        generation.leases += 1
        return generation

    def _new_session(self) -> aiohttp.ClientSession:
        from dgrid_async.session import new_session

        return new_session(self.limits, self.route)

    def _retire(self, home: Home, generation: _Generation, *, force: bool = False) -> None:
        if generation.leases and not force:
            generation.retired = True
            return
        if generation in home.generations:
            home.generations.remove(generation)
        session = generation.session
        if session is self._own or session.closed:
            return
        if home.loop.is_closed():
            _discard(session)
            return
        task = home.loop.create_task(session.close())
        home.closing.add(task)
        task.add_done_callback(partial(_closed, home, session))


def _check_own(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    if session.closed:
        raise ClientClosedError("the aiohttp session that was given as session= is closed")
    if getattr(session, "_loop", loop) is not loop:
        raise ConfigError("the aiohttp session that was given as session= belongs to another event loop: leave it out there")


def _closed(home: Home, session: aiohttp.ClientSession, task: asyncio.Task[None]) -> None:
    """Take in that the closing of a session is over: a loop that ends cancels it, perhaps before it has begun."""
    home.closing.discard(task)
    if not session.closed:
        for protocol in _protocols(session):
            if getattr(protocol, "transport", None) is not None:
                protocol.transport.abort()
        _forget(session)


def _discard(session: aiohttp.ClientSession) -> None:
    """Close the sockets of a session whose loop is gone, and nothing else.

    The transports cannot be closed as usual: their loop is closed, or is the parent's, whose selector a forked child shares.
    """
    for protocol in _protocols(session):
        transport: Any = getattr(protocol, "transport", None)
        if transport is None:
            continue
        protocol.transport = None
        inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        if inner is not None:
            transport._closed = True  # noqa: SLF001 -- a TLS transport that did not say goodbye would warn
        for each in (transport, inner):
            sock = getattr(each, "_sock", None)
            if sock is not None:
                sock.close()
                setattr(each, "_sock", None)  # noqa: B010 -- an attribute of another library's insides
    _forget(session)


def _protocols(session: aiohttp.ClientSession) -> list[Any]:
    """Return the ends of a session's connections, kept ones and those in use; aiohttp has no public way to them."""
    connector: Any = session.connector
    if connector is None:
        return []
    kept = [entry[0] for entries in connector._conns.values() for entry in entries]  # noqa: SLF001 -- as above
    return [*kept, *connector._acquired]  # noqa: SLF001


def _forget(session: aiohttp.ClientSession) -> None:
    """Let neither the session nor its connector take itself for open."""
    connector: Any = session.connector
    session.detach()
    if connector is not None:
        connector._conns.clear()  # noqa: SLF001 -- no public way
        connector._acquired.clear()  # noqa: SLF001
        connector._closed = True  # noqa: SLF001
