"""Faults of SSE framing that must be tolerated: keep-alives anywhere, every newline, every cut, every odd field."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from tests.faults.connection import Connection, Request
from tests.faults.fault import Chapter, Expect, refused
from tests.faults.formats import PARTIAL, PIECES, TEXT, Document, Format

chapter = Chapter("framing")

BOM = b"\xef\xbb\xbf"
WIDE = ("Grüße, ", "日本", "語 ", "👩\u200d🚀", " ende")
WIDE_TEXT = "".join(WIDE)
SEPARATORS = ("a\u2028b", "\u2029c", "\u0085d", "\x0b\x0c\x1c\x1d\x1ee")

Write = Callable[[tuple[Document, ...]], Iterable[bytes]]


def written(name: str, line: str, write: Write, *shows: bytes, pieces: tuple[str, ...] = PIECES) -> None:
    """Add a fault whose stream is what `write` makes of a conforming script; each part is an HTTP chunk."""

    @chapter.add(name, line, Expect(text="".join(pieces), output_tokens=7), shows=shows)
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await link.head()
        for part in write(fmt.script(pieces).documents()):
            await link.chunk(part)
            # Lets the transport write what it has, so that the parts tend to be separate reads.
            await asyncio.sleep(0)
        await link.end()


def plainly(documents: tuple[Document, ...]) -> list[bytes]:
    """Return each event as ordinary SSE."""
    return [document.sse() for document in documents]


def between(name: str, line: str, noise: bytes) -> None:
    """Add a fault that puts the same bytes before, between and after all events."""

    def write(documents: tuple[Document, ...]) -> list[bytes]:
        parts = [noise]
        for document in documents:
            parts += [document.sse(), noise]
        return parts

    written(name, f"{line} before, between and after all events", write, noise)


between("comments", "comments", b": PING\n\n")
between("comments-of-a-router", "comments of several words", b": OPENROUTER PROCESSING\n\n")
between("comment-empty", "empty comments", b":\n\n")
between("comment-without-blank-line", "comments without a blank line", b": PING\n")
between("blank-lines", "runs of blank lines", b"\n\n\n")
between("ping-events", "`event: ping` with data", b'event: ping\ndata: {"type":"ping"}\n\n')
between("ping-events-empty", "`event: ping` with `{}`", b"event: ping\ndata: {}\n\n")
between("ping-events-without-data", "`event: ping` alone", b"event: ping\n\n")
between("data-empty", "empty `data:`", b"data:\n\n")
between("data-space", "`data:` with one space", b"data: \n\n")
between("data-without-colon", "the field `data` without a colon", b"data\n\n")
between("retry-alone", "`retry:` alone", b"retry: 3000\n\n")
between("retry-nonsense", "`retry:` with words", b"retry: in a while\n\n")
between("id-alone", "`id:` alone", b"id: 17\n\n")
between("id-then-blank-lines", "`id:` and several blank lines", b"id: 17\n\n\n\n")
between("id-with-nul", "`id:` with a NUL", b"id: a\x00b\n\n")
between("event-alone", "`event:` alone", b"event: something_new\n\n")
between("unknown-field", "a field nobody knows", b"foo: bar\n\n")
between("unknown-word", "a word without a colon", b"heartbeat\n\n")

written(
    "noise-inside-events",
    "comments, ids, retries and unknown fields among the lines of each event",
    lambda documents: [
        b": one\nid: 4\n" + document.sse()[:-1].replace(b"data: ", b"foo: bar\n: two\ndata: ", 1) + b"retry: 10\n\n"
        for document in documents
    ],
    b"foo: bar",
)
written(
    "no-space-after-colon",
    "`data:` without the space",
    lambda documents: [document.sse(space=b"") for document in documents],
    b"data:{",
)
written(
    "two-spaces-after-colon",
    "`data:` with two spaces, of which one belongs to the data",
    lambda documents: [document.sse().replace(b"data: ", b"data:  ", 1) for document in documents],
    b"data:  {",
)
written(
    "trailing-spaces",
    "spaces behind the data",
    lambda documents: [document.json().join((b"data: ", b"   \n\n")) for document in documents],
    b"}   \n\n",
)
written("crlf", "CRLF", lambda documents: [part.sse(b"\r\n") for part in documents], b"}\r\n\r\n")
written("cr", "CR alone", lambda documents: [part.sse(b"\r") for part in documents], b"}\r\r")
written(
    "newlines-mixed",
    "LF, CR and CRLF by turns",
    lambda documents: [part.sse((b"\n", b"\r", b"\r\n")[number % 3]) for number, part in enumerate(documents)],
    b"}\r\n\r\n",
    b"}\n\n",
)


def crlf_split(documents: tuple[Document, ...]) -> list[bytes]:
    """Return CRLF streams cut between each CR and its LF."""
    whole = b"".join(part.sse(b"\r\n") for part in documents)
    return whole.replace(b"\r\n", b"\r\0\n").split(b"\0")


written("crlf-split", "CRLF, cut between CR and LF", crlf_split, b"\n\r\r\n")
written("bom", "a byte order mark first", lambda documents: [BOM, *plainly(documents)], BOM)
written(
    "bom-split",
    "a byte order mark in three reads",
    lambda documents: [BOM[:1], BOM[1:2], BOM[2:], *plainly(documents)],
    b"\xef\r\n",
)
written(
    "bom-then-comment",
    "a byte order mark and a comment",
    lambda documents: [BOM + b": hello\n\n", *plainly(documents)],
    BOM,
)


def many_lines(documents: tuple[Document, ...]) -> list[bytes]:
    """Return each JSON cut into several `data:` lines, at places where JSON allows a newline."""
    parts = []
    for document in documents:
        name = f"event: {document.name}\n".encode() if document.name else b""
        data = document.json()
        lines = [b"{", data[1:-1], b"}"] if data.startswith(b"{") else [data]
        parts.append(name + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n")
    return parts


written("data-on-many-lines", "each JSON on three `data:` lines", many_lines, b"data: {\ndata: ")
written("one-read", "the whole stream in one write", lambda documents: [b"".join(plainly(documents))])


def cut_by(size: int) -> Write:
    """Return a writer of parts of `size` bytes."""

    def write(documents: tuple[Document, ...]) -> list[bytes]:
        whole = b"".join(plainly(documents))
        return [whole[start : start + size] for start in range(0, len(whole), size)]

    return write


for _size in (1, 2, 3, 7, 1009):
    written(f"cut-by-{_size}", f"the stream in parts of {_size} bytes, also inside characters", cut_by(_size), pieces=WIDE)

written(
    "unicode-line-separators",
    "U+2028, U+2029, U+0085 and control characters inside the data: no line ends there",
    lambda documents: [part.sse().replace(rb"\u000b", b"\\u000b") for part in documents],
    "\u2028".encode(),
    "\u0085".encode(),
    pieces=SEPARATORS,
)
written(
    "escaped-text",
    "every character of the text as a JSON escape",
    lambda documents: [
        Document(part.name, ascii_json(part)).sse() if part.data != "[DONE]" else part.sse() for part in documents
    ],
    b"\\u65e5",
    b"\\ud83d\\udc69",
    pieces=WIDE,
)


def ascii_json(document: Document) -> str:
    """Return the document's JSON with nothing beyond ASCII in it."""
    return "".join(
        char if ord(char) < 128 else "".join(f"\\u{unit:04x}" for unit in utf16(char)) for char in document.json().decode()
    )


