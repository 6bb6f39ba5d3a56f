"""The page's server as a browser or an attacker speaks to it, without either."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from dgrid_async import AsyncDGrid
from dgrid_async.emulator import Emulator, ErrorEvent, Script, Stall
from dgrid_async.web import Bounds, Server
from dgrid_async.web.guard import HEADERS

SECRET = "sk-never-for-the-page-0123456789"
ID = "a" * 24
QUESTION: dict[str, Any] = {"format": "chat_completions", "model": "m", "turns": [{"role": "user", "text": "Hi"}]}
SLOW = Script(text=tuple(f"w{n} " for n in range(150)), pace=0.01)
SILENT = Script(text="one two three", fault=Stall(after=2))


class Visitor:
    """A page's requests, without the page."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, emulator: Emulator) -> None:
        self.session = session
        self.server = server
        self.emulator = emulator
        self.origin = server.url.rstrip("/")

    async def ask(self, key: str = ID, data: Any = QUESTION, **headers: str) -> tuple[int, Any]:
        """Ask, and return the status with the error's message or None."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        headers = {"Origin": self.origin, "Content-Type": "application/json"} | headers
        async with self.session.put(f"{self.origin}/api/answers/{key}", data=body, headers=headers) as response:
            return response.status, (await response.json())["error"]["message"] if response.status >= 400 else None

    async def stop(self, key: str = ID) -> int:
        """Stop, and return the status."""
        async with self.session.delete(f"{self.origin}/api/answers/{key}", headers={"Origin": self.origin}) as response:
            return response.status

    async def read(self, key: str = ID, after: str = "", most: int = 10**9, **headers: str) -> list[dict[str, Any]]:
        """Return frames up to the last, or so many and then leave."""
        frames = []
        async with self.session.get(f"{self.origin}/api/answers/{key}?after={after}", headers=headers) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            async for line in response.content:
                if line.startswith(b"data: "):
                    frames.append(json.loads(line[6:]))
                    if len(frames) == most:
                        break
        return frames

    async def status(self, path: str, method: str = "GET", **headers: str) -> int:
        """Return the status of a request, whose headers are checked."""
        async with self.session.request(method, self.origin + path, headers=headers) as response:
            for name, value in HEADERS.items():
                assert response.headers.getall(name) == [value]
            return response.status


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "text")


@asynccontextmanager
async def visit(script: Any = None, **options: Any) -> AsyncIterator[Visitor]:
    """Run a gateway, the server and a visitor."""
    async with (
        Emulator(script) as emulator,
        AsyncDGrid(SECRET, base_url=emulator.url) as client,
        Server(client, port=0, **options) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Visitor(session, server, emulator)


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which the server logged an error."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


pytestmark = pytest.mark.usefixtures("complaints")


async def test_the_page_is_whole_and_forbids_what_is_foreign() -> None:
    async with visit() as visitor, visitor.session.get(visitor.server.url) as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert (response.status, response.content_type, response.charset) == (200, "text/html", "utf-8")
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert policy.startswith("default-src 'none'")
    for attack in ("http:", "https:", "*", "unsafe"):
        assert attack not in policy
    # The one address is the name of a namespace, which nobody looks up.
    assert page.count("://") == page.count("http://www.w3.org/2000/svg") == 1
    assert not any(sink in page for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("))


async def test_the_page_is_told_what_to_offer_and_no_secret() -> None:
    async with visit() as visitor, visitor.session.get(f"{visitor.origin}/api/settings") as response:
        settings = await response.json()
    assert [each["name"] for each in settings["formats"]] == ["chat_completions", "messages", "responses", "generate_content"]
    assert all(each["models"] and each["title"] for each in settings["formats"])
    assert (settings["emulated"], settings["prompts"]) == (False, [])
    async with visit(emulated=True) as visitor, visitor.session.get(f"{visitor.origin}/api/settings") as response:
        settings = await response.json()
    assert settings["emulated"]
    assert settings["prompts"]


@pytest.mark.parametrize("name", ["chat_completions", "messages", "responses", "generate_content"])
async def test_a_question_is_answered_in_each_format(name: str) -> None:
    async with visit(Script(text="Hello there.", reasoning="hm")) as visitor:
        assert await visitor.ask(data={**QUESTION, "format": name}) == (201, None)
        frames = await visitor.read()
        assert text_of(frames) == "Hello there."
        assert [frame["type"] for frame in frames[-2:]] == ["usage", "finish"]
        assert SECRET not in json.dumps(frames)
        assert visitor.emulator.log[0].headers["Authorization"] == f"Bearer {SECRET}"


async def test_an_error_of_the_gateway_is_the_last_frame_as_it_is() -> None:
    async with visit(Script(text="a b c", fault=ErrorEvent(after=2, status=529, message="Too much"))) as visitor:
        await visitor.ask()
        last = (await visitor.read())[-1]
    assert (last["type"], last["error"], last["status"]) == ("error", "OverloadedError", 529)
    assert "Too much" in last["message"]
    assert last["request_id"]


# ------------------------------------------------------------------------------------------------ leaving, coming back


@pytest.mark.usefixtures("leaping_clock")
async def test_a_page_goes_on_behind_the_frame_that_it_had() -> None:
    async with visit(SLOW, grace=30) as visitor:
        await visitor.ask()
        seen = await visitor.read(most=4)
        for _ in range(2):  # by the address, as a page that was loaded again
            seen += await visitor.read(after=str(seen[-1]["id"]), most=3)
        # By the header, as an EventSource that lost its connection: it knows better than the address it was given.
        seen += await visitor.read(after="0", **{"Last-Event-ID": str(seen[-1]["id"])})
        assert text_of(seen) == "".join(SLOW.text or ())
        assert [frame["type"] for frame in seen].count("finish") == 1
        assert len(visitor.emulator.log) == 1
        assert text_of(await visitor.read()) == "".join(SLOW.text or ())


@pytest.mark.usefixtures("leaping_clock")
async def test_nobody_shows_it_so_it_ends_and_says_so_to_who_comes_back() -> None:
    async with visit(SILENT, grace=0.2) as visitor:
        await visitor.ask()
        await visitor.read(most=2)
        received = visitor.emulator.log[0]
        async with asyncio.timeout(10):
            await received.closed.wait()
        assert received.closed_early
        assert (await visitor.read())[-1]["reason"] == "stopped"


@pytest.mark.usefixtures("leaping_clock")
async def test_while_a_page_shows_it_the_grace_does_not_run() -> None:
    async with visit(SILENT, grace=0.1) as visitor:
        await visitor.ask()
        reading = asyncio.create_task(visitor.read())
        await visitor.emulator.log.wait(1)
        done, _ = await asyncio.wait([reading], timeout=0.6)
        assert not done
        assert not visitor.emulator.log[0].closed.is_set()
        reading.cancel()
        await asyncio.wait([reading])
        async with asyncio.timeout(10):
            await visitor.emulator.log[0].closed.wait()


async def test_stop_ends_the_upstream_at_once() -> None:
    async with visit(SILENT, grace=60) as visitor:
        await visitor.ask()
        reading = asyncio.create_task(visitor.read())
        await visitor.emulator.log.wait(1)
        assert await visitor.stop() == 204
        async with asyncio.timeout(10):
            frames = await reading
            await visitor.emulator.log[0].closed.wait()
        assert (frames[-1]["type"], frames[-1]["reason"]) == ("finish", "stopped")
        assert visitor.emulator.log[0].closed_early
        assert await visitor.stop() == 204


async def test_the_servers_end_is_the_answers_end_and_readers_are_told() -> None:
    async with visit(SILENT, grace=60) as visitor:
        await visitor.ask()
        reading = asyncio.create_task(visitor.read())
        await visitor.emulator.log.wait(1)
        async with asyncio.timeout(10):
            while visitor.server.answers.get(ID).listeners == 0:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
            await visitor.server.stop()
            assert (await reading)[-1]["reason"] == "stopped"
            await visitor.emulator.log[0].closed.wait()
        await visitor.server.stop()
        with pytest.raises(RuntimeError):
            _ = visitor.server.url


# ------------------------------------------------------------------------------------------------------------ refusals


async def test_other_names_and_other_sites_are_refused_before_anything_happens() -> None:
    async with visit() as visitor:
        for path in ("/", "/api/settings", f"/api/answers/{ID}"):
            assert await visitor.status(path, Host="evil.example") == 403
            assert await visitor.status(path, Origin="http://evil.example") == 403
        assert await visitor.status("/api/settings", **{"Sec-Fetch-Site": "cross-site"}) == 403
        assert (await visitor.ask(Origin="http://evil.example"))[0] == 403
        assert (await visitor.ask(Origin="null"))[0] == 403
        assert (await visitor.ask(Host="evil.example", Origin="http://evil.example"))[0] == 403
        assert await visitor.status(f"/api/answers/{ID}", "DELETE") == 403
        assert await visitor.status(f"/api/answers/{ID}", "OPTIONS", Origin="http://evil.example") == 403
        assert len(visitor.emulator.log) == 0


async def test_what_is_not_there_and_what_is_no_method_is_refused_as_json() -> None:
    async with visit() as visitor:
        assert await visitor.status("/etc/passwd") == 404
        assert await visitor.status(f"/api/answers/{ID}") == 404
        assert await visitor.stop() == 404
        assert await visitor.status("/api/settings", "POST", Origin=visitor.origin) == 405


async def test_a_page_can_find_out_whether_an_answer_is_there() -> None:
    async with visit(SILENT, grace=60) as visitor:
        assert await visitor.status(f"/api/answers/{ID}", "HEAD") == 404
        await visitor.ask()
        assert await visitor.status(f"/api/answers/{ID}", "HEAD") == 200
        assert visitor.server.answers.get(ID).listeners == 0  # type: ignore[union-attr]


async def test_too_large_a_question_is_refused() -> None:
    async with visit(bounds=Bounds(message_bytes=2000)) as visitor:
        large = {**QUESTION, "turns": [{"role": "user", "text": "x" * 3000}]}
        status, message = await visitor.ask(data=large)
        assert status == 413
        assert "more than 2000 bytes" in message
        assert (await visitor.ask())[0] == 201
        assert len(await visitor.read()) > 2


async def test_too_many_questions_in_a_minute_are_refused_with_the_time_to_wait() -> None:
    async with visit(bounds=Bounds(questions_per_minute=2)) as visitor:
        statuses = [(await visitor.ask(key=letter * 24))[0] for letter in "abc"]
        assert statuses == [201, 201, 429]
        assert (await visitor.ask(key="a" * 24))[0] == 204  # the same question once more costs nothing
        async with visitor.session.put(
            f"{visitor.origin}/api/answers/{'d' * 24}", headers={"Origin": visitor.origin}
        ) as refused:
            assert 50 <= int(refused.headers["Retry-After"]) <= 60
        await visitor.read("a" * 24)
        await visitor.read("b" * 24)
        assert len(visitor.emulator.log) == 2


async def test_too_many_answers_at_once_are_refused_until_one_ends() -> None:
    async with visit(SILENT, bounds=Bounds(answers_at_once=2)) as visitor:
        statuses = [(await visitor.ask(key=letter * 24))[0] for letter in "abc"]
        assert statuses == [201, 201, 429]
        await visitor.stop("a" * 24)
        async with asyncio.timeout(10):
            while visitor.server.answers.full:
                await asyncio.sleep(0.01)
        assert (await visitor.ask(key="d" * 24))[0] == 201


async def test_too_many_readers_of_one_answer_are_refused() -> None:
    async with visit(SILENT, bounds=Bounds(readers=2)) as visitor:
        await visitor.ask()
        readers = [asyncio.create_task(visitor.read()) for _ in range(2)]
        async with asyncio.timeout(10):
            while visitor.server.answers.get(ID).listeners < 2:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        assert await visitor.status(f"/api/answers/{ID}") == 429
        await visitor.stop()
        for reader in readers:
            assert (await reader)[-1]["reason"] == "stopped"


@pytest.mark.parametrize(
    ("key", "data", "headers", "status"),
    [
        ("short", QUESTION, {}, 400),
        ("a" * 65, QUESTION, {}, 400),
        ("a" * 23 + ".", QUESTION, {}, 400),
        (ID, b"{", {}, 400),
        (ID, b"[" * 5000, {}, 400),
        (ID, b"\xff\xfe", {}, 400),
        (ID, [], {}, 400),
        (ID, {**QUESTION, "format": "x"}, {}, 400),
        (ID, {**QUESTION, "format": "generate_content", "model": " "}, {}, 400),
        (ID, QUESTION, {"Content-Type": "text/plain"}, 415),
        (ID, QUESTION, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_what_is_no_question_is_refused(key: str, data: Any, headers: dict[str, str], status: int) -> None:
    async with visit() as visitor:
        found, message = await visitor.ask(key, data, **headers)
        assert found == status
        assert message
        assert len(visitor.emulator.log) == 0


@pytest.mark.parametrize("after", ["-1", "x", "99999", "1e3", "9" * 30])
async def test_what_is_no_frame_of_the_answer_is_refused(after: str) -> None:
    async with visit() as visitor:
        await visitor.ask()
        await visitor.read()
        assert await visitor.status(f"/api/answers/{ID}?after={after}") == 400


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing() -> None:
    async with visit() as visitor:
        port = int(visitor.origin.rpartition(":")[2])
        async with AsyncDGrid("k", base_url=visitor.emulator.url) as client:
            second = Server(client, port=port)
            with pytest.raises(OSError, match="address already in use"):
                await second.start()
            with pytest.raises(RuntimeError):
                _ = second.url


async def test_an_address_for_all_is_shown_as_this_machines() -> None:
    async with AsyncDGrid("k", base_url="http://127.0.0.1:9") as client, Server(client, host="0.0.0.0", port=0) as server:
        assert server.url.startswith("http://127.0.0.1:")
