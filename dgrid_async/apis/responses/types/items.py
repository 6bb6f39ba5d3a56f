"""Items: what a response's `output` lists, and what its `instructions` and the next request's `input` may.

An item that goes both ways is one class, with what only the answer has left optional.

Source: https://platform.openai.com/docs/api-reference/responses/object#responses/object-output
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from dgrid_async.apis.responses.types.content import (
    InputContent,
    OutputContent,
    ReasoningText,
    ResponseInputFile,
    ResponseInputImage,
    ResponseInputText,
    ResponseOutputRefusal,
    ResponseOutputText,
    SummaryText,
    UnknownContent,
)
from dgrid_async.apis.responses.types.settings import Reasoning, ResponseTextConfig
from dgrid_async.apis.responses.types.tools import ContainerReference, LocalEnvironment, Tool, UnknownEnvironment
from dgrid_async.codec import decode
from dgrid_async.wire import Unknown, WireObject, wire_type

__all__ = [
    "AdditionalTools",
    "ApplyPatchOperation",
    "Caller",
    "CodeInterpreterOutput",
    "CompactionTrigger",
    "ComputerAction",
    "ConfigurationUpdate",
    "DragPath",
    "FileSearchResult",
    "ImageGenerationCall",
    "ImageGenerationCallError",
    "ImageGenerationCallSvgUsage",
    "ItemReference",
    "LocalShellCall",
    "LocalShellCallAction",
    "LocalShellCallOutput",
    "McpApprovalRequest",
    "McpApprovalResponse",
    "McpCall",
    "McpCallError",
    "McpListTools",
    "McpListToolsTool",
    "Program",
    "ProgramOutput",
    "ResponseApplyPatchToolCall",
    "ResponseApplyPatchToolCallOutput",
    "ResponseCodeInterpreterToolCall",
    "ResponseCompactionItem",
    "ResponseComputerToolCall",
    "ResponseComputerToolCallOutputItem",
    "ResponseComputerToolCallOutputScreenshot",
    "ResponseCustomToolCall",
    "ResponseCustomToolCallOutputItem",
    "ResponseFileSearchToolCall",
    "ResponseFunctionShellToolCall",
    "ResponseFunctionShellToolCallOutput",
    "ResponseFunctionToolCall",
    "ResponseFunctionToolCallOutputItem",
    "ResponseFunctionWebSearch",
    "ResponseInputItem",
    "ResponseInputMessage",
    "ResponseOutputItem",
    "ResponseOutputMessage",
    "ResponseReasoningItem",
    "ResponseToolSearchCall",
    "ResponseToolSearchOutputItem",
    "SafetyCheck",
    "ShellAction",
    "ShellOutcome",
    "ShellOutput",
    "UnknownItem",
    "WebSearchAction",
    "WebSearchSource",
]

ItemStatus = Literal["in_progress", "completed", "incomplete"] | str
"""Open; calls that the server runs also say "searching", "interpreting", "generating", "calling" or "failed"."""

ToolOutput = str | list[InputContent]


@wire_type
class UnknownItem(Unknown):
    """An item of a kind that this version does not know."""


# ---------------------------------------------------------------------------------------------------------- messages


@wire_type
class ResponseOutputMessage(WireObject):
    """What the model said.

    Attributes:
        phase: "commentary" on what it is doing, or "final_answer"; None where the model makes no difference.
    """

    id: str = ""
    content: list[OutputContent] = attrs.field(factory=list)
    role: str = "assistant"
    status: ItemStatus | None = None
    phase: str | None = None
    type: Literal["message"] = "message"


@wire_type
class ResponseInputMessage(WireObject):
    """A message of the request.

    Attributes:
        role: "user", "assistant", "system" or "developer".
    """

    content: (
        str
        | list[
            ResponseInputText
            | ResponseInputImage
            | ResponseInputFile
            | ResponseOutputText
            | ResponseOutputRefusal
            | UnknownContent
        ]
    ) = ""
    role: str = "user"
    status: ItemStatus | None = None
    phase: str | None = None
    id: str | None = None
    type: Literal["message"] = "message"


@wire_type
class ResponseReasoningItem(WireObject):
    """What the model thought.

    Attributes:
        summary: Paragraphs.
        content: The reasoning itself, where the model shows it.
        encrypted_content: To be sent back where nothing is stored at the server.
    """

    id: str = ""
    summary: list[SummaryText] = attrs.field(factory=list)
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    status: ItemStatus | None = None
    type: Literal["reasoning"] = "reasoning"


@wire_type
class ResponseCompactionItem(WireObject):
    """Earlier turns in short, readable by the server alone."""

    id: str | None = None
    encrypted_content: str = ""
    created_by: str | None = None
    type: Literal["compaction"] = "compaction"


@wire_type
class CompactionTrigger(WireObject):
    """The wish that the turns so far be compacted here."""

    id: str | None = None
    type: Literal["compaction_trigger"] = "compaction_trigger"


@wire_type
class ConfigurationUpdate(WireObject):
    """Settings that changed from here on."""

    id: str | None = None
    reasoning: Reasoning | None = None
    text: ResponseTextConfig | None = None
    type: Literal["configuration_update"] = "configuration_update"


@wire_type
class ItemReference(WireObject):
    """An item that the server has already."""

    id: str = ""
    type: Literal["item_reference"] = "item_reference"


# ------------------------------------------------------------------------------------------------ calls of the caller's


@wire_type
class Caller(WireObject):
    """Who called a tool: the model ("direct"), or the program item that `caller_id` names."""

    caller_id: str | None = None
    type: Literal["direct", "program"] = "direct"


@wire_type
class ResponseFunctionToolCall(WireObject):
    """A call of a function of the caller's.

    Attributes:
        arguments: JSON as the model wrote it; may be incomplete or wrong.
        call_id: What the output must name.
        async_: The model goes on while the function runs.
    """

    arguments: str = ""
    call_id: str = ""
    name: str = ""
    id: str | None = None
    async_: bool | None = None
    caller: Caller | None = None
    namespace: str | None = None
    status: ItemStatus | None = None
    type: Literal["function_call"] = "function_call"

    @property
    def parsed_arguments(self) -> Any:
        """The value of `arguments`, parsed at each access, or None while they are no complete JSON."""
        try:
            return decode(self.arguments.encode("utf-8", "replace"))
        except ValueError:
            return None


@wire_type
class ResponseFunctionToolCallOutputItem(WireObject):
    """What a function of the caller's returned."""

    id: str | None = None
    output: ToolOutput = ""
    status: ItemStatus | None = None
    call_id: str | None = None
    caller: Caller | None = None
    created_by: str | None = None
    name: str | None = None
    namespace: str | None = None
    type: Literal["function_call_output"] = "function_call_output"


