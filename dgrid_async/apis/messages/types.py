"""What a reply of the Messages API is made of: the message, its content blocks, their citations and results, the usage.

The classes say what is on the wire and nothing else; merging a stream into them is the accumulator's work.

Source: https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from dgrid_async.wire import Reply, Unknown, WireObject, wire_type

__all__ = [
    "Base64PDFSource",
    "BashCodeExecutionOutputBlock",
    "BashCodeExecutionResultBlock",
    "BashCodeExecutionToolResultBlock",
    "BashCodeExecutionToolResultErrorObject",
    "CacheCreation",
    "CacheMissReason",
    "Caller",
    "Citation",
    "CitationCharLocation",
    "CitationContentBlockLocation",
    "CitationPageLocation",
    "CitationsConfig",
    "CitationsSearchResultLocation",
    "CitationsWebSearchResultLocation",
    "CodeExecutionOutputBlock",
    "CodeExecutionResultBlock",
    "CodeExecutionToolResultBlock",
    "CodeExecutionToolResultErrorObject",
    "Container",
    "ContainerSkill",
    "ContainerUploadBlock",
    "ContentBlock",
    "Diagnostics",
    "DirectCaller",
    "DocumentBlock",
    "EncryptedCodeExecutionResultBlock",
    "Message",
    "OutputTokensDetails",
    "PlainTextSource",
    "RedactedThinkingBlock",
    "RefusalStopDetails",
    "ServerToolCaller",
    "ServerToolUsage",
    "ServerToolUseBlock",
    "StopReason",
    "TextBlock",
    "TextEditorCodeExecutionCreateResultBlock",
    "TextEditorCodeExecutionStrReplaceResultBlock",
    "TextEditorCodeExecutionToolResultBlock",
    "TextEditorCodeExecutionToolResultErrorObject",
    "TextEditorCodeExecutionViewResultBlock",
    "ThinkingBlock",
    "ToolReferenceBlock",
    "ToolSearchToolResultBlock",
    "ToolSearchToolResultErrorObject",
    "ToolSearchToolSearchResultBlock",
    "ToolUse",
    "ToolUseBlock",
    "UnknownBlock",
    "UnknownCaller",
    "UnknownCitation",
    "UnknownResult",
    "UnknownSource",
    "Usage",
    "WebFetchBlock",
    "WebFetchToolResultBlock",
    "WebFetchToolResultErrorBlock",
    "WebSearchResultBlock",
    "WebSearchToolResultBlock",
    "WebSearchToolResultErrorObject",
]

StopReason = (
    Literal[
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    ]
    | str
)
"""Why the model stopped; servers may say what is not in this list."""


# ----------------------------------------------------------------------------------------------------------- citations


@wire_type
class CitationCharLocation(WireObject):
    """Cites a range of characters of a plain text document.

    Attributes:
        document_index: The document's place among those of the request, from 0.
        end_char_index: The first character after the range.
    """

    cited_text: str = ""
    document_index: int = 0
    document_title: str | None = None
    start_char_index: int = 0
    end_char_index: int = 0
    file_id: str | None = None
    type: Literal["char_location"] = "char_location"


@wire_type
class CitationPageLocation(WireObject):
    """Cites pages of a PDF.

    Attributes:
        start_page_number: Counted from 1.
        end_page_number: The first page after the range.
    """

    cited_text: str = ""
    document_index: int = 0
    document_title: str | None = None
    start_page_number: int = 0
    end_page_number: int = 0
    file_id: str | None = None
    type: Literal["page_location"] = "page_location"


@wire_type
class CitationContentBlockLocation(WireObject):
    """Cites blocks of a document that was given as blocks.

    Attributes:
        end_block_index: The first block after the range.
    """

    cited_text: str = ""
    document_index: int = 0
    document_title: str | None = None
    start_block_index: int = 0
    end_block_index: int = 0
    file_id: str | None = None
    type: Literal["content_block_location"] = "content_block_location"


@wire_type
class CitationsWebSearchResultLocation(WireObject):
    """Cites a page that the web search tool found.

    Attributes:
        encrypted_index: Must go back unchanged for the citation to stay valid in later turns.
    """

    cited_text: str = ""
    encrypted_index: str = ""
    title: str | None = None
    url: str = ""
    type: Literal["web_search_result_location"] = "web_search_result_location"


@wire_type
class CitationsSearchResultLocation(WireObject):
    """Cites blocks of a `search_result` block of the request."""

    cited_text: str = ""
    search_result_index: int = 0
    source: str = ""
    title: str | None = None
    start_block_index: int = 0
    end_block_index: int = 0
    type: Literal["search_result_location"] = "search_result_location"


@wire_type
class UnknownCitation(Unknown):
    """A citation of a kind that this version does not know."""


Citation = (
    CitationCharLocation
    | CitationPageLocation
    | CitationContentBlockLocation
    | CitationsWebSearchResultLocation
    | CitationsSearchResultLocation
    | UnknownCitation
)
"""What a piece of text refers to."""


# ---------------------------------------------------------------------------------------------------- text and thinking


@wire_type
class TextBlock(WireObject):
    """Text of the answer.

    Attributes:
        citations: What the text refers to, in the order of the text; None where citing is off.
    """

    text: str = ""
    citations: list[Citation] | None = None
    type: Literal["text"] = "text"


@wire_type
class ThinkingBlock(WireObject):
    """The model's reasoning.

    Attributes:
        signature: Proves where the reasoning comes from; must go back unchanged in the next request.
    """

    thinking: str = ""
    signature: str = ""
    type: Literal["thinking"] = "thinking"


@wire_type
class RedactedThinkingBlock(WireObject):
    """Reasoning that is handed out encrypted; must go back unchanged in the next request."""

    data: str = ""
    type: Literal["redacted_thinking"] = "redacted_thinking"


# ------------------------------------------------------------------------------------------------------------ tool use


@wire_type
class DirectCaller(WireObject):
    """The model itself called the tool."""

    type: Literal["direct"] = "direct"


@wire_type
class ServerToolCaller(WireObject):
    """Code that runs in a server tool called the tool.

    Attributes:
        tool_id: The id of that server tool's own call.
        type: The version of the server tool.
    """

    tool_id: str = ""
    type: Literal["code_execution_20250825", "code_execution_20260120"] = "code_execution_20250825"


@wire_type
class UnknownCaller(Unknown):
    """A caller of a kind that this version does not know."""


Caller = DirectCaller | ServerToolCaller | UnknownCaller
"""Who called a tool."""


class ToolUse(WireObject):
    """The base of the blocks that call a tool."""

    __slots__ = ("_input_raw",)

    @property
    def input_raw(self) -> str | None:
        """The text of `input` as it was streamed, where that is no whole JSON object: cut off or malformed.

        None where `input` says it all. It is no field of the wire: `to_dict()` leaves it out.
        """
        return getattr(self, "_input_raw", None)

    @input_raw.setter
    def input_raw(self, text: str | None) -> None:
        self._input_raw = text


@wire_type
class ToolUseBlock(ToolUse):
    """The model calls a tool of the caller's; the next request answers with a `tool_result` block.

    Attributes:
        input: The arguments, an object by the tool's schema. While they are streamed, or where they are broken JSON,
            the members that are complete; `input_raw` then holds the text. A gateway that sends another kind of value
            is taken at its word.
        toolset_name: The toolset that the tool belongs to.
    """

    id: str = ""
    name: str = ""
    input: dict[str, Any] | Any = attrs.field(factory=dict)
    caller: Caller | None = None
    toolset_name: str | None = None
    type: Literal["tool_use"] = "tool_use"


@wire_type
class ServerToolUseBlock(ToolUse):
    """The model calls a tool that the server runs; its result is another block of the same message.

    Attributes:
        name: `web_search`, `web_fetch`, `code_execution`, `bash_code_execution`, `text_editor_code_execution`,
            `tool_search_tool_regex`, `tool_search_tool_bm25` or a newer one.
        input: As in `ToolUseBlock`.
    """

    id: str = ""
    name: str = ""
    input: dict[str, Any] | Any = attrs.field(factory=dict)
    caller: Caller | None = None
    type: Literal["server_tool_use"] = "server_tool_use"


# --------------------------------------------------------------------------------------------- results of server tools


@wire_type
class UnknownResult(Unknown):
    """What a server tool gave, of a kind that this version does not know."""


@wire_type
class WebSearchResultBlock(WireObject):
    """A page that the web search tool found.

    Attributes:
        encrypted_content: The page's content; must go back unchanged for citations to work in later turns.
        page_age: When the page last changed, in words.
    """

    url: str = ""
    title: str = ""
    encrypted_content: str = ""
    page_age: str | None = None
    type: Literal["web_search_result"] = "web_search_result"


@wire_type
class WebSearchToolResultErrorObject(WireObject):
    """The web search tool failed."""

    error_code: str = ""
    type: Literal["web_search_tool_result_error"] = "web_search_tool_result_error"


@wire_type
class WebSearchToolResultBlock(WireObject):
    """What the web search tool gave.

    Attributes:
        content: The pages found, or one object that says why there are none.
    """

    tool_use_id: str = ""
    content: list[WebSearchResultBlock] | WebSearchToolResultErrorObject | UnknownResult = attrs.field(factory=list)
    caller: Caller | None = None
    type: Literal["web_search_tool_result"] = "web_search_tool_result"


@wire_type
class Base64PDFSource(WireObject):
    """A PDF as base64."""

    data: str = ""
    media_type: Literal["application/pdf"] = "application/pdf"
    type: Literal["base64"] = "base64"


@wire_type
class PlainTextSource(WireObject):
    """A document's text."""

    data: str = ""
    media_type: Literal["text/plain"] = "text/plain"
    type: Literal["text"] = "text"


