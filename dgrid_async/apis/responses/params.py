"""What a request to the Responses API may hold: types for the caller's editor and type checker.

Nothing here runs when a request is made. A field that is not listed passes through, and wherever an object stands, a
dict or one of our own objects does.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

# Without `annotations` from `__future__`: a TypedDict would compile the text of each of its fields.

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from dgrid_async.config import CallOptions
from dgrid_async.wire import WireObject

__all__ = [
    "CodeInterpreterToolParam",
    "ContentParam",
    "ConversationParam",
    "CreateParams",
    "CustomToolCallOutputParam",
    "CustomToolParam",
    "FileSearchToolParam",
    "FunctionCallOutputParam",
    "FunctionCallParam",
    "FunctionToolParam",
    "ImageGenerationToolParam",
    "InputAudioParam",
    "InputFileParam",
    "InputImageParam",
    "InputItemParam",
    "InputTextParam",
    "ItemReferenceParam",
    "McpToolParam",
    "MessageParam",
    "PromptParam",
    "ReasoningParam",
    "StreamOptionsParam",
    "TextFormatParam",
    "TextParam",
    "ToolChoiceParam",
    "ToolParam",
    "WebSearchToolParam",
]


class InputTextParam(TypedDict, total=False):
    """Text."""

    type: Required[Literal["input_text"]]
    text: Required[str]
    prompt_cache_breakpoint: Mapping[str, Any]


class InputImageParam(TypedDict, total=False):
    """An image: `image_url` is an address or a `data:` URL, or `file_id` names a stored file."""

    type: Required[Literal["input_image"]]
    image_url: str
    file_id: str
    detail: Literal["low", "high", "auto", "original"]
    prompt_cache_breakpoint: Mapping[str, Any]


class InputFileParam(TypedDict, total=False):
    """A file: `file_data` is a `data:` URL, or one of the other two names where it is."""

    type: Required[Literal["input_file"]]
    file_data: str
    file_url: str
    file_id: str
    filename: str
    detail: Literal["auto", "low", "high"]
    prompt_cache_breakpoint: Mapping[str, Any]


class InputAudioParam(TypedDict):
    """Sound: `input_audio` holds `data` in base64 and its `format` ("mp3", "wav")."""

    type: Literal["input_audio"]
    input_audio: Mapping[str, str]


ContentParam = InputTextParam | InputImageParam | InputFileParam | InputAudioParam | Mapping[str, Any] | WireObject


class MessageParam(TypedDict, total=False):
    """A message.

    `phase` is what the model gave its own message, and goes back with it.
    """

    role: Required[Literal["user", "assistant", "system", "developer"]]
    content: Required[str | Sequence[ContentParam]]
    type: Literal["message"]
    phase: Literal["commentary", "final_answer"] | None


class FunctionCallParam(TypedDict, total=False):
    """A call that the model made in an earlier turn; the reply's own item does as well."""

    type: Required[Literal["function_call"]]
    call_id: Required[str]
    name: Required[str]
    arguments: Required[str]
    id: str
    namespace: str
    status: Literal["in_progress", "completed", "incomplete"]


class FunctionCallOutputParam(TypedDict, total=False):
    """What the function returned; `call_id` is the call's."""

    type: Required[Literal["function_call_output"]]
    call_id: Required[str]
    output: Required[str | Sequence[ContentParam]]
    id: str
    name: str
    namespace: str
    status: Literal["in_progress", "completed", "incomplete"]


class CustomToolCallOutputParam(TypedDict, total=False):
    """What the custom tool returned; `call_id` is the call's."""

    type: Required[Literal["custom_tool_call_output"]]
    call_id: Required[str]
    output: Required[str | Sequence[ContentParam]]
    id: str


class ItemReferenceParam(TypedDict, total=False):
    """An item that the server has stored."""

    id: Required[str]
    type: Literal["item_reference"]


InputItemParam = (
    MessageParam
    | FunctionCallParam
    | FunctionCallOutputParam
    | CustomToolCallOutputParam
    | ItemReferenceParam
    | Mapping[str, Any]
    | WireObject
)


class FunctionToolParam(TypedDict, total=False):
    """A function of the caller's; `parameters` is the JSON Schema of its arguments."""

    type: Required[Literal["function"]]
    name: Required[str]
    parameters: Mapping[str, Any] | None
    strict: bool | None
    description: str | None
    allowed_callers: Sequence[Literal["direct", "programmatic"]] | None
    defer_loading: bool
    output_schema: Mapping[str, Any] | None


class CustomToolParam(TypedDict, total=False):
    """A tool that takes free text; `format` may bind it to a grammar."""

    type: Required[Literal["custom"]]
    name: Required[str]
    description: str
    format: Mapping[str, Any]
    allowed_callers: Sequence[Literal["direct", "programmatic"]] | None
    defer_loading: bool


class FileSearchToolParam(TypedDict, total=False):
    """Search in stored files."""

    type: Required[Literal["file_search"]]
    vector_store_ids: Required[Sequence[str]]
    filters: Mapping[str, Any] | None
    max_num_results: int
    ranking_options: Mapping[str, Any]


