"""Tests of the fault server through raw sockets: each fault does on the wire what it claims, and tallies are right.

Whether a client copes is no concern here; no client but a few lines of asyncio takes part.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clock import leaping
from tests.faults import ERROR_TREE, FAULTS, Case, Expect, Fault, FaultServer, cases, table
from tests.faults.__main__ import markdown
from tests.faults.connection import Connection, Request
from tests.faults.formats import ALL, FORMATS, OUTPUT_TOKENS, PIECES, TEXT, TOOL_ARGUMENTS, Format

pytestmark = pytest.mark.slow

KEY = "Bearer sk-fault"
ROOT = Path(__file__).parents[2]
KEPT_BYTES = 3_000_000
BY_NAME = {fault.name: fault for fault in FAULTS}


class Body:
    """A reader of HTTP answers that says when one is whole by its own framing; interim answers are passed over."""

    def __init__(self) -> None:
        """Wait for a head."""
        self.raw = bytearray()
        self.body = bytearray()
        self.status = 0
        self.state = "head"
        self._left = 0
        self._searched = 0
        self._chunked = False
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came; only the first 3 MB of it are kept."""
        if len(self.raw) < KEPT_BYTES:
            self.raw += data
        self._buffer += data
        while self._step():
            pass

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _step(self) -> bool:
        if self.state == "data":
            piece = self._take(self._left)
            self._left -= len(piece)
            if len(self.body) < KEPT_BYTES:
                self.body += piece
            if self._left:
                return False
            self.state = "whole" if not self._chunked else "gap"
            return self._chunked
        if self.state in {"size", "gap", "trailer"}:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            self._line(self._take(end + 2)[:-2])
            return self.state in {"size", "gap", "trailer", "data"}
        if self.state == "head":
            # Heads may be of many megabytes: what was searched once is not searched again.
            end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
            self._searched = len(self._buffer)
            if end < 0:
                return False
            self._searched = 0
            self._head(self._take(end + 4))
            return True
        if self.state == "close":
            self.body += self._take(len(self._buffer))
        return False

    def _line(self, line: bytes) -> None:
        if self.state == "gap":
            self.state = "size" if not line else "broken"
        elif self.state == "trailer":
            self.state = "trailer" if line else "whole"
        elif re.fullmatch(rb"[0-9a-fA-F]{1,16}(;.*)?", line):
            self._left = int(line.split(b";")[0], 16)
            self.state = "data" if self._left else "trailer"
        else:
            self.state = "broken"

    def _head(self, head: bytes) -> None:
        match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        if match is None:
            self.state = "broken"
            return
        self.status = int(match[1])
        if self.status < 200:
            return
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head, re.IGNORECASE)
        self._chunked = b"Transfer-Encoding: chunked" in head
        if self._chunked:
            self.state = "size"
        elif length is not None:
            self._left = int(length[1])
            self.state = "data" if self._left else "whole"
        else:
            self.state = "close"


@dataclass
class Seen:
    """What one raw call saw."""

    body: Body
    ending: str


def head_of(fmt: Format, mode: str, base: str, extra: str = "") -> tuple[str, int, bytes]:
    """Return host, port and the bytes of a request to the case's base URL."""
    match = re.fullmatch(r"http://([^:]+):(\d+)(/.*)", base)
    assert match is not None
    stream = mode == "stream"
    data = json.dumps(fmt.request(stream=stream)).encode()
    text = (
        f"POST {match[3]}{fmt.path(stream=stream)} HTTP/1.1\r\nHost: {match[1]}\r\nAuthorization: {KEY}\r\n"
        f"Content-Length: {len(data)}\r\nContent-Type: application/json\r\n{extra}\r\n"
    )
    return match[1], int(match[2]), text.encode() + data


async def receive(reader: asyncio.StreamReader, fault: Fault) -> Seen:
    """Read one answer to its end, whichever that is."""
    body = Body()
    loop = asyncio.get_running_loop()
    until = loop.time() + (0.5 if fault.ends == "flow" else 15.0)
    quiet = 0.5 if fault.ends == "open" else 10.0
    while loop.time() < until:
        try:
            data = await asyncio.wait_for(reader.read(262_144), quiet)
        except TimeoutError:
            return Seen(body, "open")
        except ConnectionError:
            return Seen(body, "reset")
        if not data:
            return Seen(body, "cut")
        body.feed(data)
        if body.state == "whole":
            return Seen(body, "whole")
    return Seen(body, "flow")


