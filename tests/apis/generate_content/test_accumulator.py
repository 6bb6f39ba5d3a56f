"""The merging of a stream: every sample, every rule, and what gateways do to both."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from dgrid_async.apis.generate_content import types
from dgrid_async.apis.generate_content.accumulator import GenerateContentAccumulator
from dgrid_async.apis.generate_content.events import decode_event, text_of
from dgrid_async.endpoint import Progress
from tests.counting import calls_made

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
SAMPLES = json.loads((TRANSCRIPTS / "index.json").read_text())["generate_content"]
CONFORMING = [name for name, flags in SAMPLES.items() if set(flags) <= {"extra_fields"}]


def events_of(name: str) -> list[dict[str, Any]]:
    body = (TRANSCRIPTS / "generate_content" / f"{name}.sse").read_bytes()
    return [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:")]


def expected_of(name: str) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads((TRANSCRIPTS / "generate_content" / f"{name}.expect.json").read_text())
    return expected


def merge(*events: dict[str, Any]) -> GenerateContentAccumulator:
    accumulator = GenerateContentAccumulator()
    for wire in events:
        event = decode_event(copy.deepcopy(wire))
        assert event is not None
        accumulator.add(event)
    return accumulator


def test_what_the_reply_says_of_itself_may_change_at_each_event() -> None:
    said = {"candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "index": 0}], "modelVersion": "m"}
    events = [
        {**said, "responseId": "1"},
        {**said, "responseId": "2"},
        {**said, "responseId": "2", "usageMetadata": {"totalTokenCount": 1}},
        {**said, "modelVersion": "n", "responseId": None, "usageMetadata": {}},
        {**said, "modelVersion": "n", "responseId": None, "usageMetadata": None, "vendorField": 1},
        {**said, "modelVersion": "n", "vendorField": 2},
    ]
    reply = merge(*events).snapshot()
    assert reply is not None
    assert (reply.text, reply.response_id, reply.model_version) == ("a" * 6, "2", "n")
    assert reply.usage is not None
    assert reply.usage.total_token_count == 1
    assert reply.extra == {"vendorField": 2}


def test_an_event_that_the_caller_made_counts_like_one_that_came() -> None:
    content = types.Content(parts=[types.Part(text="a")], role="model")
    made = types.GenerateContentResponse(candidates=[types.Candidate(content=content, index=0)], response_id="1")
    accumulator = merge({"candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 0}]})
    accumulator.add(made)
    reply = accumulator.snapshot()
    assert reply is not None
    assert (reply.text, reply.response_id) == ("ba", "1")


def final(*events: dict[str, Any]) -> dict[str, Any]:
    reply = merge(*events).snapshot()
    assert reply is not None
    return reply.to_dict()


def chunk(*parts: dict[str, Any], index: int | None = 0, **candidate: Any) -> dict[str, Any]:
    named = {} if index is None else {"index": index}
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **named, **candidate}]}


def parts(*pieces: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the merged parts of pieces that come one to an event."""
    merged: list[dict[str, Any]] = final(*[chunk(piece) for piece in pieces])["candidates"][0]["content"]["parts"]
    return merged


