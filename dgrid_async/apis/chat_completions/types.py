"""The Chat Completions reply: the classes of everything that a completion holds.

What gateways add to OpenAI's format has its place here too: reasoning beside the text, the pictures of an image model.
This module never does I/O and never merges; `accumulator` does.

Source: https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from dgrid_async import codec
from dgrid_async.scalars import to_bytes
from dgrid_async.wire import Reply, Unknown, WireObject, wire_type

__all__ = [
    "Annotation",
    "AnnotationURLCitation",
    "ChatCompletion",
    "ChatCompletionAudio",
    "ChatCompletionMessage",
    "ChatCompletionMessageCustomToolCall",
    "ChatCompletionMessageFunctionToolCall",
    "ChatCompletionMessageToolCall",
    "ChatCompletionTokenLogprob",
    "Choice",
    "ChoiceLogprobs",
    "CompletionTokensDetails",
    "CompletionUsage",
    "CustomCall",
    "FinishReason",
    "FunctionCall",
    "MessageAnnotation",
    "Moderation",
    "ModerationError",
    "ModerationOutcome",
    "ModerationResult",
    "ModerationResults",
    "PromptTokensDetails",
    "Role",
    "ServiceTier",
    "TopLogprob",
    "UnknownAnnotation",
    "UnknownModeration",
    "UnknownToolCall",
]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | str
Role = Literal["developer", "system", "user", "assistant", "tool"] | str
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast"] | str


# ---------------------------------------------------------------------------------------------------------- tool calls


@wire_type
class FunctionCall(WireObject):
    """The function that the model wants called.

    Attributes:
        arguments: JSON text as the model wrote it, which may be no valid JSON.
    """

    name: str = ""
    arguments: str = ""

    def parse_arguments(self) -> Any:
        """Return the value of `arguments`, decoded anew each time; an empty text is an empty object.

        Raises:
            ValueError: The model wrote no valid JSON.
        """
        return codec.decode(self.arguments.encode(errors="replace")) if self.arguments.strip() else {}


@wire_type
class CustomCall(WireObject):
    """The custom tool that the model wants called.

    Attributes:
        input: Free text, in the tool's own grammar if it has one.
    """

    name: str = ""
    input: str = ""


@wire_type
class ChatCompletionMessageFunctionToolCall(WireObject):
    """A call of a function.

    Attributes:
        id: What the tool message that answers the call gives as its `tool_call_id`.
    """

    id: str = ""
    function: FunctionCall = attrs.field(factory=FunctionCall)
    type: Literal["function"] = "function"


@wire_type
class ChatCompletionMessageCustomToolCall(WireObject):
    """A call of a custom tool.

    Attributes:
        id: What the tool message that answers the call gives as its `tool_call_id`.
    """

    id: str = ""
    custom: CustomCall = attrs.field(factory=CustomCall)
    type: Literal["custom"] = "custom"


@wire_type
class UnknownToolCall(Unknown):
    """A tool call of a kind that this version does not know."""


ChatCompletionMessageToolCall = ChatCompletionMessageFunctionToolCall | ChatCompletionMessageCustomToolCall | UnknownToolCall


# ------------------------------------------------------------------------------------------------------------- message


@wire_type
class AnnotationURLCitation(WireObject):
    """A web page that a passage of the content rests on.

    Attributes:
        start_index: Where the passage begins in the content, in characters.
        end_index: Where it ends.
    """

    start_index: int = 0
    end_index: int = 0
    title: str = ""
    url: str = ""


@wire_type
class Annotation(WireObject):
    """A citation within the content, as web search makes them."""

    url_citation: AnnotationURLCitation = attrs.field(factory=AnnotationURLCitation)
    type: Literal["url_citation"] = "url_citation"


@wire_type
class UnknownAnnotation(Unknown):
    """An annotation of a kind that this version does not know."""


MessageAnnotation = Annotation | UnknownAnnotation


@wire_type
class ChatCompletionAudio(WireObject):
    """The answer as sound.

    Attributes:
        id: How a later request refers to it.
        data: Base64, in the format that the request named.
        expires_at: Until when a later request may refer to it, in Unix seconds.
        transcript: What is said.
    """

    id: str = ""
    data: str = ""
    expires_at: int = 0
    transcript: str = ""

    def to_bytes(self) -> bytes:
        """Return the sound itself.

        Raises:
            ValueError: `data` is no base64.
        """
        return to_bytes(self.data, "ChatCompletionAudio.data")


@wire_type
class ChatCompletionMessage(WireObject):
    """What the model said; goes back as it is into the `messages` of the next request.

    Attributes:
        content: The answer's text; None where there are only tool calls, sound or a refusal.
        refusal: Why the model does not answer.
        function_call: The one call of the older function calling; `tool_calls` took its place.
        reasoning_content: The model's reasoning, under the name that most gateways give it.
        reasoning: The same under the name that some give it.
        reasoning_details: The same in pieces, signed or encrypted; some models want them back unchanged.
    """

    role: Role = "assistant"
    content: str | None = None
    refusal: str | None = None
    annotations: list[MessageAnnotation] | None = None
    audio: ChatCompletionAudio | None = None
    function_call: FunctionCall | None = None
    tool_calls: list[ChatCompletionMessageToolCall] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


# ------------------------------------------------------------------------------------------------------------ logprobs


@wire_type
class TopLogprob(WireObject):
    """One token that might have stood at a place.

    Attributes:
        bytes: The token's UTF-8 bytes; a character may spread over several tokens.
        logprob: The natural logarithm of its probability.
    """

    token: str = ""
    bytes: list[int] | None = None
    logprob: float = 0.0


@wire_type
class ChatCompletionTokenLogprob(WireObject):
    """A token of the answer, with the likeliest ones at its place.

    Attributes:
        bytes: The token's UTF-8 bytes; a character may spread over several tokens.
        logprob: The natural logarithm of its probability.
    """

    token: str = ""
    bytes: list[int] | None = None
    logprob: float = 0.0
    top_logprobs: list[TopLogprob] = attrs.field(factory=list)


@wire_type
class ChoiceLogprobs(WireObject):
    """The tokens of a choice, those of the content and those of the refusal."""

    content: list[ChatCompletionTokenLogprob] | None = None
    refusal: list[ChatCompletionTokenLogprob] | None = None


# --------------------------------------------------------------------------------------------------------------- usage


@wire_type
class CompletionTokensDetails(WireObject):
    """What the completion's tokens were spent on."""

    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    text_tokens: int | None = None


