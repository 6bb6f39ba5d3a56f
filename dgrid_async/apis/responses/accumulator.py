"""Merges the events of one stream into the response.

Rules
1. An item is found by its `output_index`; by its id where the index is missing or plainly wrong. What is addressed to
   an item or part that was never announced makes one.
2. Texts of every kind grow by their deltas. The whole that comes at the end of a text, part or item replaces what was
   gathered, but nothing empty ever replaces something.
3. Of the events that carry the response, the last one's fields stand. The terminal one's `output` is the last word,
   unless it is empty: then the items that were gathered are the output.
4. The response is over with its terminal event, and the stream has failed with an error event or a failed response.

This module never reads JSON and never waits. Adding is linear in the number of events; a snapshot costs what the
response is long, never what it was pieced together from.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

from dgrid_async.apis.responses import events as on
from dgrid_async.apis.responses.events import Event
from dgrid_async.apis.responses.types import Response, ResponseUsage
from dgrid_async.endpoint import Progress
from dgrid_async.pieces import PIECES, fold, join
from dgrid_async.scalars import to_bytes
from dgrid_async.structuring import structure
from dgrid_async.wire import wire_of

__all__ = ["ResponseAccumulator", "failure_in"]

# How far an item has come: made by what was addressed to it, announced, whole.
_MADE, _ADDED, _DONE = range(3)
# What deltas gather, and an empty field that comes later does not take back.
_OF_ITEM = ("content", "summary", "arguments", "input", "code", "action", "output")
_OF_PART = ("text", "refusal", "annotations", "logprobs")
# Items whose kind has no status.
_WITHOUT_STATUS = frozenset({"mcp_list_tools", "compaction"})
# A snapshot shares with the events what lies deeper than any known field; copying it could meet the recursion limit.
_MAX_DEPTH = 32


def failure_in(response: dict[str, Any]) -> Any:
    """Return the error (its JSON) that a response ended with, or None if it did not fail."""
    if response.get("status") != "failed":
        return None
    return response.get("error") or {"type": "server_error", "message": "the response failed, and does not say why"}


# ------------------------------------------------------------------------------------------------------ JSON under way


class _Item:
    """An item under way."""

    __slots__ = ("fields", "id", "index", "stage")

    def __init__(self, index: int, fields: _Fields, stage: int) -> None:
        self.index = index
        self.fields = fields
        self.id = _id_of(fields)
        self.stage = stage


class _Fields(dict[str, Any]):
    """A JSON object of our own: what came with an event is copied before it is changed."""

    __slots__ = ()


class _Many(dict[int, Any]):
    """A JSON list under way, by index: indices may leave holes, and need not begin at 0."""

    __slots__ = ()


class _Text:
    """A text under way."""

    __slots__ = ("pieces",)

    def __init__(self, start: str) -> None:
        self.pieces = [start] if start else []

    def plain(self) -> str:
        """Return the text so far, and leave it as one piece."""
        return join(self.pieces)


class _Sound(_Text):
    """Sound under way, in base64: each piece encoded for itself, or one text cut anywhere."""

    __slots__ = ()

    def plain(self) -> str:
        """Return the base64 of the sound so far."""
        if any("=" in piece for piece in self.pieces[:-1]) and not any(len(piece) % 4 for piece in self.pieces):
            data = b"".join(to_bytes(piece, "AudioDelta.delta") for piece in self.pieces)
            self.pieces[:] = [base64.b64encode(data).decode()]
        return super().plain()


def _text(holder: dict[Any, Any], key: str | int) -> _Text:
    """Return the text at a place, begun with what is there."""
    value = holder.get(key)
    if not isinstance(value, _Text):
        value = holder[key] = _Text(value if isinstance(value, str) else "")
    return value


def _many(holder: _Fields, key: str) -> _Many:
    """Return the list at a place, begun with what is there."""
    value = holder.get(key)
    if not isinstance(value, _Many):
        value = holder[key] = _Many(enumerate(value if isinstance(value, list) else ()))
    return value


def _object(holder: dict[Any, Any], key: str | int, kind: str | None = None) -> _Fields:
    """Return the object at a place, begun with what is there, or as one of the kind."""
    value = holder.get(key)
    if not isinstance(value, _Fields):
        value = holder[key] = _Fields(value if isinstance(value, dict) else {"type": kind} if kind else {})
    return value


def _put(parts: _Many, index: int, part: _Fields) -> None:
    """Put a part in its place; what its predecessor gathered and it lacks, it takes over."""
    old = parts.get(index)
    if isinstance(old, dict):
        _keep(old, part, _OF_PART)
    parts[index] = part


def _keep(old: dict[str, Any], new: _Fields, names: tuple[str, ...]) -> None:
    if old.get("type") == new.get("type"):
        for name in names:
            if old.get(name) and not new.get(name):
                new[name] = old[name]


def _id_of(fields: dict[str, Any]) -> str:
    value = fields.get("id")
    return value if isinstance(value, str) else ""


def _plain(value: Any, depth: int = 0) -> Any:
    """Return the JSON of what is under way, in containers of its own."""
    if isinstance(value, _Text):
        return value.plain()
    if depth < _MAX_DEPTH:
        depth += 1
        if isinstance(value, _Many):
            return [_plain(value[index], depth) for index in sorted(value)]
        if isinstance(value, dict):
            return {name: _plain(item, depth) for name, item in value.items()}
        if isinstance(value, list):
            return [_plain(item, depth) for item in value]
    return value


# ----------------------------------------------------------------------------------------------- where a text belongs


class _Growth(NamedTuple):
    """How a delta finds the text that it adds to.

    Attributes:
        place: From the event to what tells its place from all others; cheap.
        text: From the event to the text at that place.
    """

    place: Callable[[Any], Any]
    text: Callable[[ResponseAccumulator, Any], _Text]


def _in_item(kind: str, field: str) -> _Growth:
    """Return how to find a text that is a field of an item."""
    return _Growth(
        attrgetter("type", "output_index", "item_id"),
        lambda accumulator, event: _text(accumulator.item_at(event, kind).fields, field),
    )


def _in_part(kind: str, parts: str, index: str, part: str, field: str) -> _Growth:
    """Return how to find a text that is a field of one of an item's parts."""

    def text(accumulator: ResponseAccumulator, event: Any) -> _Text:
        many = _many(accumulator.item_at(event, kind).fields, parts)
        return _text(_object(many, getattr(event, index), part), field)

    return _Growth(attrgetter("type", "output_index", index, "item_id"), text)


