"""Faults of shape that must be tolerated: what gateways leave out, repeat, add, or put in another order."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from tests.faults.catalogue.connections import BOTH
from tests.faults.connection import Connection, Request
from tests.faults.fault import Chapter, Expect, lenient
from tests.faults.formats import (
    CHAT,
    GEMINI,
    MESSAGES,
    OUTPUT_TOKENS,
    RESPONSES,
    TEXT,
    TOOL_ARGUMENTS,
    TOOL_NAME,
    Document,
    Format,
    Script,
)

chapter = Chapter("shape")

ARGUMENTS = "".join(TOOL_ARGUMENTS)
TOOL = ((TOOL_NAME, ARGUMENTS),)
COUNTED = Expect(output_tokens=OUTPUT_TOKENS)
CALLED = Expect(text="", tools=TOOL)


def streamed(fmt: Format, name: str, line: str, documents: Iterable[Document], expect: Expect = COUNTED) -> None:
    """Add a fault of one format that streams the given events."""
    parts = tuple(documents)

    @chapter.add(f"{fmt.name.split('_')[0]}-{name}", line, expect, formats=(fmt.name,))
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.stream(part.sse() for part in parts)


def replied(fmt: Format, name: str, line: str, reply: Any, expect: Expect = COUNTED) -> None:
    """Add a fault of one format that answers a plain call with the given JSON."""

    @chapter.add(f"{fmt.name.split('_')[0]}-{name}", line, expect, formats=(fmt.name,), modes=("plain",))
    async def play(link: Connection, _request: Request, _fmt: Format, _attempt: int) -> None:
        await link.answer(200, Document(None, reply).json())


def each(documents: Iterable[Document], change: Callable[[dict[str, Any]], object]) -> list[Document]:
    """Return deep copies of the events, each object changed in place."""
    changed = []
    for document in documents:
        data = copy.deepcopy(document.data)
        if isinstance(data, dict):
            change(data)
        changed.append(Document(document.name, data))
    return changed


def mixed(script: Script, *extra: Document) -> list[Document]:
    """Return the script with the extra events after the first text and again before the end."""
    return [*script.partial(1), *extra, *script.deltas[1:], *extra, *script.closing, *script.terminal, *script.epilogue]


# Every format.

NOVELTY = {"novelty": {"a": [1, None, "x"]}, "Ünknown field": None}


@chapter.add("unknown-fields", "fields nobody knows in every object", COUNTED, modes=BOTH, shows=(b"novelty",))
async def unknown_fields(link: Connection, request: Request, fmt: Format, _attempt: int) -> None:
    def enrich(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{key: enrich(entry) for key, entry in value.items()}, **NOVELTY}
        return [enrich(entry) for entry in value] if isinstance(value, list) else value

    if request.stream:
        await link.stream(Document(part.name, enrich(part.data)).sse() for part in fmt.script().documents())
    else:
        await link.answer(200, Document(None, enrich(fmt.reply())).json())


@chapter.add("minimal-reply", "a plain reply with nearly every field left out", Expect(), modes=("plain",))
async def minimal_reply(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.answer_json(200, fmt.minimal())


BARE: dict[str, tuple[tuple[str | None, Any], ...]] = {
    "messages": (
        (None, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": TEXT}}),
        (None, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        (None, {"type": "message_stop"}),
    ),
    "chat_completions": (
        (None, {"choices": [{"delta": {"content": TEXT}}]}),
        (None, {"choices": [{"finish_reason": "stop"}]}),
    ),
    "responses": (
        (None, {"type": "response.output_text.delta", "delta": TEXT}),
        (None, {"type": "response.completed", "response": {"status": "completed"}}),
    ),
    "generate_content": (
        (None, {"candidates": [{"content": {"parts": [{"text": TEXT}]}}]}),
        (None, {"candidates": [{"finishReason": "STOP"}]}),
    ),
}


@chapter.add("minimal-stream", "a stream with nearly every field left out: no ids, no indices, no usage", Expect())
async def minimal_stream(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(Document(*part).sse() for part in BARE[fmt.name])


@chapter.add("tool-call", "a tool call as the format has it", Expect(text="", tools=TOOL), shows=(TOOL_NAME.encode(),))
async def tool_call(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.tool_script().documents())


RAGGED = ('{"city": "Bern', '", }', " oops")


@chapter.add(
    "tool-arguments-broken",
    "tool arguments that are no JSON: the raw string is kept, the stream goes on",
    Expect(text="", tools=((TOOL_NAME, "".join(RAGGED)),)),
    formats=("messages", "chat_completions", "responses"),
    shows=(b"oops",),
)
async def tool_arguments_broken(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.tool_script(RAGGED).documents())


@chapter.add(
    "tool-arguments-deep",
    "tool arguments of 10,000 brackets",
    Expect(text="", tools=((TOOL_NAME, "[" * 10_000 + "]" * 10_000),)),
    formats=("messages", "chat_completions", "responses"),
    shows=(b"[[[[",),
)
async def tool_arguments_deep(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.tool_script(("[" * 10_000, "]" * 10_000)).documents())


@chapter.add(
    "tool-arguments-absent",
    "a tool call whose arguments never come",
    Expect(text=""),
    formats=("messages", "chat_completions", "responses"),
)
async def tool_arguments_absent(link: Connection, _request: Request, fmt: Format, _attempt: int) -> None:
    await link.stream(part.sse() for part in fmt.tool_script(("",)).documents())


# Chat completions.

CHAT_SCRIPT = CHAT.script()
CHAT_TOOL = CHAT.tool_script()

streamed(CHAT, "choices-empty", "chunks with empty `choices` among the others", mixed(CHAT_SCRIPT, CHAT.chunk([])))
streamed(CHAT, "choices-null", "chunks with `choices: null`", mixed(CHAT_SCRIPT, CHAT.chunk(None)))
streamed(
    CHAT,
    "choices-missing",
    "chunks without `choices`",
    mixed(CHAT_SCRIPT, Document(None, {"id": "x", "object": "chat.completion.chunk"})),
)
streamed(CHAT, "delta-null", "choices with `delta: null`", mixed(CHAT_SCRIPT, CHAT.delta(None)))
streamed(CHAT, "delta-missing", "choices without `delta`", mixed(CHAT_SCRIPT, CHAT.chunk([{"index": 0}])))
streamed(CHAT, "content-null", "deltas with `content: null`", mixed(CHAT_SCRIPT, CHAT.delta({"content": None})))
streamed(
    CHAT,
    "index-missing",
    "choices without `index`",
    each(CHAT_SCRIPT.documents(), lambda data: [choice.pop("index") for choice in data["choices"]]),
)
streamed(
    CHAT,
    "object-empty",
    "a first chunk with an empty `object`, as filters send it",
    [
        Document(None, {"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": []}),
        *CHAT_SCRIPT.documents(),
    ],
)
streamed(
    CHAT,
    "error-null",
    "`error: null` in every chunk",
    each(CHAT_SCRIPT.documents(), lambda data: data.update(error=None)),
)


def repeat_role(data: dict[str, Any]) -> None:
    """Say the role again."""
    for choice in data["choices"]:
        choice["delta"]["role"] = "assistant"


streamed(CHAT, "role-repeated", "the role in every chunk: it is set once", each(CHAT_SCRIPT.documents(), repeat_role))
streamed(
    CHAT,
    "usage-null",
    "`usage: null` in every chunk but one in the middle: the last that is not null counts",
    [
        *each(CHAT_SCRIPT.partial(), lambda data: data.update(usage=None)),
        CHAT.chunk([], usage=CHAT.usage()),
        *each((*CHAT_SCRIPT.deltas[2:], *CHAT_SCRIPT.terminal), lambda data: data.update(usage=None)),
        CHAT_SCRIPT.epilogue[-1],
    ],
)
streamed(
    CHAT,
    "usage-in-every-chunk",
    "usage in every chunk, growing: the last counts",
    [
        Document(None, {**part.data, "usage": {**CHAT.usage(), "completion_tokens": number}})
        if isinstance(part.data, dict) and part.data["choices"]
        else part
        for number, part in enumerate(CHAT_SCRIPT.documents())
    ],
)
streamed(
    CHAT,
    "usage-with-finish",
    "usage in the chunk of the finish reason",
    [*CHAT_SCRIPT.opening, *CHAT_SCRIPT.deltas, CHAT_SCRIPT.terminal[0].changed(usage=CHAT.usage())],
)
for _reason in ("eos", "max_output_reached", "STOP", "content_filter", "length"):
    streamed(
        CHAT,
        f"finish-reason-{_reason.lower().replace('_', '-')}",
        f"the finish reason `{_reason}`",
        [*CHAT_SCRIPT.opening, *CHAT_SCRIPT.deltas, CHAT.delta({}, _reason), *CHAT_SCRIPT.epilogue],
    )
for _field, _thought in (
    ("reasoning_content", "Hm, "),
    ("reasoning", "Hm, "),
    ("reasoning_details", [{"type": "reasoning.text", "text": "Hm, ", "index": 0}]),
    ("thinking", "Hm, "),
    ("thinking_blocks", [{"type": "thinking", "thinking": "Hm, ", "signature": "x"}]),
    ("annotations", [{"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "a"}}]),
):
    streamed(
        CHAT,
        f"delta-{_field.replace('_', '-')}",
        f"deltas with `{_field}`, which are no part of the text",
        mixed(CHAT_SCRIPT, CHAT.delta({_field: _thought}), CHAT.delta({_field: _thought, "content": None})),
    )
    replied(
        CHAT,
        f"reply-{_field.replace('_', '-')}",
        f"a message with `{_field}`",
        {
            **CHAT.reply(),
            "choices": [{"index": 0, "message": {"content": TEXT, _field: _thought}, "finish_reason": "stop"}],
        },
    )
streamed(
    CHAT,
    "two-choices-second-first",
    "two choices, the second first; the text is that of the first",
    [
        CHAT.delta({"content": "other"}, index=1),
        *CHAT_SCRIPT.opening,
        *CHAT_SCRIPT.deltas,
        CHAT.delta({}, "stop", index=1),
        *CHAT_SCRIPT.terminal,
        *CHAT_SCRIPT.epilogue,
    ],
)


def calls(*entries: dict[str, Any]) -> Document:
    """Return a chunk with the given entries of `tool_calls`."""
    return CHAT.delta({"tool_calls": list(entries)})


def without_index(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry without its index."""
    return {key: value for key, value in entry.items() if key != "index"}


