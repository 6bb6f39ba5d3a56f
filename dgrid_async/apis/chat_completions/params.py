"""The parameters of a Chat Completions call, as they are written.

Everything is a plain dict at run time. Where a `Mapping` is allowed too, the format has more kinds than are listed, or
a dict was built elsewhere. This module holds types alone and never checks a value.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

# Without `annotations` from `__future__`: a TypedDict would compile the text of each of its fields.

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from dgrid_async.apis.chat_completions.types import (
    ChatCompletionMessage,
    ChatCompletionMessageToolCall,
    FunctionCall,
    ServiceTier,
)
from dgrid_async.config import CallOptions

__all__ = [
    "AllowedToolChoiceParam",
    "AllowedToolsParam",
    "AssistantMessageParam",
    "AudioParam",
    "AudioReferenceParam",
    "ContentPartFileParam",
    "ContentPartImageParam",
    "ContentPartInputAudioParam",
    "ContentPartParam",
    "ContentPartRefusalParam",
    "ContentPartTextParam",
    "CreateParams",
    "CustomCallParam",
    "CustomFormatGrammarParam",
    "CustomFormatTextParam",
    "CustomToolCallParam",
    "CustomToolDefinition",
    "CustomToolParam",
    "DeveloperMessageParam",
    "FileParam",
    "FunctionCallParam",
    "FunctionDefinition",
    "FunctionMessageParam",
    "FunctionToolCallParam",
    "FunctionToolParam",
    "GrammarParam",
    "ImageURLParam",
    "InputAudioParam",
    "JSONSchemaParam",
    "LocationParam",
    "MessageParam",
    "ModerationModeParam",
    "ModerationParam",
    "ModerationPolicyParam",
    "NamedToolChoiceCustomParam",
    "NamedToolChoiceParam",
    "NamedToolParam",
    "PredictionContentParam",
    "PromptCacheBreakpointParam",
    "PromptCacheOptionsParam",
    "ReasoningEffort",
    "ResponseFormatJSONObjectParam",
    "ResponseFormatJSONSchemaParam",
    "ResponseFormatParam",
    "ResponseFormatTextParam",
    "StreamOptionsParam",
    "SystemMessageParam",
    "ToolCallParam",
    "ToolChoiceParam",
    "ToolMessageParam",
    "ToolParam",
    "UserLocationParam",
    "UserMessageParam",
    "VoiceParam",
    "WebSearchOptionsParam",
]

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | str


# ------------------------------------------------------------------------------------------------------- content parts


class PromptCacheBreakpointParam(TypedDict, total=False):
    """Up to here the prompt is to be cached; `ttl` says how long."""

    mode: Required[Literal["explicit"]]
    ttl: Literal["30m", "12h"] | str


class ContentPartTextParam(TypedDict, total=False):
    """A text."""

    type: Required[Literal["text"]]
    text: Required[str]
    prompt_cache_breakpoint: PromptCacheBreakpointParam


class ContentPartRefusalParam(TypedDict):
    """A refusal that the model had given."""

    type: Literal["refusal"]
    refusal: str


class ImageURLParam(TypedDict, total=False):
    """Where a picture is: an address, or `data:` with base64."""

    url: Required[str]
    detail: Literal["auto", "low", "high", "original"] | str


class ContentPartImageParam(TypedDict, total=False):
    """A picture; `image_part` makes one of bytes or a file."""

    type: Required[Literal["image_url"]]
    image_url: Required[ImageURLParam]
    prompt_cache_breakpoint: PromptCacheBreakpointParam


class InputAudioParam(TypedDict):
    """Sound: base64 in `data`."""

    data: str
    format: Literal["wav", "mp3"] | str


class ContentPartInputAudioParam(TypedDict, total=False):
    """A recording; `input_audio` makes one of bytes or a file."""

    type: Required[Literal["input_audio"]]
    input_audio: Required[InputAudioParam]
    prompt_cache_breakpoint: PromptCacheBreakpointParam


class FileParam(TypedDict, total=False):
    """A document: `data:` with base64 and a name, or the id of an uploaded one."""

    file_data: str
    file_id: str
    filename: str


class ContentPartFileParam(TypedDict, total=False):
    """A document; `file_part` makes one of bytes or a file."""

    type: Required[Literal["file"]]
    file: Required[FileParam]
    prompt_cache_breakpoint: PromptCacheBreakpointParam


ContentPartParam = (
    ContentPartTextParam
    | ContentPartImageParam
    | ContentPartInputAudioParam
    | ContentPartFileParam
    | ContentPartRefusalParam
    | Mapping[str, Any]
)


# ---------------------------------------------------------------------------------------------------------- tool calls


class FunctionCallParam(TypedDict):
    """The function that the model called; `arguments` is JSON text."""

    name: str
    arguments: str


class FunctionToolCallParam(TypedDict):
    """A call of a function."""

    id: str
    type: Literal["function"]
    function: FunctionCallParam | FunctionCall


class CustomCallParam(TypedDict):
    """The custom tool that the model called."""

    name: str
    input: str


class CustomToolCallParam(TypedDict):
    """A call of a custom tool."""

    id: str
    type: Literal["custom"]
    custom: CustomCallParam


ToolCallParam = FunctionToolCallParam | CustomToolCallParam | ChatCompletionMessageToolCall | Mapping[str, Any]


# ------------------------------------------------------------------------------------------------------------ messages


class SystemMessageParam(TypedDict, total=False):
    """What the model is to be and do."""

    role: Required[Literal["system"]]
    content: Required[str | Sequence[ContentPartParam]]
    name: str


class DeveloperMessageParam(TypedDict, total=False):
    """The same for models that reason."""

    role: Required[Literal["developer"]]
    content: Required[str | Sequence[ContentPartParam]]
    name: str


class UserMessageParam(TypedDict, total=False):
    """What the user says or shows."""

    role: Required[Literal["user"]]
    content: Required[str | Sequence[ContentPartParam]]
    name: str


class AudioReferenceParam(TypedDict):
    """An earlier answer as sound, by its id."""

    id: str


class AssistantMessageParam(TypedDict, total=False):
    """What the model had said; a reply's `message` does as well.

    The reasoning fields are the gateway's; some models want their own back unchanged.
    """

    role: Required[Literal["assistant"]]
    content: str | Sequence[ContentPartParam] | None
    refusal: str | None
    name: str
    audio: AudioReferenceParam | None
    tool_calls: Sequence[ToolCallParam]
    function_call: FunctionCallParam | FunctionCall | None
    reasoning_content: str | None
    reasoning: str | None
    reasoning_details: Sequence[Mapping[str, Any]] | None


class ToolMessageParam(TypedDict):
    """What a tool call came to."""

    role: Literal["tool"]
    tool_call_id: str
    content: str | Sequence[ContentPartParam]


class FunctionMessageParam(TypedDict):
    """The same in the older function calling."""

    role: Literal["function"]
    name: str
    content: str | None


MessageParam = (
    SystemMessageParam
    | DeveloperMessageParam
    | UserMessageParam
    | AssistantMessageParam
    | ToolMessageParam
    | FunctionMessageParam
    | ChatCompletionMessage
    | Mapping[str, Any]
)


# --------------------------------------------------------------------------------------------------------------- tools


class FunctionDefinition(TypedDict, total=False):
    """A function; `parameters` is a JSON Schema of an object, which `strict` makes the model keep to."""

    name: Required[str]
    description: str
    parameters: Mapping[str, Any]
    strict: bool | None


class FunctionToolParam(TypedDict):
    """A function that the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class CustomFormatTextParam(TypedDict):
    """Any text."""

    type: Literal["text"]


