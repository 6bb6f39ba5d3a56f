"""Merges the chunks of one stream into the completion.

Rules
1. Choices are told apart by their index, wherever they stand in a chunk; tool calls by index and id.
2. In a delta, text is joined, objects merge field by field, lists of objects merge by their `index`, other lists grow.
   Fields that this version does not know follow the same rule.
3. What names a thing (role, id, type, name and the like), numbers and flags are set once: gateways repeat them.
4. Beside the deltas, the last value that says something stands; of id, model and time of creation the first.
5. Null never takes anything back.
6. The answer is whole once every choice seen has its finish reason. More may follow: usage, moderation, another choice.
   The format's own last word, `[DONE]`, is no chunk and never comes here; only a failure closes.

This module never reads JSON and never waits. Adding is linear in the number of chunks; a snapshot costs what the reply
is long, never what it was pieced together from.
"""

from __future__ import annotations

import base64
from operator import itemgetter
from typing import Any, TypeVar

from dgrid_async.apis.chat_completions.events import (
    ChatCompletionChunk,
    ChoiceDelta,
    ChoiceDeltaAudio,
    ChoiceDeltaToolCall,
    ChunkChoice,
    Event,
)
from dgrid_async.apis.chat_completions.types import (
    ChatCompletion,
    ChatCompletionMessageToolCall,
    ChatCompletionTokenLogprob,
    Choice,
    ChoiceLogprobs,
    CompletionUsage,
)
from dgrid_async.copies import copied
from dgrid_async.endpoint import Progress
from dgrid_async.pieces import PIECES, fold, join
from dgrid_async.scalars import to_bytes
from dgrid_async.structuring import structure
from dgrid_async.wire import wire_of

__all__ = ["ChatCompletionAccumulator", "complete_tool_calls", "failure_in"]

T = TypeVar("T")

OPEN = Progress.OPEN

# Text that names a thing instead of adding to one. `format` and `signature` stand in reasoning details.
_ONCE = frozenset({"role", "id", "type", "name", "format", "signature"})
# Where the first value that says something stands.
_FIRST = frozenset({"id", "created", "model"})
# What every chunk has and has its own place, or says nothing of the reply.
_ROUTINE = _FIRST | {"object", "choices", "usage", "obfuscation", "service_tier", "system_fingerprint"}
# The same of a choice; a `message` beside the delta only repeats it.
_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs", "message"})
# What some gateways say in each delta, of which only the content is new.
_REPEATED = frozenset({"role", "content"})
# Deeper than any known format goes; what lies below is kept whole, or the interpreter's recursion limit would be met.
_MAX_DEPTH = 16