def tool_stream(name: str, line: str, chunks: Iterable[Document], tools: tuple[tuple[str, str], ...] = TOOL) -> None:
    """Add a fault of a chat stream of tool calls, with an ordinary end."""
    documents = (*chunks, *CHAT_TOOL.terminal, *CHAT_TOOL.epilogue)
    streamed(CHAT, name, line, documents, Expect(text="", tools=tools))


OPEN = CHAT.tool_delta("", identity=True)
REST = [CHAT.tool_delta(piece) for piece in TOOL_ARGUMENTS]
SECOND = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "other", "arguments": "{}"}}

tool_stream(
    "tool-index-missing",
    "tool deltas without `index`: an id opens a call, none goes on with the last",
    [calls(without_index(entry)) for entry in (OPEN, *REST)],
)
tool_stream(
    "tool-index-missing-twice",
    "two tool calls without `index`",
    [*(calls(without_index(entry)) for entry in (OPEN, *REST)), calls(without_index(SECOND))],
    (*TOOL, ("other", "{}")),
)
tool_stream(
    "tool-index-null",
    "tool deltas with `index: null`",
    [calls({**entry, "index": None}) for entry in (OPEN, *REST)],
)
tool_stream(
    "tool-index-from-three",
    "a first tool call with the index 3",
    [calls({**entry, "index": 3}) for entry in (OPEN, *REST)],
)
tool_stream(
    "tool-index-twice-in-a-chunk",
    "all fragments of a call in one chunk, under one index",
    [calls(OPEN, *REST)],
)
tool_stream(
    "tool-identity-repeated",
    "id, type and name in every delta: they are set once",
    [calls(CHAT.tool_delta(piece, identity=True)) for piece in ("", *TOOL_ARGUMENTS)],
)
tool_stream(
    "tool-identity-empty-later",
    "empty id and name, or null, in later deltas: the first ones stay",
    [
        calls(OPEN),
        *(calls({**entry, "id": "", "function": {"name": None, **entry["function"]}}) for entry in REST),
    ],
)
tool_stream("tool-whole", "a tool call whole in one delta", [calls(CHAT.tool_delta(ARGUMENTS, identity=True))])
tool_stream(
    "tools-interleaved",
    "two tool calls whose fragments alternate",
    [
        calls(OPEN),
        calls({**SECOND, "function": {"name": "other", "arguments": ""}}),
        *(
            calls(entry, {"index": 1, "function": {"arguments": piece}})
            for entry, piece in zip(REST, ("{", "}", ""), strict=True)
        ),
    ],
    (*TOOL, ("other", "{}")),
)
tool_stream(
    "tool-function-null",
    "tool deltas with `function: null` or without it among the others",
    [calls(OPEN), calls({"index": 0, "function": None}), calls({"index": 0}), *(calls(entry) for entry in REST)],
)
tool_stream(
    "tool-arguments-null",
    "`arguments: null` among the others",
    [calls(OPEN), calls({"index": 0, "function": {"arguments": None}}), *(calls(entry) for entry in REST)],
)
tool_stream(
    "tool-calls-null",
    "`tool_calls: null` among the others",
    [calls(OPEN), CHAT.delta({"tool_calls": None}), *(calls(entry) for entry in REST)],
)
replied(
    CHAT,
    "reply-contents",
    "a plain reply with `contents` at the top, as image generation has it",
    {**CHAT.reply(), "contents": [{"type": "image", "url": "data:image/png;base64,AAAA"}]},
)

