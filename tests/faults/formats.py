"""The four wire formats as raw bytes: conforming streams, whole replies and errors, to be cut and bent by the faults.

Written from the vendors' public formats as plain dictionaries. It never imports the package under test, never opens a
socket, and never breaks the protocol by itself: what is wrong on the wire is always a fault's doing.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

PIECES: tuple[str, ...] = ("Hello", " from", " the", " fault", " server.")
TEXT: str = "".join(PIECES)
PARTIAL: str = "".join(PIECES[:2])

INPUT_TOKENS = 11
OUTPUT_TOKENS = 7

TOOL_NAME = "get_weather"
TOOL_ARGUMENTS: tuple[str, ...] = ('{"city":', '"Bern"', "}")


@dataclass(frozen=True)
class Document:
    """One event before it is written as SSE: an optional name and a JSON value (a plain `str` goes out as it is)."""

    name: str | None
    data: Any

    def json(self) -> bytes:
        """Return the data as compact UTF-8 JSON; lone surrogates leave as escapes, for UTF-8 cannot hold them."""
        if isinstance(self.data, str):
            return self.data.encode()
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:
            return json.dumps(self.data, separators=(",", ":")).encode()

    def sse(self, newline: bytes = b"\n", space: bytes = b" ", *, named: bool = True) -> bytes:
        """Return the event as SSE, with its closing blank line."""
        name = b"event:" + space + self.name.encode() + newline if named and self.name else b""
        return name + b"data:" + space + self.json() + newline * 2

    def changed(self, **fields: Any) -> Document:
        """Return a deep copy whose top-level fields are replaced by those given."""
        return Document(self.name, {**copy.deepcopy(self.data), **fields})


DONE = Document(None, "[DONE]")


@dataclass(frozen=True)
class Script:
    """A conforming stream in its five parts; the stream is whole once `terminal` has been sent."""

    opening: tuple[Document, ...]
    deltas: tuple[Document, ...]
    closing: tuple[Document, ...]
    terminal: tuple[Document, ...]
    epilogue: tuple[Document, ...] = ()

    def documents(self) -> tuple[Document, ...]:
        """Return all five parts in order."""
        return self.opening + self.deltas + self.closing + self.terminal + self.epilogue

    def partial(self, pieces: int = 2) -> tuple[Document, ...]:
        """Return the opening and the first `pieces` text deltas."""
        return self.opening + self.deltas[:pieces]

    def rest(self, pieces: int = 2) -> tuple[Document, ...]:
        """Return everything that `partial(pieces)` leaves out."""
        return self.deltas[pieces:] + self.closing + self.terminal + self.epilogue


class Format(ABC):
    """One wire format; every method gives new values, so a fault may change them at will."""

    name: ClassVar[str]

    @abstractmethod
    def path(self, *, stream: bool) -> str:
        """Return the path and query of a call, beginning with `/v1`."""

    @abstractmethod
    def request(self, *, stream: bool) -> dict[str, Any]:
        """Return a small valid request body."""

    @abstractmethod
    def script(self, pieces: tuple[str, ...] = PIECES) -> Script:
        """Return a conforming stream whose text arrives in the given pieces."""

    @abstractmethod
    def tool_script(self, arguments: tuple[str, ...] = TOOL_ARGUMENTS) -> Script:
        """Return a conforming stream of one tool call; formats that send arguments whole need them to be JSON."""

    @abstractmethod
    def reply(self, text: str = TEXT) -> dict[str, Any]:
        """Return the whole reply of a plain call."""

    @abstractmethod
    def minimal(self, text: str = TEXT) -> dict[str, Any]:
        """Return the smallest reply that still shows which format it is."""

    @abstractmethod
    def error(self, kind: str, message: str = "the fault server says no") -> Document:
        """Return an in-stream error in this format's own form; `kind` is its type, code or status word."""

    @abstractmethod
    def error_body(self, status: int, kind: str, message: str = "the fault server says no") -> dict[str, Any]:
        """Return the body of an HTTP error in this format's own form."""

    def whole(self, *, stream: bool, text: str = TEXT) -> bytes:
        """Return the body of a good answer: SSE for a stream, JSON for a plain call."""
        if stream:
            return b"".join(document.sse() for document in self.script((text,)).documents())
        return Document(None, self.reply(text)).json()


