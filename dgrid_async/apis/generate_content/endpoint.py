"""How generateContent is called and its answers are read.

A stream is another route, not a field of the body. The spelling on the wire is read off the definitions in `params` and
`types`: only what they know as a structure is spelt anew, so that arguments, JSON schemas, labels and metadata go out
as given.

This module never does I/O.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from typing import (
    Any,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from urllib.parse import quote

from dgrid_async.apis.generate_content.accumulator import GenerateContentAccumulator
from dgrid_async.apis.generate_content.events import Event, decode_event, text_of
from dgrid_async.apis.generate_content.params import (
    GenerateParams,
    GenerationConfig,
    SpeechConfig,
)
from dgrid_async.apis.generate_content.types import (
    Content,
    GenerateContentResponse,
    Part,
)
from dgrid_async.config import CALL_OPTIONS
from dgrid_async.endpoint import Endpoint, Target
from dgrid_async.errors import ConfigError
from dgrid_async.structuring import structure
from dgrid_async.wire import WireObject, wire_names

__all__ = ["ENDPOINT"]

Wire = dict[str, Any]
Rule = Callable[[Any], Any]

_REPLY_MARKS = {"candidates", "promptFeedback", "usageMetadata"}
# Parameters that are no field of the body: `model` is in the path, and the route says whether the answer is streamed.
_NOT_IN_BODY = {"model", "stream", *CALL_OPTIONS}
# Two fields whose names on the wire are others.
_RENAMED = {"model_selection_config": "modelConfig", "generation_output_config": "outputConfig"}
# What steers Google's own SDK and never crosses the wire: what to say to someone who sets it.
_SDK_ONLY = {
    "http_options": "use base_url=, timeouts=, retries= and extra_headers=",
    "automatic_function_calling": "no function is ever called here: read the reply's function_calls and answer them",
    "automatic_continuation": "no further request is ever made here: send continuation_token yourself",
    "should_return_http_response": "read the reply's request_id, or the stream's status and headers",
}

# ---------------------------------------------------------------------------------------------------------- the request


def encode(params: Mapping[str, Any], stream: bool) -> Target:  # noqa: FBT001 -- the endpoint's contract
    """Return the request for a plain answer, or for a streamed one.

    Raises:
        ConfigError: The model is no id, or contents or config hold what has no form on the wire.
    """
    model = params["model"]
    place = _place_of(model) if isinstance(model, str) else ""
    if not place:
        raise ConfigError(f"model={model!r}: give a model's id, such as 'google/gemini-2.5-flash'")
    method = "streamGenerateContent" if stream else "generateContent"
    return Target(f"/v1/models/{place}:{method}", _body(params), {"alt": "sse"} if stream else {})


@lru_cache(maxsize=128)
def _place_of(model: str) -> str:
    """Return a model's place in the route, or nothing for what is no id; its slashes stay, and a colon would end it."""
    name = model.removeprefix("models/")
    return "" if {"", ".", ".."}.intersection(name.split("/")) else quote(name, safe="/")


def _body(params: Mapping[str, Any]) -> Wire:
    body: Wire = {}
    generation: Wire = {}
    given = _get(params, "generation_config", "generationConfig")
    if given is not None:
        generation = body["generationConfig"] = _object(GenerationConfig, given)
        if not isinstance(generation, dict):
            raise ConfigError(f"generation_config={given!r}: give a dict")
    config = params.get("config")
    if config is not None:
        for name, value in _config_items(config):
            _place(name, value, body, generation, unknown=generation)
    for name, value in params.items():
        if name not in _NOT_IN_BODY and name not in {"config", "generation_config", "generationConfig"}:
            _place(name, value, body, generation, unknown=body)
    if generation:
        body["generationConfig"] = generation
    return body


def _get(params: Mapping[str, Any], *names: str) -> Any:
    return next((params[name] for name in names if name in params), None)