async def call(fault: Fault, fmt: Format, mode: str, case: Case, extra: str = "") -> Seen:
    """Make one call over a connection of its own."""
    host, port, request = head_of(fmt, mode, case.base_url, extra)
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 0.4)
    except (TimeoutError, ConnectionRefusedError):
        return Seen(Body(), "refused")
    try:
        writer.write(request)
        return await receive(reader, fault)
    finally:
        writer.transport.abort()


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    """Give a running server of all faults."""
    async with FaultServer(FAULTS) as running:
        yield running


async def until(found: Callable[[], bool]) -> None:
    """Wait for what another task is about to do."""
    async with asyncio.timeout(5.0):
        while not found():
            await asyncio.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_wire_shows_what_the_fault_claims(server: FaultServer, fault: Fault) -> None:
    """Every fault, in each of its formats and modes: its bytes are seen and end as it says; it heals if it says so.

    What makes a fault large is the same in every format: it is read in one of them, in turn.
    """
    large = fault.group in {"size", "encoding"} and fault.expect.memory_mb is not None
    formats = {fault.formats[FAULTS.index(fault) % len(fault.formats)]} if large else set(fault.formats)
    # No leap where the kernel itself may wait: megabytes can fill its buffers.
    patience = contextlib.nullcontext() if large else leaping(asyncio.get_running_loop())

    async def check(fmt: Format, mode: str) -> None:
        case = server.case(fault.name)
        seen = await call(fault, fmt, mode, case)
        where = f"{fault.name} {fmt.name} {mode}: {bytes(seen.body.raw[:400])!r}"
        assert seen.ending == fault.ends, where
        for part in fault.shows:
            assert part in seen.body.raw, f"{part!r} is missing: {where}"
        for _ in range(fault.expect.requests[0] - 1):
            seen = await call(fault, fmt, mode, case)
        if fault.expect.outcome == "reply" and fault.expect.requests[0] > 1:
            assert seen.ending == "whole", where
            assert b"Hello" in seen.body.body, where
            assert b"server." in seen.body.body, where
        assert case.broken == []
        assert case.expired == 0
        if fault.listener == "main":
            assert case.requests == (0 if fault.warmup else max(1, fault.expect.requests[0]))

    with patience:
        await asyncio.gather(*(check(fmt, mode) for fmt, mode in fault.runs() if fmt.name in formats))


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS if fault.warmup])
@pytest.mark.parametrize("mode", ["stream", "plain"])
async def test_a_warm_fault_answers_first_and_heals_on_a_fresh_connection(server: FaultServer, name: str, mode: str) -> None:
    """The warm-up is answered; what follows is answered too, over a new connection at the latest."""
    fault = BY_NAME[name]

    async def check(fmt: Format) -> None:
        case = server.case(name)
        host, port, request = head_of(fmt, mode, case.base_url)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        first = await receive(reader, fault)
        assert first.ending == "whole"
        assert (case.warmups, case.requests) == (1, 0)
        await asyncio.sleep(0.1)
        if name.startswith("kept-closed-meanwhile") or name == "connection-close-each-time":
            assert await reader.read(1) == b""
        elif name == "kept-unasked-answer":
            assert b"another question" in await reader.read(65_536)
        else:
            writer.write(request)
            assert (await receive(reader, fault)).ending == ("reset" if "reset" in name else "cut")
            assert case.requests == 1
        writer.transport.abort()
        assert (await call(fault, fmt, mode, case)).ending == "whole"
        assert case.connections == 2

    await asyncio.gather(*(check(fmt) for fmt in FORMATS.values()))


def test_the_catalogue_is_large_and_its_names_are_unique() -> None:
    """Names are unique URL segments, and there are enough of them."""
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names))
    assert len(names) >= 120
    assert len(list(cases())) > 2 * len(names)
    for name in names:
        assert re.fullmatch(r"[a-z0-9-]+", name), name