@wire_type
class ResponseCustomToolCall(WireObject):
    """A call of a tool that takes free text.

    Attributes:
        call_id: What the output must name.
        async_: The model goes on while the tool runs.
    """

    call_id: str = ""
    input: str = ""
    name: str = ""
    id: str | None = None
    async_: bool | None = None
    caller: Caller | None = None
    namespace: str | None = None
    type: Literal["custom_tool_call"] = "custom_tool_call"


@wire_type
class ResponseCustomToolCallOutputItem(WireObject):
    """What a tool that takes free text returned."""

    call_id: str = ""
    output: ToolOutput = ""
    id: str | None = None
    caller: Caller | None = None
    status: ItemStatus | None = None
    created_by: str | None = None
    type: Literal["custom_tool_call_output"] = "custom_tool_call_output"


@wire_type
class ApplyPatchOperation(WireObject):
    """A change to one file; a deletion has no diff."""

    diff: str | None = None
    path: str = ""
    type: Literal["create_file", "update_file", "delete_file"] = "update_file"


@wire_type
class ResponseApplyPatchToolCall(WireObject):
    """The wish that a file be changed."""

    call_id: str = ""
    id: str | None = None
    operation: ApplyPatchOperation | None = None
    status: ItemStatus | None = None
    caller: Caller | None = None
    created_by: str | None = None
    type: Literal["apply_patch_call"] = "apply_patch_call"


