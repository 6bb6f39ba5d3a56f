"""The reply: a response, what it cost and what became of it.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from dgrid_async.apis.responses.types.content import ResponseOutputText
from dgrid_async.apis.responses.types.items import (
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseInputItem,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseReasoningItem,
)
from dgrid_async.apis.responses.types.settings import (
    AccessPrograms,
    Conversation,
    ImageOptions,
    PromptCacheOptions,
    Reasoning,
    ResponsePrompt,
    ResponseTextConfig,
)
from dgrid_async.apis.responses.types.tools import Tool, ToolChoice, ToolChoiceAllowed
from dgrid_async.wire import Reply, WireObject, wire_type

__all__ = [
    "IncompleteDetails",
    "InputTokensDetails",
    "InputTransformation",
    "Misalignment",
    "Moderation",
    "ModerationError",
    "ModerationResult",
    "OutputTokensDetails",
    "PromptCacheDiagnostics",
    "Response",
    "ResponseError",
    "ResponseStatus",
    "ResponseUsage",
    "ToolUsage",
    "ToolUsageImageGen",
    "ToolUsageWebSearch",
]

ResponseStatus = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"] | str


@wire_type
class InputTokensDetails(WireObject):
    """Input tokens that came from the prompt cache or went into it."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_tokens_details: dict[str, Any] | None = None


@wire_type
class OutputTokensDetails(WireObject):
    """Output tokens that were thought, not said."""

    reasoning_tokens: int = 0


@wire_type
class ResponseUsage(WireObject):
    """What the response cost, in tokens.

    Some gateways name the counts as the Chat Completions API does. Those fields are here too, and where they came
    `input_tokens` and `output_tokens` hold what they say.
    """

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails | None = None
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails | None = None
    total_tokens: int = 0
    prompt_tokens: int | None = None
    prompt_tokens_details: InputTokensDetails | None = None
    completion_tokens: int | None = None
    completion_tokens_details: OutputTokensDetails | None = None

    def __attrs_post_init__(self) -> None:
        """Take over what came under the Chat Completions names."""
        self.input_tokens = self.input_tokens or self.prompt_tokens or 0
        self.output_tokens = self.output_tokens or self.completion_tokens or 0
        self.input_tokens_details = self.input_tokens_details or self.prompt_tokens_details
        self.output_tokens_details = self.output_tokens_details or self.completion_tokens_details

    def to_dict(self) -> dict[str, Any]:
        """Return the counts under the names that they came under."""
        counts = super().to_dict()
        wire = getattr(self, "_wire", counts)
        for name, chat_name in _CHAT_NAMES.items():
            if counts.get(chat_name) and not wire.get(name):
                if name in wire:
                    counts[name] = wire[name]
                else:
                    counts.pop(name, None)
        return counts


_CHAT_NAMES = {
    "input_tokens": "prompt_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens": "completion_tokens",
    "output_tokens_details": "completion_tokens_details",
}


@wire_type
class ToolUsageImageGen(WireObject):
    """Tokens that drawing took; the details tell image tokens from text tokens."""

    input_tokens: int = 0
    input_tokens_details: dict[str, Any] | None = None
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    cached_tokens_details: dict[str, Any] | None = None
    output_tokens_details: dict[str, Any] | None = None


@wire_type
class ToolUsageWebSearch(WireObject):
    """How often the web was searched."""

    num_requests: int = 0


@wire_type
class ToolUsage(WireObject):
    """What the server's own tools cost."""

    image_gen: ToolUsageImageGen | None = None
    web_search: ToolUsageWebSearch | None = None


@wire_type
class Misalignment(WireObject):
    """Why the server stopped a model that went astray.

    Attributes:
        steer: A `message` that may set it right.
    """

    detailed_explanation: str | None = None
    error_type: str | None = None
    review_target: str | None = None
    steer: dict[str, Any] | None = None


@wire_type
class ResponseError(WireObject):
    """Why a response failed.

    Attributes:
        code: "server_error", "rate_limit_exceeded", "invalid_prompt" and others.
    """

    code: str = ""
    message: str = ""
    misalignment: Misalignment | None = None
    param: str | None = None
    type: str | None = None


