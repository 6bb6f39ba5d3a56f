"""What an answer quotes and rests on.

Source: https://ai.google.dev/api/generate-content#GroundingMetadata
"""

from __future__ import annotations

from dgrid_async.apis.generate_content.types.content import (
    GeminiObject,
)
from dgrid_async.apis.generate_content.types.enumerations import (
    UrlRetrievalStatus,
)
from dgrid_async.wire import wire_type

__all__ = [
    "AuthorAttribution",
    "Citation",
    "CitationMetadata",
    "Date",
    "GroundingChunk",
    "GroundingChunkCustomMetadata",
    "GroundingChunkImage",
    "GroundingChunkMaps",
    "GroundingChunkMapsRoute",
    "GroundingChunkRetrievedContext",
    "GroundingChunkStringList",
    "GroundingChunkWeb",
    "GroundingMetadata",
    "GroundingSupport",
    "PlaceAnswerSources",
    "RagChunk",
    "RagChunkPageSpan",
    "RetrievalMetadata",
    "ReviewSnippet",
    "SearchEntryPoint",
    "Segment",
    "SourceFlaggingUri",
    "UrlContextMetadata",
    "UrlMetadata",
]


@wire_type
class Date(GeminiObject):
    """A day, a month or a year; what is unknown is 0 or None."""

    year: int | None = None
    month: int | None = None
    day: int | None = None


@wire_type
class Citation(GeminiObject):
    """A source that the answer quotes.

    Attributes:
        start_index: Where the quotation begins in the answer, in bytes; `end_index` is where it ends, itself not
            included.
    """

    start_index: int | None = None
    end_index: int | None = None
    uri: str | None = None
    title: str | None = None
    license: str | None = None
    publication_date: Date | None = None


@wire_type
class CitationMetadata(GeminiObject):
    """The sources that the answer quotes, under one of two names; `Candidate.citations` reads both.

    Attributes:
        citations: As Vertex names them.
        citation_sources: As the Gemini API names them.
    """

    citations: list[Citation] | None = None
    citation_sources: list[Citation] | None = None


@wire_type
class GroundingChunkWeb(GeminiObject):
    """A page of the web."""

    uri: str | None = None
    title: str | None = None
    domain: str | None = None


@wire_type
class GroundingChunkImage(GeminiObject):
    """A picture of the web.

    Attributes:
        source_uri: The page that shows it.
    """

    source_uri: str | None = None
    image_uri: str | None = None
    title: str | None = None
    domain: str | None = None


@wire_type
class AuthorAttribution(GeminiObject):
    """Who wrote a review of a place."""

    display_name: str | None = None
    photo_uri: str | None = None
    uri: str | None = None


@wire_type
class ReviewSnippet(GeminiObject):
    """A piece of a review of a place."""

    review: str | None = None
    review_id: str | None = None
    title: str | None = None
    author_attribution: AuthorAttribution | None = None
    relative_publish_time_description: str | None = None
    google_maps_uri: str | None = None
    flag_content_uri: str | None = None


@wire_type
class PlaceAnswerSources(GeminiObject):
    """What an answer about a place rests on; the snippets come under either name."""

    review_snippets: list[ReviewSnippet] | None = None
    review_snippet: list[ReviewSnippet] | None = None
    flag_content_uri: str | None = None


@wire_type
class GroundingChunkMapsRoute(GeminiObject):
    """A way between places.

    Attributes:
        duration: Seconds with an `s` behind.
    """

    distance_meters: int | None = None
    duration: str | None = None
    encoded_polyline: str | None = None


@wire_type
class GroundingChunkMaps(GeminiObject):
    """A place of Google Maps."""

    uri: str | None = None
    title: str | None = None
    text: str | None = None
    place_id: str | None = None
    place_answer_sources: PlaceAnswerSources | None = None
    route: GroundingChunkMapsRoute | None = None


@wire_type
class RagChunkPageSpan(GeminiObject):
    """The pages of a chunk, both ends included, from 1."""

    first_page: int | None = None
    last_page: int | None = None


@wire_type
class RagChunk(GeminiObject):
    """A piece of a document that retrieval found."""

    text: str | None = None
    page_span: RagChunkPageSpan | None = None
    chunk_id: str | None = None
    file_id: str | None = None


@wire_type
class GroundingChunkStringList(GeminiObject):
    """Several strings as one value."""

    values: list[str] | None = None


@wire_type
class GroundingChunkCustomMetadata(GeminiObject):
    """One entry of a document's own metadata: a key and one of three kinds of value."""

    key: str | None = None
    string_value: str | None = None
    numeric_value: float | None = None
    string_list_value: GroundingChunkStringList | None = None


@wire_type
class GroundingChunkRetrievedContext(GeminiObject):
    """A document of the caller's that retrieval found."""

    uri: str | None = None
    title: str | None = None
    text: str | None = None
    rag_chunk: RagChunk | None = None
    document_name: str | None = None
    page_number: int | None = None
    custom_metadata: list[GroundingChunkCustomMetadata] | None = None
    file_search_store: str | None = None
    media_id: str | None = None


@wire_type
class GroundingChunk(GeminiObject):
    """One source; one of the four is set."""

    web: GroundingChunkWeb | None = None
    image: GroundingChunkImage | None = None
    maps: GroundingChunkMaps | None = None
    retrieved_context: GroundingChunkRetrievedContext | None = None


@wire_type
class Segment(GeminiObject):
    """A stretch of the answer.

    Attributes:
        start_index: Where it begins in its part, in bytes; `end_index` is where it ends, itself not included.
    """

    part_index: int | None = None
    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


@wire_type
class GroundingSupport(GeminiObject):
    """Which sources bear out a stretch of the answer.

    Attributes:
        grounding_chunk_indices: Places in `GroundingMetadata.grounding_chunks`.
        confidence_scores: One per source, 0 to 1.
    """

    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None
    confidence_scores: list[float] | None = None
    rendered_parts: list[int] | None = None


@wire_type
class SearchEntryPoint(GeminiObject):
    """The search suggestions that must be shown beside the answer.

    Attributes:
        rendered_content: HTML and CSS.
        sdk_blob: JSON of search terms and addresses.
    """

    rendered_content: str | None = None
    sdk_blob: bytes | None = None


@wire_type
class RetrievalMetadata(GeminiObject):
    """How likely a search was to help, 0 to 1."""

    google_search_dynamic_retrieval_score: float | None = None


@wire_type
class SourceFlaggingUri(GeminiObject):
    """Where a source can be reported."""

    source_id: str | None = None
    flag_content_uri: str | None = None


@wire_type
class GroundingMetadata(GeminiObject):
    """What the answer rests on."""

    web_search_queries: list[str] | None = None
    image_search_queries: list[str] | None = None
    retrieval_queries: list[str] | None = None
    search_entry_point: SearchEntryPoint | None = None
    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None
    retrieval_metadata: RetrievalMetadata | None = None
    google_maps_widget_context_token: str | None = None
    source_flagging_uris: list[SourceFlaggingUri] | None = None


@wire_type
class UrlMetadata(GeminiObject):
    """One address that the model looked up, and how that went."""

    retrieved_url: str | None = None
    url_retrieval_status: UrlRetrievalStatus | None = None


@wire_type
class UrlContextMetadata(GeminiObject):
    """The addresses that the model looked up."""

    url_metadata: list[UrlMetadata] | None = None