class Messages(Format):
    """Claude's `/v1/messages`."""

    name = "messages"

    def path(self, *, stream: bool) -> str:
        """Return the one path; the body alone tells a stream from a plain call."""
        del stream
        return "/v1/messages"

    def request(self, *, stream: bool) -> dict[str, Any]:
        """Return a request with the three required fields."""
        body: dict[str, Any] = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
        return {**body, "stream": True} if stream else body

    def reply(self, text: str = TEXT) -> dict[str, Any]:
        """Return a `message` with one text block."""
        return {
            "id": "msg_fault",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        }

    def minimal(self, text: str = TEXT) -> dict[str, Any]:
        """Return a message of type and content alone."""
        return {"type": "message", "content": [{"type": "text", "text": text}]}

    @staticmethod
    def event(kind: str, **fields: Any) -> Document:
        """Return an event whose SSE name is its JSON type."""
        return Document(kind, {"type": kind, **fields})

    def _start(self) -> Document:
        usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 1}
        return self.event("message_start", message={**self.reply(), "content": [], "stop_reason": None, "usage": usage})

    def _finish(self, reason: str) -> tuple[Document, Document]:
        ending = {"stop_reason": reason, "stop_sequence": None}
        usage = {"output_tokens": OUTPUT_TOKENS}
        return self.event("message_delta", delta=ending, usage=usage), self.event("message_stop")

    def script(self, pieces: tuple[str, ...] = PIECES) -> Script:
        """Return one text block; the terminal is `message_stop`, `message_delta` closes before it."""
        ending, stop = self._finish("end_turn")
        block = {"type": "text", "text": ""}
        return Script(
            opening=(self._start(), self.event("content_block_start", index=0, content_block=block)),
            deltas=tuple(
                self.event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces
            ),
            closing=(self.event("content_block_stop", index=0), ending),
            terminal=(stop,),
        )

    def tool_script(self, arguments: tuple[str, ...] = TOOL_ARGUMENTS) -> Script:
        """Return one `tool_use` block whose input arrives as partial JSON."""
        ending, stop = self._finish("tool_use")
        block = {"type": "tool_use", "id": "toolu_1", "name": TOOL_NAME, "input": {}}
        return Script(
            opening=(self._start(), self.event("content_block_start", index=0, content_block=block)),
            deltas=tuple(
                self.event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": piece})
                for piece in arguments
            ),
            closing=(self.event("content_block_stop", index=0), ending),
            terminal=(stop,),
        )

    def error(self, kind: str, message: str = "the fault server says no") -> Document:
        """Return the `error` event."""
        return self.event("error", error={"type": kind, "message": message})

    def error_body(self, status: int, kind: str, message: str = "the fault server says no") -> dict[str, Any]:
        """Return Claude's error object; it names no status."""
        del status
        return {"type": "error", "error": {"type": kind, "message": message}}


class ChatCompletions(Format):
    """OpenAI's `/v1/chat/completions`."""

    name = "chat_completions"

    def path(self, *, stream: bool) -> str:
        """Return the one path; the body alone tells a stream from a plain call."""
        del stream
        return "/v1/chat/completions"

    def request(self, *, stream: bool) -> dict[str, Any]:
        """Return a request with model and messages."""
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        return {**body, "stream": True} if stream else body

    @staticmethod
    def usage() -> dict[str, int]:
        """Return the usage object that every conforming answer ends with."""
        total = INPUT_TOKENS + OUTPUT_TOKENS
        return {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": total}

    def reply(self, text: str = TEXT) -> dict[str, Any]:
        """Return a completion with one choice."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "id": "chatcmpl-fault",
            "object": "chat.completion",
            "created": 1734000000,
            "model": "m",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": self.usage(),
        }

    def minimal(self, text: str = TEXT) -> dict[str, Any]:
        """Return one choice with content alone."""
        return {"choices": [{"message": {"content": text}}]}

    @staticmethod
    def chunk(choices: Any, **fields: Any) -> Document:
        """Return a chunk with the given `choices` value and top-level fields."""
        shell = {"id": "chatcmpl-fault", "object": "chat.completion.chunk", "created": 1734000000, "model": "m"}
        return Document(None, {**shell, "choices": choices, **fields})

    def delta(self, delta: Any, finish_reason: str | None = None, index: int = 0) -> Document:
        """Return a chunk of one choice."""
        return self.chunk([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])

    def script(self, pieces: tuple[str, ...] = PIECES) -> Script:
        """Return one choice; the terminal is its finish reason, then come usage and `[DONE]`."""
        return Script(
            opening=(self.delta({"role": "assistant", "content": "", "refusal": None}),),
            deltas=tuple(self.delta({"content": piece}) for piece in pieces),
            closing=(),
            terminal=(self.delta({}, "stop"),),
            epilogue=(self.chunk([], usage=self.usage()), DONE),
        )

    def tool_delta(self, arguments: str, *, identity: bool = False, **fields: Any) -> dict[str, Any]:
        """Return one entry of `tool_calls`; with `identity` it also says id, type and name."""
        function: dict[str, Any] = {"name": TOOL_NAME} if identity else {}
        known = {"id": "call_1", "type": "function"} if identity else {}
        return {"index": 0, **known, "function": {**function, "arguments": arguments}, **fields}

    def tool_script(self, arguments: tuple[str, ...] = TOOL_ARGUMENTS) -> Script:
        """Return one tool call whose arguments arrive in pieces."""
        first = {"role": "assistant", "content": None, "tool_calls": [self.tool_delta("", identity=True)]}
        return Script(
            opening=(self.delta(first),),
            deltas=tuple(self.delta({"tool_calls": [self.tool_delta(piece)]}) for piece in arguments),
            closing=(),
            terminal=(self.delta({}, "tool_calls"),),
            epilogue=(self.chunk([], usage=self.usage()), DONE),
        )

    def error(self, kind: str, message: str = "the fault server says no") -> Document:
        """Return a data event that holds nothing but `error`."""
        return Document(None, {"error": {"message": message, "type": kind, "param": None, "code": kind}})

    def error_body(self, status: int, kind: str, message: str = "the fault server says no") -> dict[str, Any]:
        """Return OpenAI's error object; it names no status."""
        del status
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}


