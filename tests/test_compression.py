"""Bodies in gzip and deflate, however they are split, and what no decompressor can read; without a socket."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest

from dgrid_async.compression import STEP_BYTES, Inflater
from dgrid_async.errors import APIConnectionError, UnexpectedResponseError

TEXT = b'{"text": "' + bytes(random.Random(5).choices(b"abcdefgh \n", k=4000)) + b'"}'


def bare(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


FORMS = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "gzip, uncompressed inside": ("gzip", gzip.compress(TEXT, 0)),
    "gzip of two members": ("gzip", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])),
    "gzip of many, empty ones among them": ("gzip", gzip.compress(b"") * 3 + gzip.compress(TEXT) + gzip.compress(b"") * 3),
    "gzip padded with zeros": ("gzip", gzip.compress(TEXT) + b"\0" * 100),
    "gzip, zeros between members": ("gzip", gzip.compress(TEXT[:9]) + b"\0\0\0" + gzip.compress(TEXT[9:])),
    "gzip with words behind it": ("gzip", gzip.compress(TEXT) + b"and more\x1f\x8b"),
    "deflate, as the standard has it": ("deflate", zlib.compress(TEXT)),
    "deflate, uncompressed inside": ("deflate", zlib.compress(TEXT, 0)),
    "deflate, bare": ("deflate", bare(TEXT)),
    "deflate with words behind it": ("deflate", zlib.compress(TEXT) + b"and more"),
    "bare deflate with words behind it": ("deflate", bare(TEXT) + b"and more"),
}


def inflated(encoding: str, *chunks: bytes) -> bytes:
    """Read a body as a transport does."""
    inflater = Inflater(encoding)
    out = []
    for chunk in chunks:
        out.append(inflater.feed(chunk))
        while inflater.pending:
            out.append(inflater.feed(b""))
    inflater.end()
    assert all(len(step) <= STEP_BYTES for step in out)
    return b"".join(out)


@pytest.mark.parametrize("form", FORMS)
def test_whole_and_byte_by_byte(form: str) -> None:
    encoding, body = FORMS[form]
    assert inflated(encoding, body) == TEXT
    assert inflated(encoding, *(body[n : n + 1] for n in range(len(body)))) == TEXT


@pytest.mark.parametrize("form", FORMS)
def test_every_split(form: str) -> None:
    encoding, body = FORMS[form]
    for at in [*range(40), *range(40, len(body) - 40, 97), *range(len(body) - 40, len(body))]:
        assert inflated(encoding, body[:at], body[at:]) == TEXT


def test_what_was_flushed_is_handed_on_as_it_comes() -> None:
    deflate = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    inflater = Inflater("gzip")
    for line in (b"one\n", b"two\n", b"three\n"):
        assert inflater.feed(deflate.compress(line) + deflate.flush(zlib.Z_SYNC_FLUSH)) == line
    assert inflater.feed(deflate.flush()) == b""
    inflater.end()


def test_an_empty_body_is_empty() -> None:
    assert inflated("gzip") == b""
    assert inflated("deflate", b"") == b""


@pytest.mark.parametrize("form", ["gzip", "gzip of two members", "deflate, as the standard has it", "deflate, bare"])
def test_an_end_inside_is_a_lost_connection(form: str) -> None:
    encoding, body = FORMS[form]
    for at in (1, 5, len(body) // 3, len(body) - 1):
        with pytest.raises(APIConnectionError, match=f"inside its {encoding}"):
            inflated(encoding, body[:at])


def test_a_second_member_cut_is_a_lost_connection() -> None:
    whole = gzip.compress(b"one")
    with pytest.raises(APIConnectionError):
        inflated("gzip", whole + whole[:1])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [b'{"plain": "text"}', b"\x1f\x8b\x08\xff" + b"\xff" * 30, b"\x78\x9c" + b"\xff" * 30])
def test_what_is_not_in_the_encoding_is_named(encoding: str, body: bytes) -> None:
    with pytest.raises((UnexpectedResponseError, APIConnectionError), match=encoding):
        inflated(encoding, body)


def test_a_wrong_checksum_is_named() -> None:
    body = bytearray(gzip.compress(TEXT))
    body[-6] ^= 1
    with pytest.raises(UnexpectedResponseError, match="gzip") as caught:
        inflated("gzip", bytes(body))
    assert isinstance(caught.value.__cause__, zlib.error)
    assert caught.value.excerpt


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "gzip;q=1"])
def test_an_unknown_encoding_is_named_at_the_first_byte(encoding: str) -> None:
    inflater = Inflater(encoding)
    with pytest.raises(UnexpectedResponseError, match=encoding):
        inflater.feed(b"x")


@pytest.mark.parametrize("encoding", ["gzip", pytest.param("deflate", marks=pytest.mark.slow)])
def test_a_bomb_comes_in_bounded_steps(encoding: str) -> None:
    compress = zlib.compressobj(9, wbits=(16 if encoding == "gzip" else 0) + zlib.MAX_WBITS)
    bomb = b"".join(compress.compress(bytes(1_000_000)) for _ in range(100)) + compress.flush()
    assert len(bomb) < 120_000
    inflater = Inflater(encoding)
    tracemalloc.start()
    try:
        size = len(inflater.feed(bomb))
        steps = 1
        while inflater.pending:
            size += len(inflater.feed(b""))
            steps += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 100_000_000
    assert steps >= size // STEP_BYTES
    assert peak < 2_000_000


@pytest.mark.parametrize("form", ["gzip with words behind it", "deflate with words behind it"])
def test_words_without_end_behind_the_body_are_not_kept(form: str) -> None:
    encoding, body = FORMS[form]
    inflater = Inflater(encoding)
    inflater.feed(body)
    tracemalloc.start()
    try:
        for _ in range(1000):
            assert inflater.feed(b"more" * 1000) == b""
            assert not inflater.pending
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    inflater.end()


def test_what_a_lost_connection_left_counts_and_never_raises() -> None:
    body = gzip.compress(TEXT)
    inflater = Inflater("gzip")
    first = inflater.feed(body[:500])
    assert TEXT.startswith(first + inflater.last(body[500:900]))
    assert inflater.last(b"") == b""
    assert Inflater("gzip").last(b"no gzip") == b""
    assert Inflater("br").last(b"anything") == b""
    bomb = Inflater("gzip").last(gzip.compress(bytes(50_000_000)))
    assert STEP_BYTES < len(bomb) <= 16 * STEP_BYTES