class ChatCompletionAccumulator:
    """The completion under way; see `endpoint.Accumulator`."""

    def __init__(self) -> None:
        self.progress = Progress.OPEN
        self.failure: Any = None
        # The mutable state: the reply's own fields (None before the first chunk); of a chunk that adds nothing to them,
        # the names, the fingerprint and the tier; the image model's contents; the choices by index; how many of them
        # have no finish reason yet; the last usage; and what every snapshot is a copy of until more changes than texts
        # that grow, beside the choices whose texts it holds.
        self._head: dict[str, Any] | None = None
        self._routine: list[str] | None = None
        self._fingerprint: str | None = None
        self._tier: str | None = None
        self._contents: list[Any] = []
        self._choices: dict[int, _Choice] = {}
        self._unfinished = 0
        self._usage: CompletionUsage | None = None
        self._template: ChatCompletion | None = None
        self._templated: list[_Choice] = []

    @property
    def usage(self) -> CompletionUsage | None:
        """The last usage that was not null."""
        return self._usage

    def add(self, event: Event) -> None:
        """Take in one event.

        Raises:
            ValueError: It belongs to a second stream, or holds sound that is no base64.
        """
        if not isinstance(event, ChatCompletionChunk):
            return
        try:
            wire = event._wire  # noqa: SLF001 -- `extra` and `to_dict()` make copies, which each chunk would pay for
        except AttributeError:  # the caller made it
            self.add(structure(event.to_dict(), ChatCompletionChunk))
            return
        if [*wire] != self._routine or event.system_fingerprint != self._fingerprint or event.service_tier != self._tier:
            self._take_head(event, wire)
        if event.usage is not None:
            self._usage = event.usage
            self._template = None
        choices = event.choices
        if choices and self.progress is not OPEN:
            self._refuse_second_stream(event)
        for choice in choices:
            said = choice._wire  # noqa: SLF001 -- as above
            state = self._choices.get(choice.index)
            if state is None or len(choices) > 1:
                state = self._choice(choice, choices)
            content = choice.delta.content
            if content is not None:
                pieces = state.content
                if not pieces:
                    self._template = None
                pieces.append(content)
                if not len(pieces) % PIECES:
                    fold(pieces)
            fields = said.get("delta")
            if fields and (content is None or len(fields) > 1) and not state.grow(choice.delta, fields):
                self._template = None
                state.add(choice.delta, fields)
            if choice.finish_reason:
                self._template = None
                self._finish(state, choice)
            if choice.logprobs is not None:
                state.add_logprobs(choice.logprobs)
            if not _CHOICE.issuperset(said):
                self._template = None
                state.add_extra(said)

    def snapshot(self) -> ChatCompletion | None:
        """Return the completion so far, or None before the first chunk."""
        if self._head is None:
            return None
        if self._template is None:
            self._templated = [self._choices[index] for index in sorted(self._choices)]
            body = {**self._head, "object": "chat.completion", "choices": [state.body() for state in self._templated]}
            if self._contents:
                body["contents"] = list(self._contents)
            if self._usage is not None:
                body["usage"] = self._usage.to_dict()
            self._template = copied(structure(body, ChatCompletion))  # copies of a copy are cheaper
        completion = copied(self._template)
        for place, state in enumerate(self._templated):
            state.fill(completion.choices[place])
        return completion

    def _take_head(self, chunk: ChatCompletionChunk, wire: dict[str, Any]) -> None:
        """Take in what a chunk says of the reply itself; nearly every chunk says nothing new."""
        head = self._head = {} if self._head is None else self._head
        self._template = None
        for name, value in wire.items():
            if name in {"object", "choices", "usage", "obfuscation"} or value in (None, "", {}, []):
                continue
            if name == "contents" and isinstance(value, list):
                self._take_contents(value)
            elif name == "moderation" and isinstance(value, dict):
                said = {key: item for key, item in value.items() if item is not None}
                head[name] = {**head.get(name, {}), **said}
            elif name not in _FIRST or not head.get(name):
                head[name] = value
        self._fingerprint, self._tier = chunk.system_fingerprint, chunk.service_tier
        settled = _ROUTINE.issuperset(wire) and _FIRST.issubset(head)
        self._routine = [*wire] if settled else None

    def _take_contents(self, items: list[Any]) -> None:
        # It may come in parts or as a whole that grows; nothing on the wire says which.
        if items[: len(self._contents)] == self._contents:
            self._contents = list(items)
        else:
            self._contents.extend(items)

    def _refuse_second_stream(self, chunk: ChatCompletionChunk) -> None:
        """Raise ValueError for content under another id after the answer was whole."""
        first = self._head.get("id") if self._head else None
        if chunk.id and first and chunk.id != first:
            for choice in chunk.choices:
                fields = wire_of(choice).get("delta") or {}
                if any(value for name, value in fields.items() if name != "role"):
                    raise ValueError(f"a second stream, {chunk.id!r}, begins after {first!r} had ended")

    def _choice(self, choice: ChunkChoice, choices: list[ChunkChoice]) -> _Choice:
        index = choice.index
        if len(choices) > 1 and wire_of(choice).get("index") is None:
            index = next(place for place, other in enumerate(choices) if other is choice)
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _Choice(index)
            self._unfinished += 1
            if self.failure is None:
                self.progress = Progress.OPEN
        return state

    def _finish(self, state: _Choice, choice: ChunkChoice) -> None:
        if state.finish_reason is None:
            self._unfinished -= 1
            if not self._unfinished and self.failure is None:
                self.progress = Progress.COMPLETE
        state.finish_reason = choice.finish_reason
        failure = failure_in(choice.finish_reason, wire_of(choice).get("error"))
        if failure is not None:
            self.failure = failure
            self.progress = Progress.CLOSED


def failure_in(finish_reason: str | None, error: Any) -> Any:
    """Return the error that ended a choice, or None where it ended well.

    Args:
        finish_reason: As it came; `error` and names that end in `_error` say that the model failed.
        error: What the choice says of it, if anything.
    """
    if not finish_reason or (finish_reason != "error" and not finish_reason.endswith("_error")):
        return None
    return error or {"message": f"the answer ended with finish_reason {finish_reason!r}", "type": finish_reason}


