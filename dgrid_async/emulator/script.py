"""What the emulator is told to do: the answer, its pace on the wire, and what goes wrong.

Values only. It knows nothing of any wire format and does no I/O.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

__all__ = [
    "COMMENT",
    "PING",
    "Abort",
    "Close",
    "Cut",
    "ErrorEvent",
    "Fault",
    "HoldOpen",
    "Html",
    "Insert",
    "Malformed",
    "Script",
    "Stall",
    "ToolCall",
    "Usage",
    "WholeJson",
]

COMMENT = ": PING\n\n"
PING = 'event: ping\ndata: {"type": "ping"}\n\n'

Pieces: TypeAlias = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool by the model.

    Args:
        name: The tool's name.
        arguments: An object; or its JSON text, which may be invalid on purpose; or that text in the pieces to stream.
        id: The call's id; None makes one from the reply's number.
    """

    name: str
    arguments: Mapping[str, Any] | Pieces = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a reply; `output` includes `reasoning`, `input` includes `cached`."""

    input: int
    output: int
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Insert:
    """Raw text put into a stream beside its events: a comment, a ping, blank lines, anything.

    Args:
        raw: The text with its own line ends.
        before: Number of the event it precedes, 0 for the first; None = before every event; -1 = after the last one.
        times: How often it is repeated there.
        inside: Put it after the first line of that event, between `event:` and `data:` where there are both.
    """

    raw: str = COMMENT
    before: int | None = None
    times: int = 1
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """End the body cleanly and too soon.

    Args:
        after: Events sent before; None = all but what ends the reply.
    """

    kind: ClassVar[str] = "cut"
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Reset the TCP connection in the middle of an event.

    Args:
        after: Whole events sent before; None = all but what ends the reply.
    """

    kind: ClassVar[str] = "abort"
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """Fall silent for ever, with the connection open.

    Args:
        where: In which place; "between_events" and "inside_event" go by `after`.
        after: Whole events sent before; None = all but what ends the reply.
        comment_every: Seconds between comments sent in the meantime; None = none. Of no effect before the headers.
    """

    kind: ClassVar[str] = "stall"
    where: Literal["before_headers", "after_headers", "between_events", "inside_event"] = "between_events"
    after: int | None = None
    comment_every: float | None = None

    def __post_init__(self) -> None:
        if self.where not in {"before_headers", "after_headers", "between_events", "inside_event"}:
            msg = f"no such place for a stall: {self.where!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Send an error in the format's own shape, within the body of a 200, and end the body.

    Args:
        after: Events sent before; None = all but what ends the reply.
        status: The HTTP status that the error stands for; the vendor's type and code follow from it.
        message: The error's message; None = words for that status.
    """

    kind: ClassVar[str] = "error_event"
    after: int | None = None
    status: int = 529
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """Send one event whose data is broken JSON, then go on.

    Args:
        after: Events sent before; None = all but what ends the reply.
    """

    kind: ClassVar[str] = "malformed"
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Html:
    """Answer 200 with an HTML page instead."""

    kind: ClassVar[str] = "html"


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection without an answer once the request has been read."""

    kind: ClassVar[str] = "close"


@dataclass(frozen=True, slots=True)
class HoldOpen:
    """Send everything, then neither end the body nor close the connection."""

    kind: ClassVar[str] = "hold_open"


@dataclass(frozen=True, slots=True)
class WholeJson:
    """Answer a request for a stream with one whole JSON reply."""

    kind: ClassVar[str] = "whole_json"


Fault: TypeAlias = Cut | Abort | Stall | ErrorEvent | Malformed | Html | Close | HoldOpen | WholeJson

