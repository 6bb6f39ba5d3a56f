"""What a request to the Messages API may say: its parameters, and the parts that people write by hand.

Every value may be a plain dict or one of our objects. The types name what is known; a field or a kind that the API grew
yesterday passes through unchecked. Nothing here is looked at when a request is sent.

Source: https://docs.claude.com/en/api/messages
"""

# Without `annotations` from `__future__`: a TypedDict would compile the text of each of its fields.

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from dgrid_async.apis.messages.types import Citation, ContentBlock, Message
from dgrid_async.config import CallOptions

__all__ = [
    "AssistantMessageParam",
    "Base64ImageSourceParam",
    "Base64PDFSourceParam",
    "BrowserStateBlockParam",
    "CacheControlParam",
    "CitationsConfigParam",
    "ContainerParams",
    "ContainerUploadBlockParam",
    "ContentBlockParam",
    "ContentBlockSourceParam",
    "CreateParams",
    "DiagnosticsParam",
    "DocumentBlockParam",
    "FileSourceParam",
    "ImageBlockParam",
    "ImageTransformationsParam",
    "JSONOutputFormatParam",
    "MessageParam",
    "MetadataParam",
    "OutputConfigParam",
    "PlainTextSourceParam",
    "RedactedThinkingBlockParam",
    "SearchResultBlockParam",
    "ServerToolParam",
    "ServerToolResultBlockParam",
    "ServerToolUseBlockParam",
    "SkillParams",
    "SystemMessageParam",
    "TextBlockParam",
    "ThinkingBlockParam",
    "ThinkingConfigParam",
    "ToolChoiceParam",
    "ToolParam",
    "ToolReferenceBlockParam",
    "ToolResultBlockParam",
    "ToolUnionParam",
    "ToolUseBlockParam",
    "ToolsetParam",
    "URLSourceParam",
    "UserLocationParam",
    "UserMessageParam",
    "WebFetchToolParam",
    "WebSearchToolParam",
]


class CacheControlParam(TypedDict, total=False):
    """Where the cache ends: everything up to here is kept for `ttl`."""

    type: Required[Literal["ephemeral"]]
    ttl: Literal["5m", "1h"]


class CitationsConfigParam(TypedDict, total=False):
    """Whether a document may be cited."""

    enabled: bool


# -------------------------------------------------------------------------------------------------------------- blocks


class TextBlockParam(TypedDict, total=False):
    """Text."""

    type: Required[Literal["text"]]
    text: Required[str]
    cache_control: CacheControlParam | None
    citations: Sequence[Citation | Mapping[str, Any]] | None


class Base64ImageSourceParam(TypedDict):
    """An image in the request; bytes are sent as base64."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str | bytes


class Base64PDFSourceParam(TypedDict):
    """A PDF in the request; bytes are sent as base64."""

    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: str | bytes


class PlainTextSourceParam(TypedDict):
    """A document's text."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class URLSourceParam(TypedDict):
    """An image or a PDF that the server fetches."""

    type: Literal["url"]
    url: str


class FileSourceParam(TypedDict):
    """An image or a document that was uploaded before."""

    type: Literal["file"]
    file_id: str


class ImageTransformationsParam(TypedDict, total=False):
    """What to do with an image that is too large."""

    oversized_image: Literal["downsize", "error"]


class ImageBlockParam(TypedDict, total=False):
    """An image."""

    type: Required[Literal["image"]]
    source: Required[Base64ImageSourceParam | URLSourceParam | FileSourceParam]
    cache_control: CacheControlParam | None
    transformations: ImageTransformationsParam | None


class ContentBlockSourceParam(TypedDict):
    """A document given as text or as blocks, which citations then name."""

    type: Literal["content"]
    content: str | Sequence[TextBlockParam | ImageBlockParam]


class DocumentBlockParam(TypedDict, total=False):
    """A document: a PDF or text."""

    type: Required[Literal["document"]]
    source: Required[Base64PDFSourceParam | PlainTextSourceParam | ContentBlockSourceParam | URLSourceParam | FileSourceParam]
    title: str | None
    context: str | None
    citations: CitationsConfigParam | None
    cache_control: CacheControlParam | None


class SearchResultBlockParam(TypedDict, total=False):
    """A find of the caller's own search, which the answer may cite."""

    type: Required[Literal["search_result"]]
    source: Required[str]
    title: Required[str]
    content: Required[Sequence[TextBlockParam]]
    citations: CitationsConfigParam
    cache_control: CacheControlParam | None


class ThinkingBlockParam(TypedDict):
    """Reasoning of an earlier turn, as it came."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlockParam(TypedDict):
    """Encrypted reasoning of an earlier turn, as it came."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlockParam(TypedDict, total=False):
    """A call of a tool in an earlier turn."""

    type: Required[Literal["tool_use"]]
    id: Required[str]
    name: Required[str]
    input: Required[Mapping[str, Any]]
    caller: Mapping[str, Any]
    toolset_name: str | None
    cache_control: CacheControlParam | None


