"""What has been said so far: the frames of one answer in their order, in one place for all who read it.

Rules
1. A frame is kept once, whoever reads it; a reader is a position in here.
2. Frames are kept and let go of whole, so the id of a frame is always a place at which reading can go on.
3. What is at hand is read merged, like with like: a reader who is late gets fewer frames and no less text.

This module never waits and reads no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from dgrid_async.codec import encode
from dgrid_async.relay.blocks import Frame

__all__ = ["History", "merge"]

# The frames whose `text` goes on in the next one of the same block.
_GROWING = frozenset({"text", "reasoning", "tool_arguments"})

# What a frame of a few letters holds in memory beyond its JSON: the dict, its strings, its place in the lists (CPython 3.11).
_FRAME_BYTES = 300
# The characters that one merged frame may hold: what a page takes in one message without a pause that is felt.
_MOST_MERGED = 64 * 1024


class History:
    """Frames in the order of their ids, of which the oldest go when there are too many.

    Positions count the frames that were ever added, those that are gone included.

    Args:
        max_bytes: What is kept at most, counted as JSON with what a frame costs in memory besides; None keeps everything.
            The newest frame is kept in any case.
        lost_id: The id up to which nothing is known from the start.
    """

    def __init__(self, max_bytes: int | None, *, lost_id: int = 0) -> None:
        self._max_bytes = max_bytes
        # The mutable state: frames, and behind each the bytes ever added by then; where the kept ones begin in both lists,
        # how many were taken out of the lists before, and the bytes ever added before the first kept one.
        self._frames: list[Frame] = []
        self._ends: list[int] = []
        self._start = 0
        self._removed = 0
        self._gone_bytes = 0
        self.added_bytes = 0
        self.lost_id = lost_id
        self.last_id = lost_id

    @property
    def begin(self) -> int:
        """The position of the oldest frame that is kept."""
        return self._removed + self._start

    @property
    def end(self) -> int:
        """The position of the next frame to come."""
        return self._removed + len(self._frames)

    def add(self, frame: Frame) -> None:
        """Take in a frame; its id is above all earlier ones."""
        self.added_bytes += len(encode(frame)) + _FRAME_BYTES
        self.last_id = frame["id"]
        self._frames.append(frame)
        self._ends.append(self.added_bytes)
        if self._max_bytes is None:
            return
        while self.added_bytes - self._gone_bytes > self._max_bytes and self._start < len(self._frames) - 1:
            self.lost_id = self._frames[self._start]["id"]
            self._gone_bytes = self._ends[self._start]
            self._frames[self._start] = {}
            self._start += 1
        if self._start > len(self._frames) // 2:  # so that taking out costs each frame a constant, and not the whole list
            del self._frames[: self._start], self._ends[: self._start]
            self._removed += self._start
            self._start = 0

    def lose(self, last_id: int) -> None:
        """Let go of all there is, and of what should have followed up to an id."""
        self._removed += len(self._frames)
        self._frames, self._ends, self._start = [], [], 0
        self._gone_bytes = self.added_bytes
        self.lost_id = self.last_id = last_id

    def after(self, last_id: int) -> int:
        """Return the position of the first kept frame whose id is above this one."""
        return self._removed + bisect_right(self._frames, last_id, lo=self._start, key=_id_of)

    def id_at(self, position: int) -> int:
        """Return the id of a kept frame."""
        return _id_of(self._frames[position - self._removed])

    def unread_bytes(self, position: int) -> int:
        """Return how many bytes were added from a kept position on."""
        index = position - self._removed
        return self.added_bytes - (self._ends[index - 1] if index else self._gone_bytes)

    def since(self, position: int, most: int) -> list[Frame]:
        """Return so many of the kept frames from a position on, as they were added."""
        index = max(position - self._removed, self._start)
        return self._frames[index : index + most]

    def take(self, position: int) -> tuple[Frame, int]:
        """Return the frame at a position, merged with what follows it as far as that is alike, and the position behind it.

        Args:
            position: From `begin` up to, and not with, `end`.
        """
        index = position - self._removed
        if index + 1 == len(self._frames):
            return self._frames[index], position + 1
        frame, behind = merge(self._frames, index)
        return frame, self._removed + behind


def merge(frames: Sequence[Frame], index: int) -> tuple[Frame, int]:
    """Return the frame at an index joined with those behind it that are alike, and the index behind the last of them.

    Alike are text, reasoning and arguments of the same block; all else stays as it is. The joined frame is a new dict.
    """
    first = frames[index]
    behind = index + 1
    if first["type"] not in _GROWING:
        return first, behind
    pieces: list[str] = [first["text"]]
    size = len(pieces[0])
    while behind < len(frames):
        frame = frames[behind]
        size += len(frame.get("text", ""))
        if size > _MOST_MERGED or not _alike(first, frame):
            break
        pieces.append(frame["text"])
        behind += 1
    if len(pieces) == 1:
        return first, behind
    return {**first, "id": frames[behind - 1]["id"], "text": "".join(pieces)}, behind


def _alike(one: Frame, other: Frame) -> bool:
    return all(one.get(field) == other.get(field) for field in ("type", "choice", "block", "refusal"))


def _id_of(frame: Frame) -> int:
    number: int = frame["id"]
    return number
