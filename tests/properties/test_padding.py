"""What says nothing changes nothing: comments, keep-alives, blank lines and fields without data, wherever they stand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.formats import Document
from tests.properties.budgets import brief, long, slow
from tests.properties.reading import cut, read
from tests.properties.samples import SAMPLES, Sample
from tests.properties.streams import STREAMS

pytestmark = pytest.mark.slow

APIS = sorted(STREAMS)
DRAWN = given(data=st.data())
CONFORMING = [sample for sample in SAMPLES if sample.conforming]

# Between two events.
BETWEEN = (
    b"\n",
    b"\n\n\n",
    b": PING\n\n",
    b":\n\n",
    b": OPENROUTER PROCESSING\n",
    b': {"error": "in a comment"}\n\n',
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"event: ping\ndata:\n\n",
    b"event: ping\n\n",
    b"retry: 3000\n\n",
    b"id: 7\n\n",
    b"id\n\n",
    b"event: message_start\n\n",
    b"data:\n\n",
    b"data: \n\n",
    b"unknown: field\n\n",
    b"retry: soon\nid: 8\n\n",
)  # fmt: skip
# Inside an event, in front of its first line or behind it.
INSIDE = (b": PING\n", b"id: 9\n", b"retry: 10\n", b"unknown: field\n", b":\n")


def padded(data: Any, documents: list[Document]) -> bytes:
    """Return the documents' bytes with padding drawn between and inside them."""
    between, inside = st.lists(st.sampled_from(BETWEEN), max_size=2), st.sampled_from((b"", b"", *INSIDE))
    body: bytes = data.draw(st.sampled_from((b"", b"\xef\xbb\xbf")))
    for document in documents:
        lines = document.sse(space=data.draw(st.sampled_from((b" ", b"")))).removesuffix(b"\n").splitlines(keepends=True)
        body += b"".join([*data.draw(between), *(data.draw(inside) + line for line in lines), data.draw(inside), b"\n"])
    return body + b"".join(data.draw(between))


def check(api: str, documents: list[Document], data: Any) -> None:
    plain = b"".join(document.sse() for document in documents)
    body = padded(data, documents)
    places = data.draw(st.lists(st.integers(1, len(body)), max_size=6))
    assert read(api, cut(body, places)).told() == read(api, [plain]).told()


@pytest.mark.parametrize("sample", CONFORMING, ids=str)
@brief(4)
@DRAWN
def test_transcripts(sample: Sample, data: Any) -> None:
    check(sample.api, sample.documents(), data)


@pytest.mark.parametrize("api", APIS)
@brief(15)
@DRAWN
def test_generated(api: str, data: Any) -> None:
    check(api, data.draw(STREAMS[api]).documents, data)


@slow
@pytest.mark.parametrize("api", APIS)
@long(100)
@DRAWN
def test_generated_at_length(api: str, data: Any) -> None:
    check(api, data.draw(STREAMS[api]).documents, data)