@wire_type
class ResponseApplyPatchToolCallOutput(WireObject):
    """How changing a file went.

    Attributes:
        status: "completed" or "failed".
    """

    call_id: str = ""
    id: str | None = None
    status: str | None = None
    caller: Caller | None = None
    created_by: str | None = None
    output: str | None = None
    type: Literal["apply_patch_call_output"] = "apply_patch_call_output"


@wire_type
class ShellAction(WireObject):
    """Commands to run.

    Attributes:
        max_output_length: In characters.
    """

    commands: list[str] = attrs.field(factory=list)
    max_output_length: int | None = None
    timeout_ms: int | None = None


@wire_type
class ResponseFunctionShellToolCall(WireObject):
    """The wish that commands be run."""

    call_id: str = ""
    action: ShellAction = attrs.field(factory=ShellAction)
    id: str | None = None
    environment: LocalEnvironment | ContainerReference | UnknownEnvironment | None = None
    status: ItemStatus | None = None
    caller: Caller | None = None
    created_by: str | None = None
    type: Literal["shell_call"] = "shell_call"


@wire_type
class ShellOutcome(WireObject):
    """How a command ended."""

    exit_code: int | None = None
    type: Literal["exit", "timeout"] = "exit"


@wire_type
class ShellOutput(WireObject):
    """What one command wrote."""

    outcome: ShellOutcome | None = None
    stderr: str = ""
    stdout: str = ""
    created_by: str | None = None


@wire_type
class ResponseFunctionShellToolCallOutput(WireObject):
    """What the commands wrote, in their order."""

    call_id: str = ""
    output: list[ShellOutput] = attrs.field(factory=list)
    id: str | None = None
    max_output_length: int | None = None
    status: ItemStatus | None = None
    caller: Caller | None = None
    created_by: str | None = None
    type: Literal["shell_call_output"] = "shell_call_output"


@wire_type
class LocalShellCallAction(WireObject):
    """A command to run, word by word."""

    command: list[str] = attrs.field(factory=list)
    env: dict[str, Any] = attrs.field(factory=dict)
    timeout_ms: int | None = None
    user: str | None = None
    working_directory: str | None = None
    type: Literal["exec"] = "exec"


@wire_type
class LocalShellCall(WireObject):
    """The wish that a command be run at the caller's."""

    id: str = ""
    action: LocalShellCallAction = attrs.field(factory=LocalShellCallAction)
    call_id: str = ""
    status: ItemStatus | None = None
    type: Literal["local_shell_call"] = "local_shell_call"


@wire_type
class LocalShellCallOutput(WireObject):
    """What a command at the caller's wrote."""

    id: str = ""
    output: str = ""
    status: ItemStatus | None = None
    type: Literal["local_shell_call_output"] = "local_shell_call_output"


@wire_type
class DragPath(WireObject):
    """A point on the screen, in pixels."""

    x: int = 0
    y: int = 0


@wire_type
class ComputerAction(WireObject):
    """One thing to do at the screen; what is not None belongs to its `type`.

    Attributes:
        button: "left", "right", "wheel", "back" or "forward".
        x: In pixels.
        y: In pixels.
        keys: Pressed, or held meanwhile.
        path: To drag along.
        scroll_x: In pixels.
        scroll_y: In pixels.
        text: To type.
    """

    button: str | None = None
    x: int | None = None
    y: int | None = None
    keys: list[str] | None = None
    path: list[DragPath] | None = None
    scroll_x: int | None = None
    scroll_y: int | None = None
    text: str | None = None
    type: Literal["click", "double_click", "drag", "keypress", "move", "screenshot", "scroll", "type", "wait"] = "screenshot"


@wire_type
class SafetyCheck(WireObject):
    """Something about a computer call that the caller should acknowledge."""

    id: str = ""
    code: str | None = None
    message: str | None = None


@wire_type
class ResponseComputerToolCall(WireObject):
    """Things to do at the screen: one `action`, or several `actions` in order."""

    id: str = ""
    call_id: str = ""
    pending_safety_checks: list[SafetyCheck] = attrs.field(factory=list)
    status: ItemStatus | None = None
    action: ComputerAction | None = None
    actions: list[ComputerAction] | None = None
    type: Literal["computer_call"] = "computer_call"


