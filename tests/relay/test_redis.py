"""Broadcasts over a real Redis: other processes, ids that go from one to another, and what dies on the way."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dgrid_async import AsyncDGrid, ClientClosedError, ConfigError
from dgrid_async.emulator import Emulator, Script
from dgrid_async.relay.channel import SubscriberTooSlowError, Subscription
from dgrid_async.relay.redis import ProducerLostError, RedisBroadcasts, RedisUnavailableError, _Store
from tests.relay.speaker import speaking
from tests.relay.visitors import restless, text_of

redis_asyncio = pytest.importorskip("redis.asyncio", reason="needs redis-py: install the extra `redis`")
PROGRAM = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs the program redis-server")

ROOT = Path(__file__).parents[2]
WORDS = tuple(f"w{n} " for n in range(150))
TEXT = "".join(WORDS)
# A producer in a process of its own: an upstream that says a word each 20 ms, without end or up to one.
PRODUCER = """
import asyncio, sys
from redis.asyncio import Redis
from dgrid_async import AsyncDGrid
from dgrid_async.emulator import Emulator, Script
from dgrid_async.relay.redis import RedisBroadcasts


async def main(port, key, lease, count):
    words = tuple(f"w{n} " for n in range(count))
    async with Emulator(Script(text=words, pace=0.02)) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        async with Redis(port=port) as redis, RedisBroadcasts(redis, lease=lease) as broadcasts:
            stream = client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Hi"}])
            publication = await broadcasts.publish(stream, key)
            await publication.wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
"""


class Server:
    """A Redis without a disk."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "daemonize": "no"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self.process = subprocess.Popen([str(PROGRAM), *arguments], stdout=subprocess.DEVNULL)

    def wait(self) -> None:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@asynccontextmanager
