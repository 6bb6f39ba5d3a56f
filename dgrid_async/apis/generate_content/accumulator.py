"""Merges the events of one stream into one reply.

Rules
1. Candidates are told apart by `index`, by their place in the list where they have none.
2. Parts are appended. Neighbouring texts become one where nothing but the text differs, so reasoning joins reasoning
   and never the answer. A part with a thought signature stays alone: it must go back as it came.
3. A streamed function call (`willContinue`, `partialArgs`) becomes one whole call; its pieces are put together by their
   paths.
4. Counts are running totals: the last one holds. Safety ratings replace those of their category; lists of sources, of
   addresses and of log probabilities grow; any other field keeps its last value. A null says nothing.
5. The answer is whole when every candidate seen has a finish reason, or the prompt was blocked. More may follow then,
   such as the usage: the format has no last word of its own.

Nothing here is an error: what does not fit is kept as it came.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from dgrid_async.apis.generate_content.events import Event
from dgrid_async.apis.generate_content.types import (
    Candidate,
    FunctionCall,
    GenerateContentResponse,
    Part,
    PartialArg,
    UsageMetadata,
)
from dgrid_async.copies import copied
from dgrid_async.endpoint import Progress
from dgrid_async.pieces import PIECES, fold
from dgrid_async.structuring import structure
from dgrid_async.wire import wire_names, wire_of

__all__ = ["GenerateContentAccumulator"]

Wire = dict[str, Any]

_PLAIN: Wire = {}
"""What a text is beside its words when it is nothing else."""


class GenerateContentAccumulator:
    """The reply so far.

    Attributes:
        progress: By rule 5; never `CLOSED`.
        failure: Always None: the format's only failure is a top-level `error`, which never gets here.
    """

    def __init__(self) -> None:
        self.progress = Progress.OPEN
        self.failure: Any = None
        # The mutable state: the last values of the top-level fields; of an event that changes none of them, the model, the id
        # and how many fields it has without its counts; the candidates by index, how many of them have no finish reason yet,
        # and the last counts.
        self._fields: Wire | None = None
        self._routine = -1
        self._model: str | None = None
        self._id: str | None = None
        self._candidates: dict[int, _Candidate] = {}
        self._unfinished = 0
        self._usage: UsageMetadata | None = None

    @property
    def usage(self) -> UsageMetadata | None:
        """The counts so far, or None."""
        return self._usage

    def add(self, event: Event) -> None:
        """Take in one event."""
        try:
            wire = event._wire  # noqa: SLF001 -- as `wire_of`, without its call for each event
        except AttributeError:  # the caller made it
            self.add(structure(event.to_dict(), GenerateContentResponse))
            return
        candidates = event.candidates
        usage = event.usage_metadata
        if usage is not None and usage._wire:  # noqa: SLF001 -- as above
            self._usage = usage
        # Candidates, counts, model and id: then so many fields are these and no others.
        if (
            len(wire) != (self._routine if usage is None else self._routine + 1)
            or not candidates
            or event.model_version != self._model
            or event.response_id != self._id
        ):
            if not candidates and not wire.keys() & wire_names(GenerateContentResponse).keys():
                return  # not an event of this format: a gateway's own
            self._take_fields(event, wire)
        for position, candidate in enumerate(candidates):
            index = candidate.index
            state = self._candidates.get(position if index is None else index)
            if state is None:
                state = self._begin(position if index is None else index)
            state.add(candidate)
            if candidate.finish_reason and not state.finished:
                state.finished = True
                self._unfinished -= 1
                self._settle()

    def snapshot(self) -> GenerateContentResponse | None:
        """Return the reply so far as an object of its own, or None before the first event."""
        if self._fields is None:
            return None
        reply = dict(self._fields)
        if self._candidates:
            reply["candidates"] = [self._candidates[index].merged() for index in sorted(self._candidates)]
        if self._usage is not None:
            reply["usageMetadata"] = wire_of(self._usage)
        return structure(copied(reply), GenerateContentResponse)

    def _take_fields(self, event: Event, wire: Wire) -> None:
        """Take in what an event says of the reply itself; nearly every event says nothing new."""
        fields = self._fields = {} if self._fields is None else self._fields
        before = fields.get("promptFeedback")
        fields.update(_without_nulls(wire))
        if event.prompt_feedback is not None:
            fields["promptFeedback"] = {**(before or {}), **_without_nulls(wire["promptFeedback"])}
            self._settle()
        self._model, self._id = event.model_version, event.response_id
        self._routine = 1 + (self._model is not None) + (self._id is not None)

    def _begin(self, index: int) -> _Candidate:
        state = self._candidates[index] = _Candidate()
        self._unfinished += 1
        self._settle()
        return state

    def _settle(self) -> None:
        blocked = (self._fields or {}).get("promptFeedback", {}).get("blockReason")
        whole = blocked or (self._candidates and not self._unfinished)
        self.progress = Progress.COMPLETE if whole else Progress.OPEN


class _Candidate:
    """One candidate so far, in the wire's words."""

    __slots__ = ("_call", "_content", "_fields", "_kind", "_parts", "_pieces", "finished")

    def __init__(self) -> None:
        self.finished = False
        # The mutable state: fields beside the content, the content's beside its parts (None: no content came), the
        # parts, the pieces of the last part while it is a text that may grow, what that text is beside its words (None:
        # the last part is closed), and the function call under way.
        self._fields: Wire = {}
        self._content: Wire | None = None
        self._parts: list[Wire | _Call] = []
        self._pieces: list[str] = []
        self._kind: Wire | None = None
        self._call: _Call | None = None

    def add(self, candidate: Candidate) -> None:
        content = candidate.content
        if content is not None:
            wire = content._wire  # noqa: SLF001 -- of what was decoded; see `wire_of`
            known = self._content
            if known is None or "role" not in known or len(wire) > 2:  # noqa: PLR2004 -- `parts` and `role` alone
                self._content = {**(known or {}), **_without_nulls(wire)}
            for part in content.parts:
                text = part.text
                if text and self._kind is _PLAIN and len(part._wire) == 1:  # noqa: SLF001 -- as above
                    pieces = self._pieces
                    pieces.append(text)
                    if not len(pieces) % PIECES:
                        fold(pieces)
                elif text is None:
                    self._add_other(part)
                else:
                    self._add_text(part, text)
        wire = candidate._wire  # noqa: SLF001 -- as above
        if len(wire) > 2 or content is None or candidate.index is None:  # noqa: PLR2004 -- `content` and `index` alone
            self._add_fields(wire)
        elif "index" not in self._fields:
            self._fields["index"] = wire["index"]

    def merged(self) -> Wire:
        """Return the candidate; shares its values with the state."""
        self._join()
        merged = dict(self._fields)
        if self._content is not None:
            parts = [part.merged() if isinstance(part, _Call) else part for part in self._parts]
            merged["content"] = {**self._content, "parts": parts}
        return merged

    def _add_text(self, part: Part, text: str) -> None:
        wire = wire_of(part)
        if part.thought_signature:
            self._append(copied(wire))
            return
        # A signature that is empty signs nothing, and `thought` that is false says nothing.
        kind = {name: value for name, value in wire.items() if name != "text" and value not in (None, False, "")}
        if _same(kind, self._kind):
            self._pieces.append(text)
        elif text or kind or not self._parts:
            self._append(copied(wire))
            self._kind = kind or _PLAIN
            self._pieces = [text]

    def _add_other(self, part: Part) -> None:
        call = part.function_call
        if call is None:
            self._append(copied(wire_of(part)))
        elif self._call is not None and self._call.goes_on_with(call):
            if not self._call.add(part, call):
                self._call = None
        elif call.will_continue or call.partial_args:
            streamed = _Call()
            self._call = streamed if streamed.add(part, call) else None
            self._append(streamed)
        else:
            self._append(copied(wire_of(part)))

    def _append(self, part: Wire | _Call) -> None:
        self._join()
        self._kind = None
        self._parts.append(part)

    def _join(self) -> None:
        """Write the text that is under way into its part."""
        if self._kind is not None:
            part = self._parts[-1]
            joined = "".join(self._pieces)
            self._pieces = [joined]
            part["text"] = joined  # type: ignore[index]  # a text is under way: the last part is its dict

    def _add_fields(self, wire: Wire) -> None:
        for name, value in wire.items():
            if value is None or name == "content":
                continue
            merge = _MERGE.get(name)
            self._fields[name] = value if merge is None else merge(self._fields.get(name), value)