@wire_type
class UnknownSource(Unknown):
    """A document's content in a form that this version does not know."""


@wire_type
class CitationsConfig(WireObject):
    """Whether a document may be cited."""

    enabled: bool = False


@wire_type
class DocumentBlock(WireObject):
    """A document that was fetched."""

    source: Base64PDFSource | PlainTextSource | UnknownSource | None = None
    title: str | None = None
    citations: CitationsConfig | None = None
    type: Literal["document"] = "document"


@wire_type
class WebFetchBlock(WireObject):
    """A page that the web fetch tool fetched.

    Attributes:
        retrieved_at: An ISO 8601 time.
    """

    url: str = ""
    content: DocumentBlock | None = None
    retrieved_at: str | None = None
    type: Literal["web_fetch_result"] = "web_fetch_result"


@wire_type
class WebFetchToolResultErrorBlock(WireObject):
    """The web fetch tool failed."""

    error_code: str = ""
    type: Literal["web_fetch_tool_result_error"] = "web_fetch_tool_result_error"


@wire_type
class WebFetchToolResultBlock(WireObject):
    """What the web fetch tool gave."""

    tool_use_id: str = ""
    content: WebFetchBlock | WebFetchToolResultErrorBlock | UnknownResult | None = None
    caller: Caller | None = None
    type: Literal["web_fetch_tool_result"] = "web_fetch_tool_result"


