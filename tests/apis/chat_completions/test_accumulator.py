"""The accumulator: chunks in, the completion out, whatever gateways make of the format."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async.apis.chat_completions.accumulator import ChatCompletionAccumulator
from dgrid_async.apis.chat_completions.events import (
    ChatCompletionChunk,
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChunkChoice,
    UnknownEvent,
    decode_event,
)
from dgrid_async.apis.chat_completions.types import ChatCompletion, UnknownToolCall
from dgrid_async.endpoint import Progress
from dgrid_async.sse import SSEDecoder
from tests.counting import calls_made
from tests.properties.budgets import brief, long, slow

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
INDEX: dict[str, list[str]] = json.loads((TRANSCRIPTS / "index.json").read_text())["chat_completions"]
# What the SDK adds to the wire: see the transcripts' own account of themselves.
HELPER_FIELDS = {"parsed", "parsed_arguments"}


def payloads(name: str) -> list[dict[str, Any]]:
    """Return the JSON of a transcript's events, as far as `[DONE]`."""
    decoder = SSEDecoder()
    data = [
        event.data for event in [*decoder.feed((TRANSCRIPTS / f"chat_completions/{name}.sse").read_bytes()), *decoder.end()]
    ]
    return [json.loads(text) for text in (data[: data.index("[DONE]")] if "[DONE]" in data else data)]


def expected(name: str) -> dict[str, Any]:
    """Return what another implementation made of a transcript."""
    found: dict[str, Any] = json.loads((TRANSCRIPTS / f"chat_completions/{name}.expect.json").read_text())
    return found


def bare(value: Any) -> Any:
    """Return JSON without nulls, helper fields and the index of finished tool calls."""
    if isinstance(value, list):
        return [bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    dropped = HELPER_FIELDS | ({"index"} if "function" in value or "custom" in value else set())
    return {name: bare(item) for name, item in value.items() if item is not None and name not in dropped}


def feed(accumulator: ChatCompletionAccumulator, *chunks: dict[str, Any]) -> ChatCompletionAccumulator:
    for data in chunks:
        event = decode_event(copy.deepcopy(data))
        assert event is not None
        accumulator.add(event)
    return accumulator


def merge(*chunks: dict[str, Any]) -> ChatCompletion:
    reply = feed(ChatCompletionAccumulator(), *chunks).snapshot()
    assert reply is not None
    return reply


def chunk(delta: Any = None, finish_reason: str | None = None, /, **more: Any) -> dict[str, Any]:
    """Return a chunk of one choice; what belongs to the choice beside its delta goes in `choice`."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **more.pop("choice", {})}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def progresses(*chunks: dict[str, Any]) -> list[Progress]:
    """Return how far the answer is after each chunk."""
    accumulator = ChatCompletionAccumulator()
    return [feed(accumulator, data).progress for data in chunks]


def message(*deltas: dict[str, Any]) -> dict[str, Any]:
    """Return the message that some deltas make."""
    made: dict[str, Any] = merge(*map(chunk, deltas)).to_dict()["choices"][0]["message"]
    return made


def calls(*deltas: list[dict[str, Any]]) -> list[tuple[str | None, str, str]]:
    """Return id, name and arguments of the tool calls that some deltas make."""
    made = message(*({"tool_calls": delta} for delta in deltas))["tool_calls"]
    return [(call.get("id"), call["function"].get("name", ""), call["function"]["arguments"]) for call in made]


def piece(arguments: str | None = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a piece of a function call; what is not given is not there."""
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    return {**more, "function": function}


# -------------------------------------------------------------------------------------------------------- transcripts


@pytest.mark.parametrize("name", [name for name, flags in INDEX.items() if not set(flags) - {"extra_fields"}])
@pytest.mark.parametrize("live", [False, True])
def test_transcript_makes_the_reply(name: str, live: bool) -> None:
    accumulator = ChatCompletionAccumulator()
    for data in payloads(name):
        feed(accumulator, data)
        if live:
            accumulator.snapshot()
    reply = accumulator.snapshot()
    assert reply is not None
    assert bare(reply.to_dict()) == bare(expected(name)["final"])
    assert accumulator.progress is Progress.COMPLETE
    assert accumulator.failure is None


def test_transcripts_are_all_accounted_for() -> None:
    special = {name for name, flags in INDEX.items() if set(flags) - {"extra_fields"}}
    assert special == {"reasoning_content", "error_midstream", "repeated_identity", "tool_call_no_index", "truncated"}


def test_reasoning_transcript() -> None:
    reply = merge(*payloads("reasoning_content"))
    assert bare(reply.to_dict()) == bare(expected("reasoning_content")["final"])
    assert (reply.text, reply.reasoning) == ("51", "17*3 is 51.")


def test_repeated_identity_transcript() -> None:
    reply = merge(*payloads("repeated_identity"))
    assert reply.message.role == "assistant"
    assert [call.to_dict() for call in reply.tool_calls] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]