def normal(value: Any) -> Any:
    """Return a reply in one spelling: base64 in one alphabet, neighbouring texts joined, no places of pieces."""
    if isinstance(value, dict):
        made = {name: normal(item) for name, item in value.items() if name != "partIndex"}
        for name in {"data", "thoughtSignature"} & made.keys():
            made[name] = made[name].replace("-", "+").replace("_", "/")
        joined: list[dict[str, Any]] = []
        for part in made.get("parts", ()):
            before = joined[-1] if joined else {}
            if {"text"} <= part.keys() <= {"text", "thought"} and part.keys() == before.keys():
                joined[-1] = {**before, "text": before["text"] + part["text"]}
            else:
                joined.append(part)
        return {**made, "parts": joined} if joined else made
    return [normal(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [name for name in CONFORMING if name != "n2_candidates"])
def test_a_sample_merges_to_what_it_says(name: str) -> None:
    events, expected = events_of(name), expected_of(name)
    wanted = normal(expected["merged_unary_rule"])  # the vendor's rule for several requests: it adds up the counts
    if "last_usage" in expected:
        wanted["usageMetadata"] = expected["last_usage"]
    for before, after in zip(wanted.get("candidates", ()), events[0].get("candidates", ()), strict=True):
        before["finishReason"] = next(
            c["finishReason"] for event in events for c in event.get("candidates", ()) if "finishReason" in c
        )
        assert before["index"] == after["index"]
    accumulator = merge(*events)
    reply = accumulator.snapshot()
    assert reply is not None
    assert normal(reply.to_dict()) == wanted
    assert reply.text == expected["text"]
    assert [call.to_dict() for call in reply.function_calls] == expected.get("function_calls", [])
    assert accumulator.progress is Progress.COMPLETE
    assert accumulator.failure is None
    assert accumulator.usage == reply.usage
    assert final(reply.to_dict()) == reply.to_dict()


def test_candidates_are_told_apart_by_index() -> None:
    reply = final(*events_of("n2_candidates"))
    assert reply["candidates"] == [
        {"content": {"parts": [{"text": "Aa"}], "role": "model"}, "finishReason": "STOP", "index": 0},
        {"content": {"parts": [{"text": "Bb"}], "role": "model"}, "finishReason": "STOP", "index": 1},
    ]
    assert reply["usageMetadata"]["totalTokenCount"] == 12


@pytest.mark.parametrize("name", ["truncated", "error_plain_json"])
def test_a_cut_stream_is_open_and_keeps_its_words(name: str) -> None:
    accumulator = merge(*events_of(name))
    reply = accumulator.snapshot()
    assert accumulator.progress is Progress.OPEN
    assert reply is not None
    assert reply.text == expected_of(name)["text"]
    assert reply.finish_reason is None


@pytest.mark.parametrize("name", SAMPLES)
def test_snapshots_on_the_way_are_whole_and_independent(name: str) -> None:
    accumulator = GenerateContentAccumulator()
    assert accumulator.snapshot() is None
    text, taken = "", []
    for wire in events_of(name):
        event = decode_event(wire)
        assert event is not None
        accumulator.add(event)
        text += text_of(event)
        snapshot = accumulator.snapshot()
        assert snapshot is not None
        assert snapshot.text == text
        taken.append((snapshot, copy.deepcopy(snapshot.to_dict())))
    assert [snapshot.to_dict() for snapshot, _ in taken] == [as_taken for _, as_taken in taken]
    assert taken[-1][1] == final(*events_of(name))


# ------------------------------------------------------------------------------------------------------------ the end


@pytest.mark.parametrize(
    ("events", "progress"),
    [
        ([], Progress.OPEN),
        ([chunk({"text": "a"})], Progress.OPEN),
        ([{"usageMetadata": {"totalTokenCount": 1}}], Progress.OPEN),
        ([chunk({"text": "a"}, finishReason="")], Progress.OPEN),
        ([chunk({"text": "a"}, finishReason=None)], Progress.OPEN),
        ([chunk({"text": "a"}, finishReason="STOP")], Progress.COMPLETE),
        ([chunk({"text": "a"}), {"candidates": [{"finishReason": "A_NEW_ONE"}]}], Progress.COMPLETE),
        ([{"candidates": [{"finishReason": "SAFETY", "index": 0}]}], Progress.COMPLETE),
        ([chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, index=1)], Progress.OPEN),
        ([chunk({"text": "a"}, finishReason="STOP"), chunk(index=1, finishReason="STOP")], Progress.COMPLETE),
        ([chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, finishReason="STOP")], Progress.COMPLETE),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], Progress.COMPLETE),
        ([{"promptFeedback": {"safetyRatings": []}}], Progress.OPEN),
        ([{"promptFeedback": {"safetyRatings": []}}, chunk({"text": "a"}, finishReason="STOP")], Progress.COMPLETE),
    ],
)
def test_the_answer_is_whole_when_every_candidate_is(events: list[dict[str, Any]], progress: Progress) -> None:
    assert merge(*events).progress is progress


