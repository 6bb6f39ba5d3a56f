"""Joins frames that come faster than a page can draw: like with like only, in order, within a bound, none dropped.

Rules
1. The first words go out at once; after that, at least `interval` lies between two flushes. A pause that was longer has used
   the interval up, so a slow model's words are never held back.
2. Text joins text and arguments join arguments, of the same block, and only neighbours: nothing overtakes anything.
3. A joined frame carries the last id of those that it joins.

Sans-IO: the clock is the caller's. Linear: pieces are kept as they come and joined once.
"""

from __future__ import annotations

from dgrid_async.relay.blocks import Frame

__all__ = ["Coalescer"]

_JOINED = frozenset({"text", "reasoning", "tool_arguments"})
_LAST = frozenset({"finish", "error"})
# What a frame takes beside its text: field names, numbers and braces.
_FRAME_BYTES = 96


class Coalescer:
    """The frames that wait to be sent.

    Args:
        interval: Seconds between two flushes; 0 sends what there is whenever it is asked for.
        max_bytes: How much may wait before `full` says so; the bound is the caller's to keep.

    Attributes:
        size: About how many bytes wait.
    """

    def __init__(self, interval: float, max_bytes: int) -> None:
        self._interval = interval
        self._max_bytes = max_bytes
        # The mutable state, beside the attribute: what waits, the pieces of the last frame's text while it may grow, whether
        # what waits must not, and the first moment at which the next flush is due.
        self._frames: list[Frame] = []
        self._pieces: list[str] | None = None
        self._urgent = False
        self._next = 0.0
        self.size = 0

    @property
    def full(self) -> bool:
        """Whether no more should be added."""
        return self.size >= self._max_bytes

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Frame) -> None:
        """Take in the next frame; it is the coalescer's from now on."""
        kind = frame["type"]
        if kind in _JOINED:
            text = frame["text"]
            self.size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            if self._pieces is not None:
                last = self._frames[-1]
                if last["block"] == frame["block"] and last["type"] == kind:
                    self._pieces.append(text)
                    last["id"] = frame["id"]
                    return
                self._close()
            self._pieces = [text]
        else:
            self._close()
            if kind in _LAST:
                self._urgent = True
            elif kind == "raw":
                self.size += len(str(frame["event"]))
        self.size += _FRAME_BYTES
        self._frames.append(frame)

    def wait(self, now: float) -> float | None:
        """Return the seconds until what waits is due, 0 if it is; None if nothing waits.

        Args:
            now: By a monotonic clock.
        """
        if not self._frames:
            return None
        return 0.0 if self._urgent or self.full else max(0.0, self._next - now)

    def take(self, now: float) -> list[Frame]:
        """Return what waits, joined, and begin the next interval.

        Args:
            now: By a monotonic clock.
        """
        self._close()
        frames = self._frames
        # A mere start holds up no first word.
        if any(frame["type"] != "start" for frame in frames):
            self._next = now + self._interval
        self._frames = []
        self._urgent = False
        self.size = 0
        return frames

    def _close(self) -> None:
        """Let the last frame grow no more."""
        if self._pieces is not None:
            if len(self._pieces) > 1:
                self._frames[-1]["text"] = "".join(self._pieces)
            self._pieces = None
