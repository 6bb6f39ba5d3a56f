"""Faults of the answer as a whole: every status, every shape of an error body, and a 200 that is no answer."""

from __future__ import annotations

import json

from tests.faults.catalogue.connections import BOTH
from tests.faults.connection import Connection, Request
from tests.faults.fault import Chapter, Expect, lenient, refused
from tests.faults.formats import TEXT, Document, Format

chapter = Chapter("status")

HTML = b"\n<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body><h1>Error 1020</h1></body></html>\n"
SAYING = "the fault server says no"

STATUSES: tuple[tuple[int, str, str], ...] = (
    (400, "invalid_request_error", "BadRequestError"),
    (401, "authentication_error", "AuthenticationError"),
    (402, "billing_error", "InsufficientQuotaError"),
    (403, "permission_error", "PermissionDeniedError"),
    (404, "not_found_error", "NotFoundError"),
    (405, "method_not_allowed", "APIStatusError"),
    (408, "timeout_error", "APIStatusError"),
    (409, "conflict_error", "ConflictError"),
    (413, "request_too_large", "RequestTooLargeError"),
    (418, "teapot_error", "APIStatusError"),
    (422, "unprocessable_entity", "UnprocessableEntityError"),
    (429, "rate_limit_error", "RateLimitError"),
    (500, "api_error", "InternalServerError"),
    (501, "not_implemented", "InternalServerError"),
    (502, "bad_gateway", "InternalServerError"),
    (503, "service_unavailable", "ServiceUnavailableError"),
    (504, "timeout_error", "InternalServerError"),
    (520, "unknown_error", "InternalServerError"),
    (529, "overloaded_error", "OverloadedError"),
)