def test_tool_call_without_index_transcript() -> None:
    reply = merge(*payloads("tool_call_no_index"))
    assert bare(reply.to_dict()["choices"][0]["message"]) == bare(
        expected("tool_call_no_index")["snapshot"]["choices"][0]["message"]
    )
    assert reply.choices[0].finish_reason == "tool_calls"


def test_truncated_transcript_stays_open() -> None:
    accumulator = feed(ChatCompletionAccumulator(), *payloads("truncated"))
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.text == "no end"
    assert accumulator.progress is Progress.OPEN


def test_transcript_that_fails_keeps_what_came_before() -> None:
    *chunks, failure = payloads("error_midstream")
    assert failure["error"]["type"] == "server_error"  # found by its name before it gets here
    assert merge(*chunks).text == "partial answer"


# ------------------------------------------------------------------------------------------------------ terminal rule


def test_nothing_has_no_snapshot_and_is_open() -> None:
    accumulator = ChatCompletionAccumulator()
    assert accumulator.snapshot() is None
    assert (accumulator.progress, accumulator.failure, accumulator.usage) == (Progress.OPEN, None, None)
    accumulator.add(UnknownEvent("novelty", {"type": "novelty"}))
    assert accumulator.snapshot() is None


def test_answer_is_open_until_its_finish_reason() -> None:
    chunks = [chunk({"role": "assistant", "content": "a"}), chunk({"content": "b"}), chunk({}, "novel_reason")]
    assert progresses(*chunks) == [Progress.OPEN, Progress.OPEN, Progress.COMPLETE]


def test_every_choice_seen_must_finish() -> None:
    begun = [chunk({"content": "a"}), chunk({"content": "b"}, choice={"index": 1})]
    ended = [chunk({}, "stop"), chunk({}, "stop"), chunk({}, "stop", choice={"index": 1})]
    assert progresses(*begun, *ended) == [*[Progress.OPEN] * 4, Progress.COMPLETE]


def test_choice_that_begins_late_opens_again() -> None:
    late = chunk({"content": "b"}, choice={"index": 1})
    assert progresses(chunk({"content": "a"}, "stop"), late) == [Progress.COMPLETE, Progress.OPEN]


@pytest.mark.parametrize("last", [{"choices": []}, {"choices": None}, chunk({"content": ""}), chunk(None, None)])
def test_what_follows_the_finish_reason_leaves_it(last: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    accumulator = feed(ChatCompletionAccumulator(), chunk({"content": "a"}, "length"), {**last, "usage": usage})
    reply = accumulator.snapshot()
    assert accumulator.progress is Progress.COMPLETE
    assert reply is not None
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage == accumulator.usage
    assert reply.to_dict()["usage"] == usage


@pytest.mark.parametrize("reason", ["", None])
def test_empty_finish_reason_is_none(reason: str | None) -> None:
    assert feed(ChatCompletionAccumulator(), chunk({"content": "a"}, reason)).progress is Progress.OPEN


@pytest.mark.parametrize("reason", ["error", "overloaded_error", "rate_limit_error"])
def test_finish_reason_of_an_error_fails(reason: str) -> None:
    accumulator = feed(ChatCompletionAccumulator(), chunk({"content": "half"}), chunk({}, reason))
    assert accumulator.failure["type"] == reason
    assert accumulator.progress is Progress.CLOSED
    assert accumulator.snapshot() is not None


def test_failure_of_one_choice_outlives_the_others() -> None:
    failed = {"index": 0, "delta": {}, "finish_reason": "error"}
    others = [{"index": 1, "delta": {"content": "a"}}, {"index": 1, "delta": {}, "finish_reason": "stop"}]
    for other in others:
        accumulator = feed(ChatCompletionAccumulator(), {"id": "c1", "choices": [failed, other]})
        assert accumulator.failure is not None
        assert accumulator.progress is Progress.CLOSED


def test_failure_is_what_the_choice_says_of_it() -> None:
    said = {"code": 502, "message": "upstream went away"}
    accumulator = feed(ChatCompletionAccumulator(), chunk({}, "error", choice={"error": said}))
    assert accumulator.failure == said
    assert accumulator.progress is Progress.CLOSED


# ------------------------------------------------------------------------------------------------------ second streams


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"role": "assistant", "reasoning_content": "x"},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0, "id": "2", "function": {"name": "f", "arguments": ""}}]},
    ],
)
@pytest.mark.parametrize("index", [0, 1])
def test_second_stream_is_refused(delta: dict[str, Any], index: int) -> None:
    accumulator = feed(ChatCompletionAccumulator(), chunk({"content": "a"}), chunk({}, "stop"))
    with pytest.raises(ValueError, match="second stream"):
        feed(accumulator, chunk(delta, id="c2", choice={"index": index}))
    reply = accumulator.snapshot()
    assert reply is not None
    assert (reply.text, len(reply.choices)) == ("a", 1)


