"""The relay against a sink that the test holds in its hand; `test_sinks` has the real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dgrid_async import AsyncDGrid, ClientClosedError, ConfigError, RateLimitError, Retries
from dgrid_async.emulator import Abort, Emulator, Script
from dgrid_async.relay import ClientGoneError, Report, relay
from tests.relay.upstream import WORDS, upstream


class Hand:
    """A sink: what was sent, and when it lets the next through."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.heard: asyncio.Queue[str | Exception] = asyncio.Queue()
        self.was_cut = False
        self.some = asyncio.Event()

    async def send(self, text: str) -> None:
        await self.open.wait()
        self.texts.append(text)
        self.some.set()

    async def receive(self) -> str:
        message = await self.heard.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def cut(self) -> None:
        self.was_cut = True

    def leave(self) -> None:
        self.heard.put_nowait(ClientGoneError("left"))

    @property
    def frames(self) -> list[Any]:
        return [json.loads(text) for text in self.texts]

    @property
    def text(self) -> str:
        return "".join(frame["text"] for frame in self.frames if frame["type"] == "text")


WHOLE = "".join(f"w{n} " for n in range(WORDS))
CALLS: dict[str, Any] = {
    "messages": lambda c: c.messages.stream(model="m", max_tokens=64, messages=[{"role": "user", "content": "Hi"}]),
    "chat_completions": lambda c: c.chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "Hi"}], stream_options={"include_usage": True}
    ),
    "responses": lambda c: c.responses.stream(model="m", input="Hi"),
    "generate_content": lambda c: c.models.stream_generate_content(model="m", contents="Hi"),
}


@pytest.mark.parametrize("name", list(CALLS))
async def test_every_format_is_told_alike(name: str) -> None:
    script = Script(reasoning="so so", text=("a ", "b"))
    sink = Hand()
    async with Emulator(script) as emulator, AsyncDGrid("k", base_url=emulator.url) as client:
        report = await relay(CALLS[name](client), sink)
    assert (report.outcome, report.error) == ("completed", None)
    assert report.frames == len(sink.frames)
    assert report.events >= 2
    assert report.usage is not None
    assert report.reply.text == sink.text == "a b"
    assert sink.frames[0]["type"] == "start"
    assert [frame["type"] for frame in sink.frames[-2:]] == ["usage", "finish"]


@pytest.mark.usefixtures("leaping_clock")
async def test_a_stream_that_is_open_may_be_relayed_and_the_sink_serves_again() -> None:
    sink = Hand()
    async with upstream() as gateway:
        for _ in range(2):
            async with gateway.stream() as stream:
                report = await relay(stream, sink)
                assert report.outcome == "completed"
        assert gateway.server.connections == 1  # it was given back
    assert sink.text == WHOLE * 2
    assert not sink.was_cut


async def test_what_comes_at_once_is_joined_and_the_interval_kept() -> None:
    sink = Hand()
    async with upstream() as gateway:
        report = await relay(gateway.stream(), sink, interval=10)
    # The first word goes at once, the others wait for the interval or the end, whichever is sooner.
    assert [frame["type"] for frame in sink.frames] == ["start", "text", "text", "finish"]
    assert sink.text == WHOLE
    assert report.events == WORDS + 1


async def test_a_slow_client_slows_the_reading_and_loses_nothing() -> None:
    sink = Hand()
    async with upstream("endless") as gateway:
        stream = gateway.stream()
        relaying = asyncio.ensure_future(relay(stream, sink, max_buffer=20_000))
        await sink.some.wait()
        sink.open.clear()
        sent = -1
        async with asyncio.timeout(10):
            while sent != gateway.sent:  # until the gateway, too, has to wait
                sent = gateway.sent
                await asyncio.sleep(0.2)
        assert len(stream.snapshot.text) - len(sink.text) <= 20_000 + 2 * 4096
        sink.open.set()
        async with asyncio.timeout(10):
            while gateway.sent < sent + 20:
                await asyncio.sleep(0.01)
        sink.leave()
        report = await relaying
    assert report.outcome == "client_gone"
    assert set(sink.text) == {"x"}
    ids = [frame["id"] for frame in sink.frames]
    assert ids == sorted(set(ids))


