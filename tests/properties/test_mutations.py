"""A broken stream gives events, and an error of ours at most: whatever is wrong with it."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrid_async.errors import DGridError
from tests.faults.formats import Document
from tests.properties.budgets import brief, long, slow
from tests.properties.mutations import broken_bytes, broken_documents
from tests.properties.reading import ENDPOINTS, Outcome, cut, read
from tests.properties.samples import SAMPLES, Sample
from tests.properties.streams import STREAMS

pytestmark = pytest.mark.slow

APIS = sorted(STREAMS)
DRAWN = given(data=st.data())
REPLIES = {
    api: next(type(read(api, [sample.data]).reply) for sample in SAMPLES if sample.api == api and sample.name == "text")
    for api in APIS
}


def check(api: str, body: bytes, places: list[int]) -> Outcome:
    outcome = read(api, cut(body, places))
    text_of = ENDPOINTS[api].text_of
    for event in outcome.events:
        text_of(event).encode()
        repr(event)
        json.dumps(event.to_dict())
    if outcome.error is not None:
        assert isinstance(outcome.error, DGridError)
        str(outcome.error).encode()
        pickle.loads(pickle.dumps(outcome.error))  # noqa: S301 -- our own
    assert outcome.reply is None or type(outcome.reply) is REPLIES[api]
    if outcome.reply is not None:
        repr(outcome.reply)
        outcome.reply.text.encode()
        json.dumps(outcome.reply.to_dict())
    assert outcome.error is not None or outcome.reply is not None
    return outcome


def check_bytes(api: str, body: bytes, data: Any) -> None:
    wounded = broken_bytes(data.draw, body)
    check(api, wounded, data.draw(st.lists(st.integers(1, max(1, len(wounded))), max_size=4)))


def check_documents(api: str, documents: list[Document], data: Any) -> None:
    check(api, b"".join(document.sse() for document in broken_documents(data.draw, documents)), [])


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@brief(8)
@DRAWN
def test_bytes_of_transcripts(sample: Sample, data: Any) -> None:
    check_bytes(sample.api, sample.data, data)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@brief(8)
@DRAWN
def test_values_of_transcripts(sample: Sample, data: Any) -> None:
    check_documents(sample.api, sample.documents(), data)


@pytest.mark.parametrize("api", APIS)
@brief(30)
@DRAWN
def test_values_of_generated(api: str, data: Any) -> None:
    check_documents(api, data.draw(STREAMS[api]).documents, data)


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.conforming], ids=str)
def test_cut_at_any_byte(sample: Sample) -> None:
    """A conforming stream that is cut gives a prefix of its events, and is either whole or said to be cut."""
    whole = read(sample.api, [sample.data])
    events = [event.to_dict() for event in whole.events]
    for end in range(1, len(sample.data), 1 + len(sample.data) // 60):
        outcome = check(sample.api, sample.data[:end], [])
        assert [event.to_dict() for event in outcome.events] == events[: len(outcome.events)]
        if outcome.error is None:
            assert outcome.reply.text == whole.reply.text


@slow
@pytest.mark.parametrize("api", APIS)
@long(400)
@DRAWN
def test_bytes_at_length(api: str, data: Any) -> None:
    sample = data.draw(st.sampled_from([sample for sample in SAMPLES if sample.api == api]))
    check_bytes(api, sample.data, data)


@slow
@pytest.mark.parametrize("api", APIS)
@long(400)
@DRAWN
def test_values_at_length(api: str, data: Any) -> None:
    sample = data.draw(st.sampled_from([sample for sample in SAMPLES if sample.api == api]))
    check_documents(api, sample.documents(), data)


@slow
@pytest.mark.parametrize("api", APIS)
@long(200)
@DRAWN
def test_generated_at_length(api: str, data: Any) -> None:
    check_documents(api, data.draw(STREAMS[api]).documents, data)
