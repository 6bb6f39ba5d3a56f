"""Faults of the end: bodies that close before the format's own terminal, and ends that look odd but are whole."""

from __future__ import annotations

from collections.abc import Iterable

from tests.faults.connection import Connection, Request
from tests.faults.fault import ONCE, THRICE, Chapter, Expect, refused
from tests.faults.formats import (
    ALL,
    CHAT,
    DONE,
    GEMINI,
    MESSAGES,
    OUTPUT_TOKENS,
    PARTIAL,
    RESPONSES,
    TEXT,
    Document,
    Format,
)

chapter = Chapter("terminal")

CUT = refused("StreamTruncatedError", partial=TEXT, options=THRICE)
EMPTY = refused("StreamTruncatedError", partial="", options=ONCE)


def ended(name: str, line: str, parts: tuple[bytes, ...], expect: Expect) -> None:
    """Add a fault that sends the same bytes in every format, then ends properly."""

    @chapter.add(name, line, expect, shows=parts)
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.stream(parts)


ended("empty-stream", "a stream of no bytes", (), EMPTY)
ended("only-blank-lines", "a stream of blank lines", (b"\n\n\n\n",), EMPTY)
ended("only-comments", "a stream of comments", (b": PING\n\n", b": PONG\n\n"), EMPTY)
ended("only-done", "a stream of `[DONE]` alone: gateways send it after an upstream cut", (b"data: [DONE]\n\n",), EMPTY)
ended("only-empty-data", "a stream of empty data", (b"data:\n\n",), EMPTY)
ended("only-bom", "a stream of a byte order mark", (b"\xef\xbb\xbf",), EMPTY)


@chapter.add(
    "cut-after-opening",
    "the opening events and a proper end",
    EMPTY,
    formats=("messages", "chat_completions", "responses"),
)
async def cut_after_opening(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.script().opening)


@chapter.add(
    "cut-mid-text",
    "two pieces of text and a proper end",
    refused("StreamTruncatedError", partial=PARTIAL, options=THRICE, events=2),
    shows=(b"Hello",),
)
async def cut_mid_text(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.script().partial())


@chapter.add("cut-after-text", "all text and a proper end, but no terminal", CUT, shows=(b"server.",))
async def cut_after_text(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    await link.stream(part.sse() for part in script.opening + script.deltas)


@chapter.add("cut-then-done", "all text, no terminal, and yet `[DONE]`", CUT, shows=(b"server.", b"[DONE]"))
async def cut_then_done(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    await link.stream(part.sse() for part in (*script.opening, *script.deltas, DONE))


@chapter.add(
    "cut-inside-tool-call",
    "half of a tool call and a proper end",
    refused("StreamTruncatedError", options=THRICE),
    formats=("messages", "chat_completions", "responses"),
    shows=(b"get_weather",),
)
async def cut_inside_tool_call(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.tool_script().partial())


def only(fmt: Format, name: str, line: str, documents: Iterable[Document], expect: Expect, *extra: bytes) -> None:
    """Add a fault of one format that sends the given events, then bytes, then ends properly."""
    parts = [part.sse() for part in documents]

    @chapter.add(f"{fmt.name.split('_')[0]}-{name}", line, expect, formats=(fmt.name,))
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.stream([*parts, *extra])


WHOLE = Expect()
COUNTED = Expect(output_tokens=OUTPUT_TOKENS)

CLAUDE = MESSAGES.script()
BEFORE_ENDING = (*CLAUDE.opening, *CLAUDE.deltas, CLAUDE.closing[0])
NO_REASON = MESSAGES.event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 3})

only(
    MESSAGES,
    "no-stop",
    "a stop reason and then the end of the body: whole without `message_stop`",
    (*BEFORE_ENDING, CLAUDE.closing[1]),
    COUNTED,
)
only(
    MESSAGES,
    "no-stop-but-done",
    "a stop reason and then `[DONE]`",
    (*BEFORE_ENDING, CLAUDE.closing[1], DONE),
    COUNTED,
)
only(MESSAGES, "block-stop-only", "the block's end and then the body's", BEFORE_ENDING, CUT)
only(
    MESSAGES,
    "no-stop-reason",
    "a `message_delta` without a stop reason, then the end",
    (*BEFORE_ENDING, NO_REASON),
    CUT,
)
only(
    MESSAGES,
    "no-stop-reason-but-done",
    "a `message_delta` without a stop reason, then `[DONE]`",
    (*BEFORE_ENDING, NO_REASON, DONE),
    CUT,
)
only(
    MESSAGES,
    "stop-without-delta",
    "`message_stop` without any `message_delta`: it is the terminal",
    (*BEFORE_ENDING, *CLAUDE.terminal),
    WHOLE,
)
SECOND = refused("StreamDecodeError", partial=PARTIAL, options=THRICE)
only(
    MESSAGES,
    "second-start",
    "a second `message_start` inside one body: two answers must not run together",
    (*CLAUDE.partial(), *CLAUDE.documents()),
    SECOND,
)
only(
    MESSAGES,
    "second-stream-after-terminal",
    "a second whole stream behind the first: words after the terminal",
    (*CLAUDE.documents(), *CLAUDE.documents()),
    WHOLE,
)

