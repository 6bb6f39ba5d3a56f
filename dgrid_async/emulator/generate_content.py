"""Google's `POST /v1/models/{model}:generateContent` and `:streamGenerateContent`: read and written as raw JSON.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from dgrid_async.emulator import failures
from dgrid_async.emulator.answer import Answer
from dgrid_async.emulator.problems import Problem, must_be, roles_must_be
from dgrid_async.emulator.prompt import MEDIA_TOKENS, Media, Prompt, Tool, count_tokens, media_from_base64
from dgrid_async.emulator.sse import Sse, encode

__all__ = ["failure", "failure_sse", "listed", "listed_failure", "read", "reply", "stream"]

_ROLES = ("user", "model", "function", "system")
_FINISH_REASONS = {
    "end": "STOP",
    "length": "MAX_TOKENS",
    "stop_sequence": "STOP",
    "content_filter": "SAFETY",
    "tool": "STOP",
}
_MODALITIES = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO"}
_MAX_CANDIDATES = 8

_Part = dict[str, Any]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Prompt:
    """Return what the request asks for; the model is in the path, which is not seen here.

    An empty body is allowed. Both spellings of a field's name are, as with Google.

    Raises:
        Problem: 400, naming the field of a wrong type.
    """
    del headers
    given = body.get("contents")
    contents: list[Any] = given if isinstance(given, list) else [given] if given else []
    must_be(body, "contents", list, dict)
    must_be(body, "tools", list)
    roles_must_be(contents, _ROLES, "contents", required=False)
    config = _object(body, "generationConfig")
    system = _object(body, "systemInstruction")
    must_be(config, "candidateCount", int, least=1, place="generationConfig.")
    must_be(config, "maxOutputTokens", int, least=1, place="generationConfig.")
    choices = int(_get(config, "candidateCount") or 1)
    if choices > _MAX_CANDIDATES:
        where = "generationConfig.candidateCount"
        raise Problem(400, f"{where}: must be at most {_MAX_CANDIDATES}", param=where)
    words: list[str] = []
    media: list[Media] = []
    _parts(system, "systemInstruction", words, media)
    last = ""
    for index, content in enumerate(contents):
        said = _parts(content, f"contents.{index}", words, media)
        if content.get("role") in {None, "user"} and said:
            last = said
    return Prompt(
        model="",
        text=last,
        words=tuple(words),
        media=tuple(media),
        tool=_tool(body),
        choices=choices,
        reasoning=bool(_get(_get(config, "thinkingConfig") or {}, "includeThoughts")),
        schema=_schema(config),
    )


def reply(answer: Answer) -> dict[str, Any]:
    """Return the whole response."""
    if _prompt_blocked(answer):
        return _blocked(answer)
    candidates = []
    for index, text in enumerate(answer.texts):
        parts: list[_Part] = []
        for part, _ in _pieces(answer, text):
            # Only plain neighbours of one kind are joined: a part with a signature stands alone.
            if parts and _joinable(parts[-1], part):
                parts[-1] = {**parts[-1], "text": parts[-1]["text"] + part["text"]}
            else:
                parts.append(part)
        candidates.append(_candidate(answer, index, parts, last=True))
    return _chunk(answer, candidates, answer.usage.output - answer.usage.reasoning, answer.usage.reasoning)


def stream(answer: Answer) -> Iterator[Sse]:
    """Yield the chunks; several candidates share each of them, and the counts run up to the total."""
    if _prompt_blocked(answer):
        yield _sse(_blocked(answer), ends=True)
        return
    rows = [list(_pieces(answer, text)) for text in answer.texts]
    length = max(1, *map(len, rows))
    said = thought = 0
    total = answer.usage.output - answer.usage.reasoning
    for number, turn in enumerate(zip_longest(*rows) if any(rows) else [(None,) * len(rows)]):
        candidates = []
        for index, entry in enumerate(turn):
            row = rows[index]
            if entry is None and (row or number):
                continue
            parts: list[_Part] = []
            if entry is not None:
                part, tokens = entry
                parts = [part]
                if part.get("thought"):
                    thought = min(thought + tokens, answer.usage.reasoning)
                else:
                    said = min(said + tokens, total)
            candidates.append(_candidate(answer, index, parts, last=number >= len(row) - 1))
        if number == length - 1:
            said, thought = total, answer.usage.reasoning
        ends = any("finishReason" in candidate for candidate in candidates)
        yield _sse(_chunk(answer, candidates, said, thought), ends=ends)


def failure(status: int, message: str | None, request_id: str, param: str | None = None) -> dict[str, Any]:
    """Return an error body; the format has a place for neither the request id nor the field."""
    del request_id, param
    return failures.gemini(status, message)


def failure_sse(status: int, message: str | None, request_id: str, number: int) -> Sse:
    """Return an error within a stream."""
    del number
    return _sse(failure(status, message, request_id), ends=False)


def listed(events: Iterator[Sse]) -> Iterator[Sse]:
    """Yield a stream as the elements of one JSON list, which is how Google streams without `alt=sse`."""
    opening = b"["
    held: Sse | None = None
    for event in events:
        if held is not None:
            yield held
        held = Sse(opening + _json(event), event.ends)
        opening = b",\r\n"
    if held is not None:
        yield Sse(held.data + b"]", held.ends)


def listed_failure(status: int, message: str | None, request_id: str, number: int) -> Sse:
    """Return an error as the last element of such a list."""
    return Sse((b",\r\n" if number else b"[") + _json(failure_sse(status, message, request_id, number)) + b"]")


def _json(event: Sse) -> bytes:
    return event.data.removeprefix(b"data: ").rstrip()


def _sse(data: dict[str, Any], *, ends: bool) -> Sse:
    return Sse(b"data: %b\r\n\r\n" % encode(data), ends)


def _get(body: Mapping[str, Any], name: str) -> Any:
    """Return a field by its camelCase or its snake_case name."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return body.get(name, body.get(snake))


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = _get(body, name)
    must_be({name: value}, name, dict)
    return value or {}


