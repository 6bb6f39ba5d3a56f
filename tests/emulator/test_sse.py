"""The bytes of single events."""

from __future__ import annotations

from dgrid_async.emulator.sse import DONE, encode, named, unnamed


def test_events() -> None:
    assert named({"type": "ping"}) == (b'event: ping\ndata: {"type":"ping"}\n\n', False)
    assert unnamed({"a": [1, None]}, ends=True) == (b'data: {"a":[1,null]}\n\n', True)
    assert DONE == (b"data: [DONE]\n\n", True)


def test_text_stays_on_one_line_and_unescaped() -> None:
    assert encode({"t": "ü\u2028\n"}) == '{"t":"ü\u2028\\n"}'.encode()


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert encode("\ud83d") == b'"\\ud83d"'