def complete_tool_calls(message: dict[str, Any]) -> None:
    """Give each tool call of a message the `type` that a gateway left out, so that it can be told what it is."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and call.get("type") is None:
            call["type"] = "custom" if isinstance(call.get("custom"), dict) else "function"


class _Choice:
    """One choice under way."""

    __slots__ = ("_calls", "_extra", "_logprobs", "_message", "content", "finish_reason", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.content: list[str] = []
        self.finish_reason: str | None = None
        self._message = _Fields()
        self._calls: _ToolCalls | None = None
        self._logprobs: _Logprobs | None = None
        self._extra: dict[str, Any] = {}

    def grow(self, delta: ChoiceDelta, fields: dict[str, Any]) -> bool:
        """Take in a delta that adds to the arguments of one call, or to nothing but the content; return whether it is one."""
        deltas = delta.tool_calls
        if deltas:
            calls = self._calls
            one = calls is not None and len(fields) == 1 and len(deltas) == 1
            return one and calls.grow(deltas[0], fields["tool_calls"][0])  # type: ignore[union-attr]  # it is there
        message = self._message
        return fields.keys() == _REPEATED and "content" in message and message.get("role") == delta.role

    def add(self, delta: ChoiceDelta, fields: dict[str, Any]) -> None:
        """Take in what a delta brings beside its content."""
        for name, value in fields.items():
            if name == "content":
                self._message.setdefault("content", None)  # the pieces go in its place, if there are any
            elif name == "tool_calls" and delta.tool_calls:
                if self._calls is None:
                    self._calls = _ToolCalls()
                for call, call_fields in zip(delta.tool_calls, value, strict=True):
                    self._calls.add(call, call_fields)
            elif name == "audio" and delta.audio is not None:
                self._add_audio(delta.audio, value)
            else:
                self._message.merge(name, value)

    def _add_audio(self, delta: ChoiceDeltaAudio, fields: dict[str, Any]) -> None:
        audio = self._message.get("audio")
        if audio is None:
            audio = self._message["audio"] = _Fields()
        for name, value in fields.items():
            if name == "data" and delta.data is not None:
                audio.setdefault("data", _Sound()).append(delta.data)
            elif name != "data":
                audio.merge(name, value)

    def add_logprobs(self, logprobs: ChoiceLogprobs) -> None:
        """Take in the tokens of a chunk."""
        if self._logprobs is None:
            self._logprobs = _Logprobs()
        self._logprobs.add(logprobs)

    def add_extra(self, fields: dict[str, Any]) -> None:
        """Take in the fields of a choice that this version does not know."""
        for name, value in fields.items():
            if name not in _CHOICE and (value or name not in self._extra):
                self._extra[name] = value

    def fill(self, choice: Choice) -> None:
        """Bring a copy of this choice, as it was at some time since only texts grew, up to now."""
        if self._logprobs is not None:
            choice.logprobs = self._logprobs.snapshot()
        if self.content:
            choice.message.content = join(self.content)
        if self._calls is not None:
            self._calls.fill(choice.message.tool_calls or [])

    def body(self) -> dict[str, Any]:
        """Return the JSON of the choice so far, logprobs left out."""
        message = self._message.plain()
        if self.content:
            message["content"] = join(self.content)
        if self._calls is not None:
            message["tool_calls"] = self._calls.plain()
            complete_tool_calls(message)
        return {"index": self.index, "message": message, "finish_reason": self.finish_reason, **self._extra}


class _Logprobs:
    """The tokens of one choice under way."""

    __slots__ = ("_content", "_extra", "_refusal")

    def __init__(self) -> None:
        self._content: list[ChatCompletionTokenLogprob] | None = None
        self._refusal: list[ChatCompletionTokenLogprob] | None = None
        self._extra: dict[str, Any] = {}

    def add(self, logprobs: ChoiceLogprobs) -> None:
        """Take in the tokens of a chunk."""
        self._content = _longer(self._content, logprobs.content)
        self._refusal = _longer(self._refusal, logprobs.refusal)
        self._extra |= logprobs.extra

    def snapshot(self) -> ChoiceLogprobs:
        """Return the tokens so far: the lists are new, the tokens in them those of the chunks."""
        made = structure(dict(self._extra), ChoiceLogprobs)
        made.content = _longer(None, self._content)
        made.refusal = _longer(None, self._refusal)
        return made


def _longer(tokens: list[T] | None, more: list[T] | None) -> list[T] | None:
    """Return a list with more at its end, or None where neither was there; the second list stays as it is."""
    if more is not None:
        tokens = [] if tokens is None else tokens
        tokens += more
    return tokens


class _ToolCalls:
    """The tool calls of one message.

    An index names a call, but gateways leave it out, begin it above 0, or give it to several calls. So a call is
    continued by what has its index, unless that brings another id and a name of its own; without an index by what has
    its id; and with neither the last one is, unless another name shows that it is over.
    """

    __slots__ = ("_by_id", "_by_index", "_calls", "_growing", "_last", "_texts")

    def __init__(self) -> None:
        self._calls: list[tuple[int, _Fields]] = []
        self._by_index: dict[int, _Fields] = {}
        self._by_id: dict[tuple[int | None, str], _Fields] = {}
        self._last: _Fields | None = None
        # Until more of a call changes than the text of its arguments: the pieces of these by the call's index, as far as
        # they were asked for, and by its place in the last `plain`.
        self._growing: dict[int, list[str]] = {}
        self._texts: list[tuple[int, list[str]]] = []

    def add(self, delta: ChoiceDeltaToolCall, fields: dict[str, Any]) -> None:
        """Take in a piece of a call."""
        self._growing.clear()
        # Nearly every piece has an index that is known and no id.
        call = None if delta.id else self._by_index.get(delta.index)  # type: ignore[arg-type]  # None finds none
        call = call or self._find(delta)
        if call is None:
            call = _Fields()
            last_index = self._calls[-1][0] if self._calls else 0
            self._calls.append((last_index if delta.index is None else delta.index, call))
        if delta.id and not call.get("id"):
            self._by_id[delta.index, delta.id] = call
        if delta.index is not None:
            self._by_index[delta.index] = call
        self._last = call
        for name, value in fields.items():
            if name != "index":
                call.merge(name, value)

    def grow(self, delta: ChoiceDeltaToolCall, fields: dict[str, Any]) -> bool:
        """Take in a piece that only adds to the arguments of a call, and return whether it is one."""
        index = delta.index
        if index is None:
            return False
        pieces = self._growing.get(index)
        if pieces is None:
            call = self._by_index.get(index)
            text = None if call is None else _arguments(call)
            if text is None:
                return False
            pieces = self._growing[index] = text.pieces
        said = fields.get("function")
        if not said or len(said) > 1 or len(fields) > 2:  # noqa: PLR2004 -- a function, and the index that is known
            return False
        piece = said.get("arguments")
        if piece.__class__ is not str:
            return False
        pieces.append(piece)
        if not len(pieces) % PIECES:
            fold(pieces)
        self._last = self._by_index[index]
        return True

    def fill(self, calls: list[ChatCompletionMessageToolCall]) -> None:
        """Bring copies of these calls up to now, as `_Choice.fill`."""
        for place, pieces in self._texts:
            calls[place].function.arguments = join(pieces)  # type: ignore[union-attr]  # else it has no such text

    def _in_order(self) -> list[_Fields]:
        """Return the calls in the order of their indices and then of their coming."""
        return [call for _, call in sorted(self._calls, key=itemgetter(0))]

    def plain(self) -> list[dict[str, Any]]:
        """Return the JSON of the calls so far, in order."""
        under_way = self._in_order()
        texts = ((place, _arguments(call)) for place, call in enumerate(under_way))
        self._texts = [(place, text.pieces) for place, text in texts if text is not None]
        calls = [call.plain() for call in under_way]
        for call in calls:
            # A request that takes the call back must have the text, be it empty.
            if isinstance(call.get("function"), dict) and call["function"].get("arguments") is None:
                call["function"]["arguments"] = ""
        return calls

    def _find(self, delta: ChoiceDeltaToolCall) -> _Fields | None:
        """Return the call that a piece continues, or None for a new one."""
        if delta.id:
            known = self._by_id.get((delta.index, delta.id))
            if known is not None or delta.index is None:
                return known
        if delta.index is None:
            last = self._last
            return None if last is not None and _named_otherwise(last, delta) else last
        known = self._by_index.get(delta.index)
        if known is not None and delta.id and known.get("id") and _name(delta):
            return None  # an id of its own alone would not do: some gateways make up another for each piece
        return known


def _arguments(call: _Fields) -> _Text | None:
    """Return the arguments of a call of a function, where they are a text that can grow by itself."""
    if call.get("type", "function") != "function" or "custom" in call:
        return None
    function = call.get("function")
    text = function.get("arguments") if type(function) is _Fields else None
    return text if type(text) is _Text else None


def _name(delta: ChoiceDeltaToolCall) -> str | None:
    return (delta.function and delta.function.name) or (delta.custom and delta.custom.name) or None


def _named_otherwise(call: _Fields, delta: ChoiceDeltaToolCall) -> bool:
    known = (call.get("function") or call.get("custom") or {}).get("name")
    name = _name(delta)
    return bool(known and name and known != name)


class _Fields(dict[str, Any]):
    """A JSON object under way: its texts are `_Text`, its objects `_Fields`, its lists `_Items`."""

    __slots__ = ()

    def merge(self, name: str, value: Any, depth: int = 0) -> None:
        """Take in one field of a delta."""
        old = self.get(name)
        kind = type(value)
        if type(old) is _Text and kind is str:
            old.append(value)
        elif old is None or (old == "" and kind is str):
            self[name] = _under_way(name, value, depth)
        elif kind is dict and type(old) is _Fields:
            for key, item in value.items():
                old.merge(key, item, depth + 1)
        elif kind is list and type(old) is _Items:
            old.extend(value, depth + 1)

    def plain(self) -> dict[str, Any]:
        """Return the JSON of the object so far."""
        return {name: value.plain() if isinstance(value, _UNDER_WAY) else value for name, value in self.items()}


class _Items:
    """A JSON list under way."""

    __slots__ = ("_by_index", "_by_kind", "_items")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._by_index: dict[int, _Fields] = {}
        self._by_kind: dict[tuple[int, Any], _Fields] = {}

    def extend(self, items: list[Any], depth: int) -> None:
        """Take in a list: objects with an index that is known continue those, unless they are of another type."""
        for item in items:
            index = item.get("index") if type(item) is dict else None
            if type(index) is not int:
                self._items.append(item)
                continue
            kind = item.get("type") if isinstance(item.get("type"), str) else None
            known = self._by_kind.get((index, kind)) if kind else self._by_index.get(index)
            if known is None:
                known = _Fields()
                self._items.append(known)
            self._by_index[index] = self._by_kind[index, kind] = known
            for key, value in item.items():
                known.merge(key, value, depth + 1)

    def plain(self) -> list[Any]:
        """Return the JSON of the list so far."""
        return [item.plain() if type(item) is _Fields else item for item in self._items]


class _Text:
    """A text under way."""

    __slots__ = ("pieces",)

    def __init__(self, piece: str) -> None:
        self.pieces = [piece]

    def append(self, piece: str) -> None:
        """Take in a piece."""
        self.pieces.append(piece)
        if not len(self.pieces) % PIECES:
            fold(self.pieces)

    def plain(self) -> str:
        """Return the text so far."""
        return join(self.pieces)


class _Sound:
    """Bytes under way whose base64 comes in pieces: each encoded for itself, or one text cut anywhere."""

    __slots__ = ("_encoded", "_tail", "_text")

    def __init__(self) -> None:
        self._encoded: list[str] = []  # of whole groups of three bytes
        self._tail = b""  # the bytes of the group under way
        self._text = ""  # characters that are no whole group of four yet

    def append(self, piece: str) -> None:
        """Take in a piece.

        Raises:
            ValueError: It is no base64.
        """
        text = self._text + piece
        cut = len(text) // 4 * 4
        self._text = text[cut:]
        data = self._tail + to_bytes(text[:cut], "ChoiceDeltaAudio.data")
        whole = len(data) // 3 * 3
        self._encoded.append(base64.b64encode(data[:whole]).decode())
        self._tail = data[whole:]

    def plain(self) -> str:
        """Return the base64 of the bytes so far."""
        # Two characters of a group say a byte; the sender may have left out the padding after them.
        rest = to_bytes(self._text, "ChoiceDeltaAudio.data") if len(self._text) > 1 else b""
        return join(self._encoded) + base64.b64encode(self._tail + rest).decode()


_UNDER_WAY = (_Text, _Fields, _Items, _Sound)


def _under_way(name: str, value: Any, depth: int) -> Any:
    """Return a field's first value in the form that later ones are merged into."""
    kind = type(value)
    if kind is str:
        return value if name in _ONCE else _Text(value)
    if depth < _MAX_DEPTH and kind is dict:
        fields = _Fields()
        for key, item in value.items():
            fields.merge(key, item, depth + 1)
        return fields
    if depth < _MAX_DEPTH and kind is list:
        items = _Items()
        items.extend(value, depth + 1)
        return items
    return value