streamed(
    CHAT,
    "usage-in-first-chunk",
    "usage in the first chunk alone",
    [
        CHAT_SCRIPT.opening[0].changed(usage=CHAT.usage()),
        *CHAT_SCRIPT.deltas,
        *CHAT_SCRIPT.terminal,
        CHAT_SCRIPT.epilogue[-1],
    ],
)
RAGGED_CALL = {"id": "call_1", "type": "function", "function": {"name": TOOL_NAME, "arguments": "".join(RAGGED)}}
replied(
    CHAT,
    "reply-tool-arguments-broken",
    "a plain reply with tool arguments that are no JSON",
    {
        **CHAT.reply(),
        "choices": [{"index": 0, "message": {"content": None, "tool_calls": [RAGGED_CALL]}, "finish_reason": "tool_calls"}],
    },
    Expect(text="", tools=((TOOL_NAME, "".join(RAGGED)),)),
)

# Messages.

CLAUDE = MESSAGES.script()
START, BLOCK_START = CLAUDE.opening
BLOCK_STOP, ENDING = CLAUDE.closing


streamed(MESSAGES, "unknown-event", "an event of a new type", mixed(CLAUDE, MESSAGES.event("message_mood", mood="calm")))
streamed(
    MESSAGES,
    "unknown-delta",
    "a delta of a new type",
    mixed(CLAUDE, MESSAGES.event("content_block_delta", index=0, delta={"type": "mood_delta", "mood": "calm"})),
)
streamed(
    MESSAGES,
    "unknown-block",
    "a block of a new type before the text",
    [
        START,
        MESSAGES.event("content_block_start", index=0, content_block={"type": "mood", "mood": "calm"}),
        MESSAGES.event("content_block_delta", index=0, delta={"type": "mood_delta", "mood": "calm"}),
        MESSAGES.event("content_block_stop", index=0),
        *each((BLOCK_START, *CLAUDE.deltas, BLOCK_STOP), lambda data: data.update(index=1)),
        ENDING,
        *CLAUDE.terminal,
    ],
)
streamed(
    MESSAGES,
    "delta-before-block",
    "text deltas without their `content_block_start`",
    [START, *CLAUDE.deltas, BLOCK_STOP, ENDING, *CLAUDE.terminal],
)
streamed(
    MESSAGES,
    "no-block-stop",
    "no `content_block_stop`",
    [START, BLOCK_START, *CLAUDE.deltas, ENDING, *CLAUDE.terminal],
)
streamed(
    MESSAGES,
    "index-gap",
    "a first block with the index 4",
    [
        START,
        *each((BLOCK_START, *CLAUDE.deltas, BLOCK_STOP), lambda data: data.update(index=4)),
        ENDING,
        *CLAUDE.terminal,
    ],
)
streamed(
    MESSAGES,
    "no-message-start",
    "no `message_start`",
    [BLOCK_START, *CLAUDE.deltas, BLOCK_STOP, ENDING, *CLAUDE.terminal],
    Expect(),
)
streamed(
    MESSAGES,
    "start-without-content",
    "a `message_start` without content and usage",
    [MESSAGES.event("message_start", message={"id": "m", "role": "assistant"}), *CLAUDE.documents()[1:]],
)
streamed(
    MESSAGES,
    "start-content-null",
    "a `message_start` with `content: null` and `usage: null`",
    [MESSAGES.event("message_start", message={"id": "m", "content": None, "usage": None}), *CLAUDE.documents()[1:]],
)
streamed(
    MESSAGES,
    "delta-without-usage",
    "a `message_delta` without usage",
    [
        *CLAUDE.opening,
        *CLAUDE.deltas,
        BLOCK_STOP,
        MESSAGES.event("message_delta", delta={"stop_reason": "end_turn"}),
        *CLAUDE.terminal,
    ],
    Expect(),
)
streamed(
    MESSAGES,
    "delta-twice",
    "two `message_delta`: the counts are running totals, the last stands",
    [
        *CLAUDE.opening,
        *CLAUDE.deltas,
        BLOCK_STOP,
        MESSAGES.event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 3}),
        ENDING,
        *CLAUDE.terminal,
    ],
)
streamed(
    MESSAGES,
    "text-in-block-start",
    "a block that brings its first text with it",
    [
        START,
        MESSAGES.event("content_block_start", index=0, content_block={"type": "text", "text": "Hello"}),
        *CLAUDE.deltas[1:],
        BLOCK_STOP,
        ENDING,
        *CLAUDE.terminal,
    ],
)
streamed(
    MESSAGES,
    "block-text-null",
    "a block that begins with `text: null`",
    [
        START,
        MESSAGES.event("content_block_start", index=0, content_block={"type": "text", "text": None}),
        *CLAUDE.documents()[2:],
    ],
)
streamed(
    MESSAGES,
    "thinking",
    "a thinking block with signature before the text, which is no part of it",
    [
        START,
        MESSAGES.event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        MESSAGES.event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm."}),
        MESSAGES.event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
        MESSAGES.event("content_block_stop", index=0),
        *each((BLOCK_START, *CLAUDE.deltas, BLOCK_STOP), lambda data: data.update(index=1)),
        ENDING,
        *CLAUDE.terminal,
    ],
)
streamed(
    MESSAGES,
    "stop-reason-unknown",
    "a stop reason nobody knows",
    [
        *CLAUDE.opening,
        *CLAUDE.deltas,
        BLOCK_STOP,
        MESSAGES.event("message_delta", delta={"stop_reason": "moved_on"}, usage={"output_tokens": OUTPUT_TOKENS}),
        *CLAUDE.terminal,
    ],
)
replied(
    MESSAGES,
    "reply-unknown-block",
    "a plain reply with a block of a new type",
    {**MESSAGES.reply(), "content": [{"type": "mood", "mood": "calm"}, {"type": "text", "text": TEXT}]},
)
replied(MESSAGES, "reply-usage-null", "a plain reply with `usage: null`", {**MESSAGES.reply(), "usage": None}, Expect())