@wire_type
class ResponseComputerToolCallOutputScreenshot(WireObject):
    """The screen after the action."""

    file_id: str | None = None
    image_url: str | None = None
    type: Literal["computer_screenshot"] = "computer_screenshot"


@wire_type
class ResponseComputerToolCallOutputItem(WireObject):
    """What the screen showed after a computer call."""

    call_id: str = ""
    output: ResponseComputerToolCallOutputScreenshot | None = None
    id: str | None = None
    status: ItemStatus | None = None
    acknowledged_safety_checks: list[SafetyCheck] | None = None
    created_by: str | None = None
    type: Literal["computer_call_output"] = "computer_call_output"


# ------------------------------------------------------------------------------------------ calls that the server runs


@wire_type
class FileSearchResult(WireObject):
    """A file that was found.

    Attributes:
        score: From 0 to 1.
    """

    attributes: dict[str, Any] | None = None
    file_id: str | None = None
    filename: str | None = None
    score: float | None = None
    text: str | None = None


@wire_type
class ResponseFileSearchToolCall(WireObject):
    """A search in stored files.

    Attributes:
        results: Only when the request's `include` asked for them.
    """

    id: str = ""
    queries: list[str] = attrs.field(factory=list)
    status: ItemStatus | None = None
    results: list[FileSearchResult] | None = None
    type: Literal["file_search_call"] = "file_search_call"


@wire_type
class WebSearchSource(WireObject):
    """A page that a search found."""

    url: str = ""
    type: Literal["url"] = "url"


@wire_type
class WebSearchAction(WireObject):
    """One step on the web: a search (`queries`, `sources`), a page opened (`url`), a `pattern` looked for in one."""

    queries: list[str] | None = None
    query: str | None = None
    sources: list[WebSearchSource] | None = None
    url: str | None = None
    pattern: str | None = None
    type: Literal["search", "open_page", "find_in_page"] = "search"


@wire_type
class ResponseFunctionWebSearch(WireObject):
    """A step of a web search."""

    id: str = ""
    action: WebSearchAction | None = None
    status: ItemStatus | None = None
    type: Literal["web_search_call"] = "web_search_call"


@wire_type
class CodeInterpreterOutput(WireObject):
    """What running code gave: text in `logs`, or an image at `url`."""

    logs: str | None = None
    url: str | None = None
    type: Literal["logs", "image"] = "logs"


@wire_type
class ResponseCodeInterpreterToolCall(WireObject):
    """Code that the server ran.

    Attributes:
        outputs: Only when the request's `include` asked for them.
    """

    id: str = ""
    code: str | None = None
    container_id: str = ""
    outputs: list[CodeInterpreterOutput] | None = None
    status: ItemStatus | None = None
    type: Literal["code_interpreter_call"] = "code_interpreter_call"


@wire_type
class ImageGenerationCallError(WireObject):
    """Why there is no image.

    Attributes:
        type: The kind of error.
        moderation_details: What was objected to (`categories`) and when (`moderation_stage`).
    """

    code: str | None = None
    message: str = ""
    param: str | None = None
    moderation_details: dict[str, Any] | None = None
    type: str = ""


@wire_type
class ImageGenerationCallSvgUsage(WireObject):
    """Tokens that drawing a vector image took."""

    input_tokens: int = 0
    model: str = ""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0


@wire_type
class ImageGenerationCall(WireObject):
    """An image that the model drew.

    Attributes:
        result: The image in base64.
    """

    id: str = ""
    result: str | None = None
    status: ItemStatus | None = None
    action: str | None = None
    background: str | None = None
    error: ImageGenerationCallError | None = None
    output_format: str | None = None
    quality: str | None = None
    revised_prompt: str | None = None
    size: str | None = None
    svg_usage: ImageGenerationCallSvgUsage | None = None
    type: Literal["image_generation_call"] = "image_generation_call"


@wire_type
class McpCallError(WireObject):
    """Why an MCP call failed: a `code` and `message`, or what the tool itself said in `content`."""

    code: int | None = None
    message: str | None = None
    content: Any = None
    type: Literal["http_error", "mcp_protocol_error", "mcp_tool_execution_error"] = "http_error"


