"""The official SDKs as oracles: what their accumulators make of a conforming stream, ours makes too.

Fields that are null and those that an SDK adds for its own convenience are left out. Google's SDK merges nothing; its
chunks are compared with ours, and the merged reply has its test beside the other generated ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.budgets import brief, long, slow
from tests.properties.reading import read
from tests.properties.samples import SAMPLES, Sample
from tests.properties.streams import STREAMS

REASON = "the vendors' SDKs are the extra [peers]"
pytestmark = [
    pytest.mark.peers,
    # Importing an SDK takes seconds, and counts for the first test that does.
    pytest.mark.timeout(90),
    # The SDKs' own business.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]
# Made by the SDKs out of others, and the position of a tool call, which their final completion keeps from the stream.
ADDED = {"parsed", "parsed_output", "parsed_arguments", "obfuscation"}
DRAWN = given(data=st.data())
# Endings that the SDK's helper raises on although the reply is whole.
FINISHED = {"stop", "tool_calls"}


def transport(body: bytes) -> Any:
    """Return an HTTP client of the SDKs' kind that answers everything with this stream."""
    import httpx2

    def answer(_: Any) -> Any:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def claude(body: bytes) -> Any:
    import anthropic

    with anthropic.Anthropic(api_key="k", http_client=transport(body), max_retries=0) as client:
        params: Any = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        with client.messages.stream(**params) as stream:
            return stream.get_final_message().to_dict(mode="json")


def chat(body: bytes) -> Any:
    import openai

    with openai.OpenAI(api_key="k", http_client=transport(body), max_retries=0) as client:
        params: Any = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        with client.chat.completions.stream(**params) as stream:
            return stream.get_final_completion().to_dict(mode="json")


def response(body: bytes) -> Any:
    import openai

    with openai.OpenAI(api_key="k", http_client=transport(body), max_retries=0) as client:
        params: Any = {"model": "m", "input": "Hi"}
        with client.responses.stream(**params) as stream:
            return stream.get_final_response().to_dict(mode="json")


ORACLES: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "messages": ("anthropic", claude),
    "chat_completions": ("openai", chat),
    "responses": ("openai", response),
}
# Those that the SDK's helper cannot finish: it raises on a failed or incomplete response and on an error event.
UNFINISHED = {"responses/incomplete", "responses/failed", "responses/error_event"}
CONFORMING = [s for s in SAMPLES if s.conforming and s.api in ORACLES and str(s) not in UNFINISHED]


def comparable(value: Any) -> Any:
    """Return a reply without what is null or only one side adds."""
    if isinstance(value, dict):
        kept = {name: comparable(item) for name, item in value.items() if item is not None and name not in ADDED}
        if kept.keys() >= {"index", "function", "id"}:
            del kept["index"]
        return kept
    return [comparable(item) for item in value] if isinstance(value, list) else value


def check(api: str, body: bytes) -> None:
    package, oracle = ORACLES[api]
    pytest.importorskip(package, reason=REASON)
    outcome = read(api, [body])
    assert outcome.error is None
    assert comparable(json.loads(json.dumps(outcome.reply.to_dict()))) == comparable(oracle(body))


@pytest.mark.parametrize("sample", CONFORMING, ids=str)
def test_transcripts(sample: Sample) -> None:
    check(sample.api, sample.data)


@pytest.mark.parametrize("api", sorted(ORACLES))
@brief(30)
@DRAWN
def test_generated(api: str, data: Any) -> None:
    check(api, data.draw(STREAMS[api]).data())


@slow
@pytest.mark.parametrize("api", sorted(ORACLES))
@long(150)
@DRAWN
def test_generated_at_length(api: str, data: Any) -> None:
    check(api, data.draw(STREAMS[api]).data())


# ----------------------------------------------------------------------------------------------------------------- Gemini


def check_chunks(body: bytes) -> None:
    """Google's SDK knows of a chunk what its types have; all of that is in ours."""
    types = pytest.importorskip("google.genai", reason=REASON).types
    outcome = read("generate_content", [body])
    assert outcome.error is None
    texts, counts = [], None
    for event in outcome.events:
        theirs = types.GenerateContentResponse.model_validate(event.to_dict())
        first = [c for c in theirs.candidates or () if not c.index]
        for candidate in first:
            parts = candidate.content.parts if candidate.content else ()
            texts += [part.text for part in parts or () if part.text and not part.thought]
        counts = theirs.usage_metadata or counts
    assert outcome.reply.text == "".join(texts)
    assert (outcome.reply.usage is None) == (counts is None)
    if counts is not None:
        assert outcome.reply.usage.total_token_count == counts.total_token_count
        assert outcome.reply.usage.candidates_token_count == counts.candidates_token_count
    merged = types.GenerateContentResponse.model_validate(outcome.reply.to_dict())
    assert len(merged.candidates or ()) == len(outcome.reply.candidates)
    calls = [call.name for call in merged.function_calls or ()]
    assert calls == [
        part.function_call.name for c in outcome.reply.candidates[:1] for part in c.content.parts if part.function_call
    ]


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.conforming and s.api == "generate_content"], ids=str)
def test_gemini_transcripts(sample: Sample) -> None:
    check_chunks(sample.data)


@brief(30)
@given(stream=STREAMS["generate_content"])
def test_gemini_generated(stream: Any) -> None:
    check_chunks(stream.data())
