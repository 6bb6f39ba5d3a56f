"""One answer, ready to be put into a wire format: script and request brought together.

Every value in it follows from the request, the script and the reply's number. It knows no wire format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dgrid_async.emulator.prompt import Media, Prompt, count_tokens
from dgrid_async.emulator.schema import example
from dgrid_async.emulator.script import Pieces, Script, ToolCall, Usage

__all__ = ["Answer", "Call", "compose"]

EPOCH = 1_750_000_000
"""`created` of reply 0 in seconds since 1970; each further reply is a second later."""

SIGNATURE = "RW11bGF0b3Igc2lnbmF0dXJl"
"""What stands for the vendors' opaque signatures of thoughts."""

_QUOTED_WORDS = 12
"""The echo quotes so many words at most, so that a pasted book still gets a short answer."""

_ARGUMENT_PIECE = 8
"""Characters in one piece of tool arguments when the script gives them whole."""

_PIECE = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call with its arguments as pieces of JSON text.

    Args:
        number: What makes its id unique on this server.
        scripted_id: The id that the script gave, if any.
    """

    number: str
    scripted_id: str | None
    name: str
    pieces: tuple[str, ...]

    def id(self, prefix: str) -> str:
        """Return the scripted id, else one with the format's prefix."""
        return self.scripted_id or prefix + self.number

    @property
    def arguments(self) -> str:
        """The JSON text as a whole."""
        return "".join(self.pieces)

    def parsed(self) -> dict[str, Any]:
        """Return the arguments as an object.

        Raises:
            ValueError: The text is none, and the format that asks can only carry objects.
        """
        value = json.loads(self.arguments or "{}")
        if not isinstance(value, dict):
            msg = f"the arguments of {self.name} are no JSON object, and this format can carry nothing else"
            raise ValueError(msg)  # noqa: TRY004 - one error class for text that is no JSON and JSON that is no object
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All that a format needs to write its reply.

    Args:
        number: The reply's number on this server, from 1.
        request_id: What the response header says.
        request: The request's body.
        texts: For each choice its text in pieces; no pieces = no text.
        stop_reason: The script's word, None where it gave none.
        media: The request's media parts.
        exact: Whether `usage` was scripted; running totals then stay below it until the end.
    """

    number: int
    request_id: str
    created: int
    model: str
    request: Mapping[str, Any]
    texts: tuple[tuple[str, ...], ...]
    reasoning: tuple[str, ...]
    refusal: tuple[str, ...]
    calls: tuple[Call, ...]
    stop_reason: str | None
    stop_sequence: str | None
    usage: Usage
    media: tuple[Media, ...]
    text_tokens: int
    exact: bool

    @property
    def id(self) -> str:
        """The number as vendors write ids: long, of fixed length."""
        return f"{self.number:024d}"

    @property
    def signature(self) -> str:
        """The signature of its thoughts, in base64."""
        return SIGNATURE


def compose(prompt: Prompt, script: Script, request: Mapping[str, Any], number: int, request_id: str) -> Answer:
    """Return the answer to a request under a script."""
    calls = tuple(
        Call(f"{number:08d}{index:02d}", call.id, call.name, _arguments(call))
        for index, call in enumerate(_calls(prompt, script))
    )
    refusal = _split(script.refusal or "")
    texts = _texts(prompt, script, silent=bool(calls or refusal))
    reasoning = _split(_thoughts(prompt) if script.reasoning is None else script.reasoning)
    # Every choice thinks, refuses and calls the same; only the texts may differ.
    every = "".join(refusal) + "".join(f" {call.name}{call.arguments}" for call in calls)
    thought = count_tokens("".join(reasoning)) * len(texts)
    said = count_tokens(every) * len(texts) + sum(count_tokens("".join(text)) for text in texts)
    usage = script.usage or Usage(input=prompt.input_tokens, output=max(1, thought + said), reasoning=thought)
    return Answer(
        number=number,
        request_id=request_id,
        created=EPOCH + number,
        model=script.model or prompt.model,
        request=request,
        texts=texts,
        reasoning=reasoning,
        refusal=refusal,
        calls=calls,
        stop_reason=script.stop_reason,
        stop_sequence=script.stop_sequence,
        usage=usage,
        media=prompt.media,
        text_tokens=prompt.text_tokens,
        exact=script.usage is not None,
    )


def _split(text: Pieces) -> tuple[str, ...]:
    return tuple(_PIECE.findall(text)) if isinstance(text, str) else text


def _calls(prompt: Prompt, script: Script) -> tuple[ToolCall, ...]:
    if script.tool_calls or script.text is not None or script.refusal is not None or prompt.tool is None:
        return script.tool_calls
    arguments = example(prompt.tool.schema)
    return (ToolCall(prompt.tool.name, arguments if isinstance(arguments, dict) else {}),)


def _arguments(call: ToolCall) -> tuple[str, ...]:
    if isinstance(call.arguments, tuple):
        return call.arguments
    text = call.arguments
    if not isinstance(text, str):
        text = json.dumps(dict(text), ensure_ascii=False, separators=(",", ":"))
    return tuple(text[at : at + _ARGUMENT_PIECE] for at in range(0, len(text), _ARGUMENT_PIECE))


def _texts(prompt: Prompt, script: Script, *, silent: bool) -> tuple[tuple[str, ...], ...]:
    first = script.text if script.text is not None else "" if silent else _echo(prompt)
    if script.alternatives:
        return tuple(_split(text) for text in (first, *script.alternatives))
    return (_split(first),) * prompt.choices


def _echo(prompt: Prompt) -> str:
    if prompt.schema is not None:
        return json.dumps(example(prompt.schema), ensure_ascii=False)
    words = prompt.text.split()
    quoted = " ".join(words[:_QUOTED_WORDS]) + (" …" if len(words) > _QUOTED_WORDS else "")
    sentences = [f"You said: “{quoted}”." if words else "You said nothing."]
    if prompt.media:
        sentences.append(f"You sent: {'; '.join(map(str, prompt.media))}.")
    sentences.append("This answer comes from the emulator, word by word.")
    return " ".join(sentences)


def _thoughts(prompt: Prompt) -> str:
    return "The user wants an answer. An echo will do." if prompt.reasoning else ""