def test_usage_may_follow_the_end() -> None:
    events = [chunk({"text": "a"}, finishReason="STOP"), {"usageMetadata": {"totalTokenCount": 9}}]
    accumulator = merge(*events)
    assert accumulator.usage is not None
    assert accumulator.usage.total_token_count == 9
    assert accumulator.progress is Progress.COMPLETE
    assert final(*events)["usageMetadata"] == {"totalTokenCount": 9}


# ----------------------------------------------------------------------------------------------------------- the parts

TEXT, THOUGHT = {"text": "a"}, {"text": "t", "thought": True}
SIGNED = {"text": "", "thoughtSignature": "AQI="}
CALL = {"functionCall": {"name": "f", "args": {"a_b": None}}}


@pytest.mark.parametrize(
    ("pieces", "merged"),
    [
        ([TEXT, TEXT, TEXT], [{"text": "aaa"}]),
        ([THOUGHT, THOUGHT, TEXT, TEXT], [{"text": "tt", "thought": True}, {"text": "aa"}]),
        ([TEXT, THOUGHT, TEXT], [TEXT, THOUGHT, TEXT]),
        ([TEXT, SIGNED, TEXT], [TEXT, SIGNED, TEXT]),
        (
            [TEXT, {"text": "s", "thoughtSignature": "AQI="}, TEXT],
            [TEXT, {"text": "s", "thoughtSignature": "AQI="}, TEXT],
        ),
        ([SIGNED, SIGNED], [SIGNED, SIGNED]),
        ([TEXT, CALL, TEXT, TEXT], [TEXT, CALL, {"text": "aa"}]),
        ([CALL, CALL], [CALL, CALL]),
        ([{"functionCall": {"name": "f"}}], [{"functionCall": {"name": "f"}}]),
        ([{"functionCall": {}}], [{"functionCall": {}}]),
        ([{"text": "a", "thought": False}, TEXT], [{"text": "aa", "thought": False}]),
        ([TEXT, {"text": "b", "thought": None, "thoughtSignature": ""}], [{"text": "ab"}]),
        ([THOUGHT, {"text": ""}, THOUGHT], [{"text": "tt", "thought": True}]),
        ([CALL, {"text": ""}], [CALL]),
        ([{"text": ""}], [{"text": ""}]),
        ([{"text": ""}, TEXT], [TEXT]),
        ([{"text": "a", "speechMetadata": {"speaker": "A"}}] * 2, [{"text": "aa", "speechMetadata": {"speaker": "A"}}]),
        ([{"text": "a", "new": 1}, {"text": "b", "new": 2}], [{"text": "a", "new": 1}, {"text": "b", "new": 2}]),
        ([{"text": 5}, TEXT], [{"text": "5a"}]),
        ([{"newKind": {"x": 1}}, {"newKind": {"x": 2}}], [{"newKind": {"x": 1}}, {"newKind": {"x": 2}}]),
        ([{}], [{}]),
        ([{"inlineData": {"data": "AQI"}}] * 2, [{"inlineData": {"data": "AQI"}}] * 2),
    ],
)
def test_parts_are_appended_and_texts_of_one_kind_join(pieces: list[Any], merged: list[Any]) -> None:
    assert parts(*pieces) == merged
    assert final(chunk(*pieces))["candidates"][0]["content"]["parts"] == merged


def test_deeply_nested_notes_harm_nothing() -> None:
    accumulator = GenerateContentAccumulator()
    for _ in range(2):
        deep: dict[str, Any] = {}
        for _ in range(5000):
            deep = {"d": deep}
        event = decode_event(chunk({"text": "a", "partMetadata": deep}))
        assert event is not None
        accumulator.add(event)
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.text == "aa"


# ---------------------------------------------------------------------------------------------- candidates and the rest


def test_candidates_without_an_index_go_by_place() -> None:
    two = {"candidates": [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}]}
    reply = final(two, two, {"candidates": [{"finishReason": "STOP"}]})
    assert [c["content"]["parts"] for c in reply["candidates"]] == [[{"text": "aa"}], [{"text": "bb"}]]
    assert [c.get("finishReason") for c in reply["candidates"]] == ["STOP", None]
    assert final(chunk(TEXT, index=None), chunk(TEXT, index=0))["candidates"] == [
        {"content": {"parts": [{"text": "aa"}], "role": "model"}, "index": 0}
    ]