@pytest.mark.usefixtures("leaping_clock")
async def test_a_frozen_client_is_cut_and_the_upstream_ended() -> None:
    sink = Hand()
    sink.open.clear()
    async with upstream("falls_silent") as gateway:
        report = await relay(gateway.stream(), sink, send_timeout=0.05)
        async with asyncio.timeout(1):
            await gateway.left.wait()
    assert report.outcome == "client_too_slow"
    assert report.frames == 0
    assert sink.was_cut


async def test_an_idle_client_is_kept() -> None:
    sink = Hand()
    async with upstream("no_token") as gateway:
        relaying = asyncio.ensure_future(relay(gateway.stream(), sink, keep_alive=0.02))
        async with asyncio.timeout(5):
            while len(sink.texts) < 3:
                await asyncio.sleep(0.01)
        sink.leave()
        report = await relaying
    assert {frame["type"] for frame in sink.frames} == {"ping"}
    assert report.frames == 0


async def test_a_client_that_has_left_may_be_outlived() -> None:
    sink = Hand()
    async with upstream() as gateway:
        relaying = asyncio.ensure_future(relay(gateway.stream(), sink, on_client_gone="finish"))
        await sink.some.wait()
        sink.leave()
        report = await relaying
        assert not gateway.left.is_set()
    assert report.outcome == "client_gone"
    assert report.error is None
    assert report.reply.text == WHOLE
    assert sink.text != WHOLE


async def test_an_error_before_the_first_token_reaches_the_page() -> None:
    sink = Hand()
    async with upstream("refuses", retries=Retries(max_attempts=1)) as gateway:
        report = await relay(gateway.stream(), sink)
    assert report.outcome == "upstream_error"
    assert isinstance(report.error, RateLimitError)
    assert report.reply is None
    [frame] = sink.frames
    assert (frame["error"], frame["status"], frame["retry_after"]) == ("RateLimitError", 429, 30.0)


async def test_a_cut_upstream_keeps_the_reply_so_far() -> None:
    sink = Hand()
    async with (
        Emulator(Script(text=("a ", "b ", "c"), fault=Abort(after=3))) as emulator,
        AsyncDGrid("k", base_url=emulator.url) as client,
    ):
        report = await relay(CALLS["chat_completions"](client), sink)
    assert report.outcome == "upstream_error"
    assert report.reply.text == sink.text != ""
    assert sink.frames[-1]["error"] == "APIConnectionError"


async def test_a_client_object_that_is_closed_ends_with_an_error_frame() -> None:
    sink = Hand()
    async with upstream("falls_silent") as gateway:
        relaying = asyncio.ensure_future(relay(gateway.stream(), sink))
        await sink.some.wait()
        gateway.client.terminate()
        report = await relaying
    assert report.outcome == "upstream_error"
    assert sink.frames[-1]["error"] == "ClientClosedError"


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("play", ["no_headers", "no_token", "falls_silent", "refuses"])
async def test_a_cancellation_is_passed_on_and_ends_the_upstream(play: str) -> None:
    sink = Hand()
    before = asyncio.all_tasks()
    async with upstream(play) as gateway:
        relaying = asyncio.ensure_future(relay(gateway.stream(), sink))
        await gateway.asked.wait()
        await asyncio.sleep(0.05)
        relaying.cancel("reason")
        with pytest.raises(asyncio.CancelledError):
            await relaying
        assert relaying.cancelled()
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks() - before]  # type: ignore[union-attr]
        assert not [name for name in left if "Pump" in name]
        if play != "refuses":
            async with asyncio.timeout(1):
                await gateway.left.wait()


async def test_a_cancellation_while_a_send_is_stuck_is_passed_on() -> None:
    sink = Hand()
    sink.open.clear()
    async with upstream() as gateway:
        relaying = asyncio.ensure_future(relay(gateway.stream(), sink))
        async with asyncio.timeout(5):
            while gateway.sent < WORDS:
                await asyncio.sleep(0.01)
        relaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await relaying


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("mistake", [ZeroDivisionError, TimeoutError])
async def test_a_mistake_in_on_message_is_raised_and_ends_the_upstream(mistake: type[Exception]) -> None:
    sink = Hand()

    async def on_message(message: Any) -> None:
        raise mistake(message)

    async with upstream("falls_silent") as gateway:
        relaying = asyncio.ensure_future(relay(gateway.stream(), sink, on_message=on_message))
        await sink.some.wait()
        sink.heard.put_nowait("what")
        with pytest.raises(mistake, match="what"):
            await relaying
        async with asyncio.timeout(1):
            await gateway.left.wait()


