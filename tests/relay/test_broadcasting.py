"""Broadcasts over a real connection: who gets what, when the stream lives, and how it ends."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from aiohttp import ClientSession, web

from dgrid_async import AsyncDGrid, AuthenticationError, ClientClosedError, ConfigError, DGridError, StreamTruncatedError
from dgrid_async.emulator import Emulator, ErrorEvent, Script
from dgrid_async.relay import ClientGoneError, relay, sse_response
from dgrid_async.relay.broadcasting import Broadcast, broadcast, frame_id
from dgrid_async.relay.channel import SubscriberTooSlowError
from tests.loopback import Exchange, client_of, loopback, open_stream
from tests.relay.speaker import speaking
from tests.relay.visitors import restless, text_of

MESSAGES = [{"role": "user", "content": "Hi"}]
CALLS: dict[str, Any] = {
    "messages": lambda c: c.messages.stream(model="m", max_tokens=64, messages=MESSAGES),
    "chat_completions": lambda c: c.chat.completions.stream(model="m", messages=MESSAGES),
    "responses": lambda c: c.responses.stream(model="m", input="Hi"),
    "generate_content": lambda c: c.models.stream_generate_content(model="m", contents="Hi"),
}
WORDS = tuple(f"w{n} " for n in range(200))
TEXT = "".join(WORDS)


async def said(live: Broadcast, words: str) -> None:
    """Wait until the text has come that far."""
    async with live.subscribe() as subscription:
        text = ""
        async for frame in subscription:
            text += frame.get("text", "")
            if text == words:
                return
    raise AssertionError(text)


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("name", CALLS)
async def test_all_get_the_whole_answer_whenever_they_join(name: str) -> None:
    async with Emulator(Script(text=WORDS, pace=0.0005)) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        live = broadcast(CALLS[name](client), interval=0.005)
        readers = []
        for _ in range(20):
            readers.append(asyncio.create_task(text_of(live.subscribe())))
            await asyncio.sleep(0.005)
        report = await live.wait()
        readers.append(asyncio.create_task(text_of(live.subscribe())))
        assert await asyncio.gather(*readers) == [TEXT] * 21
    assert report is live.report
    assert (report.outcome, report.error, report.reply.text) == ("completed", None, TEXT)
    assert report.usage == live.usage
    assert report.events >= 200
    assert 3 < report.frames <= report.events + 3
    assert live.reply.text == TEXT
    assert len(emulator.log) == 1


@pytest.mark.usefixtures("leaping_clock")
async def test_coming_back_with_the_last_id_goes_on_without_gap_or_repeat() -> None:
    dice = random.Random(4)
    async with Emulator(Script(text=WORDS, pace=0.001)) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        live = broadcast(CALLS["chat_completions"](client), interval=0.003)
        found = await asyncio.gather(*(restless(live.subscribe, dice) for _ in range(20)))
        assert (await live.wait()).outcome == "completed"
    assert [text for text, _ in found] == [TEXT] * 20
    assert max(visits for _, visits in found) > 5


async def test_one_readers_cancellation_is_its_own() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0) as live:
        readers = [asyncio.create_task(text_of(live.subscribe())) for _ in range(6)]
        upstream.say("one ")
        await said(live, "one ")
        for reader in readers[::2]:
            reader.cancel()
        await asyncio.wait(readers[::2])
        upstream.say("two")
        upstream.end()
        assert await asyncio.gather(*readers[1::2]) == ["one two"] * 3
        assert (await live.wait()).outcome == "completed"


async def test_a_reader_that_stands_still_holds_up_nobody() -> None:
    async with Emulator(Script(text=WORDS, pace=0.0005)) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        live = broadcast(CALLS["messages"](client), interval=0.001, max_buffer=4000)
        still = live.subscribe()
        assert (await anext(still))["type"] == "start"
        assert await text_of(live.subscribe()) == TEXT
        with pytest.raises(SubscriberTooSlowError) as told:
            await text_of(still)
        assert told.value.kept
        assert await text_of(live.subscribe(told.value.last_id)) == TEXT


async def test_the_first_words_are_not_held_up_and_the_next_ones_are_joined() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=60) as live:
        subscription = live.subscribe()
        upstream.say("one ")
        assert (await anext(subscription))["type"] == "start"
        assert (await anext(subscription))["text"] == "one "
        for word in ("two ", "three ", "four"):
            upstream.say(word)
            await asyncio.sleep(0.02)
        upstream.end()
        frames = [frame async for frame in subscription]
        assert [frame["type"] for frame in frames] == ["text", "finish"]
        assert frames[0]["text"] == "two three four"
        assert live.report is not None
        assert live.report.frames == 4
        # The id is that of the last part, and behind it there is nothing but the end.
        assert [frame["type"] async for frame in live.subscribe(frames[0]["id"])] == ["finish"]


async def test_what_is_held_comes_when_its_time_has_come() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0.05) as live:
        subscription = live.subscribe()
        upstream.say("one ", "two")
        text = ""
        async for frame in subscription:  # the model falls silent: no event drives this
            text += frame.get("text", "")
            if text == "one two":
                break


async def test_no_interval_makes_each_event_known_at_once() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0) as live:
        upstream.say(*WORDS)
        upstream.end()
        report = await live.wait()
        assert report.frames == len(WORDS) + 2


async def test_raw_events_can_be_had() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), raw=True) as live:
        upstream.say("one")
        upstream.end()
        kinds = [frame["type"] async for frame in live.subscribe()]
        assert kinds.count("raw") == 2
        assert kinds[-1] == "finish"


# ----------------------------------------------------------------------------------------------------------- to clients


class Page:
    """A client's end that a test looks into; it leaves when it has had enough."""

    def __init__(self, enough: str | None = None) -> None:
        self.frames: list[dict[str, Any]] = []
        self._enough = enough
        self._gone = asyncio.Event()

    @property
    def text(self) -> str:
        return "".join(frame.get("text", "") for frame in self.frames)

    async def send(self, text: str) -> None:
        self.frames.append(json.loads(text))
        if self._enough is not None and self.text.endswith(self._enough):
            self._gone.set()

    async def receive(self) -> str:
        await self._gone.wait()
        raise ClientGoneError("the client has left")

    async def cut(self) -> None:
        pass


