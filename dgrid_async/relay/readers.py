"""What each of the four formats says in an event, told to the blocks of one answer: a reader each, one `read` per event.

Events are read by their fields; no format is imported. The rules by which pieces find the block that they belong to are those
of the formats' accumulators, so that the frames joined are the reply.
Never waits, and never fails on what it does not know: that has no frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from dgrid_async import codec
from dgrid_async.relay.blocks import Blocks

__all__ = ["READERS", "Counts", "Reader"]

Counts = dict[str, int]
_BLANK: tuple[Any, ...] = ()


class Reader(Protocol):
    """What tells the blocks of one answer of its events."""

    def read(self, event: Any) -> None:
        """Take in one event."""

    def counts(self, usage: Any) -> Counts:
        """Return the counts of a usage object under the names that all formats share."""
        raise NotImplementedError


class MessagesReader:
    """Reads Claude's events: blocks by their index, which gateways use twice."""

    def __init__(self, blocks: Blocks) -> None:
        # The mutable state beside the blocks: the key and kind of the block at each index, whether it was made by a delta
        # that came before its start, and the input that came with a tool's start.
        self._blocks = blocks
        self._at: dict[int, tuple[Hashable, str]] = {}
        self._early: set[int] = set()
        self._inputs: dict[Hashable, Any] = {}

    def read(self, event: Any) -> None:
        kind = event.type
        if kind == "content_block_delta":
            self._delta(event.index, event.delta)
        elif kind == "content_block_start":
            self._start(event.index, event.content_block)
        elif kind == "content_block_stop":
            self._stop(event.index)
        elif kind == "message_start":
            message = event.message
            self._blocks.start(message.id, message.model)
            for index, block in enumerate(message.content):
                self._start(index, block)
        elif kind == "message_delta" and event.delta.stop_reason:
            self._blocks.finishes[0] = event.delta.stop_reason

    def counts(self, usage: Any) -> Counts:
        cached = usage.cache_read_input_tokens
        details = usage.output_tokens_details
        return _counts(
            usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (cached or 0),
            usage.output_tokens,
            details and details.thinking_tokens,
            cached,
        )

    def _delta(self, index: int, delta: Any) -> None:
        if delta is None:
            return
        kind = delta.type
        if kind == "text_delta":
            self._blocks.text(self._key(index, "text"), 0, delta.text)
        elif kind == "thinking_delta":
            self._blocks.reasoning(self._key(index, "thinking"), 0, delta.thinking)
        elif kind == "input_json_delta":
            key = self._key(index, "tool_use")
            if delta.partial_json:
                self._inputs.pop(key, None)
            self._blocks.arguments(key, 0, delta.partial_json)

    def _key(self, index: int, kind: str) -> Hashable:
        """Return the key of the block that a delta of a kind belongs to; one that has none makes it."""
        known = self._at.get(index)
        if known is not None and (known[1] == kind or (kind == "tool_use" and known[1].endswith("tool_use"))):
            return known[0]
        self._early.add(index)
        return self._place(index, kind)

    def _place(self, index: int, kind: str) -> Hashable:
        key = (index, 0)
        while self._blocks.find(key) is not None:
            key = (index, key[1] + 1)
        self._at[index] = (key, kind)
        return key

    def _start(self, index: int, block: Any) -> None:
        if block is None:
            return
        kind = block.type
        known = self._at.get(index)
        same = known is not None and known[1] == kind
        if known is not None and same and (index in self._early or self._repeats(known[0], block)):
            key = known[0]
            self._early.discard(index)
        else:
            key = self._place(index, kind)
        if kind == "text":
            self._blocks.text(key, 0, self._blocks.rest(key, block.text))
        elif kind == "thinking":
            self._blocks.reasoning(key, 0, self._blocks.rest(key, block.thinking))
        elif kind.endswith("tool_use"):
            self._blocks.call(key, 0, block.name, block.id, "function" if kind == "tool_use" else "server")
            if block.input:
                self._inputs[key] = block.input

    def _repeats(self, key: Hashable, block: Any) -> bool:
        known = self._blocks.find(key)
        return known is None or (not known.over and known.id == (getattr(block, "id", "") or ""))

    def _stop(self, index: int) -> None:
        known = self._at.get(index)
        if known is not None and known[1].endswith("tool_use"):
            given = self._inputs.pop(known[0], None)
            if given:
                self._blocks.arguments(known[0], 0, _json(given))
            self._blocks.end_call(known[0])


