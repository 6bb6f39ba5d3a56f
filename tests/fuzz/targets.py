"""What is fuzzed: functions that take any bytes, and fail where a promise about any bytes is broken.

The first two bytes of an input say how the rest is split, so that splits are found by coverage too.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from dgrid_async import codec
from dgrid_async.errors import DGridError, EventTooLargeError
from dgrid_async.sse import SSEDecoder
from tests.properties.reading import ENDPOINTS, cut, read

__all__ = ["TARGETS", "Target", "seeds", "words"]

Target = Callable[[bytes], None]

MAX_EVENT_BYTES = 4096
TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


def split(data: bytes) -> list[bytes]:
    """Return the input's body in the chunks that its first two bytes ask for; none of a length of 0."""
    first, step, body = data[:1], data[1:2], data[2:]
    if not body:
        return []
    every = 1 + step[0] % 61
    return cut(body, range(first[0], len(body), every) if first[0] % 2 else [first[0] * len(body) // 256])


def decode(data: bytes) -> None:
    """Check the event stream decoder: the same events whole, in chunks, and in its cheap form."""
    chunks = split(data)
    whole = _events([b"".join(chunks)])
    if _events(chunks) != whole:
        raise AssertionError("the split changes the events")
    decoder = SSEDecoder(MAX_EVENT_BYTES)
    try:
        for chunk in chunks:
            decoder.payloads(chunk)
        decoder.last_payloads()
    except EventTooLargeError:
        pass


def _events(chunks: list[bytes]) -> list[object]:
    decoder = SSEDecoder(MAX_EVENT_BYTES)
    found: list[object] = []
    try:
        for chunk in chunks:
            found += decoder.feed(chunk)
        found += decoder.end()
    except EventTooLargeError:
        found.append("too large")
    return found


def understand(api: str, data: bytes) -> None:
    """Check one slice: decoding, merging, the reply and its wire form; the same however the bytes are split."""
    chunks = split(data)
    outcome = read(api, chunks, max_event_bytes=MAX_EVENT_BYTES)
    for event in outcome.events:
        ENDPOINTS[api].text_of(event).encode()
    if outcome.reply is not None:
        outcome.reply.text.encode()
        codec.encode(outcome.reply)
        repr(outcome.reply)
    if outcome.error is not None:
        if not isinstance(outcome.error, DGridError):
            raise AssertionError("an error that is none of ours")
        str(outcome.error).encode()
        pickle.loads(pickle.dumps(outcome.error))  # noqa: S301 -- our own
    elif outcome.reply is None:
        raise AssertionError("neither a reply nor an error")
    if repr(read(api, [b"".join(chunks)], max_event_bytes=MAX_EVENT_BYTES).told()) != repr(outcome.told()):
        raise AssertionError("the split changes the outcome")


TARGETS: Mapping[str, Target] = {"decoder": decode, **{api: partial(understand, api) for api in ENDPOINTS}}


def seeds(target: str) -> list[bytes]:
    """Return inputs to begin with: the target's transcripts, whole and in small chunks."""
    pattern = "*/*.sse" if target == "decoder" else f"{target}/*.sse"
    return [start + path.read_bytes() for path in sorted(TRANSCRIPTS.glob(pattern)) for start in (b"\0\0", b"\1\20")]


def words(target: str) -> list[bytes]:
    """Return pieces to build inputs from: the grammar's, and the short strings of the target's transcripts."""
    found = {
        b"data: ",
        b"event: ",
        b"id: ",
        b"retry: ",
        b": ",
        b"\n\n",
        b"\r\n",
        b"[DONE]",
        b"\xef\xbb\xbf",
        b"null",
        b'{"error":',
    }
    for seed in seeds(target):
        found |= {word for word in seed.split(b'"')[1::2] if 1 < len(word) <= 40 and word.isascii()}
    return sorted(found)
