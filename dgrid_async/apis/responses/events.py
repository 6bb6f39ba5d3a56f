"""The events of a streamed response, and the way from JSON to them.

Every kind has its class, named as the wire names it: `response.output_text.delta` is `OutputTextDelta`. What an event
does to the response so far is the accumulator's business.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import attrs

from dgrid_async.apis.responses.types import (
    Annotation,
    Logprob,
    OutputContent,
    Response,
    ResponseOutputItem,
    ShellOutput,
    SummaryText,
    UnknownContent,
    UnknownItem,
)
from dgrid_async.structuring import structurer
from dgrid_async.wire import Unknown, WireObject, wire_type

__all__ = [
    "AudioDelta",
    "AudioDone",
    "AudioTranscriptDelta",
    "AudioTranscriptDone",
    "CodeInterpreterCallCodeDelta",
    "CodeInterpreterCallCodeDone",
    "CodeInterpreterCallCompleted",
    "CodeInterpreterCallInProgress",
    "CodeInterpreterCallInterpreting",
    "CompactionCompacting",
    "ContentPartAdded",
    "ContentPartDone",
    "CustomToolCallInputDelta",
    "CustomToolCallInputDone",
    "ErrorEvent",
    "Event",
    "FileSearchCallCompleted",
    "FileSearchCallInProgress",
    "FileSearchCallSearching",
    "FunctionCallArgumentsDelta",
    "FunctionCallArgumentsDone",
    "ImageGenerationCallCompleted",
    "ImageGenerationCallGenerating",
    "ImageGenerationCallInProgress",
    "ImageGenerationCallPartialImage",
    "McpCallArgumentsDelta",
    "McpCallArgumentsDone",
    "McpCallCompleted",
    "McpCallFailed",
    "McpCallInProgress",
    "McpListToolsCompleted",
    "McpListToolsFailed",
    "McpListToolsInProgress",
    "OutputItemAdded",
    "OutputItemDone",
    "OutputTextAnnotationAdded",
    "OutputTextDelta",
    "OutputTextDone",
    "ReasoningSummaryPartAdded",
    "ReasoningSummaryPartDone",
    "ReasoningSummaryTextDelta",
    "ReasoningSummaryTextDone",
    "ReasoningTextDelta",
    "ReasoningTextDone",
    "RefusalDelta",
    "RefusalDone",
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "ResponseQueued",
    "ShellCallCommandAdded",
    "ShellCallCommandDelta",
    "ShellCallCommandDone",
    "ShellCallOutputContentDelta",
    "ShellCallOutputContentDone",
    "ShellOutputDelta",
    "UnknownEvent",
    "WebSearchCallCompleted",
    "WebSearchCallInProgress",
    "WebSearchCallSearching",
    "decode_event",
    "text_of",
]


@wire_type
class UnknownEvent(Unknown):
    """An event of a kind that this version does not know."""


# ------------------------------------------------------------------------------------------------------ shared shapes


@wire_type
class _Numbered(WireObject):
    """An event with its place in the stream, from 0; None where the gateway does not count."""

    sequence_number: int | None = None


@wire_type
class _OfItem(_Numbered):
    """An event within one item: the place in `output`, and the item's own id."""

    item_id: str = ""
    output_index: int = 0


@wire_type
class _OfContent(_OfItem):
    """An event within one part of an item's `content`."""

    content_index: int = 0


@wire_type
class _OfSummary(_OfItem):
    """An event within one paragraph of a reasoning item's `summary`."""

    summary_index: int = 0


@wire_type
class _OfCommand(_Numbered):
    """An event within one command of a shell call; the wire gives no item id."""

    output_index: int = 0
    command_index: int = 0


@wire_type
class _OfResponse(_Numbered):
    """An event that carries the whole response as it is by then."""

    response: Response = attrs.field(factory=Response)


# -------------------------------------------------------------------------------------------------------- the response