class ChatCompletionsReader:
    """Reads chunks: choices by their index, tool calls by index and id, which gateways leave out or repeat."""

    def __init__(self, blocks: Blocks) -> None:
        # The mutable state beside the blocks: the calls of each choice.
        self._blocks = blocks
        self._calls: dict[int, _Calls] = {}

    def read(self, event: Any) -> None:
        choices = getattr(event, "choices", None)
        if choices is None:
            return
        blocks = self._blocks
        blocks.start(event.id, event.model)
        for place, choice in enumerate(choices):
            # The attribute cannot tell a missing index from 0.
            index = place if len(choices) > 1 and choice.to_dict().get("index") is None else choice.index
            delta = choice.delta
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                blocks.reasoning((index, "reasoning"), index, thought)
            elif delta.reasoning_details:
                for detail in delta.reasoning_details:
                    blocks.reasoning((index, "reasoning"), index, _text_in(detail, "text") or _text_in(detail, "summary"))
            if delta.content:
                blocks.text((index, "text"), index, delta.content)
            if delta.refusal:
                blocks.refusal((index, "refusal"), index, delta.refusal)
            if delta.function_call is not None:
                call = delta.function_call
                blocks.call((index, "function"), index, call.name, None, "function")
                blocks.arguments((index, "function"), index, call.arguments or "")
            for piece in delta.tool_calls or _BLANK:
                self._call(index, piece)
            if choice.finish_reason:
                blocks.finishes[index] = choice.finish_reason
                blocks.end_calls(index)

    def counts(self, usage: Any) -> Counts:
        said, given = usage.completion_tokens_details, usage.prompt_tokens_details
        return _counts(
            usage.prompt_tokens, usage.completion_tokens, said and said.reasoning_tokens, given and given.cached_tokens
        )

    def _call(self, choice: int, piece: Any) -> None:
        custom = piece.custom
        made = custom or piece.function
        name = None if made is None else made.name
        calls = self._calls.get(choice)
        if calls is None:
            calls = self._calls[choice] = _Calls()
        key = (choice, "call", calls.number(piece.index, piece.id, name))
        if name or piece.id:
            self._blocks.call(key, choice, name, piece.id, "function" if custom is None else "custom")
        if made is not None:
            self._blocks.arguments(key, choice, (made.arguments if custom is None else made.input) or "")


class _Calls:
    """Tells which call of a choice a piece belongs to."""

    __slots__ = ("_by_id", "_by_index", "_count", "_ids", "_last", "_names")

    def __init__(self) -> None:
        self._by_index: dict[int | None, int] = {}
        self._by_id: dict[tuple[int | None, str], int] = {}
        self._ids: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._last: int | None = None
        self._count = 0

    def number(self, index: int | None, call: str | None, name: str | None) -> int:
        found = None if call else self._by_index.get(index)
        if found is None:
            found = self._find(index, call, name)
        if found is None:
            found = self._count
            self._count += 1
        if call and found not in self._ids:
            self._ids[found] = call
            self._by_id[index, call] = found
        if index is not None:
            self._by_index[index] = found
        if name:
            self._names.setdefault(found, name)
        self._last = found
        return found

    def _find(self, index: int | None, call: str | None, name: str | None) -> int | None:
        if call:
            known = self._by_id.get((index, call))
            if known is not None or index is None:
                return known
        if index is None:
            other = self._last is not None and name and self._names.get(self._last, name) != name
            return None if other else self._last
        known = self._by_index.get(index)
        if known is not None and call and known in self._ids and name:
            return None  # an id of its own alone would not do: some gateways make up another for each piece
        return known