@pytest.mark.parametrize(
    "later",
    [
        chunk({"content": "b"}, id="c1"),
        chunk({"content": "b"}, id=""),
        chunk({"role": "assistant", "content": ""}, id="c2"),
        chunk(None, id="c2"),
        {"id": "c2", "choices": [], "usage": {"total_tokens": 1}},
    ],
)
def test_what_is_no_second_stream_passes(later: dict[str, Any]) -> None:
    feed(ChatCompletionAccumulator(), chunk({"content": "a"}, "stop"), later)


def test_id_that_changes_before_the_end_passes() -> None:
    reply = merge(chunk({"content": "a"}, id="x1"), chunk({"content": "b"}, id="x2"), chunk({}, "stop", id="x3"))
    assert (reply.id, reply.text) == ("x1", "ab")


# ----------------------------------------------------------------------------------------------------- the reply itself


def test_own_fields_first_or_last_that_say_something() -> None:
    reply = merge(
        {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [],
            "prompt_filter_results": [{"prompt_index": 0}],
        },
        chunk({"content": "a"}, system_fingerprint="fp1", service_tier="auto", provider="p1"),
        chunk({"content": "b"}, system_fingerprint=None, service_tier="default", provider=None),
        chunk({"content": "c"}, id="c9", created=9, model="other", system_fingerprint="fp2", provider="p2"),
        chunk({}, "stop", id="c9", system_fingerprint=None, obfuscation="xyz"),
    )
    found = reply.to_dict()
    assert {name: found[name] for name in found if name != "choices"} == {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp2",
        "service_tier": "default",
        "provider": "p2",
        "prompt_filter_results": [{"prompt_index": 0}],
    }
    assert reply.text == "abc"


@pytest.mark.parametrize("name", ["system_fingerprint", "service_tier"])
def test_own_field_that_alone_changes_is_noticed(name: str) -> None:
    accumulator = ChatCompletionAccumulator()
    found = []
    for value in ("a", "a", "b", None, "c"):
        found.append(getattr(feed(accumulator, chunk({"content": "x"}, **{name: value})).snapshot(), name))  # noqa: PERF401
    assert found == ["a", "a", "b", "b", "c"]


def test_identity_that_comes_late_is_noticed() -> None:
    late = chunk({"content": "x"})
    reply = merge({**late, "id": "", "model": ""}, {**late, "id": "", "model": "m"}, late, {**late, "model": "other"})
    assert (reply.id, reply.model) == ("c1", "m")


def test_unknown_field_of_a_late_chunk_survives() -> None:
    chunks = [chunk({"content": "a"}) for _ in range(3)]
    reply = merge(*chunks, chunk({"content": "b"}, citations=["u1"]), chunk({"content": "c"}, citations=["u1", "u2"]))
    assert reply.extra == {"citations": ["u1", "u2"]}


def test_usage_that_is_null_takes_nothing_back() -> None:
    first, last = ({"prompt_tokens": 1, "completion_tokens": n, "total_tokens": n + 1, "cost": n} for n in (1, 2))
    accumulator = feed(
        ChatCompletionAccumulator(),
        chunk({"content": "a"}, usage=first),
        chunk({"content": "b"}, usage=None),
        chunk({"content": "c"}, usage=last),
        chunk({}, "stop", usage=None),
    )
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.usage is not None
    assert reply.usage == accumulator.usage
    assert reply.to_dict()["usage"] == last


def test_no_usage_is_none() -> None:
    reply = merge(chunk({"content": "a"}, usage=None))
    assert reply.usage is None


def test_moderation_of_both_sides_meets() -> None:
    said = {"type": "error", "code": "c", "message": "m"}
    reply = merge(
        chunk({"content": "a"}, moderation={"input": said, "output": None}),
        chunk({}, "stop"),
        {"id": "c1", "choices": [], "moderation": {"input": None, "output": said}},
        {"id": "c1", "choices": [], "moderation": None},
    )
    assert reply.to_dict()["moderation"] == {"input": said, "output": said}


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([[1], [2, 3], [4]], [1, 2, 3, 4]),
        ([[1], [1, 2], [1, 2, 3]], [1, 2, 3]),
        ([[1], [1], None, []], [1]),
        (["an image"], "an image"),
    ],
)
def test_contents_in_parts_or_as_a_growing_whole(parts: list[Any], whole: Any) -> None:
    reply = merge(*(chunk({"content": "a"}, contents=part) for part in parts), chunk({"content": "b"}))
    assert reply.contents == whole


# ------------------------------------------------------------------------------------------------------------- choices


def test_choices_by_index_not_by_place() -> None:
    reply = merge(
        chunk({"content": "B"}, choice={"index": 1}),
        chunk({"content": "A"}, choice={"index": 0}),
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}],
        },
    )
    assert [(choice.index, choice.message.content) for choice in reply.choices] == [(0, "Aa"), (1, "Bb")]


