"""Merges the events of a stream of the Messages API into the message.

Rules
1. A delta belongs to the block at its index. One that comes before its block, or that the block there cannot take,
   begins a block of its own kind.
2. A start whose index is taken begins another block, behind all others; unless it repeats the open block there (same
   kind, same id), or a delta had come early and waited for it.
3. Text, reasoning and JSON are appended, citations collected; a signature replaces the one before. An unknown delta
   fills an unknown block by the same rule; a known block has no place for it.
4. Counts are totals: what an event says replaces what was said before, what it leaves out or says to be null stands.
5. What a `message_delta` says of the stop replaces what was said before, null too; what it leaves out stands.
6. A tool's input is what its text parses to. Of a text that is no whole object, the complete members are the input, and
   the block keeps the text (`input_raw`). The input that came with the block's start stands while no text has come.

This module never does I/O and holds no event after `add`.
"""

from __future__ import annotations

from typing import Any

from dgrid_async import codec
from dgrid_async.apis.messages.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    ErrorEvent,
    Event,
    InputJSONDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
)
from dgrid_async.apis.messages.types import Message, Usage
from dgrid_async.copies import copied
from dgrid_async.endpoint import Progress
from dgrid_async.partial_json import PartialJSON
from dgrid_async.pieces import PIECES, fold, join
from dgrid_async.structuring import structure
from dgrid_async.wire import wire_names, wire_of

__all__ = ["MessageAccumulator"]

# The fields that deltas may fill, by the kind of block; a kind that is not here is unknown and takes all.
_FILLED: dict[str, frozenset[str]] = {
    "text": frozenset({"text", "citations"}),
    "thinking": frozenset({"thinking", "signature"}),
    "tool_use": frozenset({"input"}),
    "server_tool_use": frozenset({"input"}),
    "redacted_thinking": frozenset(),
    "web_search_tool_result": frozenset(),
    "web_fetch_tool_result": frozenset(),
    "code_execution_tool_result": frozenset(),
    "bash_code_execution_tool_result": frozenset(),
    "text_editor_code_execution_tool_result": frozenset(),
    "tool_search_tool_result": frozenset(),
    "container_upload": frozenset(),
}

# The kind of block that a delta begins where there is none for it, and the field it fills.
_BEGUN: dict[type, tuple[str, str]] = {
    TextDelta: ("text", "text"),
    CitationsDelta: ("text", "citations"),
    ThinkingDelta: ("thinking", "thinking"),
    SignatureDelta: ("thinking", "signature"),
    InputJSONDelta: ("tool_use", "input"),
}


class _Block:
    """A content block as it grows.

    Attributes:
        shell: Its JSON as it began, without what `pieces` holds.
        position: Its place among the blocks; ties are broken by arrival.
        declared: True once its start has come.
        stopped: True once its stop has come.
        pieces: The pieces of each field that deltas append to; joined in place when a snapshot needs them.
    """

    __slots__ = ("_fed", "_parser", "_template", "_templated", "declared", "pieces", "position", "shell", "stopped")

    def __init__(self, shell: dict[str, Any], position: int, *, declared: bool) -> None:
        self.shell = shell
        self.position = position
        self.declared = declared
        self.stopped = False
        self.pieces: dict[str, list[str]] = {}
        # What has been parsed of the input's text, and how far: for snapshots of an input that is not whole.
        self._parser: PartialJSON | None = None
        self._fed = 0
        # What every snapshot's block is a copy of, until the shell changes, and the fields that pieces filled by then.
        self._template: Any = None
        self._templated: list[str] = []
        self._take_prefix(shell)

    def takes(self, field: str) -> bool:
        filled = _filled(self.shell)
        return filled is None or field in filled

    def declare(self, shell: dict[str, Any]) -> None:
        """Take in the start of a block that is there already."""
        self.declared = True
        kept = {name: value for name, value in self.shell.items() if value and name != "type"}
        self.shell = {**shell, **kept}
        self._template = None
        self._take_prefix(self.shell)

    def _take_prefix(self, shell: dict[str, Any]) -> None:
        """Move the text that a start already holds to the pieces."""
        for field in ("text", "thinking"):
            if isinstance(shell.get(field), str) and self.takes(field):
                prefix = shell.pop(field)
                self.pieces.setdefault(field, []).append(prefix)

    def fill(self, delta: UnknownDelta) -> None:
        """Take in a delta of an unknown kind."""
        for name, value in delta.data.items():
            if name == "type":
                continue
            if isinstance(value, str):
                pieces = self.pieces.setdefault(name, [])
                if not pieces and isinstance(self.shell.get(name), str):
                    pieces.append(self.shell.pop(name))
                pieces.append(value)
                if not len(pieces) % PIECES:
                    fold(pieces)
            elif isinstance(value, list) and isinstance(self.shell.get(name), list):
                self.shell[name].extend(value)
            elif value is not None:
                self.shell[name] = copied(value)

    def changed(self) -> dict[str, Any]:
        """Return the shell, to be changed."""
        self._template = None
        return self.shell

    def made(self, *, ended: bool) -> Any:
        """Return the block so far as an object of its own."""
        grown: dict[str, Any] = {}
        raw = None
        for field, pieces in self.pieces.items():
            if not pieces:
                continue
            text = join(pieces)
            if field != "input":
                grown[field] = text
            elif text and not text.isspace():
                grown["input"], raw = self._input(text, ended=ended)
        if _filled(self.shell) is None:
            if raw is not None and ended:
                grown["input"] = raw  # an unknown block has no other place for it
            return _structured({**copied(self.shell), **grown})
        if self._template is None or [*grown] != self._templated:
            self._templated = [*grown]
            template = _structured({**copied(self.shell), **{name: {} if name == "input" else "" for name in grown}})
            for name in grown:  # each copy gets its own
                setattr(template, name, None)
            self._template = copied(template)  # copies of a copy are cheaper
        block = copied(self._template)
        for name, value in grown.items():
            setattr(block, name, value)
        if raw is not None:
            block.input_raw = raw
        return block

    def _input(self, text: str, *, ended: bool) -> tuple[Any, str | None]:
        # Parsing a whole text at once is cheaper than in pieces, so an input of which no live snapshot was taken is.
        parser = None if ended else self._parsed(text)
        if parser is None or parser.complete:
            try:
                value = codec.decode(text.encode("utf-8", "surrogatepass"))
            except ValueError:
                value = None
            if isinstance(value, dict):
                return value, None
        value = (parser or self._parsed(text)).copy()
        return (value if isinstance(value, dict) else {}), text

    def _parsed(self, text: str) -> PartialJSON:
        """Return the parser, having read the text to its end or first fault."""
        if self._parser is None:
            self._parser = PartialJSON()
        try:  # noqa: SIM105 -- `suppress` costs four calls at each look
            self._parser.feed(text[self._fed :])
        except ValueError:
            pass  # what was complete before the fault stands
        self._fed = len(text)
        return self._parser