@wire_type
class IncompleteDetails(WireObject):
    """Why a response is incomplete.

    Attributes:
        reason: "max_output_tokens", "max_messages", "content_filter" or "steered".
    """

    reason: str | None = None


@wire_type
class InputTransformation(WireObject):
    """An item of the input that the server changed.

    Attributes:
        id: The item's.
        action: "removed".
        type: The item's kind.
    """

    id: str = ""
    action: str = ""
    reason: str = ""
    type: str = "reasoning"


@wire_type
class ModerationResult(WireObject):
    """What moderation says, by category."""

    categories: dict[str, Any] = attrs.field(factory=dict)
    category_applied_input_types: dict[str, Any] = attrs.field(factory=dict)
    category_scores: dict[str, Any] = attrs.field(factory=dict)
    flagged: bool = False
    model: str = ""
    type: Literal["moderation_result"] = "moderation_result"


@wire_type
class ModerationError(WireObject):
    """Why moderation says nothing."""

    code: str = ""
    message: str = ""
    type: Literal["error"] = "error"


@wire_type
class Moderation(WireObject):
    """What moderation says of both sides."""

    input: ModerationResult | ModerationError | None = None
    output: ModerationResult | ModerationError | None = None


@wire_type
class PromptCacheDiagnostics(WireObject):
    """Whether the prompt cache served, and why not; all but `type` belongs to "cache_miss"."""

    cache_missed_tokens: int | None = None
    reason: str | None = None
    comparison_reusable_tokens: int | None = None
    type: Literal["cache_miss", "cache_hit", "comparison_response_not_found", "unavailable"] = "unavailable"


@wire_type
class Response(Reply):
    """A response.

    Attributes:
        created_at: Seconds since 1970.
        error: Why it failed; None while `status` is not "failed".
        instructions: As given, or as items where a stored prompt made them.
        output: What the model did, in order: messages, reasoning, calls.
        text_config: The wire's field `text`: how the text was to be written. The text itself is `text`.
        completed_at: Seconds since 1970.
    """

    id: str = ""
    access_programs: AccessPrograms | None = None
    created_at: float = 0.0
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | list[ResponseInputItem] | None = None
    metadata: dict[str, Any] | None = None
    model: str = ""
    object: str = "response"
    output: list[ResponseOutputItem] = attrs.field(factory=list)
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    tool_choice: str | ToolChoiceAllowed | ToolChoice | None = None
    tools: list[Tool] = attrs.field(factory=list)
    top_p: float | None = None
    background: bool | None = None
    completed_at: float | None = None
    conversation: Conversation | None = None
    image: ImageOptions | None = None
    input_transformations: list[InputTransformation] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    moderation: Moderation | None = None
    previous_response_id: str | None = None
    prompt: ResponsePrompt | None = None
    prompt_cache_diagnostics: PromptCacheDiagnostics | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: str | None = None
    reasoning: Reasoning | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    status: ResponseStatus | None = None
    text_config: ResponseTextConfig | None = attrs.field(default=None, metadata={"wire": "text"})
    tool_usage: ToolUsage | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    usage: ResponseUsage | None = None
    user: str | None = None

    @property
    def text(self) -> str:
        """The text of all messages, joined."""
        return "".join(
            part.text
            for item in self.output
            if isinstance(item, ResponseOutputMessage)
            for part in item.content
            if isinstance(part, ResponseOutputText)
        )

    @property
    def output_text(self) -> str:
        """`text`, by the name that the vendor's SDK gives it."""
        return self.text

    @property
    def reasoning_text(self) -> str:
        """What the model showed of its thinking, joined: the reasoning itself where it is there, else the summary."""
        return "".join(
            part.text
            for item in self.output
            if isinstance(item, ResponseReasoningItem)
            for part in (item.content or item.summary)
        )

    @property
    def tool_calls(self) -> list[ResponseFunctionToolCall | ResponseCustomToolCall]:
        """The calls that the caller has to answer: of functions and of custom tools."""
        return [item for item in self.output if isinstance(item, (ResponseFunctionToolCall, ResponseCustomToolCall))]
