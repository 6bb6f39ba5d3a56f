"""Faults of size: events, lines, heads, bodies and numbers of keep-alives far beyond the ordinary.

Each large body is sent in pieces as fast as the client reads, and built no sooner than it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.faults.catalogue.connections import BOTH, begin, media_of
from tests.faults.connection import PIECE_BYTES, Connection, Request
from tests.faults.fault import ONCE, THRICE, Chapter, Expect, lenient, refused
from tests.faults.formats import PARTIAL, Document, Format

chapter = Chapter("size")

KIB = 1024
MIB = 1024 * KIB
FILLER = b"x" * PIECE_BYTES
MARK = '"padding"'


def bounded(event_bytes: int) -> Mapping[str, Any]:
    """Return options of three attempts with a limit on one event."""
    return {**THRICE, "limits": {"max_event_bytes": event_bytes}}


async def chunks(link: Connection, data: bytes, times: int) -> None:
    """Send the same HTTP chunk many times, letting the server's other cases run."""
    framed = b"%x\r\n%b\r\n" % (len(data), data)
    for number in range(times):
        await link.send(framed)
        if number % 16 == 0:
            await asyncio.sleep(0)


def padded(document: Document) -> tuple[bytes, bytes]:
    """Return the event's bytes before and after a long string in an unknown field."""
    before, _, after = document.changed(padding="@").sse().partition(b"@")
    return before, after


