"""The shape that the four formats share: what an entry is made of, and how far a stream has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from dgrid_async.endpoint import Accumulator, Endpoint, Progress, Target
from dgrid_async.structuring import structure
from dgrid_async.wire import Reply, WireObject, wire_type


@wire_type
class Word(WireObject):
    word: str = ""


@wire_type
class Sentence(Reply):
    text: str = ""


class Joiner:
    """The least that merges the events of a stream."""

    def __init__(self) -> None:
        self.progress = Progress.OPEN
        self.failure: Any = None
        self.words: list[str] = []

    @property
    def usage(self) -> Any:
        return None

    def add(self, event: Word) -> None:
        self.words.append(event.word)
        self.progress = Progress.CLOSED if event.word == "." else Progress.OPEN

    def snapshot(self) -> Sentence | None:
        return Sentence(text=" ".join(self.words)) if self.words else None


def encode(params: Mapping[str, Any], streamed: bool) -> Target:
    return Target(path="/v1/words", body={**params, "stream": streamed})


def make(**more: Any) -> Endpoint[Word, Sentence]:
    return Endpoint(
        name="words",
        required=("model",),
        encode=encode,
        decode_reply=lambda value: structure(value, Sentence),
        decode_event=lambda value: structure(value, Word),
        accumulator=Joiner,
        text_of=lambda event: event.word,
        replay=lambda reply: [{"word": word} for word in reply["text"].split()],
        **more,
    )


def test_progress_is_true_once_the_answer_is_whole() -> None:
    assert [bool(step) for step in (Progress.OPEN, Progress.COMPLETE, Progress.CLOSED)] == [False, True, True]
    assert Progress.OPEN < Progress.COMPLETE < Progress.CLOSED


def test_an_entry_reads_a_stream_and_a_reply_to_the_same_end() -> None:
    endpoint = make()
    accumulator: Accumulator[Word, Sentence] = endpoint.accumulator()
    assert accumulator.snapshot() is None
    reply = endpoint.decode_reply({"text": "all is well ."})
    for data in endpoint.replay(reply.to_dict()):
        event = endpoint.decode_event(data)
        assert event is not None
        assert endpoint.text_of(event) == data["word"]
        assert not accumulator.progress
        accumulator.add(event)
    assert accumulator.progress is Progress.CLOSED
    assert accumulator.snapshot() == reply
    assert endpoint.accumulator() is not accumulator


def test_an_entry_holds_no_failure_of_its_own_unless_it_says_so() -> None:
    assert make().failure_of({"error": "looked for elsewhere"}) is None
    assert make(failure_of=lambda body: body["bad"]).failure_of({"bad": 1}) == 1


def test_entries_are_fixed_and_themselves() -> None:
    endpoint = make()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        endpoint.name = "x"  # type: ignore[misc]  # frozen
    assert endpoint != make()
    assert {endpoint: 1}[endpoint] == 1


def test_a_target_is_a_fixed_value() -> None:
    target = encode({"model": "m"}, True)
    assert target == Target("/v1/words", {"model": "m", "stream": True}, {}, {})
    assert target.query == {}
    with pytest.raises(AttributeError):
        target.path = "/"  # type: ignore[misc]  # fixed