def test_every_format_meets_every_group() -> None:
    """No format is left out of a group, and streams and plain calls both occur."""
    met = {(fault.group, fmt.name) for fault, fmt, _ in cases()}
    assert met == {(fault.group, name) for fault in FAULTS for name in ALL}
    assert {mode for _, _, mode in cases()} == {"stream", "plain"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_expectation_can_be_met(fault: Fault) -> None:
    """Errors are named where one may come, by names of the tree; numbers fit each other; options are plain data."""
    expect = fault.expect
    assert bool(expect.error) == (expect.outcome != "reply")
    assert set(expect.error) <= ERROR_TREE.keys()
    assert expect.requests[0] <= expect.requests[1]
    assert expect.at_least < expect.seconds <= 15.0
    assert set(expect.options) <= {"timeouts", "retries", "limits"}
    assert json.loads(json.dumps(dict(expect.options))) == dict(expect.options)
    assert fault.formats
    assert set(fault.formats) <= set(ALL)
    assert set(fault.modes) <= {"stream", "plain"}
    attempts = expect.options.get("retries", {}).get("max_attempts", expect.requests[1])
    redirected = fault.group == "redirect"
    assert expect.requests[1] <= attempts or redirected
    if expect.phase is not None:
        assert expect.error == ("APITimeoutError",)
        assert expect.phase in {"connect", "first_event", "idle", "event", "total"}
        assert expect.phase in expect.options["timeouts"]
    if expect.status is not None or expect.retry_after is not None:
        assert any(ancestry(name)[-2:] == ["APIStatusError", "DGridError"] for name in expect.error)
    if expect.partial is not None:
        assert expect.outcome != "reply"


def ancestry(name: str) -> list[str]:
    """Return the class and its parents, the root last."""
    parent = ERROR_TREE[name]
    return [name] if parent is None else [name, *ancestry(parent)]


def test_the_error_tree_has_one_root() -> None:
    """Each name leads to the root."""
    assert {ancestry(name)[-1] for name in ERROR_TREE} == {"DGridError"}


TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "messages": lambda reply: reply["content"][0]["text"],
    "chat_completions": lambda reply: reply["choices"][0]["message"]["content"],
    "responses": lambda reply: reply["output"][0]["content"][0]["text"],
    "generate_content": lambda reply: reply["candidates"][0]["content"]["parts"][0]["text"],
}

DELTAS: dict[str, Callable[[dict[str, Any]], str]] = {
    "messages": lambda event: event.get("delta", {}).get("text", ""),
    "chat_completions": lambda event: "".join(choice["delta"].get("content") or "" for choice in event["choices"]),
    "responses": lambda event: event.get("delta", ""),
    "generate_content": lambda event: "".join(part["text"] for part in event["candidates"][0]["content"]["parts"]),
}


@pytest.mark.parametrize("name", ALL)
async def test_a_good_answer_is_one(server: FaultServer, name: str) -> None:
    """The conforming stream and reply hold the text, event by event, with a name where the format has names."""
    fmt = FORMATS[name]
    fault = BY_NAME["trailers"]
    plain = await call(fault, fmt, "plain", server.case(fault.name))
    assert TEXTS[name](json.loads(plain.body.body)) == TEXT
    assert TEXTS[name](fmt.minimal()) == TEXT
    stream = await call(fault, fmt, "stream", server.case(fault.name))
    events = []
    for block in bytes(stream.body.body).split(b"\n\n")[:-1]:
        *names, data = block.split(b"\n")
        assert data.startswith(b"data: ")
        if data != b"data: [DONE]":
            event = json.loads(data[6:])
            events.append(event)
            assert names == ([b"event: " + event["type"].encode()] if name in {"messages", "responses"} else [])
    assert [text for text in map(DELTAS[name], events) if text] == list(PIECES)
    assert str(OUTPUT_TOKENS) in json.dumps(events[-2:])
    if name == "responses":
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("name", ALL)
def test_a_tool_script_holds_its_arguments(name: str) -> None:
    """The pieces of the arguments come in order; a script's parts make up the whole."""
    script = FORMATS[name].tool_script()
    text = json.dumps([part.data for part in script.deltas])
    if name == "generate_content":
        assert json.dumps(json.loads("".join(TOOL_ARGUMENTS))) in text
    else:
        positions = [text.index(json.dumps(piece)) for piece in TOOL_ARGUMENTS]
        assert positions == sorted(positions)
    assert (*script.partial(1), *script.rest(1)) == script.documents()


