"""Relays: what a token costs on its way through one, how soon the upstream ends when a client leaves, and a thousand at a time.

Beside the relay stands what one would write without it: a loop that sends each text as it comes. Where a figure says that the
upstream ended after `_PATIENCE`, it did not end within that time at all.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import subprocess
import sys
import time
from array import array
from typing import Any

from benchmarks import corpus, pages
from benchmarks.arena import ROOT, Arena
from benchmarks.figures import Row
from benchmarks.peers import SUBJECT, Peer, parameters
from benchmarks.worker import resident_bytes
from dgrid_async import AsyncDGrid, Limits
from dgrid_async.relay import relay, sse_bytes
from tests.relay.stacks import STACKS, running
from tests.relay.upstream import connect, upstream

__all__ = ["crowd", "leave", "run", "tokens"]

# Seconds in which an upstream may end after the client has left; what did not by then, did not.
_PATIENCE = 2.0
_RATE = 20


class _Nowhere:
    """A sink that takes everything at once, and whose client stays."""

    async def send(self, text: str) -> None:
        """Take a frame."""

    async def receive(self) -> str:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError

    async def cut(self) -> None:
        """Do nothing."""


async def tokens(peer: Peer, *, url: str, format: str, streams: int, how: str) -> dict[str, float]:  # noqa: A002
    """Return what an event costs from the socket to a sink that costs nothing: read only, sent in a loop, or relayed."""
    del peer
    sink, events = _Nowhere(), 0
    async with AsyncDGrid("k", base_url=url, limits=Limits(max_connections=10)) as client:
        method = _method(client, format)

        async def once() -> int:
            stream = method(**parameters(format))
            if how == "relay":
                return (await relay(stream, sink)).events
            if how == "event stream":
                body = sse_bytes(stream)
                async for _ in body:
                    pass
                return body.report.events if body.report else 0
            count = 0
            async with stream:
                text_of = _text_of(format)
                async for event in stream:
                    count += 1
                    if how == "loop" and (text := text_of(event)):
                        await sink.send(text)
            return count

        await once()
        began = time.process_time()
        for _ in range(streams):
            events += await once()
        seconds = time.process_time() - began
    return {"µs CPU an event": seconds / events * 1e6}


def _method(client: Any, format: str) -> Any:  # noqa: A002 -- the house's word for it
    if format == "generate_content":
        return client.models.stream_generate_content
    return client.chat.completions.stream if format == "chat_completions" else getattr(client, format).stream


def _text_of(format: str) -> Any:  # noqa: A002 -- as above
    from importlib import import_module

    return import_module(f"dgrid_async.apis.{format}.endpoint").ENDPOINT.text_of


async def leave(peer: Peer, *, stack: str, how: str, times: int) -> dict[str, float]:
    """Return how long the upstream, silent after some tokens, goes on when a client has closed or cut its connection."""
    del peer
    logging.disable()  # what the loop's own servers have to say of it
    closed = [await _leave(stack, how, cut=False) for _ in range(times)]
    cut = [await _leave(stack, how, cut=True) for _ in range(times)]
    return {
        "ms to the upstream's end, client closes": statistics.median(closed) * 1e3,
        "ms to the upstream's end, client cuts": statistics.median(cut) * 1e3,
    }


async def _leave(stack: str, how: str, *, cut: bool) -> float:
    async with upstream("falls_silent") as gateway:

        async def serve(websocket: Any) -> None:
            stream = gateway.stream()
            if how == "relay":
                await relay(stream, websocket)
                return
            send = getattr(websocket, "send_str", None) or getattr(websocket, "send_text", None) or websocket.send
            async with stream:
                async for text in stream.text_stream:
                    await send(f'{{"type":"text","text":"{text}"}}')

        async with running(stack, serve) as server, connect(server.url) as page:
            await page.until(lambda frame: "w3" in frame.get("text", ""))
            began = time.perf_counter()
            if cut:
                page.vanish()
            else:
                await page.leave()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await gateway.left.wait()
            except TimeoutError:
                gateway.client.terminate()
                return _PATIENCE
            return time.perf_counter() - began


async def crowd(peer: Peer, *, url: str, relays: int, deltas: int, interval: float) -> dict[str, float]:
    """Return how late tokens leave the server, and what it costs, when so many pages are served at an even pace.

    The pages are in a process of their own. A token is late by the time from the gateway's write to the websocket's, the time
    for which it waits to be joined with others included.
    """
    del peer
    from aiohttp import web

    late = array("d")
    outcomes: list[str] = []

    class Stamped(web.WebSocketResponse):
        async def send_str(self, data: str, compress: int | None = None) -> None:
            await super().send_str(data, compress)
            now = time.monotonic()
            if '"type":"text"' in data:
                stamps = data.rpartition('"text":"')[2].rstrip('"}').split()
                late.extend(now - float(stamp) for stamp in stamps)

    async with AsyncDGrid("k", base_url=f"{url}/paced.{deltas}.{_RATE}", limits=Limits(max_connections=relays + 10)) as client:

        async def handler(request: web.Request) -> web.WebSocketResponse:
            websocket = Stamped()
            await websocket.prepare(request)
            stream = client.chat.completions.stream(**parameters("chat_completions"))
            outcomes.append((await relay(stream, websocket, interval=interval)).outcome)
            await websocket.close()
            return websocket

        app = web.Application()
        app.router.add_get("/ws", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        before = peak = resident_bytes()
        browser = subprocess.Popen(  # noqa: ASYNC220 -- it starts before the clock does
            [sys.executable, "-m", pages.__name__, str(runner.addresses[0][1]), str(relays)], cwd=ROOT
        )
        began, wall = time.process_time(), time.perf_counter()
        try:
            while len(outcomes) < relays and browser.poll() is None:
                peak = max(peak, resident_bytes())
                await asyncio.sleep(0.2)
            seconds, wall = time.process_time() - began, time.perf_counter() - wall
        finally:
            browser.kill()
            browser.wait()
            await runner.cleanup()
    if outcomes.count("completed") < relays:
        raise AssertionError(f"{outcomes.count('completed')} of {relays} relays were completed")
    counted = sorted(late)
    return {
        "ms late, median": counted[len(counted) // 2] * 1e3,
        "ms late, 99th percentile": counted[int(len(counted) * 0.99)] * 1e3,
        "KB a relay": (peak - before) / relays / 1e3,
        "% of one core": seconds / wall * 100,
        "µs CPU an event": seconds / relays / deltas * 1e6,
    }


def run(arena: Arena) -> list[Row]:
    """Return the figures of tokens, leavings and crowds."""
    rows: list[Row] = []
    peers = [peer for peer in arena.peers("stream", "chat_completions") if peer == SUBJECT]
    deltas, streams = (200, 1) if arena.quick else (2_000, 4)
    for name in corpus.FORMATS:
        for how in ("read only", "loop", "relay", "event stream"):
            rows += arena.compete(
                "relay",
                f"{name}, large reads, {how}",
                peers,
                tokens,
                rounds=arena.rounds(5),
                url=f"{arena.url}/large.{deltas}",
                format=name,
                streams=streams,
                how=how,
            )
    for stack in ("aiohttp",) if arena.quick else STACKS:
        for how in ("relay",) if arena.quick else ("relay", "loop"):
            if how == "loop" and stack == "quart-hypercorn":
                continue  # Quart ends the handler itself
            rows += arena.compete(
                "relay",
                f"client leaves, {stack}, {how}",
                peers,
                leave,
                rounds=arena.rounds(3),
                warm=False,
                stack=stack,
                how=how,
                times=1 if arena.quick or how == "loop" else 10,
            )
    for number, count, interval in ((20, 20, 0.03),) if arena.quick else ((1, 60, 0.03), (1000, 100, 0.03), (1000, 100, 0.1)):
        rows += arena.compete(
            "relay",
            f"chat_completions, {number:,} at a time, {_RATE} events a second each, sent every {interval * 1e3:.0f} ms",
            peers,
            crowd,
            rounds=arena.rounds(3),
            fresh=True,
            url=arena.url,
            relays=number,
            deltas=count,
            interval=interval,
        )
    return rows