class ResponsesReader:
    """Reads the events of the Responses API: items by index or id; of a text that comes whole, what had not come before."""

    def __init__(self, blocks: Blocks) -> None:
        # The mutable state beside the blocks: the numbers of the items by index and by id, and how many there are.
        self._blocks = blocks
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._count = 0

    def read(self, event: Any) -> None:
        read = _RESPONSES.get(event.type)
        if read is not None:
            read(self, event)

    def counts(self, usage: Any) -> Counts:
        said, given = usage.output_tokens_details, usage.input_tokens_details
        return _counts(usage.input_tokens, usage.output_tokens, said and said.reasoning_tokens, given and given.cached_tokens)

    def item(self, event: Any, item_id: str) -> int:
        """Return the number of the item that an event is of."""
        index = event.output_index
        number = self._by_id.get(item_id) if item_id else None
        if number is None:
            number = self._by_index.get(index)
        if number is None:
            number = self._new()
            self._by_index[index] = number
        if item_id:
            self._by_id.setdefault(item_id, number)
        return number

    def _new(self) -> int:
        self._count += 1
        return self._count - 1

    def begin(self, event: Any) -> None:
        """Take in the response as it begins."""
        self._blocks.start(event.response.id, event.response.model)

    def finish(self, event: Any) -> None:
        """Take in the whole response."""
        self.begin(event)
        response = event.response
        details = response.incomplete_details
        self._blocks.finishes[0] = (details and details.reason) or response.status or "completed"
        if not self._count:  # a gateway that streams nothing but the end
            for item in response.output:
                self._whole(self._new(), item)

    def added(self, event: Any) -> None:
        """Take in that an item begins."""
        item = event.item
        item_id = getattr(item, "id", None) or ""
        number = self._by_id.get(item_id) if item_id else None
        if number is None:
            number = self._by_index.get(event.output_index)
            if number is not None and item_id and number in self._by_id.values():
                number = None  # another item of the same index
        if number is None:
            number = self._new()
        self._by_index[event.output_index] = number
        if item_id:
            self._by_id[item_id] = number
        self._open(number, item)

    def done(self, event: Any) -> None:
        """Take in that an item is whole."""
        self._whole(self.item(event, getattr(event.item, "id", None) or ""), event.item)

    def _open(self, number: int, item: Any) -> bool:
        """Write that a call begins; return whether the item is one."""
        kind = item.type
        if not kind.endswith("_call"):
            return False
        name = getattr(item, "name", None) or kind.removesuffix("_call")
        call = getattr(item, "call_id", None) or getattr(item, "id", None)
        where = {"function_call": "function", "custom_tool_call": "custom"}.get(kind)
        if where is None:
            where = "function" if kind in _CALLERS else "server"
        self._blocks.call(number, 0, name, call, where)
        return True

    def _whole(self, number: int, item: Any) -> None:
        if item.type.endswith("_call"):
            found = self._blocks.find(number)
            if found is not None and found.over:
                return
            self._open(number, item)
            for field in ("arguments", "input", "code"):
                self._rest(number, getattr(item, field, None))
            if getattr(item, "action", None) is not None:
                self._rest(number, _json(item.action))
            self._blocks.end_call(number)
            return
        for place, part in enumerate(getattr(item, "content", None) or _BLANK):
            kind = part.type
            if kind == "output_text":
                self.whole_text(number, place, part.text)
            elif kind == "refusal":
                key = (number, place, "refusal")
                self._blocks.refusal(key, 0, self._blocks.rest(key, part.refusal))
            elif kind == "reasoning_text":
                self.whole_reasoning((number, place, "reasoning"), part.text)
        for place, part in enumerate(getattr(item, "summary", None) or _BLANK):
            self.whole_reasoning((number, place, "summary"), part.text)

    def _rest(self, number: int, whole: Any) -> None:
        if isinstance(whole, str):
            self._blocks.arguments(number, 0, self._blocks.rest(number, whole))

    def text(self, event: Any) -> None:
        """Take in more text."""
        self._blocks.text((self.item(event, event.item_id), event.content_index, "text"), 0, event.delta)

    def whole_text(self, number: int, place: int, text: str) -> None:
        """Take in a text that is whole."""
        key = (number, place, "text")
        self._blocks.text(key, 0, self._blocks.rest(key, text))

    def text_done(self, event: Any) -> None:
        """Take in that a text is whole."""
        self.whole_text(self.item(event, event.item_id), event.content_index, event.text)

    def refusal(self, event: Any) -> None:
        """Take in more of a refusal."""
        self._blocks.refusal((self.item(event, event.item_id), event.content_index, "refusal"), 0, event.delta)

    def refusal_done(self, event: Any) -> None:
        """Take in that a refusal is whole."""
        key = (self.item(event, event.item_id), event.content_index, "refusal")
        self._blocks.refusal(key, 0, self._blocks.rest(key, event.refusal))

    def reasoning(self, event: Any) -> None:
        """Take in more reasoning."""
        self._blocks.reasoning((self.item(event, event.item_id), event.content_index, "reasoning"), 0, event.delta)

    def reasoning_done(self, event: Any) -> None:
        """Take in that a reasoning is whole."""
        self.whole_reasoning((self.item(event, event.item_id), event.content_index, "reasoning"), event.text)

    def summary(self, event: Any) -> None:
        """Take in more of a paragraph of the reasoning's summary."""
        self._blocks.reasoning((self.item(event, event.item_id), event.summary_index, "summary"), 0, event.delta)

    def summary_done(self, event: Any) -> None:
        """Take in that a paragraph of the reasoning's summary is whole."""
        self.whole_reasoning((self.item(event, event.item_id), event.summary_index, "summary"), event.text)

    def whole_reasoning(self, key: Hashable, text: str) -> None:
        """Take in a reasoning that is whole."""
        self._blocks.reasoning(key, 0, self._blocks.rest(key, text))

    def arguments(self, event: Any) -> None:
        """Take in more of a call's arguments."""
        self._blocks.arguments(self.item(event, event.item_id), 0, event.delta)

    def arguments_done(self, event: Any) -> None:
        """Take in that a call's arguments are whole."""
        number = self.item(event, event.item_id)
        for field in ("arguments", "input", "code"):
            self._rest(number, getattr(event, field, None))


