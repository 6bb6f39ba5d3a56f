"""Tokens of a request that was not sent yet: what counts, and for how many."""

from __future__ import annotations

from typing import Any

import pytest

from dgrid_async.apis.generate_content import Part
from dgrid_async.batch.estimate import tokens_asked
from dgrid_async.request import Request


def test_an_estimate_counts_input_and_the_most_of_output() -> None:
    def asked(**params: Any) -> int:
        return tokens_asked(Request("chat_completions", {"model": "m", **params}))

    text = [{"role": "user", "content": "word " * 800}]
    assert asked(messages=text, max_tokens=50) == pytest.approx(1050, abs=5)
    assert asked(messages=text) == pytest.approx(1256, abs=5)
    assert asked(messages=[{"content": [{"image_url": {"url": "data:image/png;base64," + "A" * 9000}}]}]) < 1300
    content = Request(
        "generate_content",
        {"model": "m", "contents": ["Hi", Part.from_bytes(b"x" * 50_000, "image/png")], "config": {"max_output_tokens": 9}},
    )
    assert 1000 < tokens_asked(content) < 1100