@wire_type
class ResponseCreated(_OfResponse):
    """The stream begins."""

    type: Literal["response.created"] = "response.created"


@wire_type
class ResponseQueued(_OfResponse):
    """The response waits for its turn."""

    type: Literal["response.queued"] = "response.queued"


@wire_type
class ResponseInProgress(_OfResponse):
    """The model is at work."""

    type: Literal["response.in_progress"] = "response.in_progress"


@wire_type
class ResponseCompleted(_OfResponse):
    """The end: the response is whole."""

    type: Literal["response.completed"] = "response.completed"


@wire_type
class ResponseIncomplete(_OfResponse):
    """The end: the response was cut short, as `response.incomplete_details` says."""

    type: Literal["response.incomplete"] = "response.incomplete"


@wire_type
class ResponseFailed(_OfResponse):
    """The end: there is `response.error` instead of an answer."""

    type: Literal["response.failed"] = "response.failed"


@wire_type
class ErrorEvent(_Numbered):
    """The stream broke.

    Attributes:
        error: The error itself, where a gateway nests it instead of spreading it over the event.
    """

    code: str | None = None
    message: str = ""
    param: str | None = None
    error: Any = None
    type: Literal["error"] = "error"


# ----------------------------------------------------------------------------------------------------- items and parts


@wire_type
class OutputItemAdded(_Numbered):
    """An item begins, as yet without what will be in it."""

    item: ResponseOutputItem = attrs.field(factory=UnknownItem)
    output_index: int = 0
    type: Literal["response.output_item.added"] = "response.output_item.added"


@wire_type
class OutputItemDone(_Numbered):
    """An item is whole; here it is."""

    item: ResponseOutputItem = attrs.field(factory=UnknownItem)
    output_index: int = 0
    type: Literal["response.output_item.done"] = "response.output_item.done"


@wire_type
class ContentPartAdded(_OfContent):
    """A part of an item's content begins."""

    part: OutputContent = attrs.field(factory=UnknownContent)
    type: Literal["response.content_part.added"] = "response.content_part.added"


@wire_type
class ContentPartDone(_OfContent):
    """A part of an item's content is whole; here it is."""

    part: OutputContent = attrs.field(factory=UnknownContent)
    type: Literal["response.content_part.done"] = "response.content_part.done"


# ---------------------------------------------------------------------------------------------------------------- text


@wire_type
class OutputTextDelta(_OfContent):
    """More text."""

    delta: str = ""
    logprobs: list[Logprob] | None = None
    type: Literal["response.output_text.delta"] = "response.output_text.delta"


@wire_type
class OutputTextDone(_OfContent):
    """The text of a part is whole."""

    text: str = ""
    logprobs: list[Logprob] | None = None
    type: Literal["response.output_text.done"] = "response.output_text.done"


@wire_type
class OutputTextAnnotationAdded(_OfContent):
    """A source of the text became known."""

    annotation: Annotation | None = None
    annotation_index: int = 0
    type: Literal["response.output_text.annotation.added"] = "response.output_text.annotation.added"


@wire_type
class RefusalDelta(_OfContent):
    """More of a refusal."""

    delta: str = ""
    type: Literal["response.refusal.delta"] = "response.refusal.delta"


@wire_type
class RefusalDone(_OfContent):
    """A refusal is whole."""

    refusal: str = ""
    type: Literal["response.refusal.done"] = "response.refusal.done"


@wire_type
class AudioDelta(_Numbered):
    """More sound, in base64; the wire does not say of which item."""

    delta: str = ""
    type: Literal["response.audio.delta"] = "response.audio.delta"


@wire_type
class AudioDone(_Numbered):
    """The sound is whole."""

    type: Literal["response.audio.done"] = "response.audio.done"


@wire_type
class AudioTranscriptDelta(_Numbered):
    """More of what the sound says."""

    delta: str = ""
    type: Literal["response.audio.transcript.delta"] = "response.audio.transcript.delta"