class ToolReferenceBlockParam(TypedDict, total=False):
    """A tool that the caller's own tool search found."""

    type: Required[Literal["tool_reference"]]
    tool_name: Required[str]
    cache_control: CacheControlParam | None


class BrowserStateBlockParam(TypedDict, total=False):
    """What the caller's browser shows; a result of the browser toolset."""

    type: Required[Literal["browser_state"]]
    tabs: Required[Sequence[Mapping[str, Any]]]
    state_changes: Sequence[Mapping[str, Any]] | None
    cache_control: CacheControlParam | None


class ToolResultBlockParam(TypedDict, total=False):
    """What the caller's tool gave; answers the `tool_use` block of the same id."""

    type: Required[Literal["tool_result"]]
    tool_use_id: Required[str]
    content: (
        str
        | Sequence[
            TextBlockParam
            | ImageBlockParam
            | SearchResultBlockParam
            | DocumentBlockParam
            | ToolReferenceBlockParam
            | BrowserStateBlockParam
            | Mapping[str, Any]
        ]
    )
    is_error: bool
    toolset_name: str | None
    cache_control: CacheControlParam | None


class ServerToolUseBlockParam(TypedDict, total=False):
    """A call of a server tool in an earlier turn, as it came."""

    type: Required[Literal["server_tool_use"]]
    id: Required[str]
    name: Required[str]
    input: Required[Mapping[str, Any]]
    caller: Mapping[str, Any]
    cache_control: CacheControlParam | None


class ServerToolResultBlockParam(TypedDict, total=False):
    """What a server tool gave in an earlier turn, as it came."""

    type: Required[
        Literal[
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
        ]
    ]
    tool_use_id: Required[str]
    content: Required[Mapping[str, Any] | Sequence[Mapping[str, Any]]]
    caller: Mapping[str, Any]
    cache_control: CacheControlParam | None


class ContainerUploadBlockParam(TypedDict, total=False):
    """A file to put into the container."""

    type: Required[Literal["container_upload"]]
    file_id: Required[str]
    cache_control: CacheControlParam | None


ContentBlockParam = (
    TextBlockParam
    | ImageBlockParam
    | DocumentBlockParam
    | SearchResultBlockParam
    | ThinkingBlockParam
    | RedactedThinkingBlockParam
    | ToolUseBlockParam
    | ToolResultBlockParam
    | ServerToolUseBlockParam
    | ServerToolResultBlockParam
    | ContainerUploadBlockParam
    | Mapping[str, Any]
)
"""A part of a turn."""


class UserMessageParam(TypedDict):
    """A turn of the user."""

    role: Literal["user"]
    content: str | Sequence[ContentBlockParam | ContentBlock]


class AssistantMessageParam(TypedDict):
    """A turn of the model; as the last one, the beginning of the answer."""

    role: Literal["assistant"]
    content: str | Sequence[ContentBlockParam | ContentBlock]


class SystemMessageParam(TypedDict):
    """An instruction in the middle of a conversation."""

    role: Literal["system"]
    content: str | Sequence[TextBlockParam]


MessageParam = UserMessageParam | AssistantMessageParam | SystemMessageParam
"""A turn of the conversation."""


# --------------------------------------------------------------------------------------------------------------- tools


class ToolParam(TypedDict, total=False):
    """A tool of the caller's.

    `input_schema` is a JSON Schema of an object. `allowed_callers` are `direct` and versions of the code execution
    tool; `defer_loading` hides the tool until a tool search finds it; `eager_input_streaming` sends the arguments
    unchecked as they are written.
    """

    name: Required[str]
    input_schema: Required[Mapping[str, Any]]
    description: str
    type: Literal["custom"] | None
    strict: bool
    allowed_callers: Sequence[str]
    defer_loading: bool
    eager_input_streaming: bool | None
    input_examples: Sequence[Mapping[str, Any]]
    cache_control: CacheControlParam | None


class UserLocationParam(TypedDict, total=False):
    """Where the user is: `country` as two letters (ISO 3166-1), `timezone` by its IANA name."""

    type: Required[Literal["approximate"]]
    city: str | None
    region: str | None
    country: str | None
    timezone: str | None


class WebSearchToolParam(TypedDict, total=False):
    """The server's web search; give `allowed_domains` or `blocked_domains`, not both."""

    type: Required[Literal["web_search_20250305", "web_search_20260209", "web_search_20260318"]]
    name: Required[Literal["web_search"]]
    max_uses: int | None
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    user_location: UserLocationParam | None
    response_inclusion: Literal["full", "excluded"]
    strict: bool
    allowed_callers: Sequence[str]
    defer_loading: bool
    cache_control: CacheControlParam | None