def test_choices_without_index_go_by_place() -> None:
    reply = merge(*[{"choices": [{"delta": {"content": one}}, {"delta": {"content": two}}]} for one, two in ("Aa", "Bb")])
    assert [(choice.index, choice.message.content) for choice in reply.choices] == [(0, "AB"), (1, "ab")]


@pytest.mark.parametrize("choice", [{}, {"delta": None}, {"index": None}, {"finish_reason": None, "logprobs": None}])
def test_choice_may_miss_anything(choice: dict[str, Any]) -> None:
    reply = merge({"choices": [choice]}, {"choices": [{"delta": {"content": "a"}}]}, {"choices": [choice]})
    assert reply.text == "a"
    assert reply.to_dict()["choices"] == [{"index": 0, "message": {"content": "a"}, "finish_reason": None}]


def test_unknown_fields_of_a_choice_survive() -> None:
    reply = merge(
        chunk({"content": "a"}, choice={"content_filter_results": {}, "native_finish_reason": None}),
        chunk({"content": "b"}, choice={"content_filter_results": {"hate": {"filtered": False}}}),
        chunk({}, "stop", choice={"content_filter_results": {}, "native_finish_reason": "STOP"}),
    )
    assert reply.choices[0].extra == {
        "content_filter_results": {"hate": {"filtered": False}},
        "native_finish_reason": "STOP",
    }


def test_message_beside_the_delta_only_repeats_it() -> None:
    reply = merge(chunk({"content": "a"}, choice={"message": {"content": "a"}}), chunk({"content": "b"}))
    assert reply.text == "ab"


def test_logprobs_grow_and_null_takes_nothing_back() -> None:
    tokens = [{"token": t, "logprob": -1.0, "bytes": [1], "top_logprobs": []} for t in "abc"]
    reply = merge(
        chunk({"content": ""}, choice={"logprobs": {"content": [], "refusal": None, "novel": 1}}),
        chunk({"content": "ab"}, choice={"logprobs": {"content": tokens[:2], "refusal": None}}),
        chunk({"content": "c"}, choice={"logprobs": {"content": tokens[2:]}}),
        chunk({"refusal": "no"}, choice={"logprobs": {"content": None, "refusal": tokens[:1]}}),
        chunk({}, "stop", choice={"logprobs": None}),
    )
    assert reply.to_dict()["choices"][0]["logprobs"] == {"content": tokens, "refusal": tokens[:1], "novel": 1}


# ------------------------------------------------------------------------------------------------------------ messages


def test_texts_join_and_stay_apart() -> None:
    assert message(
        {"role": "assistant", "content": None, "reasoning_content": "", "reasoning": "r"},
        {"reasoning_content": "think", "content": None},
        {"reasoning_content": "ing", "role": "assistant"},
        {"content": "", "reasoning_content": None},
        {"content": "Hi", "refusal": None},
        {"content": " there"},
        {"refusal": "N"},
        {"refusal": "o", "content": None},
    ) == {
        "role": "assistant",
        "content": "Hi there",
        "reasoning_content": "thinking",
        "reasoning": "r",
        "refusal": "No",
    }


def test_content_that_was_only_null_stays_null() -> None:
    assert message({"role": "assistant", "content": None}, {"refusal": "no"}) == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
    }


def test_number_for_content_is_text() -> None:
    assert message({"content": "a"}, {"content": 5})["content"] == "a5"


def test_reasoning_details_merge_by_index_and_type() -> None:
    text: dict[str, Any] = {"type": "reasoning.text", "format": "f-v1", "index": 0}
    made = message(
        {"reasoning_details": [{**text, "text": "Let "}]},
        {"reasoning_details": [{**text, "text": "me"}, {"type": "reasoning.summary", "index": 1, "summary": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "xx", "index": 0}]},
        {"reasoning_details": [{**text, "signature": "sig", "text": None}]},
        {"reasoning_details": [{"index": 1, "summary": "t"}, {**text, "signature": "sig"}]},
    )
    assert made["reasoning_details"] == [
        {**text, "text": "Let me", "signature": "sig"},
        {"type": "reasoning.summary", "index": 1, "summary": "st"},
        {"type": "reasoning.encrypted", "data": "xx", "index": 0},
    ]


def test_annotations_grow() -> None:
    cited = [{"type": "url_citation", "url_citation": {"url": u, "title": "t", "start_index": 0, "end_index": 1}} for u in "ab"]
    made = message({"annotations": cited[:1]}, {"annotations": None}, {"annotations": [*cited[1:], {"type": "novel"}]})
    assert made["annotations"] == [*cited, {"type": "novel"}]


def test_function_call_of_old() -> None:
    made = message(
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"name": "f", "arguments": '{"a"'}},
        {"function_call": {"arguments": ":1}"}},
    )
    assert made["function_call"] == {"name": "f", "arguments": '{"a":1}'}