@wire_type
class CodeExecutionOutputBlock(WireObject):
    """A file that executed code wrote."""

    file_id: str = ""
    type: Literal["code_execution_output"] = "code_execution_output"


@wire_type
class CodeExecutionResultBlock(WireObject):
    """What executed code did.

    Attributes:
        content: The files it wrote.
    """

    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    content: list[CodeExecutionOutputBlock] = attrs.field(factory=list)
    type: Literal["code_execution_result"] = "code_execution_result"


@wire_type
class EncryptedCodeExecutionResultBlock(WireObject):
    """What executed code did, its output encrypted."""

    encrypted_stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    content: list[CodeExecutionOutputBlock] = attrs.field(factory=list)
    type: Literal["encrypted_code_execution_result"] = "encrypted_code_execution_result"


@wire_type
class CodeExecutionToolResultErrorObject(WireObject):
    """The code execution tool failed."""

    error_code: str = ""
    type: Literal["code_execution_tool_result_error"] = "code_execution_tool_result_error"


@wire_type
class CodeExecutionToolResultBlock(WireObject):
    """What the code execution tool gave."""

    tool_use_id: str = ""
    content: (
        CodeExecutionResultBlock | EncryptedCodeExecutionResultBlock | CodeExecutionToolResultErrorObject | UnknownResult | None
    ) = None
    type: Literal["code_execution_tool_result"] = "code_execution_tool_result"


