"""A message and its parts: text, media, calls and code. `Part.from_path` alone touches the disk.

Source: https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs

from dgrid_async.apis.generate_content.types.enumerations import (
    DocumentContentLayer,
    FunctionResponseScheduling,
    Language,
    MediaProcessing,
    Outcome,
    PartMediaResolutionLevel,
    SpreadsheetContentLayer,
    ToolType,
    VideoContentLayer,
)
from dgrid_async.media import mime_type_of, read_file
from dgrid_async.wire import WireObject, wire_type

__all__ = [
    "AudioMetadata",
    "Blob",
    "CodeExecutionResult",
    "Content",
    "DocumentMetadata",
    "ExecutableCode",
    "FileData",
    "FunctionCall",
    "FunctionResponse",
    "FunctionResponseBlob",
    "FunctionResponseFileData",
    "FunctionResponsePart",
    "GeminiObject",
    "Part",
    "PartMediaResolution",
    "PartialArg",
    "SpeechMetadata",
    "SpreadsheetMetadata",
    "ToolCall",
    "ToolResponse",
    "Transcription",
    "VideoMetadata",
    "WordInfo",
]


class GeminiObject(WireObject):
    """The base of this slice's classes: camelCase on the wire."""

    __slots__ = ()
    camel: ClassVar[bool] = True


# ----------------------------------------------------------------------------------------- media and what is said of it


@wire_type
class Blob(GeminiObject):
    """Bytes within the message."""

    data: bytes | None = None
    mime_type: str | None = None
    display_name: str | None = None


@wire_type
class FileData(GeminiObject):
    """A file that is kept elsewhere, by its address."""

    file_uri: str | None = None
    mime_type: str | None = None
    display_name: str | None = None


@wire_type
class PartMediaResolution(GeminiObject):
    """How finely a part's media is looked at: a level, or a count of tokens."""

    level: PartMediaResolutionLevel | None = None
    num_tokens: int | None = None


@wire_type
class VideoMetadata(GeminiObject):
    """Which stretch of a video counts, and at what rate.

    Attributes:
        start_offset: Seconds from the start with an `s` behind, such as "12.5s"; so is `end_offset`.
        fps: Frames looked at per second.
    """

    start_offset: str | None = None
    end_offset: str | None = None
    fps: float | None = None
    content_layers: list[VideoContentLayer] | None = None


@wire_type
class AudioMetadata(GeminiObject):
    """Which stretch of a recording counts."""

    start_offset: str | None = None
    end_offset: str | None = None


@wire_type
class DocumentMetadata(GeminiObject):
    """Which pages of a document count."""

    start_page: int | None = None
    end_page: int | None = None
    content_layers: list[DocumentContentLayer] | None = None


@wire_type
class SpreadsheetMetadata(GeminiObject):
    """Which part of a spreadsheet counts."""

    visible_cells: str | None = None
    sheet_index: int | None = None
    content_layers: list[SpreadsheetContentLayer] | None = None


@wire_type
class SpeechMetadata(GeminiObject):
    """Who speaks a text, and how."""

    speaker: str | None = None
    style: str | None = None


@wire_type
class WordInfo(GeminiObject):
    """One word of a transcription and its place in the recording."""

    word: str | None = None
    start_offset: str | None = None
    end_offset: str | None = None


@wire_type
class Transcription(GeminiObject):
    """What was said in a recording."""

    text: str | None = None
    finished: bool | None = None
    language_code: str | None = None
    speaker_label: str | None = None
    words: list[WordInfo] | None = None
    start_offset: str | None = None
    end_offset: str | None = None


# ------------------------------------------------------------------------------------------------------- calls and code


@wire_type
class PartialArg(GeminiObject):
    """A piece of one argument of a function call that is streamed.

    Attributes:
        json_path: Which argument (RFC 9535), such as `$.city` or `$.days[0]`.
        will_continue: More of the same argument follows.
    """

    json_path: str | None = None
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None
    null_value: Literal["NULL_VALUE"] | None = None
    will_continue: bool | None = None


@wire_type
class FunctionCall(GeminiObject):
    """A function that the model wants called.

    Attributes:
        args: The arguments: a dict. What else came in its place is kept as it came, a gateway's unparsable text as a
            str.
        partial_args: Of a streamed call, the pieces in this event; of a merged one, those that fitted nowhere.
        will_continue: Of a streamed call, more of it follows.
    """

    name: str | None = None
    args: Any = None
    id: str | None = None
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


@wire_type
class FunctionResponseBlob(GeminiObject):
    """Bytes that a function answered."""

    data: bytes | None = None
    mime_type: str | None = None
    display_name: str | None = None


@wire_type
class FunctionResponseFileData(GeminiObject):
    """A file that a function answered, by its address."""

    file_uri: str | None = None
    mime_type: str | None = None
    display_name: str | None = None


@wire_type
class FunctionResponsePart(GeminiObject):
    """Media that a function answered."""

    inline_data: FunctionResponseBlob | None = None
    file_data: FunctionResponseFileData | None = None
    media_processing: MediaProcessing | None = None
    media_resolution: PartMediaResolution | None = None
    video_metadata: VideoMetadata | None = None
    document_metadata: DocumentMetadata | None = None
    spreadsheet_metadata: SpreadsheetMetadata | None = None
    audio_metadata: AudioMetadata | None = None