@wire_type
class AudioTranscriptDone(_Numbered):
    """The transcript is whole."""

    type: Literal["response.audio.transcript.done"] = "response.audio.transcript.done"


# ----------------------------------------------------------------------------------------------------------- reasoning


@wire_type
class ReasoningTextDelta(_OfContent):
    """More reasoning."""

    delta: str = ""
    type: Literal["response.reasoning_text.delta"] = "response.reasoning_text.delta"


@wire_type
class ReasoningTextDone(_OfContent):
    """A part of the reasoning is whole."""

    text: str = ""
    type: Literal["response.reasoning_text.done"] = "response.reasoning_text.done"


@wire_type
class ReasoningSummaryPartAdded(_OfSummary):
    """A paragraph of the summary begins."""

    part: SummaryText = attrs.field(factory=SummaryText)
    type: Literal["response.reasoning_summary_part.added"] = "response.reasoning_summary_part.added"


@wire_type
class ReasoningSummaryPartDone(_OfSummary):
    """A paragraph of the summary is whole.

    Attributes:
        status: "incomplete" where it was cut short.
    """

    part: SummaryText = attrs.field(factory=SummaryText)
    status: str | None = None
    type: Literal["response.reasoning_summary_part.done"] = "response.reasoning_summary_part.done"


@wire_type
class ReasoningSummaryTextDelta(_OfSummary):
    """More of a paragraph of the summary."""

    delta: str = ""
    type: Literal["response.reasoning_summary_text.delta"] = "response.reasoning_summary_text.delta"


@wire_type
class ReasoningSummaryTextDone(_OfSummary):
    """The text of a paragraph of the summary is whole."""

    text: str = ""
    type: Literal["response.reasoning_summary_text.done"] = "response.reasoning_summary_text.done"


# ------------------------------------------------------------------------------------------------ calls of the caller's


@wire_type
class FunctionCallArgumentsDelta(_OfItem):
    """More of a function's arguments: a piece of JSON text."""

    delta: str = ""
    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"


@wire_type
class FunctionCallArgumentsDone(_OfItem):
    """A function's arguments are whole; its name and call id are the item's."""

    arguments: str = ""
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"


@wire_type
class CustomToolCallInputDelta(_OfItem):
    """More of a custom tool's input."""

    delta: str = ""
    type: Literal["response.custom_tool_call_input.delta"] = "response.custom_tool_call_input.delta"


@wire_type
class CustomToolCallInputDone(_OfItem):
    """A custom tool's input is whole."""

    input: str = ""
    type: Literal["response.custom_tool_call_input.done"] = "response.custom_tool_call_input.done"


@wire_type
class ShellCallCommandAdded(_OfCommand):
    """A command of a shell call begins."""

    command: str = ""
    type: Literal["response.shell_call_command.added"] = "response.shell_call_command.added"


@wire_type
class ShellCallCommandDelta(_OfCommand):
    """More of a command.

    Attributes:
        obfuscation: Filler that hides the length of the delta from onlookers.
    """

    delta: str = ""
    obfuscation: str | None = None
    type: Literal["response.shell_call_command.delta"] = "response.shell_call_command.delta"


@wire_type
class ShellCallCommandDone(_OfCommand):
    """A command is whole."""

    command: str = ""
    type: Literal["response.shell_call_command.done"] = "response.shell_call_command.done"


@wire_type
class ShellOutputDelta(WireObject):
    """What a command wrote since."""

    stderr: str | None = None
    stdout: str | None = None


@wire_type
class ShellCallOutputContentDelta(_OfItem):
    """More output of a command."""

    command_index: int = 0
    delta: ShellOutputDelta = attrs.field(factory=ShellOutputDelta)
    type: Literal["response.shell_call_output_content.delta"] = "response.shell_call_output_content.delta"