async def test_a_subscription_can_be_relayed_and_a_client_that_leaves_ends_its_own_only() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0) as live:
        stays, leaves = Page(), Page(enough="two ")
        staying = asyncio.create_task(relay(live.subscribe(), stays, interval=0))
        leaving = asyncio.create_task(relay(live.subscribe(), leaves, interval=0))
        upstream.say("one ")
        await said(live, "one ")
        upstream.say("two ")
        assert (await asyncio.wait_for(leaving, 5)).outcome == "client_gone"
        upstream.say("three")
        upstream.end()
        assert (await asyncio.wait_for(staying, 5)).outcome == "completed"
        assert stays.text == "one two three"
        back = Page()
        await relay(live.subscribe(leaves.frames[-1]["id"]), back)
        assert leaves.text + back.text == stays.text
        assert (await live.wait()).outcome == "completed"


async def test_a_relayed_subscription_tells_of_the_answers_error_once() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0) as live:
        page = Page()
        upstream.say("one")
        upstream.send(None)
        report = await relay(live.subscribe(), page)
        assert [frame["type"] for frame in page.frames] == ["start", "text", "error"]
        assert report.outcome == "upstream_error"
        assert isinstance(report.error, StreamTruncatedError)


async def test_a_page_that_is_loaded_anew_goes_on_by_its_last_event_id() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0) as live:

        async def answer(request: web.Request) -> web.StreamResponse:
            return await sse_response(request, live.subscribe(request.headers.get("Last-Event-ID")))

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            async with ClientSession() as session:
                text, last = "", ""
                for words in ("one ", "two ", "three "):
                    upstream.say(words)
                    async with session.get(url, headers={"Last-Event-ID": last} if last else {}) as response:
                        async for line in response.content:
                            name, _, value = line.decode().rstrip("\n").partition(": ")
                            last = value if name == "id" else last
                            text += json.loads(value).get("text", "") if name == "data" else ""
                            if text.endswith(words):
                                break
                upstream.end()
                async with session.get(url, headers={"Last-Event-ID": last}) as response:
                    rest = await response.text()
        finally:
            await runner.cleanup()
        assert text == "one two three "
        assert rest.count("data:") == 1
        assert '"finish"' in rest


# ------------------------------------------------------------------------------------------------------------- lifetime


