"""What a request asks for, in words that all four formats share.

Plain values and the small readings they have in common (media data, word counts). It knows no wire format by itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dgrid_async.emulator.problems import Problem

__all__ = ["MEDIA_TOKENS", "Media", "Prompt", "Tool", "count_tokens", "media_from_base64", "media_from_url"]

MEDIA_TOKENS = 258
"""Tokens of one media part; the figure Google gives for an image."""

_WORD = re.compile(r"\w+|[^\w\s]")
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Media:
    """One image, sound, film or document in the request; `size` in bytes, None where only an address was given."""

    type: str
    size: int | None
    source: str = ""

    def __str__(self) -> str:
        return f"{self.type}, {self.size} bytes" if self.size is not None else f"{self.type} at {self.source}"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool the model may call, with the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a request asks for.

    Args:
        model: The model it names.
        text: The last text the user said, "" if there is none.
        words: Every text in it, in order; what input tokens are counted from.
        media: Every media part in it, in order.
        tool: The tool that the model is made to call, if any.
        choices: How many answers are wanted.
        reasoning: Whether thoughts are to be shown.
        schema: The JSON schema that the answer must fit, if any.
    """

    model: str
    text: str = ""
    words: tuple[str, ...] = ()
    media: tuple[Media, ...] = ()
    tool: Tool | None = None
    choices: int = 1
    reasoning: bool = False
    schema: Mapping[str, Any] | None = None

    @property
    def input_tokens(self) -> int:
        """The tokens of all texts and media; at least 1."""
        return max(1, self.text_tokens + MEDIA_TOKENS * len(self.media))

    @property
    def text_tokens(self) -> int:
        """The tokens of the texts alone."""
        return sum(count_tokens(text) for text in self.words)


def count_tokens(text: str) -> int:
    """Return the number of words and marks in a text: what the emulator calls tokens."""
    return sum(1 for _ in _WORD.finditer(text))


def media_from_base64(data: Any, media_type: Any, place: str) -> Media:
    """Return what the base64 data of a media part hold; both alphabets are accepted.

    Raises:
        Problem: 400, if there is no type or the data are no base64; it names `place`.
    """
    if not isinstance(media_type, str) or not media_type:
        raise Problem(400, f"{place}: a media type is required", param=place)
    if not isinstance(data, str) or not data:
        raise Problem(400, f"{place}: base64 data is required", param=place)
    try:
        size = len(base64.b64decode(data.replace("-", "+").replace("_", "/"), validate=True))
    except (binascii.Error, ValueError):
        raise Problem(400, f"{place}: the data is not valid base64", param=place) from None
    return Media(media_type, size)


def media_from_url(url: Any, kind: str, place: str) -> Media:
    """Return what a `data:` address holds, or a note of where the media is.

    Raises:
        Problem: 400, if it is no address or its data are no base64; it names `place`.
    """
    if not isinstance(url, str) or not url:
        raise Problem(400, f"{place}: a URL is required", param=place)
    if not url.startswith("data:"):
        return Media(kind, None, url)
    match = _DATA_URL.fullmatch(url)
    if match is None or ";base64" not in match[2]:
        raise Problem(400, f"{place}: a data URL must hold base64", param=place)
    return media_from_base64(match[3], match[1], place)
