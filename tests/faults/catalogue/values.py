"""Faults of JSON itself: depth, numbers, duplicate keys, broken characters, and values of the wrong type."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.faults.catalogue.connections import BOTH
from tests.faults.connection import Connection, Request
from tests.faults.fault import Chapter, Expect, lenient
from tests.faults.formats import ALL, PARTIAL, TEXT, Document, Format

chapter = Chapter("json")

HOLE = '"@hole@"'
UNREADABLE = ("StreamDecodeError", "UnexpectedResponseError")


def unknown_place(name: str, line: str, raw: bytes, expect: Expect) -> None:
    """Add a fault that puts raw JSON into a field nobody knows, of the third text event or of the plain reply."""

    @chapter.add(f"{name}", f"{line}, in a field nobody knows", expect, modes=BOTH, shows=(raw[:50],))
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        if not request.stream:
            body = Document(None, {**fmt.reply(), "novelty": "@hole@"}).json()
            await link.answer(200, body.replace(HOLE.encode(), raw))
            return
        script = fmt.script()
        third = script.deltas[2].changed(novelty="@hole@").sse().replace(HOLE.encode(), raw)
        before = [document.sse() for document in script.partial()]
        await link.stream([*before, third, *(document.sse() for document in script.rest(3))])


for _depth in (500, 10_000, 100_000):
    for _kind, _open, _close in (("lists", b"[", b"]"), ("objects", b'{"a":', b"}")):
        unknown_place(
            f"deep-{_kind}-{_depth}",
            f"{_depth:,} nested {_kind}",
            _open * _depth + b"1" + _close * _depth,
            Expect() if _depth == 500 else lenient(*UNREADABLE),
        )

for _name, _line, _raw in (
    ("integer-64-bit", "an integer of 20 digits", b"18446744073709551616"),
    ("integer-5000-digits", "an integer of 5,000 digits", b"9" * 5000),
    ("float-huge", "`1e999999`", b"1e999999"),
    ("float-5000-digits", "a fraction of 5,000 digits", b"0." + b"3" * 5000),
    ("nan", "`NaN`", b"NaN"),
    ("infinity", "`Infinity`", b"Infinity"),
    ("infinity-negative", "`-Infinity`", b"-Infinity"),
    ("duplicate-keys", "an object with a key twice", b'{"a":1,"a":2}'),
    ("empty-key", "an object with an empty key", b'{"":1}'),
    ("surrogate-alone", "half a character", b'"\\ud83d"'),
    ("surrogate-in-key", "half a character in a key", b'{"\\udc00":1}'),
    ("nul-character", "an escaped NUL", b'"\\u0000"'),
):
    unknown_place(_name, _line, _raw, Expect())


def text_fault(name: str, line: str, raw: tuple[bytes, ...], text: str) -> None:
    """Add a fault whose text pieces are raw JSON string contents; a plain reply holds them joined."""

    @chapter.add(name, line, Expect(text=text), modes=BOTH, shows=(raw[0],))
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        if not request.stream:
            body = Document(None, fmt.reply("@0@")).json()
            await link.answer(200, body.replace(b"@0@", b"".join(raw)))
            return
        marks = tuple(f"@{number}@" for number in range(len(raw)))
        parts = []
        for document in fmt.script(marks).documents():
            data = document.sse()
            for mark, piece in zip(marks, raw, strict=True):
                data = data.replace(mark.encode(), piece)
            parts.append(data)
        await link.stream(parts)


text_fault("text-surrogate-alone", "half a character in the text", (b"a", b"\\ud83d", b"b"), "a\ufffdb")
text_fault("text-surrogate-low-alone", "the second half of a character in the text", (b"a\\ude00", b"b"), "a\ufffdb")
text_fault("text-surrogate-at-the-end", "half a character at the text's end", (b"a", b"b\\ud83d"), "ab\ufffd")
text_fault(
    "text-surrogate-halves",
    "the two halves of a character in two pieces: together they are that character",
    (b"a\\ud83d", b"\\ude00b"),
    "a\N{GRINNING FACE}b",
)
text_fault("text-surrogates-swapped", "two halves in the wrong order", (b"a\\ude00", b"\\ud83db"), "a\ufffd\ufffdb")
text_fault("text-invalid-utf8", "a byte that is no UTF-8 in the text", (b"a\xff", b"b"), "a\ufffdb")
text_fault("text-latin1", "a letter in Latin-1", (b"gr", b"\xfcn"), "gr\ufffdn")
text_fault("text-overlong-utf8", "a slash in two bytes, which UTF-8 forbids", (b"a\xc0\xaf", b"b"), "a\ufffd\ufffdb")
text_fault("text-nul", "an escaped NUL in the text", (b"a\\u0000", b"b"), "a\x00b")
text_fault("text-like-done", "`[DONE]` as text", (b"[DONE]", b" data: [DONE]"), "[DONE] data: [DONE]")
text_fault("text-like-sse", "escaped newlines and field names as text", (b"a\\n\\ndata: {", b"}\\n\\n"), "a\n\ndata: {}\n\n")
text_fault(
    "text-like-error",
    "an error's JSON as text",
    (b'{\\"error\\":', b'{\\"message\\":\\"x\\"}}'),
    '{"error":{"message":"x"}}',
)


def no_object(name: str, raw: bytes) -> None:
    """Add a fault that sends a JSON value where an event object belongs."""

    @chapter.add(
        f"event-{name}",
        f"`data: {raw.decode()}` after two pieces of text, then the rest",
        lenient("StreamDecodeError", partial=PARTIAL, text=TEXT),
        shows=(b"Hello", b"data: " + raw),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        script = fmt.script()
        before = [document.sse() for document in script.partial()]
        await link.stream([*before, b"data: " + raw + b"\n\n", *(document.sse() for document in script.rest())])


for _name, _raw in (
    ("null", b"null"),
    ("number", b"3"),
    ("string", b'"hello"'),
    ("true", b"true"),
    ("list", b"[]"),
    ("list-of-numbers", b"[1,2]"),
):
    no_object(_name, _raw)


Path = tuple[str | int, ...]

DELTA_PLACES: dict[str, dict[str, Path]] = {
    "text": {
        "messages": ("delta", "text"),
        "chat_completions": ("choices", 0, "delta", "content"),
        "responses": ("delta",),
        "generate_content": ("candidates", 0, "content", "parts", 0, "text"),
    },
    "holder": {
        "messages": ("delta",),
        "chat_completions": ("choices", 0, "delta"),
        "generate_content": ("candidates", 0, "content", "parts", 0),
    },
    "list": {
        "chat_completions": ("choices",),
        "generate_content": ("candidates",),
    },
    "index": {
        "messages": ("index",),
        "chat_completions": ("choices", 0, "index"),
        "responses": ("output_index",),
        "generate_content": ("candidates", 0, "index"),
    },
    "type": {
        "messages": ("type",),
        "chat_completions": ("object",),
        "responses": ("type",),
        "generate_content": ("responseId",),
    },
    "inner": {
        "messages": ("delta", "type"),
        "chat_completions": ("choices", 0, "finish_reason"),
        "responses": ("content_index",),
        "generate_content": ("candidates", 0, "finishReason"),
    },
    "entry": {
        "chat_completions": ("choices", 0),
        "generate_content": ("candidates", 0),
    },
}

REPLY_PLACES: dict[str, dict[str, Path]] = {
    "text": {
        "messages": ("content", 0, "text"),
        "chat_completions": ("choices", 0, "message", "content"),
        "responses": ("output", 0, "content", 0, "text"),
        "generate_content": ("candidates", 0, "content", "parts", 0, "text"),
    },
    "holder": {
        "messages": ("content", 0),
        "chat_completions": ("choices", 0, "message"),
        "responses": ("output", 0, "content", 0),
        "generate_content": ("candidates", 0, "content"),
    },
    "list": {
        "messages": ("content",),
        "chat_completions": ("choices",),
        "responses": ("output",),
        "generate_content": ("candidates",),
    },
    "usage": {
        "messages": ("usage",),
        "chat_completions": ("usage",),
        "responses": ("usage",),
        "generate_content": ("usageMetadata",),
    },
    "count": {
        "messages": ("usage", "output_tokens"),
        "chat_completions": ("usage", "completion_tokens"),
        "responses": ("usage", "output_tokens"),
        "generate_content": ("usageMetadata", "candidatesTokenCount"),
    },
    "id": {
        "messages": ("id",),
        "chat_completions": ("id",),
        "responses": ("id",),
        "generate_content": ("responseId",),
    },
}

WRONG: tuple[tuple[str, Any], ...] = (
    ("null", None),
    ("number", 3),
    ("string", "surprise"),
    ("true", True),
    ("list", [1, [2]]),
    ("object", {"surprise": {"a": 1}}),
    ("nan", float("nan")),
    ("huge-number", 10**30),
    ("negative", -7),
)


def put(data: Any, path: Path, value: Any) -> Any:
    """Return a deep copy with the value at the path."""
    changed = copy.deepcopy(data)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def wrong_type(place: str, kind: str, value: Any) -> None:
    """Add the faults of one wrong value: in the third text event of a stream, and in a plain reply."""
    # How much of the text remains is for the client to say, so only the class of the outcome counts.
    expect = lenient(*UNREADABLE, "StreamTruncatedError", text=None)
    streams = DELTA_PLACES.get(place, {})
    if streams:

        @chapter.add(
            f"wrong-{place}-{kind}-in-event",
            f"a {kind} as the {place} of an event: harmless or a typed error, never a bare one",
            expect,
            formats=tuple(name for name in ALL if name in streams),
            shows=(b"Hello",),
        )
        async def in_event(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
            script = fmt.script()
            third = script.deltas[2]
            bent = Document(third.name, put(third.data, streams[fmt.name], value))
            await link.stream(part.sse() for part in (*script.partial(), bent, *script.rest(3)))

    replies = REPLY_PLACES.get(place, {})
    if replies:

        @chapter.add(
            f"wrong-{place}-{kind}-in-reply",
            f"a {kind} as the {place} of a plain reply: harmless or a typed error, never a bare one",
            expect,
            formats=tuple(name for name in ALL if name in replies),
            modes=("plain",),
        )
        async def in_reply(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
            await link.answer(200, Document(None, put(fmt.reply(), replies[fmt.name], value)).json())


FITTING = {
    ("text", "string"),
    ("id", "string"),
    ("type", "string"),
    ("inner", "string"),
    ("count", "number"),
    ("index", "number"),
}

for _place in sorted({*DELTA_PLACES, *REPLY_PLACES}):
    for _kind, _value in WRONG:
        if (_place, _kind) not in FITTING:
            wrong_type(_place, _kind, _value)


def envelope(name: str, line: str, bend: Callable[[str, Any], Any]) -> None:
    """Add a fault that bends the whole object every event or reply is made of."""

    @chapter.add(name, line, lenient(*UNREADABLE, "StreamTruncatedError", text=None), modes=BOTH)
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        if not request.stream:
            await link.answer(200, Document(None, bend(fmt.name, fmt.reply())).json())
            return
        parts = (
            part if isinstance(part.data, str) else Document(part.name, bend(fmt.name, part.data))
            for part in fmt.script().documents()
        )
        await link.stream(part.sse() for part in parts)


envelope("every-value-null", "objects whose every field is null", lambda _name, data: dict.fromkeys(data))
envelope("every-value-list", "objects whose every field is an empty list", lambda _name, data: {key: [] for key in data})
envelope("every-object-in-a-list", "objects wrapped in a list each", lambda _name, data: [data])
