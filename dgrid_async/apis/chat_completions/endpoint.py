"""Chat Completions as an endpoint: how a call is written and how its answer is read.

This module never does I/O and never changes what the caller gave.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dgrid_async.apis.chat_completions.accumulator import ChatCompletionAccumulator, complete_tool_calls, failure_in
from dgrid_async.apis.chat_completions.events import Event, decode_event, replay, text_of
from dgrid_async.apis.chat_completions.types import ChatCompletion
from dgrid_async.endpoint import Endpoint, Target
from dgrid_async.structuring import structure

__all__ = ["ENDPOINT"]

PATH = "/v1/chat/completions"


def _encode(params: Mapping[str, Any], stream: bool) -> Target:  # noqa: FBT001 -- the contract of Endpoint
    body = dict(params)
    if stream:
        body["stream"] = True
    return Target(PATH, body)


def _decode_reply(body: Any) -> ChatCompletion:
    if not isinstance(body, dict):
        raise ValueError(f"a chat completion is a JSON object; {_kind(body)} came")  # noqa: TRY004 -- the contract's
    choices = body.get("choices")
    if not isinstance(choices, list) and (choices is not None or body.get("contents") is None):
        raise ValueError(f"a chat completion has a list of choices; {_kind(choices)} came in its place")
    for choice in choices or ():
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
            complete_tool_calls(choice["message"])
    return structure(body, ChatCompletion)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", type(None): "nothing"}
    return kinds.get(type(value), "something else")


def _failure_of(body: dict[str, Any]) -> Any:
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(reason := choice.get("finish_reason"), str):
            failure = failure_in(reason, choice.get("error"))
            if failure is not None:
                return failure
    return None


ENDPOINT: Endpoint[Event, ChatCompletion] = Endpoint(
    name="chat_completions",
    required=("model", "messages"),
    encode=_encode,
    decode_reply=_decode_reply,
    decode_event=decode_event,
    accumulator=ChatCompletionAccumulator,
    text_of=text_of,
    replay=replay,
    failure_of=_failure_of,
)