def _command(accumulator: ResponseAccumulator, event: Any) -> _Text:
    action = _object(accumulator.item_at(event, "shell_call").fields, "action")
    return _text(_many(action, "commands"), event.command_index)


def _audio(accumulator: ResponseAccumulator, _: Any) -> _Text:
    part = accumulator.sound()
    data = part.get("data")
    if not isinstance(data, _Sound):
        data = part["data"] = _Sound(data if isinstance(data, str) else "")
    return data


def _transcript(accumulator: ResponseAccumulator, _: Any) -> _Text:
    return _text(accumulator.sound(), "transcript")


_OUTPUT_TEXT = _in_part("message", "content", "content_index", "output_text", "text")
_REFUSAL = _in_part("message", "content", "content_index", "refusal", "refusal")
_REASONING = _in_part("reasoning", "content", "content_index", "reasoning_text", "text")
_SUMMARY = _in_part("reasoning", "summary", "summary_index", "summary_text", "text")
_FUNCTION = _in_item("function_call", "arguments")
_MCP = _in_item("mcp_call", "arguments")
_CUSTOM = _in_item("custom_tool_call", "input")
_CODE = _in_item("code_interpreter_call", "code")
_COMMAND = _Growth(attrgetter("type", "output_index", "command_index"), _command)
# The wire gives sound no address.
_AUDIO = _Growth(attrgetter("type"), _audio)
_TRANSCRIPT = _Growth(attrgetter("type"), _transcript)

_GROWTHS: dict[type[Any], _Growth] = {
    on.OutputTextDelta: _OUTPUT_TEXT,
    on.RefusalDelta: _REFUSAL,
    on.ReasoningTextDelta: _REASONING,
    on.ReasoningSummaryTextDelta: _SUMMARY,
    on.FunctionCallArgumentsDelta: _FUNCTION,
    on.McpCallArgumentsDelta: _MCP,
    on.CustomToolCallInputDelta: _CUSTOM,
    on.CodeInterpreterCallCodeDelta: _CODE,
    on.ShellCallCommandDelta: _COMMAND,
    on.AudioDelta: _AUDIO,
    on.AudioTranscriptDelta: _TRANSCRIPT,
}
_PLACES: dict[type[Any], Callable[[Any], Any]] = {kind: growth.place for kind, growth in _GROWTHS.items()}