@pytest.mark.usefixtures("leaping_clock")
async def test_a_mistake_of_the_sink_is_raised_even_where_the_answer_would_be_read_on() -> None:
    class Broken(Hand):
        async def send(self, text: str) -> None:
            raise RuntimeError("not accepted")

    async with upstream("falls_silent") as gateway:
        with pytest.raises(RuntimeError, match="not accepted"):
            await relay(gateway.stream(), Broken(), on_client_gone="finish")
        async with asyncio.timeout(1):
            await gateway.left.wait()


async def test_a_wrong_call_is_raised_and_the_page_told_no_detail() -> None:
    sink = Hand()
    async with upstream("no_token") as gateway, gateway.stream() as stream:
        reading = asyncio.ensure_future(stream.final())
        await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="two tasks read"):
            await relay(stream, sink)
        await asyncio.wait((reading,))
        assert isinstance(reading.exception(), ClientClosedError)
    assert sink.frames[-1]["error"] == "InternalError"


async def test_what_is_no_stream_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a list is no stream"):
        await relay([], Hand())  # type: ignore[arg-type]  # the mistake


class Source:
    """A source of frames that is no stream."""

    def __init__(self, *frames: Any, error: Exception | None = None) -> None:
        self.frames = list(frames)
        self.raises = error
        self.aborted = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for frame in self.frames:
            yield frame
        if self.raises is not None:
            raise self.raises
        await self.aborted.wait()

    def abort(self) -> None:
        self.aborted.set()


def text(number: int, said: str) -> dict[str, Any]:
    return {"id": number, "type": "text", "choice": 0, "block": 0, "text": said}


async def test_another_source_of_frames() -> None:
    source, sink = Source(text(7, "a"), text(8, "b"), {"id": 9, "type": "finish", "reason": "stop"}), Hand()
    source.aborted.set()
    report = await relay(source, sink)
    assert (report.outcome, report.events) == ("completed", 3)
    assert sink.frames[-2:] == [text(8, "ab"), source.frames[-1]]
    assert source.frames[0] == text(7, "a")  # it shares them with others

    source, sink = Source(text(1, "a")), Hand()
    relaying = asyncio.ensure_future(relay(source, sink))
    await sink.some.wait()
    sink.leave()
    assert (await relaying).outcome == "client_gone"

    source, sink = Source({"id": 1, "type": "error", "error": "OverloadedError"}), Hand()
    source.aborted.set()
    report = await relay(source, sink)
    assert sink.frames == source.frames
    assert report.outcome == "upstream_error"


async def test_a_source_that_fails_ends_with_an_error_frame() -> None:
    sink = Hand()
    report = await relay(Source(text(1, "a"), error=RateLimitError("no", status=429)), sink)
    assert report.outcome == "upstream_error"
    assert (sink.frames[-1]["id"], sink.frames[-1]["error"]) == (2, "RateLimitError")
    assert isinstance(report.error, RateLimitError)


async def test_a_source_can_be_stopped() -> None:
    source, sink = Source(text(4, "a")), Hand()
    relaying = asyncio.ensure_future(relay(source, sink, on_message=lambda message: message == "stop"))
    await sink.some.wait()
    sink.heard.put_nowait("stop")
    assert (await relaying).outcome == "stopped"
    assert sink.frames[-1] == {"id": 5, "type": "finish", "reason": "stopped", "native": None}


async def test_what_a_client_says_meanwhile_is_kept_and_what_it_says_to_the_end_is_left_to_others() -> None:
    class Quick(Hand):
        async def send(self, text: str) -> None:
            await super().send(text)
            if '"finish"' in text:
                self.heard.put_nowait("next")

    sink = Quick()
    sink.heard.put_nowait("meanwhile")
    async with upstream() as gateway:
        report = await relay(gateway.stream(), sink)
    assert report.messages == ("meanwhile",)
    assert await sink.receive() == "next"


def test_a_report_says_what_it_knows() -> None:
    report = Report("completed", 1, 2, 0.5)
    assert (report.usage, report.reply, report.error, report.messages) == (None, None, None, ())


async def test_events_at_hand_cost_no_switch_of_tasks() -> None:
    """The task that sends, which here sends all it finds at once, has its turn when the events of a read are through."""
    sink = Hand()
    async with upstream("at_once") as gateway:
        report = await relay(gateway.stream(), sink, interval=0)
    assert (report.outcome, report.events, sink.text) == ("completed", WORDS + 1, WHOLE)
    assert len(sink.texts) < WORDS / 4