# ----------------------------------------------------------------------------------------------------- candidate fields


def _ratings(before: list[Wire] | None, ratings: list[Wire]) -> list[Wire]:
    merged = list(before or ())
    places = {rating.get("category"): place for place, rating in enumerate(merged)}
    for rating in ratings:
        place = places.setdefault(rating.get("category"), len(merged))
        merged[place : place + 1] = [rating]
    return merged


def _sources(before: Wire | None, new: Wire) -> Wire:
    return _grown(before, new, restated=True)


def _grown(before: Wire | None, new: Wire, *, restated: bool = False) -> Wire:
    """Return an object whose lists have grown by another's; changes the first where there is one.

    Args:
        before: The object so far, of our own making.
        new: What came.
        restated: A list that begins with all that was there says it again, and only the rest of it is new.
    """
    merged = {} if before is None else before
    for name, value in new.items():
        known = merged.get(name)
        if value.__class__ is not list:
            if value is not None:
                merged[name] = value
        elif isinstance(known, list):
            said = len(known) if restated and _same(value[: len(known)], known) else 0
            known.extend(value[said:])
        else:
            merged[name] = list(value)
    return merged


def _logprobs(before: Wire | None, new: Wire) -> Wire:
    total = (before or {}).get("logProbabilitySum")
    merged = _grown(before, new)
    if total is not None and new.get("logProbabilitySum") is not None:
        # Each sum is that of its own tokens, as each list is.
        merged["logProbabilitySum"] = total + new["logProbabilitySum"]
    return merged


_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    "safetyRatings": _ratings,
    "citationMetadata": _sources,
    "groundingMetadata": _sources,
    "urlContextMetadata": _sources,
    "logprobsResult": _logprobs,
}