def giant_event(name: str, line: str, size: int, expect: Expect, filler: bytes = FILLER) -> None:
    """Add a fault whose third text event carries `size` bytes, or a little less, in a field nobody knows."""

    @chapter.add(name, line, expect, shows=(b"Hello", MARK.encode()))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        script = fmt.script()
        await begin(link, fmt)
        before, after = padded(script.deltas[2])
        await link.chunk(before)
        await chunks(link, filler, size // PIECE_BYTES)
        await link.chunk(after)
        for document in script.rest(3):
            await link.chunk(document.sse())
        await link.end()


giant_event("event-1mb", "an event of 1 MB", MIB, Expect(memory_mb=32))
giant_event("event-16mb", "an event of 16 MB, as inline images make them", 16 * MIB, Expect(memory_mb=160, seconds=10.0))
giant_event(
    "event-100mb",
    "an event of 100 MB under a limit above it",
    100 * MIB,
    Expect(options=bounded(128 * MIB), memory_mb=200, seconds=12.0),
)
giant_event(
    "event-60mb-of-escapes",
    "an event of 60 MB, a line break and a character in two halves in each few bytes of its text",
    60 * MIB,
    Expect(memory_mb=180, seconds=12.0),
    b"line\\n\\ud83d\\ude00 " * (PIECE_BYTES // 19),
)
giant_event(
    "event-60mb-of-letters",
    "an event of 60 MB of letters that take two bytes each",
    60 * MIB,
    Expect(memory_mb=180, seconds=12.0),
    "é".encode() * (PIECE_BYTES // 2),
)
giant_event(
    "event-just-under-limit",
    "an event of 960 KB under a limit of 1 MB",
    960 * KIB,
    Expect(options=bounded(MIB), memory_mb=32),
)
giant_event(
    "event-over-limit",
    "an event of 4 MB under a limit of 1 MB",
    4 * MIB,
    refused("EventTooLargeError", partial=PARTIAL, options=bounded(MIB), memory_mb=32),
)
giant_event(
    "event-over-default-limit",
    "an event of 72 MB, above the limit of 64 MB that holds unless told otherwise",
    72 * MIB,
    refused("EventTooLargeError", partial=PARTIAL, options=THRICE, memory_mb=320, seconds=12.0),
)


def endless(name: str, line: str, start: bytes, piece: bytes, *errors: str) -> None:
    """Add a fault that sends 32 MB which never end an event, under a limit of 1 MB."""

    @chapter.add(
        name,
        line,
        refused(*errors, partial=PARTIAL, options=bounded(MIB), memory_mb=32, seconds=8.0),
        shows=(b"Hello", start),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await begin(link, fmt)
        await link.chunk(start)
        await chunks(link, piece, 32 * MIB // len(piece))
        await link.end()


endless("endless-line", "a `data:` line that never ends", b'data: {"padding":"', FILLER, "EventTooLargeError")
endless(
    "endless-data-lines",
    "`data:` lines without the blank line that would end their event",
    b"data: [\n",
    b"data: 1234567,\n" * 4000,
    "EventTooLargeError",
)
endless(
    "endless-raw-json",
    "a line that is no SSE field and opens a JSON object which never closes",
    b'{"error": {"message": "',
    FILLER,
    "EventTooLargeError",
    "StreamDecodeError",
)


@chapter.add(
    "endless-comment-line",
    "a comment line of 32 MB and then the rest: dropping it as it comes is as right as refusing it",
    lenient("EventTooLargeError", partial=PARTIAL, options=bounded(MIB), memory_mb=32, seconds=8.0),
    shows=(b"Hello", b"2\r\n: \r\n", b"xxxx"),
)
async def endless_comment_line(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.chunk(b": ")
    await chunks(link, FILLER, 32 * MIB // PIECE_BYTES)
    await link.chunk(b"\n\n")
    for document in fmt.script().rest():
        await link.chunk(document.sse())
    await link.end()


def million(name: str, line: str, piece: bytes, count: int) -> None:
    """Add a fault that sends a keep-alive `count` times between two pieces of text and the rest."""

    @chapter.add(name, line, Expect(memory_mb=32, seconds=12.0), shows=(b"Hello", piece * 3))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await begin(link, fmt)
        batch = max(1, PIECE_BYTES // len(piece))
        await chunks(link, piece * batch, count // batch)
        await chunks(link, piece, count % batch)
        for document in fmt.script().rest():
            await link.chunk(document.sse())
        await link.end()


million("million-comments", "1,000,000 comments", b": PING\n\n", 1_000_000)
million("million-comment-lines", "1,000,000 comment lines without a blank line between", b": PING\n", 1_000_000)
million("million-blank-lines", "1,000,000 blank lines", b"\n", 1_000_000)
million("million-crlf-lines", "1,000,000 blank lines of CRLF", b"\r\n", 1_000_000)
million("hundred-thousand-empty-events", "100,000 empty `data:` events", b"data:\n\n", 100_000)
million("hundred-thousand-ids", "100,000 blocks of `id:` alone", b"id: 7\n\n", 100_000)


@chapter.add(
    "many-events-in-one-read",
    "20,000 text events, as many to a read as the sockets take: other streams must get their turn",
    Expect(text="ab" * 10_000, seconds=12.0, events=20_000, memory_mb=96),
    shows=(b'"a"', b'"b"'),
)
async def many_events_in_one_read(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script(("a", "b") * 10_000)
    await link.head()
    data = b"".join([document.sse() for document in script.documents()])
    for start in range(0, len(data), MIB):
        await link.chunk(data[start : start + MIB])
    await link.end()


@chapter.add(
    "one-header-200kb",
    "a header of 200 KB",
    lenient("APIConnectionError", "UnexpectedResponseError"),
    modes=BOTH,
    shows=(b"X-Huge: xxx",),
)
async def one_header(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(headers=[("X-Huge", "x" * 200 * KIB)], content_type=media_of(request))
    await link.chunk(fmt.whole(stream=request.stream))
    await link.end()


@chapter.add(
    "many-headers",
    "10,000 headers",
    lenient("APIConnectionError", "UnexpectedResponseError", memory_mb=32),
    modes=BOTH,
    shows=(b"X-Header-9999: ",),
)
async def many_headers(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    headers = [(f"X-Header-{number}", "x" * 20) for number in range(10_000)]
    await link.head(headers=headers, content_type=media_of(request))
    await link.chunk(fmt.whole(stream=request.stream))
    await link.end()


@chapter.add(
    "endless-header",
    "a header that never ends, 32 MB of it",
    refused("APIConnectionError", "UnexpectedResponseError", memory_mb=32, seconds=8.0),
    modes=BOTH,
    ends="cut",
    shows=(b"X-Endless: xxx",),
)
async def endless_header(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.send(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    for _ in range(32 * MIB // PIECE_BYTES):
        await link.send(FILLER)
        await asyncio.sleep(0)
    link.close()


@chapter.add(
    "endless-head",
    "headers for ever, 32 MB of them",
    refused("APIConnectionError", "UnexpectedResponseError", memory_mb=64, seconds=12.0),
    modes=BOTH,
    ends="cut",
    shows=(b"X-More: ",),
)
async def endless_head(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    lines = b"X-More: 123456789012345678901\r\n" * 2048
    await link.send(b"HTTP/1.1 200 OK\r\n")
    for _ in range(32 * MIB // len(lines)):
        await link.send(lines)
        await asyncio.sleep(0)
    link.close()


@chapter.add(
    "error-body-50mb",
    "a 500 with a body of 50 MB, of which some KB are worth reading",
    refused("InternalServerError", status=500, memory_mb=32, seconds=8.0),
    modes=BOTH,
    shows=(b" 500 ", b"xxxx"),
)
async def error_body_50mb(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    size = 50 * MIB
    await link.head(500, content_type="text/plain", length=size)
    for _ in range(size // PIECE_BYTES):
        await link.send(FILLER)
        await asyncio.sleep(0)
    link.reusable = True


@chapter.add(
    "error-body-never-comes",
    "a 500 that promises 1,000 bytes and sends none",
    refused("InternalServerError", status=500, seconds=10.0),
    modes=BOTH,
    ends="open",
    shows=(b" 500 ",),
)
async def error_body_never_comes(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head(500, content_type="application/json", length=1000)
    await link.stall()


@chapter.add(
    "error-body-drips",
    "a 500 whose body comes as a byte every 50 ms, for ever",
    refused("InternalServerError", status=500, seconds=10.0),
    modes=BOTH,
    ends="flow",
    shows=(b" 500 ",),
)
async def error_body_drips(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head(500, content_type="text/plain")
    while True:
        await link.chunk(b"x")
        await link.pause(0.05)


@chapter.add(
    "error-body-cut",
    "a 500 whose body is reset half way: the status is known, so it is the error",
    refused("InternalServerError", status=500, options=ONCE),
    modes=BOTH,
    ends="reset",
    shows=(b" 500 ",),
)
async def error_body_cut(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    body = Document(None, fmt.error_body(500, "api_error")).json()
    await link.head(500, content_type="application/json", length=len(body))
    await link.send(body[:20])
    await link.settle()
    link.reset()


def giant_reply(name: str, line: str, size: int, expect: Expect) -> None:
    """Add a fault whose JSON reply carries `size` bytes in a field nobody knows."""

    @chapter.add(name, line, expect, modes=("plain",), shows=(MARK.encode(),))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        before, _, after = Document(None, {**fmt.reply(), "padding": "@"}).json().partition(b"@")
        await link.head(content_type="application/json")
        await link.chunk(before)
        await chunks(link, FILLER, size // PIECE_BYTES)
        await link.chunk(after)
        await link.end()


giant_reply("plain-reply-8mb", "a JSON reply of 8 MB", 8 * MIB, Expect(seconds=8.0, memory_mb=32))
giant_reply(
    "plain-reply-100mb",
    "a JSON reply of 100 MB under a limit above it",
    100 * MIB,
    Expect(options=bounded(128 * MIB), memory_mb=200, seconds=12.0),
)