# The field of the event that holds the whole text, and how to find what has grown so far.
_WHOLES: dict[type[Any], tuple[str, _Growth]] = {
    on.OutputTextDone: ("text", _OUTPUT_TEXT),
    on.RefusalDone: ("refusal", _REFUSAL),
    on.ReasoningTextDone: ("text", _REASONING),
    on.ReasoningSummaryTextDone: ("text", _SUMMARY),
    on.FunctionCallArgumentsDone: ("arguments", _FUNCTION),
    on.McpCallArgumentsDone: ("arguments", _MCP),
    on.CustomToolCallInputDone: ("input", _CUSTOM),
    on.CodeInterpreterCallCodeDone: ("code", _CODE),
    on.ShellCallCommandAdded: ("command", _COMMAND),
    on.ShellCallCommandDone: ("command", _COMMAND),
}

# Events that say what a call is at that the server runs.
_STAGES: tuple[type[Any], ...] = (
    on.FileSearchCallInProgress,
    on.FileSearchCallSearching,
    on.FileSearchCallCompleted,
    on.WebSearchCallInProgress,
    on.WebSearchCallSearching,
    on.WebSearchCallCompleted,
    on.CodeInterpreterCallInProgress,
    on.CodeInterpreterCallInterpreting,
    on.CodeInterpreterCallCompleted,
    on.ImageGenerationCallInProgress,
    on.ImageGenerationCallGenerating,
    on.ImageGenerationCallCompleted,
    on.McpListToolsInProgress,
    on.McpListToolsCompleted,
    on.McpListToolsFailed,
    on.McpCallInProgress,
    on.McpCallCompleted,
    on.McpCallFailed,
    on.CompactionCompacting,
)


# ----------------------------------------------------------------------------------------------------- the accumulator