@pytest.mark.usefixtures("leaping_clock")
async def test_a_stream_without_listeners_is_aborted() -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream(), interval=0, grace=0.1)
        async with live.subscribe() as subscription:
            upstream.say("one")
            assert [(await anext(subscription))["type"] for _ in range(2)] == ["start", "text"]
            await asyncio.sleep(0.3)
            assert live.report is None
        await asyncio.wait_for(upstream.left.wait(), 5)
        report = await live.wait()
        assert (report.outcome, report.reply.text) == ("abandoned", "one")
        frames = [frame async for frame in live.subscribe()]
        assert [frame["type"] for frame in frames] == ["start", "text", "finish"]
        assert frames[-1]["reason"] == "stopped"


async def test_a_stream_that_nobody_ever_listened_to_is_aborted_too() -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream(), grace=0.05)
        assert (await asyncio.wait_for(live.wait(), 5)).outcome == "abandoned"


@pytest.mark.usefixtures("leaping_clock")
async def test_who_comes_back_within_the_grace_time_keeps_it_alive() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0, grace=0.4) as live:
        last = 0
        upstream.say("0")
        for number in range(1, 8):
            async with live.subscribe(last) as subscription:
                async for frame in subscription:
                    last = frame["id"]
                    if frame["type"] == "text":
                        break
            await asyncio.sleep(0.1)
            upstream.say(str(number))
        upstream.end()
        assert await text_of(live.subscribe()) == "01234567"


@pytest.mark.usefixtures("leaping_clock")
async def test_without_a_grace_time_it_goes_on_alone() -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream(), grace=None)
        upstream.say("one")
        await asyncio.sleep(0.1)
        upstream.end()
        assert (await live.wait()).outcome == "completed"
        assert await text_of(live.subscribe()) == "one"


@pytest.mark.parametrize("when", ["at once", "asked", "silent", "speaking"])
async def test_stopping_ends_the_stream_at_once_at_any_time(when: str) -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream(), interval=0)
        reader = asyncio.create_task(text_of(live.subscribe()))
        if when != "at once":
            await upstream.asked.wait()
        if when == "silent":
            upstream.send(b": thinking\n\n")
            await asyncio.sleep(0.05)
        if when == "speaking":
            upstream.say("one")
            await said(live, "one")
        live.abort()
        live.abort()
        report = await asyncio.wait_for(live.wait(), 5)
        assert report.outcome == "stopped"
        assert await reader == ("one" if when == "speaking" else "")
        if when == "at once":
            assert not upstream.asked.is_set()
        else:
            await asyncio.wait_for(upstream.left.wait(), 5)
        assert [frame["type"] async for frame in live.subscribe()][-1] == "finish"


async def test_stopping_ends_the_wait_before_a_retry() -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.answer(503, b"{}", retry_after="50")

    async with loopback(busy) as server, client_of(server) as client:
        live = broadcast(open_stream(client))
        await server.wait(1)
        await asyncio.sleep(0.05)
        assert live.report is None
        await asyncio.wait_for(live.close(), 5)
        assert live.report is not None
        assert (live.report.outcome, live.report.reply) == ("stopped", None)


async def test_stopping_an_answer_that_is_whole_changes_nothing() -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream())
        upstream.say("one")
        upstream.end()
        await live.wait()
        live.abort()
        await live.close()
        assert live.report is not None
        assert live.report.outcome == "completed"


async def test_leaving_the_block_leaves_nothing_behind() -> None:
    async with speaking() as upstream:
        before = asyncio.all_tasks()
        async with broadcast(upstream.stream()) as live:
            subscription = live.subscribe()
            waiting = asyncio.create_task(text_of(subscription))
            await upstream.asked.wait()
        assert await waiting == ""
        await upstream.left.wait()
        assert asyncio.all_tasks() - before - upstream.server._tasks == set()
        assert live.listeners == 0
        assert live._channel._timer is None
        assert live._timer is None


async def test_waiting_for_it_can_be_cancelled() -> None:
    async with speaking() as upstream, broadcast(upstream.stream()) as live:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(live.wait(), 0.02)
        upstream.say("one")
        upstream.end()
        assert (await live.wait()).outcome == "completed"


# --------------------------------------------------------------------------------------------------------------- errors


async def test_an_error_of_the_answer_is_the_last_frame_for_all() -> None:
    script = Script(text=WORDS, fault=ErrorEvent(after=20))
    async with Emulator(script) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        live = broadcast(CALLS["messages"](client))
        early = [live.subscribe() for _ in range(3)]
        report = await live.wait()
        for subscription in [*early, live.subscribe()]:
            frames = [frame async for frame in subscription]
            assert [frame["type"] for frame in frames].count("error") == 1
            assert frames[-1]["type"] == "error"
            assert frames[-1]["error"] == type(report.error).__name__
            assert frames[-1]["status"] == 529
            assert subscription.error is report.error
    assert report.outcome == "upstream_error"
    assert report.error is not None
    assert report.error.snapshot.text == report.reply.text
    assert report.reply.text


