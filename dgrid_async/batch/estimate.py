"""What a request will take in tokens, before it is sent: a guess from its length, which `limiter` corrects by what came of it.

It reads parameters alone; what the tokens were is told by the usage of the reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from dgrid_async.request import Request

__all__ = ["tokens_asked"]

# English has about four characters a token; JSON, code and other scripts have fewer, and the ratio is learnt anyway.
_CHARACTERS = 4
# A text this long without a space is a medium in base64: what vendors count for a picture is about this many tokens.
_LONG, _MEDIUM = 4096, 1000
# An answer without a bound of its own.
_ANSWER = 256
_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")


def tokens_asked(request: Request) -> int:
    """Return an estimate of the tokens, input and the most of output, that a request is for."""
    characters, media = 0, 0
    rest: list[Any] = [request.params]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            if len(item) > _LONG and " " not in item:
                media += 1
            else:
                characters += len(item)
        elif isinstance(item, (bytes, bytearray, memoryview)):
            media += 1
        elif isinstance(item, Mapping):
            rest.extend(item.values())
        elif isinstance(item, (list, tuple)):
            rest.extend(item)
        elif attrs.has(type(item)):
            rest.extend(getattr(item, field.name, None) for field in attrs.fields(type(item)))
    config = [request.params.get(name) for name in ("config", "generation_config", "generationConfig")]
    places = [request.params, *(place for place in config if isinstance(place, Mapping))]
    bounds = [place[name] for place in places for name in _BOUNDS if isinstance(place.get(name), int)]
    return max(1, characters // _CHARACTERS + media * _MEDIUM + max(bounds, default=_ANSWER))