@wire_type
class BashCodeExecutionOutputBlock(WireObject):
    """A file that a shell command wrote."""

    file_id: str = ""
    type: Literal["bash_code_execution_output"] = "bash_code_execution_output"


@wire_type
class BashCodeExecutionResultBlock(WireObject):
    """What a shell command did.

    Attributes:
        content: The files it wrote.
    """

    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    content: list[BashCodeExecutionOutputBlock] = attrs.field(factory=list)
    type: Literal["bash_code_execution_result"] = "bash_code_execution_result"


@wire_type
class BashCodeExecutionToolResultErrorObject(WireObject):
    """The shell tool failed."""

    error_code: str = ""
    type: Literal["bash_code_execution_tool_result_error"] = "bash_code_execution_tool_result_error"


@wire_type
class BashCodeExecutionToolResultBlock(WireObject):
    """What the shell tool gave."""

    tool_use_id: str = ""
    content: BashCodeExecutionResultBlock | BashCodeExecutionToolResultErrorObject | UnknownResult | None = None
    type: Literal["bash_code_execution_tool_result"] = "bash_code_execution_tool_result"


@wire_type
class TextEditorCodeExecutionViewResultBlock(WireObject):
    """A file, or a part of one, as the text editor tool shows it.

    Attributes:
        file_type: `text`, `image`, `pdf` or a newer one.
        num_lines: How many lines are shown, from `start_line` on.
    """

    content: str = ""
    file_type: str = ""
    num_lines: int | None = None
    start_line: int | None = None
    total_lines: int | None = None
    type: Literal["text_editor_code_execution_view_result"] = "text_editor_code_execution_view_result"


@wire_type
class TextEditorCodeExecutionCreateResultBlock(WireObject):
    """The text editor tool wrote a file.

    Attributes:
        is_file_update: True where the file was there before.
    """

    is_file_update: bool = False
    type: Literal["text_editor_code_execution_create_result"] = "text_editor_code_execution_create_result"


@wire_type
class TextEditorCodeExecutionStrReplaceResultBlock(WireObject):
    """The text editor tool changed a file.

    Attributes:
        lines: The change, as lines of a diff.
    """

    lines: list[str] | None = None
    old_start: int | None = None
    old_lines: int | None = None
    new_start: int | None = None
    new_lines: int | None = None
    type: Literal["text_editor_code_execution_str_replace_result"] = "text_editor_code_execution_str_replace_result"


@wire_type
class TextEditorCodeExecutionToolResultErrorObject(WireObject):
    """The text editor tool failed."""

    error_code: str = ""
    error_message: str | None = None
    type: Literal["text_editor_code_execution_tool_result_error"] = "text_editor_code_execution_tool_result_error"


@wire_type
class TextEditorCodeExecutionToolResultBlock(WireObject):
    """What the text editor tool gave."""

    tool_use_id: str = ""
    content: (
        TextEditorCodeExecutionViewResultBlock
        | TextEditorCodeExecutionCreateResultBlock
        | TextEditorCodeExecutionStrReplaceResultBlock
        | TextEditorCodeExecutionToolResultErrorObject
        | UnknownResult
        | None
    ) = None
    type: Literal["text_editor_code_execution_tool_result"] = "text_editor_code_execution_tool_result"


@wire_type
class ToolReferenceBlock(WireObject):
    """A tool that the tool search found."""

    tool_name: str = ""
    type: Literal["tool_reference"] = "tool_reference"


@wire_type
class ToolSearchToolSearchResultBlock(WireObject):
    """The tools that the tool search found."""

    tool_references: list[ToolReferenceBlock] = attrs.field(factory=list)
    type: Literal["tool_search_tool_search_result"] = "tool_search_tool_search_result"


@wire_type
class ToolSearchToolResultErrorObject(WireObject):
    """The tool search failed."""

    error_code: str = ""
    error_message: str | None = None
    type: Literal["tool_search_tool_result_error"] = "tool_search_tool_result_error"


