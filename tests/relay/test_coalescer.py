from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrid_async.relay.coalescer import Coalescer


def text(number: int, said: str = "x", block: int = 0, kind: str = "text") -> dict[str, Any]:
    return {"id": number, "type": kind, "choice": 0, "block": block, "text": said}


def test_the_first_words_go_at_once_and_the_next_after_the_interval() -> None:
    coalescer = Coalescer(0.03, 1000)
    assert coalescer.wait(10.0) is None
    coalescer.add({"id": 1, "type": "start", "reply": None, "model": None})
    assert coalescer.wait(10.0) == 0
    coalescer.take(10.0)
    coalescer.add(text(2))
    assert coalescer.wait(10.001) == 0  # the start has used up no interval
    coalescer.take(10.001)
    coalescer.add(text(3))
    assert coalescer.wait(10.011) == pytest.approx(0.02)
    assert coalescer.wait(10.04) == 0
    coalescer.take(10.04)
    coalescer.add(text(4))
    assert coalescer.wait(11.0) == 0  # a slow model's words are never held back


def test_like_joins_like_and_nothing_overtakes() -> None:
    coalescer = Coalescer(1, 1000)
    frames = [
        text(1, "a"),
        text(2, "b"),
        text(3, "c", 1),
        text(4, "d"),
        text(5, "e", 0, "reasoning"),
        text(6, "f", 0, "reasoning"),
    ]
    frames += [{"id": 7, "type": "tool_end", "choice": 0, "block": 2}, text(8, "g", 3), text(9, "h", 3)]
    for frame in frames:
        coalescer.add(frame)
    taken = coalescer.take(0)
    assert [(frame["id"], frame["type"], frame.get("text")) for frame in taken] == [
        (2, "text", "ab"),
        (3, "text", "c"),
        (4, "text", "d"),
        (6, "reasoning", "ef"),
        (7, "tool_end", None),
        (9, "text", "gh"),
    ]
    assert coalescer.size == 0
    assert coalescer.take(0) == []


@pytest.mark.parametrize("kind", ["finish", "error"])
def test_the_last_frame_does_not_wait(kind: str) -> None:
    coalescer = Coalescer(1, 1000)
    coalescer.add(text(1))
    coalescer.take(5.0)
    coalescer.add(text(2))
    assert coalescer.wait(5.0) == 1
    coalescer.add({"id": 3, "type": kind})
    assert coalescer.wait(5.0) == 0


def test_the_bound_counts_bytes() -> None:
    coalescer = Coalescer(1, 1000)
    coalescer.add(text(1, "é" * 100))
    few = coalescer.size
    assert 200 <= few < 400
    coalescer.add(text(2, "é" * 100))
    assert coalescer.size == few + 200
    assert not coalescer.full
    coalescer.add(text(3, "x" * 600))
    assert coalescer.full
    assert coalescer.wait(0) == 0
    coalescer.take(0)
    assert not coalescer.full
    coalescer.add({"id": 4, "type": "raw", "event": {"x": "y" * 2000}})
    assert coalescer.full


kinds = st.tuples(st.sampled_from(["text", "reasoning", "tool_arguments", "tool_end"]), st.integers(0, 2), st.text(max_size=3))


@given(st.lists(kinds), st.sets(st.integers(0, 20)))
def test_nothing_is_lost_or_moved(drawn: list[Any], flushes: set[int]) -> None:
    coalescer, sent = Coalescer(0, 10**6), []
    given_frames = []
    for number, (kind, block, said) in enumerate(drawn):
        frame = text(number, said, block, kind) if kind != "tool_end" else {"id": number, "type": kind, "block": block}
        given_frames.append(dict(frame))
        coalescer.add(frame)
        if number in flushes:
            sent += coalescer.take(0)
    sent += coalescer.take(0)

    def pieces(frames: list[Any]) -> list[tuple[Any, ...]]:
        told: list[tuple[Any, ...]] = []
        for frame in frames:
            place = (frame["type"], frame["block"])
            if "text" not in frame:
                told.append((*place, frame["id"]))
            else:
                told.extend((*place, character) for character in frame["text"])
        return told

    assert pieces(sent) == pieces(given_frames)
    numbers = [frame["id"] for frame in sent]
    assert numbers == sorted(set(numbers))
    assert not given_frames or numbers[-1] == given_frames[-1]["id"]