_FAULTS: Mapping[str, type[Fault]] = {
    fault.kind: fault for fault in (Cut, Abort, Stall, ErrorEvent, Malformed, Html, Close, HoldOpen, WholeJson)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How one request is answered; the default is a short echo of the last user text, with nothing wrong.

    Args:
        text: The answer; a tuple is streamed piece by piece, a string word by word. None = an echo of the request
            (or the tool call or structured output that the request demands), "" = no text.
        reasoning: Thoughts before the answer; None = some if the request asks for them, "" = none.
        tool_calls: Calls the model makes, after its text.
        refusal: A refusal in place of an answer.
        alternatives: Texts of the choices or candidates after the first. Without them every choice that the request
            asks for is sent, with the same text. Claude and Responses have one choice only.
        stop_reason: "end", "length", "stop_sequence", "content_filter" or "tool" in the format's own word; "failed"
            (Responses only); any other word goes out as it is. None = what follows from the answer.
        stop_sequence: The sequence that stopped the answer (Claude only).
        usage: Token counts; None = counted from the words of the request and the answer.
        model: The model that the reply names; None = the request's.
        delay: Seconds before the headers.
        pace: Seconds between the events of a stream.
        chunk_size: Bytes in one write, across event borders; None = one event a write, "all" = everything in one.
        status: HTTP status. From 400 on an error body is sent, in the shape of the format.
        headers: More response headers.
        message: The error body's message; None = words for that status.
        body: The body as it is, instead of a reply or an error: text, or a JSON value.
        content_type: The content type as it is; None = the right one.
        done: Whether `data: [DONE]` ends the stream, a cut one too; None = as the format has it (Chat does, the others
            do not).
        inserts: Raw text beside the events.
        fault: What goes wrong. One with `after` beyond the last event strikes after it. On a plain reply the two halves
            of its body stand for events.
    """

    text: Pieces | None = None
    reasoning: Pieces | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: Pieces | None = None
    alternatives: tuple[Pieces, ...] = ()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    model: str | None = None
    delay: float = 0.0
    pace: float = 0.0
    chunk_size: int | Literal["all"] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None
    body: Any = None
    content_type: str | None = None
    done: bool | None = None
    inserts: tuple[Insert, ...] = ()
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if self.delay < 0 or self.pace < 0:
            msg = "delay and pace are seconds, and not negative"
            raise ValueError(msg)
        if self.chunk_size is not None and self.chunk_size != "all" and self.chunk_size < 1:
            msg = "chunk_size is a number of bytes from 1 on, 'all' or None"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Script:
        """Return the script that plain JSON data describes; a fault is an object with its `kind`, or the kind alone.

        Raises:
            ValueError: The data hold an unknown name or a value that does not fit.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        _refuse_unknown("script", data, known)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) and name != "body" else value for name, value in data.items()
        }
        try:
            if "tool_calls" in data:
                values["tool_calls"] = tuple(_tool_call(item) for item in data["tool_calls"])
            if "alternatives" in data:
                values["alternatives"] = tuple(_pieces(item) for item in data["alternatives"])
            if "inserts" in data:
                values["inserts"] = tuple(Insert(**item) for item in data["inserts"])
            if data.get("usage") is not None:
                values["usage"] = Usage(**data["usage"])
            if data.get("fault") is not None:
                values["fault"] = _fault(data["fault"])
            return cls(**values)
        except TypeError as error:
            msg = f"script: {error}"
            raise ValueError(msg) from error

    def to_json(self) -> str:
        """Return the script as ASCII JSON without its defaults, fit for the header `X-Emulator-Script`."""
        data: dict[str, Any] = {}
        default = Script()
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value == getattr(default, item.name):
                continue
            if item.name == "fault":
                value = {"kind": value.kind, **dataclasses.asdict(value)}
            elif item.name in {"tool_calls", "inserts"}:
                value = [dataclasses.asdict(entry) for entry in value]
            elif item.name == "usage":
                value = dataclasses.asdict(value)
            elif item.name == "headers":
                value = dict(value)
            data[item.name] = value
        return json.dumps(data, separators=(",", ":"))


def _refuse_unknown(what: str, data: Any, known: Iterable[str]) -> None:
    if not isinstance(data, Mapping):
        msg = f"{what}: an object is wanted, not {data!r}"
        raise ValueError(msg)  # noqa: TRY004 - from_dict promises ValueError alone
    unknown = sorted(set(data).difference(known))
    if unknown:
        msg = f"{what}: unknown {', '.join(unknown)}"
        raise ValueError(msg)


def _pieces(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _tool_call(data: Mapping[str, Any]) -> ToolCall:
    fields: dict[str, Any] = {name: _pieces(value) for name, value in data.items()}
    return ToolCall(**fields)


def _fault(data: str | Mapping[str, Any]) -> Fault:
    fields: dict[str, Any] = {"kind": data} if isinstance(data, str) else dict(data)
    kind = fields.pop("kind", "")
    if kind not in _FAULTS:
        msg = f"script: no such fault: {kind!r}; known are {', '.join(_FAULTS)}"
        raise ValueError(msg)
    return _FAULTS[kind](**fields)