# Responses.

RESPONSE = RESPONSES.script()
CREATED, RUNNING, ITEM_ADDED, PART_ADDED = RESPONSE.opening

streamed(
    RESPONSES,
    "no-sequence-number",
    "no sequence numbers",
    each(RESPONSE.documents(), lambda data: data.pop("sequence_number")),
)
streamed(RESPONSES, "no-created", "no `response.created`", RESPONSE.documents()[1:])
streamed(
    RESPONSES,
    "queued-first",
    "`response.queued` before `response.created`",
    [
        RESPONSES.event("response.queued", sequence_number=0, response=RESPONSES.response("queued", [])),
        *RESPONSE.documents(),
    ],
)
streamed(
    RESPONSES,
    "delta-before-item",
    "text deltas without their item and part",
    [CREATED, *RESPONSE.deltas, *RESPONSE.terminal],
)
streamed(
    RESPONSES,
    "delta-before-part",
    "text deltas without their part",
    [CREATED, RUNNING, ITEM_ADDED, *RESPONSE.deltas, *RESPONSE.closing, *RESPONSE.terminal],
)
streamed(
    RESPONSES,
    "index-gap",
    "a first item with the output index 3",
    [
        *each(RESPONSE.documents(), lambda data: data.update(output_index=3) if "output_index" in data else None),
    ],
)
streamed(
    RESPONSES,
    "unknown-event",
    "an event of a new type",
    mixed(RESPONSE, RESPONSES.event("response.mood.delta", delta="calm")),
)
streamed(
    RESPONSES,
    "unknown-item",
    "an item of a new type in events and in the reply",
    [
        *mixed(
            RESPONSE,
            RESPONSES.event("response.output_item.added", output_index=7, item={"id": "i", "type": "mood", "mood": 1}),
        )[:-1],
        RESPONSES.event(
            "response.completed",
            sequence_number=99,
            response=RESPONSES.response("completed", [{"id": "i", "type": "mood"}, RESPONSES.item()]),
        ),
    ],
)
streamed(
    RESPONSES,
    "completed-without-output",
    "a `response.completed` whose output is empty: the items that came before are the reply",
    [
        *RESPONSE.documents()[:-1],
        RESPONSES.event("response.completed", sequence_number=99, response=RESPONSES.response("completed", [])),
    ],
)
streamed(
    RESPONSES,
    "incomplete",
    "`response.incomplete`: a normal end",
    [
        *RESPONSE.documents()[:-1],
        RESPONSES.event(
            "response.incomplete",
            sequence_number=99,
            response=RESPONSES.response("incomplete", [RESPONSES.item()], incomplete_details={"reason": "max_output_tokens"}),
        ),
    ],
)
CHAT_NAMED = {**RESPONSES.reply(), "usage": CHAT.usage()}
streamed(
    RESPONSES,
    "usage-with-chat-names",
    "usage under the names of chat completions",
    [*RESPONSE.documents()[:-1], RESPONSES.event("response.completed", sequence_number=99, response=CHAT_NAMED)],
)
replied(RESPONSES, "reply-usage-with-chat-names", "the same in a plain reply", CHAT_NAMED)
replied(
    RESPONSES,
    "reply-unknown-item",
    "a plain reply with an item of a new type and a part of another",
    {
        **RESPONSES.reply(),
        "output": [
            {"type": "mood", "id": "i"},
            {"type": "message", "content": [{"type": "mood"}, {"type": "output_text", "text": TEXT}]},
        ],
    },
)
replied(
    RESPONSES,
    "reply-status-unknown",
    "a plain reply with a status nobody knows",
    {**RESPONSES.reply(), "status": "settled"},
)

