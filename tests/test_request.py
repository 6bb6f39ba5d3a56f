"""A request as a value: its wire form, the way back from it, and what no repr shows."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async import ConfigError
from dgrid_async.apis.generate_content import Part
from dgrid_async.apis.messages import Message, TextBlock
from dgrid_async.request import URLS, Request, endpoint_named

TURNS = [{"role": "user", "content": "Hi"}]
EACH: dict[str, tuple[dict[str, Any], str]] = {
    "messages": ({"model": "a/m", "max_tokens": 5, "messages": TURNS}, "/v1/messages"),
    "chat_completions": ({"model": "a/m", "messages": TURNS}, "/v1/chat/completions"),
    "responses": ({"model": "a/m", "input": "Hi"}, "/v1/responses"),
    "generate_content": ({"model": "a/m:x", "contents": "Hi"}, "/v1/models/a/m%3Ax:generateContent"),
}
EVERY = pytest.mark.parametrize("name", list(EACH))


@EVERY
@pytest.mark.parametrize("stream", [False, True])
def test_the_wire_form_is_that_of_the_plain_call_and_leads_back(name: str, stream: bool) -> None:
    params, url = EACH[name]
    request = Request(name, params, "one", stream)
    assert request.url == url
    wire = json.loads(json.dumps(request.body))
    assert wire == request.body
    assert "stream" not in wire
    back = Request.from_url(url, wire, "one")
    assert (back.endpoint, back.custom_id, back.stream) == (name, "one", False)
    assert (back.url, back.body) == (request.url, request.body)
    assert pickle.loads(pickle.dumps(back)) == back  # noqa: S301 -- what was pickled here


def test_our_objects_and_bytes_become_plain() -> None:
    reply = Message(role="assistant", content=[TextBlock(text="Hello")])
    body = Request("messages", {"model": "m", "max_tokens": 5, "messages": [*TURNS, reply]}).body
    assert body["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
    part = Part.from_bytes(b"\x89PNG\r\n\x1a\n", "image/png")
    body = Request("generate_content", {"model": "m", "contents": [part], "config": {"max_output_tokens": 3}}).body
    assert body["contents"][0]["parts"][0]["inlineData"]["data"] == "iVBORw0KGgo="
    assert body["generationConfig"] == {"maxOutputTokens": 3}


def test_options_are_no_part_of_the_body_but_extra_body_is() -> None:
    request = Request("responses", {"model": "m", "extra_headers": {"x": "y"}, "extra_body": {"new": 1}, "retries": None})
    assert request.body == {"model": "m", "new": 1}


def test_no_repr_shows_what_a_header_holds() -> None:
    secret = "sk-0123456789"
    params = {"model": "m", "extra_headers": {"authorization": secret}, "extra_query": {"key": secret}}
    assert secret not in repr(Request("responses", params))
    assert "'model': 'm'" in repr(Request("responses", params))


def test_a_request_keeps_parameters_of_its_own() -> None:
    params = {"model": "m"}
    request = Request("responses", params)
    params["model"] = "other"
    assert request.params == {"model": "m"}
    with pytest.raises(AttributeError):
        request.stream = True  # type: ignore[misc]  # frozen


@pytest.mark.parametrize("body", [{"model": "m", "stream": True}, {"model": "m"}])
def test_a_body_that_asks_for_a_stream_is_streamed(body: dict[str, Any]) -> None:
    request = Request.from_url("/v1/responses", body)
    assert request.stream is bool(body.get("stream"))
    assert request.body == {"model": "m"}


def test_the_streaming_method_is_streamed_and_a_model_is_unquoted() -> None:
    request = Request.from_url("/v1/models/google/g%3Ax:streamGenerateContent", {"contents": []})
    assert request.stream
    assert request.params["model"] == "google/g:x"
    assert request.url == "/v1/models/google/g%3Ax:generateContent"


@pytest.mark.parametrize(
    "url",
    ["/v1/embeddings", "", "v1/messages", "/v1/messages/", "/v1/models/:generateContent", "/v1/models/m:count", None, 5, ["x"]],
)
def test_an_unknown_url_is_refused_with_the_known(url: Any) -> None:
    with pytest.raises(ConfigError, match="/v1/chat/completions") as caught:
        Request.from_url(url, {"model": "m"})
    assert all(known in str(caught.value) for known in URLS)


@pytest.mark.parametrize(
    ("url", "body", "said"),
    [
        ("/v1/responses", [], "JSON object"),
        ("/v1/responses", None, "JSON object"),
        ("/v1/responses", {1: 2}, "JSON object"),
        ("/v1/responses", {"input": "x"}, "'model'"),
        ("/v1/messages", {"model": "m", "max_tokens": 5}, "'messages'"),
        ("/v1/responses", {"model": "m", "extra_headers": {"authorization": "x"}}, "'extra_headers'"),
        ("/v1/responses", {"model": "m", "timeouts": 5}, "'timeouts'"),
    ],
)
def test_a_body_that_cannot_be_sent_is_refused(url: str, body: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Request.from_url(url, body)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("chat", {}), "chat_completions"), ((None, {}), "give one of"), (("responses", {}, 5), "custom_id")],
)
def test_a_request_that_is_none_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Request(*arguments)


def test_a_body_is_not_changed() -> None:
    body = {"model": "m", "input": "x", "stream": True}
    assert Request.from_url("/v1/responses", body, "one").stream
    assert body["stream"]
    with pytest.raises(ConfigError, match="custom_id"):
        Request.from_url("/v1/responses", body, 5)  # type: ignore[arg-type]


def test_a_value_without_a_wire_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="object"):
        _ = Request("responses", {"model": "m", "input": object()}).body


def test_an_endpoint_is_made_once() -> None:
    assert endpoint_named("messages") is endpoint_named("messages")
    assert endpoint_named("messages").name == "messages"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["input", "temperature", "metadata", "tools", "something_new"])


@given(st.dictionaries(FIELDS, JSON))
@settings(max_examples=60, deadline=None)
def test_any_body_goes_through_unchanged(fields: dict[str, Any]) -> None:
    body = {"model": "m", **fields}
    assert Request.from_url("/v1/responses", body).body == body
