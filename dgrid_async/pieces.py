"""Texts under way: lists of the pieces that came, joined when somebody looks and kept short meanwhile.

This module never does I/O and never looks into the text.
"""

from __future__ import annotations

__all__ = ["PIECES", "fold", "join"]

PIECES = 16
"""How often `fold` is to be asked: a piece takes ten times the room of its characters, and a call time."""


def fold(pieces: list[str]) -> None:
    """Make one piece of all where they are many for the text they make: so each is copied 64 characters' worth at most."""
    if len(pieces) > len(pieces[0]) // 64:
        join(pieces)


def join(pieces: list[str]) -> str:
    """Return the pieces as one text, and leave them as one piece."""
    if len(pieces) <= 1:
        return pieces[0] if pieces else ""
    text, end = pieces if len(pieces) == 2 else (pieces[0], "".join(pieces[1:]))  # noqa: PLR2004 -- two: a snapshot at each
    pieces.clear()
    text += end  # which grows in its place where nobody else holds it: memory new to the process costs more than the copy
    pieces.append(text)
    return text
