"""The frames of one answer as they are written: numbers frames and blocks, opens a call before its arguments, ends it once.

A block is a stretch of the answer of one kind: a text, a reasoning, one tool call. Blocks are numbered as they come, through
all choices, so that a page needs the number alone.
Linear in the pieces, and holds none but the arguments of a call whose name has not come. It knows no wire format and never
waits.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

__all__ = ["Block", "Blocks", "Frame"]

Frame = dict[str, Any]
"""One JSON object for the page; `dgrid_async.relay.frames` says what is in it."""


class Block:
    """One block under way.

    Attributes:
        number: Its place in the answer.
        choice: The choice or candidate that it belongs to.
        said: How many characters have been written.
        id: Of a tool call, the vendor's id; empty before it is known.
        held: Of a tool call, arguments that wait for its name; None once the call is written.
        over: The call has ended.
    """

    __slots__ = ("choice", "held", "id", "kind", "number", "over", "said")

    def __init__(self, number: int, choice: int) -> None:
        self.number = number
        self.choice = choice
        self.said = 0
        self.id = ""
        self.kind = ""
        self.held: list[str] | None = []
        self.over = False


class Blocks:
    """The blocks of one answer, found by keys of the format's own, and the frames written since they were last taken.

    Attributes:
        finishes: What the vendor said of each choice's end, by choice.
        calling: The choices in which the model wants a tool of the caller's.
    """

    def __init__(self) -> None:
        # The mutable state, beside the attributes: the last frame's number, the frames to be taken, whether the answer has
        # begun, the blocks by their keys, how many there are, and the calls that have not ended.
        self._id = 0
        self._frames: list[Frame] = []
        self._started = False
        self._blocks: dict[Hashable, Block] = {}
        self._count = 0
        self._calls: dict[Hashable, Block] = {}
        self.finishes: dict[int, str] = {}
        self.calling: set[int] = set()

    def take(self) -> list[Frame]:
        """Return the frames written since the last call."""
        frames = self._frames
        self._frames = []
        return frames

    def write(self, kind: str, /, **fields: Any) -> None:
        """Write a frame of a kind with its number."""
        self._id += 1
        self._frames.append({"id": self._id, "type": kind, **fields})

    def start(self, reply: str | None, model: str | None) -> None:
        """Write that the answer begins, once."""
        if not self._started:
            self._started = True
            self.write("start", reply=reply or None, model=model or None)

    def text(self, key: Hashable, choice: int, text: str) -> None:
        """Write more of the answer's text."""
        if text:
            self._grow("text", key, choice, text)

    def refusal(self, key: Hashable, choice: int, text: str) -> None:
        """Write more of what the model says in place of an answer."""
        if text:
            self._grow("text", key, choice, text)["refusal"] = True

    def reasoning(self, key: Hashable, choice: int, text: str) -> None:
        """Write more reasoning."""
        if text:
            self._grow("reasoning", key, choice, text)

    def rest(self, key: Hashable, whole: str) -> str:
        """Return what of a whole text has not been written."""
        block = self._blocks.get(key)
        return whole if block is None else whole[block.said + sum(map(len, block.held or ())) :]

    def call(self, key: Hashable, choice: int, name: str | None, call: str | None, kind: str) -> None:
        """Write that a tool is called; what has no name yet waits for it.

        Args:
            key: Of the call.
            choice: That it belongs to.
            name: The tool's; None or empty where this piece does not say.
            call: The vendor's id of the call, likewise.
            kind: "function" or "custom" for tools of the caller's, "server" for one that runs at the vendor's.
        """
        block = self._calls.get(key) or self._begin(key, choice)
        block.id = block.id or call or ""
        block.kind = kind
        if name and block.held is not None:
            self._name(block, name)

    def arguments(self, key: Hashable, choice: int, text: str) -> None:
        """Write more of a call's arguments."""
        block = self._calls.get(key)
        if block is None:
            if key in self._blocks or not text:
                return  # the call has ended
            block = self._begin(key, choice)
        if block.held is not None:
            block.held.append(text)
        elif text:
            block.said += len(text)
            self.write("tool_arguments", choice=block.choice, block=block.number, text=text)

    def end_call(self, key: Hashable) -> None:
        """Write that a call is whole, once."""
        block = self._calls.pop(key, None)
        if block is not None:
            if block.held is not None:
                self._name(block, "")
            block.over = True
            self.write("tool_end", choice=block.choice, block=block.number)

    def end_calls(self, choice: int | None = None) -> None:
        """Write that all calls are whole, or those of one choice."""
        for key, block in list(self._calls.items()):
            if choice is None or block.choice == choice:
                self.end_call(key)

    def find(self, key: Hashable) -> Block | None:
        """Return the block of a key."""
        return self._blocks.get(key)

    def _grow(self, kind: str, key: Hashable, choice: int, text: str) -> Frame:
        block = self._blocks.get(key)
        if block is None:
            block = self._open(key, choice)
        block.said += len(text)
        self._id += 1
        frame = {"id": self._id, "type": kind, "choice": choice, "block": block.number, "text": text}
        self._frames.append(frame)
        return frame

    def _open(self, key: Hashable, choice: int) -> Block:
        self.start(None, None)  # where the vendor has not said it by now
        block = self._blocks[key] = Block(self._count, choice)
        self._count += 1
        return block

    def _begin(self, key: Hashable, choice: int) -> Block:
        block = self._calls[key] = self._open(key, choice)
        block.kind = "function"
        return block

    def _name(self, block: Block, name: str) -> None:
        if block.kind != "server":
            self.calling.add(block.choice)
        place = {"choice": block.choice, "block": block.number}
        self.write("tool_call", **place, name=name, call=block.id or None, kind=block.kind)
        held = "".join(block.held or ())
        block.held = None
        if held:
            block.said += len(held)
            self.write("tool_arguments", **place, text=held)
