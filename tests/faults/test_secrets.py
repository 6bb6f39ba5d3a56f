"""No key in anything that a call leaves behind: the search finds one wherever it is put, and finds none of ours."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from dgrid_async import AsyncDGrid, DGridError, Retries
from dgrid_async.config import Secret
from tests.faults import runner
from tests.faults.catalogue import FAULTS
from tests.faults.connection import Connection, Request
from tests.faults.fault import Expect, Fault
from tests.faults.formats import ALL, FORMATS, PARTIAL, Format
from tests.faults.secrets import leaks_of, spellings, watched
from tests.faults.server import FaultServer

KEY = runner.KEY


class Holder:
    __slots__ = ("key",)

    def __init__(self) -> None:
        self.key = KEY


def chained() -> Exception:
    try:
        try:
            raise ValueError(f"bad header {KEY}")
        except ValueError as error:
            raise DGridError("something else") from error
    except DGridError as error:
        return error


def attempted() -> Exception:
    error = DGridError("the last")
    error.attempts = (DGridError(f"the first, with {KEY}"),)
    return error


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        {"Authorization": f"Bearer {KEY}"},
        Holder(),
        ValueError(KEY),
        chained(),
        attempted(),
        spellings(KEY)[1],
        [Holder.__new__, KEY],
    ],
    ids=["text", "headers", "slot", "message", "cause", "attempt", "base64", "list"],
)
def test_the_search_finds_a_key(value: Any) -> None:
    assert leaks_of(KEY, value)


def test_the_search_finds_a_field_of_an_error_that_no_repr_shows() -> None:
    error = DGridError("quiet")
    error.snapshot = {"key": KEY}
    assert {found.partition(", ")[2] for found in leaks_of(KEY, error)} == {"vars", "pickle"}


def test_the_search_finds_nothing_where_there_is_nothing() -> None:
    assert leaks_of(KEY, DGridError("no"), Secret(KEY), object(), None, {"a": "sk-other"}) == []


def test_logs_and_what_is_printed_are_watched(capsys: pytest.CaptureFixture[str]) -> None:
    with watched(KEY) as found:
        logging.getLogger("a.b").debug("sending %s", {"Authorization": KEY})
        assert found == ["the log a.b"]
        sys.stdout.write(KEY[:9])
        sys.stdout.write(KEY[9:] + "\n")
        sys.stderr.write("nothing\n")
        assert found == ["the log a.b", "stdout"]
        sys.stderr.write(KEY)
    assert found == ["the log a.b", "stdout", "stderr"]
    assert capsys.readouterr().out == KEY + "\n"


# ------------------------------------------------------------------------------------------ a gateway that repeats the key

SAID = f"Incorrect API key provided: {KEY}. Authorization was 'Bearer {KEY}'"
NO = Expect(outcome="error", error=("DGridError",), text=None)


async def in_an_error(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.answer_json(401, fmt.error_body(401, "authentication_error", SAID), [("X-Echo", f"Bearer {KEY}")])


async def in_a_page(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.answer(200, f"<html>{SAID}</html>".encode(), content_type="text/html")


async def in_a_plain_text(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.answer(500, SAID.encode(), content_type="text/plain")


async def in_an_event(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.stream([*(d.sse() for d in fmt.script().partial()), fmt.error("server_error", SAID).sse()])


async def in_broken_data(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.stream([*(d.sse() for d in fmt.script().partial()), f"data: {{{SAID}\n\n".encode()])


async def in_a_stray_line(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    stray = f'{{"error": {{"message": "{SAID}", "type": "server_error"}}}}\n'
    await connection.stream([*(d.sse() for d in fmt.script().partial()), stray.encode()])


async def in_a_redirect(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.answer(307, b"", [("Location", f"http://localhost:1/?key={KEY}")])


async def in_the_head(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.send(f"HTTP/1.1 2oo {SAID}\r\n{SAID}\r\n\r\n".encode())
    connection.close()


async def in_a_coding(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
    await connection.answer(200, b"{}", [("Content-Encoding", KEY)])


ECHOES = [
    in_an_error,
    in_a_page,
    in_a_plain_text,
    in_an_event,
    in_broken_data,
    in_a_stray_line,
    in_a_redirect,
    in_the_head,
    in_a_coding,
]
ECHOING = [Fault(play.__name__.replace("_", "-"), "echo", "repeats the key", play, NO) for play in ECHOES]


@pytest.fixture
async def echo() -> AsyncIterator[FaultServer]:
    async with FaultServer(ECHOING) as server:
        yield server


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("mode", ["stream", "plain"])
@pytest.mark.parametrize("fault", ECHOING, ids=lambda fault: fault.name)
async def test_a_key_that_the_gateway_repeats_is_taken_out(echo: FaultServer, fault: Fault, mode: Any, api: str) -> None:
    seen = runner.Seen()
    with watched(KEY) as printed:
        async with AsyncDGrid(
            KEY, base_url=echo.case(fault.name).base_url, retries=Retries(max_attempts=2, initial_delay=0)
        ) as client:
            with pytest.raises(DGridError) as caught:
                await runner.call(client, FORMATS[api], mode, seen)
            assert leaks_of(KEY, client, caught.value, seen.reply) == []
    assert printed == []
    if seen.events:
        assert caught.value.snapshot.text == PARTIAL


# ---------------------------------------------------------------------------------------------------------- the fault runs


def chosen() -> list[tuple[Fault, Format, Any]]:
    """Return a case of each fault that is quickly over, with a format and mode of its own turn."""
    quick = [fault for fault in FAULTS if fault.group not in {"size", "encoding", "stall"} and fault.expect.at_least == 0]
    quick = quick[::3]
    runs = [list(fault.runs()) for fault in quick]
    return [(fault, *turns[n % len(turns)]) for n, (fault, turns) in enumerate(zip(quick, runs, strict=True))]


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_the_fault_runs_say_no_key() -> None:
    """All loggers at DEBUG: nothing that is logged or printed has the key."""
    cases = chosen()
    assert len(cases) > 60
    found: list[str] = []
    with watched(KEY) as printed:
        async with runner.server() as ports, aiohttp.ClientSession() as tallies:
            gate = asyncio.Semaphore(runner.AT_ONCE)

            async def run(number: int, case: tuple[Fault, Format, Any]) -> None:
                async with gate:
                    seen = await runner.play(number, *case, ports, tallies, measured=False)
                found.extend(f"{runner.case_id(*case)}: {leak}" for leak in seen.leaks)

            await asyncio.gather(*(run(number, case) for number, case in enumerate(cases)))
    assert found == []
    assert printed == []