def status_fault(status: int, kind: str, error: str) -> None:
    """Add a fault that answers with a status and the format's own error body."""

    @chapter.add(
        f"status-{status}",
        f"HTTP {status} with `{kind}` in the format's own form",
        refused(error, status=status, message_has=(SAYING,)),
        modes=BOTH,
        shows=(b" %d " % status, kind.encode()),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await link.answer_json(status, fmt.error_body(status, kind, SAYING))


for _entry in STATUSES:
    status_fault(*_entry)


def body_fault(name: str, line: str, body: bytes, expect: Expect, status: int = 429, media: str | None = "") -> None:
    """Add a fault that answers every request with one body; an empty `media` means JSON."""
    content_type = "application/json" if media == "" else media

    @chapter.add(name, line, expect, modes=BOTH, shows=(b" %d " % status, body[:60]))
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.answer(status, body, content_type=content_type)


LIMITED = refused("RateLimitError", status=429)
LIMITED_SAYING = refused("RateLimitError", status=429, message_has=(SAYING,))

ERROR_BODIES: tuple[tuple[str, object], ...] = (
    ("openai", {"error": {"message": SAYING, "type": "requests", "param": None, "code": "rate_limit_exceeded"}}),
    ("claude", {"type": "error", "error": {"type": "rate_limit_error", "message": SAYING}, "request_id": "req_1"}),
    ("gemini", {"error": {"code": 429, "message": SAYING, "status": "RESOURCE_EXHAUSTED"}}),
    ("gemini-list", [{"error": {"code": 429, "message": SAYING, "status": "RESOURCE_EXHAUSTED"}}]),
    ("bare-json-string", SAYING),
    ("error-is-string", {"error": SAYING}),
    ("envelope", {"code": 429, "message": SAYING, "data": None}),
    ("success-false", {"success": False, "message": SAYING}),
    ("code-number", {"error": {"message": SAYING, "type": "requests", "code": 10429}}),
    ("code-null", {"error": {"message": SAYING, "type": None, "code": None, "param": None}}),
    ("detail", {"detail": SAYING}),
    ("message-object", {"error": {"message": {"text": SAYING}, "code": ["x"]}}),
)

for _name, _body in ERROR_BODIES:
    body_fault(
        f"error-body-{_name}",
        f"a 429 whose body has the form `{_name}`, on every route",
        json.dumps(_body).encode(),
        LIMITED_SAYING,
    )

for _name, _line, _raw, _media in (
    ("empty", "no body at all", b"", None),
    ("text", "plain text", SAYING.encode(), "text/plain"),
    ("html", "an HTML page", HTML, "text/html; charset=utf-8"),
    ("half-json", "JSON that breaks off", b'{"error": {"message": "the fault ser', "application/json"),
    ("null", "`null`", b"null", "application/json"),
    ("number", "a number", b"17", "application/json"),
    ("empty-list", "an empty list", b"[]", "application/json"),
    ("error-null", '`{"error": null}`', b'{"error": null}', "application/json"),
    ("invalid-utf8", "bytes that are no UTF-8", b'{"error": {"message": "\xff\xfe no"}}', "application/json"),
    ("surrogate", "half a character in its message", b'{"error": {"message": "no \\ud83d"}}', "application/json"),
    ("deep", "100,000 brackets", b"[" * 100_000, "application/json"),
    ("labelled-as-stream", "JSON labelled as an event stream", b'{"error":{"message":"no"}}', "text/event-stream"),
    ("as-sse", "an error as an SSE event", b'data: {"error":{"message":"no"}}\n\n', "text/event-stream"),
):
    body_fault(f"error-body-{_name}", f"a 429 whose body is {_line}", _raw, LIMITED, media=_media)

body_fault(
    "html-403",
    "a 403 with a firewall's HTML page",
    HTML,
    refused("PermissionDeniedError", status=403),
    403,
    "text/html",
)
body_fault(
    "html-502",
    "a 502 with a proxy's HTML page",
    HTML,
    refused("InternalServerError", status=502),
    502,
    "text/html",
)
body_fault(
    "html-200",
    "a 200 with an HTML page",
    HTML,
    refused("UnexpectedResponseError"),
    200,
    "text/html",
)
body_fault(
    "html-200-labelled-as-stream",
    "a 200 with an HTML page that is labelled as an event stream: the first byte tells",
    HTML,
    refused("UnexpectedResponseError", "StreamDecodeError"),
    200,
    "text/event-stream",
)
body_fault(
    "html-200-labelled-as-json",
    "a 200 with an HTML page that is labelled as JSON",
    HTML,
    refused("UnexpectedResponseError", "StreamDecodeError"),
    200,
)


def ok_fault(name: str, line: str, body: bytes, expect: Expect, media: str | None = "") -> None:
    """Add a fault that answers 200 with a body that is no reply."""
    body_fault(name, line, body, expect, 200, media)


ok_fault(
    "ok-with-error",
    "a 200 whose JSON is an error: its own type is the error, not the status",
    json.dumps({"error": {"message": SAYING, "type": "rate_limit_error", "code": "rate_limit_error"}}).encode(),
    refused("RateLimitError", status=429, message_has=(SAYING,)),
)
ok_fault(
    "ok-with-claude-error",
    "a 200 whose JSON is Claude's error",
    json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": SAYING}}).encode(),
    refused("OverloadedError", status=529, message_has=(SAYING,)),
)
ok_fault(
    "ok-with-gemini-error",
    "a 200 whose JSON is Google's error in a list",
    json.dumps([{"error": {"code": 503, "message": SAYING, "status": "UNAVAILABLE"}}]).encode(),
    refused("ServiceUnavailableError", status=503, message_has=(SAYING,)),
)
ok_fault(
    "ok-with-error-string",
    "a 200 whose JSON is an error that is only a string",
    json.dumps({"error": SAYING}).encode(),
    refused("APIStatusError", "UnexpectedResponseError", message_has=(SAYING,)),
)
ok_fault(
    "ok-with-success-false",
    "a 200 that says `success: false`",
    json.dumps({"success": False, "message": SAYING}).encode(),
    refused("APIStatusError", "UnexpectedResponseError", message_has=(SAYING,)),
)
ok_fault(
    "ok-with-envelope",
    "a 200 with code, message and no data",
    json.dumps({"code": 40100, "message": SAYING, "data": None}).encode(),
    refused("APIStatusError", "UnexpectedResponseError"),
)
ok_fault(
    "ok-empty",
    "a 200 with no body: for a stream that is a cut, for a plain call no answer",
    b"",
    refused("UnexpectedResponseError", "StreamTruncatedError"),
    None,
)
ok_fault(
    "ok-text",
    "a 200 with a word of text",
    b"upstream says hello",
    refused("UnexpectedResponseError", "StreamDecodeError", "StreamTruncatedError"),
    "text/plain",
)
ok_fault(
    "ok-half-json",
    "a 200 whose JSON breaks off",
    b'{"id": "x", "choices": [',
    refused("UnexpectedResponseError", "StreamDecodeError", "StreamTruncatedError"),
)
for _name, _raw in (("null", b"null"), ("number", b"3"), ("string", b'"hello"'), ("list", b"[]"), ("true", b"true")):
    ok_fault(
        f"ok-{_name}",
        f"a 200 whose JSON is `{_raw.decode()}`",
        _raw,
        refused("UnexpectedResponseError", "StreamDecodeError", "StreamTruncatedError"),
    )
ok_fault(
    "ok-wrong-shape",
    "a 200 whose JSON object has nothing of a reply",
    b'{"hello": "world"}',
    lenient("UnexpectedResponseError", "StreamTruncatedError", "StreamDecodeError", text=""),
)
ok_fault(
    "ok-binary",
    "a 200 with 256 bytes of every value",
    bytes(range(256)),
    refused("UnexpectedResponseError", "StreamDecodeError", "StreamTruncatedError"),
    "application/octet-stream",
)


@chapter.add(
    "response-failed",
    "a 200 whose response has the status `failed`",
    refused("InternalServerError", status=500, message_has=(SAYING,)),
    formats=("responses",),
    modes=("plain",),
    shows=(b'"failed"',),
)
async def response_failed(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    failure = {"status": "failed", "error": {"code": "server_error", "message": SAYING}, "output": []}
    await link.answer_json(200, {**fmt.reply(), **failure})


def named(header: str) -> None:
    """Add the two faults of a request id under that header: on a right answer, and on an error."""
    fields = {"modes": BOTH, "shows": (f"{header}: req_named".encode(),)}

    @chapter.add(
        f"request-id-{header.lower()}",
        f"a right answer whose only request id is in `{header}`",
        Expect(request_id="req_named"),
        **fields,
    )
    async def on_answer(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        link.request_id = None
        media = "text/event-stream" if request.stream else "application/json"
        await link.answer(200, fmt.whole(stream=request.stream), [(header, "req_named")], media)

    @chapter.add(
        f"request-id-{header.lower()}-on-error",
        f"a 400 whose only request id is in `{header}`",
        refused("BadRequestError", status=400, request_id="req_named"),
        **fields,
    )
    async def on_error(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        link.request_id = None
        await link.answer_json(400, fmt.error_body(400, "invalid_request_error"), [(header, "req_named")])


for _name in ("DGrid-Request-ID", "x-request-id", "request-id", "X-Oneapi-Request-Id", "X-Generation-Id", "cf-ray"):
    named(_name)


@chapter.add(
    "status-200-other-2xx",
    "a right answer under status 201",
    Expect(),
    modes=BOTH,
    shows=(b" 201 ",),
)
async def status_201(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    media = "text/event-stream" if request.stream else "application/json"
    await link.answer(201, fmt.whole(stream=request.stream), content_type=media)


@chapter.add(
    "status-204",
    "204 and nothing else",
    refused("UnexpectedResponseError", "StreamTruncatedError"),
    modes=BOTH,
    shows=(b" 204 ",),
)
async def status_204(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head(204, content_type=None, length=0)
    link.reusable = True


MEDIA: tuple[tuple[str, str | None], ...] = (
    ("absent", None),
    ("text", "text/plain; charset=utf-8"),
    ("binary", "application/octet-stream"),
    ("json", "application/json"),
    ("nonsense", "x"),
    ("upper-case", "TEXT/EVENT-STREAM;CHARSET=UTF-8"),
    ("other-charset", "text/event-stream; charset=iso-8859-1"),
    ("unknown-charset", "text/event-stream; charset=klingon"),
)


def media_fault(name: str, media: str | None) -> None:
    """Add a fault that sends a right stream under another content type."""
    text = TEXT + " ü"

    @chapter.add(
        f"content-type-{name}",
        f"a right stream whose content type is `{media}`; it is UTF-8 whatever that says",
        Expect(text=text),
        shows=("ü".encode(),),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await link.head(content_type=media)
        for document in fmt.script((TEXT, " ü")).documents():
            await link.chunk(document.sse())
        await link.end()


for _name, _media in MEDIA:
    media_fault(_name, _media)


@chapter.add(
    "json-reply-labelled-as-text",
    "a right plain reply labelled `text/plain`",
    Expect(),
    modes=("plain",),
    shows=(b"text/plain",),
)
async def json_as_text(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer(200, Document(None, fmt.reply()).json(), content_type="text/plain")


def completion_fault(name: str, line: str, media: str, *, pretty: bool) -> None:
    """Add a fault that answers a stream request with one whole JSON reply."""

    @chapter.add(name, line, Expect(output_tokens=7), shows=(b'"Hello from',))
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        body = json.dumps(fmt.reply(), indent=2 if pretty else None)
        await link.answer(200, body.encode(), content_type=media)


completion_fault(
    "json-for-a-stream",
    "one whole JSON reply to a stream request: a stream of one result",
    "application/json",
    pretty=False,
)
completion_fault(
    "json-for-a-stream-labelled-as-stream",
    "the same, labelled as an event stream",
    "text/event-stream",
    pretty=False,
)
completion_fault("json-for-a-stream-pretty", "the same over many lines", "application/json", pretty=True)
