"""Relays on each framework's websockets: real servers, real sockets, a gateway that sees its reader leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dgrid_async.relay import Report, relay
from dgrid_async.relay.sinks import sink_of
from tests.relay.stacks import STACKS, running
from tests.relay.upstream import WORDS, Page, Upstream, connect, upstream

# One of each kind runs by default; the others, and the slower cases, are `.ci/run`'s.
QUICK = ("aiohttp", "fastapi-uvicorn-websockets")
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in STACKS]
# Those that say that a client has left by cancelling the handler.
CANCELS = {"quart-hypercorn", "sanic"}


class App:
    """The handler of one websocket, and what came of it."""

    def __init__(self, gateway: Upstream, **options: Any) -> None:
        self.gateway = gateway
        self.options = options
        self.ended: asyncio.Future[Report | None] = asyncio.get_running_loop().create_future()

    async def serve(self, websocket: Any) -> None:
        try:
            report = await relay(self.gateway.stream(), websocket, **self.options)
        except asyncio.CancelledError:
            self.ended.set_result(None)
            raise
        except Exception as error:
            self.ended.set_exception(error)
            raise
        self.ended.set_result(report)

    async def outcome(self, stack: str) -> str:
        async with asyncio.timeout(8):
            report = await self.ended
        if report is None:
            assert stack in CANCELS
            return "client_gone"
        return report.outcome


async def prompt(waited: Awaitable[Any]) -> None:
    """Wait for what should come at once; a loaded machine has a second."""
    async with asyncio.timeout(1):
        await waited


async def no_tasks_of_relays() -> None:
    for _ in range(100):
        names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
        if not [name for name in names if name.startswith("Pump.")]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(names)


@pytest.mark.parametrize("stack", EVERY)
async def test_tokens_flow(stack: str) -> None:
    async with upstream() as gateway:
        app = App(gateway)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            frames = await page.rest()
            assert await app.outcome(stack) == "completed"
    assert frames[0]["type"] == "start"
    assert frames[-1] == {"id": WORDS + 2, "type": "finish", "reason": "stop", "native": "stop"}
    texts = [frame["text"] for frame in frames if frame["type"] == "text"]
    assert "".join(texts) == "".join(f"w{n} " for n in range(WORDS))
    assert len(texts) < WORDS / 2
    assert [frame["id"] for frame in frames] == sorted({frame["id"] for frame in frames})
    await no_tasks_of_relays()


Leave = Callable[[Page], Awaitable[None]]


async def leave(page: Page) -> None:
    await page.leave()


async def vanish(page: Page) -> None:
    page.vanish()


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("how", [leave, vanish])
@pytest.mark.parametrize("play", ["no_headers", "no_token", "falls_silent"])
@pytest.mark.parametrize("stack", EVERY)
async def test_the_upstream_ends_when_the_client_leaves(stack: str, play: str, how: Leave) -> None:
    async with upstream(play) as gateway:
        app = App(gateway)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            await gateway.asked.wait()
            if play == "falls_silent":
                await page.until(lambda frame: "w3" in frame.get("text", ""))
            assert not gateway.left.is_set()
            await how(page)
            await prompt(gateway.left.wait())
            assert await app.outcome(stack) == "client_gone"
            await no_tasks_of_relays()


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stack", EVERY)
async def test_the_wait_for_a_retry_ends_when_the_client_leaves(stack: str) -> None:
    async with upstream("refuses") as gateway:
        app = App(gateway)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            await gateway.asked.wait()
            await asyncio.sleep(0.1)
            assert not app.ended.done()
            await page.leave()
            assert await app.outcome(stack) == "client_gone"
    assert len(gateway.server.requests) == 1


@pytest.mark.parametrize("stack", EVERY)
async def test_a_client_that_does_not_read_is_given_up(stack: str) -> None:
    async with upstream("endless") as gateway:
        app = App(gateway, send_timeout=0.3, max_buffer=65536)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            page.freeze()
            assert await app.outcome(stack) == "client_too_slow"
            await prompt(gateway.left.wait())
            report = await app.ended
            assert report is not None
            # The kernel's and the server's buffers, and ours: the stream is not read into memory without an end.
            assert report.events * 4096 < 32 * 1024 * 1024


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stack", EVERY)
async def test_an_error_of_the_gateway_is_the_last_frame(stack: str) -> None:
    async with upstream("breaks") as gateway:
        app = App(gateway)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            frames = await page.rest()
            assert await app.outcome(stack) == "upstream_error"
    assert frames[-1]["type"] == "error"
    assert (frames[-1]["error"], frames[-1]["status"]) == ("RateLimitError", 429)
    assert frames[-1]["message"].endswith("no more")
    assert "".join(frame["text"] for frame in frames if frame["type"] == "text") == "w0 w1 w2 w3 "


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stack", EVERY)
async def test_a_server_that_shuts_down_ends_its_streams(stack: str) -> None:
    async with upstream("falls_silent") as gateway:
        app = App(gateway)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            await page.until(lambda frame: "w3" in frame.get("text", ""))
            closing = asyncio.ensure_future(page.rest())  # as a browser does, it answers the server's farewell
            async with asyncio.timeout(8):
                await server.stop()
                if stack == "quart-hypercorn":
                    # Hypercorn's farewell leaves Quart's handlers running: the client's closing ends them.
                    gateway.client.terminate()
                await gateway.left.wait()
                await asyncio.wait((app.ended,))
                await closing
            await no_tasks_of_relays()


@pytest.mark.usefixtures("leaping_clock")
@pytest.mark.parametrize("stack", EVERY)
async def test_what_the_client_says_meanwhile_can_stop_the_answer(stack: str) -> None:
    said: list[Any] = []

    def on_message(message: Any) -> bool:
        said.append(message)
        return bool(message == "stop")

    async with upstream("falls_silent") as gateway:
        app = App(gateway, on_message=on_message)
        async with running(stack, app.serve) as server, connect(server.url) as page:
            await page.until(lambda frame: "w3" in frame.get("text", ""))
            page.say("go on")
            page.say("stop")
            frames = await page.rest()
            assert await app.outcome(stack) == "stopped"
            await prompt(gateway.left.wait())
    assert said == ["go on", "stop"]
    assert [frame["type"] for frame in frames] == ["finish"]
    assert frames[0]["reason"] == "stopped"


async def test_an_unknown_sink_is_a_type_error_that_says_what_is_needed() -> None:
    async with upstream() as gateway:
        with pytest.raises(TypeError, match=r"no websocket that is known .* send, receive and cut"):
            await relay(gateway.stream(), object())
    with pytest.raises(TypeError, match="int"):
        sink_of(3)