class WebFetchToolParam(TypedDict, total=False):
    """The server's web fetch; give `allowed_domains` or `blocked_domains`, not both."""

    type: Required[Literal["web_fetch_20250910", "web_fetch_20260209", "web_fetch_20260309", "web_fetch_20260318"]]
    name: Required[Literal["web_fetch"]]
    max_uses: int | None
    max_content_tokens: int | None
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    url_sources: Mapping[str, Any] | None
    citations: CitationsConfigParam | None
    response_inclusion: Literal["full", "excluded"]
    use_cache: bool
    strict: bool
    allowed_callers: Sequence[str]
    defer_loading: bool
    cache_control: CacheControlParam | None


class ServerToolParam(TypedDict, total=False):
    """A tool whose schema the model knows: code execution, bash, text editor, memory, tool search.

    `max_characters` is the text editor's.
    """

    type: Required[
        Literal[
            "code_execution_20250522",
            "code_execution_20250825",
            "code_execution_20260120",
            "code_execution_20260521",
            "bash_20250124",
            "text_editor_20250124",
            "text_editor_20250429",
            "text_editor_20250728",
            "memory_20250818",
            "tool_search_tool_bm25_20251119",
            "tool_search_tool_bm25",
            "tool_search_tool_regex_20251119",
            "tool_search_tool_regex",
        ]
    ]
    name: Required[
        Literal[
            "code_execution",
            "bash",
            "str_replace_editor",
            "str_replace_based_edit_tool",
            "memory",
            "tool_search_tool_bm25",
            "tool_search_tool_regex",
        ]
    ]
    max_characters: int | None
    strict: bool
    allowed_callers: Sequence[str]
    defer_loading: bool
    input_examples: Sequence[Mapping[str, Any]]
    cache_control: CacheControlParam | None


class ToolsetParam(TypedDict, total=False):
    """A set of tools whose schemas the model knows; `configs` turns single ones on or off by their names."""

    type: Required[Literal["browser_toolset_20260801", "computer_toolset_20260801"]]
    configs: Mapping[str, Any] | None
    cache_control: CacheControlParam | None


ToolUnionParam = ToolParam | WebSearchToolParam | WebFetchToolParam | ServerToolParam | ToolsetParam | Mapping[str, Any]
"""A tool that the model may use."""


class ToolChoiceParam(TypedDict, total=False):
    """Whether the model must use a tool: as it likes, any, the one of that `name`, or none."""

    type: Required[Literal["auto", "any", "tool", "none"]]
    name: str
    disable_parallel_tool_use: bool


# ------------------------------------------------------------------------------------------------------------- options


class ThinkingConfigParam(TypedDict, total=False):
    """Whether and how long the model reasons first.

    `enabled` needs `budget_tokens`: at least 1,024, and fewer than `max_tokens`.
    """

    type: Required[Literal["enabled", "disabled", "adaptive", "between_tools"]]
    budget_tokens: int
    display: Literal["summarized", "omitted"] | None


class JSONOutputFormatParam(TypedDict):
    """The answer is JSON by this JSON Schema."""

    type: Literal["json_schema"]
    schema: Mapping[str, Any]


class OutputConfigParam(TypedDict, total=False):
    """How much the model puts into the answer, and its form."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None
    format: JSONOutputFormatParam | None


class MetadataParam(TypedDict, total=False):
    """An opaque id of the user, for the fight against abuse."""

    user_id: str | None


class SkillParams(TypedDict, total=False):
    """A skill to put into the container."""

    type: Required[Literal["anthropic", "custom"]]
    skill_id: Required[str]
    version: str


class ContainerParams(TypedDict, total=False):
    """The container of the server tools: the one of an earlier reply, or a new one with skills."""

    id: str | None
    skills: Sequence[SkillParams] | None


class DiagnosticsParam(TypedDict, total=False):
    """Asks why the cache did not serve what an earlier message had in common with this one."""

    previous_message_id: str | None


class CreateParams(CallOptions, total=False):
    """The parameters of `messages.create` and `messages.stream`.

    `model`, `max_tokens` and `messages` are required. A reply may stand among the `messages`: its role and content are
    sent. `user_profile_id`, `workspace_id` and `betas` travel as headers, the rest in the body. Newer models may refuse
    `temperature`, `top_p` and `top_k`.
    """

    model: Required[str]
    max_tokens: Required[int]
    messages: Required[Sequence[MessageParam | Message | Mapping[str, Any]]]
    system: str | Sequence[TextBlockParam | Mapping[str, Any]]
    temperature: float
    top_p: float
    top_k: int
    stop_sequences: Sequence[str]
    tools: Sequence[ToolUnionParam]
    tool_choice: ToolChoiceParam | Mapping[str, Any]
    thinking: ThinkingConfigParam | Mapping[str, Any]
    output_config: OutputConfigParam | Mapping[str, Any]
    metadata: MetadataParam | Mapping[str, Any]
    service_tier: Literal["auto", "standard_only"] | str
    speed: Literal["standard", "fast"] | str | None
    inference_geo: str | None
    container: ContainerParams | str | None
    cache_control: CacheControlParam | None
    diagnostics: DiagnosticsParam | None
    user_profile_id: str
    workspace_id: str
    betas: Sequence[str]
