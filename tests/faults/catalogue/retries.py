"""Faults of status and code that heal, or must not be tried again, and every way to say how long to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from tests.faults.catalogue.connections import BOTH
from tests.faults.connection import Connection, Request
from tests.faults.fault import THRICE, TWICE, Chapter, Expect, healed, refused
from tests.faults.formats import PARTIAL, Document, Format

chapter = Chapter("retry")

Headers = tuple[tuple[str, str], ...]


def heals(status: int) -> None:
    """Add a fault that fails once with the status."""

    @chapter.add(
        f"retry-{status}",
        f"HTTP {status} once, then the right answer",
        healed(),
        modes=BOTH,
        shows=(b" %d " % status,),
    )
    async def play(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
        if attempt == 1:
            await link.answer_json(status, fmt.error_body(status, "passing_trouble"), [("Retry-After", "0")])
        else:
            await link.good(request, fmt)


for _status in (408, 409, 429, 500, 502, 503, 504, 520, 529):
    heals(_status)


def final(status: int, error: str) -> None:
    """Add a fault whose status alone forbids a second attempt."""

    @chapter.add(
        f"no-retry-{status}",
        f"HTTP {status}: another attempt would meet the same",
        refused(error, status=status, options=THRICE),
        modes=BOTH,
        shows=(b" %d " % status,),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await link.answer_json(status, fmt.error_body(status, "lasting_trouble"))


for _status, _error in (
    (400, "BadRequestError"),
    (401, "AuthenticationError"),
    (402, "InsufficientQuotaError"),
    (403, "PermissionDeniedError"),
    (404, "NotFoundError"),
    (413, "RequestTooLargeError"),
    (422, "UnprocessableEntityError"),
):
    final(_status, _error)

NEVER: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("invalid_request", 500, ("InternalServerError", "BadRequestError")),
    ("model_not_found", 503, ("ServiceUnavailableError", "NotFoundError")),
    ("insufficient_user_quota", 403, ("InsufficientQuotaError",)),
    ("insufficient_user_quota", 429, ("InsufficientQuotaError", "RateLimitError")),
    ("prompt_blocked", 500, ("InternalServerError", "BadRequestError", "PermissionDeniedError")),
    ("sensitive_words_detected", 500, ("InternalServerError", "BadRequestError", "PermissionDeniedError")),
    ("access_denied", 500, ("InternalServerError", "PermissionDeniedError")),
    ("invalid_api_key", 500, ("InternalServerError", "AuthenticationError")),
)


def final_code(code: str, status: int, errors: tuple[str, ...]) -> None:
    """Add a fault whose code forbids what its status would allow."""

    @chapter.add(
        f"no-retry-{code.replace('_', '-')}-{status}",
        f"HTTP {status} with the code `{code}`: the code decides, not the status",
        refused(*errors, options=THRICE),
        modes=BOTH,
        shows=(b" %d " % status, code.encode()),
    )
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        error = {"message": "the fault server says no", "type": "new_api_error", "param": "", "code": code}
        await link.answer_json(status, {"error": error})


for _code, _status, _errors in NEVER:
    final_code(_code, _status, _errors)


@chapter.add(
    "retry-exhausted",
    "HTTP 500 for ever: three attempts with one Idempotency-Key, then the error",
    refused("InternalServerError", status=500, requests=(3, 3), options=THRICE, seconds=12.0),
    modes=BOTH,
    shows=(b" 500 ",),
)
async def retry_exhausted(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer_json(500, fmt.error_body(500, "api_error"))


@chapter.add(
    "retry-without-a-word",
    "429 without Retry-After, then the right answer: the wait is the client's own",
    healed(),
    modes=BOTH,
    shows=(b" 429 ",),
)
async def retry_without_a_word(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt == 1:
        await link.answer_json(429, fmt.error_body(429, "rate_limit_error"))
    else:
        await link.good(request, fmt)


def waits(
    name: str,
    line: str,
    headers: Headers,
    body: Mapping[str, Any] | None = None,
    *,
    least: float,
    most: float,
    status: int = 429,
) -> None:
    """Add a fault that says once how long to wait; the right answer must be asked for between `least` and `most`."""

    @chapter.add(
        f"wait-{name}",
        f"{line}, then the right answer",
        healed(at_least=least, seconds=most),
        modes=BOTH,
        shows=tuple(f"{key}: {value}".encode() for key, value in headers),
    )
    async def play(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
        if attempt > 1:
            await link.good(request, fmt)
        else:
            await link.answer_json(status, body or fmt.error_body(status, "rate_limit_error"), headers)


MANY_SECONDS = ("Retry-After", "30")

waits("seconds", "Retry-After of 1 second", (("Retry-After", "1"),), least=0.95, most=2.0)
waits("fraction", "Retry-After of 0.4 seconds", (("Retry-After", "0.4"),), least=0.35, most=1.4)
waits("zero", "Retry-After of 0", (("Retry-After", "0"),), least=0.0, most=1.5)
waits("lower-case", "`retry-after` in lower case", (("retry-after", "0.4"),), least=0.35, most=1.4)
waits("milliseconds", "retry-after-ms of 400", (("retry-after-ms", "400"),), least=0.35, most=1.4)
waits(
    "milliseconds-first",
    "retry-after-ms of 400 beside a Retry-After of 30 seconds: the finer one counts",
    (("retry-after-ms", "400"), MANY_SECONDS),
    least=0.35,
    most=1.4,
)
waits(
    "gemini-retry-info",
    "RetryInfo with a retryDelay of 0.4s in the body",
    (),
    {
        "error": {
            "code": 429,
            "message": "slow down",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.4s"},
            ],
        }
    },
    least=0.35,
    most=1.4,
)
waits(
    "metadata",
    "`metadata.retry_after_seconds` of 0.4 in the body",
    (),
    {"error": {"code": 429, "message": "slow down", "metadata": {"retry_after_seconds": 0.4}}},
    least=0.35,
    most=1.4,
)
waits(
    "header-before-body",
    "Retry-After of 0.4 seconds beside a body that says 30: the header counts",
    (("Retry-After", "0.4"),),
    {"error": {"code": 429, "message": "slow down", "metadata": {"retry_after_seconds": 30}}},
    least=0.35,
    most=1.4,
)
waits(
    "503",
    "Retry-After of 0.4 seconds on a 503",
    (("Retry-After", "0.4"),),
    least=0.35,
    most=1.4,
    status=503,
)
for _name, _value in (
    ("words", "soon"),
    ("negative", "-5"),
    ("not-a-number", "nan"),
    ("empty", ""),
    ("past-date", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ("broken-date", "Wed, 99 Foo 2015 99:99:99 GMT"),
):
    waits(
        _name,
        f"a Retry-After of `{_value}`, which gives no time to wait",
        (("Retry-After", _value),),
        least=0.0,
        most=4.0,
    )


@chapter.add(
    "wait-http-date",
    "a Retry-After that is a date 2 seconds ahead, in whole seconds, then the right answer",
    healed(at_least=0.9, seconds=4.0),
    modes=BOTH,
    shows=(b"Retry-After: ", b" GMT"),
)
async def wait_http_date(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt > 1:
        await link.good(request, fmt)
        return
    date = formatdate(time.time() + 2, usegmt=True)
    await link.answer_json(429, fmt.error_body(429, "rate_limit_error"), [("Retry-After", date)])


def too_long(name: str, line: str, headers: Headers, seconds: float | None, options: Mapping[str, Any]) -> None:
    """Add a fault that asks for a wait which is not worth it."""

    @chapter.add(
        f"wait-{name}",
        line,
        # A wait that no number can hold may also count as none, and then the client's own waits follow.
        refused(
            "RateLimitError",
            status=429,
            options=options,
            retry_after=seconds,
            seconds=1.5,
            requests=(1, 1 if seconds else 3),
        ),
        modes=BOTH,
        shows=tuple(f"{key}: {value}".encode() for key, value in headers),
    )
    async def play(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
        await link.answer_json(429, fmt.error_body(429, "rate_limit_error"), headers)


FIVE_IN_ALL = {**THRICE, "timeouts": {"total": 5.0}}
too_long(
    "beyond-total",
    "Retry-After of 300 seconds where 5 are left: raised at once, with the wait that was asked for",
    (("Retry-After", "300"),),
    300.0,
    FIVE_IN_ALL,
)
too_long(
    "beyond-any-cap",
    "Retry-After of ten days, and no limit for the whole call: above any policy's cap, so raised at once",
    (("Retry-After", "864000"),),
    864_000.0,
    THRICE,
)
too_long(
    "infinite",
    "Retry-After of 400 digits: a number too large to wait for",
    (("Retry-After", "9" * 400),),
    None,
    FIVE_IN_ALL,
)


@chapter.add(
    "should-retry-true",
    "a 400 with `x-should-retry: true`, then the right answer: the header outranks the status",
    healed(),
    modes=BOTH,
    shows=(b"x-should-retry: true",),
)
async def should_retry_true(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt > 1:
        await link.good(request, fmt)
        return
    await link.answer_json(400, fmt.error_body(400, "passing_trouble"), [("x-should-retry", "true")])


@chapter.add(
    "should-retry-false",
    "a 500 with `x-should-retry: false`",
    refused("InternalServerError", status=500, options=THRICE),
    modes=BOTH,
    shows=(b"x-should-retry: false",),
)
async def should_retry_false(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer_json(500, fmt.error_body(500, "api_error"), [("x-should-retry", "false")])


@chapter.add(
    "retry-cut-before-content",
    "comments and a proper end before any content, then the right answer to the second attempt",
    healed(),
    shows=(b": PING",),
)
async def retry_cut_before_content(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt > 1:
        await link.good(request, fmt)
    else:
        await link.stream((b": PING\n\n", b": PING\n\n"))


@chapter.add(
    "retry-error-before-content",
    "a 200 whose first event is a rate limit error, then the right answer to the second attempt",
    healed(),
    shows=(b"rate_limit_error",),
)
async def retry_error_before_content(link: Connection, request: Request, fmt: Format, attempt: int) -> None:
    if attempt > 1:
        await link.good(request, fmt)
    else:
        await link.stream([b": PING\n\n", Document(None, {"error": {"type": "rate_limit_error", "message": "x"}}).sse()])


@chapter.add(
    "no-retry-in-band-code",
    "a 200 whose first event is an error with a code that never heals",
    refused("APIStatusError", options=THRICE),
    shows=(b"invalid_api_key",),
)
async def no_retry_in_band_code(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    error = {"type": "new_api_error", "code": "invalid_api_key", "message": "x"}
    await link.stream([Document(None, {"error": error}).sse()])


@chapter.add(
    "no-retry-cut-after-content",
    "a proper end after two pieces of text: nothing may be asked for twice once content was handed out",
    refused("StreamTruncatedError", partial=PARTIAL, options=THRICE),
    shows=(b"Hello",),
)
async def no_retry_cut_after_content(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(document.sse() for document in fmt.script().partial())


@chapter.add(
    "no-retry-error-after-content",
    "an overloaded error after two pieces of text",
    refused("OverloadedError", status=529, partial=PARTIAL, options=THRICE),
    shows=(b"Hello", b"overloaded_error"),
)
async def no_retry_error_after_content(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    error = Document("error", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}})
    await link.stream(document.sse() for document in (*fmt.script().partial(), error))


@chapter.add(
    "rate-limit-headers",
    "rate limit headers of many forms beside a right answer",
    Expect(options=TWICE),
    modes=BOTH,
    shows=(b"x-ratelimit-reset-tokens: 6m0s",),
)
async def rate_limit_headers(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    headers = (
        ("x-ratelimit-remaining-requests", "-1"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("x-ratelimit-reset", "1767225600000"),
        ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
    )
    media = "text/event-stream" if request.stream else "application/json"
    await link.answer(200, fmt.whole(stream=request.stream), headers, media)