# ---------------------------------------------------------------------------------------------- streamed function calls

# Deeper paths are kept as they came: what follows them would have to be as deep.
_MAX_DEPTH = 64
# What is put together here instead of being kept from the last piece.
_CALL_IN_PIECES = {"args", "partialArgs", "willContinue"}
# Source: RFC 9535, 2.5.1 and 2.3.3; wildcards, slices and filters name no single place.
_STEP = re.compile(r"""\.([^.\[\]'"*\s]+)|\[(\d{1,9})\]|\[('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]""")


class _Call:
    """A function call that comes in pieces."""

    __slots__ = ("_args", "_call", "_misfits", "_part", "_texts", "_under_way")

    def __init__(self) -> None:
        # The mutable state: the part's and the call's other fields, the arguments (None: none came), the strings under
        # way by their path, the pieces that fit nowhere, and whether more is to follow.
        self._part: Wire = {}
        self._call: Wire = {}
        self._args: Any = None
        self._texts: dict[str, list[str]] = {}
        self._misfits: list[Wire] = []
        self._under_way = True

    def goes_on_with(self, call: FunctionCall) -> bool:
        """Return whether a call is a further piece of this one: it has no name, or repeats name and id."""
        same_id = call.id == self._call.get("id")
        if call.name:
            return bool(call.id) and same_id and call.name == self._call.get("name")
        return not call.id or same_id

    def add(self, part: Part, call: FunctionCall) -> bool:
        """Take in a piece; return whether more is to follow."""
        self._part.update(_without_nulls(wire_of(part)))
        self._call.update(_without_nulls(wire_of(call)))
        if call.args is not None:
            both = isinstance(self._args, dict) and isinstance(call.args, dict)
            self._args = {**self._args, **copied(call.args)} if both else copied(call.args)
        for piece in call.partial_args or ():
            self._add_piece(piece)
        self._under_way = bool(call.will_continue)
        return self._under_way

    def merged(self) -> Wire:
        call = {name: value for name, value in self._call.items() if name not in _CALL_IN_PIECES}
        for path, pieces in self._texts.items():
            pieces[:] = ["".join(pieces)]
            self._put(path, pieces[0])
        if self._args is not None:
            call["args"] = self._args
        if self._misfits:
            call["partialArgs"] = self._misfits
        if self._under_way:
            call["willContinue"] = True
        return {**self._part, "functionCall": call}

    def _add_piece(self, piece: PartialArg) -> None:
        wire, path = wire_of(piece), piece.json_path or ""
        pieces = self._texts.get(path)
        if pieces is not None:
            pieces.append(piece.string_value or "")
            if not piece.will_continue:
                del self._texts[path]
                self._put(path, "".join(pieces))
            return
        if piece.string_value is not None:
            value: Any = piece.string_value
        elif piece.bool_value is not None:
            value = piece.bool_value
        elif piece.number_value is not None:
            value = wire["numberValue"]
        elif "nullValue" in wire:
            value = None
        else:
            return
        if not self._put(path, value):
            self._misfits.append(copied(wire))
        elif piece.will_continue and piece.string_value is not None:
            self._texts[path] = [value]

    def _begun(self) -> Any:
        return {} if self._args is None else self._args

    def _put(self, path: str, value: Any) -> bool:
        """Put a value in its place among the arguments; return False where it has none, and nothing is changed."""
        steps = list(_steps(path))
        if not steps or None in steps or len(steps) > _MAX_DEPTH:
            return False
        args = place = self._begun()
        for depth, step in enumerate(steps):
            last = depth == len(steps) - 1
            there = _there(place, step)
            if there is None:
                return False
            if not there and any(later.__class__ is int and later for later in steps[depth + 1 :]):
                return False  # a list that does not begin at its beginning
            if last or not there:
                item: Any = value if last else [] if steps[depth + 1].__class__ is int else {}
                if there or place.__class__ is dict:
                    place[step] = item
                else:
                    place.append(item)
            place = place[step]
        self._args = args
        return True


def _there(place: Any, step: Any) -> bool | None:
    """Return whether a container has a step already, or None where it cannot be taken."""
    if place.__class__ is dict and step.__class__ is str:
        return step in place
    if place.__class__ is list and step.__class__ is int and step <= len(place):
        return bool(step < len(place))
    return None


def _steps(path: str) -> Iterator[str | int | None]:
    """Yield the steps of a JSON path, None for what is no step."""
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or path[0] != "$":
            yield None
            return
        name, place, quoted = match.groups()
        yield name if name is not None else int(place) if place is not None else _unquoted(quoted)
        at = match.end()


def _unquoted(quoted: str) -> str | None:
    text = quoted[1:-1]
    if quoted[0] == "'":
        text = re.sub(r'\\(.)|"', lambda found: {"'": "'", None: '\\"'}.get(found[1], found[0]), text)
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return None


# ----------------------------------------------------------------------------------------------------------------
# values


def _without_nulls(wire: Wire) -> Wire:
    return {name: value for name, value in wire.items() if value is not None}


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except RecursionError:  # JSON may be nested more deeply than comparing may go
        return False
