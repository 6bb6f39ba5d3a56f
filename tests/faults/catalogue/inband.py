"""Faults inside a 200: errors among the events, in every form, whose own type decides what they are."""

from __future__ import annotations

import json
from typing import Any

from tests.faults.connection import Connection, Request
from tests.faults.fault import THRICE, Chapter, Expect, refused
from tests.faults.formats import ALL, CHAT, GEMINI_CODES, PARTIAL, RESPONSES, Document, Format

chapter = Chapter("in-band error")

SAYING = "the fault server says no"
OPENAI_LIKE = ("messages", "chat_completions", "responses")

KINDS: tuple[tuple[str, int | None, str], ...] = (
    ("overloaded_error", 529, "OverloadedError"),
    ("rate_limit_error", 429, "RateLimitError"),
    ("api_error", 500, "InternalServerError"),
    ("server_error", 500, "InternalServerError"),
    ("authentication_error", 401, "AuthenticationError"),
    ("permission_error", 403, "PermissionDeniedError"),
    ("not_found_error", 404, "NotFoundError"),
    ("invalid_request_error", 400, "BadRequestError"),
    ("request_too_large", 413, "RequestTooLargeError"),
    ("timeout_error", 504, "InternalServerError"),
    ("billing_error", None, "InsufficientQuotaError"),
    ("insufficient_user_quota", None, "InsufficientQuotaError"),
)

GEMINI_CLASSES = {
    "INVALID_ARGUMENT": "BadRequestError",
    "UNAUTHENTICATED": "AuthenticationError",
    "PERMISSION_DENIED": "PermissionDeniedError",
    "NOT_FOUND": "NotFoundError",
    "RESOURCE_EXHAUSTED": "RateLimitError",
    "INTERNAL": "InternalServerError",
    "UNAVAILABLE": "ServiceUnavailableError",
    "DEADLINE_EXCEEDED": "InternalServerError",
}


def saying(error: str, status: int | None, **fields: Any) -> Expect:
    """Return the expectation of that error after two pieces of text, with the server's words in it."""
    return refused(error, **{"status": status, "partial": PARTIAL, "message_has": (SAYING,), "options": THRICE, **fields})


def tail(name: str, line: str, noise: bytes, expect: Expect, formats: tuple[str, ...] = ALL, *, goes_on: bool = False) -> None:
    """Add a fault that sends two pieces of text, then some bytes, and then ends, or goes on as if nothing were."""

    @chapter.add(name, line, expect, formats=formats, shows=(b"Hello", noise[:80]))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        script = fmt.script()
        parts = [*(part.sse() for part in script.partial()), noise]
        if goes_on:
            parts += [part.sse() for part in script.rest()]
        await link.stream(parts)