def _parts(content: Mapping[str, Any], place: str, words: list[str], media: list[Media]) -> str:
    """Gather the texts and media of one content; return its texts, joined."""
    parts = content.get("parts")
    must_be(content, "parts", list, dict, place=f"{place}.")
    said: list[str] = []
    for index, part in enumerate(parts if isinstance(parts, list) else [parts] if parts else []):
        where = f"{place}.parts.{index}"
        if not isinstance(part, dict):
            raise Problem(400, f"{where}: must be an object", param=where)
        must_be(part, "text", str, place=f"{where}.")
        if part.get("text"):
            said.append(part["text"])
            words.append(part["text"])
        blob = _object(part, "inlineData")
        if blob:
            media.append(media_from_base64(blob.get("data"), _get(blob, "mimeType"), f"{where}.inlineData"))
        file = _object(part, "fileData")
        if file:
            media.append(Media(str(_get(file, "mimeType") or "file"), None, str(_get(file, "fileUri"))))
        calls = (_get(part, name) for name in ("functionCall", "functionResponse"))
        words.extend(encode(call).decode() for call in calls if call)
    return " ".join(said)


def _tool(body: Mapping[str, Any]) -> Tool | None:
    calling = _get(_object(body, "toolConfig"), "functionCallingConfig") or {}
    if str(calling.get("mode")).upper() != "ANY":
        return None
    allowed = _get(calling, "allowedFunctionNames")
    for tool in body.get("tools") or ():
        for function in (_get(tool, "functionDeclarations") if isinstance(tool, dict) else None) or ():
            if allowed and function.get("name") not in allowed:
                continue
            schema = function.get("parameters") or _get(function, "parametersJsonSchema") or {}
            return Tool(str(function.get("name")), schema)
    raise Problem(400, "tools: a function declaration is required where the calling mode is ANY", param="tools")


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema = _get(config, "responseSchema") or _get(config, "responseJsonSchema")
    if isinstance(schema, dict):
        return schema
    return {"type": "object"} if _get(config, "responseMimeType") == "application/json" else None


def _prompt_blocked(answer: Answer) -> bool:
    """Say whether the refusal comes at once, which Google tells by an answer without candidates."""
    return bool(answer.refusal) and not any(answer.texts)


def _blocked(answer: Answer) -> dict[str, Any]:
    ratings = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
    return {
        "promptFeedback": {
            "blockReason": _FINISH_REASONS.get(answer.stop_reason or "", answer.stop_reason) or "SAFETY",
            "blockReasonMessage": "".join(answer.refusal),
            "safetyRatings": ratings,
        },
        "usageMetadata": {"promptTokenCount": answer.usage.input, "totalTokenCount": answer.usage.input},
        "modelVersion": answer.model,
        "responseId": answer.id,
    }


def _pieces(answer: Answer, text: tuple[str, ...]) -> Iterator[tuple[_Part, int]]:
    """Yield one candidate's parts as they are streamed, each with its tokens."""
    for piece in answer.reasoning:
        yield {"text": piece, "thought": True}, count_tokens(piece)
    for piece in text:
        yield {"text": piece}, count_tokens(piece)
    signed = not answer.reasoning
    for call in answer.calls:
        function: _Part = {"id": call.id("fc_"), "name": call.name, "args": call.parsed()}
        part: _Part = {"functionCall": function}
        if not signed:
            part["thoughtSignature"] = answer.signature
            signed = True
        yield part, count_tokens(call.name + call.arguments)
    if not signed:
        yield {"text": "", "thoughtSignature": answer.signature}, 0


def _joinable(left: _Part, right: _Part) -> bool:
    return (
        "text" in left
        and "text" in right
        and left.get("thought") == right.get("thought")
        and "thoughtSignature" not in left
        and "thoughtSignature" not in right
    )


def _candidate(answer: Answer, index: int, parts: list[_Part], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
    if last:
        reason = answer.stop_reason or ("content_filter" if answer.refusal else "end")
        candidate["finishReason"] = _FINISH_REASONS.get(reason, reason)
        if answer.refusal:
            candidate["finishMessage"] = "".join(answer.refusal)
    return candidate


def _chunk(answer: Answer, candidates: list[dict[str, Any]], said: int, thought: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "promptTokenCount": answer.usage.input,
        "candidatesTokenCount": said,
        "totalTokenCount": answer.usage.input + said + thought,
        "promptTokensDetails": _details(answer),
    }
    if answer.usage.cached:
        usage["cachedContentTokenCount"] = answer.usage.cached
    if answer.reasoning:
        usage["thoughtsTokenCount"] = thought
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": answer.model,
        "responseId": answer.id,
    }


def _details(answer: Answer) -> list[dict[str, Any]]:
    if answer.exact:
        return [{"modality": "TEXT", "tokenCount": answer.usage.input}]
    details = [{"modality": "TEXT", "tokenCount": answer.text_tokens}]
    kinds = Counter(_MODALITIES.get(media.type.split("/")[0], "DOCUMENT") for media in answer.media)
    return details + [{"modality": kind, "tokenCount": MEDIA_TOKENS * times} for kind, times in kinds.items()]