def utf16(char: str) -> list[int]:
    """Return the UTF-16 units of a character."""
    data = char.encode("utf-16-be")
    return [int.from_bytes(data[start : start + 2], "big") for start in range(0, len(data), 2)]


def unended(newlines: bytes) -> Write:
    """Return a writer whose last event lacks its end but for the given bytes."""
    return lambda documents: [*plainly(documents[:-1]), documents[-1].sse().rstrip(b"\n") + newlines]


written("last-event-without-blank-line", "the last event without its blank line", unended(b"\n"))
written("last-event-without-newline", "the last event without any newline", unended(b""))
written("last-event-with-cr", "the last event with a CR alone", unended(b"\r"))
written(
    "done-everywhere",
    "`data: [DONE]` at the end, in each format",
    lambda documents: [*plainly(tuple(part for part in documents if part.data != "[DONE]")), b"data: [DONE]\n\n"],
    b"[DONE]",
)
written(
    "done-twice",
    "`data: [DONE]` twice",
    lambda documents: [*plainly(documents), b"data: [DONE]\n\n", b"data: [DONE]\n\n"],
    b"[DONE]",
)
written(
    "no-done",
    "no `[DONE]`",
    lambda documents: plainly(tuple(part for part in documents if part.data != "[DONE]")),
)
written(
    "words-after-terminal",
    "words, broken events and a raw error after the end: nothing there counts",
    lambda documents: [*plainly(documents), b'data: {broken\n\nbye\n\n{"error":{"message":"late"}}\n'],
    b"data: {broken",
)
written(
    "binary-after-terminal",
    "bytes of every value after the end",
    lambda documents: [*plainly(documents), bytes(range(256)) * 4],
    bytes(range(128, 256)),
)
written(
    "event-names-wrong",
    "each event under a name that fits no event: the JSON's own type counts",
    lambda documents: [b"event: message\n" + part.sse(named=False) for part in documents],
    b"event: message\n",
)
written(
    "event-names-absent",
    "no `event:` lines",
    lambda documents: [part.sse(named=False) for part in documents],
)
written(
    "event-name-after-data",
    "`event:` behind `data:`",
    lambda documents: [
        part.sse(named=False)[:-1] + (b"event: " + part.name.encode() + b"\n" if part.name else b"") + b"\n"
        for part in documents
    ],
)


