from __future__ import annotations

from dgrid_async.relay.blocks import Blocks


def test_blocks_and_frames_are_numbered_as_they_come() -> None:
    blocks = Blocks()
    blocks.start("r", "m")
    blocks.start("again", "m")
    blocks.text("a", 0, "1")
    blocks.reasoning("b", 1, "2")
    blocks.text("a", 0, "3")
    blocks.text("a", 0, "")
    frames = blocks.take()
    assert [frame["id"] for frame in frames] == [1, 2, 3, 4]
    assert [(frame["type"], frame.get("block")) for frame in frames] == [
        ("start", None),
        ("text", 0),
        ("reasoning", 1),
        ("text", 0),
    ]
    assert blocks.take() == []


def test_arguments_wait_for_the_calls_name() -> None:
    blocks = Blocks()
    blocks.start(None, None)
    blocks.take()
    blocks.arguments("k", 0, '{"a"')
    blocks.arguments("k", 0, ":1")
    assert blocks.take() == []
    assert blocks.rest("k", '{"a":1}') == "}"
    blocks.call("k", 0, None, "id1", "function")
    assert blocks.take() == []
    blocks.call("k", 0, "f", None, "function")
    blocks.arguments("k", 0, "}")
    blocks.end_call("k")
    blocks.end_call("k")
    assert [(frame["type"], frame.get("text"), frame.get("call")) for frame in blocks.take()] == [
        ("tool_call", None, "id1"),
        ("tool_arguments", '{"a":1', None),
        ("tool_arguments", "}", None),
        ("tool_end", None, None),
    ]
    assert blocks.calling == {0}


def test_a_call_that_has_ended_takes_no_more() -> None:
    blocks = Blocks()
    blocks.call("k", 0, "f", None, "server")
    blocks.end_call("k")
    blocks.take()
    blocks.arguments("k", 0, "late")
    assert blocks.take() == []
    assert not blocks.calling  # the vendor's own tool


def test_a_nameless_call_is_told_when_it_ends() -> None:
    blocks = Blocks()
    blocks.start(None, None)
    blocks.take()
    blocks.arguments("k", 2, "{}")
    blocks.end_calls(1)
    assert blocks.take() == []
    blocks.end_calls()
    assert [frame["type"] for frame in blocks.take()] == ["tool_call", "tool_arguments", "tool_end"]


def test_an_answer_whose_vendor_says_nothing_of_its_start_has_one() -> None:
    blocks = Blocks()
    blocks.text("a", 0, "x")
    blocks.start("late", "m")
    assert [frame["type"] for frame in blocks.take()] == ["start", "text"]