class Responses(Format):
    """OpenAI's `/v1/responses`."""

    name = "responses"

    def path(self, *, stream: bool) -> str:
        """Return the one path; the body alone tells a stream from a plain call."""
        del stream
        return "/v1/responses"

    def request(self, *, stream: bool) -> dict[str, Any]:
        """Return a request with model and input."""
        body: dict[str, Any] = {"model": "m", "input": "Hi"}
        return {**body, "stream": True} if stream else body

    @staticmethod
    def item(text: str = TEXT, status: str = "completed") -> dict[str, Any]:
        """Return a finished message item."""
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": [part]}

    def response(self, status: str, output: list[Any], **fields: Any) -> dict[str, Any]:
        """Return a `response` object with the given status and output."""
        usage = {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        return {
            "id": "resp_fault",
            "object": "response",
            "created_at": 1741476542,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": "m",
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage if status in {"completed", "incomplete"} else None,
            "metadata": {},
            **fields,
        }

    def reply(self, text: str = TEXT) -> dict[str, Any]:
        """Return a completed response with one message item."""
        return self.response("completed", [self.item(text)])

    def minimal(self, text: str = TEXT) -> dict[str, Any]:
        """Return object, status and one message item."""
        content = [{"type": "output_text", "text": text}]
        return {"object": "response", "status": "completed", "output": [{"type": "message", "content": content}]}

    @staticmethod
    def event(kind: str, **fields: Any) -> Document:
        """Return an event whose SSE name is its JSON type; `numbered` adds the sequence numbers later."""
        return Document(kind, {"type": kind, **fields})

    @staticmethod
    def numbered(script: Script) -> Script:
        """Return the script with its sequence numbers counted from 0."""
        parts: list[tuple[Document, ...]] = []
        number = 0
        for part in (script.opening, script.deltas, script.closing, script.terminal, script.epilogue):
            parts.append(tuple(doc.changed(sequence_number=number + i) for i, doc in enumerate(part)))
            number += len(part)
        return Script(*parts)

    def _opening(self) -> tuple[Document, ...]:
        running = self.response("in_progress", [])
        return self.event("response.created", response=running), self.event("response.in_progress", response=running)

    def script(self, pieces: tuple[str, ...] = PIECES) -> Script:
        """Return one message item; the terminal is `response.completed`."""
        text = "".join(pieces)
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        shell = {**self.item("", "in_progress"), "content": []}
        part = {"type": "output_text", "annotations": [], "logprobs": []}
        done = {**part, "text": text}
        added = self.event("response.content_part.added", **place, part={**part, "text": ""})
        return self.numbered(
            Script(
                opening=(
                    *self._opening(),
                    self.event("response.output_item.added", output_index=0, item=shell),
                    added,
                ),
                deltas=tuple(self.event("response.output_text.delta", **place, delta=piece, logprobs=[]) for piece in pieces),
                closing=(
                    self.event("response.output_text.done", **place, text=text, logprobs=[]),
                    self.event("response.content_part.done", **place, part=done),
                    self.event("response.output_item.done", output_index=0, item=self.item(text)),
                ),
                terminal=(self.event("response.completed", response=self.reply(text)),),
            )
        )

    def tool_script(self, arguments: tuple[str, ...] = TOOL_ARGUMENTS) -> Script:
        """Return one function call whose arguments arrive in pieces."""
        shell = {
            "id": "fc_1",
            "type": "function_call",
            "status": "in_progress",
            "call_id": "call_1",
            "name": TOOL_NAME,
            "arguments": "",
        }
        whole = "".join(arguments)
        done = {**shell, "status": "completed", "arguments": whole}
        place = {"item_id": "fc_1", "output_index": 0}
        return self.numbered(
            Script(
                opening=(
                    *self._opening(),
                    self.event("response.output_item.added", output_index=0, item=shell),
                ),
                deltas=tuple(self.event("response.function_call_arguments.delta", **place, delta=piece) for piece in arguments),
                closing=(
                    self.event("response.function_call_arguments.done", **place, arguments=whole),
                    self.event("response.output_item.done", output_index=0, item=done),
                ),
                terminal=(self.event("response.completed", response=self.response("completed", [done])),),
            )
        )

    def error(self, kind: str, message: str = "the fault server says no") -> Document:
        """Return the flat `error` event."""
        return self.event("error", code=kind, message=message, param=None, sequence_number=90)

    def error_body(self, status: int, kind: str, message: str = "the fault server says no") -> dict[str, Any]:
        """Return OpenAI's error object; it names no status."""
        del status
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}