def test_unknown_fields_merge() -> None:
    made = message(
        {
            "role": "assistant",
            "thinking": "a",
            "n": 1,
            "flag": False,
            "nest": {"text": "x", "id": "1", "deep": {"t": "p"}},
        },
        {"thinking": "b", "n": 2, "flag": True, "nest": {"text": "y", "id": "1", "deep": {"t": "q"}, "late": 1}},
        {"thinking": None, "nest": None, "list": [1], "items": [{"index": 1, "t": "a"}, {"index": 0, "t": "b"}]},
        {"list": [2, {"x": 1}], "items": [{"index": 1, "t": "c"}, {"t": "no index"}, {"index": True}]},
        {"thinking": ["of another kind"], "n": "of another kind", "list": {"of": "another kind"}, "nest": 5},
    )
    assert made == {
        "role": "assistant",
        "thinking": "ab",
        "n": 1,
        "flag": False,
        "nest": {"text": "xy", "id": "1", "deep": {"t": "pq"}, "late": 1},
        "list": [1, 2, {"x": 1}],
        "items": [{"index": 1, "t": "ac"}, {"index": 0, "t": "b"}, {"t": "no index"}, {"index": True}],
    }


def test_empty_identity_is_filled() -> None:
    assert message({"role": ""}, {"role": "assistant"})["role"] == "assistant"


@pytest.mark.parametrize(
    "container", [lambda inner: {"x": inner}, lambda inner: [inner], lambda inner: [{"index": 0, "y": inner}]]
)
def test_deep_nesting_is_kept(container: Any) -> None:
    value: Any = "core"
    for _ in range(400):
        value = container(value)
    accumulator = ChatCompletionAccumulator()
    for _ in range(2):
        event = decode_event({"object": "chat.completion.chunk", "choices": [{"delta": {"novel": value}}]})
        assert event is not None
        accumulator.add(event)
    reply = accumulator.snapshot()
    assert reply is not None
    found = reply.message.extra["novel"]
    while isinstance(found, (dict, list)):
        found = found[0] if isinstance(found, list) else next(found[name] for name in ("x", "y") if name in found)
    assert found == "core"


# --------------------------------------------------------------------------------------------------------------- sound


SOUND = bytes(range(256)) * 3


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000])
@pytest.mark.parametrize("live", [False, True])
def test_sound_in_pieces_each_encoded_for_itself(size: int, live: bool) -> None:
    pieces = [base64.b64encode(SOUND[i : i + size]).decode() for i in range(0, len(SOUND), size)]
    accumulator = feed(ChatCompletionAccumulator(), chunk({"audio": {"id": "a", "transcript": "H"}}))
    for data in pieces:
        feed(accumulator, chunk({"audio": {"data": data}}))
        if live:
            accumulator.snapshot()
    feed(accumulator, chunk({"audio": {"transcript": "i", "id": "a"}}), chunk({"audio": {"expires_at": 9, "data": None}}))
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.message.audio is not None
    assert reply.message.audio.to_bytes() == SOUND
    assert reply.message.audio.to_dict() == {
        "id": "a",
        "transcript": "Hi",
        "expires_at": 9,
        "data": base64.b64encode(SOUND).decode(),
    }


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("length", [256, 257, 258])
@pytest.mark.parametrize("padded", [False, True])
def test_sound_as_one_text_cut_anywhere(size: int, length: int, padded: bool) -> None:
    text = base64.b64encode(SOUND[:length]).decode()
    text = text if padded else text.rstrip("=")
    made = message(*({"audio": {"data": text[i : i + size]}} for i in range(0, len(text), size)))
    assert base64.b64decode(made["audio"]["data"]) == SOUND[:length]


def test_sound_that_is_no_base64_is_refused() -> None:
    with pytest.raises(ValueError, match=r"audio|Audio"):
        merge(chunk({"audio": {"data": "@@@@"}}))


def test_audio_without_data() -> None:
    assert message({"audio": {}}, {"audio": {"id": "a", "data": None}})["audio"] == {"id": "a"}


# ---------------------------------------------------------------------------------------------------------- tool calls