class WebSearchToolParam(TypedDict, total=False):
    """Search on the web; `filters` holds `allowed_domains`."""

    type: Required[Literal["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"]]
    external_web_access: bool
    filters: Mapping[str, Any] | None
    search_content_types: Sequence[Literal["text", "image"]]
    search_context_size: Literal["low", "medium", "high"]
    user_location: Mapping[str, Any] | None


class CodeInterpreterToolParam(TypedDict, total=False):
    """Python in a container: the id of one, or `{"type": "auto"}`."""

    type: Required[Literal["code_interpreter"]]
    container: Required[str | Mapping[str, Any]]
    allowed_callers: Sequence[Literal["direct", "programmatic"]] | None


class ImageGenerationToolParam(TypedDict, total=False):
    """The model draws; `partial_images` is how many unfinished images a stream shows first, 0 to 3."""

    type: Required[Literal["image_generation"]]
    action: Literal["generate", "edit", "auto"]
    background: Literal["transparent", "opaque", "auto"]
    complexity: Literal["low", "medium", "high"]
    frame_count: int
    frame_duration_ms: int
    input_fidelity: Literal["high", "low"] | None
    input_image_mask: Mapping[str, Any]
    model: str
    moderation: Literal["auto", "low"]
    output_compression: int
    output_format: Literal["png", "webp", "jpeg", "gif", "svg"]
    partial_images: int
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto"]
    size: str
    svg: Mapping[str, Any]


class McpToolParam(TypedDict, total=False):
    """The tools of an MCP server, at `server_url` or behind a connector."""

    type: Required[Literal["mcp"]]
    server_label: Required[str]
    server_url: str
    connector_id: str
    server_description: str
    allowed_tools: Sequence[str] | Mapping[str, Any] | None
    authorization: str
    headers: Mapping[str, str] | None
    require_approval: Literal["always", "never"] | Mapping[str, Any] | None
    allowed_callers: Sequence[Literal["direct", "programmatic"]] | None
    defer_loading: bool
    tunnel_id: str


ToolParam = (
    FunctionToolParam
    | CustomToolParam
    | FileSearchToolParam
    | WebSearchToolParam
    | CodeInterpreterToolParam
    | ImageGenerationToolParam
    | McpToolParam
    | Mapping[str, Any]
    | WireObject
)


class ToolChoiceParam(TypedDict, total=False):
    """One tool that must be used (`type`, and where it has one its `name`), or a choice among some.

    The choice among some has the type "allowed_tools", a `mode` ("auto", "required") and `tools`.
    """

    type: Required[str]
    name: str
    server_label: str
    mode: Literal["auto", "required"]
    tools: Sequence[Mapping[str, Any]]


class ReasoningParam(TypedDict, total=False):
    """How the model is to think, and whether a `summary` of it is wanted."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    summary: Literal["auto", "concise", "detailed"] | None
    context: Literal["auto", "current_turn", "all_turns"] | None
    generate_summary: Literal["auto", "concise", "detailed"] | None
    mode: str


class TextFormatParam(TypedDict, total=False):
    """The form of the text; all but `type` belongs to "json_schema", which needs `name` and `schema`."""

    type: Required[Literal["text", "json_schema", "json_object"]]
    name: str
    schema: Mapping[str, Any]
    description: str
    strict: bool | None


class TextParam(TypedDict, total=False):
    """How the text is to be written."""

    format: TextFormatParam | WireObject
    verbosity: Literal["low", "medium", "high"] | None


class PromptParam(TypedDict, total=False):
    """A stored prompt, and what goes into its variables."""

    id: Required[str]
    variables: Mapping[str, str | ContentParam] | None
    version: str | None


class ConversationParam(TypedDict):
    """The conversation that the response is to belong to."""

    id: str


class StreamOptionsParam(TypedDict, total=False):
    """How to stream: without `include_obfuscation` deltas carry no filler against onlookers."""

    include_obfuscation: bool


class CreateParams(CallOptions, total=False):
    """A request for a response.

    `input` is the prompt as a string, or items: messages, and in later turns the reply's own `output` followed by what
    the tools returned. `store` keeps the response at the server, where `previous_response_id` and `conversation` build
    on it. `stream` is for `create`; the streaming method sets it itself.
    """

    model: Required[str]
    input: str | Sequence[InputItemParam]
    instructions: str | None
    stream_options: StreamOptionsParam | None
    tools: Sequence[ToolParam]
    tool_choice: Literal["none", "auto", "required"] | ToolChoiceParam | WireObject
    parallel_tool_calls: bool | None
    max_tool_calls: int | None
    reasoning: ReasoningParam | WireObject | None
    text: TextParam | WireObject
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_logprobs: int | None
    include: Sequence[str] | None
    previous_response_id: str | None
    conversation: str | ConversationParam | WireObject | None
    prompt: PromptParam | WireObject | None
    store: bool | None
    background: bool | None
    background_options: Mapping[str, Any]
    metadata: Mapping[str, str] | None
    truncation: Literal["auto", "disabled"] | None
    context_management: Sequence[Mapping[str, Any]] | None
    prompt_cache_key: str | None
    prompt_cache_options: Mapping[str, Any]
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    safety_identifier: str | None
    service_tier: str | None
    user: str
    access_programs: Mapping[str, Any]
    image: Mapping[str, Any]
    moderation: Mapping[str, Any] | None
