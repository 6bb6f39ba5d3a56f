"""What the package says it has, it has; and it is what DESIGN says by name."""

from __future__ import annotations

import importlib

import pytest

import dgrid_async

PUBLIC = [
    "dgrid_async",
    "dgrid_async.batch",
    "dgrid_async.relay",
    *(f"dgrid_async.apis.{name}" for name in ("messages", "chat_completions", "responses", "generate_content")),
]


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_whole_and_sorted(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    for exported in module.__all__:
        assert getattr(module, exported) is not None, exported


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "messages",
            [
                "Message",
                "MessageStart",
                "ContentBlockDelta",
                "TextBlock",
                "ToolUseBlock",
                "Usage",
                "image_block",
                "document_block",
            ],
        ),
        (
            "chat_completions",
            ["ChatCompletion", "ChatCompletionChunk", "CompletionUsage", "image_part", "input_audio", "file_part"],
        ),
        ("responses", ["Response", "OutputTextDelta", "ResponseCompleted", "input_image", "input_file"]),
        ("generate_content", ["GenerateContentResponse", "Candidate", "Content", "Part", "Blob"]),
    ],
)
def test_slices_are_attributes_of_the_package(module: str, names: list[str]) -> None:
    found = getattr(dgrid_async, module)
    assert found is importlib.import_module(f"dgrid_async.apis.{module}")
    assert set(names) <= set(found.__all__)


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = dgrid_async.nothing_of_this_name