def test_candidates_are_in_order_and_holes_are_legal() -> None:
    reply = final(chunk(TEXT, index=7), chunk(TEXT, index=2))
    assert [candidate["index"] for candidate in reply["candidates"]] == [2, 7]


def test_a_blocked_candidate_has_no_content() -> None:
    assert final({"candidates": [{"finishReason": "SAFETY", "index": 0}]})["candidates"] == [
        {"finishReason": "SAFETY", "index": 0}
    ]


def test_content_may_come_without_a_role_or_parts() -> None:
    reply = final({"candidates": [{"content": {}}]}, {"candidates": [{"content": {"parts": [TEXT]}}]}, chunk(TEXT))
    assert reply["candidates"][0]["content"] == {"parts": [{"text": "aa"}], "role": "model"}
    assert final({"candidates": [{"content": None}]})["candidates"] == [{}]


def test_the_last_value_holds_and_null_says_nothing() -> None:
    reply = final(
        {**chunk(TEXT, finishReason="STOP", tokenCount=1, new=1), "modelVersion": "m1", "responseId": "r", "x": [1]},
        {**chunk(TEXT, finishReason=None, tokenCount=2, new=None), "modelVersion": "m2", "responseId": None, "x": [2]},
        {"candidates": None, "usageMetadata": None, "modelVersion": None},
    )
    assert reply == {
        "candidates": [
            {
                "content": {"parts": [{"text": "aa"}], "role": "model"},
                "index": 0,
                "finishReason": "STOP",
                "tokenCount": 2,
                "new": 1,
            }
        ],
        "modelVersion": "m2",
        "responseId": "r",
        "x": [2],
    }


def test_usage_is_a_running_total() -> None:
    first, last = {"promptTokenCount": 8, "totalTokenCount": 11}, {"totalTokenCount": 17}
    events = [{"usageMetadata": first}, {"usageMetadata": last}, chunk(TEXT), {"usageMetadata": {}}]
    assert final(*events)["usageMetadata"] == last
    assert merge(*events[:1]).usage == merge({"usageMetadata": first}).usage
    assert merge(chunk(TEXT)).usage is None


def test_prompt_feedback_is_kept_field_by_field() -> None:
    reply = final({"promptFeedback": {"blockReason": "OTHER"}}, {"promptFeedback": {"blockReason": None, "x": 1}})
    assert reply["promptFeedback"] == {"blockReason": "OTHER", "x": 1}


def test_safety_ratings_go_by_category() -> None:
    def rating(category: str, probability: str) -> dict[str, str]:
        return {"category": category, "probability": probability}

    reply = final(
        chunk(TEXT, safetyRatings=[rating("A", "LOW"), rating("B", "LOW")]),
        chunk(TEXT, safetyRatings=[rating("B", "HIGH"), rating("C", "LOW")]),
    )
    assert reply["candidates"][0]["safetyRatings"] == [rating("A", "LOW"), rating("B", "HIGH"), rating("C", "LOW")]


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("groundingMetadata", "groundingChunks"),
        ("citationMetadata", "citations"),
        ("citationMetadata", "citationSources"),
        ("urlContextMetadata", "urlMetadata"),
    ],
)
def test_lists_of_sources_grow(field: str, name: str) -> None:
    def merged(*lists: list[dict[str, Any]]) -> Any:
        given: list[dict[str, Any]] = [{field: {name: items, "n": len(items)}} for items in lists]
        given.append({field: {name: None, "n": None}})
        return final(*[chunk(TEXT, **fields) for fields in given])["candidates"][0][field]

    one, two, three = {"x": 1}, {"x": 2}, {"x": 3}
    assert merged([one], [two, three]) == {name: [one, two, three], "n": 2}
    assert merged([one], [one, two]) == {name: [one, two], "n": 2}  # said again, with more
    assert merged([one, two], [one, two]) == {name: [one, two], "n": 2}
    assert merged([], [one]) == {name: [one], "n": 1}


