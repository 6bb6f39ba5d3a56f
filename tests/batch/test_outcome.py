"""What an outcome says, and how tokens are counted in four formats."""

from __future__ import annotations

from typing import Any

import pytest

from dgrid_async import InternalServerError, StreamTruncatedError
from dgrid_async.apis import chat_completions, generate_content, messages, responses
from dgrid_async.batch.outcome import Outcome, tokens_of
from dgrid_async.request import Request

REQUEST = Request("responses", {"model": "m"}, "mine")


def test_an_outcome_is_a_reply_or_an_error() -> None:
    usage = chat_completions.CompletionUsage(total_tokens=3)
    good = Outcome(0, REQUEST, chat_completions.ChatCompletion(usage=usage))
    assert good.ok
    assert good.usage is usage
    assert good.custom_id == "mine"
    bad = Outcome(1, REQUEST, error=InternalServerError("x", status=500))
    assert not bad.ok
    assert bad.usage is None


def test_a_cut_streams_usage_is_not_lost() -> None:
    error = StreamTruncatedError("cut")
    error.snapshot = messages.Message(usage=messages.Usage(input_tokens=5))
    assert Outcome(0, REQUEST, error=error).usage.input_tokens == 5


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (messages.Usage(input_tokens=1, output_tokens=2, cache_read_input_tokens=4), 7),
        (chat_completions.CompletionUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3), 3),
        (responses.ResponseUsage(input_tokens=1, output_tokens=2, total_tokens=3), 3),
        (responses.ResponseUsage(input_tokens=1, output_tokens=2), 3),
        (generate_content.UsageMetadata(total_token_count=9), 9),
        (generate_content.UsageMetadata(), None),
        (None, None),
    ],
)
def test_tokens_of_any_format(usage: Any, tokens: int | None) -> None:
    assert tokens_of(usage) == tokens
