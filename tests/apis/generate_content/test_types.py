"""The classes of the reply: complete by the catalogue, faithful to what came, and handy."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from dgrid_async.apis.generate_content import types
from dgrid_async.errors import ConfigError
from dgrid_async.scalars import MismatchError
from dgrid_async.structuring import structure
from dgrid_async.wire import WireObject, wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())

# The catalogue's name: ours, where they differ.
ALIASES = {
    "GenerateContentResponsePromptFeedback": "PromptFeedback",
    "GenerateContentResponseUsageMetadata": "UsageMetadata",
    "GoogleTypeDate": "Date",
    "GroundingChunkMapsPlaceAnswerSources": "PlaceAnswerSources",
    "GroundingChunkMapsPlaceAnswerSourcesAuthorAttribution": "AuthorAttribution",
    "GroundingChunkMapsPlaceAnswerSourcesReviewSnippet": "ReviewSnippet",
    "GroundingMetadataSourceFlaggingUri": "SourceFlaggingUri",
    "DocumentMetadataContentLayer": "DocumentContentLayer",
    "SpreadsheetMetadataContentLayer": "SpreadsheetContentLayer",
    "VideoMetadataContentLayer": "VideoContentLayer",
}
# Dicts on purpose: their names are the caller's or the function's own.
FREE = {
    "FunctionCall.args",
    "FunctionResponse.response",
    "ToolCall.args",
    "ToolResponse.response",
    "Part.part_metadata",
}

CLASSES = [cls for name in types.__all__ if isinstance(cls := getattr(types, name), type)]


def ours(name: str) -> Any:
    return getattr(types, ALIASES.get(name, name))


@pytest.mark.parametrize("name", CATALOGUE["response"])
def test_every_field_of_the_catalogue_is_there(name: str) -> None:
    known = {attribute: wire for wire, attribute in wire_names(ours(name)).items()}
    for field, wire in CATALOGUE["response"][name].items():
        assert known.get(field) == wire


def test_every_class_is_in_the_catalogue() -> None:
    assert {cls.__name__ for cls in CLASSES} == {ALIASES.get(name, name) for name in CATALOGUE["response"]}


@pytest.mark.parametrize("name", [name for name in CATALOGUE["enums"] if hasattr(types, ALIASES.get(name, name))])
def test_enumerations_list_every_value_and_stay_open(name: str) -> None:
    literal, rest = get_args(ours(name))
    assert set(get_args(literal)) == set(CATALOGUE["enums"][name])
    assert rest is str


def full(hint: Any) -> Any:
    """Return a wire value of a type, every field of every class in it set."""
    if isinstance(hint, type) and issubclass(hint, WireObject):
        hints = get_type_hints(hint)
        return {wire: full(hints[name]) for wire, name in wire_names(hint).items()}
    scalars = {str: "x", int: 3, float: 0.5, bool: True, bytes: "+/8=", Any: {"snake_case": [1]}}
    if hint in scalars:
        return scalars[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return [full(arguments[0])] * 2
    if origin is dict:
        return {"snake_case": None}
    if origin is Literal:
        return arguments[0]
    return full(arguments[0])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_is_read_and_goes_back_as_it_came(cls: type[WireObject]) -> None:
    wire = full(cls)
    value = structure(wire, cls)
    assert all(getattr(value, name) not in (None, []) for name in wire_names(cls).values())
    assert value.extra == {}
    assert value.to_dict() == wire
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 -- our own
    for name, hint in get_type_hints(cls).items():
        if name in wire_names(cls).values() and f"{cls.__name__}.{name}" not in FREE:
            assert dict not in {get_origin(part) or part for part in (hint, *get_args(hint))}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_null_is_nothing_and_the_unknown_is_kept(cls: type[WireObject]) -> None:
    wire = {**dict.fromkeys(wire_names(cls)), "somethingNew": {"a_b": [None]}}
    value = structure(wire, cls)
    assert all(getattr(value, name) in (None, []) for name in wire_names(cls).values())
    assert value.extra == {"somethingNew": {"a_b": [None]}}
    assert value.to_dict() == wire


@pytest.mark.parametrize(
    "wire",
    [
        {"candidates": {}},
        {"candidates": [None]},
        {"candidates": [{"content": "text"}]},
        {"candidates": [{"content": {"parts": [{"text": ["x"]}]}}]},
        {"candidates": [{"content": {"parts": [{"inlineData": {"data": "no base64!"}}]}}]},
        {"usageMetadata": {"totalTokenCount": "many"}},
        {"modelVersion": {}},
        [],
        None,
    ],
)
def test_wrong_types_are_value_errors(wire: Any) -> None:
    with pytest.raises(MismatchError):
        structure(wire, types.GenerateContentResponse)


@pytest.mark.parametrize("args", [{"a": 1}, '{"a": 1', [1], 5, {}])
def test_arguments_of_any_kind_are_kept(args: Any) -> None:
    wire = {"name": "f", "args": args}
    call = structure(wire, types.FunctionCall)
    assert call.args == args
    assert call.to_dict() == wire


@pytest.mark.parametrize("spelling", ["+/8=", "-_8=", "+/8", "-_8"])
def test_bytes_keep_the_senders_spelling(spelling: str) -> None:
    wire = {"inlineData": {"data": spelling, "mimeType": "image/png"}, "thoughtSignature": spelling}
    part = structure(wire, types.Part)
    assert part.inline_data is not None
    assert part.inline_data.data == part.thought_signature == b"\xfb\xff"
    assert part.to_dict() == wire


class TestReply:
    reply = structure(
        {
            "candidates": [
                {"index": 1, "content": {"parts": [{"text": "second"}]}},
                {
                    "index": 0,
                    "finishReason": "NEW_REASON",
                    "content": {
                        "parts": [
                            {"text": "hmm", "thought": True},
                            {"text": "It"},
                            {"functionCall": {"name": "f", "args": {"a": 1}}},
                            {"text": " is"},
                            {"newKind": {}},
                        ]
                    },
                    "citationMetadata": {"citationSources": [{"uri": "https://example.org"}]},
                },
            ],
            "usageMetadata": {"totalTokenCount": 3},
        },
        types.GenerateContentResponse,
    )

    def test_reads_the_first_candidate(self) -> None:
        assert self.reply.text == "It is"
        assert self.reply.reasoning == "hmm"
        assert [call.name for call in self.reply.function_calls] == ["f"]
        assert self.reply.finish_reason == "NEW_REASON"
        assert self.reply.content is self.reply.candidates[1].content
        assert len(self.reply.parts) == 5
        assert self.reply.usage is self.reply.usage_metadata
        assert self.reply.candidates[0].text == "second"

    def test_citations_come_under_two_names(self) -> None:
        first, second = self.reply.candidates
        assert [citation.uri for citation in second.citations] == ["https://example.org"]
        assert first.citations == []
        other = structure({"citationMetadata": {"citations": [{"title": "t"}]}}, types.Candidate)
        assert [citation.title for citation in other.citations] == ["t"]

    @pytest.mark.parametrize("wire", [{}, {"candidates": []}, {"candidates": [{"finishReason": "SAFETY"}]}])
    def test_a_blocked_one_has_no_text(self, wire: dict[str, Any]) -> None:
        reply = structure(wire, types.GenerateContentResponse)
        assert (reply.text, reply.reasoning, reply.parts, reply.function_calls) == ("", "", [], [])
        assert reply.content is None
        assert reply.usage is None

    def test_candidates_counted_from_one_are_read_too(self) -> None:
        reply = structure({"candidates": [{"index": 1, "content": {"parts": [{"text": "x"}]}}]}, types.GenerateContentResponse)
        assert reply.text == "x"


class TestPart:
    png = b"\x89PNG\r\n\x1a\n" + bytes(8)

    def test_from_text(self) -> None:
        assert types.Part.from_text("x").to_dict() == {"text": "x"}

    def test_from_bytes(self) -> None:
        wire = {"inlineData": {"data": "iVBORw0KGgoAAAAAAAAAAA==", "mimeType": "image/png"}}
        assert types.Part.from_bytes(self.png).to_dict() == wire
        given = types.Part.from_bytes(data=self.png, mime_type="image/x-other").inline_data
        assert given is not None
        assert given.mime_type == "image/x-other"
        with pytest.raises(ConfigError, match="mime_type="):
            types.Part.from_bytes(b"?")

    def test_from_path(self, tmp_path: Path) -> None:
        path = tmp_path / "picture.jpeg"
        path.write_bytes(self.png)
        part = types.Part.from_path(path)
        assert part == types.Part.from_bytes(self.png)  # the content decides, not the name
        assert types.Part.from_path(str(path), "a/b").inline_data == types.Blob(self.png, "a/b")
        notes = tmp_path / "notes.md"
        notes.write_text("# x")
        assert types.Part.from_path(notes).inline_data == types.Blob(b"# x", "text/markdown")
        with pytest.raises(FileNotFoundError):
            types.Part.from_path(tmp_path / "none.png")

    @pytest.mark.parametrize(
        ("data", "mime_type"),
        [(b"RIFF\0\0\0\0AVI LIST", "video/avi"), (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav")],
    )
    def test_types_go_by_geminis_names(self, data: bytes, mime_type: str) -> None:
        assert types.Part.from_bytes(data).inline_data == types.Blob(data, mime_type)

    def test_from_uri_and_function_response(self) -> None:
        assert types.Part.from_uri("https://example.org/v", "video/mp4").to_dict() == {
            "fileData": {"fileUri": "https://example.org/v", "mimeType": "video/mp4"}
        }
        assert types.Part.from_function_response("f", {"output": 1}, id="7").to_dict() == {
            "functionResponse": {"name": "f", "response": {"output": 1}, "id": "7"}
        }