def test_log_probabilities_grow() -> None:
    def odds(token: str, total: float) -> dict[str, Any]:
        chosen = [{"token": token, "logProbability": total}]
        return {"chosenCandidates": chosen, "topCandidates": [{"candidates": chosen}], "logProbabilitySum": total}

    merged = final(*[chunk(TEXT, logprobsResult=odds(token, -0.5)) for token in "aab"])["candidates"][0]["logprobsResult"]
    assert [chosen["token"] for chosen in merged["chosenCandidates"]] == ["a", "a", "b"]
    assert len(merged["topCandidates"]) == 3
    assert merged["logProbabilitySum"] == -1.5


def test_events_of_nothing_known_leave_the_reply_alone() -> None:
    assert merge({"type": "heartbeat"}).snapshot() is None
    assert final(chunk(TEXT), {"type": "heartbeat", "x": 1}) == final(chunk(TEXT))


def test_events_made_by_hand_merge_too() -> None:
    accumulator = GenerateContentAccumulator()
    for text in ("a", "b"):
        candidate = types.Candidate(content=types.Content([types.Part(text)], "model"), index=0, finish_reason="STOP")
        accumulator.add(types.GenerateContentResponse([candidate], usage_metadata=types.UsageMetadata(1)))
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.text == "ab"
    assert accumulator.progress is Progress.COMPLETE


def test_a_snapshot_shares_nothing_with_the_stream() -> None:
    args = {"list": [1]}
    event = decode_event(chunk({"functionCall": {"name": "f", "args": args}}, groundingMetadata={"webSearchQueries": ["q"]}))
    assert event is not None
    accumulator = GenerateContentAccumulator()
    accumulator.add(event)
    args["list"].append(2)
    first = accumulator.snapshot()
    assert first is not None
    assert first.function_calls[0].args == {"list": [1]}
    first.function_calls[0].args["list"].append(3)
    second = accumulator.snapshot()
    assert second is not None
    assert second.function_calls[0].args == {"list": [1]}
    accumulator.add(event)
    assert second.candidates[0].grounding_metadata is not None
    assert second.candidates[0].grounding_metadata.web_search_queries == ["q"]


# ---------------------------------------------------------------------------------------------- streamed function calls


def call(**fields: Any) -> dict[str, Any]:
    return {"functionCall": fields}


def arg(path: str, **fields: Any) -> dict[str, Any]:
    return call(partialArgs=[{"jsonPath": path, **fields}], willContinue=True)


def test_a_streamed_call_becomes_one() -> None:
    pieces = [
        {**call(name="f", id="1", willContinue=True), "thoughtSignature": "AQI="},
        arg("$.city", stringValue="Zü", willContinue=True),
        arg("$.city", stringValue="rich", willContinue=True),
        arg("$.city", stringValue=""),
        arg("$.days[0]", numberValue=1),
        arg("$.days[1]", numberValue=2.5),
        arg("$.deep['a b'].ok", boolValue=True),
        arg('$.deep["c\\"d"]', nullValue="NULL_VALUE"),
        arg("$.deep.none", nullValue=None),
        call(),
        TEXT,
        call(name="g", willContinue=True),
        call(),
    ]
    args = {"city": "Zürich", "days": [1, 2.5], "deep": {"a b": {"ok": True}, 'c"d': None, "none": None}}
    assert parts(*pieces) == [
        {"functionCall": {"name": "f", "id": "1", "args": args}, "thoughtSignature": "AQI="},
        TEXT,
        {"functionCall": {"name": "g"}},
    ]
    assert final(chunk(*pieces)) == final(*[chunk(piece) for piece in pieces])