RAGGED_ITEM = {"type": "function_call", "call_id": "call_1", "name": TOOL_NAME, "arguments": "".join(RAGGED)}
replied(
    RESPONSES,
    "reply-tool-arguments-broken",
    "a plain reply with tool arguments that are no JSON",
    RESPONSES.response("completed", [RAGGED_ITEM]),
    Expect(text="", tools=((TOOL_NAME, "".join(RAGGED)),)),
)

# Gemini.

TALK = GEMINI.script()
THOUGHT = GEMINI.chunk([{"text": "Hm, ", "thought": True, "thoughtSignature": "c2ln"}])

streamed(GEMINI, "thought-parts", "thought parts among the text, which are no part of it", mixed(TALK, THOUGHT))
streamed(
    GEMINI,
    "thought-signature-on-empty-text",
    "a signature on an empty text part",
    mixed(TALK, GEMINI.chunk([{"text": "", "thoughtSignature": "c2ln"}])),
)
streamed(GEMINI, "unknown-part", "a part of a new kind", mixed(TALK, GEMINI.chunk([{"mood": {"name": "calm"}}])))
streamed(GEMINI, "empty-part", "an empty part", mixed(TALK, GEMINI.chunk([{}])))
streamed(GEMINI, "no-content", "candidates without content", mixed(TALK, GEMINI.chunk(None)))
streamed(GEMINI, "no-candidates", "chunks without candidates", mixed(TALK, Document(None, {"modelVersion": "m"})))
streamed(GEMINI, "candidates-null", "chunks with `candidates: null`", mixed(TALK, Document(None, {"candidates": None})))
streamed(
    GEMINI,
    "parts-null",
    "contents with `parts: null`",
    mixed(TALK, Document(None, {"candidates": [{"index": 0, "content": {"role": "model", "parts": None}}]})),
)
streamed(
    GEMINI,
    "index-missing",
    "candidates without index",
    each(TALK.documents(), lambda data: data["candidates"][0].pop("index")),
)
streamed(
    GEMINI,
    "usage-after-finish",
    "a chunk of usage alone after the finish reason",
    [*TALK.deltas, GEMINI.chunk([{"text": ""}], "STOP"), Document(None, {"usageMetadata": GEMINI.usage()})],
)
streamed(
    GEMINI,
    "usage-in-every-chunk",
    "running totals in every chunk: the last stands, none is added",
    [
        *(part.changed(usageMetadata={**GEMINI.usage(), "candidatesTokenCount": 1}) for part in TALK.deltas),
        *TALK.terminal,
    ],
)
for _reason in ("MAX_TOKENS", "SAFETY", "NEW_REASON"):
    streamed(
        GEMINI,
        f"finish-reason-{_reason.lower().replace('_', '-')}",
        f"the finish reason `{_reason}`",
        [*TALK.deltas, GEMINI.chunk(None, _reason, usageMetadata=GEMINI.usage())],
    )
