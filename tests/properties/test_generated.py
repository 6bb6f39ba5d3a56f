"""A conforming stream comes to the reply that was streamed; without its last word, to all that was said before it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrid_async.errors import StreamTruncatedError
from tests.faults.formats import Document
from tests.properties.budgets import brief, long, slow
from tests.properties.reading import read, without_nulls
from tests.properties.streams import STREAMS, Stream

APIS = sorted(STREAMS)
USAGE_ALONE = {"modelVersion", "responseId", "usageMetadata"}
DRAWN = given(data=st.data())


def wire(reply: Any) -> Any:
    """Return what is left of a reply on the other side of a wire."""
    return without_nulls(json.loads(json.dumps(reply.to_dict())))


def check_whole(stream: Stream) -> None:
    outcome = read(stream.api, [stream.data()])
    assert outcome.error is None
    assert wire(outcome.reply) == without_nulls(stream.reply)
    # A gateway may answer a request for a stream with the whole reply: it comes to the same.
    whole = read(stream.api, [json.dumps(outcome.reply.to_dict()).encode()])
    assert whole.error is None
    assert wire(whole.reply) == without_nulls(stream.reply)


def says_the_end(document: Document) -> bool:
    """Return whether an event says that the answer is whole, or comes behind that."""
    data = document.data
    named = document.name in {"message_delta", "message_stop", "response.completed"}
    return named or ("candidates" in data and "finishReason" in data["candidates"][0]) or data.keys() == USAGE_ALONE


def check_cut(stream: Stream) -> None:
    kept = [document for document in stream.documents if not says_the_end(document)]
    outcome = read(stream.api, [b"".join(document.sse() for document in kept)])
    assert isinstance(outcome.error, StreamTruncatedError)
    whole = {"messages": "content", "responses": "output", "generate_content": "candidates"}[stream.api]
    so_far, expected = wire(outcome.reply)[whole], without_nulls(stream.reply)[whole]
    if stream.api == "generate_content":
        expected = [{"index": one["index"], "content": one["content"]} for one in expected]
    assert so_far == expected


@pytest.mark.parametrize("api", APIS)
@brief(20)
@DRAWN
def test_a_stream_comes_to_its_reply(api: str, data: Any) -> None:
    check_whole(data.draw(STREAMS[api]))


@pytest.mark.parametrize("api", ["messages", "responses", "generate_content"])
@brief(12)
@DRAWN
def test_a_stream_cut_before_its_end_keeps_all_that_was_said(api: str, data: Any) -> None:
    check_cut(data.draw(STREAMS[api]))


@slow
@pytest.mark.parametrize("api", APIS)
@long(200)
@DRAWN
def test_a_stream_comes_to_its_reply_at_length(api: str, data: Any) -> None:
    check_whole(data.draw(STREAMS[api]))
