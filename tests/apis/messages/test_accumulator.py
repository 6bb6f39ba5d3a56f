"""The accumulator: recorded streams give what the vendor's own package made of them, broken ones lose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis import messages
from dgrid_async.apis.messages.accumulator import MessageAccumulator
from dgrid_async.endpoint import Progress
from dgrid_async.sse import SSEDecoder
from tests.counting import calls_made

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts" / "messages"
NAMES = sorted(path.stem for path in TRANSCRIPTS.glob("*.sse"))

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "provider/model",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1},
    },
}
STOP: dict[str, Any] = {"type": "message_stop"}


def block(index: int, kind: str = "text", **fields: Any) -> dict[str, Any]:
    shells: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"id": "t", "name": "f", "input": {}},
    }
    shell = {"type": kind, **shells.get(kind, {}), **fields}
    return {"type": "content_block_start", "index": index, "content_block": shell}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text(index: int, value: str) -> dict[str, Any]:
    return delta(index, "text_delta", text=value)


def arguments(index: int, *pieces: str) -> list[dict[str, Any]]:
    return [delta(index, "input_json_delta", partial_json=piece) for piece in pieces]


def ending(reason: str | None = "end_turn", usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **fields}, "usage": usage}


def accumulated(*wire: dict[str, Any]) -> MessageAccumulator:
    accumulator = MessageAccumulator()
    for data in wire:
        event = messages.decode_event(data)
        if event is not None:
            accumulator.add(event)
    return accumulator


def reply(*wire: dict[str, Any]) -> messages.Message:
    message = accumulated(*wire).snapshot()
    assert message is not None
    return message


def content(*wire: dict[str, Any]) -> list[dict[str, Any]]:
    return [part.to_dict() for part in reply(*wire).content]


def recorded(name: str) -> list[dict[str, Any]]:
    decoder = SSEDecoder()
    events = [*decoder.feed((TRANSCRIPTS / f"{name}.sse").read_bytes()), *decoder.end()]
    return [json.loads(event.data) for event in events if event.data]


def expected(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((TRANSCRIPTS / f"{name}.expect.json").read_text())
    return result


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------------------- recorded streams


@pytest.mark.parametrize("name", [name for name in NAMES if "final" in expected(name)])
def test_a_recorded_stream_gives_the_vendors_own_final_message(name: str) -> None:
    accumulator = accumulated(*recorded(name))
    message = accumulator.snapshot()
    assert message is not None
    assert without_nulls(message.to_dict()) == without_nulls(expected(name)["final"])
    assert accumulator.progress is (Progress.OPEN if name == "truncated" else Progress.CLOSED)
    assert accumulator.failure is None
    assert accumulator.usage == message.usage


@pytest.mark.parametrize("name", NAMES)
def test_the_text_of_the_events_is_the_text_of_the_message(name: str) -> None:
    events = [event for data in recorded(name) if (event := messages.decode_event(data)) is not None]
    accumulator = MessageAccumulator()
    so_far = ""
    for event in events:
        accumulator.add(event)
        so_far += messages.text_of(event)
        message = accumulator.snapshot()
        assert message is not None
        assert message.text == so_far
    assert len(NAMES) >= 14


def test_a_stream_without_event_lines_is_whole() -> None:
    accumulator = accumulated(*recorded("no_event_name"))
    message = accumulator.snapshot()
    assert message is not None
    assert (message.id, message.text, message.stop_reason) == ("msg_27NoName", "x", "end_turn")
    assert accumulator.progress is Progress.CLOSED


def test_an_error_in_the_stream_is_the_failure_and_keeps_the_message() -> None:
    accumulator = accumulated(*recorded("error_midstream"))
    message = accumulator.snapshot()
    assert message is not None
    assert accumulator.failure == {"type": "overloaded_error", "message": "Overloaded"}
    assert accumulator.progress is Progress.OPEN
    assert without_nulls(message.to_dict()) == without_nulls(expected("error_midstream")["snapshot"])


# -------------------------------------------------------------------------------------------------------- terminal rule


@pytest.mark.parametrize(
    ("wire", "progress"),
    [
        ([], Progress.OPEN),
        ([START, block(0), text(0, "a"), stop(0)], Progress.OPEN),
        ([START, ending(None)], Progress.OPEN),
        ([START, {"type": "message_delta", "usage": {"output_tokens": 3}}], Progress.OPEN),
        ([START, ending("end_turn")], Progress.COMPLETE),
        ([START, ending("a_new_reason")], Progress.COMPLETE),
        (
            [START, ending("end_turn"), {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}}],
            Progress.COMPLETE,
        ),
        ([START, ending("end_turn"), STOP], Progress.CLOSED),
        ([START, STOP], Progress.CLOSED),
        ([START, ending("end_turn"), STOP, ending(None)], Progress.CLOSED),
    ],
)
def test_how_far_the_stream_has_come(wire: list[dict[str, Any]], progress: Progress) -> None:
    assert accumulated(*wire).progress is progress


def test_a_second_start_is_refused() -> None:
    accumulator = accumulated(START, block(0), text(0, "a"))
    event = messages.decode_event(START)
    assert event is not None
    with pytest.raises(ValueError, match="second message_start"):
        accumulator.add(event)
    message = accumulator.snapshot()
    assert message is not None
    assert message.text == "a"


def test_a_flat_error_event_is_a_failure_as_a_whole() -> None:
    wire = {"type": "error", "message": "no", "code": 7}
    assert accumulated(START, wire).failure == wire


def test_there_is_no_message_before_the_first_event() -> None:
    accumulator = accumulated({"type": "ping"}, {"type": "a_new_event"})
    assert accumulator.snapshot() is None
    assert accumulator.usage is None


# -------------------------------------------------------------------------------------------------------------- merging


def test_each_delta_fills_its_field() -> None:
    cited = {"type": "page_location", "cited_text": "c", "document_index": 0, "a_new_field": 1}
    assert content(
        START,
        block(0, "thinking"),
        delta(0, "thinking_delta", thinking="h", estimated_tokens=3),
        delta(0, "thinking_delta", thinking="m"),
        delta(0, "signature_delta", signature="old"),
        delta(0, "signature_delta", signature="new"),
        block(1, citations=None, a_new_field={"x": 1}),
        delta(1, "citations_delta", citation=cited),
        text(1, "a"),
        delta(1, "citations_delta", citation={"type": "a_new_location"}),
        delta(1, "citations_delta", citation=None),
        text(1, "b"),
    ) == [
        {"type": "thinking", "thinking": "hm", "signature": "new"},
        {"type": "text", "text": "ab", "citations": [cited, {"type": "a_new_location"}], "a_new_field": {"x": 1}},
    ]


def test_deltas_go_on_from_what_a_start_already_holds() -> None:
    assert content(
        START,
        block(0, text="al"),
        text(0, "so"),
        block(1, "thinking", thinking="h"),
        delta(1, "thinking_delta", thinking="m"),
    ) == [{"type": "text", "text": "also"}, {"type": "thinking", "thinking": "hm", "signature": ""}]


@pytest.mark.parametrize("pieces", [[], [""], ["", " ", ""]])
@pytest.mark.parametrize("given", [{}, {"whole": "at the start"}])
def test_an_input_stands_as_it_began_while_no_json_comes(given: dict[str, Any], pieces: list[str]) -> None:
    (tool,) = reply(START, block(0, "tool_use", input=given), *arguments(0, *pieces), stop(0)).tool_uses
    assert (tool.input, tool.input_raw) == (given, None)


def test_an_input_grows_by_complete_members() -> None:
    accumulator = accumulated(START, block(0, "tool_use"))
    seen = []
    for data in [*arguments(0, "", '{"path": "/a', '", "lines": [1, 2', "3, {", '"x": null', "}]", "}"), stop(0), STOP]:
        event = messages.decode_event(data)
        assert event is not None
        accumulator.add(event)
        message = accumulator.snapshot()
        assert message is not None
        seen.append((message.tool_uses[0].input, message.tool_uses[0].input_raw is None))
    whole = {"path": "/a", "lines": [1, 23, {"x": None}]}
    assert seen == [
        ({}, True),
        ({}, False),
        ({"path": "/a", "lines": [1]}, False),
        ({"path": "/a", "lines": [1, 23, {}]}, False),
        ({"path": "/a", "lines": [1, 23, {}]}, False),
        (whole, False),
        (whole, True),
        (whole, True),
        (whole, True),
    ]


@pytest.mark.parametrize(
    ("pieces", "value"),
    [
        (['{"path": "/a", "text": "unfin'], {"path": "/a"}),
        (['{"a": 1}', '{"a": 1}'], {"a": 1}),
        (["{'a': 1}"], {}),
        (['{"a": 1, b: 2}'], {"a": 1}),
        (["[1]"], {}),
        (['"text"'], {}),
        (["<html>"], {}),
        (['{"a": tru', "th}"], {}),
    ],
)
@pytest.mark.parametrize("end", [[], [stop(0)], [ending("max_tokens")], [stop(0), ending("tool_use"), STOP]])
@pytest.mark.parametrize("live", [False, True])
def test_an_input_that_is_no_json_keeps_its_text(
    pieces: list[str],
    value: dict[str, Any],
    end: list[dict[str, Any]],
    live: bool,
) -> None:
    accumulator = MessageAccumulator()
    for data in [START, block(0, "tool_use"), *arguments(0, *pieces), *end]:
        event = messages.decode_event(data)
        assert event is not None
        accumulator.add(event)
        if live:
            accumulator.snapshot()
    message = accumulator.snapshot()
    assert message is not None
    (tool,) = message.tool_uses
    assert tool.input == value
    assert tool.input_raw == "".join(pieces)
    assert "input_raw" not in tool.to_dict()


def test_half_a_character_in_an_input_can_be_sent_again() -> None:
    pieces = arguments(0, '{"a": "\\ud83d"', ', "b": "\\ud83d', '\\ude00"}')
    (tool,) = reply(START, block(0, "tool_use"), *pieces, stop(0)).tool_uses
    assert tool.input == {"a": "\ufffd", "b": "\U0001f600"}


def test_blocks_may_be_open_side_by_side() -> None:
    assert content(
        START,
        block(0),
        block(1, "tool_use", id="a"),
        block(2, "tool_use", id="b"),
        *arguments(1, '{"x":'),
        *arguments(2, '{"y":'),
        text(0, "text"),
        *arguments(1, "1}"),
        *arguments(2, "2}"),
        stop(1),
        stop(0),
        stop(2),
    ) == [
        {"type": "text", "text": "text"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "f", "input": {"y": 2}},
    ]


# ------------------------------------------------------------------------------------------- what gateways do to blocks


@pytest.mark.parametrize(
    ("early", "shell"),
    [
        ([text(0, "a"), text(0, "b")], {"type": "text", "text": "ab"}),
        ([delta(0, "thinking_delta", thinking="h")], {"type": "thinking", "thinking": "h"}),
        ([delta(0, "signature_delta", signature="s")], {"type": "thinking", "signature": "s"}),
        (arguments(0, '{"a"', ":1}"), {"type": "tool_use", "input": {"a": 1}}),
        (
            [delta(0, "citations_delta", citation={"type": "page_location"})],
            {"type": "text", "citations": [{"type": "page_location"}]},
        ),
    ],
)
def test_a_delta_before_its_start_begins_its_block(early: list[dict[str, Any]], shell: dict[str, Any]) -> None:
    assert content(*early, ending(), STOP) == [shell]
    assert content(START, *early, ending(), STOP) == [shell]


def test_a_late_start_declares_the_block_that_a_delta_began() -> None:
    assert content(
        START,
        text(0, "a"),
        delta(0, "citations_delta", citation={"type": "page_location"}),
        block(0, citations=[]),
        text(0, "b"),
        *arguments(1, '{"q":'),
        block(1, "server_tool_use", id="s", name="web_search", input={}),
        *arguments(1, "1}"),
        delta(2, "signature_delta", signature="s"),
        delta(2, "thinking_delta", thinking="h"),
        block(2, "thinking"),
        delta(2, "thinking_delta", thinking="m"),
    ) == [
        {"type": "text", "text": "ab", "citations": [{"type": "page_location"}]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
    ]


def test_a_late_start_of_another_kind_is_another_block() -> None:
    assert content(START, text(0, "a"), block(0, "tool_use"), *arguments(0, '{"x":1}')) == [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]


def test_a_message_may_start_late_or_never() -> None:
    wire = [block(0), text(0, "a"), ending("end_turn", {"output_tokens": 9})]
    never = reply(*wire)
    assert (never.id, never.text, never.stop_reason) == ("", "a", "end_turn")
    late = reply(*wire, START)
    assert (late.id, late.text, late.stop_reason) == ("m", "a", "end_turn")
    assert late.usage is not None
    assert (late.usage.input_tokens, late.usage.output_tokens) == (25, 9)


@pytest.mark.parametrize("indices", [(1, 2), (0, 7), (5, 6), (3, 1000000000000)])
def test_indices_may_have_gaps(indices: tuple[int, int]) -> None:
    one, two = indices
    assert reply(START, block(one), block(two), text(two, "b"), text(one, "a"), stop(one), stop(two)).text == "ab"


def test_the_index_orders_the_blocks_whichever_starts_first() -> None:
    assert reply(START, block(1), text(1, "b"), block(0), text(0, "a")).text == "ab"


@pytest.mark.parametrize("missing", [False, True])
def test_an_index_used_again_is_another_block(missing: bool) -> None:
    wire = [
        START,
        block(0),
        text(0, "a"),
        stop(0),
        block(0, "tool_use"),
        *arguments(0, '{"x":1}'),
        stop(0),
        block(0),
        text(0, "b"),
        stop(0),
    ]
    if missing:
        wire = [{name: value for name, value in data.items() if name != "index"} for data in wire]
    message = reply(*wire)
    assert [part.type for part in message.content] == ["text", "tool_use", "text"]
    assert message.text == "ab"
    assert message.tool_uses[0].input == {"x": 1}


def test_a_block_behind_a_used_index_comes_after_all_others() -> None:
    wire = [block(0), text(0, "a"), stop(0), block(1), text(1, "b"), stop(1), block(0), text(0, "c"), stop(0)]
    message = reply(START, *wire)
    assert [part.to_dict()["text"] for part in message.content] == ["a", "b", "c"]


def test_a_block_whose_index_was_taken_over_gets_no_more() -> None:
    message = reply(START, block(0), text(0, "a"), stop(0), block(0, "tool_use"), text(0, "b"))
    assert [part.type for part in message.content] == ["text", "tool_use", "text"]
    assert message.text == "ab"


def test_a_start_repeated_while_its_block_is_open_is_the_same_block() -> None:
    message = reply(
        START,
        block(0, "tool_use", id="a"),
        *arguments(0, '{"x":'),
        block(0, "tool_use", id="a"),
        *arguments(0, "1}"),
        block(0, "tool_use", id="b"),
        *arguments(0, '{"y":2}'),
    )
    assert [(tool.id, tool.input) for tool in message.tool_uses] == [("a", {"x": 1}), ("b", {"y": 2})]


@pytest.mark.parametrize("kind", ["tool_use", "redacted_thinking", "web_search_tool_result", "container_upload"])
def test_a_delta_that_its_block_cannot_take_begins_another(kind: str) -> None:
    message = reply(START, block(0, kind), text(0, "a"), text(0, "b"), stop(0))
    assert [part.type for part in message.content] == [kind, "text"]
    assert message.text == "ab"


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_start", "index": 3},
        {"type": "content_block_stop", "index": 3},
        delta(0, "a_new_delta", text="no"),
        delta(3, "a_new_delta", text="no"),
        {"type": "a_new_event", "text": "no"},
        {"type": "ping"},
    ],
)
def test_what_says_nothing_changes_nothing(wire: dict[str, Any]) -> None:
    before = [START, block(0), text(0, "a")]
    assert reply(*before, wire).to_dict() == reply(*before).to_dict()


def test_content_in_the_message_start_counts() -> None:
    start = {**START, "message": {**START["message"], "content": [{"type": "text", "text": "a"}]}}
    assert content(start, text(0, "b"), STOP) == [{"type": "text", "text": "ab"}]
    assert content(start, block(0), text(0, "b"), STOP) == [{"type": "text", "text": "ab"}]


@pytest.mark.parametrize("field", [{"content": None}, {"content": []}, {}])
def test_a_message_start_may_lack_content(field: dict[str, Any]) -> None:
    bare = {name: value for name, value in START["message"].items() if name != "content"}
    assert reply({"type": "message_start", "message": {**bare, **field}}, block(0), text(0, "a")).text == "a"


# ------------------------------------------------------------------------------------------------------- unknown things


def test_an_unknown_block_takes_every_delta() -> None:
    assert content(
        START,
        block(0, "mcp_tool_use", id="x", input={}, server_name="s"),
        *arguments(0, '{"a":', "1}"),
        stop(0),
        block(1, "compaction", content=None),
        delta(1, "compaction_delta", content="sum", encrypted_content=None),
        delta(1, "compaction_delta", content="mary", encrypted_content="e"),
        block(2, "future_block", text="al", list=[1], n=1, more="m"),
        text(2, "so"),
        delta(2, "future_delta", list=[2], n=2, nothing=None, more="ore", new="n"),
        delta(2, "future_delta", new="ew"),
    ) == [
        {"type": "mcp_tool_use", "id": "x", "input": {"a": 1}, "server_name": "s"},
        {"type": "compaction", "content": "summary", "encrypted_content": "e"},
        {"type": "future_block", "text": "also", "list": [1, 2], "n": 2, "more": "more", "new": "new"},
    ]


@pytest.mark.parametrize("end", [stop(0), ending()])
def test_an_unknown_blocks_broken_input_stays_text(end: dict[str, Any]) -> None:
    assert content(START, block(0, "mcp_tool_use"), *arguments(0, '{"a": nope}'), end) == [
        {"type": "mcp_tool_use", "input": '{"a": nope}'}
    ]


def test_a_fallback_block_names_the_model_that_goes_on() -> None:
    wire = {"from": {"model": "provider/model"}, "to": {"model": "provider/other"}, "trigger": {"type": "refusal"}}
    message = reply(START, block(0, "fallback", **wire), stop(0), block(1), text(1, "a"))
    assert message.model == "provider/other"
    assert message.content[0].to_dict() == {"type": "fallback", **wire}
    assert reply(START, block(0, "fallback", to="x")).model == "provider/model"


def test_unknown_fields_of_the_message_survive() -> None:
    start = {**START, "message": {**START["message"], "a_new_field": {"x": 1}, "usage": {"output_tokens": 1, "new": 2}}}
    change = {**ending(usage={"output_tokens": 5, "newer": [3]}, hint="h"), "context_management": {"applied_edits": []}}
    message = reply(start, change, STOP).to_dict()
    assert message["a_new_field"] == {"x": 1}
    assert message["context_management"] == {"applied_edits": []}
    assert message["hint"] == "h"
    assert message["usage"] == {"output_tokens": 5, "new": 2, "newer": [3]}


def test_a_message_delta_cannot_change_what_is_not_its_own() -> None:
    change = {**ending(content="x", id=5), "model": ["z"], "role": "w"}
    message = reply(START, block(0), text(0, "a"), change)
    assert (message.id, message.model, message.role, message.text) == ("m", "provider/model", "assistant", "a")


# ----------------------------------------------------------------------------------------------------- stop and counts


def test_what_is_said_of_the_stop_replaces_what_was_said_before() -> None:
    container = {"id": "c", "expires_at": "2026-01-01T00:00:00Z", "skills": None}
    refusal = {"type": "refusal", "category": "bio", "explanation": None}
    message = reply(
        START,
        ending(None, stop_details=refusal, container=container),
        ending("stop_sequence", stop_sequence="END", stop_details=None, container=None),
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}},
    )
    assert (message.stop_reason, message.stop_sequence, message.stop_details) == ("stop_sequence", "END", None)
    assert message.container is not None
    assert message.container.to_dict() == container


@pytest.mark.parametrize(
    ("first", "later", "total"),
    [
        ({"input_tokens": 9, "output_tokens": 1}, [{"output_tokens": 5}], {"input_tokens": 9, "output_tokens": 5}),
        (
            {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 4},
            [{"output_tokens": 5, "input_tokens": None, "cache_read_input_tokens": None}, {"output_tokens": 7}],
            {"input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": 4},
        ),
        (
            {"input_tokens": 9, "output_tokens": 1, "service_tier": "standard"},
            [{"input_tokens": 12, "output_tokens": 0, "server_tool_use": {"web_search_requests": 2}}],
            {
                "input_tokens": 12,
                "output_tokens": 0,
                "service_tier": "standard",
                "server_tool_use": {"web_search_requests": 2},
            },
        ),
        ({"input_tokens": 9, "output_tokens": 1}, [None, {}], {"input_tokens": 9, "output_tokens": 1}),
        (None, [{"output_tokens": 5}], {"output_tokens": 5}),
        (None, [None], None),
    ],
)
def test_counts_are_totals_and_the_last_one_said_stands(
    first: dict[str, Any] | None, later: list[dict[str, Any] | None], total: dict[str, Any] | None
) -> None:
    start = {**START, "message": {**START["message"], "usage": first}}
    accumulator = accumulated(start, *(ending("end_turn", usage) for usage in later), STOP)
    message = accumulator.snapshot()
    assert message is not None
    usage = accumulator.usage
    assert usage == message.usage
    assert (None if usage is None else usage.to_dict()) == total


def test_a_message_delta_may_lack_usage() -> None:
    message = reply(START, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, STOP)
    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens) == (25, 1)


# ------------------------------------------------------------------------------------------------------------ snapshots


def test_snapshots_and_events_are_independent() -> None:
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}
    start = {**START["message"], "kept": {"x": 1}, "usage": {"output_tokens": 1, "kept": {"x": 1}}}
    wire = [
        {"type": "message_start", "message": start},
        block(0, citations=[]),
        delta(0, "citations_delta", citation={"type": "a_new_location", "at": [1]}),
        {"type": "content_block_start", "index": 1, "content_block": found},
        block(2, "tool_use", input={"deep": {"x": 1}}),
        block(3, "future_block", text="al", deep={"x": 1}),
        text(3, "so"),
        delta(3, "future_delta", list=[1]),
        delta(3, "future_delta", list=[2]),
        block(4, "tool_use"),
        *arguments(4, '{"deep": {"x": 1'),
    ]
    before = json.dumps(wire)
    accumulator = accumulated(*wire)
    assert json.dumps(wire) == before
    one = accumulator.snapshot()
    assert one is not None
    first = json.dumps(one.to_dict())
    one.extra["kept"]["x"] = "mine"
    assert one.usage is not None
    one.usage.extra["kept"]["x"] = "mine"
    for part in one.content:
        if isinstance(part, messages.ToolUseBlock):
            part.input.setdefault("deep", {})["x"] = "mine"
            part.input["mine"] = True
        elif isinstance(part, messages.UnknownBlock):
            part.data["deep"]["x"] = "mine"
        elif isinstance(part, messages.WebSearchToolResultBlock):
            assert isinstance(part.content, list)
            part.content.clear()
        elif isinstance(part, messages.TextBlock):
            assert part.citations is not None
            part.citations[0].to_dict()["at"].append(2)
            part.text = "mine"
    one.content.clear()
    two = accumulator.snapshot()
    assert two is not None
    assert json.dumps(two.to_dict()) == first
    assert json.dumps(wire) == before


def test_what_a_consumer_does_to_an_event_stays_out_of_the_message() -> None:
    wire = [
        {"type": "message_start", "message": {**START["message"], "kept": {"x": 1}}},
        block(0, "future_block", kept={"x": 1}),
        delta(0, "future_delta", found={"x": 1}),
        block(1),
        delta(1, "citations_delta", citation={"type": "a_new_location", "kept": {"x": 1}}),
        ending(usage={"output_tokens": 1, "kept": {"x": 1}}, container={"id": "c", "kept": {"x": 1}}, later={"x": 1}),
    ]
    accumulator = accumulated(*wire)
    before = accumulator.snapshot()
    todo: list[Any] = list(wire)
    while todo:
        value = todo.pop()
        if "x" in value:
            value["x"] = "mine"
        todo += [item for item in value.values() if isinstance(item, dict)]
    assert json.dumps(wire).count("mine") == 7
    assert before is not None
    after = accumulator.snapshot()
    assert after is not None
    assert after.to_dict() == before.to_dict()
    assert "mine" not in json.dumps(after.to_dict())


def test_a_snapshot_at_each_event_changes_none_that_follows() -> None:
    wire = [
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": ""}},
        {**START, "message": {**START["message"], "kept": {"x": 1}}},
        block(0, "thinking"),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="s"),
        delta(0, "thinking_delta", thinking="m"),
        block(1, citations=[]),
        text(1, "a"),
        delta(1, "citations_delta", citation={"type": "page_location", "cited_text": "c"}),
        text(1, "b"),
        block(2, "tool_use", id="t", input={"first": 1}, kept=[1]),
        *arguments(2, '{"list": [1, {"x"', ": 2}, 3", "]", "}"),
        stop(2),
        block(3, "tool_use", id="u"),
        *arguments(3, '{"broken": ', "tru", "x"),
        block(4, "future_block", text="c"),
        text(4, "d"),
        delta(4, "future_delta", text="d"),
        ending(usage={"output_tokens": 9}),
        STOP,
    ]
    live = accumulated()
    for count, data in enumerate(wire, 1):
        live.add(messages.decode_event(data))  # type: ignore[arg-type]  # none is a ping
        one, other = live.snapshot(), accumulated(*wire[:count]).snapshot()
        assert one is not None
        assert other is not None
        assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())
        raw = [[getattr(part, "input_raw", None) for part in found.content] for found in (one, other)]
        assert raw[0] == raw[1]
        one.content.clear()
        one.extra.get("kept", {})["x"] = "mine"


def test_a_long_text_is_held_in_few_pieces() -> None:
    accumulator = accumulated(START, block(0), *[text(0, "abcd")] * 2000)
    assert len(accumulator._text[0]) < 200
    message = accumulator.snapshot()
    assert message is not None
    assert message.text == "abcd" * 2000


def test_what_was_joined_is_not_joined_again() -> None:
    accumulator = accumulated(START, block(0), text(0, "a"), text(0, "b"))
    accumulator.snapshot()
    assert accumulator._text == {0: ["ab"]}


@pytest.mark.parametrize("depth", [200, 900, 5000, 100000])
def test_deep_nesting_ends_no_stream(depth: int) -> None:
    deep: Any = {}
    for _ in range(depth):
        deep = {"x": deep}
    message = reply(
        START,
        block(0, "future_block", deep=deep),
        block(1),
        text(1, "a"),
        block(2, "tool_use"),
        *arguments(2, '{"ok": "\\u00e9", "deep": ', '{"x":' * depth, "1", "}" * depth, "}"),
        stop(2),
        {**ending(), "deep": deep},
    )
    assert message.text == "a"
    assert message.tool_uses[0].input["ok"] == "é"
    assert isinstance(message.content[0], messages.UnknownBlock)
    assert list(message.extra) == ["deep"]


def calls_for(count: int, *, live: bool, make: str) -> int:
    """Return how many Python and C calls it takes to merge so many deltas: a count, so load does not matter."""
    pieces = {
        "text": [text(0, "word ")] * count,
        "thinking": [delta(0, "thinking_delta", thinking="word ")] * count,
        "tool_use": arguments(0, '{"list": [0', *[", 1"] * count, "]}"),
        "citations": [delta(0, "citations_delta", citation={"type": "page_location"})] * count,
    }[make]
    events = [messages.decode_event(data) for data in [START, block(0, "text" if make == "citations" else make), *pieces, STOP]]
    accumulator = MessageAccumulator()

    def merge() -> None:
        for event in events:
            accumulator.add(event)  # type: ignore[arg-type]  # none is a ping
            if live:
                accumulator.snapshot()

    calls = calls_made(merge)
    assert accumulator.progress is Progress.CLOSED
    return calls


@pytest.mark.parametrize("make", ["text", "thinking", "tool_use", "citations"])
def test_merging_is_linear_in_the_number_of_deltas(make: str) -> None:
    assert calls_for(2000, live=False, make=make) < 2.1 * calls_for(1000, live=False, make=make)


@pytest.mark.parametrize("make", ["text", "thinking", "tool_use"])
def test_a_snapshot_at_each_event_does_not_pay_for_the_pieces_before(make: str) -> None:
    calls_for(10, live=True, make=make)  # the classes' own functions are made on first use
    assert calls_for(400, live=True, make=make) < 2.1 * calls_for(200, live=True, make=make)


@pytest.mark.parametrize("make", ["text", "tool_use"])
def test_a_common_delta_costs_one_append(make: str) -> None:
    assert (
        calls_for(2000, live=False, make=make) - calls_for(1000, live=False, make=make) <= 1000 * 4.5
    )  # a look at how many there are, and what folds them