# Calls that the caller answers, beside functions and custom tools.
_CALLERS = frozenset({"computer_call", "local_shell_call", "shell_call", "apply_patch_call"})
_RESPONSES: dict[str, Callable[[ResponsesReader, Any], None]] = {
    "response.created": ResponsesReader.begin,
    "response.in_progress": ResponsesReader.begin,
    "response.completed": ResponsesReader.finish,
    "response.incomplete": ResponsesReader.finish,
    "response.output_item.added": ResponsesReader.added,
    "response.output_item.done": ResponsesReader.done,
    "response.output_text.delta": ResponsesReader.text,
    "response.output_text.done": ResponsesReader.text_done,
    "response.refusal.delta": ResponsesReader.refusal,
    "response.refusal.done": ResponsesReader.refusal_done,
    "response.reasoning_text.delta": ResponsesReader.reasoning,
    "response.reasoning_text.done": ResponsesReader.reasoning_done,
    "response.reasoning_summary_text.delta": ResponsesReader.summary,
    "response.reasoning_summary_text.done": ResponsesReader.summary_done,
    "response.function_call_arguments.delta": ResponsesReader.arguments,
    "response.function_call_arguments.done": ResponsesReader.arguments_done,
    "response.custom_tool_call_input.delta": ResponsesReader.arguments,
    "response.custom_tool_call_input.done": ResponsesReader.arguments_done,
    "response.mcp_call_arguments.delta": ResponsesReader.arguments,
    "response.mcp_call_arguments.done": ResponsesReader.arguments_done,
    "response.code_interpreter_call_code.delta": ResponsesReader.arguments,
    "response.code_interpreter_call_code.done": ResponsesReader.arguments_done,
}


