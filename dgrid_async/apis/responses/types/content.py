"""What messages, tool outputs and reasoning are made of: text, images, files, annotations.

Holds values only; how pieces of a stream become one is the accumulator's business.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from typing import Literal

import attrs

from dgrid_async.wire import Unknown, WireObject, wire_type

__all__ = [
    "Annotation",
    "AnnotationContainerFileCitation",
    "AnnotationFileCitation",
    "AnnotationFilePath",
    "AnnotationURLCitation",
    "InputContent",
    "Logprob",
    "OutputContent",
    "PromptCacheBreakpoint",
    "ReasoningText",
    "ResponseInputFile",
    "ResponseInputImage",
    "ResponseInputText",
    "ResponseOutputRefusal",
    "ResponseOutputText",
    "SummaryText",
    "UnknownAnnotation",
    "UnknownContent",
]


@wire_type
class UnknownContent(Unknown):
    """A part of a kind that this version does not know."""


@wire_type
class PromptCacheBreakpoint(WireObject):
    """A mark up to which the prompt may be cached.

    Attributes:
        ttl: "30m" or "12h".
    """

    ttl: str | None = None
    mode: str = "explicit"


@wire_type
class ResponseInputText(WireObject):
    """Text given to the model."""

    text: str = ""
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None
    type: Literal["input_text"] = "input_text"


@wire_type
class ResponseInputImage(WireObject):
    """An image given to the model.

    Attributes:
        detail: "low", "high", "auto" or "original".
        image_url: An address, or the image itself as a `data:` URL.
    """

    detail: str | None = None
    file_id: str | None = None
    image_url: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None
    type: Literal["input_image"] = "input_image"


@wire_type
class ResponseInputFile(WireObject):
    """A file given to the model.

    Attributes:
        detail: "auto", "low" or "high".
        file_data: The file itself as a `data:` URL.
    """

    detail: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None
    type: Literal["input_file"] = "input_file"


InputContent = ResponseInputText | ResponseInputImage | ResponseInputFile | UnknownContent


@wire_type
class AnnotationFileCitation(WireObject):
    """A file that the answer draws on.

    Attributes:
        index: Of the file in the list of files.
    """

    file_id: str = ""
    filename: str = ""
    index: int = 0
    type: Literal["file_citation"] = "file_citation"


@wire_type
class AnnotationURLCitation(WireObject):
    """A page that a stretch of the text draws on.

    Attributes:
        start_index: Of the stretch, in characters.
        end_index: Of the stretch, in characters.
    """

    end_index: int = 0
    start_index: int = 0
    title: str = ""
    url: str = ""
    type: Literal["url_citation"] = "url_citation"


@wire_type
class AnnotationContainerFileCitation(WireObject):
    """A file of a code interpreter's container that a stretch of the text draws on."""

    container_id: str = ""
    end_index: int = 0
    file_id: str = ""
    filename: str = ""
    start_index: int = 0
    type: Literal["container_file_citation"] = "container_file_citation"


@wire_type
class AnnotationFilePath(WireObject):
    """A file that the answer made."""

    file_id: str = ""
    index: int = 0
    type: Literal["file_path"] = "file_path"


@wire_type
class UnknownAnnotation(Unknown):
    """An annotation of a kind that this version does not know."""


Annotation = (
    AnnotationFileCitation | AnnotationURLCitation | AnnotationContainerFileCitation | AnnotationFilePath | UnknownAnnotation
)


@wire_type
class Logprob(WireObject):
    """A token and the logarithm of its probability.

    Attributes:
        bytes: The token as UTF-8, a number a byte; not in deltas.
        top_logprobs: The likeliest tokens at this place, without alternatives of their own.
    """

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[Logprob] | None = None


@wire_type
class ResponseOutputText(WireObject):
    """Text of the answer."""

    annotations: list[Annotation] = attrs.field(factory=list)
    text: str = ""
    logprobs: list[Logprob] | None = None
    type: Literal["output_text"] = "output_text"


@wire_type
class ResponseOutputRefusal(WireObject):
    """The model's words on why it will not answer."""

    refusal: str = ""
    type: Literal["refusal"] = "refusal"


@wire_type
class ReasoningText(WireObject):
    """Reasoning as it was thought."""

    text: str = ""
    type: Literal["reasoning_text"] = "reasoning_text"


@wire_type
class SummaryText(WireObject):
    """A paragraph of the summary of the reasoning."""

    text: str = ""
    type: Literal["summary_text"] = "summary_text"


OutputContent = ResponseOutputText | ResponseOutputRefusal | ReasoningText | UnknownContent
