"""What the emulator's tests share: a running emulator, a plain session, and the four formats side by side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from dgrid_async.emulator import Emulator

HEADERS = {"Authorization": "Bearer test-key", "anthropic-version": "2023-06-01"}


@dataclass(frozen=True)
class Shape:
    """One format: where its requests go, the least that it accepts, and where its text is."""

    name: str
    path: str
    body: dict[str, Any]
    stream_path: str = ""
    stream_body: dict[str, Any] = field(default_factory=lambda: {"stream": True})

    def request(self, *, stream: bool = False, **more: Any) -> tuple[str, dict[str, Any]]:
        """Return the path and the body of a request."""
        if stream:
            return self.stream_path or self.path, {**self.body, **self.stream_body, **more}
        return self.path, {**self.body, **more}

    def text(self, reply: dict[str, Any]) -> str:
        """Return the text of a whole reply."""
        match self.name:
            case "messages":
                return "".join(block["text"] for block in reply["content"] if block["type"] == "text")
            case "chat_completions":
                return reply["choices"][0]["message"]["content"] or ""
            case "responses":
                messages = [item for item in reply["output"] if item["type"] == "message"]
                return "".join(part.get("text", "") for item in messages for part in item["content"])
        parts = reply["candidates"][0]["content"]["parts"]
        return "".join(part.get("text", "") for part in parts if not part.get("thought"))

    def streamed_text(self, events: list[tuple[str | None, Any]]) -> str:
        """Return the text that a stream's events add up to."""
        pieces = []
        for _, data in events:
            if not isinstance(data, dict) or "error" in data:
                continue
            match self.name:
                case "messages":
                    pieces.append(data.get("delta", {}).get("text", ""))
                case "chat_completions":
                    firsts = [choice for choice in data["choices"] if choice["index"] == 0]
                    pieces.extend(choice["delta"].get("content") or "" for choice in firsts)
                case "responses":
                    pieces.append(data["delta"] if data["type"] == "response.output_text.delta" else "")
                case _:
                    pieces.append(self.text(data))
        return "".join(pieces)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "messages",
            "/v1/messages",
            {"model": "a/m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi there"}]},
        ),
        Shape(
            "chat_completions",
            "/v1/chat/completions",
            {"model": "a/m", "messages": [{"role": "user", "content": "Hi there"}]},
        ),
        Shape("responses", "/v1/responses", {"model": "a/m", "input": "Hi there"}),
        Shape(
            "generate_content",
            "/v1/models/a/m:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "Hi there"}]}]},
            stream_path="/v1/models/a/m:streamGenerateContent?alt=sse",
            stream_body={},
        ),
    )
}


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> Shape:
    """Give each of the four formats in turn."""
    return SHAPES[request.param]


@pytest.fixture
def shapes() -> dict[str, Shape]:
    """Give the formats by name."""
    return SHAPES


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Give a running emulator with the default script."""
    async with Emulator() as running:
        yield running


@pytest.fixture
async def session(emulator: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session that sends a key to that emulator; its timeout bounds a test that would hang."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(emulator.url, headers=HEADERS, timeout=timeout) as opened:
        yield opened


@pytest.fixture
def parse() -> Callable[[bytes], list[tuple[str | None, Any]]]:
    """Give a reader of whole SSE bodies: (event name, JSON data or the text of it), comments left out."""

    def read(body: bytes) -> list[tuple[str | None, Any]]:
        events = []
        for block in body.replace(b"\r\n", b"\n").decode().split("\n\n"):
            name, data = None, []
            for line in block.split("\n"):
                key, _, value = line.partition(":")
                if key == "event":
                    name = value.strip()
                elif key == "data":
                    data.append(value.removeprefix(" "))
            if data:
                text = "\n".join(data)
                events.append((name, text if text == "[DONE]" else json.loads(text)))
        return events

    return read


@pytest.fixture
def post(session: aiohttp.ClientSession) -> Callable[..., Any]:
    """Give a way to post to a format and read all of the answer: (status, headers, body)."""

    async def send(shape: Shape, *, stream: bool = False, headers: dict[str, str] | None = None, **more: Any) -> Any:
        path, body = shape.request(stream=stream, **more)
        async with session.post(path, json=body, headers=headers) as response:
            return response.status, response.headers, await response.read()

    return send