class GrammarParam(TypedDict):
    """A grammar in one of the two syntaxes."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomFormatGrammarParam(TypedDict):
    """Text of a grammar."""

    type: Literal["grammar"]
    grammar: GrammarParam


class CustomToolDefinition(TypedDict, total=False):
    """A tool that takes text."""

    name: Required[str]
    description: str
    format: CustomFormatTextParam | CustomFormatGrammarParam


class CustomToolParam(TypedDict):
    """A tool that takes text and that the model may call."""

    type: Literal["custom"]
    custom: CustomToolDefinition


ToolParam = FunctionToolParam | CustomToolParam | Mapping[str, Any]


class NamedToolParam(TypedDict):
    """A tool by its name."""

    name: str


class NamedToolChoiceParam(TypedDict):
    """The model must call this function."""

    type: Literal["function"]
    function: NamedToolParam


class NamedToolChoiceCustomParam(TypedDict):
    """The model must call this custom tool."""

    type: Literal["custom"]
    custom: NamedToolParam


class AllowedToolsParam(TypedDict):
    """The tools that the model may (`auto`) or must (`required`) choose from."""

    mode: Literal["auto", "required"]
    tools: Sequence[Mapping[str, Any]]


class AllowedToolChoiceParam(TypedDict):
    """The choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedToolsParam


ToolChoiceParam = (
    Literal["none", "auto", "required"]
    | str
    | NamedToolChoiceParam
    | NamedToolChoiceCustomParam
    | AllowedToolChoiceParam
    | Mapping[str, Any]
)