def test_a_call_under_way_shows_what_there_is() -> None:
    pieces = [call(name="f", willContinue=True), arg("$.a", stringValue="x", willContinue=True)]
    under_way = {"functionCall": {"name": "f", "args": {"a": "x"}, "willContinue": True}}
    assert parts(*pieces) == [under_way]
    assert parts(*pieces, arg("$.a", stringValue="y", willContinue=True))[0]["functionCall"]["args"] == {"a": "xy"}


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        # a gateway that repeats name and id
        (
            [
                call(name="f", id="1", willContinue=True),
                call(name="f", id="1", partialArgs=[{"jsonPath": "$.a", "boolValue": True}]),
            ],
            [{"name": "f", "id": "1", "args": {"a": True}}],
        ),
        # the next call, with no empty one before it
        (
            [call(name="f", willContinue=True), call(name="f", args={})],
            [{"name": "f", "willContinue": True}, {"name": "f", "args": {}}],
        ),
        # the arguments in two objects
        (
            [call(name="f", args={"a": 1}, willContinue=True), call(args={"b": 2})],
            [{"name": "f", "args": {"a": 1, "b": 2}}],
        ),
        # one piece alone
        ([call(name="f", partialArgs=[{"jsonPath": "$.a", "stringValue": "x"}])], [{"name": "f", "args": {"a": "x"}}]),
        # a value said anew
        (
            [call(name="f", willContinue=True), arg("$.a", stringValue="x"), arg("$.a", stringValue="y"), call()],
            [{"name": "f", "args": {"a": "y"}}],
        ),
        # a piece that says nothing
        ([call(name="f", willContinue=True), arg("$.a"), call()], [{"name": "f"}]),
    ],
)
def test_pieces_find_their_call(pieces: list[Any], calls: list[Any]) -> None:
    assert [part["functionCall"] for part in parts(*pieces)] == calls


@pytest.mark.parametrize(
    "path",
    [
        *["", "$", "a", "$.", "$..a", "$.*", "$[*]", "$.a[-1]", "$.a[1:2]", "$.list[5]", "$.new[1]"],
        *["$.text.x", "$.list.x", "$[0]", "$.a[99999999999999999999]", "$['\\q']", "$" + ".a" * 100, None],
    ],
)
def test_pieces_that_fit_nowhere_are_kept(path: str | None) -> None:
    misfit = {"jsonPath": path, "stringValue": "x", "willContinue": True}
    pieces = [
        call(name="f", willContinue=True),
        arg("$.text", stringValue="t"),
        arg("$.list[0]", numberValue=1),
        call(partialArgs=[misfit], willContinue=True),
        call(),
    ]
    args = {"text": "t", "list": [1]}
    assert parts(*pieces) == [call(name="f", args=args, partialArgs=[misfit])]


def test_raw_text_for_arguments_is_kept() -> None:
    assert parts(call(name="f", args='{"a": ')) == [call(name="f", args='{"a": ')]
    pieces = [call(name="f", args="{", willContinue=True), arg("$.a", boolValue=True), call()]
    assert parts(*pieces) == [call(name="f", args="{", partialArgs=[{"jsonPath": "$.a", "boolValue": True}])]


# ------------------------------------------------------------------------------------------------------------ the cost


def count_calls(events: list[dict[str, Any]], *, snapshots: bool) -> int:
    """Return how many calls, of Python and of C, the merging makes."""
    decoded = [decode_event(wire) for wire in events]
    accumulator = GenerateContentAccumulator()

    def merge() -> None:
        for event in decoded:
            assert event is not None
            accumulator.add(event)
            if snapshots:
                accumulator.snapshot()

    return calls_made(merge)


STREAMS = {
    "text": chunk({"text": "a"}),
    "thought": chunk({"text": "a", "thought": True}),
    "argument": chunk(arg("$.a", stringValue="x", willContinue=True)),
    "counts": {**chunk({"text": "a"}, safetyRatings=[{"category": "A"}]), "usageMetadata": {"totalTokenCount": 1}},
}


@pytest.mark.parametrize("snapshots", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_the_work_is_linear(name: str, snapshots: bool) -> None:
    first = [chunk(call(name="f", willContinue=True))] if name == "argument" else []
    once, twice = (count_calls(first + [STREAMS[name]] * n, snapshots=snapshots) for n in (100, 200))
    assert twice <= 2 * once


def test_many_candidates_are_no_burden() -> None:
    events = [chunk({"text": "a"}, index=n, finishReason="STOP") for n in range(400)]
    once, twice = (count_calls(events[:n], snapshots=False) for n in (200, 400))
    assert twice <= 2 * once


def test_pieces_once_joined_are_not_joined_again() -> None:
    accumulator = merge(*[chunk({"text": "a"})] * 50)
    accumulator.snapshot()
    [state] = accumulator._candidates.values()
    assert state._pieces == ["a" * 50]
