"""However the bytes of a stream are split, the same events come, and the same reply or error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.budgets import brief, long, slow
from tests.properties.reading import cut, read
from tests.properties.samples import SAMPLES, Sample
from tests.properties.streams import STREAMS

pytestmark = pytest.mark.slow

APIS = sorted(STREAMS)
DRAWN = given(data=st.data())
# Line ends that the grammar allows, beside the one that the stream was written with.
LINE_ENDS = (b"\n", b"\r\n", b"\r")


def check(api: str, data: bytes, places: list[int]) -> None:
    assert read(api, cut(data, places)).told() == read(api, [data]).told()


def places(data: bytes) -> st.SearchStrategy[list[int]]:
    """Return places to cut at: anywhere, and more often where something ends."""
    seams = sorted({at + n for at, byte in enumerate(data) if byte in b"\r\n\xf0\xe2" for n in (0, 1, 2)})
    anywhere = st.integers(1, len(data) - 1)
    return st.lists(anywhere | st.sampled_from(seams), max_size=12) if seams else st.lists(anywhere, max_size=12)


def with_line_ends(data: bytes, end: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", end)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_byte_by_byte(sample: Sample) -> None:
    whole = read(sample.api, [sample.data]).told()
    assert read(sample.api, cut(sample.data, range(len(sample.data)))).told() == whole


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@brief(4)
@DRAWN
def test_transcripts(sample: Sample, data: Any) -> None:
    check(sample.api, sample.data, data.draw(places(sample.data)))


@pytest.mark.parametrize("api", APIS)
@brief(15)
@DRAWN
def test_generated(api: str, data: Any) -> None:
    stream = data.draw(STREAMS[api])
    body = stream.data()
    check(api, body, data.draw(places(body)))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("end", LINE_ENDS)
@brief(4)
@DRAWN
def test_line_ends(api: str, end: bytes, data: Any) -> None:
    stream = data.draw(STREAMS[api])
    body = stream.data()
    other = with_line_ends(body, end)
    assert read(api, cut(other, data.draw(places(other)))).told() == read(api, [body]).told()


@slow
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_transcripts_at_many_places(sample: Sample) -> None:
    whole = read(sample.api, [sample.data]).told()
    # An odd step meets every kind of place of the repeated lines.
    for place in range(1, len(sample.data), 1 + len(sample.data) // 400 // 2 * 2):
        assert read(sample.api, cut(sample.data, [place])).told() == whole, place


@slow
@pytest.mark.parametrize("api", APIS)
@long(200)
@DRAWN
def test_generated_at_length(api: str, data: Any) -> None:
    stream = data.draw(STREAMS[api])
    body = with_line_ends(stream.data(), data.draw(st.sampled_from(LINE_ENDS)))
    check(api, body, data.draw(places(body)))
