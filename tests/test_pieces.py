"""Texts under way: few pieces, little copying, and what was handed out stays as it was."""

from __future__ import annotations

import tracemalloc

import pytest

from dgrid_async.pieces import PIECES, fold, join


@pytest.mark.parametrize("size", [0, 1, 5, 300])
def test_pieces_stay_few_for_their_text_and_a_piece_is_copied_a_bounded_number_of_times(size: int) -> None:
    pieces: list[str] = []
    copied_characters = 0
    for _ in range(20_000):
        pieces.append("x" * size)
        if not len(pieces) % PIECES:
            before = len(pieces)
            fold(pieces)
            copied_characters += len(pieces[0]) if len(pieces) < before else 0
    assert len(pieces) <= 20_000 * size / 64 + PIECES
    assert copied_characters <= 20_000 * (64 + 2 * size)
    assert join(pieces) == "x" * size * 20_000
    assert len(pieces) == 1


def test_joining_leaves_a_text_that_was_handed_out_as_it_was() -> None:
    pieces: list[str] = []
    found = []
    for piece in ("a", "é", "漢", "b"):
        pieces.append(piece)
        found.append(join(pieces))
    assert found == ["a", "aé", "aé漢", "aé漢b"]
    assert join([]) == ""


@pytest.mark.parametrize("more", [1, 3])
def test_a_text_that_nobody_else_holds_grows_in_its_place(more: int) -> None:
    tracemalloc.start()
    try:
        pieces = ["x" * 10_000_000]
        pieces += ["y"] * more
        tracemalloc.reset_peak()
        text = join(pieces)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert text == "x" * 10_000_000 + "y" * more
    assert peak < 11_000_000
