"""What the caller asked for, as the reply repeats it: reasoning, text format, prompt, caching.

The same things on their way out are dicts; see `params`.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from typing import Any, Literal

from dgrid_async.apis.responses.types.content import InputContent
from dgrid_async.wire import WireObject, wire_type

__all__ = [
    "AccessPrograms",
    "Conversation",
    "ImageOptions",
    "PromptCacheOptions",
    "Reasoning",
    "ResponseFormat",
    "ResponsePrompt",
    "ResponseTextConfig",
]


@wire_type
class Reasoning(WireObject):
    """How the model was to think.

    Attributes:
        context: Which turns' reasoning it sees: "auto", "current_turn" or "all_turns".
        effort: From "none" and "minimal" to "xhigh" and "max".
        generate_summary: The older name of `summary`.
        mode: "standard" or "pro".
        summary: "auto", "concise" or "detailed".
    """

    context: str | None = None
    effort: str | None = None
    generate_summary: str | None = None
    mode: str | None = None
    summary: str | None = None


@wire_type
class ResponseFormat(WireObject):
    """The form that the text was to take; all but `type` belongs to "json_schema"."""

    name: str | None = None
    schema_: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None
    type: Literal["text", "json_schema", "json_object"] = "text"


@wire_type
class ResponseTextConfig(WireObject):
    """How the text was to be written.

    Attributes:
        verbosity: "low", "medium" or "high".
    """

    format: ResponseFormat | None = None
    verbosity: str | None = None


@wire_type
class ResponsePrompt(WireObject):
    """A stored prompt and what was put into its variables."""

    id: str = ""
    variables: dict[str, str | InputContent] | None = None
    version: str | None = None


@wire_type
class PromptCacheOptions(WireObject):
    """How the prompt was to be cached.

    Attributes:
        mode: "implicit" or "explicit".
        ttl: "30m" or "12h".
        comparison_response_id: The response that a cache miss is to be explained against.
    """

    mode: str = ""
    ttl: str = ""
    comparison_response_id: str | None = None


@wire_type
class AccessPrograms(WireObject):
    """The access programs that the call ran under.

    Attributes:
        cyber: "standard", "daybreak_blue" or "daybreak_red".
    """

    cyber: str = ""


@wire_type
class ImageOptions(WireObject):
    """How images in the context were to be treated.

    Attributes:
        context_compression: "enabled" or "disabled".
    """

    context_compression: str = ""


@wire_type
class Conversation(WireObject):
    """The conversation that the response belongs to."""

    id: str = ""