@wire_type
class ToolSearchToolResultBlock(WireObject):
    """What the tool search gave."""

    tool_use_id: str = ""
    content: ToolSearchToolSearchResultBlock | ToolSearchToolResultErrorObject | UnknownResult | None = None
    type: Literal["tool_search_tool_result"] = "tool_search_tool_result"


@wire_type
class ContainerUploadBlock(WireObject):
    """A file that was put into the container."""

    file_id: str = ""
    type: Literal["container_upload"] = "container_upload"


@wire_type
class UnknownBlock(Unknown):
    """A content block of a kind that this version does not know; goes back unchanged in the next request."""


ContentBlock = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | ContainerUploadBlock
    | UnknownBlock
)
"""A part of the answer."""


# --------------------------------------------------------------------------------------------------------------- usage


@wire_type
class CacheCreation(WireObject):
    """The tokens written to the cache, by how long they stay."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


@wire_type
class OutputTokensDetails(WireObject):
    """What the output tokens went into."""

    thinking_tokens: int = 0


@wire_type
class ServerToolUsage(WireObject):
    """How often server tools ran."""

    web_search_requests: int = 0
    web_fetch_requests: int = 0


@wire_type
class Usage(WireObject):
    """What the call counted.

    Attributes:
        input_tokens: Those that the cache neither gave nor took; the whole input is the sum of the three.
        output_tokens: All, reasoning included.
        inference_geo: The region that computed the answer.
        service_tier: `standard`, `priority`, `batch` or a newer one.
        speed: `standard`, `fast` or a newer one.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUsage | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None


# ------------------------------------------------------------------------------------------------------------- message


@wire_type
class ContainerSkill(WireObject):
    """A skill that the container has.

    Attributes:
        type: Who made it: `anthropic`, `custom` or a newer kind.
    """

    skill_id: str = ""
    version: str = ""
    type: Literal["anthropic", "custom"] | str = ""


@wire_type
class Container(WireObject):
    """Where the code of server tools ran; its id may be given to the next request.

    Attributes:
        expires_at: An ISO 8601 time.
    """

    id: str = ""
    expires_at: str = ""
    skills: list[ContainerSkill] | None = None


@wire_type
class RefusalStopDetails(WireObject):
    """Why the model refused.

    Attributes:
        category: `cyber`, `bio`, `frontier_llm`, `reasoning_extraction`, `general_harms` or a newer one.
    """

    category: str | None = None
    explanation: str | None = None
    type: Literal["refusal"] = "refusal"


@wire_type
class CacheMissReason(WireObject):
    """Why the cache did not serve the request's beginning.

    Attributes:
        cache_missed_input_tokens: The tokens that had to be read again; the kinds that compare with an earlier request
            have it.
        type: `messages_changed`, `model_changed`, `system_changed`, `tools_changed`, `previous_message_not_found`,
            `unavailable` or a newer one.
    """

    cache_missed_input_tokens: int | None = None
    type: str = ""


@wire_type
class Diagnostics(WireObject):
    """What the server found out about the request; sent when the request asks for it."""

    cache_miss_reason: CacheMissReason | None = None


@wire_type
class Message(Reply):
    """The reply of the Messages API.

    Attributes:
        content: The answer's blocks in their order; they may go back unchanged as the content of an assistant turn.
        stop_reason: None while the answer is being streamed.
        stop_sequence: The caller's sequence that the model came to, if that is why it stopped.
        usage: None where the gateway sent none.
    """

    id: str = ""
    role: Literal["assistant"] = "assistant"
    model: str = ""
    content: list[ContentBlock] = attrs.field(factory=list)
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    stop_details: RefusalStopDetails | None = None
    usage: Usage | None = None
    container: Container | None = None
    diagnostics: Diagnostics | None = None
    type: Literal["message"] = "message"

    @property
    def text(self) -> str:
        """The answer's text: that of all text blocks, joined; empty where there is none."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))

    @property
    def thinking(self) -> str:
        """The model's reasoning: that of all thinking blocks, joined; empty where there is none."""
        return "".join(block.thinking for block in self.content if isinstance(block, ThinkingBlock))

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The calls of the caller's own tools, in their order."""
        return [block for block in self.content if isinstance(block, ToolUseBlock)]