class MessageAccumulator:
    """The message that the events so far make.

    Attributes:
        progress: COMPLETE after a `message_delta` with a stop reason, CLOSED after `message_stop`.
        failure: What an `error` event said, or None.
    """

    def __init__(self) -> None:
        self.progress = Progress.OPEN
        self.failure: Any = None
        # The mutable state beside these: the message's JSON without content and usage (None before the first event that
        # adds to it), the usage's, what every snapshot is a copy of until they change, its content left out; whether its
        # start has come; all blocks in their order, and the latest at each index; the pieces of
        # text and those of JSON of the block at each index that takes them, which save the common deltas all other
        # questions; the last position in use.
        self._message: dict[str, Any] | None = None
        self._usage: dict[str, Any] | None = None
        self._template: Message | None = None
        self._started = False
        self._blocks: list[_Block] = []
        self._at: dict[int, _Block] = {}
        self._text: dict[int, list[str]] = {}
        self._json: dict[int, list[str]] = {}
        self._last = -1

    def add(self, event: Event) -> None:
        """Take in one event.

        Raises:
            ValueError: A second `message_start`.
        """
        if type(event) is ContentBlockDelta:
            delta = event.delta
            if type(delta) is TextDelta:
                pieces = self._text.get(event.index)
                if pieces is not None:
                    pieces.append(delta.text)
                    if not len(pieces) % PIECES:
                        fold(pieces)
                    return
            elif type(delta) is InputJSONDelta:
                pieces = self._json.get(event.index)
                if pieces is not None:
                    pieces.append(delta.partial_json)
                    if not len(pieces) % PIECES:
                        fold(pieces)
                    return
            self._add_delta(event.index, delta)
            return
        match event:
            case ContentBlockStart():
                if event.content_block is not None:
                    self._start_block(event.index, copied(wire_of(event.content_block)))
            case ContentBlockStop():
                if event.index in self._at:
                    self._at[event.index].stopped = True
            case MessageDelta():
                self._change_message(event)
            case MessageStart():
                self._start_message(event)
            case MessageStop():
                self._begin()
                self.progress = Progress.CLOSED
            case ErrorEvent():
                self.failure = event.error if event.error is not None else event.to_dict()

    @property
    def usage(self) -> Usage | None:
        """The counts so far, as the message holds them; None if none came."""
        return None if self._usage is None else structure(copied(self._usage), Usage)

    def snapshot(self) -> Message | None:
        """Return the message so far as an object of its own, or None before the first event that adds to it.

        Snapshots share nothing that can change, but for what is closed inside a tool's input that is still arriving.
        """
        if self._message is None:
            return None
        if self._template is None:
            data = {**copied(self._message), "content": []}
            if self._usage is not None:
                data["usage"] = copied(self._usage)
            self._template = copied(structure(data, Message))  # copies of a copy are cheaper
        message = copied(self._template)
        ended = self.progress is not Progress.OPEN
        message.content = [block.made(ended=ended or block.stopped) for block in self._blocks]
        return message

    def _begin(self) -> dict[str, Any]:
        """Return the message's JSON, to be changed; the usage may be changed too."""
        self._template = None
        if self._message is None:
            self._message = {}
        return self._message

    def _start_message(self, event: MessageStart) -> None:
        if self._started:
            raise ValueError("a second message_start came inside one stream")
        self._started = True
        data = copied(wire_of(event.message))
        usage = data.pop("usage", None)
        content = data.pop("content", None) or []
        # A message_delta may have come before, and knows better.
        self._message = {**data, **{name: value for name, value in self._begin().items() if value is not None}}
        if usage:
            self._usage = {**usage, **(self._usage or {})}
        for index, block in enumerate(content):
            self._start_block(index, block)

    def _start_block(self, index: int, shell: dict[str, Any]) -> None:
        message = self._begin()
        if shell.get("type") == "fallback":
            # From here on another model speaks; the block names it.
            successor = shell.get("to")
            if isinstance(successor, dict) and isinstance(successor.get("model"), str):
                message["model"] = successor["model"]
        block = self._at.get(index)
        if block is None:
            self._open(index, _Block(shell, index, declared=True))
        elif _continues(block, shell):
            block.declare(shell)
            self._open(index, block)
        else:
            self._open(index, _Block(shell, self._last + 1, declared=True))

    def _open(self, index: int, block: _Block) -> None:
        """Make a block the one at its index."""
        if self._at.get(index) is not block:
            self._at[index] = block
            self._blocks.append(block)
            self._blocks.sort(key=lambda block: block.position)
            self._last = max(self._last, block.position)
        for field, pieces in (("text", self._text), ("input", self._json)):
            if block.takes(field):
                pieces[index] = block.pieces.setdefault(field, [])
            else:
                pieces.pop(index, None)

    def _add_delta(self, index: int, delta: Any) -> None:
        """Take in a delta: any but the text of a block that is there."""
        block = self._at.get(index)
        if type(delta) is UnknownDelta:
            if block is not None and _filled(block.shell) is None:
                block.fill(delta)
            return
        begun = _BEGUN.get(type(delta))
        if begun is None:  # no delta at all
            return
        kind, field = begun
        if block is None or not block.takes(field):
            self._begin()
            block = _Block({"type": kind}, index if block is None else self._last + 1, declared=False)
            self._open(index, block)
        if type(delta) is InputJSONDelta:
            block.pieces.setdefault("input", []).append(delta.partial_json)
        elif type(delta) is SignatureDelta:
            block.changed()["signature"] = delta.signature
        elif type(delta) is CitationsDelta:
            if delta.citation is not None:
                shell = block.changed()
                shell["citations"] = shell.get("citations") or []
                shell["citations"].append(copied(wire_of(delta.citation)))
        else:
            pieces = block.pieces.setdefault(field, [])
            pieces.append(getattr(delta, field))
            if not len(pieces) % PIECES:
                fold(pieces)

    def _change_message(self, event: MessageDelta) -> None:
        message = self._begin()
        body = copied(wire_of(event.delta))
        for name in ("stop_reason", "stop_sequence", "stop_details"):
            if name in body:
                message[name] = body[name]
        if body.get("container") is not None:
            message["container"] = body["container"]
        # New fields of the message are announced here too; one that the message has already is not theirs to change.
        for name, value in {**event.delta.extra, **event.extra}.items():
            if value is not None and name not in wire_names(Message):
                message[name] = copied(value)
        if event.usage is not None:
            counts = {name: count for name, count in copied(wire_of(event.usage)).items() if count is not None}
            self._usage = {**(self._usage or {}), **counts}
        if self.progress is not Progress.CLOSED:
            self.progress = Progress.OPEN if message.get("stop_reason") is None else Progress.COMPLETE


def _filled(shell: dict[str, Any]) -> frozenset[str] | None:
    """Return the fields of a block that deltas may fill, or None for all."""
    kind = shell.get("type")
    return _FILLED.get(kind) if isinstance(kind, str) else None


def _structured(block: dict[str, Any]) -> Any:
    """Return the object of a content block's JSON."""
    return structure({"content": [block]}, Message).content[0]


def _continues(block: _Block, shell: dict[str, Any]) -> bool:
    """Return whether a start belongs to the block that is at its index already."""
    if not block.declared:
        filled = _filled(shell)
        mine = {*block.pieces, *block.shell} - {"type"}
        return filled is None or mine <= filled
    same = all(block.shell.get(name) == shell.get(name) for name in ("type", "id"))
    return same and not block.stopped
