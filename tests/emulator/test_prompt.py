"""Media and word counts of requests."""

from __future__ import annotations

import pytest

from dgrid_async.emulator.problems import Problem
from dgrid_async.emulator.prompt import MEDIA_TOKENS, Media, Prompt, count_tokens, media_from_base64, media_from_url


@pytest.mark.parametrize(("text", "count"), [("", 0), ("Hello, world!", 4), ("Zürich 雪", 2), (" \n", 0)])
def test_count_tokens(text: str, count: int) -> None:
    assert count_tokens(text) == count


def test_input_tokens() -> None:
    assert Prompt(model="m").input_tokens == 1
    assert Prompt(model="m", words=("a b", "c"), media=(Media("image/png", 1),)).input_tokens == 3 + MEDIA_TOKENS


@pytest.mark.parametrize("data", ["+/+/", "-_-_"])
def test_both_alphabets_of_base64(data: str) -> None:
    assert str(media_from_base64(data, "image/png", "here")) == "image/png, 3 bytes"


@pytest.mark.parametrize(("data", "kind"), [("not base64!", "image/png"), ("", "image/png"), (5, "a/b"), ("AAAA", "")])
def test_bad_base64_names_its_place(data: object, kind: str) -> None:
    with pytest.raises(Problem) as caught:
        media_from_base64(data, kind, "messages.0")
    assert caught.value.status == 400
    assert caught.value.message.startswith("messages.0: ")


def test_urls() -> None:
    assert str(media_from_url("data:audio/wav;base64,AAAA", "audio", "here")) == "audio/wav, 3 bytes"
    assert str(media_from_url("https://example.com/a.png", "image", "here")) == "image at https://example.com/a.png"
    for url in ("data:text/plain,hello", "", None):
        with pytest.raises(Problem, match="here"):
            media_from_url(url, "image", "here")