@pytest.mark.parametrize(
    ("deltas", "result"),
    [
        pytest.param(
            [[piece("", "f", index=0, id="1")], [piece('{"a"', index=0)], [piece(":1}", index=0)]],
            [("1", "f", '{"a":1}')],
            id="in pieces",
        ),
        pytest.param(
            [[piece("{", "f", index=3, id="1")], [piece("}", index=3)]],
            [("1", "f", "{}")],
            id="first index above 0",
        ),
        pytest.param(
            [[piece("b", "g", index=1, id="2")], [piece("a", "f", index=0, id="1")], [piece("B", index=1)]],
            [("1", "f", "a"), ("2", "g", "bB")],
            id="out of order",
        ),
        pytest.param(
            [[piece("a", "f", index=0, id="1"), piece("b", index=0), piece("c", index=0)]],
            [("1", "f", "abc")],
            id="one index several times in a chunk",
        ),
        pytest.param(
            [
                [piece("a", "f", index=0, id="1")],
                [piece("b", "f", index=0, id="1")],
                [piece("c", "f", index=0, id="1")],
            ],
            [("1", "f", "abc")],
            id="identity repeated",
        ),
        pytest.param(
            [[piece("a", "f", index=0)], [piece("b", index=0, id="1")], [piece("c", "f", index=0, id="1")]],
            [("1", "f", "abc")],
            id="id that comes late and is repeated",
        ),
        pytest.param(
            [[piece("a", "f", index=0)], [piece("b", "f", index=0, id="1")]],
            [("1", "f", "ab")],
            id="id that comes late with the name again",
        ),
        pytest.param(
            [[piece("a", "f", index=0, id="1")], [piece("b", index=0, id="x9")], [piece("c", index=0, id="x8")]],
            [("1", "f", "abc")],
            id="another id with each piece",
        ),
        pytest.param(
            [[piece("a", "f", index=0, id="1"), piece("b", "f", index=0, id="2")], [piece("B", index=0)]],
            [("1", "f", "a"), ("2", "f", "bB")],
            id="one index for two calls",
        ),
        pytest.param(
            [[piece("a", "f", id="1")], [piece("b")], [piece("c", "g", id="2")], [piece("d")], [piece("B", id="1")]],
            [("1", "f", "abB"), ("2", "g", "cd")],
            id="no index",
        ),
        pytest.param(
            [[piece("a", "f"), piece("b", "g")], [piece("c")]],
            [(None, "f", "a"), (None, "g", "bc")],
            id="neither index nor id",
        ),
        pytest.param(
            [[piece("a", "f")], [piece("b", "f")]],
            [(None, "f", "ab")],
            id="neither, and the name repeated",
        ),
        pytest.param([[piece("a")], [piece("b", "f", id="1")]], [(None, "", "a"), ("1", "f", "b")], id="pieces before the id"),
        pytest.param(
            [[piece("a", "f", index=0, id="same")], [piece("b", "g", index=1, id="same")], [piece("c", index=1)]],
            [("same", "f", "a"), ("same", "g", "bc")],
            id="one id for two indices",
        ),
        pytest.param([[piece(None, "f", index=0, id="1")]], [("1", "f", "")], id="no arguments at all"),
        pytest.param([[piece("not {json", "f", index=0, id="1")]], [("1", "f", "not {json")], id="no JSON"),
    ],
)
def test_tool_calls(deltas: list[list[dict[str, Any]]], result: list[tuple[str | None, str, str]]) -> None:
    assert calls(*deltas) == result


def test_tool_call_has_no_index_and_always_a_type() -> None:
    made = message({"tool_calls": [piece("{}", "f", index=0, id="1")]})
    assert made["tool_calls"] == [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize("kind", [{"type": "custom"}, {}])
def test_custom_tool_call(kind: dict[str, Any]) -> None:
    made = message(
        {"tool_calls": [{"index": 0, "id": "1", **kind, "custom": {"name": "c", "input": ""}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "print("}}]},
        {"tool_calls": [{"index": 0, **kind, "custom": {"name": "c", "input": "1)"}}]},
    )
    assert made["tool_calls"] == [{"id": "1", "type": "custom", "custom": {"name": "c", "input": "print(1)"}}]


def test_unknown_tool_call_is_kept() -> None:
    reply = merge(
        chunk({"tool_calls": [{"index": 0, "id": "1", "type": "telepathy", "telepathy": {"thought": "a"}}]}),
        chunk({"tool_calls": [{"index": 0, "telepathy": {"thought": "b"}}]}),
    )
    assert reply.tool_calls == [UnknownToolCall("telepathy", {"id": "1", "type": "telepathy", "telepathy": {"thought": "ab"}})]


@pytest.mark.parametrize("empty", [None, []])
def test_empty_tool_calls_take_nothing_back(empty: Any) -> None:
    made = message({"tool_calls": empty}, {"tool_calls": [piece("{}", "f", index=0, id="1")]}, {"tool_calls": empty})
    assert len(made["tool_calls"]) == 1


# ----------------------------------------------------------------------------------------------------- any chunk at all


SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.sampled_from(["", "a", "f", "stop", "e_error", "QQ=="])
)
NAMES = sorted(
    {
        "id",
        "index",
        "type",
        "name",
        "function",
        "custom",
        "arguments",
        "input",
        "text",
        "content",
        "delta",
        "role",
        "audio",
    }
    | {
        "data",
        "choices",
        "tool_calls",
        "function_call",
        "reasoning_details",
        "annotations",
        "logprobs",
        "finish_reason",
    }
    | {"usage", "total_tokens", "novel", "contents", "moderation", "metadata", "message", "error"}
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of objects that have some of these fields, and some others."""
    known = st.fixed_dictionaries({}, optional=fields)
    return st.builds(
        lambda first, second: {**second, **first}, known, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2)
    )


TEXTS = st.sampled_from([None, "", "a", "f", "QQ=="])
NUMBERS = st.sampled_from([None, 0, 1, 2])
FUNCTIONS = objects(name=TEXTS, arguments=TEXTS)
KIND = st.sampled_from(["function", "custom", "novel", None])
TOOL_CALLS = objects(index=NUMBERS, id=TEXTS, type=KIND, function=FUNCTIONS)
DELTAS = objects(content=TEXTS, tool_calls=st.lists(TOOL_CALLS, max_size=3), audio=objects(data=TEXTS, id=TEXTS))
CHOICES = objects(index=NUMBERS, delta=DELTAS, finish_reason=st.sampled_from([None, "", "stop", "e_error"]))
CHUNKS = objects(choices=st.lists(CHOICES, max_size=2)).map(lambda data: {"object": "chat.completion.chunk", **data})


def check_whatever_comes(chunks: list[dict[str, Any]]) -> None:
    accumulator = ChatCompletionAccumulator()
    for data in chunks:
        try:
            event = decode_event(data)
            if event is not None:
                accumulator.add(event)
        except ValueError:
            pass
        reply = accumulator.snapshot()
        if reply is not None:
            json.dumps(reply.to_dict())
            assert isinstance(reply.text, str)


@brief(40)
@given(st.lists(CHUNKS, max_size=5))
def test_whatever_comes_makes_a_reply_or_a_value_error(chunks: list[dict[str, Any]]) -> None:
    check_whatever_comes(chunks)


@slow
@long(150)
@given(st.lists(CHUNKS, max_size=5))
def test_much_of_what_comes_makes_a_reply_or_a_value_error(chunks: list[dict[str, Any]]) -> None:
    check_whatever_comes(chunks)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_cut_makes_the_same_reply(text: str, cuts: list[int]) -> None:
    ends = sorted(min(cut, len(text)) for cut in cuts)
    pieces = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    reply = merge(
        *(chunk({"content": part, "refusal": part, "tool_calls": [piece(part, "f", index=0, id="1")]}) for part in pieces)
    )
    assert (reply.text, reply.message.refusal) == (text, text)
    assert reply.tool_calls[0].to_dict()["function"] == {"name": "f", "arguments": text}


# --------------------------------------------------------------------------------------------- snapshots and their cost


def test_snapshot_is_an_object_of_its_own() -> None:
    accumulator = feed(
        ChatCompletionAccumulator(),
        chunk({"content": "a", "images": [1], "tool_calls": [piece("x", "f", index=0, id="1")]}, contents=[1]),
        chunk({"reasoning_details": [{"index": 0, "text": "t"}]}, usage={"total_tokens": 1}),
    )
    first = accumulator.snapshot()
    assert first is not None
    before = copy.deepcopy(first.to_dict())
    feed(
        accumulator,
        chunk({"content": "b", "images": [2], "tool_calls": [piece("y", index=0)]}, contents=[2]),
        chunk({"reasoning_details": [{"index": 0, "text": "u"}]}, "stop", usage={"total_tokens": 2}),
    )
    assert first.to_dict() == before
    first.choices[0].message.content = "changed"
    first.choices.clear()
    last = accumulator.snapshot()
    assert last is not None
    assert last.text == "ab"
    assert last.contents == [1, 2]
    assert last.usage is not None
    assert last.usage.total_tokens == 2


def test_a_snapshot_at_each_chunk_changes_none_that_follows() -> None:
    chunks = [
        chunk({"role": "assistant"}, kept={"x": 1}),
        chunk({"role": "assistant", "content": ""}),
        chunk({"role": "assistant", "content": "a"}),
        chunk({"role": "assistant", "content": "b"}, kept={"x": 1}),
        chunk({"reasoning_content": "r"}),
        chunk({"reasoning_content": "s", "novel": ["t"]}),
        chunk({"tool_calls": [piece("", "f", index=1, id="1", type="function")]}),
        chunk({"tool_calls": [piece('{"a"', index=1)]}),
        chunk({"tool_calls": [piece("x", "g", index=0, id="0")]}),
        chunk({"tool_calls": [piece(":1}", index=1)]}),
        chunk({"tool_calls": [piece("y", index=0), piece(" ", index=1)]}),
        chunk({"tool_calls": [{"index": 2, "id": "2", "type": "novel", "function": {"arguments": "p"}}]}),
        chunk({"tool_calls": [{"index": 2, "function": {"arguments": "q"}}]}),
        chunk({"tool_calls": [{"index": 3, "id": "3", "custom": {"name": "c", "input": "v"}}]}),
        chunk({"tool_calls": [{"index": 3, "custom": {"input": "w"}}]}),
        chunk({"tool_calls": [{"index": 3, "function": {"arguments": "z"}}]}),
        chunk({"tool_calls": [piece(" ", index=1)]}, usage={"total_tokens": 2, "kept": {"x": 1}}),
        chunk({"content": "c"}, system_fingerprint="fp"),
        chunk({}, "tool_calls"),
    ]
    live = ChatCompletionAccumulator()
    for count, data in enumerate(chunks, 1):
        one, other = feed(live, data).snapshot(), feed(ChatCompletionAccumulator(), *chunks[:count]).snapshot()
        assert one is not None
        assert other is not None
        assert one.to_dict() == other.to_dict()
        assert [*one.to_dict()["choices"][0]["message"]] == [*other.to_dict()["choices"][0]["message"]]
        for call in one.tool_calls:
            call.to_dict().clear()
        one.choices[0].message.content = "mine"
        one.choices.clear()
        one.extra.get("kept", {})["x"] = "mine"
        if one.usage is not None:
            one.usage.extra["kept"]["x"] = "mine"


def test_a_long_text_is_held_in_few_pieces() -> None:
    start = chunk({"tool_calls": [piece("", "f", index=0, id="1")]})
    accumulator = feed(ChatCompletionAccumulator(), start, *[chunk({"content": "abcd"})] * 2000)
    feed(accumulator, *[chunk({"tool_calls": [piece("abcd", index=0)]})] * 2000)
    state = accumulator._choices[0]
    assert len(state.content) < 200
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.text == reply.tool_calls[0].function.arguments == "abcd" * 2000  # type: ignore[union-attr]  # a function's


def test_chunks_stay_as_they_were() -> None:
    chunks = [
        chunk(
            {"content": "a", "novel": {"t": "x"}, "list": [1], "tool_calls": [piece("x", "f", index=0, id="1")]},
            contents=[1],
        ),
        chunk(
            {"content": "b", "novel": {"t": "y"}, "list": [2], "tool_calls": [piece("y", index=0)]},
            "stop",
            contents=[2],
        ),
    ]
    events = [decode_event(copy.deepcopy(data)) for data in chunks]
    accumulator = ChatCompletionAccumulator()
    for event in events:
        assert event is not None
        accumulator.add(event)
        accumulator.snapshot()
    assert [event.to_dict() for event in events if event is not None] == chunks


def test_chunk_made_by_hand() -> None:
    accumulator = ChatCompletionAccumulator()
    call = ChoiceDeltaToolCall(0, "1", type="function")
    accumulator.add(ChatCompletionChunk("c1", [ChunkChoice(0, ChoiceDelta("assistant", "Hi", tool_calls=[call]))], 1, "m"))
    accumulator.add(ChatCompletionChunk("c1", [ChunkChoice(0, finish_reason="stop")], 1, "m"))
    reply = accumulator.snapshot()
    assert reply is not None
    assert (reply.id, reply.text, reply.choices[0].finish_reason) == ("c1", "Hi", "stop")
    assert reply.tool_calls[0].to_dict()["id"] == "1"
    assert accumulator.progress is Progress.COMPLETE


KINDS = {
    "text": chunk({"content": "x"}),
    "reasoning": chunk({"reasoning_content": "x"}),
    "details": chunk({"reasoning_details": [{"index": 0, "text": "x"}]}),
    "tool": chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]}),
    "sound": chunk({"audio": {"data": "eHg="}}),
    "tokens": chunk({"content": "x"}, choice={"logprobs": {"content": [{"token": "x"}]}}),
    "novel": chunk({"novel": {"text": "x", "list": [1]}}, provider="p"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_adding_is_linear(kind: str) -> None:
    event = decode_event(KINDS[kind])
    assert event is not None

    def run(n: int) -> None:
        accumulator = ChatCompletionAccumulator()
        for _ in range(n):
            accumulator.add(event)
        accumulator.snapshot()

    run(1)  # what is made at first use
    short, long = calls_made(run, 500), calls_made(run, 1000)
    assert long < 2.1 * short


@pytest.mark.parametrize("kind", ["text", "reasoning", "details", "tool", "sound"])
def test_snapshot_costs_nothing_for_pieces_that_are_joined(kind: str) -> None:
    event = decode_event(KINDS[kind])
    assert event is not None
    accumulator = ChatCompletionAccumulator()
    costs = []
    for _ in range(300):
        accumulator.add(event)
        costs.append(calls_made(accumulator.snapshot))
    assert max(costs[10:]) <= costs[10] + 5
    reply = accumulator.snapshot()
    assert reply is not None
    assert len(reply.text or reply.reasoning or json.dumps(reply.to_dict())) >= len(costs)


def test_snapshot_leaves_one_piece_behind() -> None:
    accumulator = feed(ChatCompletionAccumulator(), *(chunk({"content": letter}) for letter in "abcdef"))
    state = accumulator._choices[0]
    assert state.content == ["a", "b", "c", "d", "e", "f"]
    accumulator.snapshot()
    assert state.content == ["abcdef"]


def test_text_takes_few_calls() -> None:
    event = decode_event(KINDS["text"])
    assert event is not None
    accumulator = ChatCompletionAccumulator()
    accumulator.add(event)
    assert calls_made(accumulator.add, event) <= 12
