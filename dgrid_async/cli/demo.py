"""`demo`: every chat entry of the gateway, plain and streamed, then a table of what came.

Without a key it runs against an emulator of its own, which ends with it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import attrs

from dgrid_async.cli.arguments import DEMONSTRATED
from dgrid_async.cli.entries import ENTRIES, Entry, Question
from dgrid_async.cli.exits import Exit
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.samples import film, picture, sound
from dgrid_async.cli.terminal import Terminal
from dgrid_async.client import AsyncDGrid
from dgrid_async.errors import DGridError

__all__ = ["run"]

# Slow enough to see tokens come, fast enough for all entries in a few seconds.
_PACE = 0.02
_MAX_TOKENS = 256
_TEXT = "Say in one sentence what streaming is good for."
_TITLES = {"gemini-media": "Gemini media recognition", "gemini": "Gemini text chat"}
_MEDIA = "Say in one sentence each what the picture, the sound and the film hold."


@attrs.frozen(kw_only=True)
class _Row:
    """A line of the table; seconds, and None where there is nothing to say."""

    title: str
    mode: str
    events: int | None = None
    first: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    finish: str | None = None
    failed: bool = False

    def cells(self) -> list[str]:
        first = None if self.first is None else f"{self.first * 1000:.0f}"
        values = (self.title, self.mode, self.events, first, *self.tokens, self.finish)
        return ["-" if value is None else str(value) for value in values]


_HEADS = ("endpoint", "mode", "events", "first ms", "tokens in", "tokens out", "finish")
_NUMBERS = range(2, 6)


def run(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    """Run the entries and return the exit code.

    Raises:
        ConfigError: The configuration is wrong; a failing entry is no error here, but a row and a line on stderr.
    """
    return interrupts.run(_demo(arguments, terminal))


async def _demo(arguments: argparse.Namespace, terminal: Terminal) -> int:
    emulated = arguments.base_url is None and not os.environ.get("DGRID_API_KEY", "").strip()
    async with AsyncExitStack() as stack:
        if emulated:
            import aiohttp

            from dgrid_async.emulator import Emulator, Script

            emulator = await stack.enter_async_context(Emulator(Script(pace=_PACE)))
            # A session of its own, since the client's would take a proxy from the environment to reach this process.
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = AsyncDGrid("emulator", base_url=emulator.url, session=session)
            terminal.write(f"DGRID_API_KEY is not set: this runs on the emulator at {emulator.url}\n")
        else:
            client = AsyncDGrid(base_url=arguments.base_url)
        await stack.enter_async_context(client)
        names = [name for name in DEMONSTRATED if not arguments.only or name in arguments.only]
        rows = []
        for name in names:
            for stream in (False, True):
                rows.append(await _row(client, name, arguments.model, terminal, stream=stream))  # noqa: PERF401 -- one by one
    terminal.write("\n" + _table([row.cells() for row in rows]))
    return Exit.FAILED if any(row.failed for row in rows) else Exit.OK


async def _row(client: AsyncDGrid, name: str, model: str | None, terminal: Terminal, *, stream: bool) -> _Row:
    """Make one call, print its answer and return its line of the table."""
    entry = ENTRIES[name.partition("-")[0]]
    with_media = name == "gemini-media"
    title = _TITLES.get(name, entry.title)
    mode = "streamed" if stream else "plain"
    question = Question(
        model=model or entry.model,
        prompt=_MEDIA if with_media else _TEXT,
        max_tokens=_MAX_TOKENS,
        media=(("image", picture()), ("audio", sound()), ("video", film())) if with_media else (),
    )
    params = entry.params(question, stream=stream)
    terminal.write(f"\n{title}, {mode}:\n")
    row = _Row(title=title, mode=mode)
    try:
        row = await _answered(client, entry, params, terminal, row, stream=stream)
    except DGridError as error:
        terminal.note(f"dgrid-async: {title}, {mode}: {type(error).__name__}: {error}")
        row = attrs.evolve(row, finish=type(error).__name__, failed=True)
    terminal.end_line()
    return row


async def _answered(
    client: AsyncDGrid, entry: Entry, params: dict[str, Any], terminal: Terminal, row: _Row, *, stream: bool
) -> _Row:
    # Imports the format's classes, too: that is none of the gateway's time.
    text_of = entry.text_of
    events = first = None
    began = monotonic()
    if stream:
        async with entry.stream(client, params) as answer:
            async for event in answer:
                events = (events or 0) + 1
                first = first or monotonic() - began
                terminal.write(text_of(event))
            reply = await answer.final()
    else:
        reply = await entry.create(client, params)
        first = monotonic() - began
        terminal.write(reply.text)
    return attrs.evolve(row, events=events, first=first, tokens=entry.tokens_of(reply.usage), finish=entry.finish_of(reply))


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows below their heads, in columns; numbers stand to the right."""
    lines = [_HEADS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def padded(line: Sequence[str]) -> str:
        places = enumerate(zip(line, widths, strict=True))
        cells = [cell.rjust(width) if at in _NUMBERS else cell.ljust(width) for at, (cell, width) in places]
        return "  ".join(cells).rstrip() + "\n"

    return "".join(map(padded, lines))
