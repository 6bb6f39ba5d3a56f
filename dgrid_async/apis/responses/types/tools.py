"""The tools a model may use and the choice among them, as a reply repeats them.

Source: https://platform.openai.com/docs/api-reference/responses/object#responses/object-tools
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from dgrid_async.apis.responses.types.settings import Reasoning
from dgrid_async.wire import Unknown, WireObject, wire_type

__all__ = [
    "CodeInterpreterTool",
    "ComputerTool",
    "ContainerAuto",
    "ContainerReference",
    "CustomTool",
    "CustomToolFormat",
    "FileSearchTool",
    "FunctionShellTool",
    "FunctionTool",
    "ImageGenerationSvg",
    "ImageGenerationTool",
    "LocalEnvironment",
    "LocalSkill",
    "McpApprovalFilter",
    "McpTool",
    "McpToolFilter",
    "NamespaceTool",
    "NetworkPolicy",
    "PlainTool",
    "RankingOptions",
    "SearchFilter",
    "Skill",
    "Tool",
    "ToolChoice",
    "ToolChoiceAllowed",
    "ToolSearchTool",
    "UnknownEnvironment",
    "UnknownTool",
    "UserLocation",
    "WebSearchTool",
]


@wire_type
class UnknownTool(Unknown):
    """A tool of a kind that this version does not know."""


@wire_type
class FunctionTool(WireObject):
    """A function of the caller's.

    Attributes:
        parameters: JSON Schema of the arguments.
        strict: The arguments follow the schema to the letter.
        allowed_callers: "direct", "programmatic" or both.
        async_: The model goes on while the function runs.
        defer_loading: Shown to the model only when a tool search finds it.
        output_schema: JSON Schema of what the function returns.
    """

    name: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    async_: bool | None = None
    defer_loading: bool | None = None
    description: str | None = None
    output_schema: dict[str, Any] | None = None
    type: Literal["function"] = "function"


@wire_type
class CustomToolFormat(WireObject):
    """The form of a custom tool's input; definition and syntax ("lark" or "regex") belong to "grammar"."""

    definition: str | None = None
    syntax: str | None = None
    type: Literal["text", "grammar"] = "text"


@wire_type
class CustomTool(WireObject):
    """A tool of the caller's that takes free text instead of JSON; fields as in `FunctionTool`."""

    name: str = ""
    allowed_callers: list[str] | None = None
    async_: bool | None = None
    defer_loading: bool | None = None
    description: str | None = None
    format: CustomToolFormat | None = None
    type: Literal["custom"] = "custom"


@wire_type
class NamespaceTool(WireObject):
    """Tools under one name."""

    description: str = ""
    name: str = ""
    tools: list[FunctionTool | CustomTool | UnknownTool] = attrs.field(factory=list)
    type: Literal["namespace"] = "namespace"


@wire_type
class SearchFilter(WireObject):
    """A condition on a file's attributes: a comparison of `key` with `value`, or "and" / "or" over `filters`."""

    key: str | None = None
    value: Any = None
    filters: list[SearchFilter] | None = None
    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or"] = "eq"


@wire_type
class RankingOptions(WireObject):
    """How found files are ranked.

    Attributes:
        hybrid_search: The weights `embedding_weight` and `text_weight`.
        score_threshold: From 0 to 1; what scores lower is left out.
    """

    hybrid_search: dict[str, Any] | None = None
    ranker: str | None = None
    score_threshold: float | None = None


@wire_type
class FileSearchTool(WireObject):
    """Search in stored files."""

    vector_store_ids: list[str] = attrs.field(factory=list)
    filters: SearchFilter | None = None
    max_num_results: int | None = None
    ranking_options: RankingOptions | None = None
    type: Literal["file_search"] = "file_search"


@wire_type
class UserLocation(WireObject):
    """Roughly where the user is.

    Attributes:
        country: ISO 3166-1, two letters.
        timezone: As in the IANA database.
    """

    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None
    type: str | None = None


@wire_type
class WebSearchTool(WireObject):
    """Search on the web; the preview kinds know `search_content_types` in place of access and filters.

    Attributes:
        filters: The list `allowed_domains`.
        search_context_size: "low", "medium" or "high".
    """

    external_web_access: bool | None = None
    filters: dict[str, Any] | None = None
    search_content_types: list[str] | None = None
    search_context_size: str | None = None
    user_location: UserLocation | None = None
    type: Literal["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"] = "web_search"


@wire_type
class ComputerTool(WireObject):
    """A screen, mouse and keyboard; display and environment belong to the preview kind.

    Attributes:
        display_height: In pixels.
        display_width: In pixels.
        environment: "windows", "mac", "linux", "ubuntu" or "browser".
    """

    display_height: int | None = None
    display_width: int | None = None
    environment: str | None = None
    type: Literal["computer", "computer_use_preview"] = "computer"


@wire_type
class McpToolFilter(WireObject):
    """Which tools of an MCP server are meant."""

    read_only: bool | None = None
    tool_names: list[str] | None = None


@wire_type
class McpApprovalFilter(WireObject):
    """Which tools of an MCP server always, and which never, need the caller's approval."""

    always: McpToolFilter | None = None
    never: McpToolFilter | None = None


