"""`chat`: one question to one model, its answer on stdout as it comes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dgrid_async.cli.entries import ENTRIES, Entry, Question
from dgrid_async.cli.exits import Exit
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.terminal import Terminal
from dgrid_async.client import AsyncDGrid
from dgrid_async.codec import encode
from dgrid_async.config import Timeouts
from dgrid_async.errors import ConfigError

__all__ = ["run"]


def run(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    """Ask, and return the exit code.

    Raises:
        DGridError: The question cannot be put, or the answer did not come.
    """
    entry = ENTRIES[arguments.api]
    # First of all, since without a key there is no use in asking for a prompt.
    client = AsyncDGrid(base_url=arguments.base_url, timeouts=Timeouts(total=arguments.timeout))
    question = Question(
        model=arguments.model,
        prompt=_prompt(arguments.prompt, terminal),
        system=arguments.system,
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        media=tuple((kind, path) for kind in ("image", "audio", "video") for path in getattr(arguments, kind)),
    )
    params = entry.params(question, stream=arguments.stream)
    show = _Show(entry, terminal, as_json=arguments.json, reasoning=arguments.reasoning)
    return interrupts.run(_streamed(client, show, params) if arguments.stream else _whole(client, show, params))


def _prompt(given: str, terminal: Terminal) -> str:
    """Return the prompt, from stdin if need be; a plain blocking read, before any loop runs."""
    if given == "-":
        if sys.stdin is None:
            raise ConfigError("there is no prompt: give one, or a stdin to read it from")
        if sys.stdin.isatty():
            terminal.note("Type the prompt; Ctrl-D ends it.")
        try:
            given = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"the prompt on stdin is not UTF-8 (byte {error.start})") from error
    if not given.strip():
        raise ConfigError("the prompt is empty")
    return given


class _Show:
    """What of an answer is shown, and how."""

    def __init__(self, entry: Entry, terminal: Terminal, *, as_json: bool, reasoning: bool) -> None:
        self.entry = entry
        self._terminal = terminal
        self._as_json = as_json
        self._reasoning = reasoning
        self._text_of = entry.text_of

    def event(self, event: Any) -> None:
        """Show what an event adds."""
        if self._as_json:
            self._line(event)
            return
        if self._reasoning:
            self._terminal.think(self.entry.reasoning_of(event))
        self._terminal.write(self._text_of(event))

    def reply(self, reply: Any) -> None:
        """Show a whole reply."""
        if self._as_json:
            self._line(reply)
            return
        if self._reasoning:
            self._terminal.think(self.entry.thoughts_of(reply))
        self._terminal.write(reply.text)

    def end(self, reply: Any) -> None:
        """Tell what the whole took, and why it ended."""
        if refusal := self.entry.refusal_of(reply):
            self._terminal.note(f"refused: {refusal}")
        taken, given = ("?" if count is None else count for count in self.entry.tokens_of(reply.usage))
        self._terminal.note(f"tokens: {taken} in, {given} out; finish: {self.entry.finish_of(reply) or '?'}")

    def _line(self, value: Any) -> None:
        self._terminal.write(encode(value.to_dict()).decode() + "\n")


async def _streamed(client: AsyncDGrid, show: _Show, params: dict[str, Any]) -> int:
    async with client, show.entry.stream(client, params) as stream:
        async for event in stream:
            show.event(event)
        show.end(await stream.final())
    return Exit.OK


async def _whole(client: AsyncDGrid, show: _Show, params: dict[str, Any]) -> int:
    async with client:
        reply = await show.entry.create(client, params)
    show.reply(reply)
    show.end(reply)
    return Exit.OK