def _config_items(config: Any) -> Iterable[tuple[str, Any]]:
    """Return the fields of `config` that cross the wire; in it, as in Google's SDK, None is a field not set."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"config of type {type(config).__name__}: give a dict, or this package's GenerateContentConfig")
    items = []
    for name, value in config.items():
        snake = next((known for known in _SDK_ONLY if name in {known, _camel(known)}), None)
        if snake is None:
            if value is not None:
                items.append((name, value))
        elif value and value != {"disable": True}:
            raise ConfigError(f"config.{name} is no field of the request: {_SDK_ONLY[snake]}")
    return items


def _place(name: str, value: Any, body: Wire, generation: Wire, *, unknown: Wire) -> None:
    """Put a parameter where the wire has it; a name that is not known goes as it is, to the place for those."""
    if name not in _fields(GenerateParams):
        unknown[name] = value
        return
    wire, rule = _fields(GenerateParams)[name]
    place = generation if name in _fields(GenerationConfig) else body
    place[wire] = value if rule is None or value is None else rule(value)


# ------------------------------------------------------------------------------------------------------------- contents


def _contents(value: Any) -> list[Wire]:
    """Return the messages that someone meant by a text, a part, a message, or a list of them."""
    if isinstance(value, str):
        return [{"role": "user", "parts": [{"text": value}]}]
    messages: list[Wire] = []
    open_role = None  # whose message the last one is, while loose parts may still join it
    for item in _items(value):
        if _is_message(item):
            messages.append(_message(item))
            open_role = None
        elif _is_list(item):
            messages.append({"role": "user", "parts": [_part(part) for part in item]})
            open_role = None
        else:
            part = _part(item)
            role = "model" if "functionCall" in part else "user"
            if role != open_role:
                messages.append({"role": role, "parts": []})
                open_role = role
            messages[-1]["parts"].append(part)
    return messages


def _system_instruction(value: Any) -> Wire:
    return _message(value) if _is_message(value) else {"parts": [_part(item) for item in _items(value)]}


def _is_message(value: Any) -> bool:
    return isinstance(value, Content) or (isinstance(value, Mapping) and ("parts" in value or "role" in value))


def _message(value: Any) -> Wire:
    message: Wire = _object(Content, value)
    parts = message.get("parts")
    if isinstance(parts, str):
        message["parts"] = [{"text": parts}]
    elif isinstance(parts, list):
        message["parts"] = [{"text": part} if isinstance(part, str) else part for part in parts]
    return message


def _part(value: Any) -> Wire:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, (Part, Mapping)):
        part: Wire = _object(Part, value)
        return part
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise ConfigError("bytes among the contents: wrap them in Part.from_bytes")
    if isinstance(value, GenerateContentResponse):
        raise ConfigError("a reply among the contents: give its message, reply.content")
    raise ConfigError(f"a {type(value).__name__} among the contents: give text, a Part, a Content or a dict")


def _items(value: Any) -> Iterable[Any]:
    return value if _is_list(value) else [value]


def _is_list(value: Any) -> bool:
    return not isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) and isinstance(value, Iterable)


# ------------------------------------------------------------------------------------------------------------- spelling


@cache
def _fields(cls: type) -> dict[str, tuple[str, Rule | None]]:
    """Return a structure's fields, under either spelling: the name on the wire, and what rewrites the value."""
    fields: dict[str, tuple[str, Rule | None]] = {}
    hints = get_type_hints(cls)
    spelt = {_RENAMED.get(name) or _camel(name): name for name in hints}
    names = wire_names(cls) if issubclass(cls, WireObject) else spelt
    for wire, name in names.items():
        rule = _RULES.get(name) if cls in {GenerateParams, GenerationConfig} else None
        fields[name] = fields[wire] = fields[_camel(name)] = (wire, rule or _rule(hints[name]))
    return fields


def _rule(hint: Any) -> Rule | None:
    """Return what rewrites a value of a type, or None where there is nothing to rewrite in it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return next((rule for member in arguments if (rule := _rule(member)) is not None), None)
    if isinstance(hint, type) and (is_typeddict(hint) or issubclass(hint, WireObject)):
        return partial(_object, hint)
    if arguments and isinstance(origin, type) and origin is not type:
        item = _rule(arguments[-1])
        if item is not None:
            return partial(_map if issubclass(origin, Mapping) else _list, item)
    return None


def _object(cls: type, value: Any) -> Any:
    """Return a structure with its fields' names as on the wire; what is no structure stays as it is."""
    if isinstance(value, WireObject):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        return value
    fields = _fields(cls)
    result: Wire = {}
    for name, item in value.items():
        wire, rule = fields.get(name, (name, None))
        result[wire] = item if rule is None else rule(item)
    return result


def _list(rule: Rule, value: Any) -> Any:
    return [rule(item) for item in value] if _is_list(value) else value


def _map(rule: Rule, value: Any) -> Any:
    return {name: rule(item) for name, item in value.items()} if isinstance(value, Mapping) else value


def _speech_config(value: Any) -> Any:
    """Return a voice's settings; a text is the name of one of the model's own voices."""
    if isinstance(value, str):
        return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": value}}}
    return _object(SpeechConfig, value)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


_RULES: dict[str, Rule] = {
    "contents": _contents,
    "system_instruction": _system_instruction,
    "speech_config": _speech_config,
}

# ----------------------------------------------------------------------------------------------------------- the answer


def decode_reply(data: Any) -> GenerateContentResponse:
    """Return the reply that the JSON of a plain answer describes.

    Raises:
        ValueError: It describes none, or a known field holds what it cannot hold.
    """
    if not isinstance(data, dict):
        message = f"a reply of generateContent is a JSON object, not {type(data).__name__}"
        raise ValueError(message)  # noqa: TRY004 -- the contract of Endpoint
    if not _REPLY_MARKS & data.keys():
        raise ValueError("no reply of generateContent: no candidates, promptFeedback or usageMetadata is in it")
    return structure(data, GenerateContentResponse)


def replay(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a whole reply as the one event that it is: a stream of one."""
    return [data]


ENDPOINT: Endpoint[Event, GenerateContentResponse] = Endpoint(
    name="generate_content",
    required=("model",),
    encode=encode,
    decode_reply=decode_reply,
    decode_event=decode_event,
    accumulator=GenerateContentAccumulator,
    text_of=text_of,
    replay=replay,
)
"""Gemini's generateContent and streamGenerateContent."""