# ---------------------------------------------------------------------------------------------------- response formats


class ResponseFormatTextParam(TypedDict):
    """Any text; the default."""

    type: Literal["text"]


class ResponseFormatJSONObjectParam(TypedDict):
    """Some JSON object; the prompt must say so too."""

    type: Literal["json_object"]


class JSONSchemaParam(TypedDict, total=False):
    """A named JSON Schema, which `strict` makes the model keep to."""

    name: Required[str]
    description: str
    schema: Mapping[str, Any]
    strict: bool | None


class ResponseFormatJSONSchemaParam(TypedDict):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JSONSchemaParam


ResponseFormatParam = (
    ResponseFormatTextParam | ResponseFormatJSONObjectParam | ResponseFormatJSONSchemaParam | Mapping[str, Any]
)


# -------------------------------------------------------------------------------------------------------------- others


class StreamOptionsParam(TypedDict, total=False):
    """What a stream brings: a last chunk with the usage, random characters that hide lengths."""

    include_usage: bool
    include_obfuscation: bool


class VoiceParam(TypedDict):
    """A voice of one's own, by its id."""

    id: str


class AudioParam(TypedDict):
    """How the answer is to sound."""

    voice: str | VoiceParam
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"] | str


class PredictionContentParam(TypedDict):
    """What much of the answer will be, as when a file is edited."""

    type: Literal["content"]
    content: str | Sequence[ContentPartParam]


class PromptCacheOptionsParam(TypedDict, total=False):
    """How the prompt is cached."""

    mode: Literal["implicit", "explicit"]
    ttl: Literal["30m"] | str


class ModerationModeParam(TypedDict):
    """Whether moderation only scores or also blocks."""

    mode: Literal["score", "block"]


class ModerationPolicyParam(TypedDict, total=False):
    """What is moderated, and how."""

    input: ModerationModeParam | None
    output: ModerationModeParam | None


class ModerationParam(TypedDict, total=False):
    """Which model moderates."""

    model: Required[str]
    policy: ModerationPolicyParam | None


class LocationParam(TypedDict, total=False):
    """Roughly where someone is: free text, a two-letter country, an IANA time zone."""

    city: str
    country: str
    region: str
    timezone: str


class UserLocationParam(TypedDict):
    """Where the user is."""

    type: Literal["approximate"]
    approximate: LocationParam


class WebSearchOptionsParam(TypedDict, total=False):
    """How search models search."""

    search_context_size: Literal["low", "medium", "high"]
    user_location: UserLocationParam | None


# ---------------------------------------------------------------------------------------------------------- parameters


class CreateParams(CallOptions, total=False):
    """The parameters of `chat.completions.create` and `chat.completions.stream`.

    What is not given is not sent; None is sent as null.

    `frequency_penalty` and `presence_penalty` go from -2 to 2, `temperature` from 0 to 2; `n` is how many answers to
    give. `max_tokens` is the older name of `max_completion_tokens`, which counts reasoning too. `logit_bias` is by
    token id. `top_logprobs` (0 to 20) needs `logprobs`. `function_call` and `functions` are the older `tool_choice` and
    `tools`.
    """

    model: Required[str]
    messages: Required[Sequence[MessageParam]]
    audio: AudioParam | None
    frequency_penalty: float | None
    function_call: Literal["none", "auto"] | NamedToolParam
    functions: Sequence[FunctionDefinition]
    logit_bias: Mapping[str, int] | Mapping[int, int] | None
    logprobs: bool | None
    max_completion_tokens: int | None
    max_tokens: int | None
    metadata: Mapping[str, str] | None
    modalities: Sequence[Literal["text", "audio"] | str] | None
    moderation: ModerationParam | None
    n: int | None
    parallel_tool_calls: bool
    prediction: PredictionContentParam | None
    presence_penalty: float | None
    prompt_cache_key: str | None
    prompt_cache_options: PromptCacheOptionsParam
    prompt_cache_retention: Literal["in_memory", "24h"] | str | None
    reasoning_effort: ReasoningEffort | None
    response_format: ResponseFormatParam
    safety_identifier: str | None
    seed: int | None
    service_tier: ServiceTier | None
    stop: str | Sequence[str] | None
    store: bool | None
    stream_options: StreamOptionsParam | None
    temperature: float | None
    tool_choice: ToolChoiceParam
    tools: Sequence[ToolParam]
    top_logprobs: int | None
    top_p: float | None
    user: str
    verbosity: Literal["low", "medium", "high"] | str | None
    web_search_options: WebSearchOptionsParam