async def test_tallies_are_kept_by_case(server: FaultServer) -> None:
    """Two cases of one fault share nothing; each attempt is kept with its key, and each socket counted."""
    fault = BY_NAME["retry-503"]
    one, two = server.case(fault.name), server.case(fault.name)
    fmt = FORMATS["messages"]
    first = await call(fault, fmt, "plain", one, "Idempotency-Key: a\r\n")
    second = await call(fault, fmt, "plain", one, "Idempotency-Key: b\r\n")
    assert (first.body.status, second.body.status) == (503, 200)
    assert (await call(fault, fmt, "plain", two)).body.status == 503
    assert one.requests == one.connections == 2
    assert one.idempotency_keys == ["a", "b"]
    assert one.authorizations == [KEY, KEY]
    assert [attempt.method for attempt in one.attempts] == ["POST", "POST"]
    assert one.attempts[0].at < one.attempts[1].at
    assert one.sent >= len(first.body.raw) + len(second.body.raw)
    assert two.requests == 1
    assert two.idempotency_keys == [None]
    assert one.client_left == two.client_left == 0


async def test_a_kept_connection_is_counted_once(server: FaultServer) -> None:
    """Two requests over one socket are two attempts and one connection."""
    fault = BY_NAME["retry-503"]
    case = server.case(fault.name)
    host, port, request = head_of(FORMATS["responses"], "stream", case.base_url)
    reader, writer = await asyncio.open_connection(host, port)
    for status in (503, 200):
        writer.write(request)
        seen = await receive(reader, fault)
        assert (seen.ending, seen.body.status) == ("whole", status)
    writer.transport.abort()
    assert (case.requests, case.connections) == (2, 1)


async def test_a_client_that_leaves_is_noted_and_ends_the_play(server: FaultServer) -> None:
    """Leaving in the midst of a stall or of an endless stream ends it at once."""
    for name in ("stall-between-events", "endless-content", "error-body-50mb"):
        case = server.case(name)
        host, port, request = head_of(FORMATS["messages"], "stream", case.base_url)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        assert await reader.read(10)
        assert case.client_left == 0
        writer.transport.abort()
        await until(lambda case=case: case.client_left == 1)  # type: ignore[misc]  # the default binds the loop's case
    await until(lambda: not server.connections)


async def test_slow_readers_hold_the_server_back(server: FaultServer) -> None:
    """A client that does not read gets no more than the sockets hold."""
    case = server.case("error-body-50mb")
    host, port, request = head_of(FORMATS["messages"], "plain", case.base_url)
    _, writer = await asyncio.open_connection(host, port, limit=4096)
    writer.write(request)
    await until(lambda: case.requests == 1)
    await asyncio.sleep(0.3)
    connection = next(iter(server.connections))
    assert connection.sent < 20_000_000
    writer.transport.abort()
    await until(lambda: case.client_left == 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_other_host_notes_the_keys_it_is_shown(server: FaultServer, status: int) -> None:
    """The redirect leads to the other listener; a key shown there is a leak, a request without one is none."""
    fault = BY_NAME[f"redirect-{status}-other-host"]
    fmt = FORMATS["chat_completions"]
    case = server.case(fault.name)
    seen = await call(fault, fmt, "plain", case)
    match = re.search(rb"Location: http://localhost:(\d+)(/\S+)\r\n", seen.body.raw)
    assert match is not None
    assert int(match[1]) == server.elsewhere_port
    for extra, leaked in (("", []), (f"Authorization: {KEY}\r\n", [KEY]), ("x-api-key: k\r\n", [KEY, "k"])):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.elsewhere_port)
        writer.write(b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (match[2], extra.encode()))
        assert (await receive(reader, fault)).body.status == 200
        writer.transport.abort()
        assert case.leaked == leaked
    assert len(case.elsewhere) == 3
    assert case.requests == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307])
