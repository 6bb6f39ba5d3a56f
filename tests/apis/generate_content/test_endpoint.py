"""The request as it is sent, and the plain answer as it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dgrid_async import codec
from dgrid_async.apis.generate_content import params, types
from dgrid_async.apis.generate_content.endpoint import ENDPOINT
from dgrid_async.endpoint import Progress, Target
from dgrid_async.errors import ConfigError
from dgrid_async.structuring import structure


def sent(**given: Any) -> Any:
    """Return the body as the gateway gets it."""
    return json.loads(codec.encode(ENDPOINT.encode({"model": "m", **given}, False).body))


def contents(given: Any) -> Any:
    return sent(contents=given)["contents"]


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


# ----------------------------------------------------------------------------------------------------------- the route


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-1.5-pro", "gemini-1.5-pro"),
        ("google/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("models/gemini-1.5-pro", "gemini-1.5-pro"),
        ("google/gemini:free", "google/gemini%3Afree"),
        ("a b?c#d%e&ü", "a%20b%3Fc%23d%25e%26%C3%BC"),
        ("models/models/x", "models/x"),
    ],
)
def test_the_model_is_in_the_path(model: str, path: str) -> None:
    plain = ENDPOINT.encode({"model": model}, False)
    streamed = ENDPOINT.encode({"model": model}, True)
    assert plain == Target(f"/v1/models/{path}:generateContent", {})
    assert streamed == Target(f"/v1/models/{path}:streamGenerateContent", {}, {"alt": "sse"})


@pytest.mark.parametrize("model", ["", "models/", "a/../b", "..", "./a", "a//b", "/a", "a/", None, 5])
def test_an_id_that_would_change_the_route_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match="model="):
        ENDPOINT.encode({"model": model}, False)


def test_nothing_is_sent_that_was_not_given() -> None:
    assert sent() == sent(stream=True) == sent(config={}) == sent(config=None) == sent(generation_config=None) == {}
    assert sent(generation_config={}) == {"generationConfig": {}}
    assert sent(retries=1, idempotency_key="k", extra_body={"x": 1}) == {}
    assert ENDPOINT.required == ("model",)
    assert ENDPOINT.failure_of({"candidates": []}) is None


def test_the_callers_values_are_left_alone() -> None:
    given = {"model": "m", "contents": [{"parts": ["x"]}], "config": {"thinking_config": {"include_thoughts": True}}}
    before = json.dumps(given)
    ENDPOINT.encode(given, True)
    assert json.dumps(given) == before


# -------------------------------------------------------------------------------------------------------- the contents


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ("Hi", [user({"text": "Hi"})]),
        (types.Part(text="Hi"), [user({"text": "Hi"})]),
        ({"text": "Hi"}, [user({"text": "Hi"})]),
        (["a", types.Part.from_text("b"), {"text": "c"}], [user({"text": "a"}, {"text": "b"}, {"text": "c"})]),
        (("a", ["b", "c"], "d"), [user({"text": "a"}), user({"text": "b"}, {"text": "c"}), user({"text": "d"})]),
        ({"role": "user", "parts": [{"text": "Hi"}]}, [user({"text": "Hi"})]),
        (
            [{"parts": ["a", {"text": "b"}]}, {"role": "model", "parts": "c"}],
            [
                {"parts": [{"text": "a"}, {"text": "b"}]},
                {"role": "model", "parts": [{"text": "c"}]},
            ],
        ),
        (types.Content([types.Part("Hi")], "user"), [user({"text": "Hi"})]),
        (
            ["a", types.Content([types.Part("b")], "model"), "c"],
            [
                user({"text": "a"}),
                {"role": "model", "parts": [{"text": "b"}]},
                user({"text": "c"}),
            ],
        ),
        (
            [
                "a",
                types.Part(function_call=types.FunctionCall("f")),
                types.Part.from_function_response("f", {"x_y": 1}),
            ],
            [
                user({"text": "a"}),
                {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
                user({"functionResponse": {"name": "f", "response": {"x_y": 1}}}),
            ],
        ),
        ([{"role": "user"}, {"parts": None}], [{"role": "user"}, {"parts": None}]),
        ([], []),
        (None, None),
    ],
)
def test_contents_come_in_many_forms(given: Any, wire: Any) -> None:
    assert contents(given) == wire


@pytest.mark.parametrize("given", [b"x", 5, [b"x"], types.GenerateContentResponse(), [None], ["a", [5]]])
def test_other_contents_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="among the contents"):
        contents(given)


def test_media_goes_as_base64() -> None:
    png = b"\x89PNG\r\n\x1a\n\xfb\xff"
    wire = {"inlineData": {"data": "iVBORw0KGgr7/w==", "mimeType": "image/png"}}
    assert contents(["What?", types.Part.from_bytes(png)]) == [user({"text": "What?"}, wire)]
    assert contents([{"inline_data": {"data": png, "mime_type": "image/png"}}]) == [user(wire)]
    assert contents(types.Content([types.Part(inline_data=types.Blob(png, "image/png"))])) == [{"parts": [wire]}]


def test_a_reply_goes_back_unchanged() -> None:
    message = {
        "role": "model",
        "parts": [
            {"text": "t", "thought": True},
            {
                "functionCall": {"name": "f", "args": {"snake_case": {"some_key": None}}, "id": "1"},
                "thoughtSignature": "-_8",
            },
            {"newKind": {"some_key": 1}},
        ],
        "newField": [1],
    }
    reply = structure({"candidates": [{"content": message}]}, types.GenerateContentResponse)
    assert contents(["Hi", reply.content])[1] == message
    assert contents([{"role": "model", "parts": reply.parts}]) == [{"role": "model", "parts": message["parts"]}]


def test_only_known_structures_are_spelt_anew() -> None:
    free = {"snake_case": {"inline_data": [{"mime_type": 1}]}, "camelCase": 2}
    part = {
        "function_call": {"name": "f", "args": free, "partial_args": [{"json_path": "$", "will_continue": True}]},
        "function_response": {"response": free, "parts": [{"inline_data": {"mime_type": "a/b"}}]},
        "tool_call": {"tool_type": "X", "args": free},
        "tool_response": {"response": free},
        "part_metadata": free,
        "video_metadata": {"start_offset": "1s", "fps": 2},
        "audio_transcription": {"words": [{"start_offset": "1s"}]},
        "unknown_kind": free,
    }
    assert contents([part])[0]["parts"] == [
        {
            "functionCall": {"name": "f", "args": free, "partialArgs": [{"jsonPath": "$", "willContinue": True}]},
            "functionResponse": {"response": free, "parts": [{"inlineData": {"mimeType": "a/b"}}]},
            "toolCall": {"toolType": "X", "args": free},
            "toolResponse": {"response": free},
            "partMetadata": free,
            "videoMetadata": {"startOffset": "1s", "fps": 2},
            "audioTranscription": {"words": [{"startOffset": "1s"}]},
            "unknown_kind": free,
        }
    ]
    assert sent(labels={"my_label": "my_value"}) == {"labels": {"my_label": "my_value"}}
    config = sent(response_json_schema={"any_of": [{"max_items": 1}]})["generationConfig"]
    assert config == {"responseJsonSchema": {"any_of": [{"max_items": 1}]}}


def test_a_schema_keeps_the_names_of_properties() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"max_items": {"type": "ARRAY", "max_items": 2, "items": {"any_of": [{"type": "STRING"}]}}},
        "property_ordering": ["max_items"],
        "default": {"any_of": 1},
        "additional_properties": False,
        "defs": {"any_of": {"min_length": 1}},
    }
    assert sent(response_schema=schema)["generationConfig"]["responseSchema"] == {
        "type": "OBJECT",
        "properties": {"max_items": {"type": "ARRAY", "maxItems": 2, "items": {"anyOf": [{"type": "STRING"}]}}},
        "propertyOrdering": ["max_items"],
        "default": {"any_of": 1},
        "additionalProperties": False,
        "defs": {"any_of": {"minLength": 1}},
    }


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ("Be brief.", {"parts": [{"text": "Be brief."}]}),
        (types.Part("Be brief."), {"parts": [{"text": "Be brief."}]}),
        (["a", types.Part("b")], {"parts": [{"text": "a"}, {"text": "b"}]}),
        ({"parts": [{"text": "a"}]}, {"parts": [{"text": "a"}]}),
        (types.Content([types.Part("a")], "user"), {"parts": [{"text": "a"}], "role": "user"}),
    ],
)
def test_the_system_instruction_may_be_text(given: Any, wire: Any) -> None:
    for body in (
        sent(system_instruction=given),
        sent(systemInstruction=given),
        sent(config={"system_instruction": given}),
    ):
        assert body == {"systemInstruction": wire}


# ------------------------------------------------------------------------------------------------ config and the rest


def test_the_nearest_value_wins() -> None:
    body = sent(
        temperature=0.1,
        config={"temperature": 0.2, "topP": 0.2, "labels": {"a": "b"}},
        generation_config={"temperature": 0.3, "top_p": 0.3, "top_k": 3},
        labels={"c": "d"},
    )
    assert body == {"generationConfig": {"temperature": 0.1, "topP": 0.2, "topK": 3}, "labels": {"c": "d"}}
    assert sent(generationConfig={"topK": 1}) == {"generationConfig": {"topK": 1}}


def test_the_unknown_passes_through() -> None:
    assert sent(new_param={"a_b": 1}) == {"new_param": {"a_b": 1}}
    assert sent(generation_config={"new_param": {"a_b": 1}}) == {"generationConfig": {"new_param": {"a_b": 1}}}
    assert sent(config={"newParam": 1}) == {"generationConfig": {"newParam": 1}}
    assert sent(tools=[{"newTool": {"a_b": 1}}], tool_config="odd") == {
        "tools": [{"newTool": {"a_b": 1}}],
        "toolConfig": "odd",
    }


def test_null_is_sent_where_it_was_given_but_not_from_config() -> None:
    assert sent(tools=None, temperature=None) == {"tools": None, "generationConfig": {"temperature": None}}
    assert sent(config={"tools": None, "temperature": None}) == {}


def test_a_voice_may_be_a_name() -> None:
    wire = {"generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}}
    assert sent(speech_config="Kore") == sent(config={"speechConfig": "Kore"}) == wire
    assert sent(generation_config={"speech_config": "Kore"}) == wire
    assert sent(speech_config={"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}}) == wire


def test_typed_dicts_read_like_classes() -> None:
    config = params.GenerateContentConfig(
        tools=[params.Tool(google_search=params.GoogleSearch()), params.Tool(function_declarations=[{"name": "f"}])],
        tool_config=params.ToolConfig(function_calling_config=params.FunctionCallingConfig(mode="ANY")),
    )
    assert sent(config=config) == {
        "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }


@pytest.mark.parametrize(
    "name",
    [
        "http_options",
        "automatic_function_calling",
        "automatic_continuation",
        "should_return_http_response",
        "httpOptions",
    ],
)
def test_what_steers_another_sdk_is_not_ignored_in_silence(name: str) -> None:
    with pytest.raises(ConfigError, match=f"config.{name} is no field of the request: "):
        sent(config={name: {"timeout": 5}})
    assert sent(config={name: None}) == sent(config={name: False}) == {}
    assert sent(config={"automatic_function_calling": {"disable": True}}) == {}


@pytest.mark.parametrize("given", [{"config": "x"}, {"config": [1]}, {"generation_config": "x"}])
def test_a_config_that_is_no_dict_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give a dict"):
        sent(**given)


# ----------------------------------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize("wire", [{"candidates": []}, {"candidates": None}, {"usageMetadata": {}, "x": 1}])
def test_a_reply_is_known_by_any_of_its_marks(wire: dict[str, Any]) -> None:
    reply = ENDPOINT.decode_reply(wire)
    assert type(reply) is types.GenerateContentResponse
    assert reply.to_dict() == wire


@pytest.mark.parametrize("wire", [{}, {"object": "list"}, {"choices": []}, [], [{"candidates": []}], None, "x", 5])
def test_what_is_no_reply_is_refused(wire: Any) -> None:
    with pytest.raises(ValueError, match="reply of generateContent"):
        ENDPOINT.decode_reply(wire)


def test_a_whole_reply_replays_as_one_event() -> None:
    wire = {
        "candidates": [
            {
                "content": {"parts": [{"text": "a"}, {"text": "b", "thought": True}], "role": "model"},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"totalTokenCount": 3},
    }
    accumulator = ENDPOINT.accumulator()
    texts = []
    for data in ENDPOINT.replay(wire):
        event = ENDPOINT.decode_event(data)
        assert event is not None
        accumulator.add(event)
        texts.append(ENDPOINT.text_of(event))
    assert texts == ["a"]
    assert accumulator.progress is Progress.COMPLETE
    reply = accumulator.snapshot()
    assert reply is not None
    assert reply.to_dict() == ENDPOINT.decode_reply(wire).to_dict() == wire