@wire_type
class FunctionResponse(GeminiObject):
    """What a function answered.

    Attributes:
        id: That of the call, where it had one.
        response: A JSON object; by custom its answer is under `output` and its failure under `error`.
        scheduling: When the model hears of an answer that it did not wait for.
    """

    name: str | None = None
    response: dict[str, Any] | None = None
    id: str | None = None
    parts: list[FunctionResponsePart] | None = None
    scheduling: FunctionResponseScheduling | None = None
    will_continue: bool | None = None


@wire_type
class ExecutableCode(GeminiObject):
    """Code that the model wrote and the server runs."""

    code: str | None = None
    language: Language | None = None
    id: str | None = None


@wire_type
class CodeExecutionResult(GeminiObject):
    """What the server's run of the code gave."""

    outcome: Outcome | None = None
    output: str | None = None
    id: str | None = None


@wire_type
class ToolCall(GeminiObject):
    """A tool that the server runs by itself."""

    id: str | None = None
    tool_type: ToolType | None = None
    args: Any = None


@wire_type
class ToolResponse(GeminiObject):
    """What a tool of the server answered."""

    id: str | None = None
    tool_type: ToolType | None = None
    response: Any = None


# -------------------------------------------------------------------------------------------------------------- content

# Gemini's own words for types that registries name otherwise.
# Source: https://ai.google.dev/gemini-api/docs/video-understanding#supported-formats
_GEMINI_MIME_TYPES = {"video/x-msvideo": "video/avi", "video/x-ms-wmv": "video/wmv"}


@wire_type
class Part(GeminiObject):
    """One piece of a message: text, media, a function call or its answer, code, and so on; one of them is set.

    Attributes:
        thought: The text is the model's reasoning, not its answer.
        thought_signature: Opaque; a part that carries one goes back unchanged in the next request, its own part still.
        part_metadata: The caller's own notes.
    """

    text: str | None = None
    thought: bool | None = None
    thought_signature: bytes | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: ExecutableCode | None = None
    code_execution_result: CodeExecutionResult | None = None
    tool_call: ToolCall | None = None
    tool_response: ToolResponse | None = None
    audio_transcription: Transcription | None = None
    media_resolution: PartMediaResolution | None = None
    media_processing: MediaProcessing | None = None
    video_metadata: VideoMetadata | None = None
    audio_metadata: AudioMetadata | None = None
    document_metadata: DocumentMetadata | None = None
    spreadsheet_metadata: SpreadsheetMetadata | None = None
    speech_metadata: SpeechMetadata | None = None
    part_metadata: dict[str, Any] | None = None

    @classmethod
    def from_text(cls, text: str) -> Part:
        """Return a part of text."""
        return cls(text=text)

    @classmethod
    def from_bytes(cls, data: bytes, mime_type: str | None = None) -> Part:
        """Return a part of an image, a recording, a video or a document, sent within the request.

        Args:
            data: The file's bytes, not base64.
            mime_type: What they are; None finds it from the bytes.

        Raises:
            ConfigError: No type was given and the bytes do not tell.
        """
        data = bytes(data)
        return cls(inline_data=Blob(data, mime_type or _found(data, None)))

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], mime_type: str | None = None) -> Part:
        """Return a part of the file's bytes, sent within the request.

        A plain blocking read: in a coroutine, `await asyncio.to_thread(Part.from_path, path)` keeps the loop free.

        Args:
            path: The file.
            mime_type: What it is; None finds it from the bytes, and from the name where they do not tell.

        Raises:
            ConfigError: No type was given, and neither bytes nor name tell.
            OSError: The file cannot be read.
        """
        data, name = read_file(path)
        return cls(inline_data=Blob(data, mime_type or _found(data, name)))

    @classmethod
    def from_uri(cls, file_uri: str, mime_type: str | None = None) -> Part:
        """Return a part of a file by its address, for models that fetch it themselves."""
        return cls(file_data=FileData(file_uri, mime_type))

    @classmethod
    def from_function_response(
        cls,
        name: str,
        response: Mapping[str, Any],
        id: str | None = None,  # noqa: A002 -- the wire's word
    ) -> Part:
        """Return a part that answers a function call.

        Args:
            name: That of the function.
            response: A JSON object, by custom {"output": …} or {"error": …}.
            id: That of the call, where it had one.
        """
        return cls(function_response=FunctionResponse(name, dict(response), id))


def _found(data: bytes, name: str | None) -> str:
    mime_type = mime_type_of(data, name)
    return _GEMINI_MIME_TYPES.get(mime_type, mime_type)


@wire_type
class Content(GeminiObject):
    """One message.

    Attributes:
        role: "user" or "model".
    """

    parts: list[Part] = attrs.field(factory=list)
    role: str | None = None

    @property
    def text(self) -> str:
        """The texts joined, reasoning left out."""
        return "".join([part.text for part in self.parts if part.text and not part.thought])