class ResponseAccumulator:
    """The response under way; see `endpoint.Accumulator`."""

    def __init__(self) -> None:
        self.progress = Progress.OPEN
        self.failure: Any = None
        # The mutable state: the response's fields but for its output, whether the stream has said that it begins, the
        # items as they came and by index and id, the index behind the last of them, the terminal event's output, the
        # last usage, and where texts grow for which nothing but deltas came since.
        self._response: dict[str, Any] = {}
        self._created = False
        self._items: list[_Item] = []
        self._by_index: dict[int, _Item] = {}
        self._by_id: dict[str, _Item] = {}
        self._next_index = 0
        self._output: list[Any] | None = None
        self._usage: ResponseUsage | None = None
        self._growing: dict[Any, _Text] = {}

    @property
    def usage(self) -> ResponseUsage | None:
        """The last usage that was not null."""
        return self._usage

    def add(self, event: Event) -> None:
        """Take in one event.

        Raises:
            ValueError: It begins a second stream.
        """
        kind: type[Any] = event.__class__
        place_of = _PLACES.get(kind)
        if place_of is not None:
            place = place_of(event)
            text = self._growing.get(place)
            if text is None:
                text = self._growing[place] = _GROWTHS[kind].text(self, event)
            pieces = text.pieces
            pieces.append(event.delta)  # type: ignore[union-attr,arg-type]  # an event with a growth has one, a string
            if not len(pieces) % PIECES and text.__class__ is _Text:
                fold(pieces)
            if kind is on.OutputTextDelta and event.logprobs:  # type: ignore[union-attr]  # seen by its class
                self._add_logprobs(event)
            return
        handle = self._handlers.get(kind)
        if handle is not None:
            self._growing.clear()
            handle(self, event)

    def snapshot(self) -> Response | None:
        """Return the response so far, or None before an event that says something of it."""
        if not self._response and not self._items:
            return None
        body: dict[str, Any] = _plain(self._response) or {"object": "response", "status": "in_progress"}
        if self._output is None:
            body["output"] = [_plain(item.fields) for item in sorted(self._items, key=attrgetter("index"))]
        else:
            body["output"] = _plain(self._output)
        if self._usage is not None:
            body["usage"] = self._usage.to_dict()
        return structure(body, Response)

    def item_at(self, event: Any, kind: str) -> _Item:
        """Return the item that an event is addressed to; if there is none, a new one of the kind."""
        # The attribute cannot tell a missing index from 0.
        index = event.output_index if wire_of(event).get("output_index") is not None else None
        item_id = getattr(event, "item_id", "")
        item = None if index is None else self._by_index.get(index)
        known = self._by_id.get(item_id)
        if known is not None and (item is None or item.id != item_id):
            item = known
        if item is None and index is None and not item_id and self._items:
            item = self._items[-1]
        if item is None:
            fields = _Fields(type=kind)
            if item_id:
                fields["id"] = item_id
            if kind == "message":
                fields["role"] = "assistant"
            item = self._make(index, fields, _MADE)
        return item

    def sound(self) -> _Fields:
        """Return the part that sound belongs to, which the wire does not name: the last one, or a new one."""
        for item in reversed(self._items):
            if isinstance(item.fields.get("content"), (list, _Many)):
                content = _many(item.fields, "content")
                for index in sorted(content, reverse=True):
                    if isinstance(content[index], dict) and content[index].get("type") == "output_audio":
                        return _object(content, index)
        messages = (item.fields for item in reversed(self._items) if item.fields.get("type") == "message")
        message = next(messages, None)
        if message is None:
            message = self._make(None, _Fields(type="message", role="assistant"), _MADE).fields
        content = _many(message, "content")
        return _object(content, max(content, default=-1) + 1, "output_audio")

    # ------------------------------------------------------------------------------------------------------------ texts

    def _settle(self, event: Any) -> None:
        """Take in a text that is whole."""
        field, growth = _WHOLES[event.__class__]
        whole = getattr(event, field)
        text = growth.text(self, event)
        if whole:
            text.pieces[:] = [whole]
        if event.__class__ is on.OutputTextDone and event.logprobs:
            self._part_at(event).pop("logprobs", None)
            self._add_logprobs(event)

    def _add_logprobs(self, event: Any) -> None:
        logprobs = _many(self._part_at(event), "logprobs")
        for logprob in event.logprobs:
            logprobs[len(logprobs)] = wire_of(logprob)

    def _annotate(self, event: on.OutputTextAnnotationAdded) -> None:
        if event.annotation is not None:
            annotations = _many(self._part_at(event), "annotations")
            numbered = wire_of(event).get("annotation_index") is not None
            annotations[event.annotation_index if numbered else len(annotations)] = wire_of(event.annotation)

    def _part_at(self, event: Any) -> _Fields:
        return _object(_many(self.item_at(event, "message").fields, "content"), event.content_index, "output_text")

    # ---------------------------------------------------------------------------------------------------- the response

    def _create(self, event: on.ResponseCreated) -> None:
        if self._created:
            raise ValueError(f"a second stream, {event.response.id!r}, begins inside {self._response.get('id')!r}")
        self._created = True
        self._report(event)

    def _report(self, event: Any) -> None:
        """Take in the response as it is by now; in a stream taken up again it holds items already."""
        for index, fields in enumerate(self._take_response(event)):
            if index not in self._by_index and isinstance(fields, dict):
                self._make(index, _Fields(fields), _ADDED)

    def _end(self, event: Any) -> None:
        self._output = self._take_response(event) or None
        if event.__class__ is on.ResponseFailed:
            self._response["status"] = "failed"
        elif self._response.get("status") in {None, "", "queued", "in_progress"}:
            self._response["status"] = event.type.removeprefix("response.")
        self.failure = failure_in(self._response)
        self.progress = Progress.CLOSED

    def _take_response(self, event: Any) -> list[Any]:
        """Take in the fields of the response that an event carries, and return its output."""
        fields = wire_of(event).get("response") or {}
        self._response = {**self._response, **fields, "output": []}
        if event.response.usage is not None:
            self._usage = event.response.usage
        return fields.get("output") or []

    def _fail(self, event: on.ErrorEvent) -> None:
        said = {name: value for name, value in wire_of(event).items() if name not in {"type", "sequence_number"}}
        self.failure = event.error or said or {"message": "the stream broke, and the gateway did not say why"}
        self.progress = Progress.CLOSED

    # ------------------------------------------------------------------------------------------------- items and parts

    def _add_item(self, event: on.OutputItemAdded) -> None:
        self._take_item(event, _ADDED)

    def _finish_item(self, event: on.OutputItemDone) -> None:
        self._take_item(event, _DONE)

    def _take_item(self, event: on.OutputItemAdded | on.OutputItemDone, stage: int) -> None:
        data = wire_of(event)
        fields = _Fields(data.get("item") or {})
        if not fields:
            return
        index = data.get("output_index")
        item_id = _id_of(fields)
        item = self._find(index, item_id, stage)
        if item is None:
            self._make(index, fields, stage)
            return
        _keep(item.fields, fields, _OF_ITEM)
        item.fields, item.id, item.stage = fields, item_id, stage
        self._register(item, index)

    def _find(self, index: int | None, item_id: str, stage: int) -> _Item | None:
        """Return the item that one of a stage is a later state of, or None for a new one."""
        item = None if index is None else self._by_index.get(index)
        known = self._by_id.get(item_id)
        if known is not None and known.stage < stage and (item is None or item.id != item_id):
            item = known
        if item is None and index is None and not item_id and self._items and self._items[-1].stage < stage:
            item = self._items[-1]
        # An item of another id that is as far already is another one, whose index a gateway gives to both.
        return item if item is not None and (item.stage < stage or item.id == item_id) else None

    def _make(self, index: int | None, fields: _Fields, stage: int) -> _Item:
        item = _Item(self._next_index if index is None else index, fields, stage)
        self._next_index = max(self._next_index, item.index + 1)
        self._items.append(item)
        self._register(item, index)
        return item

    def _register(self, item: _Item, index: int | None) -> None:
        if index is not None:
            item.index = index
            self._by_index[index] = item
        if item.id:
            self._by_id[item.id] = item

    def _take_part(self, event: on.ContentPartAdded | on.ContentPartDone) -> None:
        part = _Fields(wire_of(event.part))
        if part:
            item = self.item_at(event, "reasoning" if part.get("type") == "reasoning_text" else "message")
            _put(_many(item.fields, "content"), event.content_index, part)

    def _take_paragraph(self, event: on.ReasoningSummaryPartAdded | on.ReasoningSummaryPartDone) -> None:
        part = _Fields(wire_of(event.part))
        _put(_many(self.item_at(event, "reasoning").fields, "summary"), event.summary_index, part)

    # ------------------------------------------------------------------------------------------------------------ calls

    def _set_status(self, event: Any) -> None:
        """Take in what a call that the server runs is at: the last word of the event's name."""
        _, kind, status = event.type.split(".")
        item = self.item_at(event, kind)
        if item.stage < _DONE and kind not in _WITHOUT_STATUS:
            item.fields["status"] = status

    def _expect_image(self, event: on.ImageGenerationCallPartialImage) -> None:
        # An unfinished image is no part of the response; its item is.
        self.item_at(event, "image_generation_call").fields.setdefault("status", "generating")

    def _add_shell_output(self, event: on.ShellCallOutputContentDelta) -> None:
        outputs = _many(self.item_at(event, "shell_call_output").fields, "output")
        output = _object(outputs, event.command_index)
        for field, piece in (("stdout", event.delta.stdout), ("stderr", event.delta.stderr)):
            if piece:
                _text(output, field).pieces.append(piece)

    def _settle_shell_output(self, event: on.ShellCallOutputContentDone) -> None:
        outputs = _many(self.item_at(event, "shell_call_output").fields, "output")
        # The list is that of one command, or of all up to it.
        first = event.command_index if len(event.output) <= event.command_index else 0
        for index, output in enumerate(event.output, first):
            outputs[index] = _Fields(wire_of(output))

    # Audio's done events and unknown ones say nothing of the response.
    _handlers: ClassVar[dict[type[Any], Callable[[ResponseAccumulator, Any], None]]] = {
        on.ResponseCreated: _create,
        on.ResponseQueued: _report,
        on.ResponseInProgress: _report,
        on.ResponseCompleted: _end,
        on.ResponseIncomplete: _end,
        on.ResponseFailed: _end,
        on.ErrorEvent: _fail,
        on.OutputItemAdded: _add_item,
        on.OutputItemDone: _finish_item,
        on.ContentPartAdded: _take_part,
        on.ContentPartDone: _take_part,
        on.OutputTextAnnotationAdded: _annotate,
        on.ReasoningSummaryPartAdded: _take_paragraph,
        on.ReasoningSummaryPartDone: _take_paragraph,
        on.ShellCallOutputContentDelta: _add_shell_output,
        on.ShellCallOutputContentDone: _settle_shell_output,
        on.ImageGenerationCallPartialImage: _expect_image,
        **dict.fromkeys(_WHOLES, _settle),
        **dict.fromkeys(_STAGES, _set_status),
    }
