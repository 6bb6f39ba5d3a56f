"""Events in, the response out: every delta kind, every tolerance and refusal that touches this format."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis.responses import events
from dgrid_async.apis.responses.accumulator import ResponseAccumulator
from dgrid_async.apis.responses.events import Event, decode_event
from dgrid_async.apis.responses.types import Response, ResponseOutputMessage, ResponseUsage
from dgrid_async.endpoint import Progress
from tests.counting import calls_made

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
FLAGS = json.loads((TRANSCRIPTS / "index.json").read_text())["responses"]
HELD_BY_SDK = {"parsed", "parsed_arguments"}


def read(name: str) -> list[dict[str, Any]]:
    lines = (TRANSCRIPTS / "responses" / f"{name}.sse").read_text("utf-8").replace("\r\n", "\n").split("\n")
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and "[DONE]" not in line]


def expected(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((TRANSCRIPTS / "responses" / f"{name}.expect.json").read_text("utf-8"))
    return record


def bare(value: Any) -> Any:
    """Return JSON without nulls and without what the official SDK adds."""
    if isinstance(value, dict):
        return {k: bare(item) for k, item in value.items() if item is not None and k not in HELD_BY_SDK}
    return [bare(item) for item in value] if isinstance(value, list) else value


def decoded(data: dict[str, Any]) -> Event:
    event = decode_event(data)
    assert event is not None
    return event


def merged(*stream: dict[str, Any]) -> ResponseAccumulator:
    accumulator = ResponseAccumulator()
    for data in stream:
        event = decode_event(data)
        if event is not None:
            accumulator.add(event)
    return accumulator


def output(*stream: dict[str, Any]) -> list[dict[str, Any]]:
    response = merged(*stream).snapshot()
    assert response is not None
    items: list[dict[str, Any]] = response.to_dict()["output"]
    return items


def on(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def text(piece: str, index: int = 0, item_id: str = "m", part: int = 0) -> dict[str, Any]:
    return on("output_text.delta", output_index=index, item_id=item_id, content_index=part, delta=piece)


CREATED = on("created", response={"id": "r", "object": "response", "status": "in_progress", "model": "m", "output": []})


# -------------------------------------------------------------------------------------------------------------- samples


@pytest.mark.parametrize("name", [name for name in FLAGS if name not in {"failed", "error_event", "truncated"}])
def test_samples_end_as_the_official_sdk_has_them(name: str) -> None:
    accumulator = merged(*read(name))
    response = accumulator.snapshot()
    assert response is not None
    assert bare(response.to_dict()) == bare(expected(name)["final"])
    assert (accumulator.progress, accumulator.failure) == (Progress.CLOSED, None)


@pytest.mark.parametrize("name", [name for name in FLAGS if name not in {"failed", "error_event", "truncated"}])
@pytest.mark.parametrize("empty", [None, [], "missing"])
def test_samples_are_rebuilt_where_the_last_event_has_no_output(name: str, empty: Any) -> None:
    *stream, last = read(name)
    whole = last["response"].pop("output")
    if empty != "missing":
        last["response"]["output"] = empty
    response = merged(*stream, last).snapshot()
    assert response is not None
    assert bare(response.to_dict()) == bare({**last["response"], "output": whole})


def test_a_failed_response_keeps_what_had_arrived() -> None:
    accumulator = merged(*read("failed"))
    response = accumulator.snapshot()
    assert response is not None
    final = expected("failed")["final"]
    assert final["output"] == []
    assert bare({**response.to_dict(), "output": []}) == bare(final)
    assert response.text == "par"
    assert accumulator.failure == {"code": "server_error", "message": "The model failed."}
    assert accumulator.progress is Progress.CLOSED


def test_an_error_event_fails_the_stream_and_keeps_what_had_arrived() -> None:
    accumulator = merged(*read("error_event"))
    response = accumulator.snapshot()
    assert response is not None
    assert response.to_dict()["output"] == expected("error_event")["snapshot_output"]
    assert accumulator.failure == {"code": "rate_limit_exceeded", "message": "Too many tokens", "param": None}
    assert accumulator.progress is Progress.CLOSED


def test_a_truncated_stream_stays_open_and_keeps_what_had_arrived() -> None:
    accumulator = merged(*read("truncated"))
    response = accumulator.snapshot()
    assert response is not None
    assert response.text == "done"
    assert response.status == "in_progress"
    assert (accumulator.progress, accumulator.failure) == (Progress.OPEN, None)


@pytest.mark.parametrize("name", FLAGS)
def test_a_snapshot_at_each_event_changes_nothing(name: str) -> None:
    watched, unwatched = ResponseAccumulator(), merged(*read(name))
    texts = [""]
    for data in read(name):
        watched.add(decoded(data))
        response = watched.snapshot()
        assert response is not None
        assert response.text.startswith(texts[-1])
        texts.append(response.text)
    assert watched.snapshot() == unwatched.snapshot()


# -------------------------------------------------------------------------------------------------- every kind of delta


@pytest.mark.parametrize("made_by_delta", [False, True])
@pytest.mark.parametrize(
    ("kind", "field", "item_type"),
    [
        ("function_call_arguments", "arguments", "function_call"),
        ("mcp_call_arguments", "arguments", "mcp_call"),
        ("custom_tool_call_input", "input", "custom_tool_call"),
        ("code_interpreter_call_code", "code", "code_interpreter_call"),
    ],
)
def test_texts_of_items_grow(kind: str, field: str, item_type: str, *, made_by_delta: bool) -> None:
    item = {"type": item_type, "id": "i", field: "", "new": 1}
    added = on("output_item.added", output_index=1, item=item)
    place = {"output_index": 1, "item_id": "i"}
    stream = [on(f"{kind}.delta", **place, delta='{"a"'), on(f"{kind}.delta", **place, delta=":1")]
    before = [] if made_by_delta else [added]
    assert output(*before, *stream)[0][field] == '{"a":1'
    done = on(f"{kind}.done", **place, **{field: '{"a":1}'})
    assert output(*before, *stream, done)[0][field] == '{"a":1}'
    assert output(*before, done)[0][field] == '{"a":1}'
    late = output(*stream, added)[0]
    assert late == {**item, field: '{"a":1'}
    assert output(*before, *stream)[0]["type"] == item_type


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize(
    ("kind", "field", "part", "parts", "index", "item_type"),
    [
        ("output_text", "text", "output_text", "content", "content_index", "message"),
        ("refusal", "refusal", "refusal", "content", "content_index", "message"),
        ("reasoning_text", "text", "reasoning_text", "content", "content_index", "reasoning"),
        ("reasoning_summary_text", "text", "summary_text", "summary", "summary_index", "reasoning"),
    ],
)
def test_texts_of_parts_grow(
    kind: str, field: str, part: str, parts: str, index: str, item_type: str, *, announced: bool
) -> None:
    place = {"output_index": 0, "item_id": "i", index: 1}
    part_name = "content_part" if parts == "content" else "reasoning_summary_part"
    shell = {"type": part, field: ""}
    before = [on(f"{part_name}.added", **place, part={**shell, "new": 2})] if announced else []
    stream = [*before, on(f"{kind}.delta", **place, delta="Zü"), on(f"{kind}.delta", **place, delta="rich")]
    more = {"new": 2} if announced else {}
    item = output(*stream)[0]
    assert item["type"] == item_type
    assert item[parts] == [{"type": part, field: "Zürich", **more}]
    done = on(f"{kind}.done", **place, **{field: "Genève"})
    assert output(*stream, done)[0][parts] == [{"type": part, field: "Genève", **more}]
    whole = on(f"{part_name}.done", **place, part={"type": part, field: "Bern", "new": 3})
    assert output(*stream, done, whole)[0][parts] == [{"type": part, field: "Bern", "new": 3}]
    assert output(*stream, on(f"{part_name}.added", **place, part=shell))[0][parts][0][field] == "Zürich"


def test_logprobs_follow_the_text() -> None:
    first = {"token": "a", "logprob": -1.0, "top_logprobs": []}
    second = {"token": "b", "logprob": -2.0, "top_logprobs": [{"token": "c", "logprob": -3.0}]}
    stream = [{**text("a"), "logprobs": [first]}, {**text("b"), "logprobs": [second]}, {**text("c"), "logprobs": []}]
    assert output(*stream)[0]["content"][0]["logprobs"] == [first, second]
    done = on("output_text.done", output_index=0, item_id="m", content_index=0, text="abc", logprobs=[second])
    assert output(*stream, done)[0]["content"][0]["logprobs"] == [second]


def test_annotations_take_their_places() -> None:
    def added(annotation: Any, **place: Any) -> dict[str, Any]:
        return on("output_text.annotation.added", output_index=0, content_index=0, annotation=annotation, **place)

    cited = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    unknown = {"type": "rumour", "who": "x"}
    stream = [text("x"), added(unknown, annotation_index=1), added(cited, annotation_index=0), added(None)]
    assert output(*stream)[0]["content"][0]["annotations"] == [cited, unknown]
    assert output(text("x"), added(cited), added(unknown))[0]["content"][0]["annotations"] == [cited, unknown]


def test_shell_commands_and_their_output_grow() -> None:
    call = {"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": [], "timeout_ms": 5}}
    stream = [
        on("output_item.added", output_index=0, item=call),
        on("shell_call_command.added", output_index=0, command_index=0, command="l"),
        on("shell_call_command.delta", output_index=0, command_index=0, delta="s -"),
        on("shell_call_command.delta", output_index=0, command_index=1, delta="pw"),
        on("shell_call_command.delta", output_index=0, command_index=0, delta="l"),
        on("shell_call_command.done", output_index=0, command_index=1, command="pwd"),
    ]
    assert output(*stream)[0]["action"] == {"commands": ["ls -l", "pwd"], "timeout_ms": 5}

    def wrote(index: int, **piece: str) -> dict[str, Any]:
        return on("shell_call_output_content.delta", output_index=1, item_id="o", command_index=index, delta=piece)

    stream = [wrote(0, stdout="a"), wrote(1, stderr="!"), wrote(0, stdout="b", stderr="c")]
    assert output(*stream)[0] == {
        "type": "shell_call_output",
        "id": "o",
        "output": [{"stdout": "ab", "stderr": "c"}, {"stderr": "!"}],
    }
    ends = {"outcome": {"type": "exit", "exit_code": 0}, "stdout": "ab", "stderr": "c"}
    done = on("shell_call_output_content.done", output_index=1, item_id="o", command_index=0, output=[ends])
    assert output(*stream, done)[0]["output"] == [ends, {"stderr": "!"}]
    both = {**done, "command_index": 1, "output": [ends, {**ends, "stdout": ""}]}
    assert output(*stream, both)[0]["output"] == both["output"]
    second = {**done, "command_index": 1}
    assert output(*stream, second)[0]["output"] == [{"stdout": "ab", "stderr": "c"}, ends]


@pytest.mark.parametrize("announced", [False, True])
def test_sound_is_kept_where_it_can_only_belong(*, announced: bool) -> None:
    sound = [on("audio.delta", delta=base64.b64encode(piece).decode()) for piece in (b"pcm-1", b"pcm-22")]
    said = [on("audio.transcript.delta", delta="Hel"), on("audio.transcript.delta", delta="lo")]
    message = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_audio", "id": "a"}]}
    before = [on("output_item.added", output_index=0, item=message)] if announced else []
    ends = [on("audio.done"), on("audio.transcript.done")]
    item = output(*before, sound[0], said[0], sound[1], said[1], *ends)[0]
    assert item["type"] == "message"
    assert len(item["content"]) == 1
    assert item["content"][0]["type"] == "output_audio"
    assert base64.b64decode(item["content"][0]["data"]) == b"pcm-1pcm-22"
    assert item["content"][0]["transcript"] == "Hello"
    assert output(text("x"), *said)[0]["content"][1] == {"type": "output_audio", "transcript": "Hello"}


def test_sound_cut_anywhere_is_joined_as_text() -> None:
    whole = base64.b64encode(b"pcm pcm pcm").decode()
    stream = [on("audio.delta", delta=piece) for piece in (whole[:3], whole[3:9], whole[9:])]
    assert output(*stream)[0]["content"][0]["data"] == whole


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("file_search_call", ["in_progress", "searching", "completed"]),
        ("web_search_call", ["in_progress", "searching", "completed"]),
        ("code_interpreter_call", ["in_progress", "interpreting", "completed"]),
        ("image_generation_call", ["in_progress", "generating", "completed"]),
        ("mcp_call", ["in_progress", "completed"]),
        ("mcp_call", ["in_progress", "failed"]),
    ],
)
def test_calls_that_the_server_runs_say_what_they_are_at(kind: str, words: list[str]) -> None:
    item = {"type": kind, "id": "i", "status": "queued"}
    stream = [on("output_item.added", output_index=0, item=item)]
    for word in words:
        stream.append(on(f"{kind}.{word}", output_index=0, item_id="i"))
        assert output(*stream) == [{**item, "status": word}]
    whole = on("output_item.done", output_index=0, item={**item, "status": "incomplete"})
    assert output(*stream, whole, stream[-1]) == [{**item, "status": "incomplete"}]


@pytest.mark.parametrize("word", ["mcp_list_tools.completed", "mcp_list_tools.failed", "compaction.compacting"])
def test_items_without_a_status_get_none(word: str) -> None:
    assert output(on(word, output_index=0, item_id="i")) == [{"type": word.partition(".")[0], "id": "i"}]


def test_unfinished_images_are_left_out_and_their_item_kept() -> None:
    partial = on("image_generation_call.partial_image", output_index=0, item_id="i", partial_image_b64="aGk=")
    assert output(partial) == [{"type": "image_generation_call", "id": "i", "status": "generating"}]


# ----------------------------------------------------------------------------------------------------------- tolerances


def test_nothing_is_needed_before_the_first_delta() -> None:
    response = merged(text("Hel"), text("lo")).snapshot()
    assert response is not None
    assert response.text == "Hello"
    assert (response.object, response.status) == ("response", "in_progress")
    assert isinstance(response.output[0], ResponseOutputMessage)
    assert response.output[0].role == "assistant"
    assert response.usage is None


def test_queued_may_come_first_and_again_before_created() -> None:
    queued = {**CREATED, "type": "response.queued"}
    accumulator = merged(queued, queued, CREATED, {**CREATED, "type": "response.in_progress"}, text("x"))
    response = accumulator.snapshot()
    assert response is not None
    assert (response.id, response.text) == ("r", "x")


@pytest.mark.parametrize("missing", ["item_id", "output_index", "content_index"])
def test_one_missing_address_is_made_up_for(missing: str) -> None:
    def without(data: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in data.items() if key != missing}

    items = [{"type": "message", "id": item_id, "content": []} for item_id in "ab"]
    stream = [on("output_item.added", output_index=index, item=item) for index, item in enumerate(items)]
    stream += [without(text(piece, "ab".index(item_id), item_id)) for item_id, piece in ("a1", "b2", "a3")]
    assert [item["content"][0]["text"] for item in output(*stream)] == ["13", "2"]


def test_no_address_at_all_is_the_last_item() -> None:
    stream = [
        on("output_item.added", item={"type": "message", "content": []}),
        on("output_text.delta", delta="a"),
        on("output_item.done", item={"type": "message", "content": [], "status": "completed"}),
        on("output_item.added", item={"type": "message", "content": []}),
        on("output_text.delta", delta="b"),
    ]
    assert [item["content"][0]["text"] for item in output(*stream)] == ["a", "b"]


def test_items_that_share_an_index_are_told_apart_by_id() -> None:
    def stage(word: str, item_id: str) -> dict[str, Any]:
        item = {"type": "message", "id": item_id, "content": [], "status": word}
        return on(f"output_item.{word}", output_index=0, item=item)

    stream = [stage("added", "a"), text("1", 0, "a"), stage("added", "b"), text("2", 0, "b"), text("3", 0, "a")]
    stream += [stage("done", "a"), stage("done", "b")]
    items = output(*stream)
    assert [(item["id"], item["status"], item["content"][0]["text"]) for item in items] == [
        ("a", "done", "13"),
        ("b", "done", "2"),
    ]


def test_an_item_whose_id_changes_is_found_by_its_index() -> None:
    stream = [on("output_item.added", output_index=0, item={"type": "message", "id": "a1", "content": []})]
    stream += [text("x", 0, "a2"), text("y", 0, "a3")]
    stream += [on("output_item.done", output_index=0, item={"type": "message", "id": "a4", "content": []})]
    items = output(*stream)
    assert [(item["id"], item["content"][0]["text"]) for item in items] == [("a4", "xy")]


def test_indices_may_leave_holes_and_come_in_any_order() -> None:
    stream = [text("d", 9, "z"), text("b", 4, "y", 7), text("a", 4, "y", 2), text("c", 4, "y", 10**12)]
    response = merged(*stream).snapshot()
    assert response is not None
    assert response.text == "abcd"


def test_empty_wholes_take_nothing_back() -> None:
    place = {"output_index": 0, "item_id": "m", "content_index": 0}
    empties = [
        on("output_text.done", **place),
        on("content_part.done", **place, part={"type": "output_text", "text": "", "annotations": []}),
        on("content_part.done", **place),
        on("output_item.done", output_index=0, item={"type": "message", "id": "m", "content": []}),
        on("output_item.done", output_index=0),
    ]
    assert output(text("kept"), *empties)[0]["content"][0]["text"] == "kept"


def test_an_item_that_is_whole_replaces_what_was_gathered() -> None:
    item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "whole"}], "new": True}
    assert output(text("par"), on("output_item.done", output_index=0, item=item)) == [item]


def test_the_last_event_wins_over_what_was_gathered() -> None:
    whole = [{"type": "message", "id": "m", "content": [{"type": "output_text", "text": "whole"}]}]
    last = on("completed", response={"id": "r", "status": "completed", "output": whole})
    response = merged(CREATED, text("par"), last).snapshot()
    assert response is not None
    assert response.text == "whole"
    assert response.model == "m"


def test_a_stream_taken_up_again_begins_with_what_was_there() -> None:
    there = [{"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hel"}]}]
    begun = on("in_progress", response={"id": "r", "status": "in_progress", "output": there})
    response = merged(begun, text("lo")).snapshot()
    assert response is not None
    assert response.text == "Hello"


def test_unknown_things_are_passed_over_or_kept() -> None:
    item = {"type": "agent_message", "id": "x", "content": "words", "agent": {"agent_name": "a"}}
    stream = [
        {**CREATED, "response": {**CREATED["response"], "store": True}},
        on("tomorrow", output_index=0, delta="x"),
        on("output_item.added", output_index=0, item=item),
        on("content_part.added", output_index=1, item_id="m", content_index=0, part={"type": "poem", "lines": 4}),
        {"type": "ping"},
    ]
    response = merged(*stream).snapshot()
    assert response is not None
    assert response.extra == {"store": True}
    assert response.to_dict()["output"][0] == item
    assert response.to_dict()["output"][1]["content"] == [{"type": "poem", "lines": 4}]


def test_events_that_the_caller_makes_do_as_well() -> None:
    accumulator = ResponseAccumulator()
    accumulator.add(events.ResponseCreated(response=Response(id="r", status="in_progress")))
    accumulator.add(events.OutputTextDelta(item_id="m", output_index=0, content_index=0, delta="x"))
    response = accumulator.snapshot()
    assert response is not None
    assert (response.id, response.text) == ("r", "x")


@pytest.mark.parametrize("names", [("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens")])
def test_usage_is_the_last_that_was_not_null(names: tuple[str, str]) -> None:
    def said(word: str, usage: Any) -> dict[str, Any]:
        return on(word, response={"id": "r", "output": [], "usage": usage})

    stream = [said("created", None), said("in_progress", {names[0]: 3, names[1]: 0}), said("queued", None), text("x")]
    accumulator = merged(*stream)
    assert isinstance(accumulator.usage, ResponseUsage)
    assert accumulator.usage.input_tokens == 3
    accumulator = merged(*stream, said("in_progress", {names[0]: 3, names[1]: 8}), said("completed", None))
    response = accumulator.snapshot()
    assert accumulator.usage is not None
    assert accumulator.usage.output_tokens == 8
    assert response is not None
    assert response.usage == accumulator.usage


def test_there_is_nothing_before_the_first_event() -> None:
    assert merged().snapshot() is None
    assert merged().usage is None
    assert merged({"type": "ping"}, on("tomorrow"), on("audio.done")).snapshot() is None


def test_a_snapshot_is_an_object_of_its_own() -> None:
    body = {"id": "r", "output": [], "metadata": {"a": "1"}, "new": {"deep": [1]}, "usage": {"input_tokens": 1}}
    item = {"type": "tomorrow", "x": [1]}
    accumulator = merged(on("created", response=body), text("x"), on("output_item.added", output_index=1, item=item))
    first = accumulator.snapshot()
    assert first is not None
    assert first.metadata is not None
    first.metadata["a"] = "2"
    first.extra["new"]["deep"].append(2)
    first.output[1].to_dict()["x"].append(2)
    first.output.clear()
    second = accumulator.snapshot()
    assert second is not None
    assert second.metadata == {"a": "1"}
    assert second.extra == {"new": {"deep": [1]}}
    assert second.output[1].to_dict() == {"type": "tomorrow", "x": [1]}
    assert second.text == "x"
    accumulator.add(decoded(text("y")))
    assert second.text == "x"
    accumulator.add(decoded(on("completed", response={**body, "output": [item]})))
    third, fourth = accumulator.snapshot(), accumulator.snapshot()
    assert third is not None
    assert fourth is not None
    third.output[0].to_dict()["x"].append(3)
    assert fourth.output[0].to_dict() == item == {"type": "tomorrow", "x": [1]}


def test_json_nested_without_end_is_carried_along() -> None:
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    response = merged(on("created", response={"id": "r", "output": [], "new": deep}), text("x")).snapshot()
    assert response is not None
    assert response.text == "x"


# ------------------------------------------------------------------------------------------------- refusals and the end


@pytest.mark.parametrize("between", [(), (text("x"),), (on("queued", response={}),)])
def test_a_second_stream_is_refused(between: tuple[dict[str, Any], ...]) -> None:
    second = on("created", response={"id": "r2", "output": []})
    with pytest.raises(ValueError, match="second stream, 'r2', begins inside 'r'"):
        merged(CREATED, *between, second)


@pytest.mark.parametrize(
    ("last", "progress", "status"),
    [
        (on("completed", response={"status": "completed", "output": []}), Progress.CLOSED, "completed"),
        (on("completed", response={}), Progress.CLOSED, "completed"),
        (on("completed"), Progress.CLOSED, "completed"),
        (
            on("incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}),
            Progress.CLOSED,
            "incomplete",
        ),
        (
            on("failed", response={"status": "failed", "error": {"code": "c", "message": "m"}}),
            Progress.CLOSED,
            "failed",
        ),
        (on("output_item.done", output_index=0, item={"type": "message", "id": "m"}), Progress.OPEN, "in_progress"),
        (on("in_progress", response={"status": "in_progress"}), Progress.OPEN, "in_progress"),
        (on("tomorrow"), Progress.OPEN, "in_progress"),
    ],
)
def test_only_a_terminal_event_ends_a_stream(last: dict[str, Any], progress: Progress, status: str) -> None:
    accumulator = merged(CREATED, text("x"), last)
    response = accumulator.snapshot()
    assert accumulator.progress is progress
    assert response is not None
    assert (response.status, response.text) == (status, "x")
    assert (accumulator.failure is not None) == (status == "failed")


@pytest.mark.parametrize(
    ("last", "failure"),
    [
        (
            {"type": "error", "code": "c", "message": "m", "param": None, "sequence_number": 3},
            {"code": "c", "message": "m", "param": None},
        ),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            {"type": "overloaded_error", "message": "m"},
        ),
        ({"type": "error", "error": "words"}, "words"),
        ({"type": "error", "message": "m", "status": 429}, {"message": "m", "status": 429}),
        (on("failed", response={"error": {"code": "c", "message": "m"}}), {"code": "c", "message": "m"}),
        (
            on("completed", response={"status": "failed", "error": {"code": "c", "message": "m"}}),
            {"code": "c", "message": "m"},
        ),
    ],
)
def test_failures_are_the_errors_own_json(last: dict[str, Any], failure: Any) -> None:
    accumulator = merged(CREATED, text("x"), last)
    assert accumulator.failure == failure
    assert accumulator.progress is Progress.CLOSED
    response = accumulator.snapshot()
    assert response is not None
    assert response.text == "x"


@pytest.mark.parametrize("last", [on("failed"), on("failed", response={"status": "failed", "error": None}), {"type": "error"}])
def test_a_failure_that_says_nothing_is_one_still(last: dict[str, Any]) -> None:
    accumulator = merged(CREATED, last)
    assert accumulator.failure["message"]
    assert accumulator.progress is Progress.CLOSED


# ------------------------------------------------------------------------------------------------------------- the cost


def test_adding_a_delta_finds_its_place_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    item_at = ResponseAccumulator.item_at

    def counted(self: ResponseAccumulator, event: Any, kind: str) -> Any:
        found.append(kind)
        return item_at(self, event, kind)

    monkeypatch.setattr(ResponseAccumulator, "item_at", counted)
    calls = [
        on("function_call_arguments.delta", output_index=index, item_id=f"f{index}", delta="x")
        for _ in range(100)
        for index in (1, 2, 3)
    ]
    accumulator = merged(*[text("x") for _ in range(100)], *calls)
    assert len(found) == 4
    response = accumulator.snapshot()
    assert response is not None
    assert response.text == "x" * 100
    assert [item["arguments"] for item in response.to_dict()["output"][1:]] == ["x" * 100] * 3


def test_a_snapshot_leaves_one_piece() -> None:
    accumulator = merged(*[text("x") for _ in range(1000)])
    content = accumulator.item_at(events.OutputTextDelta(item_id="m"), "message").fields["content"]
    pieces = content[0]["text"].pieces
    assert len(pieces) > 1
    for expected_text in ("x" * 1000, "x" * 1000):
        response = accumulator.snapshot()
        assert response is not None
        assert response.text == expected_text
        assert len(pieces) == 1
    accumulator.add(decoded(text("y")))
    assert pieces == ["x" * 1000, "y"]


def test_the_response_that_an_event_carries_is_taken_in_whole() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    full = {**CREATED["response"], "tools": [tool] * 20, "reasoning": {"effort": "high"}, "metadata": {"a": "b"}, "top_p": 1.0}
    short, long = decoded(CREATED), decoded(on("created", response=full))
    calls_made(ResponseAccumulator().add, short)  # what is made at first use
    assert calls_made(ResponseAccumulator().add, long) <= calls_made(ResponseAccumulator().add, short)
