"""Faults of time: silence at every place, keep-alives for ever, and slow answers that are none the less alive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.faults.catalogue.connections import BOTH, begin, media_of
from tests.faults.connection import Connection, Request
from tests.faults.fault import ONCE, Chapter, Expect, refused
from tests.faults.formats import CHAT, GEMINI, PARTIAL, PIECES, Document, Format

chapter = Chapter("stall")

LIMIT = 0.4
SLACK = 0.2
EARLY = 0.05
BEAT = 0.05
HELD = {"timeouts": {"first_event": 10.0, "idle": 5.0, "event": 5.0}}
"""Limits far above a held stream's bound, so that only knowing the format's end can meet it."""


def limits(**seconds: float) -> Mapping[str, Any]:
    """Return options of one attempt with some time limits."""
    return {**ONCE, "timeouts": seconds}


def late(phase: str, limit: float = LIMIT, **fields: Any) -> Expect:
    """Return the expectation of a timeout of that phase, no earlier and hardly later than its limit."""
    times: dict[str, Any] = {"seconds": limit + SLACK, "at_least": limit - EARLY}
    return refused("APITimeoutError", phase=phase, **{**times, "options": limits(**{phase: limit}), **fields})


@chapter.add(
    "stall-connecting",
    "accepts no connection and refuses none",
    late("connect", requests=(0, 0)),
    modes=BOTH,
    listener="blackhole",
    ends="refused",
)
async def stall_connecting(_link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    raise AssertionError


@chapter.add("stall-before-headers", "reads the request and says nothing", late("first_event"), modes=BOTH, ends="open")
async def stall_before_headers(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.stall()


@chapter.add(
    "stall-inside-head",
    "half a head, then nothing",
    late("first_event"),
    modes=BOTH,
    ends="open",
    shows=(b"Content-Ty",),
)
async def stall_inside_head(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await link.stall()


@chapter.add("stall-after-headers", "a head, then nothing", late("first_event"), modes=BOTH, ends="open")
async def stall_after_headers(link: Connection, request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head(content_type=media_of(request))
    await link.stall()


@chapter.add("stall-inside-reply", "half of a JSON reply, then nothing", late("first_event"), modes=("plain",), ends="open")
async def stall_inside_reply(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    body = Document(None, fmt.reply()).json()
    await link.head(content_type="application/json", length=len(body))
    await link.send(body[: len(body) // 2])
    await link.stall()


@chapter.add(
    "reply-drips",
    "a plain reply that begins with spaces and never goes on to the JSON: bytes flow, an answer never comes",
    late("first_event"),
    modes=("plain",),
    ends="flow",
)
async def reply_drips(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head(content_type="application/json")
    while True:
        await link.chunk(b" ")
        await link.pause(BEAT)


@chapter.add(
    "stall-between-events",
    "two pieces of text, then nothing",
    late("idle", partial=PARTIAL),
    ends="open",
    shows=(b"Hello",),
)
async def stall_between_events(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.stall()


@chapter.add(
    "stall-inside-event",
    "two pieces of text and half an event, then nothing",
    late("idle", partial=PARTIAL),
    ends="open",
    shows=(b"Hello",),
)
async def stall_inside_event(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.chunk(fmt.script().deltas[2].sse()[:40])
    await link.stall()


@chapter.add(
    "stall-inside-chunk",
    "two pieces of text and half an HTTP chunk, then nothing",
    late("idle", partial=PARTIAL),
    ends="open",
    shows=(b"Hello",),
)
async def stall_inside_chunk(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.send(b"400\r\n: half a chunk")
    await link.stall()


async def beat_for_ever(link: Connection, beat: bytes) -> None:
    """Send one HTTP chunk every 50 ms until the client leaves or the server's bound ends it."""
    while True:
        await link.chunk(beat)
        await link.pause(BEAT)


