"""Faults of the content encoding: compressed, half compressed, falsely labelled, and bombs.

A server may compress whatever the client accepts or not; bombs are built in a thread, once, when first asked for.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from functools import cache

from tests.faults.catalogue.connections import BOTH, body_of, media_of
from tests.faults.connection import PIECE_BYTES, Connection, Request
from tests.faults.fault import ONCE, THRICE, Chapter, Expect, lenient, refused
from tests.faults.formats import PARTIAL, Document, Format

chapter = Chapter("encoding")

MIB = 1024 * 1024
GZIP_WBITS = 31
RAW_WBITS = -15
GZIP_MAGIC = b"\x1f\x8b"
UNREADABLE = ("APIConnectionError", "StreamDecodeError", "UnexpectedResponseError")


def deflated(data: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Return the data compressed: zlib by default, raw or gzip by `wbits`."""
    machine = zlib.compressobj(wbits=wbits)
    return machine.compress(data) + machine.flush()


def raw_deflate(data: bytes) -> bytes:
    """Return the data as deflate without zlib's header, as some servers send it."""
    return deflated(data, RAW_WBITS)


def two_members(data: bytes) -> bytes:
    """Return the data as two gzip members in a row, which is one gzip file."""
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


async def encoded(link: Connection, request: Request, encoding: str, body: bytes) -> None:
    """Send a whole answer under a content encoding, in chunks of 100 bytes."""
    await link.head(headers=[("Content-Encoding", encoding)], content_type=media_of(request))
    for start in range(0, len(body), 100):
        await link.chunk(body[start : start + 100])
    await link.end()


def readable(name: str, line: str, encoding: str, encode: Callable[[bytes], bytes], expect: Expect) -> None:
    """Add a fault whose good answer is encoded as a whole."""

    @chapter.add(name, line, expect, modes=BOTH, shows=(f"Content-Encoding: {encoding}".encode(),))
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        await encoded(link, request, encoding, encode(body_of(request, fmt)))


readable("gzip", "gzip", "gzip", gzip.compress, Expect())
readable("gzip-upper-case", "gzip, spelt `GZIP`", "GZIP", gzip.compress, Expect())
readable("deflate-zlib", "deflate with zlib's header", "deflate", deflated, Expect())
readable("deflate-raw", "deflate without zlib's header", "deflate", raw_deflate, Expect())
readable("identity", "`Content-Encoding: identity`", "identity", bytes, Expect())
readable(
    "gzip-two-members",
    "gzip of two members: together they are the answer, the first alone must not pass for it",
    "gzip",
    two_members,
    lenient(*UNREADABLE, "StreamTruncatedError"),
)
readable(
    "encoding-unknown",
    "an encoding nobody knows: the error names it",
    "gzip-x",
    bytes,
    refused(*UNREADABLE, message_has=("gzip-x",)),
)
readable(
    "encoding-unknown-garbage",
    "an encoding nobody knows, over bytes that are no text",
    "snappy",
    deflated,
    refused(*UNREADABLE, message_has=("snappy",)),
)
readable(
    "encoding-twice",
    "gzip in gzip, labelled as such",
    "gzip, gzip",
    lambda data: gzip.compress(gzip.compress(data)),
    lenient(*UNREADABLE, message_has=("gzip",)),
)
readable(
    "gzip-label-on-plain-bytes",
    "the label says gzip, the bytes are plain",
    "gzip",
    bytes,
    refused(*UNREADABLE),
)