@wire_type
class ShellCallOutputContentDone(_OfItem):
    """The output of a command is whole."""

    command_index: int = 0
    output: list[ShellOutput] = attrs.field(factory=list)
    type: Literal["response.shell_call_output_content.done"] = "response.shell_call_output_content.done"


# ------------------------------------------------------------------------------------------ calls that the server runs


@wire_type
class FileSearchCallInProgress(_OfItem):
    """A file search begins."""

    type: Literal["response.file_search_call.in_progress"] = "response.file_search_call.in_progress"


@wire_type
class FileSearchCallSearching(_OfItem):
    """A file search is under way."""

    type: Literal["response.file_search_call.searching"] = "response.file_search_call.searching"


@wire_type
class FileSearchCallCompleted(_OfItem):
    """A file search is over."""

    type: Literal["response.file_search_call.completed"] = "response.file_search_call.completed"


@wire_type
class WebSearchCallInProgress(_OfItem):
    """A web search begins."""

    type: Literal["response.web_search_call.in_progress"] = "response.web_search_call.in_progress"


@wire_type
class WebSearchCallSearching(_OfItem):
    """A web search is under way."""

    type: Literal["response.web_search_call.searching"] = "response.web_search_call.searching"


@wire_type
class WebSearchCallCompleted(_OfItem):
    """A web search is over."""

    type: Literal["response.web_search_call.completed"] = "response.web_search_call.completed"


@wire_type
class CodeInterpreterCallInProgress(_OfItem):
    """The model begins to write code."""

    type: Literal["response.code_interpreter_call.in_progress"] = "response.code_interpreter_call.in_progress"


@wire_type
class CodeInterpreterCallCodeDelta(_OfItem):
    """More code."""

    delta: str = ""
    type: Literal["response.code_interpreter_call_code.delta"] = "response.code_interpreter_call_code.delta"


@wire_type
class CodeInterpreterCallCodeDone(_OfItem):
    """The code is whole."""

    code: str = ""
    type: Literal["response.code_interpreter_call_code.done"] = "response.code_interpreter_call_code.done"


@wire_type
class CodeInterpreterCallInterpreting(_OfItem):
    """The code runs."""

    type: Literal["response.code_interpreter_call.interpreting"] = "response.code_interpreter_call.interpreting"


@wire_type
class CodeInterpreterCallCompleted(_OfItem):
    """The code has run."""

    type: Literal["response.code_interpreter_call.completed"] = "response.code_interpreter_call.completed"


@wire_type
class ImageGenerationCallInProgress(_OfItem):
    """An image begins."""

    type: Literal["response.image_generation_call.in_progress"] = "response.image_generation_call.in_progress"


@wire_type
class ImageGenerationCallGenerating(_OfItem):
    """An image is being drawn."""

    type: Literal["response.image_generation_call.generating"] = "response.image_generation_call.generating"


@wire_type
class ImageGenerationCallPartialImage(_OfItem):
    """An image as it is by now.

    Attributes:
        partial_image_b64: The image in base64, whole, not the difference.
        partial_image_index: From 0.
    """

    partial_image_b64: str = ""
    partial_image_index: int = 0
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    type: Literal["response.image_generation_call.partial_image"] = "response.image_generation_call.partial_image"


@wire_type
class ImageGenerationCallCompleted(_OfItem):
    """An image is drawn; its item brings it."""

    type: Literal["response.image_generation_call.completed"] = "response.image_generation_call.completed"


@wire_type
class McpListToolsInProgress(_OfItem):
    """An MCP server is asked for its tools."""

    type: Literal["response.mcp_list_tools.in_progress"] = "response.mcp_list_tools.in_progress"


@wire_type
class McpListToolsCompleted(_OfItem):
    """An MCP server has named its tools."""

    type: Literal["response.mcp_list_tools.completed"] = "response.mcp_list_tools.completed"


