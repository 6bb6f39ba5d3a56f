"""What the four wire formats have in common, as data: an `Endpoint` says how to call one and how to read its answers.

Everything that waits is written once against this module; everything that a vendor may change stands behind it, in one
slice.
This module never does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import attrs

from dgrid_async.wire import Reply

__all__ = ["Accumulator", "Endpoint", "Progress", "Target"]

Event = TypeVar("Event")
EventIn = TypeVar("EventIn", contravariant=True)
ReplyT = TypeVar("ReplyT", bound=Reply)
ReplyOut = TypeVar("ReplyOut", bound=Reply, covariant=True)


class Progress(IntEnum):
    """How far a stream has come by the rules of its format."""

    OPEN = 0
    """The answer is not whole: the end of the body would be a truncation."""
    COMPLETE = 1
    """The answer is whole; more may follow (usage, say), and the end of the body is in order."""
    CLOSED = 2
    """The format's own last word has been said: whatever follows does not count."""


class Accumulator(Protocol[EventIn, ReplyOut]):
    """Merges the events of one stream into the reply; linear in the number of events.

    Attributes:
        progress: What the terminal rule of the format says by now; CLOSED where `failure` is set.
        failure: The error that the last event carried (its JSON: an object or a string), or None. The stream raises it.
        usage: The counts so far, the object that the reply holds, or None.
    """

    progress: Progress
    failure: Any

    @property
    def usage(self) -> Any:
        """The counts so far."""

    def add(self, event: EventIn) -> None:
        """Take in one event. Raises ValueError for one that cannot follow what came before."""

    def snapshot(self) -> ReplyOut | None:
        """Return the reply so far as an object of its own, or None before the first event."""


# A named tuple, as one is made for each call: a frozen class of attrs takes two and a half times as long.
class Target(NamedTuple):
    """Where one request goes and what it carries, beside what the client adds to every request.

    Attributes:
        path: From `/v1` on, quoted where needed.
        body: The JSON object to send; may hold our attrs objects and bytes.
        query: Query parameters.
        headers: Headers of this request alone.
    """

    path: str
    body: dict[str, Any]
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


@attrs.frozen(eq=False)
class Endpoint(Generic[Event, ReplyT]):
    """One entry of the gateway.

    Attributes:
        name: The slice's name, as in `dgrid_async.apis`.
        required: Parameters that a call must have; a missing one is a TypeError that names it.
        encode: From the caller's parameters and whether the answer is to be streamed, to the request. Takes nothing out of
            the parameters and adds nothing that the caller did not give, but what the format itself demands.
        decode_reply: From the JSON of a plain answer to the reply. Raises ValueError for a shape that is none.
        decode_event: From the JSON object of one streamed event to the event, or None for one that only keeps the connection
            open. An unknown kind is an `UnknownEvent`.
        accumulator: Makes an empty accumulator.
        text_of: The answer's text that an event adds, or an empty string; reasoning left out, first choice only.
        replay: From the JSON of a whole reply to the JSON of the events that would have streamed it, for gateways that
            answer a stream request with one plain reply.
        failure_of: The error (its JSON) that the body of a plain 2xx answer holds in this format's own way, or None;
            a top-level `error` is looked for elsewhere.
    """

    name: str
    required: tuple[str, ...]
    encode: Callable[[Mapping[str, Any], bool], Target]
    decode_reply: Callable[[Any], ReplyT]
    decode_event: Callable[[dict[str, Any]], Event | None]
    accumulator: Callable[[], Accumulator[Event, ReplyT]]
    text_of: Callable[[Event], str]
    replay: Callable[[dict[str, Any]], list[dict[str, Any]]]
    failure_of: Callable[[dict[str, Any]], Any] = lambda _: None