def broken_data(name: str, line: str, noise: bytes, *errors: str) -> None:
    """Add a fault that sends two pieces of text, then something that is neither SSE nor JSON, then the rest."""

    @chapter.add(name, line, refused(*errors, partial=PARTIAL), shows=(b"Hello", noise))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        script = fmt.script()
        parts = [*plainly(script.partial()), noise, *plainly(script.rest())]
        await link.stream(parts)


for _name, _line, _noise in (
    ("data-broken-json", "`data:` with JSON that breaks off", b'data: {"a": \n\n'),
    ("data-words", "`data:` with words", b"data: upstream is tired\n\n"),
    ("data-html", "`data:` with a tag", b"data: <html>\n\n"),
    ("data-two-values", "`data:` with two JSON values", b"data: {} {}\n\n"),
    ("data-single-quotes", "`data:` with a Python dictionary", b"data: {'error': 'no'}\n\n"),
    ("data-binary", "`data:` with bytes that are no text", b"data: \x00\x01\xfe\xff\n\n"),
):
    broken_data(_name, _line, _noise, "StreamDecodeError")


@chapter.add(
    "half-event-at-the-end",
    "two pieces of text, half an event and a proper end: what is incomplete is dropped, and the stream is cut short",
    refused("StreamTruncatedError", partial=PARTIAL),
    shows=(b"Hello",),
)
async def half_event_at_the_end(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    await link.stream([*plainly(script.partial()), script.deltas[2].sse()[:40]])


@chapter.add(
    "half-terminal-at-the-end",
    "all text and half of the terminal event: the terminal never came",
    refused("StreamTruncatedError", partial=TEXT),
    shows=(b"Hello",),
)
async def half_terminal_at_the_end(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    body = plainly(script.opening + script.deltas)
    await link.stream([*body, script.terminal[0].sse()[:40]])