def keep_alives(name: str, line: str, beat: bytes) -> None:
    """Add the two faults of a keep-alive for ever: before any content, and after some."""

    @chapter.add(
        f"{name}-only",
        f"{line} for ever, and never an event",
        late("first_event", options=limits(first_event=LIMIT, idle=5.0, event=5.0)),
        ends="flow",
    )
    async def before(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.head()
        await beat_for_ever(link, beat)

    @chapter.add(
        f"{name}-after-content",
        f"two pieces of text, then {line} for ever: the wire is never idle, but no event comes",
        late("event", partial=PARTIAL, options=limits(first_event=5.0, idle=5.0, event=LIMIT)),
        ends="flow",
        shows=(b"Hello",),
    )
    async def after(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await begin(link, fmt)
        await beat_for_ever(link, beat)


keep_alives("comments", "comments", b": PING\n\n")
keep_alives("blank-lines", "blank lines", b"\n\n")
keep_alives("pings", "`event: ping`", b'event: ping\ndata: {"type":"ping"}\n\n')
keep_alives("empty-data", "empty `data:` events", b"data:\n\n")


@chapter.add(
    "event-drips",
    "two pieces of text, then an event that grows by a byte every 50 ms and never ends",
    late("event", partial=PARTIAL, options=limits(first_event=5.0, idle=5.0, event=LIMIT)),
    ends="flow",
    shows=(b"Hello",),
)
async def event_drips(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await link.chunk(b"data: {")
    await beat_for_ever(link, b" ")


@chapter.add(
    "slow-but-alive",
    "a piece of text every 0.25 s for longer than any one limit: each comes in time, so nothing may end it",
    Expect(options=limits(first_event=1.0, idle=0.7, event=0.7), seconds=6.0, at_least=1.0),
)
async def slow_but_alive(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream((document.sse() for document in fmt.script(PIECES).documents()), gap=0.25)


@chapter.add(
    "slow-then-content",
    "comments for 0.8 s, then two pieces, comments again, then the rest: idle is never reached, event is not either",
    Expect(options=limits(first_event=2.0, idle=0.5, event=2.0), seconds=5.0, at_least=1.5),
    shows=(b": still thinking",),
)
async def slow_then_content(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    await link.head()
    for part in (script.partial(), script.rest()):
        for _ in range(8):
            await link.chunk(b": still thinking\n\n")
            await link.pause(0.1)
        for document in part:
            await link.chunk(document.sse())
    await link.end()


@chapter.add(
    "slow-first-byte",
    "answers after 0.5 s",
    Expect(options=limits(first_event=2.0, idle=0.3), at_least=0.45),
    modes=BOTH,
)
async def slow_first_byte(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    await link.pause(0.5)
    await link.good(request, fmt)


@chapter.add(
    "slow-inside-events",
    "each event in two halves 0.1 s apart",
    Expect(options=limits(first_event=5.0, idle=0.5, event=2.0), seconds=8.0),
)
async def slow_inside_events(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.head()
    for document in fmt.script().documents():
        data = document.sse()
        await link.chunk(data[: len(data) // 2])
        await link.pause(0.1)
        await link.chunk(data[len(data) // 2 :])
    await link.end()


@chapter.add(
    "endless-content",
    "a piece of text every 50 ms for ever: no limit but that of the whole call can end it",
    late("total", limit=0.6, options=limits(first_event=5.0, idle=5.0, event=5.0, total=0.6)),
    ends="flow",
    shows=(b"Hello",),
)
async def endless_content(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await begin(link, fmt)
    await beat_for_ever(link, fmt.script().deltas[2].sse())


@chapter.add(
    "stall-against-total",
    "reads the request and says nothing, under a limit for the whole call alone",
    late("total", options=limits(first_event=5.0, idle=5.0, total=LIMIT)),
    modes=BOTH,
    ends="open",
)
async def stall_against_total(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.stall()


@chapter.add(
    "total-covers-retries",
    "503 with a Retry-After of 0.2 s, for ever: attempts and waits together stay below the limit of the whole call",
    refused(
        "ServiceUnavailableError",
        "APITimeoutError",
        requests=(2, 5),
        seconds=0.9,
        options={"retries": {"max_attempts": 50}, "timeouts": {"total": 0.7}},
    ),
    modes=BOTH,
    shows=(b"Retry-After: 0.2",),
)
async def total_covers_retries(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer_json(503, fmt.error_body(503, "UNAVAILABLE"), [("Retry-After", "0.2")])


async def send_all(link: Connection, documents: tuple[Document, ...]) -> None:
    """Send a head and events, and leave the body open."""
    await link.head()
    for document in documents:
        await link.chunk(document.sse())


@chapter.add(
    "held-open",
    "a whole stream, after which the socket stays open in silence",
    Expect(options=HELD, seconds=1.0),
    formats=("messages", "chat_completions", "responses"),
    ends="open",
)
async def held_open(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await send_all(link, fmt.script().documents())
    await link.stall()


@chapter.add(
    "held-open-after-usage",
    "the same without `[DONE]`: every candidate has finished and the usage has come, so nothing more can",
    Expect(options=HELD, seconds=2.0, output_tokens=7),
    formats=("chat_completions", "generate_content"),
    ends="open",
)
async def held_open_after_usage(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    await send_all(link, script.partial() + tuple(part for part in script.rest() if part.data != "[DONE]"))
    await link.stall()


@chapter.add(
    "held-open-before-usage",
    "silence after the finish reason, before any usage: the reply is whole, though usage might still have come",
    Expect(options=limits(first_event=5.0, idle=0.5, event=0.5), seconds=1.5),
    formats=("chat_completions", "generate_content"),
    ends="open",
)
async def held_open_before_usage(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    last = CHAT.delta({}, "stop") if fmt.name == "chat_completions" else GEMINI.chunk([{"text": ""}], "STOP")
    script = fmt.script()
    await send_all(link, (*script.opening, *script.deltas, last))
    await link.stall()


@chapter.add(
    "keep-alives-after-terminal",
    "a whole stream, then comments for ever",
    Expect(options=HELD, seconds=1.0),
    formats=("messages", "chat_completions", "responses"),
    ends="flow",
)
async def keep_alives_after_terminal(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await send_all(link, fmt.script().documents())
    await beat_for_ever(link, b": PING\n\n")
