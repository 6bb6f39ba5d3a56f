"""Broadcasts across processes: one process reads the stream and writes its frames to Redis, any other has readers of them.

Rules
1. An entry of the Redis stream is one frame under its own id, so writing it twice does nothing, and a reader may go from one
   process to another and on behind the last id that it had.
2. Each entry names the one before it: what is missing is noticed, never jumped over.
3. A producer that lives says so; one that does not for the length of the lease is dead, and its readers are told.
4. Readers say that they are there; without any, in whichever process, the grace time of the broadcast runs.
5. In one process all readers of one answer share one connection and one history.
6. Every wait for Redis ends within the lease, and no key outlives its time.

It needs the extra `redis`, and Redis 6.2 or later. Connections are the caller's `redis.asyncio.Redis`; it is never closed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from dgrid_async.codec import decode, encode
from dgrid_async.errors import ClientClosedError, ConfigError, DGridError
from dgrid_async.relay.blocks import Frame
from dgrid_async.relay.broadcasting import Broadcast, BroadcastReport, frame_id
from dgrid_async.relay.channel import Channel, Subscription
from dgrid_async.relay.history import History
from dgrid_async.stream import EventStream

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["ProducerLostError", "Publication", "RedisBroadcasts", "RedisUnavailableError"]

T = TypeVar("T")

# The producer's and the readers' signs of life come this many times within a lease: two may be lost.
_BEATS = 3
# Frames that one round trip carries at most, either way.
_BATCH = 256


class ProducerLostError(DGridError):
    """The process that reads the stream has died, or nothing has been published under the key."""


class RedisUnavailableError(DGridError):
    """Redis did not do what it was asked to within the lease; its own error is the cause."""


class RedisBroadcasts:
    """Broadcasts by key, for all processes that use the same Redis with the same options; one object for each process.

    Use it under `async with`, or close it.

    Args:
        redis: A client whose connections this object may use: one for each answer that is published or followed.
        prefix: What the names of all keys in Redis begin with.
        lease: Seconds after which a producer that says nothing counts as dead; its readers know within 4/3 of it.
        ttl: Seconds for which a whole answer can still be read; also that of a dead producer.
        max_buffer: As of `broadcast`, for the readers in this process.
        max_history: As of `broadcast`; in Redis too.

    Raises:
        ConfigError: `lease` or `ttl` is not above 0.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str = "dgrid:",
        lease: float = 3.0,
        ttl: float = 300.0,
        max_buffer: int | None = None,
        max_history: int | None = 16 * 1024 * 1024,
    ) -> None:
        for name, value in (("lease", lease), ("ttl", ttl)):
            if not value > 0:
                raise ConfigError(f"{name} is {value!r}: give seconds above 0")
        self._store = _Store(redis, prefix, lease, ttl)
        self._max_buffer = max_buffer
        self._max_history = max_history
        # The mutable state: who reads here, by key; and what is published from here.
        self._followers: dict[str, _Follower] = {}
        self._publications: set[Publication] = set()

    async def __aenter__(self) -> Self:
        """Return the object itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def publish(
        self,
        stream: EventStream[Any, Any],
        key: str,
        *,
        interval: float = 0.03,
        grace: float | None = 30.0,
        raw: bool = False,
    ) -> Publication:
        """Read a stream in a task of its own, for readers of this and of all other processes.

        Args:
            stream: As of `broadcast`.
            key: The answer's name, one for each answer. Whoever knows it may read the answer, unless the program asks first.
            interval: As of `broadcast`.
            grace: As of `broadcast`; listeners of other processes count, and are missed within a lease.
            raw: As of `broadcast`.

        Raises:
            ConfigError: Something has been published under this key, and is still there.
            RedisUnavailableError: Redis does not answer.

        Cancel: the stream has not been opened.
        """
        await self._store.claim(key, token := uuid.uuid4().hex)
        publication = Publication(
            stream,
            self._store,
            key,
            token,
            interval=interval,
            grace=grace,
            max_buffer=self._max_buffer,
            max_history=self._max_history,
            raw=raw,
            done=self._publications.discard,
        )
        self._publications.add(publication)
        return publication

    def subscribe(self, key: str, last_id: int | str | None = None) -> Subscription:
        """Return the frames published under a key, by whichever process, as `Broadcast.subscribe` does.

        A key under which nothing has been published yet is waited for, as long as the lease is.

        Args:
            key: As it was published.
            last_id: As of `Broadcast.subscribe`.

        Raises:
            ConfigError: `last_id` is no id of a frame.

        Raises from iterating:
            ProducerLostError: The process that read the stream has died, or there is nothing under this key.
            RedisUnavailableError: Redis does not answer. A new subscription behind the same `last_id` goes on.
        """
        number = frame_id(last_id)
        loop = asyncio.get_running_loop()
        follower = self._followers.get(key)
        if follower is None or follower.over or follower.channel.loop is not loop:
            follower = _Follower(self._store, key, History(self._max_history), self._max_buffer)
            self._followers[key] = follower
            follower.task.add_done_callback(lambda _: self._forget(key, follower))
        return Subscription(follower.channel, number)

    def _forget(self, key: str, follower: _Follower) -> None:
        if self._followers.get(key) is follower:
            del self._followers[key]

    async def close(self) -> None:
        """Stop what is published and followed from here, and wait until Redis knows of it.

        Cancel: all is stopped, but Redis may not know.
        """
        following = [follower.task for follower in self._followers.values()]
        for task in following:
            task.cancel()
        await asyncio.gather(*(publication.close() for publication in tuple(self._publications)))
        if following:
            await asyncio.wait(following)


class Publication(Broadcast):
    """A broadcast that readers in other processes get too; `RedisBroadcasts.publish` makes one.

    Where Redis fails it goes on for the readers of this process, and for the grace time where there are none.
    """

    def __init__(
        self,
        stream: EventStream[Any, Any],
        store: _Store,
        key: str,
        token: str,
        *,
        done: Callable[[Publication], object],
        **options: Any,
    ) -> None:
        super().__init__(stream, **options)
        self._store = store
        self._key = key
        self._token = token
        # The mutable state: when to look for readers in all processes again, whether there was one at the last look, whether
        # the grace time is over if there is none at the next, and why Redis is not written to.
        self._next_look = 0.0
        self._heard = False
        self._abandoned = False
        self._redis_error: DGridError | None = None
        self._mirror_task = self._channel.loop.create_task(self._mirror(), name="dgrid broadcast to Redis")
        self._mirror_task.add_done_callback(lambda _: done(self))

    @property
    def redis_error(self) -> DGridError | None:
        """Why other processes do not get the rest of the answer; None where they do."""
        return self._redis_error

    async def wait(self) -> BroadcastReport:
        """Wait until it has ended, in Redis too, and return how.

        Cancel: the broadcast goes on.
        """
        report = await super().wait()
        await asyncio.wait({self._mirror_task})
        return report

    async def close(self) -> None:
        """End it as `abort` does, and wait until the connection is closed and Redis has the end.

        Cancel: it ends all the same.
        """
        await super().close()
        await asyncio.wait({self._mirror_task})

    async def _mirror(self) -> None:
        """Write to Redis what is added to the history, until the end."""
        try:
            await self._copy()
        except DGridError as error:
            self._redis_error = error
        finally:
            self._hear(present=False)
        await asyncio.wait({self._task})

    async def _copy(self) -> None:
        channel, store = self._channel, self._store
        history, loop = channel.history, channel.loop
        position = previous = 0
        while True:
            ended = channel.ended
            frames = history.since(position, _BATCH)
            if frames:
                previous = await store.append(self._key, frames, max(previous, history.lost_id), history.lost_id)
                position = history.after(previous)
            if loop.time() >= self._next_look:
                self._next_look = loop.time() + store.beat
                self._hear(present=await store.beat_producer(self._key, self._token))
            if position < history.end:
                continue
            if ended:
                break
            await channel.news(self._next_look - loop.time())
        await store.finish(self._key, previous)

    def _hear(self, *, present: bool) -> None:
        if present != self._heard:
            self._heard = present
            if present:
                self._channel.join()
            else:
                self._channel.leave()
        if self._abandoned:
            self._abandoned = False
            if not self._channel.listeners:
                super()._abandon()

    def _abandon(self) -> None:
        if self._redis_error is not None:
            super()._abandon()
            return
        # Somebody may have come elsewhere since the last look.
        self._abandoned = True
        self._next_look = 0.0
        self._channel.wake()


class _Follower:
    """The frames of one key for all readers of this process."""

    def __init__(self, store: _Store, key: str, history: History, max_buffer: int | None) -> None:
        # One who loads a page anew is back within the lease, and finds the history here.
        self.channel = Channel(history, grace=store.lease, abandon=self._cancel, max_buffer=max_buffer)
        self._store = store
        self._key = key
        self.task = self.channel.loop.create_task(self._follow(), name="dgrid broadcast from Redis")

    @property
    def over(self) -> bool:
        """Whether it gives no more to those who come now."""
        return self.channel.ended or self.task.cancelling() > 0

    def _cancel(self) -> None:
        self.task.cancel()

    async def _follow(self) -> None:
        try:
            await self._read()
        except DGridError as error:
            self.channel.end(error)
        except BaseException as error:
            told = ClientClosedError("reading from Redis was stopped")
            told.__cause__ = error
            self.channel.end(told)
            raise
        else:
            self.channel.end()

    async def _read(self) -> None:
        """Read what there is and what comes, up to the end of the answer."""
        channel, store, key = self.channel, self._store, self._key
        began = channel.loop.time()
        next_beat = 0.0
        while True:
            if channel.listeners and channel.loop.time() >= next_beat:
                next_beat = channel.loop.time() + store.beat
                await store.beat_reader(key)
            entries = await store.read(key, channel.history.last_id, wait=True)
            if not entries and not await store.lives(key):
                # What it wrote between the two questions is looked for once more.
                entries = await store.read(key, channel.history.last_id, wait=False)
                if not entries:
                    if channel.history.last_id:
                        raise ProducerLostError(f"the process that published {key!r} has died")
                    if channel.loop.time() - began >= store.lease:
                        raise ProducerLostError(f"nothing is published under {key!r}")
            if self._take(entries):
                return

    def _take(self, entries: list[tuple[Frame | None, int]]) -> bool:
        """Add frames, each with the id of the one before it; return whether the end is among them."""
        history = self.channel.history
        frames: list[Frame] = []
        for frame, previous in entries:
            if previous > (frames[-1]["id"] if frames else history.last_id):
                self.channel.add(frames)
                frames = []
                history.lose(previous)
            if frame is None:
                self.channel.add(frames)
                return True
            frames.append(frame)
        if frames:
            self.channel.add(frames)
        return False


class _Store:
    """What is asked of Redis; each call raises RedisUnavailableError where it does not answer within the lease."""

    def __init__(self, redis: Redis, prefix: str, lease: float, ttl: float) -> None:
        self._redis: Any = redis
        self._prefix = prefix
        self.lease = lease
        self.beat = lease / _BEATS
        self._lease_ms = max(1, round(lease * 1000))
        self._ttl_ms = max(1, round(ttl * 1000))
        # A client gives up on an answer after its own time, and must not while it waits for a frame that has not been said.
        patience = redis.connection_pool.connection_kwargs.get("socket_timeout")
        self._block_ms = max(1, round(min(self.beat, (patience or 2 * self.beat) / 2) * 1000))

    def _frames(self, key: str) -> str:
        return f"{self._prefix}frames:{key}"

    def _alive(self, key: str) -> str:
        return f"{self._prefix}alive:{key}"

    def _readers(self, key: str) -> str:
        return f"{self._prefix}readers:{key}"

    async def claim(self, key: str, token: str) -> None:
        """Begin to be a key's producer."""
        name = self._alive(key)
        taken = not await self._ask(self._redis.set(name, token, nx=True, px=self._lease_ms))
        # The client may have asked twice, where the first answer was lost.
        if taken and _text(await self._ask(self._redis.get(name))) != token:
            raise ConfigError(f"{key!r} is being published: give each answer a key of its own")
        if await self._ask(self._redis.exists(self._frames(key))):
            with contextlib.suppress(RedisUnavailableError):  # it ends by itself
                await self._ask(self._redis.delete(name))
            raise ConfigError(f"{key!r} has been published: give each answer a key of its own")

    async def append(self, key: str, frames: list[Frame], previous: int, lost: int) -> int:
        """Write frames, the one before them being `previous`, let go of those up to `lost`, and return the last one's id."""
        from redis.exceptions import ResponseError

        name = self._frames(key)
        pipe = self._redis.pipeline(transaction=False)
        for frame in frames:
            number: int = frame["id"]
            # Those that are to go are named, so that Redis keeps what the history here keeps.
            bound = {"minid": f"{lost + 1}-0", "approximate": False} if lost else {}
            pipe.xadd(name, {"frame": encode(frame), "after": previous}, id=f"{number}-0", **bound)
            previous = number
        pipe.pexpire(name, self._lease_ms + self._ttl_ms)
        for result in await self._ask(pipe.execute(raise_on_error=False)):
            if isinstance(result, ResponseError) and "equal or smaller" in str(result):
                continue  # written before the client asked a second time
            if isinstance(result, Exception):
                raise _unavailable(result)
        return previous

    async def beat_producer(self, key: str, token: str) -> bool:
        """Say that the producer lives, and return whether anybody listens."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._alive(key), token, px=self._lease_ms)
        pipe.pexpire(self._frames(key), self._lease_ms + self._ttl_ms)
        pipe.exists(self._readers(key))
        return bool((await self._ask(pipe.execute()))[-1])

    async def finish(self, key: str, last: int) -> None:
        """Write that there is nothing behind the last frame."""
        from redis.exceptions import ResponseError

        name = self._frames(key)
        pipe = self._redis.pipeline(transaction=False)
        pipe.xadd(name, {"end": 1, "after": last}, id=f"{last}-1")
        pipe.pexpire(name, self._ttl_ms)
        pipe.delete(self._alive(key))
        for result in await self._ask(pipe.execute(raise_on_error=False)):
            if isinstance(result, Exception) and not (isinstance(result, ResponseError) and "equal or smaller" in str(result)):
                raise _unavailable(result)

    async def beat_reader(self, key: str) -> None:
        """Say that somebody listens."""
        await self._ask(self._redis.set(self._readers(key), 1, px=self._lease_ms))

    async def lives(self, key: str) -> bool:
        """Return whether the producer lives."""
        return bool(await self._ask(self._redis.exists(self._alive(key))))

    async def read(self, key: str, last: int, *, wait: bool) -> list[tuple[Frame | None, int]]:
        """Return what is behind a frame, each with the id of the one before it; None is the end."""
        block = {"block": self._block_ms} if wait else {}
        found = await self._ask(self._redis.xread({self._frames(key): f"{last}-0"}, count=_BATCH, **block))
        try:
            return [_entry(fields) for _, fields in _entries(found)]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"what Redis has under {self._frames(key)!r} are no frames: use a prefix of your own") from error

    async def _ask(self, request: Awaitable[T]) -> T:
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(self.lease):
                return await request
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            raise _unavailable(error) from error


def _entries(found: Any) -> Any:
    """Return the entries of the one stream that was asked for, whichever form the client's options give the answer."""
    if not found:
        return ()
    entries = next(iter(found.values())) if isinstance(found, Mapping) else found[0][1]
    return entries[0] if isinstance(entries[0], list) else entries


def _entry(fields: Mapping[Any, Any]) -> tuple[Frame | None, int]:
    known = {_text(name): value for name, value in fields.items()}
    previous = int(known["after"])
    if "end" in known:
        return None, previous
    data = known["frame"]
    frame: Frame = decode(data.encode() if isinstance(data, str) else data)
    if not isinstance(frame["id"], int) or not isinstance(frame["type"], str):
        raise TypeError("no frame")
    return frame, previous


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _unavailable(error: Exception) -> RedisUnavailableError:
    told = RedisUnavailableError(f"Redis failed: {type(error).__name__}: {error}")
    told.__cause__ = error
    return told