@wire_type
class McpTool(WireObject):
    """The tools of an MCP server.

    Attributes:
        connector_id: A service connector in place of `server_url`.
        require_approval: "always", "never", or which tools do.
    """

    server_label: str = ""
    allowed_callers: list[str] | None = None
    allowed_tools: list[str] | McpToolFilter | None = None
    authorization: str | None = None
    connector_id: str | None = None
    defer_loading: bool | None = None
    headers: dict[str, Any] | None = None
    require_approval: str | McpApprovalFilter | None = None
    server_description: str | None = None
    server_url: str | None = None
    tunnel_id: str | None = None
    type: Literal["mcp"] = "mcp"


@wire_type
class NetworkPolicy(WireObject):
    """What a container may reach; domains and their secrets belong to "allowlist"."""

    allowed_domains: list[str] | None = None
    domain_secrets: list[dict[str, Any]] | None = None
    type: Literal["disabled", "allowlist"] = "disabled"


@wire_type
class Skill(WireObject):
    """A skill in a container: one stored (`skill_id`, `version`), or one sent along in `source`."""

    skill_id: str | None = None
    version: str | None = None
    description: str | None = None
    name: str | None = None
    source: dict[str, Any] | None = None
    type: Literal["skill_reference", "inline"] = "skill_reference"


@wire_type
class ContainerAuto(WireObject):
    """A container made for the call: "auto" for a code interpreter, "container_auto" for a shell.

    Attributes:
        memory_limit: "1g", "4g", "16g" or "64g".
    """

    file_ids: list[str] | None = None
    memory_limit: str | None = None
    network_policy: NetworkPolicy | None = None
    skills: list[Skill] | None = None
    type: Literal["auto", "container_auto"] = "auto"


@wire_type
class ContainerReference(WireObject):
    """A container that is there already."""

    container_id: str = ""
    type: Literal["container_reference"] = "container_reference"


@wire_type
class LocalSkill(WireObject):
    """A skill in the caller's own environment."""

    description: str = ""
    name: str = ""
    path: str = ""


@wire_type
class LocalEnvironment(WireObject):
    """The caller's own machine."""

    skills: list[LocalSkill] | None = None
    type: Literal["local"] = "local"


@wire_type
class UnknownEnvironment(Unknown):
    """A place to run commands of a kind that this version does not know."""


@wire_type
class CodeInterpreterTool(WireObject):
    """Python in a container.

    Attributes:
        container: The id of one, or how to make it.
    """

    container: str | ContainerAuto = ""
    allowed_callers: list[str] | None = None
    type: Literal["code_interpreter"] = "code_interpreter"


@wire_type
class FunctionShellTool(WireObject):
    """A shell, at the caller's or in a container."""

    allowed_callers: list[str] | None = None
    environment: ContainerAuto | LocalEnvironment | ContainerReference | UnknownEnvironment | None = None
    type: Literal["shell"] = "shell"


@wire_type
class ImageGenerationSvg(WireObject):
    """Which model draws vector images, and how hard it thinks."""

    model: str | None = None
    reasoning: Reasoning | None = None


@wire_type
class ImageGenerationTool(WireObject):
    """The model draws.

    Attributes:
        input_image_mask: The mask's `file_id` or `image_url`.
        output_compression: In percent.
        partial_images: How many unfinished images a stream shows first, 0 to 3.
    """

    action: str | None = None
    background: str | None = None
    complexity: str | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    input_fidelity: str | None = None
    input_image_mask: dict[str, Any] | None = None
    model: str | None = None
    moderation: str | None = None
    output_compression: int | None = None
    output_format: str | None = None
    partial_images: int | None = None
    quality: str | None = None
    size: str | None = None
    svg: ImageGenerationSvg | None = None
    type: Literal["image_generation"] = "image_generation"


@wire_type
class ToolSearchTool(WireObject):
    """Search among deferred tools.

    Attributes:
        execution: Who searches: "server" or "client".
        parameters: JSON Schema of a client-side search's arguments.
    """

    description: str | None = None
    execution: str | None = None
    parameters: Any = None
    type: Literal["tool_search"] = "tool_search"


@wire_type
class PlainTool(WireObject):
    """A tool that its name says all about."""

    allowed_callers: list[str] | None = None
    type: Literal["apply_patch", "local_shell", "programmatic_tool_calling"] = "apply_patch"


Tool = (
    FunctionTool
    | CustomTool
    | NamespaceTool
    | FileSearchTool
    | WebSearchTool
    | ComputerTool
    | McpTool
    | CodeInterpreterTool
    | FunctionShellTool
    | ImageGenerationTool
    | ToolSearchTool
    | PlainTool
    | UnknownTool
)


@wire_type
class ToolChoiceAllowed(WireObject):
    """A choice among some of the tools.

    Attributes:
        mode: "auto" or "required".
        tools: Each as little as it takes to name it.
    """

    mode: str = ""
    tools: list[dict[str, Any]] = attrs.field(factory=list)
    type: Literal["allowed_tools"] = "allowed_tools"


@wire_type
class ToolChoice(WireObject):
    """One tool that must be used.

    Attributes:
        type: The tool's kind.
        name: Of a function, custom or MCP tool.
        server_label: Of an MCP server.
    """

    name: str | None = None
    server_label: str | None = None
    type: str = ""