def own_form(kind: str, status: int | None, error: str, formats: tuple[str, ...]) -> None:
    """Add a fault that sends an error of that kind in each format's own form."""

    @chapter.add(
        f"error-{kind.lower().replace('_', '-')}",
        f"`{kind}` after two pieces of text, in the format's own form",
        saying(error, status),
        formats=formats,
        shows=(b"Hello", kind.encode()),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await link.stream(part.sse() for part in (*fmt.script().partial(), fmt.error(kind, SAYING)))


for _kind, _status, _error in KINDS:
    own_form(_kind, _status, _error, OPENAI_LIKE)
for _kind, _error in GEMINI_CLASSES.items():
    own_form(_kind, GEMINI_CODES[_kind], _error, ("generate_content",))


def data(value: Any, name: str | None = None) -> bytes:
    """Return the value as one SSE event."""
    return Document(name, value).sse()


OVERLOADED = {"type": "overloaded_error", "message": SAYING}
LIMITED = {"message": SAYING, "type": "rate_limit_error", "param": None, "code": "rate_limit_error"}
EXHAUSTED = {"code": 429, "message": SAYING, "status": "RESOURCE_EXHAUSTED"}

tail("error-openai-form", "OpenAI's error on every route", data({"error": LIMITED}), saying("RateLimitError", 429))
tail(
    "error-claude-form",
    "Claude's error on every route",
    data({"type": "error", "error": OVERLOADED}, "error"),
    saying("OverloadedError", 529),
)
tail(
    "error-claude-form-without-name",
    "Claude's error on every route, without `event:`",
    data({"type": "error", "error": OVERLOADED}),
    saying("OverloadedError", 529),
)
tail("error-gemini-form", "Google's error on every route", data({"error": EXHAUSTED}), saying("RateLimitError", 429))
tail(
    "error-gemini-list",
    "Google's error in a list",
    data([{"error": EXHAUSTED}]),
    saying("RateLimitError", 429),
)
tail(
    "error-key-not-first",
    "the error behind other keys",
    data({"id": "x", "object": "error", "error": LIMITED}),
    saying("RateLimitError", 429),
)
tail(
    "error-bare-string",
    "an error that is only a string",
    data({"error": SAYING}),
    saying("APIStatusError", None),
)
tail(
    "error-without-kind",
    "an error with a message and nothing else",
    data({"error": {"message": SAYING}}),
    saying("APIStatusError", None),
)
tail(
    "error-status-number",
    "an error whose code is the number 503 and whose type says nothing",
    data({"error": {"message": SAYING, "type": "novel_trouble", "code": 503}}),
    saying("ServiceUnavailableError", 503),
)
tail(
    "error-status-string",
    'an error whose code is the string "429"',
    data({"error": {"message": SAYING, "type": "novel_trouble", "code": "429"}}),
    saying("RateLimitError", 429),
)
tail(
    "error-event-with-words",
    "`event: error` whose data is only words",
    b"event: error\ndata: " + SAYING.encode() + b"\n\n",
    saying("APIStatusError", None),
)
tail(
    "error-event-with-message",
    "`event: error` whose data has a message and no `error`",
    data({"message": SAYING}, "error"),
    saying("APIStatusError", None),
)
tail(
    "error-event-empty",
    "`event: error` without data",
    b"event: error\ndata:\n\n",
    refused("APIStatusError", "StreamTruncatedError", partial=PARTIAL, options=THRICE),
)
tail(
    "error-event-other-form",
    "`event: error` whose data has its kind as its own `type`, and no `error`",
    data({"type": "overloaded_error", "message": SAYING}, "error"),
    saying("APIStatusError", None),
)
tail(
    "error-then-more",
    "an error, after which the stream goes on to its end: nothing after the error counts",
    data({"error": LIMITED}),
    saying("RateLimitError", 429),
    goes_on=True,
)
tail(
    "error-twice",
    "two errors: the first counts",
    data({"error": LIMITED}) + data({"error": OVERLOADED}),
    saying("RateLimitError", 429),
)
tail(
    "error-without-blank-line",
    "an error whose blank line never comes before the end of the body",
    data({"error": LIMITED}).rstrip(b"\n"),
    saying("RateLimitError", 429),
)
tail(
    "error-with-surrogate",
    "an error whose message holds half a character",
    b'data: {"error":{"message":"' + SAYING.encode() + b' \\ud83d","type":"rate_limit_error"}}\n\n',
    saying("RateLimitError", 429),
)
tail(
    "error-in-event-too-deep",
    "an error with 10,000 brackets beside its message",
    b'data: {"error":{"message":"no","type":"rate_limit_error","param":' + b"[" * 10_000 + b"]" * 10_000 + b"}}\n\n",
    refused("RateLimitError", "StreamDecodeError", partial=PARTIAL, options=THRICE),
)
tail(
    "error-with-choices",
    "an error beside `choices` in one chunk: `choices` or not, it is an error",
    data({**CHAT.delta({"content": ""}, "error").data, "error": LIMITED}),
    saying("RateLimitError", 429),
    ("chat_completions",),
)
for _reason, _expect in (
    ("error", refused("APIStatusError", partial=PARTIAL, options=THRICE)),
    ("server_error", refused("InternalServerError", status=500, partial=PARTIAL, options=THRICE)),
    ("overloaded_error", refused("OverloadedError", status=529, partial=PARTIAL, options=THRICE)),
    ("network_error", refused("APIStatusError", partial=PARTIAL, options=THRICE)),
):
    tail(
        f"finish-reason-{_reason.replace('_', '-')}",
        f"the finish reason `{_reason}`: the upstream broke off, whatever came before",
        data(CHAT.delta({}, _reason).data) + b"data: [DONE]\n\n",
        _expect,
        ("chat_completions",),
    )


def raw_error(name: str, line: str, noise: bytes, error: str = "RateLimitError", status: int | None = 429) -> None:
    """Add a fault whose error comes as JSON without `data:`, and a second one where it is all that ever comes."""
    tail(f"raw-{name}", f"{line}, without `data:`, after two pieces of text", noise, saying(error, status))

    @chapter.add(
        f"raw-{name}-first",
        f"{line}, without `data:`, after a keep-alive that fixed the status at 200",
        refused(error, status=status, message_has=(SAYING,)),
        shows=(b": PING", noise[:20]),
    )
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.stream([b": PING\n\n", noise], gap=0.01)


raw_error("error-json", "an error as one line of JSON", json.dumps({"error": LIMITED}).encode() + b"\n")
raw_error("error-json-unended", "an error as one line of JSON without a newline", json.dumps({"error": LIMITED}).encode())
raw_error(
    "error-json-pretty",
    "Google's error over several lines of JSON",
    json.dumps({"error": EXHAUSTED}, indent=2).encode() + b"\n",
)
raw_error(
    "error-json-pretty-crlf",
    "the same with CRLF",
    json.dumps({"error": EXHAUSTED}, indent=2).replace("\n", "\r\n").encode() + b"\r\n",
)
raw_error("error-json-list", "Google's error as a list of one", json.dumps([{"error": EXHAUSTED}], indent=1).encode())
raw_error(
    "error-json-claude",
    "Claude's error as JSON",
    json.dumps({"type": "error", "error": OVERLOADED}).encode() + b"\n\n",
    "OverloadedError",
    529,
)
raw_error(
    "error-json-braces",
    "an error whose message has brackets and quotes in it",
    json.dumps({"error": {**LIMITED, "message": SAYING + ' }]"{[ \\'}}, indent=2).encode(),
)


@chapter.add(
    "raw-json-of-no-error",
    "JSON without `data:` that holds no error, after two pieces of text, and then the rest",
    refused("StreamDecodeError", "APIStatusError", partial=PARTIAL, options=THRICE),
    shows=(b"Hello", b'{"hello"'),
)
async def raw_json_of_no_error(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    script = fmt.script()
    noise = b'{"hello": "world"}\n\n'
    await link.stream([*(part.sse() for part in script.partial()), noise, *(part.sse() for part in script.rest())])


@chapter.add(
    "raw-json-cut",
    "half of an error's JSON without `data:`, and the end of the body",
    refused("StreamDecodeError", "StreamTruncatedError", "APIStatusError", partial=PARTIAL, options=THRICE),
    shows=(b"Hello", b'{"error"'),
)
async def raw_json_cut(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream([*(part.sse() for part in fmt.script().partial()), b'{"error": {"message": "the fault'])


RESPONSES_ONLY = ("responses",)
tail(
    "responses-error-nested",
    "the `error` event with its fields in an object of their own",
    data(
        {"type": "error", "sequence_number": 9, "error": {"type": "server_error", "code": None, "message": SAYING}},
        "error",
    ),
    saying("InternalServerError", 500),
    RESPONSES_ONLY,
)
tail(
    "responses-error-code-null",
    "the flat `error` event with `code: null`",
    data({"type": "error", "code": None, "message": SAYING, "param": None, "sequence_number": 9}, "error"),
    saying("APIStatusError", None),
    RESPONSES_ONLY,
)


def failed(kind: str | None, error: str, status: int | None) -> None:
    """Add a fault that ends in `response.failed` with that code."""
    failure = {"code": kind, "message": SAYING} if kind else None
    response = RESPONSES.response("failed", [RESPONSES.item(PARTIAL, "incomplete")], error=failure)
    label = f"the code `{kind}`" if kind else "no error object"
    tail(
        f"responses-failed-{(kind or 'silently').replace('_', '-')}",
        f"`response.failed` with {label}",
        data({"type": "response.failed", "sequence_number": 9, "response": response}, "response.failed"),
        saying(error, status, message_has=(SAYING,) if kind else ()),
        RESPONSES_ONLY,
    )


failed("server_error", "InternalServerError", 500)
failed("rate_limit_error", "RateLimitError", 429)
failed("image_content_policy_violation", "APIStatusError", None)
failed(None, "APIStatusError", None)


@chapter.add(
    "error-first",
    "an error as the very first event, with one attempt allowed",
    refused("OverloadedError", status=529, partial="", message_has=(SAYING,)),
    shows=(b"overloaded_error",),
)
async def error_first(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.stream([data({"type": "error", "error": OVERLOADED}, "error")])


@chapter.add(
    "error-after-terminal",
    "an error after the terminal event: the answer was whole, so it is too late",
    Expect(),
    formats=("messages", "responses"),
    shows=(b"overloaded_error",),
)
async def error_after_terminal(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    late = data({"type": "error", "error": OVERLOADED}, "error")
    await link.stream([*(part.sse() for part in fmt.script().documents()), late])


@chapter.add(
    "error-then-held-open",
    "an error, after which the socket stays open in silence: the error ends the call at once",
    saying("OverloadedError", 529, seconds=1.0),
    ends="open",
    shows=(b"Hello", b"overloaded_error"),
)
async def error_then_held_open(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.head()
    for part in fmt.script().partial():
        await link.chunk(part.sse())
    await link.chunk(data({"type": "error", "error": OVERLOADED}, "error"))
    await link.stall()
