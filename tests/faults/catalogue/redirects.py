"""Faults of redirection: to another host, to itself, to nowhere, and such as make a POST into a GET."""

from __future__ import annotations

from tests.faults.catalogue.connections import BOTH
from tests.faults.connection import Connection, Request
from tests.faults.fault import Chapter, Expect, lenient, refused
from tests.faults.formats import TEXT, Format

chapter = Chapter("redirect")

REFUSALS = ("APIConnectionError", "APIStatusError", "UnexpectedResponseError", "ConfigError")
MOVED = "/moved"
GET_TEXT = "an answer to a GET, which must not be taken"


def moved(request: Request) -> str:
    """Return the request's target with one more segment behind the fault's."""
    _, fault, rest = request.target.split("/", 2)
    return f"/{fault}{MOVED}/{rest}"


async def redirect(link: Connection, status: int, location: str | None) -> None:
    """Send a redirection with an empty body."""
    await link.answer(status, b"", [("Location", location)] if location is not None else [], content_type=None)


def same_host(status: int, line: str, expect: Expect) -> None:
    """Add a fault that redirects within the host; a POST at the new place gets the answer, a GET a decoy."""

    @chapter.add(f"redirect-{status}", line, expect, modes=BOTH, shows=(b" %d " % status, b"Location: /"))
    async def play(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
        if MOVED not in request.target:
            await redirect(link, status, moved(request))
        elif request.method == "POST":
            await link.good(request, fmt)
        else:
            stream = "alt=sse" in request.target
            await link.answer(200, fmt.whole(stream=stream, text=GET_TEXT))


FOLLOWED = lenient(*REFUSALS, requests=(1, 2), text=TEXT)
for _status in (301, 302, 303):
    same_host(_status, f"HTTP {_status} within the host; whoever turns the POST into a GET gets a decoy", FOLLOWED)
for _status in (307, 308):
    same_host(_status, f"HTTP {_status} within the host, which keeps the method: to follow or to refuse are right", FOLLOWED)


def other_host(status: int) -> None:
    """Add a fault that redirects to another host, which notes every key it is shown."""

    @chapter.add(
        f"redirect-{status}-other-host",
        f"HTTP {status} to another host: it must never be shown the key",
        lenient(*REFUSALS, text=TEXT),
        modes=BOTH,
        shows=(b" %d " % status, b"Location: http://localhost:"),
    )
    async def play(link: Connection, request: Request, _fmt: Format, _attempt: int) -> None:
        await redirect(link, status, link.elsewhere_url + request.target)


for _status in (301, 302, 303, 307, 308):
    other_host(_status)


@chapter.add(
    "redirect-two-hops-other-host",
    "a 307 within the host, then one to another host",
    lenient(*REFUSALS, text=TEXT, requests=(1, 2)),
    modes=BOTH,
    shows=(b" 307 ", b"Location: /"),
)
async def two_hops(link: Connection, request: Request, _fmt: Format, _attempt: int) -> None:
    away = MOVED in request.target
    await redirect(link, 307, link.elsewhere_url + request.target if away else moved(request))


@chapter.add(
    "redirect-loop",
    "a 307 to itself, for ever",
    refused(*REFUSALS, requests=(1, 30)),
    modes=BOTH,
    shows=(b" 307 ",),
)
async def loop(link: Connection, request: Request, _fmt: Format, _attempt: int) -> None:
    await redirect(link, 307, request.target)


def nowhere(name: str, line: str, location: str | None) -> None:
    """Add a fault that redirects to what is no place."""

    @chapter.add(f"redirect-{name}", line, refused(*REFUSALS), modes=BOTH, shows=(b" 307 ",))
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await redirect(link, 307, location)


nowhere("without-location", "a 307 that does not say where", None)
nowhere("bad-location", "a 307 to what is no URL", "http://[")
nowhere("other-scheme", "a 307 to a file", "file:///etc/hostname")


@chapter.add(
    "status-304",
    "304 Not Modified to a POST",
    refused(*REFUSALS),
    modes=BOTH,
    shows=(b" 304 ",),
)
async def not_modified(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.head(304, content_type=None, length=0)
    link.reusable = True


@chapter.add(
    "status-300-without-location",
    "300 Multiple Choices with a page",
    refused(*REFUSALS),
    modes=BOTH,
    shows=(b" 300 ",),
)
async def multiple_choices(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
    await link.answer(300, b"<html>choose</html>", content_type="text/html")