async def test_a_cut_answer_is_an_error_with_what_had_come() -> None:
    async with speaking() as upstream, broadcast(upstream.stream()) as live:
        upstream.say("one")
        upstream.send(None)
        report = await live.wait()
        assert isinstance(report.error, StreamTruncatedError)
        assert report.reply.text == await text_of(live.subscribe()) == "one"


async def test_a_call_that_is_refused_is_an_error_too() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(401, b'{"error": {"message": "bad key"}}')

    async with loopback(refuse) as server, client_of(server) as client:
        live = broadcast(open_stream(client))
        frames = [frame async for frame in live.subscribe()]
        assert [frame["type"] for frame in frames] == ["error"]
        assert frames[0]["error"] == "AuthenticationError"
        report = await live.wait()
        assert isinstance(report.error, AuthenticationError)
        assert report.reply is None


async def test_a_stream_that_someone_else_aborts_is_an_error() -> None:
    async with speaking() as upstream:
        stream = upstream.stream()
        live = broadcast(stream)
        upstream.say("one")
        await said(live, "one")
        stream.abort()
        report = await live.wait()
        assert report.outcome == "upstream_error"
        assert isinstance(report.error, ClientClosedError)


async def test_readers_do_not_wait_for_a_task_that_was_cancelled() -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream())
        reader = asyncio.create_task(text_of(live.subscribe()))
        upstream.say("one")
        await said(live, "one")
        live._task.cancel()  # as the end of the loop does
        assert await asyncio.wait_for(reader, 5) == "one"
        assert isinstance((await live.wait()).error, ClientClosedError)
        assert live._task.cancelled()
        await asyncio.wait_for(upstream.left.wait(), 5)


async def test_readers_do_not_wait_for_a_task_that_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking() as upstream:
        live = broadcast(upstream.stream())

        def fail(event: Any) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(live._framer, "frames", fail)
        upstream.say("one")
        frames = [frame async for frame in live.subscribe()]
        assert frames[-1]["type"] == "error"
        report = await live.wait()
        assert report.outcome == "upstream_error"
        assert isinstance(report.error, DGridError)
        assert isinstance(report.error.__cause__, RuntimeError)
        with pytest.raises(RuntimeError, match="a fault"):
            live._task.result()
        await asyncio.wait_for(upstream.left.wait(), 5)


async def test_options_and_ids_are_looked_at() -> None:
    async with speaking() as upstream:
        for wrong in ("interval", "grace", "max_buffer", "max_history"):
            with pytest.raises(ConfigError, match=wrong):
                broadcast(upstream.stream(), **{wrong: -1})
        async with broadcast(upstream.stream()) as live:
            with pytest.raises(ConfigError, match="newest frame"):
                live.subscribe(1)
            assert live.listeners == 0


@pytest.mark.parametrize(("given", "number"), [(None, 0), ("", 0), (0, 0), ("17", 17), (17, 17)])
def test_an_id_may_come_from_a_header(given: Any, number: int) -> None:
    assert frame_id(given) == number


@pytest.mark.parametrize("given", ["-1", -1, "x", "1.5", " 1", "٣", "1_0", "9" * 5000, True])
def test_what_is_no_id_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="id of a frame"):
        frame_id(given)


async def test_a_history_with_a_bound_tells_those_who_come_too_late() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0, max_history=20_000) as live:
        upstream.say(*WORDS)
        upstream.end()
        await live.wait()
        with pytest.raises(SubscriberTooSlowError):
            await text_of(live.subscribe())
        assert TEXT.endswith(await text_of(live.subscribe(live.last_id - 10)))


async def test_a_thousand_readers_get_the_same() -> None:
    async with speaking() as upstream, broadcast(upstream.stream(), interval=0) as live:
        readers = [asyncio.create_task(text_of(live.subscribe())) for _ in range(1000)]
        for word in WORDS[:10]:
            upstream.say(word)
            await asyncio.sleep(0.01)
        upstream.end()
        assert set(await asyncio.gather(*readers)) == {"".join(WORDS[:10])}
        assert live.listeners == 0