@wire_type
class McpCall(WireObject):
    """A call of an MCP server's tool.

    Attributes:
        arguments: JSON as the model wrote it.
        error: Older servers send a string.
    """

    id: str = ""
    arguments: str = ""
    name: str = ""
    server_label: str = ""
    approval_request_id: str | None = None
    error: McpCallError | str | None = None
    output: str | None = None
    status: ItemStatus | None = None
    type: Literal["mcp_call"] = "mcp_call"


@wire_type
class McpListToolsTool(WireObject):
    """A tool of an MCP server; `input_schema` is JSON Schema."""

    input_schema: Any = None
    name: str = ""
    annotations: Any = None
    description: str | None = None


@wire_type
class McpListTools(WireObject):
    """The tools that an MCP server offers."""

    id: str = ""
    server_label: str = ""
    tools: list[McpListToolsTool] = attrs.field(factory=list)
    error: str | None = None
    type: Literal["mcp_list_tools"] = "mcp_list_tools"


@wire_type
class McpApprovalRequest(WireObject):
    """The question whether an MCP tool may be called."""

    id: str = ""
    arguments: str = ""
    name: str = ""
    server_label: str = ""
    type: Literal["mcp_approval_request"] = "mcp_approval_request"


@wire_type
class McpApprovalResponse(WireObject):
    """The answer whether an MCP tool may be called."""

    approval_request_id: str = ""
    approve: bool = False
    id: str | None = None
    reason: str | None = None
    type: Literal["mcp_approval_response"] = "mcp_approval_response"


@wire_type
class Program(WireObject):
    """A program of the model's that calls tools."""

    id: str = ""
    call_id: str = ""
    code: str = ""
    fingerprint: str = ""
    type: Literal["program"] = "program"


@wire_type
class ProgramOutput(WireObject):
    """What such a program gave."""

    id: str = ""
    call_id: str = ""
    result: str = ""
    status: ItemStatus | None = None
    type: Literal["program_output"] = "program_output"


@wire_type
class ResponseToolSearchCall(WireObject):
    """A search for tools.

    Attributes:
        execution: Who searches: "server" or "client".
    """

    arguments: Any = None
    id: str | None = None
    call_id: str | None = None
    execution: str | None = None
    status: ItemStatus | None = None
    created_by: str | None = None
    type: Literal["tool_search_call"] = "tool_search_call"


@wire_type
class ResponseToolSearchOutputItem(WireObject):
    """The tools that a search found."""

    tools: list[Tool] = attrs.field(factory=list)
    id: str | None = None
    call_id: str | None = None
    execution: str | None = None
    status: ItemStatus | None = None
    created_by: str | None = None
    type: Literal["tool_search_output"] = "tool_search_output"


@wire_type
class AdditionalTools(WireObject):
    """Tools that are there from here on."""

    tools: list[Tool] = attrs.field(factory=list)
    role: str = ""
    id: str | None = None
    type: Literal["additional_tools"] = "additional_tools"


# Calls and outputs that stand in answers and in requests alike.
_Exchanged = (
    ResponseReasoningItem
    | ResponseCompactionItem
    | ResponseFunctionToolCall
    | ResponseFunctionToolCallOutputItem
    | ResponseCustomToolCall
    | ResponseCustomToolCallOutputItem
    | ResponseApplyPatchToolCall
    | ResponseApplyPatchToolCallOutput
    | ResponseFunctionShellToolCall
    | ResponseFunctionShellToolCallOutput
    | LocalShellCall
    | LocalShellCallOutput
    | ResponseComputerToolCall
    | ResponseComputerToolCallOutputItem
    | ResponseFileSearchToolCall
    | ResponseFunctionWebSearch
    | ResponseCodeInterpreterToolCall
    | ImageGenerationCall
    | McpCall
    | McpListTools
    | McpApprovalRequest
    | McpApprovalResponse
    | Program
    | ProgramOutput
    | ResponseToolSearchCall
    | ResponseToolSearchOutputItem
    | AdditionalTools
    | UnknownItem
)
ResponseOutputItem = ResponseOutputMessage | _Exchanged
ResponseInputItem = ResponseInputMessage | CompactionTrigger | ConfigurationUpdate | ItemReference | _Exchanged