GEMINI_CODES = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class GenerateContent(Format):
    """Gemini's `generateContent` and `streamGenerateContent`."""

    name = "generate_content"

    def path(self, *, stream: bool) -> str:
        """Return the method's path; here the path tells a stream from a plain call."""
        return f"/v1/models/m:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"

    def request(self, *, stream: bool) -> dict[str, Any]:
        """Return a request of one user turn."""
        del stream
        return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}

    @staticmethod
    def chunk(parts: list[Any] | None, finish: str | None = None, index: int = 0, **fields: Any) -> Document:
        """Return a chunk of one candidate; without parts it has no content."""
        candidate: dict[str, Any] = {"index": index}
        if parts is not None:
            candidate["content"] = {"role": "model", "parts": parts}
        if finish:
            candidate["finishReason"] = finish
        shell = {"candidates": [candidate], "modelVersion": "m", "responseId": "r-fault"}
        return Document(None, {**shell, **fields})

    @staticmethod
    def usage() -> dict[str, int]:
        """Return the usage object that every conforming answer ends with."""
        total = INPUT_TOKENS + OUTPUT_TOKENS
        return {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS, "totalTokenCount": total}

    def reply(self, text: str = TEXT) -> dict[str, Any]:
        """Return a reply of one candidate."""
        data: dict[str, Any] = self.chunk([{"text": text}], "STOP", usageMetadata=self.usage()).data
        return data

    def minimal(self, text: str = TEXT) -> dict[str, Any]:
        """Return one candidate with parts alone; not even a role."""
        return {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}

    def script(self, pieces: tuple[str, ...] = PIECES) -> Script:
        """Return one candidate; the terminal is the chunk with its finish reason."""
        return Script(
            opening=(),
            deltas=tuple(self.chunk([{"text": piece}]) for piece in pieces),
            closing=(),
            terminal=(self.chunk([{"text": ""}], "STOP", usageMetadata=self.usage()),),
        )

    def tool_script(self, arguments: tuple[str, ...] = TOOL_ARGUMENTS) -> Script:
        """Return one function call, whole in one part."""
        call = {"functionCall": {"name": TOOL_NAME, "args": json.loads("".join(arguments))}}
        return Script(
            opening=(),
            deltas=(self.chunk([call]),),
            closing=(),
            terminal=(self.chunk(None, "STOP", usageMetadata=self.usage()),),
        )

    def error(self, kind: str, message: str = "the fault server says no") -> Document:
        """Return a data event that holds nothing but `error`."""
        return Document(None, self.error_body(GEMINI_CODES.get(kind, 500), kind, message))

    def error_body(self, status: int, kind: str, message: str = "the fault server says no") -> dict[str, Any]:
        """Return Google's error object: the status as a number and as a word."""
        return {"error": {"code": status, "message": message, "status": kind}}


MESSAGES = Messages()
CHAT = ChatCompletions()
RESPONSES = Responses()
GEMINI = GenerateContent()

FORMATS: dict[str, Format] = {entry.name: entry for entry in (MESSAGES, CHAT, RESPONSES, GEMINI)}
ALL: tuple[str, ...] = tuple(FORMATS)