@chapter.add(
    "gzip-without-label",
    "gzip bytes without the label",
    refused(*UNREADABLE, "StreamTruncatedError"),
    modes=BOTH,
    shows=(GZIP_MAGIC,),
)
async def gzip_without_label(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer(200, gzip.compress(body_of(request, fmt)), content_type=media_of(request))


def flushed_parts(parts: tuple[Document, ...]) -> tuple[list[bytes], bytes]:
    """Return each event compressed and flushed, and the end of the gzip file."""
    machine = zlib.compressobj(wbits=GZIP_WBITS)
    pieces = [machine.compress(part.sse()) + machine.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return pieces, machine.flush()


@chapter.add("gzip-flushed", "gzip, flushed after each event", Expect(), shows=(GZIP_MAGIC,))
async def gzip_flushed(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    pieces, ending = flushed_parts(fmt.script().documents())
    await link.stream([*pieces, ending], [("Content-Encoding", "gzip")], gap=0.01)


@chapter.add(
    "gzip-flushed-stall",
    "gzip flushed after two pieces of text, then silence: the two must have been handed on by then",
    refused(
        "APITimeoutError",
        phase="idle",
        partial=PARTIAL,
        options={**ONCE, "timeouts": {"idle": 0.4}},
        at_least=0.35,
        seconds=0.6,
    ),
    ends="open",
    shows=(GZIP_MAGIC,),
)
async def gzip_flushed_stall(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    pieces, _ = flushed_parts(fmt.script().partial())
    await link.head(headers=[("Content-Encoding", "gzip")])
    for piece in pieces:
        await link.chunk(piece)
    await link.stall()


@chapter.add(
    "gzip-truncated",
    "gzip flushed after two pieces of text, then a proper end of the body in the midst of the gzip file",
    refused(*UNREADABLE, "StreamTruncatedError", partial=PARTIAL, options=THRICE),
    shows=(GZIP_MAGIC,),
)
async def gzip_truncated(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    pieces, _ = flushed_parts(fmt.script().partial())
    await link.stream(pieces, [("Content-Encoding", "gzip")])


@chapter.add(
    "gzip-truncated-plain",
    "half of a gzipped JSON reply and a proper end of the body",
    refused(*UNREADABLE),
    modes=("plain",),
    shows=(GZIP_MAGIC,),
)
async def gzip_truncated_plain(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = gzip.compress(body_of(request, fmt))
    await encoded(link, request, "gzip", body[: len(body) // 2])


@chapter.add(
    "gzip-corrupt",
    "gzip flushed after two pieces of text, then bytes that are no gzip",
    refused(*UNREADABLE, "StreamTruncatedError", options=THRICE),
    shows=(GZIP_MAGIC, b"\xff" * 32),
)
async def gzip_corrupt(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    pieces, _ = flushed_parts(fmt.script().partial())
    await link.stream([*pieces, b"\xff" * 64], [("Content-Encoding", "gzip")], gap=0.02)


@chapter.add(
    "gzip-corrupt-plain",
    "a gzipped JSON reply with some bytes changed",
    refused(*UNREADABLE),
    modes=("plain",),
    shows=(GZIP_MAGIC,),
)
async def gzip_corrupt_plain(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = bytearray(gzip.compress(body_of(request, fmt)))
    body[20:40] = bytes(value ^ 0xFF for value in body[20:40])
    await encoded(link, request, "gzip", bytes(body))


@chapter.add(
    "gzip-bad-checksum",
    "a gzipped JSON reply whose checksum is wrong: the text cannot be trusted, and zlib says so",
    lenient(*UNREADABLE),
    modes=("plain",),
    shows=(GZIP_MAGIC,),
)
async def gzip_bad_checksum(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = bytearray(gzip.compress(body_of(request, fmt)))
    body[-8:-4] = bytes(4)
    await encoded(link, request, "gzip", bytes(body))


@chapter.add(
    "error-body-gzip",
    "a 429 whose JSON is gzipped",
    refused("RateLimitError", status=429, message_has=("slow down please",)),
    modes=BOTH,
    shows=(b" 429 ", GZIP_MAGIC),
)
async def error_body_gzip(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    body = Document(None, fmt.error_body(429, "rate_limit_error", "slow down please")).json()
    await link.answer(429, gzip.compress(body), [("Content-Encoding", "gzip")])


@chapter.add(
    "error-body-encoding-unknown",
    "a 429 in an encoding nobody knows: the status or the encoding may be named as the error",
    refused("RateLimitError", "UnexpectedResponseError", message_has=("429",)),
    modes=BOTH,
    shows=(b" 429 ",),
)
async def error_body_encoding_unknown(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.answer(429, b"\x00\x01\x02", [("Content-Encoding", "gzip-x")])


@cache
def bomb(start: bytes, middle: bytes, ending: bytes) -> bytes:
    """Return about 100 MB of `middle` between start and ending, as gzip of some 100 KB."""
    machine = zlib.compressobj(level=9, wbits=GZIP_WBITS)
    piece = middle * (MIB // len(middle))
    parts = [machine.compress(start)]
    parts += [machine.compress(piece) for _ in range(100)]
    return b"".join([*parts, machine.compress(ending), machine.flush()])


async def send_bomb(link: Connection, request: Request, body: bytes) -> None:
    """Send the compressed body in HTTP chunks."""
    await link.head(headers=[("Content-Encoding", "gzip")], content_type=media_of(request))
    for start in range(0, len(body), PIECE_BYTES // 4):
        await link.chunk(body[start : start + PIECE_BYTES // 4])
        await asyncio.sleep(0)
    await link.end()


SMALL_EVENTS = {**ONCE, "limits": {"max_event_bytes": 8 * MIB}}


@chapter.add(
    "bomb-comments",
    "100 KB that unfold to 100 MB of comments before the rest of the stream",
    Expect(memory_mb=64, seconds=12.0),
    shows=(GZIP_MAGIC,),
)
async def bomb_comments(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    start = b"".join(part.sse() for part in script.partial())
    ending = b"\n\n" + b"".join(part.sse() for part in script.rest())
    # Long comments: it is the unfolding that is at trial here, not the splitting of lines.
    body = await asyncio.to_thread(bomb, start, b": " + b"x" * 4092 + b"\n\n", ending)
    await send_bomb(link, request, body)


@chapter.add(
    "bomb-event",
    "100 KB that unfold to one event of 100 MB, under a limit of 8 MB",
    refused("EventTooLargeError", partial=PARTIAL, options=SMALL_EVENTS, memory_mb=64, seconds=12.0),
    shows=(GZIP_MAGIC,),
)
async def bomb_event(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    start = b"".join(part.sse() for part in fmt.script().partial()) + b'data: {"padding":"'
    await send_bomb(link, request, await asyncio.to_thread(bomb, start, b"x" * 4096, b'"}\n\n'))


@chapter.add(
    "bomb-plain",
    "100 KB that unfold to a plain reply of 100 MB, under a limit of 8 MB",
    refused("EventTooLargeError", "UnexpectedResponseError", options=SMALL_EVENTS, memory_mb=64, seconds=12.0),
    modes=("plain",),
    shows=(GZIP_MAGIC,),
)
async def bomb_plain(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    start = Document(None, fmt.reply()).json()[:-1] + b',"padding":"'
    await send_bomb(link, request, await asyncio.to_thread(bomb, start, b"x" * 4096, b'"}'))


@chapter.add(
    "bomb-error-body",
    "a 500 whose 100 KB unfold to 100 MB",
    refused("InternalServerError", status=500, memory_mb=64, seconds=12.0),
    modes=BOTH,
    shows=(b" 500 ", GZIP_MAGIC),
)
async def bomb_error_body(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    body = await asyncio.to_thread(bomb, b'{"error":{"message":"', b"x" * 4096, b'"}}')
    await link.answer(500, body, [("Content-Encoding", "gzip")])
