"""The competitors: each reads the same bytes in its own way, and tells what it found in the same words.

`bare` is the floor: aiohttp and nothing that could be left out. `dgrid` is the package under test. A peer that is not
installed is skipped, with the reason told. Each runs in a process of its own, so none pays for another's imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Protocol, Self, cast

__all__ = ["FLOOR", "NAMES", "RAW", "SUBJECT", "Client", "MissingPeerError", "Peer", "load"]

FLOOR = "bare"
SUBJECT = "dgrid"
RAW = "raw"
NAMES = (FLOOR, SUBJECT, "openai", "anthropic", "google_genai", "httpx_sse", RAW)

MESSAGE = "Tell me something about event streams."


class MissingPeerError(Exception):
    """A peer that cannot be measured here; the text says why."""


class Client(Protocol):
    """A peer's client for one base address; used under `async with`."""

    async def __aenter__(self) -> Self:
        """Return the client, connected to nothing yet."""

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""

    async def read(self, format: str, after: Callable[[], object] | None = None) -> int:  # noqa: A002 -- the house's word for it
        """Read one stream to its end and return how many events came, decoded as far as this peer decodes.

        Args:
            format: One of the peer's.
            after: Called behind each event.
        """

    async def watch(self, format: str, see: Callable[[str], object]) -> None:  # noqa: A002
        """Read one stream to its end and hand the text that each event adds to `see`, as soon as it is there."""

    async def plain(self, format: str) -> str:  # noqa: A002
        """Make one plain call and return the reply's text."""


class Peer(Protocol):
    """What a module of this package offers under the name `PEER`.

    Attributes:
        formats: The formats that it speaks.
        skills: What it can be measured at: stream, plain, split, decode, accumulate, ready.
        packages: Distributions whose versions belong to its figures.
        module: What its users import.
    """

    formats: frozenset[str]
    skills: frozenset[str]
    packages: tuple[str, ...]
    module: str

    def client(self, url: str, connections: int) -> Client:
        """Return a client that may hold so many connections."""

    def split(self, chunks: Iterable[bytes]) -> int:
        """Return how many server-sent events the chunks hold."""

    def decode(self, format: str) -> Callable[[bytes], Any]:  # noqa: A002
        """Return the function from the JSON of one event to the event."""

    def accumulate(self, format: str, events: list[Any], *, live: bool) -> Any:  # noqa: A002
        """Merge events and return what they add up to: the text, or of a tool call the parsed arguments.

        Args:
            format: One of the peer's.
            events: What `decode` made, in order.
            live: Whether the reply so far, a tool call's arguments parsed, is looked at behind each event.
        """


def load(name: str) -> Peer:
    """Return a peer.

    Raises:
        MissingPeerError: It is not installed.
    """
    try:
        return cast("Peer", import_module(f"benchmarks.peers.{name}").PEER)
    except ImportError as error:
        raise MissingPeerError(str(error)) from error


def parameters(format: str) -> dict[str, Any]:  # noqa: A002
    """Return the parameters of the call that every peer makes."""
    message = {"role": "user", "content": MESSAGE}
    if format == "chat_completions":
        return {"model": "bench-model", "messages": [message]}
    if format == "messages":
        return {"model": "bench-model", "max_tokens": 4096, "messages": [message]}
    if format == "responses":
        return {"model": "bench-model", "input": MESSAGE}
    return {"model": "bench-model", "contents": MESSAGE}


def text_in(format: str, event: dict[str, Any]) -> str:  # noqa: A002
    """Return the text that an event adds, given as the JSON object it is."""
    if format == "chat_completions":
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    if format == "messages":
        return str(event["delta"]["text"]) if event["type"] == "content_block_delta" else ""
    if format == "responses":
        return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""
    return "".join(part["text"] for candidate in event["candidates"] for part in candidate["content"]["parts"])


def text_of_reply(format: str, reply: dict[str, Any]) -> str:  # noqa: A002
    """Return the text of a plain reply, given as the JSON object it is."""
    if format == "chat_completions":
        return str(reply["choices"][0]["message"]["content"])
    if format == "messages":
        return str(reply["content"][0]["text"])
    if format == "responses":
        return str(reply["output"][0]["content"][0]["text"])
    return text_in(format, reply)
