"""Faults of the connection and of HTTP's own framing: resets, early ends, odd but legal forms, kept connections."""

from __future__ import annotations

import asyncio

from tests.faults.connection import Connection, Request
from tests.faults.fault import ONCE, THRICE, TWICE, Chapter, Expect, healed, lenient, refused
from tests.faults.formats import PARTIAL, TEXT, Document, Format

chapter = Chapter("connection")
BOTH = ("stream", "plain")
DECOY = "an answer to another question"


def body_of(request: Request, fmt: Format) -> bytes:
    """Return the good body, piece by piece text for a stream."""
    if request.stream:
        return b"".join(document.sse() for document in fmt.script().documents())
    return Document(None, fmt.reply()).json()


def media_of(request: Request) -> str:
    """Return the right content type."""
    return "text/event-stream" if request.stream else "application/json"


async def begin(link: Connection, fmt: Format) -> None:
    """Send the head and a stream's opening with two pieces of text."""
    await link.head()
    for document in fmt.script().partial():
        await link.chunk(document.sse())


async def whole(link: Connection, fmt: Format) -> None:
    """Send the head and a whole stream, without the last HTTP chunk."""
    await link.head()
    for document in fmt.script().documents():
        await link.chunk(document.sse())


@chapter.add(
    "connection-refused",
    "nothing listens on the port",
    refused("APIConnectionError", requests=(0, 0)),
    modes=BOTH,
    listener="closed",
    ends="refused",
)
async def connection_refused(_link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    raise AssertionError


@chapter.add(
    "reset-before-any-byte",
    "reads the request, then a RST",
    refused("APIConnectionError"),
    modes=BOTH,
    ends="reset",
)
async def reset_before_any_byte(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    link.reset()


@chapter.add(
    "closed-before-any-byte",
    "reads the request, then a FIN",
    refused("APIConnectionError"),
    modes=BOTH,
    ends="cut",
)
async def closed_before_any_byte(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    link.close()


@chapter.add(
    "reset-before-any-byte-heals",
    "a RST before any byte, and the right answer to the second attempt",
    healed(),
    modes=BOTH,
    ends="reset",
)
async def reset_before_any_byte_heals(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt == 1:
        link.reset()
    else:
        await link.good(request, fmt)


@chapter.add(
    "closed-before-any-byte-heals",
    "a FIN before any byte, and the right answer to the second attempt",
    healed(),
    modes=BOTH,
    ends="cut",
)
async def closed_before_any_byte_heals(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt == 1:
        link.close()
    else:
        await link.good(request, fmt)


@chapter.add(
    "reset-inside-head",
    "half a status line, then a RST",
    refused("APIConnectionError"),
    modes=BOTH,
    ends="reset",
    shows=(b"HTTP/1.1 2",),
)
async def reset_inside_head(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.send(b"HTTP/1.1 2")
    await link.settle()
    link.reset()


@chapter.add(
    "fin-inside-head",
    "a status line and half a header, then a FIN",
    refused("APIConnectionError"),
    modes=BOTH,
    ends="cut",
    shows=(b"Content-Ty",),
)
async def fin_inside_head(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    link.close()


@chapter.add(
    "reset-after-head",
    "the head of a stream, then a RST",
    refused("APIConnectionError", partial=""),
    ends="reset",
    shows=(b"\r\n\r\n",),
)
async def reset_after_head(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head()
    await link.settle()
    link.reset()


@chapter.add(
    "reset-after-head-heals",
    "the head and a comment, then a RST; no content was seen, so a second attempt is right and gets the answer",
    healed(),
    ends="reset",
    shows=(b": PING",),
)
async def reset_after_head_heals(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt > 1:
        await link.good(request, fmt)
        return
    await link.head()
    await link.chunk(b": PING\n\n")
    await link.settle()
    link.reset()


@chapter.add(
    "reset-mid-stream",
    "two pieces of text, then a RST; content was seen, so no attempt may follow",
    refused("APIConnectionError", partial=PARTIAL, options=THRICE),
    ends="reset",
    shows=(b"Hello",),
)
async def reset_mid_stream(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.settle()
    link.reset()


@chapter.add(
    "reset-inside-event",
    "two pieces of text and half an event, then a RST",
    refused("APIConnectionError", partial=PARTIAL, options=THRICE),
    ends="reset",
    shows=(b"Hello",),
)
async def reset_inside_event(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.chunk(fmt.script().deltas[2].sse()[:40])
    await link.settle()
    link.reset()


@chapter.add(
    "fin-inside-chunk",
    "two pieces of text, then an HTTP chunk that ends early with a FIN",
    refused("APIConnectionError", partial=PARTIAL, options=THRICE),
    ends="cut",
    shows=(b"Hello",),
)
async def fin_inside_chunk(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.send(b"400\r\n: half a chunk")
    link.close()


@chapter.add(
    "fin-between-chunks",
    "two pieces of text, then a FIN where the next HTTP chunk should begin",
    refused("APIConnectionError", "StreamTruncatedError", partial=PARTIAL, options=THRICE),
    ends="cut",
    shows=(b"Hello",),
)
async def fin_between_chunks(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    link.close()


@chapter.add(
    "fin-inside-chunk-plain",
    "half of a chunked JSON reply, then a FIN inside the chunk",
    refused("APIConnectionError"),
    modes=("plain",),
    ends="cut",
)
async def fin_inside_chunk_plain(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    body = Document(None, fmt.reply()).json()
    await link.head(content_type="application/json")
    await link.send(b"%x\r\n" % len(body) + body[: len(body) // 2])
    link.close()


def broken_framing(name: str, line: str, tail: bytes, *errors: str) -> None:
    """Add a fault whose bytes after two pieces of text break the chunked coding."""

    @chapter.add(name, line, refused(*errors, partial=PARTIAL, options=THRICE), ends="cut", shows=(b"Hello", tail))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await begin(link, fmt)
        await link.settle()
        await link.send(tail)
        await link.settle()
        link.close()


@chapter.add(
    "chunk-size-words-at-once",
    "two pieces of text and a chunk size that is no number in one write: whether the text was handed out decides",
    refused("APIConnectionError", options=THRICE, requests=(1, 3)),
    ends="cut",
    shows=(b"Hello", b"zz\r\n"),
)
async def chunk_size_words_at_once(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.head()
    await link.settle()
    parts = [document.sse() for document in fmt.script().partial()]
    await link.send(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"zz\r\n: x\n\n\r\n")
    await link.settle()
    link.close()


broken_framing("chunk-size-words", "a chunk size that is no number", b"zz\r\n: x\n\n\r\n", "APIConnectionError")
broken_framing("chunk-size-negative", "a chunk size below 0", b"-5\r\n: x\n\n\r\n", "APIConnectionError")
broken_framing(
    "chunk-size-overflow",
    "a chunk size of 20 hexadecimal digits",
    b"FFFFFFFFFFFFFFFFFFFF\r\n: x\n\n",
    "APIConnectionError",
)
broken_framing(
    "chunk-without-newline",
    "an HTTP chunk longer than its size said",
    b"4\r\n: xx: the rest\n\n\r\n",
    "APIConnectionError",
)


@chapter.add(
    "chunk-size-words-plain",
    "a JSON reply whose second chunk size is no number",
    refused("APIConnectionError"),
    modes=("plain",),
    ends="cut",
    shows=(b"zz\r\n",),
)
async def chunk_size_words_plain(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    body = Document(None, fmt.reply()).json()
    await link.head(content_type="application/json")
    await link.chunk(body[:20])
    await link.send(b"zz\r\n" + body[20:])
    await link.settle()
    link.close()


@chapter.add(
    "content-length-promises-more",
    "a Content-Length of 100 KB, two pieces of text, then a FIN",
    refused("APIConnectionError", partial=PARTIAL, options=THRICE),
    ends="cut",
    shows=(b"Content-Length: 100000", b"Hello"),
)
async def content_length_promises_more(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(length=100_000)
    for document in fmt.script().partial():
        await link.send(document.sse())
    link.close()


@chapter.add(
    "content-length-promises-more-plain",
    "a whole JSON reply under a Content-Length that promises more, then a FIN",
    refused("APIConnectionError"),
    modes=("plain",),
    ends="cut",
    shows=(b"Content-Length: 100000",),
)
async def content_length_promises_more_plain(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(content_type="application/json", length=100_000)
    await link.send(Document(None, fmt.reply()).json())
    link.close()


@chapter.add(
    "content-length-exact",
    "a stream with a Content-Length instead of chunks",
    Expect(),
    shows=(b"Content-Length: ",),
)
async def content_length_exact(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer(200, body_of(request, fmt), content_type="text/event-stream")


@chapter.add(
    "content-length-too-small",
    "a Content-Length that covers two pieces of text only: what lies behind is no part of the body",
    refused("StreamTruncatedError", "APIConnectionError", partial=PARTIAL, options=THRICE),
    shows=(b"Hello",),
)
async def content_length_too_small(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    start = b"".join(document.sse() for document in fmt.script().partial())
    await link.head(length=len(start))
    body = body_of(request, fmt)
    await link.send(body[: len(start)])
    await link.settle()
    await link.send(body[len(start) :])
    await link.settle()
    link.close()


@chapter.add(
    "content-length-too-small-plain",
    "a Content-Length that covers half of the JSON",
    refused("UnexpectedResponseError", "APIConnectionError"),
    modes=("plain",),
)
async def content_length_too_small_plain(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = body_of(request, fmt)
    await link.head(content_type="application/json", length=len(body) // 2)
    await link.send(body[: len(body) // 2])
    await link.settle()
    await link.send(body[len(body) // 2 :])
    await link.settle()
    link.close()


@chapter.add(
    "http10-no-length",
    "HTTP/1.0 with neither length nor chunks: the FIN ends a whole answer",
    Expect(),
    modes=BOTH,
    ends="cut",
    shows=(b"HTTP/1.0 200",),
)
async def http10_no_length(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(version="1.0", content_type=media_of(request))
    await link.send(body_of(request, fmt))
    link.close()


@chapter.add(
    "http10-truncated",
    "HTTP/1.0 and a FIN after two pieces of text: it looks like a proper end, only the format knows better",
    refused("StreamTruncatedError", partial=PARTIAL, options=THRICE),
    ends="cut",
    shows=(b"HTTP/1.0 200", b"Hello"),
)
async def http10_truncated(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(version="1.0")
    for document in fmt.script().partial():
        await link.send(document.sse())
    link.close()


async def close_delimited_head(link: Connection, media: str) -> None:
    """Send an HTTP/1.1 head whose body ends with the connection."""
    await link.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " + media.encode() + b"\r\n\r\n")


@chapter.add(
    "close-delimited",
    "HTTP/1.1 with `Connection: close` and no length: the FIN ends a whole answer",
    Expect(),
    modes=BOTH,
    ends="cut",
    shows=(b"Connection: close",),
)
async def close_delimited(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await close_delimited_head(link, media_of(request))
    await link.send(body_of(request, fmt))
    link.close()


@chapter.add(
    "close-delimited-truncated",
    "the same, but the FIN comes after two pieces of text",
    refused("StreamTruncatedError", partial=PARTIAL, options=THRICE),
    ends="cut",
    shows=(b"Connection: close", b"Hello"),
)
async def close_delimited_truncated(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await close_delimited_head(link, "text/event-stream")
    for document in fmt.script().partial():
        await link.send(document.sse())
    link.close()


@chapter.add(
    "close-delimited-truncated-plain",
    "the same with half of a JSON reply",
    refused("UnexpectedResponseError", "APIConnectionError"),
    modes=("plain",),
    ends="cut",
)
async def close_delimited_truncated_plain(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = body_of(request, fmt)
    await close_delimited_head(link, "application/json")
    await link.send(body[: len(body) // 2])
    link.close()


@chapter.add(
    "chunk-extensions",
    "extensions after each chunk size",
    Expect(),
    modes=BOTH,
    shows=(b';part="1 of many"\r\n',),
)
async def chunk_extensions(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = body_of(request, fmt)
    await link.head(content_type=media_of(request))
    for start in range(0, len(body), 50):
        piece = body[start : start + 50]
        await link.send(b'%x;part="1 of many"\r\n%b\r\n' % (len(piece), piece))
    await link.end()


@chapter.add("trailers", "trailer fields after the last chunk", Expect(), modes=BOTH, shows=(b"X-Checksum: 1\r\n",))
async def trailers(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(headers=[("Trailer", "X-Checksum")], content_type=media_of(request))
    await link.chunk(body_of(request, fmt))
    await link.send(b"0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n")
    link.reusable = True


def informational(name: str, line: str, status: bytes, count: int) -> None:
    """Add a fault that sends `count` interim answers before the real one."""

    @chapter.add(name, line, Expect(), modes=BOTH, shows=(status,))
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        for _ in range(count):
            await link.send(b"HTTP/1.1 " + status + b"\r\n\r\n")
        await link.good(request, fmt)


informational("continue-100", "one `100 Continue` nobody asked for", b"100 Continue", 1)
informational("continue-100-hundreds", "300 times `100 Continue`", b"100 Continue", 300)
informational("early-hints-103", "`103 Early Hints` with a link", b"103 Early Hints\r\nLink: </a>; rel=preload", 2)


@chapter.add("one-byte-chunks", "every byte of the body in an HTTP chunk of its own", Expect(), modes=BOTH)
async def one_byte_chunks(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(content_type=media_of(request))
    for number, byte in enumerate(body_of(request, fmt)):
        await link.chunk(bytes([byte]))
        if number % 64 == 0:
            await asyncio.sleep(0)
    await link.end()


@chapter.add("no-reason-phrase", "a status line without a reason phrase", Expect(), modes=BOTH, shows=(b"1.1 200\r\n",))
async def no_reason_phrase(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = body_of(request, fmt)
    await link.send(b"HTTP/1.1 200\r\ncontent-type: %b\r\ncontent-length: " % media_of(request).encode())
    await link.send(b"%d\r\n\r\n" % len(body) + body)
    link.reusable = True


@chapter.add(
    "not-http",
    "answers in the words of another protocol",
    refused("APIConnectionError", "UnexpectedResponseError"),
    modes=BOTH,
    ends="cut",
    shows=(b"SSH-2.0",),
)
async def not_http(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await link.settle()
    link.close()


@chapter.add(
    "length-and-chunked",
    "Content-Length and chunks at once: forbidden, for two readers would see two bodies",
    lenient("APIConnectionError", "UnexpectedResponseError"),
    modes=BOTH,
    shows=(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
)
async def length_and_chunked(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(headers=[("Content-Length", "5")], content_type=media_of(request))
    await link.chunk(body_of(request, fmt))
    await link.end()


@chapter.add("reset-after-terminal", "a whole stream, then a RST: the answer is whole", Expect(), ends="reset")
async def reset_after_terminal(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await whole(link, fmt)
    await link.settle()
    link.reset()


@chapter.add("fin-after-terminal", "a whole stream, then a FIN where the last chunk belongs", Expect(), ends="cut")
async def fin_after_terminal(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await whole(link, fmt)
    link.close()


@chapter.add("bad-chunk-after-terminal", "a whole stream, then a chunk size that is no number", Expect(), ends="cut")
async def bad_chunk_after_terminal(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await whole(link, fmt)
    await link.settle()
    await link.send(b"zz\r\n")
    await link.settle()
    link.close()


@chapter.add(
    "length-unmet-after-terminal",
    "a whole stream under a Content-Length that promises more, then a FIN",
    Expect(),
    ends="cut",
    shows=(b"Content-Length: 100000",),
)
async def length_unmet_after_terminal(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.head(length=100_000)
    await link.send(body_of(request, fmt))
    await link.settle()
    link.close()


@chapter.add(
    "connection-close-each-time",
    "says `Connection: close` and means it",
    Expect(requests=(1, 1)),
    modes=BOTH,
    warmup=True,
    shows=(b"Connection: close",),
)
async def connection_close_each_time(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    body = body_of(request, fmt)
    await link.head(headers=[("Connection", "close")], content_type=media_of(request), length=len(body))
    await link.send(body)
    link.close()


@chapter.add(
    "kept-closed-meanwhile",
    "keeps the connection of the first call and closes it before the second",
    Expect(requests=(1, 2), options=TWICE),
    modes=BOTH,
    warmup=True,
)
async def kept_closed_meanwhile(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await link.good(request, fmt)
    if attempt == 0:
        await link.pause(0.02)
        link.close()


def kept_cut(name: str, line: str, cut: str) -> None:
    """Add a fault that cuts a kept connection on reading its second request."""

    @chapter.add(name, line, Expect(requests=(1, 2), options=TWICE), modes=BOTH, warmup=True)
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        if link.served:
            getattr(link, cut)()
        else:
            await link.good(request, fmt)


kept_cut(
    "kept-closed-on-request",
    "closes a kept connection on reading its second request: a fresh one, and the same Idempotency-Key, heal it",
    "close",
)
kept_cut("kept-reset-on-request", "resets a kept connection on reading its second request", "reset")


@chapter.add(
    "kept-unasked-answer",
    "after the first call, sends a second answer nobody asked for: it must not become the answer to the next call",
    Expect(requests=(1, 2), options=TWICE, text=TEXT),
    modes=BOTH,
    warmup=True,
)
async def kept_unasked_answer(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await link.good(request, fmt)
    if attempt == 0:
        await link.settle()
        await link.answer(200, fmt.whole(stream=request.stream, text=DECOY), content_type=media_of(request))


@chapter.add(
    "answer-before-the-body-is-read",
    "sends a 413 and closes at once",
    refused("RequestTooLargeError", status=413, options=ONCE),
    modes=BOTH,
    shows=(b" 413 ",),
)
async def answer_early(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    body = Document(None, fmt.error_body(413, "request_too_large")).json()
    await link.head(413, [("Connection", "close")], content_type="application/json", length=len(body))
    await link.send(body)
    link.close()
