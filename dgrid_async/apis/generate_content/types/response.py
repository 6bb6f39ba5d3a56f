"""The reply, its candidates, and what is said of them: safety, odds and counts.

Source: https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from dgrid_async.apis.generate_content.types.content import (
    Content,
    FunctionCall,
    GeminiObject,
    Part,
)
from dgrid_async.apis.generate_content.types.enumerations import (
    BlockedReason,
    FinishReason,
    HarmBlockThreshold,
    HarmCategory,
    HarmProbability,
    HarmSeverity,
    MediaModality,
    ModelStage,
    TrafficType,
)
from dgrid_async.apis.generate_content.types.sources import (
    Citation,
    CitationMetadata,
    GroundingMetadata,
    UrlContextMetadata,
)
from dgrid_async.wire import Reply, wire_type

__all__ = [
    "Candidate",
    "GenerateContentResponse",
    "LogprobsResult",
    "LogprobsResultCandidate",
    "LogprobsResultTopCandidates",
    "ModalityTokenCount",
    "ModelStatus",
    "PromptFeedback",
    "SafetyRating",
    "UsageMetadata",
]

# ---------------------------------------------------------------------------------------------- safety, odds and counts


@wire_type
class SafetyRating(GeminiObject):
    """How harmful something is in one category."""

    category: HarmCategory | None = None
    probability: HarmProbability | None = None
    probability_score: float | None = None
    severity: HarmSeverity | None = None
    severity_score: float | None = None
    blocked: bool | None = None
    overwritten_threshold: HarmBlockThreshold | None = None


@wire_type
class PromptFeedback(GeminiObject):
    """Whether the prompt was refused; a refused one has no candidates."""

    block_reason: BlockedReason | None = None
    block_reason_message: str | None = None
    safety_ratings: list[SafetyRating] | None = None


@wire_type
class LogprobsResultCandidate(GeminiObject):
    """A token and the natural logarithm of its probability."""

    token: str | None = None
    token_id: int | None = None
    log_probability: float | None = None


@wire_type
class LogprobsResultTopCandidates(GeminiObject):
    """The likeliest tokens for one place, the likeliest first."""

    candidates: list[LogprobsResultCandidate] | None = None


@wire_type
class LogprobsResult(GeminiObject):
    """The tokens chosen and the likeliest ones, place by place."""

    chosen_candidates: list[LogprobsResultCandidate] | None = None
    top_candidates: list[LogprobsResultTopCandidates] | None = None
    log_probability_sum: float | None = None


@wire_type
class ModalityTokenCount(GeminiObject):
    """How many tokens are of one kind."""

    modality: MediaModality | None = None
    token_count: int | None = None


@wire_type
class UsageMetadata(GeminiObject):
    """What the call used, in tokens; in a stream, what it has used so far.

    Attributes:
        prompt_token_count: The prompt, the cached part of it included.
        candidates_token_count: All candidates, reasoning not included.
        thoughts_token_count: The reasoning.
        total_token_count: All of it.
    """

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[ModalityTokenCount] | None = None
    candidates_tokens_details: list[ModalityTokenCount] | None = None
    tool_use_prompt_tokens_details: list[ModalityTokenCount] | None = None
    cache_tokens_details: list[ModalityTokenCount] | None = None
    traffic_type: TrafficType | None = None


@wire_type
class ModelStatus(GeminiObject):
    """How old the model is getting."""

    model_stage: ModelStage | None = None
    retirement_time: str | None = None
    message: str | None = None


# ------------------------------------------------------------------------------------------------------------ the reply


@wire_type
class Candidate(GeminiObject):
    """One answer.

    Attributes:
        content: None where the answer was blocked.
        finish_reason: None while the answer goes on.
    """

    content: Content | None = None
    finish_reason: FinishReason | None = None
    finish_message: str | None = None
    index: int | None = None
    safety_ratings: list[SafetyRating] | None = None
    citation_metadata: CitationMetadata | None = None
    grounding_metadata: GroundingMetadata | None = None
    url_context_metadata: UrlContextMetadata | None = None
    token_count: int | None = None
    avg_logprobs: float | None = None
    logprobs_result: LogprobsResult | None = None
    continuation_token: bytes | None = None

    @property
    def text(self) -> str:
        """The answer's text joined, reasoning left out; empty for a blocked answer."""
        return "" if self.content is None else self.content.text

    @property
    def citations(self) -> list[Citation]:
        """The sources that the answer quotes, under whichever name they came."""
        found = self.citation_metadata
        return [] if found is None else found.citations or found.citation_sources or []


@wire_type
class GenerateContentResponse(Reply):
    """The reply; in a stream, each event is one that holds only what is new.

    Attributes:
        candidates: Empty where the prompt was blocked: `prompt_feedback` then says why.
    """

    camel: ClassVar[bool] = True

    candidates: list[Candidate] = attrs.field(factory=list)
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    create_time: str | None = None
    model_status: ModelStatus | None = None

    @property
    def usage(self) -> UsageMetadata | None:
        """The same as `usage_metadata`: what the call used, or None where the gateway did not say."""
        return self.usage_metadata

    @property
    def content(self) -> Content | None:
        """The message of the first candidate, to be sent back as the model's turn; None for a blocked one."""
        candidate = self._first()
        return None if candidate is None else candidate.content

    @property
    def parts(self) -> list[Part]:
        """The parts of the first candidate."""
        content = self.content
        return [] if content is None else content.parts

    @property
    def text(self) -> str:
        """The text of the first candidate joined, reasoning left out; empty where there is none."""
        content = self.content
        return "" if content is None else content.text

    @property
    def reasoning(self) -> str:
        """The model's reasoning in the first candidate, joined."""
        return "".join([part.text for part in self.parts if part.text and part.thought])

    @property
    def function_calls(self) -> list[FunctionCall]:
        """The functions that the first candidate wants called, in order."""
        return [part.function_call for part in self.parts if part.function_call is not None]

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the first candidate ended, or None."""
        candidate = self._first()
        return None if candidate is None else candidate.finish_reason

    def _first(self) -> Candidate | None:
        """Return the candidate of index 0, wherever it stands; else the one that stands first."""
        for candidate in self.candidates:
            if candidate.index == 0:
                return candidate
        return self.candidates[0] if self.candidates else None