streamed(
    GEMINI,
    "two-candidates-second-first",
    "two candidates, the second first; the text is that of the first",
    [
        GEMINI.chunk([{"text": "other"}], index=1),
        *TALK.deltas,
        GEMINI.chunk(None, "STOP", index=1),
        *TALK.terminal,
    ],
)
streamed(
    GEMINI,
    "function-call-without-args",
    "a function call of nothing but a name",
    [GEMINI.chunk([{"functionCall": {"name": TOOL_NAME}}]), *TALK.terminal],
    Expect(text="", output_tokens=OUTPUT_TOKENS),
)
streamed(
    GEMINI,
    "function-call-args-null",
    "a function call with `args: null`",
    [GEMINI.chunk([{"functionCall": {"name": TOOL_NAME, "args": None}}]), *TALK.terminal],
    Expect(text="", output_tokens=OUTPUT_TOKENS),
)
BLOCKED = {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": []}, "usageMetadata": {"promptTokenCount": 3}}
streamed(
    GEMINI,
    "prompt-blocked",
    "a block reason and no candidates: a whole answer without text",
    [Document(None, BLOCKED)],
    Expect(text=""),
)
replied(GEMINI, "reply-prompt-blocked", "the same in a plain reply", BLOCKED, Expect(text=""))
streamed(
    GEMINI,
    "snake-case",
    "a stream whose field names are in snake_case, as some gateways write them: read or cut short, nothing else",
    [
        Document(None, {"candidates": [{"index": 0, "content": {"parts": [{"text": TEXT}]}, "finish_reason": "STOP"}]}),
    ],
    lenient("StreamTruncatedError", partial=TEXT),
)