class GenerateContentReader:
    """Reads Gemini's events: neighbouring texts of one kind are one block, and a call comes whole or in pieces."""

    def __init__(self, blocks: Blocks) -> None:
        # The mutable state beside the blocks: how many blocks there were, the kind and key of the last block of each
        # candidate, and the calls in pieces under way by candidate: key, first piece, and what puts the pieces together.
        self._blocks = blocks
        self._count = 0
        self._last: dict[int, tuple[str, Hashable]] = {}
        self._pieces: dict[int, tuple[Hashable, Any, Any]] = {}

    def read(self, event: Any) -> None:
        blocks = self._blocks
        blocks.start(event.response_id, event.model_version)
        for place, candidate in enumerate(event.candidates):
            index = place if candidate.index is None else candidate.index
            if candidate.content is not None:
                for part in candidate.content.parts:
                    self._part(index, part)
            if candidate.finish_reason:
                self._join(index)
                blocks.finishes[index] = candidate.finish_reason
        if event.prompt_feedback is not None and event.prompt_feedback.block_reason:
            blocks.finishes.setdefault(0, event.prompt_feedback.block_reason)

    def counts(self, usage: Any) -> Counts:
        thought = usage.thoughts_token_count
        said = (usage.candidates_token_count or 0) + (thought or 0)
        return _counts(usage.prompt_token_count or 0, said, thought, usage.cached_content_token_count)

    def end(self) -> None:
        """Take in that no more comes."""
        for index in list(self._pieces):
            self._join(index)

    def _part(self, index: int, part: Any) -> None:
        if part.text is not None:
            if part.text:
                write = self._blocks.reasoning if part.thought else self._blocks.text
                write(self._same(index, "reasoning" if part.thought else "text"), index, part.text)
        elif part.function_call is not None:
            self._call(index, part)
        elif part.executable_code is not None:
            code = part.executable_code
            self._whole(index, "code_execution", code.id, code.code or "", "server")
        elif part.tool_call is not None:
            call = part.tool_call
            self._whole(index, call.tool_type or "tool", call.id, _json(call.args or {}), "server")
        else:
            self._last.pop(index, None)

    def _same(self, index: int, kind: str) -> Hashable:
        last = self._last.get(index)
        if last is not None and last[0] == kind:
            return last[1]
        key = self._key()
        self._last[index] = (kind, key)
        return key

    def _key(self) -> Hashable:
        self._count += 1
        return self._count

    def _call(self, index: int, part: Any) -> None:
        call = part.function_call
        under_way = self._pieces.get(index)
        if under_way is not None:
            first = under_way[1]
            if call.name and not (call.id and call.id == first.id and call.name == first.name):
                self._join(index)
                under_way = None
        if under_way is None and not (call.will_continue or call.partial_args):
            arguments = call.args if isinstance(call.args, str) else _json({} if call.args is None else call.args)
            self._whole(index, call.name, call.id, arguments, "function")
            return
        if under_way is None:
            key = self._key()
            self._last.pop(index, None)
            self._blocks.call(key, index, call.name, call.id, "function")
            under_way = self._pieces[index] = (key, call, _call_in_pieces())
        under_way[2](part)
        if not call.will_continue:
            self._join(index)

    def _join(self, index: int) -> None:
        """Write a call that came in pieces: paths and values become the JSON text once they are all there."""
        under_way = self._pieces.pop(index, None)
        if under_way is not None:
            key, _, joined = under_way
            arguments = joined(None)
            self._blocks.arguments(key, index, _json({} if arguments is None else arguments))
            self._blocks.end_call(key)

    def _whole(self, index: int, name: str | None, call: str | None, arguments: str, kind: str) -> None:
        self._last.pop(index, None)
        key = self._key()
        self._blocks.call(key, index, name, call, kind)
        self._blocks.arguments(key, index, arguments)
        self._blocks.end_call(key)


def _call_in_pieces() -> Callable[[Any], Any]:
    """Return what takes the parts of one call, and for None gives the arguments that they make."""
    from dgrid_async.apis.generate_content import Candidate, Content, GenerateContentResponse
    from dgrid_async.apis.generate_content.accumulator import GenerateContentAccumulator

    accumulator = GenerateContentAccumulator()

    def take(part: Any) -> Any:
        if part is not None:
            accumulator.add(GenerateContentResponse([Candidate(Content([part]))]))
            return None
        reply = accumulator.snapshot()
        return None if reply is None else reply.function_calls[0].args

    return take


def _text_in(detail: Any, name: str) -> str:
    value = detail.get(name) if isinstance(detail, dict) else None
    return value if isinstance(value, str) else ""


def _json(value: Any) -> str:
    try:
        return codec.encode(value).decode()
    except (TypeError, ValueError):  # deeper than may be written
        return json.dumps(str(type(value)))


def _counts(given: int, said: int, thought: int | None, cached: int | None) -> Counts:
    counts = {"input_tokens": given, "output_tokens": said}
    if thought:
        counts["reasoning_tokens"] = thought
    if cached:
        counts["cached_tokens"] = cached
    return counts


READERS: dict[str, Callable[[Blocks], Reader]] = {
    "messages": MessagesReader,
    "chat_completions": ChatCompletionsReader,
    "responses": ResponsesReader,
    "generate_content": GenerateContentReader,
}
"""The reader of each format, by the name of its endpoint."""