async def broadcasts_of(
    server: Server, *, client: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[RedisBroadcasts]:
    """Yield what one process would have: a client and the broadcasts over it."""
    redis = redis_asyncio.Redis(port=server.port, **(client or {}))
    async with redis, RedisBroadcasts(redis, **options) as broadcasts:
        yield broadcasts


@asynccontextmanager
async def answering(words: tuple[str, ...] = WORDS, pace: float = 0.001) -> AsyncIterator[Any]:
    """Yield a stream of the emulator, not opened."""
    async with Emulator(Script(text=words, pace=pace)) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        yield client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Hi"}])


@contextmanager
def producing(server: Server, key: str, lease: float, count: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(server.port), key, str(lease), str(count)], cwd=ROOT, env=dict(os.environ)
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def key_of_its_own() -> str:
    return f"answer {uuid4()}"


# -------------------------------------------------------------------------------------------------------------- readers


@pytest.mark.parametrize(
    "client",
    [
        {},
        {"decode_responses": True},
        pytest.param({"protocol": 2}, marks=pytest.mark.slow),
        pytest.param({"protocol": 2, "decode_responses": True}, marks=pytest.mark.slow),
        pytest.param({"socket_timeout": None}, marks=pytest.mark.slow),
        pytest.param({"socket_timeout": 0.2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
async def test_readers_elsewhere_get_the_whole_answer_whenever_they_join(server: Server, client: dict[str, Any]) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here, broadcasts_of(server, client=client) as there, answering() as stream:
        early = asyncio.create_task(text_of(there.subscribe(key)))  # before there is anything
        publication = await here.publish(stream, key, interval=0.005)
        late = []
        for _ in range(10):
            late.append(asyncio.create_task(text_of(there.subscribe(key))))
            await asyncio.sleep(0.02)
        report = await publication.wait()
        assert (report.outcome, publication.redis_error) == ("completed", None)
        assert await early == TEXT
        assert await asyncio.gather(*late) == [TEXT] * 10
        last = publication.last_id
        assert await text_of(there.subscribe(key)) == TEXT
        assert [frame async for frame in there.subscribe(key, last)] == []
        assert [frame["type"] async for frame in there.subscribe(key, str(last - 1))] == ["finish"]
        assert await text_of(publication.subscribe()) == TEXT


async def test_an_id_of_one_process_goes_on_in_any_other(server: Server) -> None:
    key, dice = key_of_its_own(), random.Random(3)
    async with broadcasts_of(server) as here, broadcasts_of(server) as there, answering(pace=0.003) as stream:
        publication = await here.publish(stream, key, interval=0.004)
        places = (publication.subscribe, lambda last: here.subscribe(key, last), lambda last: there.subscribe(key, last))

        def anywhere(last: Any) -> Subscription:
            return dice.choice(places)(last)

        visits = (restless(anywhere, dice) for _ in range(12))
        found = await asyncio.wait_for(asyncio.gather(*visits), 15)
        assert [text for text, _ in found] == [TEXT] * 12
        assert max(visits for _, visits in found) > 5


async def test_many_readers_of_one_answer_share_a_connection(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here, broadcasts_of(server) as there, answering() as stream:
        publication = await here.publish(stream, key)
        readers = [asyncio.create_task(text_of(there.subscribe(key))) for _ in range(200)]
        await asyncio.sleep(0.05)
        assert len(there._followers) == 1
        pool = there._store._redis.connection_pool
        assert set(await asyncio.gather(*readers)) == {TEXT}
        assert len(pool._in_use_connections) + len(pool._available_connections) == 1
        await publication.wait()
        assert there._followers == {}


async def test_an_error_of_the_answer_is_the_last_frame_everywhere(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here, broadcasts_of(server) as there, speaking() as upstream:
        publication = await here.publish(upstream.stream(), key)
        upstream.say("one")
        upstream.send(None)
        frames = [frame async for frame in there.subscribe(key)]
        assert [frame["type"] for frame in frames] == ["start", "text", "error"]
        assert frames[-1]["error"] == "StreamTruncatedError"
        assert (await publication.wait()).outcome == "upstream_error"


async def test_stopping_is_seen_everywhere(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here, broadcasts_of(server) as there, speaking() as upstream:
        publication = await here.publish(upstream.stream(), key, interval=0)
        upstream.say("one")
        subscription = there.subscribe(key)
        assert [(await anext(subscription))["type"] for _ in range(2)] == ["start", "text"]
        publication.abort()
        assert (await anext(subscription))["reason"] == "stopped"
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)
        await asyncio.wait_for(upstream.left.wait(), 5)


# ------------------------------------------------------------------------------------------------------------- lifetime


@pytest.mark.slow
async def test_a_reader_anywhere_keeps_the_stream_alive_and_none_ends_it(server: Server) -> None:
    key = key_of_its_own()
    options = {"lease": 0.9}
    async with broadcasts_of(server, **options) as here, broadcasts_of(server, **options) as there, speaking() as upstream:
        publication = await here.publish(upstream.stream(), key, interval=0, grace=0.5)
        subscription = there.subscribe(key)
        upstream.say("one")
        assert [(await anext(subscription))["type"] for _ in range(2)] == ["start", "text"]
        reading = asyncio.create_task(anext(subscription))
        await asyncio.sleep(3)
        assert publication.report is None
        assert publication.listeners == 1
        reading.cancel()
        await asyncio.wait({reading})
        await subscription.close()
        await asyncio.wait_for(upstream.left.wait(), 10)
        assert (await publication.wait()).outcome == "abandoned"


async def test_a_reader_that_comes_elsewhere_within_the_grace_time_counts(server: Server) -> None:
    """However rarely the producer looks for readers."""
    key = key_of_its_own()
    async with broadcasts_of(server, lease=9) as here, broadcasts_of(server, lease=9) as there, speaking() as upstream:
        publication = await here.publish(upstream.stream(), key, interval=0, grace=0.4)
        await asyncio.wait_for(upstream.asked.wait(), 5)
        async with there.subscribe(key) as subscription:
            await asyncio.sleep(1)
            assert publication.report is None
            upstream.say("one")
            assert (await anext(subscription))["type"] == "start"
            assert publication.listeners == 1


async def test_a_key_has_one_answer(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here, broadcasts_of(server) as there, speaking() as upstream:
        publication = await here.publish(upstream.stream(), key)
        for place in (here, there):
            with pytest.raises(ConfigError, match="is being published"):
                await place.publish(upstream.stream(), key)
        upstream.say("one")
        upstream.end()
        assert (await publication.wait()).outcome == "completed"
        with pytest.raises(ConfigError, match="has been published"):
            await there.publish(upstream.stream(), key)
        assert len(upstream.server.requests) == 1
        assert await text_of(there.subscribe(key)) == "one"


async def test_no_key_stays(server: Server) -> None:
    prefix = f"test {uuid4()}:"
    async with broadcasts_of(server, prefix=prefix, lease=2, ttl=5) as here, speaking() as upstream:
        redis = here._store._redis
        publication = await here.publish(upstream.stream(), "a", interval=0)
        upstream.say("one")
        subscription = here.subscribe("a")
        await anext(subscription)
        names = [name async for name in redis.scan_iter(f"{prefix}*")]
        assert {name.decode().removeprefix(prefix) for name in names} == {"frames:a", "alive:a", "readers:a"}
        left = [await redis.pttl(name) for name in names]
        assert all(0 < each <= 7000 for each in left)
        upstream.end()
        await publication.wait()
        assert not await redis.exists(f"{prefix}alive:a")
        assert 0 < await redis.pttl(f"{prefix}frames:a") <= 5000


async def test_what_is_kept_in_redis_is_what_the_history_keeps(server: Server) -> None:
    key = key_of_its_own()
    options = {"max_history": 20_000}
    async with broadcasts_of(server, **options) as here, broadcasts_of(server, **options) as there, answering() as stream:
        publication = await here.publish(stream, key, interval=0)
        await publication.wait()
        entries = await here._store._redis.xlen(here._store._frames(key))
        assert 20 < entries < 60
        with pytest.raises(SubscriberTooSlowError):
            await text_of(there.subscribe(key))
        behind = await text_of(there.subscribe(key, publication.last_id - 10))
        assert TEXT.endswith(behind)
        assert len(behind) > 20


async def test_a_stretch_that_is_missing_is_noticed(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here:
        store = here._store
        await store.claim(key, "me")
        frames = [{"id": n, "type": "text", "choice": 0, "block": 0, "text": f"w{n} "} for n in (1, 2, 5, 6)]
        await store.append(key, frames[:2], 0, 0)
        await store.append(key, frames[2:], 4, 0)
        await store.finish(key, 6)
        subscription, ahead = here.subscribe(key), here.subscribe(key, 5)
        with pytest.raises(SubscriberTooSlowError):
            await text_of(subscription)
        assert await text_of(ahead) == "w6 "


async def test_writing_twice_is_writing_once(server: Server) -> None:
    """A client whose answer was lost asks again."""
    key = key_of_its_own()
    async with broadcasts_of(server) as here:
        store = here._store
        await store.claim(key, "me")
        await store.claim(key, "me")
        frames = [{"id": n, "type": "text", "choice": 0, "block": 0, "text": f"w{n} "} for n in (1, 2)]
        for _ in range(2):
            assert await store.append(key, frames, 0, 0) == 2
        for _ in range(2):
            await store.finish(key, 2)
        assert await store._redis.xlen(store._frames(key)) == 3
        assert await text_of(here.subscribe(key)) == "w1 w2 "


async def test_closing_ends_all_and_leaves_nothing(server: Server) -> None:
    key = key_of_its_own()
    async with speaking() as upstream, broadcasts_of(server) as other:
        before = asyncio.all_tasks()
        async with broadcasts_of(server) as here:
            await here.publish(upstream.stream(), key, interval=0)
            mine = asyncio.create_task(text_of(here.subscribe(key)))
            theirs = asyncio.create_task(text_of(other.subscribe(key)))
            await asyncio.wait_for(upstream.asked.wait(), 5)
            await asyncio.sleep(0.1)
        with pytest.raises(ClientClosedError):
            await mine
        assert await theirs == ""
        await asyncio.wait_for(upstream.left.wait(), 5)
        await asyncio.sleep(0)
        assert {task for task in asyncio.all_tasks() - before if "dgrid" in task.get_name()} == set()


async def test_readers_that_left_let_go_of_the_connection(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here, broadcasts_of(server, lease=0.6) as there, speaking() as upstream:
        await here.publish(upstream.stream(), key, interval=0)
        upstream.say("one")
        async with there.subscribe(key) as subscription:
            await anext(subscription)
            task = there._followers[key].task
        await asyncio.wait({task}, timeout=10)
        assert task.cancelled()
        assert there._followers == {}
        await asyncio.sleep(0.1)  # what it said while it was listened to is over as well
        assert not await there._store._redis.exists(there._store._readers(key))
        again = there.subscribe(key)
        assert (await anext(again))["type"] == "start"


# --------------------------------------------------------------------------------------------------------------- deaths


@pytest.mark.slow
async def test_two_processes(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server, lease=6) as here:
        with producing(server, key, 6, 60) as process:
            early = await text_of(here.subscribe(key))
            assert early == await text_of(here.subscribe(key)) == "".join(WORDS[:60])
            while process.poll() is None:
                await asyncio.sleep(0.02)
            assert process.returncode == 0
        assert await text_of(here.subscribe(key)) == early


@pytest.mark.slow
async def test_a_killed_producer_ends_its_readers(server: Server) -> None:
    key, lease = key_of_its_own(), 0.6
    async with broadcasts_of(server, lease=lease) as here:
        with producing(server, key, lease, 100_000) as process:
            for _ in range(20):  # until the process has begun
                subscription = here.subscribe(key)
                try:
                    async for frame in subscription:
                        if frame["id"] > 20:
                            break
                    break
                except ProducerLostError:
                    continue
            process.kill()
            died = asyncio.get_running_loop().time()
            with pytest.raises(ProducerLostError, match="has died"):
                await text_of(subscription)
            # The stated bound, with room for a machine that is busy.
            assert asyncio.get_running_loop().time() - died < lease * 4 / 3 + 4
        last = subscription.last_id
        assert last > 20
        # What it said is still there, up to its end.
        with pytest.raises(ProducerLostError):
            await text_of(here.subscribe(key, last))
        with pytest.raises(ProducerLostError):
            await text_of(here.subscribe(key))


async def test_last_words_between_two_questions_are_heard(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server, lease=0.6) as here:
        store = here._store
        await store.claim(key, "me")
        frames = [{"id": n, "type": "text", "choice": 0, "block": 0, "text": f"w{n} "} for n in (1, 2)]
        await store.append(key, frames[:1], 0, 0)

        async def lives(key: str) -> bool:
            await store.append(key, frames[1:], 1, 0)
            await store.finish(key, 2)
            return False

        monkeypatch.setattr(_Store, "lives", lambda _, key: lives(key))
        assert await text_of(here.subscribe(key)) == "w1 w2 "


async def test_nothing_under_a_key_is_an_error_after_a_while(server: Server) -> None:
    async with broadcasts_of(server, lease=0.5) as here:
        with pytest.raises(ProducerLostError, match="nothing is published"):
            await anext(here.subscribe(key_of_its_own()))


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.slow)])
async def test_a_redis_that_goes_away_ends_its_readers_and_not_the_answer(how: str) -> None:
    key, lease = key_of_its_own(), 1.0
    with serving() as own:
        async with broadcasts_of(own, lease=lease) as here, broadcasts_of(own, lease=lease) as there, speaking() as upstream:
            publication = await here.publish(upstream.stream(), key, interval=0)
            near, far = publication.subscribe(), there.subscribe(key)
            upstream.say("one ")
            for subscription in (near, far):
                assert [(await anext(subscription))["type"] for _ in range(2)] == ["start", "text"]
            if how == "kill":
                own.kill()
            else:
                own.process.send_signal(signal.SIGSTOP)
            began = asyncio.get_running_loop().time()
            with pytest.raises(RedisUnavailableError) as told:
                await text_of(far)
            assert asyncio.get_running_loop().time() - began < lease * 4 / 3 + 4
            assert told.value.__cause__ is not None
            upstream.say("two")
            upstream.end()
            assert await text_of(near) == "two"
            report = await asyncio.wait_for(publication.wait(), 15)
            assert report.outcome == "completed"
            assert isinstance(publication.redis_error, RedisUnavailableError)
            with pytest.raises(RedisUnavailableError):
                await here.publish(upstream.stream(), key_of_its_own())


@pytest.mark.slow
async def test_without_redis_and_readers_of_its_own_the_answer_is_abandoned() -> None:
    key = key_of_its_own()
    with serving() as own:
        async with broadcasts_of(own, lease=0.6) as here, broadcasts_of(own, lease=0.6) as there, speaking() as upstream:
            publication = await here.publish(upstream.stream(), key, interval=0, grace=0.3)
            far = there.subscribe(key)
            upstream.say("one")
            await anext(far)
            while not publication.listeners:  # it has heard of the reader elsewhere
                await asyncio.sleep(0.02)
            own.kill()
            await asyncio.wait_for(upstream.left.wait(), 10)
            assert (await publication.wait()).outcome == "abandoned"


async def test_what_somebody_else_keeps_under_the_key_is_an_error(server: Server) -> None:
    key = key_of_its_own()
    async with broadcasts_of(server) as here:
        redis, name = here._store._redis, here._store._frames(key)
        await redis.xadd(name, {"something": "else"})
        with pytest.raises(ConfigError, match="prefix"):
            await anext(here.subscribe(key))
        await redis.delete(name)
        await redis.set(name, "a string", ex=60)
        with pytest.raises(RedisUnavailableError, match="WRONGTYPE"):
            await anext(here.subscribe(key))


async def test_options_and_ids_are_looked_at(server: Server) -> None:
    redis = redis_asyncio.Redis(port=server.port)
    for wrong in ({"lease": 0}, {"ttl": -1}):
        with pytest.raises(ConfigError):
            RedisBroadcasts(redis, **wrong)
    async with redis, RedisBroadcasts(redis) as here:
        with pytest.raises(ConfigError, match="id of a frame"):
            here.subscribe("a", "x")
        assert here._followers == {}


def test_a_wait_for_frames_is_shorter_than_the_clients_patience() -> None:
    for patience, most in ((None, 1000), (5, 1000), (0.5, 250)):
        store = _Store(redis_asyncio.Redis(socket_timeout=patience), "", 3.0, 300.0)
        assert store._block_ms == most