@wire_type
class PromptTokensDetails(WireObject):
    """What the prompt's tokens were.

    Attributes:
        cached_tokens: Read from the cache.
        cache_write_tokens: Written into it.
    """

    audio_tokens: int | None = None
    cache_write_tokens: int | None = None
    cached_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None


@wire_type
class CompletionUsage(WireObject):
    """What the call consumed, in tokens.

    Attributes:
        completion_tokens: Those of all choices, reasoning included.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


# ---------------------------------------------------------------------------------------------------------- moderation


@wire_type
class ModerationResult(WireObject):
    """A moderation model's verdict on one text or picture.

    Attributes:
        categories: Which categories apply.
        category_applied_input_types: To which kinds of input each category applies: text, image.
        category_scores: From 0 to 1.
        flagged: True where any category applies.
    """

    categories: dict[str, bool] = attrs.field(factory=dict)
    category_applied_input_types: dict[str, list[str]] = attrs.field(factory=dict)
    category_scores: dict[str, float] = attrs.field(factory=dict)
    flagged: bool = False
    model: str = ""
    type: Literal["moderation_result"] = "moderation_result"


@wire_type
class ModerationResults(WireObject):
    """The verdicts on the input, or on the output."""

    model: str = ""
    results: list[ModerationResult] = attrs.field(factory=list)
    type: Literal["moderation_results"] = "moderation_results"


@wire_type
class ModerationError(WireObject):
    """Why there is no verdict."""

    code: str = ""
    message: str = ""
    type: Literal["error"] = "error"


@wire_type
class UnknownModeration(Unknown):
    """A moderation outcome of a kind that this version does not know."""


ModerationOutcome = ModerationResults | ModerationError | UnknownModeration


@wire_type
class Moderation(WireObject):
    """What moderation said, where the request asked for it."""

    input: ModerationOutcome | None = None
    output: ModerationOutcome | None = None


# --------------------------------------------------------------------------------------------------------------- reply


@wire_type
class Choice(WireObject):
    """One of the `n` answers.

    Attributes:
        finish_reason: Why the model stopped; None while a stream is under way.
    """

    index: int = 0
    message: ChatCompletionMessage = attrs.field(factory=ChatCompletionMessage)
    finish_reason: FinishReason | None = None
    logprobs: ChoiceLogprobs | None = None


@wire_type
class ChatCompletion(Reply):
    """The reply to a Chat Completions call.

    Attributes:
        created: In Unix seconds.
        model: The model that answered, which need not be the one asked for.
        contents: What image models put beside the choices, as it came.
    """

    id: str = ""
    choices: list[Choice] = attrs.field(factory=list)
    created: int = 0
    model: str = ""
    metadata: dict[str, Any] | None = None
    moderation: Moderation | None = None
    service_tier: ServiceTier | None = None
    system_fingerprint: str | None = None
    usage: CompletionUsage | None = None
    contents: Any = None
    object: Literal["chat.completion"] = "chat.completion"

    @property
    def message(self) -> ChatCompletionMessage:
        """The message of the first choice; an empty one where there is no choice."""
        first = min(self.choices, key=lambda choice: choice.index, default=None)
        return ChatCompletionMessage() if first is None else first.message

    @property
    def text(self) -> str:
        """The text of the first choice, reasoning left out; empty where it has none."""
        return self.message.content or ""

    @property
    def reasoning(self) -> str:
        """The reasoning of the first choice, under whichever name it came; empty where it has none."""
        return self.message.reasoning_content or self.message.reasoning or ""

    @property
    def tool_calls(self) -> list[ChatCompletionMessageToolCall]:
        """The tool calls of the first choice; empty where it has none."""
        return self.message.tool_calls or []