TALK = CHAT.script()
only(
    CHAT,
    "finish-without-usage-or-done",
    "a finish reason and the end of the body",
    (*TALK.opening, *TALK.deltas, *TALK.terminal),
    WHOLE,
)
only(
    CHAT,
    "one-choice-unfinished",
    "two choices of which one finishes, then `[DONE]`",
    (*TALK.opening, CHAT.delta({"content": "other"}, index=1), *TALK.deltas, *TALK.terminal, *TALK.epilogue),
    CUT,
)
only(
    CHAT,
    "finish-with-last-text",
    "the finish reason in the chunk of the last text",
    (*TALK.opening, *TALK.deltas[:-1], CHAT.delta({"content": " server."}, "stop"), DONE),
    WHOLE,
)
only(
    CHAT,
    "done-with-words",
    "`[DONE]` with words behind it on the line",
    (*TALK.opening, *TALK.deltas, *TALK.terminal),
    WHOLE,
    b"data: [DONE] thanks\n\n",
)
only(
    CHAT,
    "usage-only",
    "a chunk of usage and no choice ever, then `[DONE]`",
    TALK.epilogue,
    EMPTY,
)
only(
    CHAT,
    "finish-twice",
    "the finish reason twice",
    (*TALK.opening, *TALK.deltas, *TALK.terminal, *TALK.terminal, *TALK.epilogue),
    COUNTED,
)

RESPONSE = RESPONSES.script()
only(
    RESPONSES,
    "item-done-only",
    "the item's end and then the body's",
    (*RESPONSE.opening, *RESPONSE.deltas, *RESPONSE.closing),
    CUT,
)
only(
    RESPONSES,
    "second-start",
    "a second `response.created` of another response inside one body",
    (
        *RESPONSE.partial(),
        RESPONSES.event("response.created", response={**RESPONSES.response("in_progress", []), "id": "resp_other"}),
        *RESPONSE.documents()[1:],
    ),
    SECOND,
)
only(
    RESPONSES,
    "second-stream-after-terminal",
    "a second whole stream behind the first",
    (*RESPONSE.documents(), *RESPONSE.documents()),
    WHOLE,
)
only(
    RESPONSES,
    "completed-only",
    "`response.completed` and nothing before it",
    RESPONSE.terminal,
    COUNTED,
)

GEMINI_TALK = GEMINI.script()
only(
    GEMINI,
    "one-candidate-unfinished",
    "two candidates of which one finishes",
    (GEMINI.chunk([{"text": "other"}], index=1), *GEMINI_TALK.documents()),
    CUT,
)
only(
    GEMINI,
    "usage-without-finish",
    "all text and a chunk of usage, but no finish reason",
    (*GEMINI_TALK.deltas, Document(None, {"usageMetadata": GEMINI.usage()})),
    CUT,
)
only(
    GEMINI,
    "finish-unspecified",
    "a finish reason on each chunk, `FINISH_REASON_UNSPECIFIED` but for the last: that word is none",
    (
        *(GEMINI.chunk([{"text": piece}], "FINISH_REASON_UNSPECIFIED") for piece in ("Hello from the",)),
        GEMINI.chunk([{"text": " fault server."}], "STOP", usageMetadata=GEMINI.usage()),
    ),
    COUNTED,
)
only(
    GEMINI,
    "finish-with-last-text",
    "the finish reason in the chunk of the last text",
    (*GEMINI_TALK.deltas[:-1], GEMINI.chunk([{"text": " server."}], "STOP")),
    WHOLE,
)
only(
    GEMINI,
    "array-instead-of-sse",
    "the chunks as one JSON list, as the route gives without `alt=sse`: read whole, or refused by type",
    (),
    Expect(
        outcome="either",
        error=("StreamDecodeError", "UnexpectedResponseError", "StreamTruncatedError"),
        options=ONCE,
    ),
    Document(None, [part.data for part in GEMINI_TALK.documents()]).json(),
)

assert {name for fault in chapter.faults for name in fault.formats} == set(ALL)
