"""What the program writes: the answer to stdout, everything else to stderr, each piece at once.

It never decides what to write, and only a terminal gets escape sequences.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import TextIO

__all__ = ["Terminal"]

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Terminal:
    """The program's two outputs.

    Args:
        out: Where the answer goes.
        err: Where reasoning, usage and errors go.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        for stream in (out, err):
            if isinstance(stream, io.TextIOWrapper):
                # A model says what the terminal's encoding may not have; that must not end the answer.
                stream.reconfigure(errors="replace")
        self._out = out
        self._err = err
        self._dims = err.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._shared = out.isatty() and err.isatty()
        # The mutable state: whether each output stands in the middle of a line.
        self._out_open = False
        self._err_open = False

    def write(self, text: str) -> None:
        """Write a piece of the answer."""
        if text:
            self._end_err()
            self._out.write(text)
            self._out.flush()
            self._out_open = not text.endswith("\n")

    def think(self, text: str) -> None:
        """Write a piece of reasoning; dim on a terminal."""
        if text:
            if self._shared and self._out_open and not self._err_open:
                # Not to stdout: that holds the answer alone, also where it goes to a file.
                self._err.write("\n")
            self._err.write(f"{_DIM}{text}{_PLAIN}" if self._dims else text)
            self._err.flush()
            self._err_open = not text.endswith("\n")

    def note(self, text: str) -> None:
        """Write a line of its own to stderr."""
        self.end_line()
        self._err.write(text + "\n")
        self._err.flush()

    def end_line(self) -> None:
        """End the lines that are begun."""
        self._end_err()
        if self._out_open:
            self.write("\n")

    def _end_err(self) -> None:
        if self._err_open:
            self._err_open = False
            self._err.write("\n")
            self._err.flush()

    def abandon(self) -> None:
        """Send to nowhere what an output no longer takes, or the interpreter's last flush would complain of it."""
        for stream in (self._out, self._err):
            try:
                stream.flush()
            except (OSError, ValueError):
                with contextlib.suppress(OSError, ValueError):
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, stream.fileno())
                    os.close(nowhere)