async def test_a_get_behind_a_redirect_gets_a_decoy(server: FaultServer, status: int) -> None:
    """A POST at the new place gets the answer, a GET another one."""
    fault = BY_NAME[f"redirect-{status}"]
    case = server.case(fault.name)
    seen = await call(fault, FORMATS["messages"], "plain", case)
    match = re.search(rb"Location: (/\S+)\r\n", seen.body.raw)
    assert match is not None
    for method, text in ((b"POST", TEXT), (b"GET", "an answer to a GET, which must not be taken")):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(method + b" " + match[1] + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        body = json.loads((await receive(reader, fault)).body.body)
        assert TEXTS["messages"](body) == text
        writer.transport.abort()
    assert [attempt.method for attempt in case.attempts] == ["POST", "POST", "GET"]


@pytest.mark.parametrize("name", ["bomb-comments", "bomb-event", "bomb-plain", "bomb-error-body"])
async def test_bombs_are_small_and_unfold_to_100_mb(server: FaultServer, name: str) -> None:
    """Some 100 KB on the wire, 100 MB when read, with the answer at both ends."""
    fault = BY_NAME[name]
    fmt, mode = next(iter(fault.runs()))
    seen = await call(fault, fmt, mode, server.case(name))
    assert len(seen.body.body) < 600_000
    machine = zlib.decompressobj(wbits=31)
    size, rest, last = 0, bytes(seen.body.body), b""
    while rest:
        piece = machine.decompress(rest, 1 << 20)
        rest = machine.unconsumed_tail
        size += len(piece)
        last = (last + piece)[-200:]
    assert machine.eof
    assert 95_000_000 < size < 110_000_000
    assert last.endswith((b"}", b"\n\n"))


@pytest.mark.parametrize(("name", "wbits"), [("gzip", 31), ("deflate-zlib", 15), ("deflate-raw", -15), ("gzip-flushed", 31)])
async def test_compressed_answers_hold_the_answer(server: FaultServer, name: str, wbits: int) -> None:
    """Unfolded, they are the good stream."""
    fmt = FORMATS["messages"]
    seen = await call(BY_NAME[name], fmt, "stream", server.case(name))
    whole = b"".join(part.sse() for part in fmt.script().documents())
    assert zlib.decompress(bytes(seen.body.body), wbits) == whole


@pytest.mark.parametrize(("name", "size"), [("event-16mb", 16 << 20), ("error-body-50mb", 50 << 20)])
async def test_sizes_are_what_they_say(server: FaultServer, name: str, size: int) -> None:
    """The bytes promised are the bytes sent."""
    case = server.case(name)
    await call(BY_NAME[name], FORMATS["generate_content"], "stream", case)
    assert size <= case.sent < size * 1.01


async def test_a_million_comments_are_a_million(server: FaultServer) -> None:
    """They are counted on the wire."""
    case = server.case("million-comments")
    await call(BY_NAME["million-comments"], FORMATS["messages"], "stream", case)
    assert case.sent >= 1_000_000 * len(b": PING\n\n")


async def test_paths_with_and_without_v1_and_unknown_ones(server: FaultServer) -> None:
    """A base URL with `/v1` or without leads to the same fault; what is no fault or no format is a 404."""
    for path, status in (
        ("/status-418/v1/messages", 418),
        ("/status-418/messages", 418),
        ("/status-418/api/v1/chat/completions", 418),
        ("/status-418~7/v1/models/a:b:generateContent", 418),
        ("/status-418/v1beta/models/m:streamGenerateContent?alt=sse", 418),
        ("/status-418/v1/embeddings", 404),
        ("/no-such-fault/v1/messages", 404),
        ("/", 404),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        assert (await receive(reader, BY_NAME["status-418"])).body.status == status, path
        writer.transport.abort()


async def test_a_chunked_request_is_read(server: FaultServer) -> None:
    """A request body in chunks says `stream` as well as one with a length."""
    case = server.case("content-length-exact")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    path = case.base_url.removeprefix(server.url).encode()
    writer.write(b"POST " + path + b"/v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b'{"str', b'eam": true}'):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    writer.write(b"0\r\n\r\n")
    seen = await receive(reader, BY_NAME["content-length-exact"])
    assert seen.body.body.startswith(b"event: message_start")
    writer.transport.abort()


async def test_a_case_can_be_read_over_http(server: FaultServer) -> None:
    """Another process learns of its case by a GET."""
    case = server.case("status-418")
    await call(BY_NAME["status-418"], FORMATS["messages"], "plain", case, "Idempotency-Key: k\r\n")
    for target, status in ((f"/cases/status-418~{case.token}", 200), ("/cases/status-418~none", 404)):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        seen = await receive(reader, BY_NAME["status-418"])
        assert seen.body.status == status
        writer.transport.abort()
        if status == 200:
            known = json.loads(seen.body.body)
            assert known["attempts"][0]["idempotency_key"] == "k"
            assert known["fault"] == "status-418"


async def test_an_unknown_fault_has_no_case(server: FaultServer) -> None:
    """A misspelt name is an error at once."""
    with pytest.raises(KeyError):
        server.case("no-such-fault")


async def test_a_play_that_fails_is_seen() -> None:
    """A fault of a fault is kept in the case, and the client gets an end."""

    async def play(_link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        raise LookupError(_attempt)

    fault = Fault("slip", "none", "fails", play, Expect(), ends="cut")
    async with FaultServer([fault]) as server:
        case = server.case("slip")
        assert (await call(fault, FORMATS["messages"], "stream", case)).ending == "cut"
        assert case.broken == ["LookupError(1)"]


async def test_a_play_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own bound ends a play whose client never leaves, and says so."""
    monkeypatch.setattr("tests.faults.server.PLAY_SECONDS", 0.1)

    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.stall()

    fault = Fault("endless", "none", "never ends", play, Expect(), ends="cut")
    async with FaultServer([fault]) as server:
        case = server.case("endless")
        assert (await call(fault, FORMATS["messages"], "stream", case)).ending == "cut"
        assert case.expired == 1


async def test_an_idle_connection_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket over which no request comes is closed."""
    monkeypatch.setattr("tests.faults.server.IDLE_SECONDS", 0.1)
    async with FaultServer(FAULTS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read(1) == b""
        await until(lambda: not server.connections)
        writer.transport.abort()


async def test_closing_leaves_no_task_and_no_listener() -> None:
    """Stalls and endless streams under way end with the server, within a moment."""
    before = asyncio.all_tasks()
    server = FaultServer(FAULTS)
    await server.start()
    writers = []
    for name in ("stall-before-headers", "stall-between-events", "endless-content", "error-body-50mb", "endless-line"):
        host, port, request = head_of(FORMATS["messages"], "stream", server.case(name).base_url)
        _, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        writers.append(writer)
    await until(lambda: len(server.connections) == len(writers))
    async with asyncio.timeout(2.0):
        await server.close()
    assert asyncio.all_tasks() == before
    assert not server.connections
    for port in (server.port, server.elsewhere_port):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    for writer in writers:
        writer.transport.abort()


def test_the_table_has_a_row_for_each_fault() -> None:
    """Five filled cells a row, in one line of Markdown each."""
    rows = table()
    assert [row[1] for row in rows] == [fault.name for fault in FAULTS]
    assert all(all(row) for row in rows)
    lines = markdown().splitlines()
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 6, line
    by_name = {row[1]: row for row in rows}
    assert by_name["stall-between-events"][4] == "APITimeoutError (idle)"
    assert by_name["error-openai-form"][4] == "RateLimitError 429"
    assert by_name["retry-503"][4] == "reply at request 2"
    assert by_name["nan"][3] == "all; stream and plain"


@pytest.mark.parametrize("how", ["stdin", "signal", "signal without stdin"])
async def test_the_command_serves_until_told_to_stop(how: str) -> None:
    """It prints its ports, serves, and ends with status 0 when its input closes or SIGTERM comes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults",
        stdin=asyncio.subprocess.DEVNULL if "without" in how else pipe,
        stdout=pipe,
        cwd=ROOT,
        env=environment,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(15.0):
            ports = json.loads(await process.stdout.readline())
            case = Case("status-418", "x", f"{ports['url']}/status-418~x")
            seen = await call(BY_NAME["status-418"], FORMATS["responses"], "stream", case)
            assert seen.body.status == 418
            if how == "stdin":
                assert process.stdin is not None
                process.stdin.close()
            else:
                process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if process.stdin is not None:
            process.stdin.close()
