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
    if len(pieces) == 2:  # noqa: PLR2004 -- a snapshot at each piece: a text that nobody else holds grows in its place
        text, piece = pieces
        pieces.clear()
        text += piece
        pieces.append(text)
        return text
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""
