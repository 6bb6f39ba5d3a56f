"""The history: what is kept, what is let go of, and how what is at hand is joined."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrid_async.relay.history import History, merge


def text(number: int, words: str, block: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "text", "choice": 0, "block": block, "text": words, **more}


def filled(count: int, max_bytes: int | None = None, words: str = "word ") -> History:
    history = History(max_bytes)
    for number in range(1, count + 1):
        history.add(text(number, words))
    return history


def test_what_is_at_hand_is_joined_and_has_the_last_id() -> None:
    history = filled(5)
    assert history.take(1) == (text(5, "word word word word "), 5)
    assert history.take(4) == (text(5, "word "), 5)
    assert history.since(3, 10_000) == [text(4, "word "), text(5, "word ")]
    assert history.since(1, 2) == [text(2, "word "), text(3, "word ")]


@pytest.mark.parametrize(
    "other",
    [
        text(2, "b", block=1),
        text(2, "b", refusal=True),
        {**text(2, "b"), "choice": 1},
        {**text(2, "b"), "type": "reasoning"},
        {"id": 2, "type": "tool_end", "choice": 0, "block": 0},
        {"id": 2, "type": "finish", "reason": "stop", "native": None},
    ],
)
def test_unlike_frames_are_not_joined(other: dict[str, Any]) -> None:
    first = text(1, "a")
    assert merge([first, other], 0) == (first, 1)
    assert merge([other, first], 0) == (other, 1)


def test_joining_leaves_the_frames_as_they_were() -> None:
    frames = [text(1, "a"), text(2, "b")]
    merge(frames, 0)
    assert frames == [text(1, "a"), text(2, "b")]


def test_raw_frames_are_not_joined() -> None:
    frames = [{"id": n, "type": "raw", "event": {}} for n in (1, 2)]
    assert merge(frames, 0) == (frames[0], 1)


def test_a_joined_frame_has_a_bound() -> None:
    history = filled(30, words="x" * 10_000)
    frame, position = history.take(0)
    assert len(frame["text"]) == 60_000
    assert position == frame["id"] == 6


def test_one_frame_above_the_bound_comes_by_itself() -> None:
    frames = [text(1, "x" * 100_000), text(2, "y")]
    assert merge(frames, 0) == (frames[0], 1)


def test_the_oldest_go_when_there_are_too_many_bytes() -> None:
    history = filled(1000, max_bytes=50_000)
    kept = history.since(0, 10_000)
    assert kept[-1]["id"] == history.last_id == 1000
    assert kept[0]["id"] == history.lost_id + 1
    assert 100 < len(kept) < 170
    assert history.end - history.begin == len(kept)
    assert history.end == 1000
    assert len(history._frames) <= 2 * len(kept) + 2  # what is gone does not stay behind in the lists


def test_the_newest_is_kept_whatever_its_size() -> None:
    history = filled(3, max_bytes=0)
    assert history.since(0, 10_000) == [text(3, "word ")]
    assert history.lost_id == 2


def test_losing_a_stretch_begins_anew_behind_it() -> None:
    history = filled(3)
    history.lose(10)
    assert (history.lost_id, history.last_id, history.begin, history.end) == (10, 10, 3, 3)
    history.add(text(11, "a"))
    assert history.after(0) == history.after(10) == 3
    assert history.unread_bytes(3) > 0
    assert history.unread_bytes(4) == 0


@given(
    words=st.lists(st.tuples(st.text(max_size=5), st.integers(0, 2)), min_size=1, max_size=40),
    gaps=st.lists(st.integers(1, 5), min_size=40, max_size=40),
    bound=st.none() | st.integers(0, 6000),
    at=st.integers(0, 250),
)
def test_what_follows_an_id_is_all_that_is_kept_behind_it(
    words: list[tuple[str, int]], gaps: list[int], bound: int | None, at: int
) -> None:
    history = History(bound)
    frames = []
    number = 0
    for (each, block), gap in zip(words, gaps, strict=False):
        number += gap
        frames.append(text(number, each, block))
        history.add(frames[-1])
    expected = [frame for frame in frames if frame["id"] > max(at, history.lost_id)]
    position = history.after(at)
    assert history.since(position, 10_000) == expected
    # The sizes agree with a plain sum.
    sizes = [history.unread_bytes(each) for each in range(history.begin, history.end + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    # Taken one after the other, joined or not, the same text of the same blocks comes in the same order.
    taken = []
    while position < history.end:
        frame, position = history.take(position)
        taken += [(frame["block"], letter) for letter in frame["text"]]
        assert frame["id"] == frames[position - 1]["id"]
    assert taken == [(frame["block"], letter) for frame in expected for letter in frame["text"]]