@wire_type
class McpListToolsFailed(_OfItem):
    """An MCP server did not name its tools."""

    type: Literal["response.mcp_list_tools.failed"] = "response.mcp_list_tools.failed"


@wire_type
class McpCallInProgress(_OfItem):
    """A call of an MCP tool begins."""

    type: Literal["response.mcp_call.in_progress"] = "response.mcp_call.in_progress"


@wire_type
class McpCallArgumentsDelta(_OfItem):
    """More of an MCP tool's arguments: a piece of JSON text."""

    delta: str = ""
    type: Literal["response.mcp_call_arguments.delta"] = "response.mcp_call_arguments.delta"


@wire_type
class McpCallArgumentsDone(_OfItem):
    """An MCP tool's arguments are whole."""

    arguments: str = ""
    type: Literal["response.mcp_call_arguments.done"] = "response.mcp_call_arguments.done"


@wire_type
class McpCallCompleted(_OfItem):
    """A call of an MCP tool went well."""

    type: Literal["response.mcp_call.completed"] = "response.mcp_call.completed"


@wire_type
class McpCallFailed(_OfItem):
    """A call of an MCP tool failed."""

    type: Literal["response.mcp_call.failed"] = "response.mcp_call.failed"


@wire_type
class CompactionCompacting(_OfItem):
    """Earlier turns are being compacted."""

    type: Literal["response.compaction.compacting"] = "response.compaction.compacting"


Event = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | ErrorEvent
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | OutputTextAnnotationAdded
    | RefusalDelta
    | RefusalDone
    | AudioDelta
    | AudioDone
    | AudioTranscriptDelta
    | AudioTranscriptDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | ShellCallCommandAdded
    | ShellCallCommandDelta
    | ShellCallCommandDone
    | ShellCallOutputContentDelta
    | ShellCallOutputContentDone
    | FileSearchCallInProgress
    | FileSearchCallSearching
    | FileSearchCallCompleted
    | WebSearchCallInProgress
    | WebSearchCallSearching
    | WebSearchCallCompleted
    | CodeInterpreterCallInProgress
    | CodeInterpreterCallCodeDelta
    | CodeInterpreterCallCodeDone
    | CodeInterpreterCallInterpreting
    | CodeInterpreterCallCompleted
    | ImageGenerationCallInProgress
    | ImageGenerationCallGenerating
    | ImageGenerationCallPartialImage
    | ImageGenerationCallCompleted
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpListToolsFailed
    | McpCallInProgress
    | McpCallArgumentsDelta
    | McpCallArgumentsDone
    | McpCallCompleted
    | McpCallFailed
    | CompactionCompacting
    | UnknownEvent
)

_CLASSES: dict[str, Any] = {attrs.fields(cls).type.default: cls for cls in get_args(Event)}


def _nothing(_: dict[str, Any]) -> None:
    """Make nothing of an event that only keeps the connection open."""


# From the wire's name to the function that makes the event; one is added when the first of its kind comes.
_HOOKS: dict[str, Callable[[dict[str, Any]], Event | None]] = {"ping": _nothing, "keepalive": _nothing}


def decode_event(data: dict[str, Any]) -> Event | None:
    """Return the event that a JSON object describes, or None for one that only keeps the connection open.

    Raises:
        ValueError: A known field holds what it cannot hold.
    """
    kind = data.get("type")
    hook = _HOOKS.get(kind) if type(kind) is str else None
    return hook(data) if hook is not None else _hook_of(kind, data)(data)


def _hook_of(kind: object, data: dict[str, Any]) -> Callable[[dict[str, Any]], Event | None]:
    cls = _CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return structurer(UnknownEvent) if data else _nothing
    return _HOOKS.setdefault(attrs.fields(cls).type.default, structurer(cls))


def text_of(event: Event) -> str:
    """Return the text that an event adds to the answer; reasoning and refusals are none."""
    return event.delta if type(event) is OutputTextDelta else ""
