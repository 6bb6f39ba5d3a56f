"""The client's methods: what they send, what they give back, and what they refuse before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import CallbackResult, aioresponses

from dgrid_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncDGrid,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigError,
    EventStream,
    InternalServerError,
    Limits,
    NotFoundError,
    OverloadedError,
    RateLimitError,
    Retries,
    Timeouts,
    UnexpectedResponseError,
)
from dgrid_async.emulator import Cut, Emulator, Html, Script, Stall, ToolCall

KEY = "sk-test-0123456789abcdef"
SLACK = 0.2
ONCE = Retries(max_attempts=1)
AT_ONCE = Retries(max_attempts=3, initial_delay=0)
Call = Callable[[AsyncDGrid], Any]
CALLS: dict[str, tuple[Call, Call, dict[str, Any], str]] = {
    "messages": (
        lambda client: client.messages.create,
        lambda client: client.messages.stream,
        {"model": "a/m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi there"}]},
        "Message",
    ),
    "chat_completions": (
        lambda client: client.chat.completions.create,
        lambda client: client.chat.completions.stream,
        {"model": "a/m", "messages": [{"role": "user", "content": "Hi there"}]},
        "ChatCompletion",
    ),
    "responses": (
        lambda client: client.responses.create,
        lambda client: client.responses.stream,
        {"model": "a/m", "input": "Hi there"},
        "Response",
    ),
    "generate_content": (
        lambda client: client.models.generate_content,
        lambda client: client.models.stream_generate_content,
        {"model": "a/m", "contents": "Hi there"},
        "GenerateContentResponse",
    ),
}
PATHS = {
    "messages": "/v1/messages",
    "chat_completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "generate_content": "/v1/models/a/m:generateContent",
}
EVERY = pytest.mark.parametrize("name", list(CALLS))
WITH_CREATE = pytest.mark.parametrize("name", ["messages", "chat_completions", "responses"])


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[AsyncDGrid]:
    async with AsyncDGrid(KEY, base_url=emulator.url, retries=ONCE) as opened:
        yield opened


async def created(client: AsyncDGrid, name: str = "chat_completions", **more: Any) -> Any:
    create, _, params, _ = CALLS[name]
    return await create(client)(**{**params, **more})


def sent(emulator: Emulator) -> dict[str, str]:
    return {name.lower(): value for name, value in emulator.log[-1].headers.items()}


# ------------------------------------------------------------------------------------------------------ plain calls


@EVERY
async def test_create_gives_the_reply(client, emulator, name) -> None:
    emulator.script = Script(text="Hello 😀")
    reply = await created(client, name)
    assert type(reply).__name__ == CALLS[name][3]
    assert type(reply) is getattr(import_module(f"dgrid_async.apis.{name}"), CALLS[name][3])
    assert reply.text == "Hello 😀"
    assert reply.usage is not None
    assert reply.request_id == emulator.log[0].request_id
    assert json.loads(json.dumps(reply.to_dict())) == reply.to_dict()
    assert emulator.log[0].path == PATHS[name]
    assert emulator.log[0].method == "POST"
    assert not (emulator.log[0].body.get("stream"))


@EVERY
async def test_the_stream_method_sends_nothing_until_it_is_opened(client, emulator, name) -> None:
    _, stream, params, _ = CALLS[name]
    opened = stream(client)(**params)
    assert isinstance(opened, EventStream)
    await asyncio.sleep(0.01)
    assert emulator.log.total == 0
    async with opened as inside:
        assert inside is opened
        assert emulator.log.total == 1
        await opened.final()
    if name == "generate_content":
        assert emulator.log[0].path == "/v1/models/a/m:streamGenerateContent"
        assert emulator.log[0].query == {"alt": "sse"}
    else:
        assert emulator.log[0].path == PATHS[name]
        assert emulator.log[0].body["stream"] is True
    assert sent(emulator)["accept"] == "text/event-stream"
    assert sent(emulator)["accept-encoding"] == "identity"


@WITH_CREATE
async def test_create_with_stream_gives_the_same_stream_opened(client, emulator, name) -> None:
    stream = await created(client, name, stream=True)
    assert isinstance(stream, EventStream)
    assert emulator.log.total == 1
    assert stream.status == 200
    events = [event async for event in stream]
    assert events
    assert (await stream.final()).text == stream.snapshot.text
    async with await created(client, name, stream=True) as stream:
        assert [text async for text in stream.text_stream]
    assert not isinstance(await created(client, name, stream=False), EventStream)


@EVERY
async def test_a_whole_answer_and_a_stream_are_the_same_reply(client, emulator, name) -> None:
    emulator.script = Script(text=("a ", "b"), tool_calls=(ToolCall("f", {"x": [1, "é"]}),))
    _, stream, params, _ = CALLS[name]
    more = {"stream_options": {"include_usage": True}} if name == "chat_completions" else {}
    async with stream(client)(**params, **more) as opened:
        streamed = (await opened.final()).to_dict()
    plain = (await created(client, name)).to_dict()
    for key in {"text", "usage", "output", "content", "choices", "candidates", "stop_reason", "status"} & plain.keys():
        assert meant(streamed[key]) == meant(plain[key]), key


def meant(value: Any) -> Any:
    """Return a reply's part without what says nothing, and without the answers' own numbers."""
    if isinstance(value, dict):
        kept = {key: meant(item) for key, item in value.items() if item is not None and item != []}
        return {key: item for key, item in kept.items() if key not in {"id", "call_id"}}
    return [meant(item) for item in value] if isinstance(value, list) else value


_MESSAGE = [
    {"type": "thinking", "thinking": "hm", "signature": "s==", "a_new_field": 1},
    {"type": "text", "text": "Hi", "citations": None},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"é": [1, {"x": None}]}},
    {"type": "a_new_block", "x": {"y": [1.5]}},
]
_CHAT = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "hm",
    "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}, "a_new_field": 0}],
    "a_new_field": {"x": 1},
}
_ITEMS = [
    {"id": "r", "type": "reasoning", "summary": [], "encrypted_content": "x=="},
    {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi"}],
    },
    {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
    {"id": "n", "type": "a_new_item", "x": [1]},
]
_CONTENT = {
    "role": "model",
    "parts": [
        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "f", "args": {"x": 1}, "aNewField": 2}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}},
        {"aNewPart": {"x": 1}},
    ],
}


@pytest.mark.parametrize(
    ("name", "answer", "pick", "given", "found", "want"),
    [
        (
            "messages",
            {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": _MESSAGE, "stop_reason": "tool_use"},
            lambda reply: reply.content,
            lambda part: {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": part}]},
            lambda body: body["messages"][1]["content"],
            _MESSAGE,
        ),
        (
            "chat_completions",
            {
                "id": "c",
                "object": "chat.completion",
                "choices": [{"index": 0, "message": _CHAT, "finish_reason": "tool_calls"}],
            },
            lambda reply: reply.choices[0].message,
            lambda part: {"messages": [{"role": "user", "content": "Hi"}, part]},
            lambda body: body["messages"][1],
            _CHAT,
        ),
        (
            "responses",
            {"id": "r", "object": "response", "status": "completed", "output": _ITEMS},
            lambda reply: reply.output,
            lambda part: {"input": [{"role": "user", "content": "Hi"}, *part]},
            lambda body: body["input"][1:],
            _ITEMS,
        ),
        (
            "generate_content",
            {"candidates": [{"index": 0, "content": _CONTENT, "finishReason": "STOP"}]},
            lambda reply: reply.candidates[0].content,
            lambda part: {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, part]},
            lambda body: body["contents"][1],
            _CONTENT,
        ),
    ],
    ids=list(CALLS),
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_s_blocks_go_back_unchanged(client, emulator, name, answer, pick, given, found, want, streamed) -> None:
    emulator.script = [Script(body=answer), Script()]
    _, stream, params, _ = CALLS[name]
    if streamed:
        async with stream(client)(**params) as opened:
            reply = await opened.final()
    else:
        reply = await created(client, name)
    await created(client, name, **given(pick(reply)))
    assert found(emulator.log[1].body) == want


# ------------------------------------------------------------------------------------------------------ what is sent


@EVERY
async def test_headers_of_every_request(emulator, name) -> None:
    async with AsyncDGrid(
        KEY,
        base_url=emulator.url,
        http_referer="https://my.site",
        x_title="My app",
        headers={"X-Mine": "1", "User-Agent": "me/1"},
    ) as client:
        await created(client, name)
    headers = sent(emulator)
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "application/json"
    assert (headers["http-referer"], headers["x-title"], headers["x-mine"]) == ("https://my.site", "My app", "1")
    assert headers["user-agent"] == "me/1"
    assert headers["idempotency-key"]
    assert headers.get("anthropic-version") == ("2023-06-01" if name == "messages" else None)


async def test_the_client_names_itself(client, emulator) -> None:
    await created(client)
    assert sent(emulator)["user-agent"].startswith("dgrid-async/")


@EVERY
async def test_extra_headers_query_and_body(client, emulator, name) -> None:
    await created(
        client,
        name,
        extra_headers={"X-One": "1", "User-Agent": None, "Accept": "x/y"},
        extra_query={"a": "1 &", "b": ["x", "y"]},
        extra_body={"model_options": {"x": 1}, "temperature": 0.5},
        temperature=0.1,
        a_parameter_of_tomorrow=[1, {"x": None}],
    )
    headers, received = sent(emulator), emulator.log[0]
    assert (headers["x-one"], headers["accept"]) == ("1", "x/y")
    assert not headers.get("user-agent", "").startswith("dgrid-async")
    assert received.query["a"] == "1 &"
    assert received.query["b"] in {"x", "y"}
    assert received.body["model_options"] == {"x": 1}
    assert received.body["temperature"] == 0.5
    assert received.body["a_parameter_of_tomorrow"] == [1, {"x": None}]
    assert not {"extra_headers", "extra_query", "extra_body", "timeouts", "retries", "idempotency_key"} & received.body.keys()


async def test_extra_query_joins_the_stream_s_own(client, emulator) -> None:
    async with client.models.stream_generate_content(model="a/m", contents="Hi", extra_query={"x": "1"}) as stream:
        await stream.final()
    assert emulator.log[0].query == {"alt": "sse", "x": "1"}


@EVERY
async def test_the_idempotency_key_is_one_per_call(client, emulator, name) -> None:
    emulator.script = [Script(status=500), Script(), Script(), Script()]
    await created(client, name, retries=AT_ONCE)
    await created(client, name)
    await created(client, name, idempotency_key="mine-1")
    keys = [request.headers["Idempotency-Key"] for request in emulator.log]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == "mine-1"


async def test_nothing_given_is_changed(client) -> None:
    params = {
        "model": "a/m",
        "messages": [{"role": "user", "content": "Hi"}],
        "extra_headers": {"X-A": "1"},
        "timeouts": Timeouts(),
    }
    before = repr(params)
    await client.chat.completions.create(**params)
    async with client.chat.completions.stream(**params) as stream:
        await stream.final()
    assert repr(params) == before


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
async def test_forms_of_the_base_url(emulator, tail) -> None:
    async with AsyncDGrid(KEY, base_url=emulator.url + tail) as client:
        await created(client)
    assert emulator.log[0].path == "/v1/chat/completions"


async def test_a_base_url_may_have_a_path(emulator) -> None:
    async with AsyncDGrid(KEY, base_url=emulator.url + "/api/v1/", retries=ONCE) as client:
        with pytest.raises(NotFoundError):
            await created(client)
    assert emulator.log[0].path == "/api/v1/chat/completions"


async def test_key_and_address_from_the_environment(emulator, monkeypatch) -> None:
    monkeypatch.setenv("DGRID_API_KEY", "sk-env\n")
    monkeypatch.setenv("DGRID_BASE_URL", emulator.url + "/v1")
    async with AsyncDGrid() as client:
        await created(client)
    assert sent(emulator)["authorization"] == "Bearer sk-env"
    async with AsyncDGrid(KEY, base_url=emulator.url) as client:
        await created(client)
    assert sent(emulator)["authorization"] == f"Bearer {KEY}"


async def test_the_address_is_the_gateway_s_unless_told_otherwise() -> None:
    assert "https://api.dgrid.ai" in repr(AsyncDGrid(KEY))


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_the_variable(monkeypatch, value) -> None:
    if value is not None:
        monkeypatch.setenv("DGRID_API_KEY", value)
    with pytest.raises(ConfigError, match="DGRID_API_KEY"):
        AsyncDGrid()
    with pytest.raises(ConfigError, match="DGRID_API_KEY"):
        AsyncDGrid(value)


async def test_a_caller_s_own_authorization_needs_no_key(emulator) -> None:
    async with AsyncDGrid(base_url=emulator.url, headers={"Authorization": "Bearer own"}) as client:
        await created(client)
    assert sent(emulator)["authorization"] == "Bearer own"


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "a key"},
        {"api_key": "sk-\u00e9"},
        {"api_key": 5},
        {"base_url": "ftp://x"},
        {"base_url": "api.dgrid.ai"},
        {"base_url": "https://user:pw@x"},
        {"timeouts": 5},
        {"retries": 3},
        {"limits": {}},
        {"headers": {"a b": "c"}},
        {"headers": {"a": "b\r\nc: d"}},
        {"headers": 5},
        {"session": object(), "proxy": "http://x"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_mean_nothing_are_refused(options) -> None:
    with pytest.raises(ConfigError) as caught:
        AsyncDGrid(**{"api_key": KEY, **options})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("messages", "model"),
        ("messages", "max_tokens"),
        ("messages", "messages"),
        ("chat_completions", "model"),
        ("chat_completions", "messages"),
        ("responses", "model"),
        ("generate_content", "model"),
    ],
)
async def test_a_missing_parameter_is_a_type_error_that_names_it(client, emulator, name, missing) -> None:
    create, stream, params, _ = CALLS[name]
    params = {key: value for key, value in params.items() if key != missing}
    with pytest.raises(TypeError, match=missing):
        await create(client)(**params)
    with pytest.raises(TypeError, match=missing):
        stream(client)(**params)
    with pytest.raises(TypeError, match=missing):
        stream(client)(**params, **{missing: None})
    assert emulator.log.total == 0


class Odd:
    """A value that has no JSON form."""


@EVERY
@pytest.mark.parametrize(
    "more",
    [
        {"metadata": Odd()},
        {"metadata": {"x": [Odd()]}},
        {"metadata": (x for x in "ab")},
        {"extra_body": [1]},
        {"extra_query": "a=b"},
        {"extra_headers": ["a"]},
        {"extra_headers": {"a\n": "b"}},
        {"extra_headers": {"a": 5}},
        {"extra_headers": {5: "a"}},
        {"extra_query": {"x": "\ud800"}},
        {"idempotency_key": "a\nb"},
        {"idempotency_key": 5},
        {"timeouts": 5},
        {"retries": 5},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_what_cannot_be_sent_is_a_config_error(client, emulator, name, more) -> None:
    _, stream, params, _ = CALLS[name]
    with pytest.raises(ConfigError):
        await created(client, name, **more)
    with pytest.raises(ConfigError):
        stream(client)(**params, **more)
    assert emulator.log.total == 0


@EVERY
@pytest.mark.parametrize(
    "value", [5, "x", {"x": 1}, [1], [None], [[]], [{"role": 5}], True, b"x", Odd()], ids=lambda v: type(v).__name__
)
async def test_main_parameters_of_the_wrong_kind_raise_nothing_foreign(client, name, value) -> None:
    key = {"responses": "input", "generate_content": "contents"}.get(name, "messages")
    with contextlib.suppress(ConfigError, APIStatusError):
        await created(client, name, **{key: value})


async def test_a_value_inside_itself_is_a_config_error(client) -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ConfigError):
        await created(client, metadata=ring)


# ------------------------------------------------------------------------------------------------------ what is raised


@EVERY
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (404, NotFoundError),
        (429, RateLimitError),
        (500, InternalServerError),
        (529, OverloadedError),
    ],
)
async def test_an_error_s_class_follows_its_status(client, emulator, name, status, kind) -> None:
    emulator.script = Script(status=status, message="so it is")
    _, stream, params, _ = CALLS[name]
    for call in (created(client, name), stream(client)(**params).open()):
        with pytest.raises(kind) as caught:
            await call
        error = caught.value
        assert (error.status, error.status_code) == (status, status)
        assert "so it is" in str(error)
        assert error.request_id == emulator.log[-1].request_id
        assert error.headers["dgrid-request-id"] == error.request_id
        assert pickle.loads(pickle.dumps(error)).status == status  # noqa: S301 -- our own
        assert KEY not in repr(error) + str(error) + repr(vars(error))


@EVERY
@pytest.mark.parametrize(
    "script", [Script(fault=Html()), Script(body=""), Script(body="hello"), Script(body=[1]), Script(body={"x": 1})]
)
async def test_a_2xx_that_is_no_reply_is_told_with_what_it_is(client, emulator, name, script) -> None:
    emulator.script = script
    with pytest.raises(UnexpectedResponseError) as caught:
        await created(client, name)
    assert caught.value.status == 200
    assert caught.value.content_type
    assert caught.value.request_id == emulator.log[0].request_id
    assert emulator.log.total == 1


@EVERY
async def test_an_error_inside_a_2xx_is_an_error(client, emulator, name) -> None:
    emulator.script = Script(body={"error": {"message": "busy", "type": "overloaded_error"}})
    with pytest.raises(OverloadedError) as caught:
        await created(client, name)
    assert caught.value.status == 529


@EVERY
async def test_a_cut_plain_answer_is_a_connection_error_and_retried(client, emulator, name) -> None:
    emulator.script = Script(fault=Cut(after=1))
    with pytest.raises((APIConnectionError, UnexpectedResponseError)):
        await created(client, name)
    emulator.script = [Script(status=503), Script(status=500), Script(text="ok")]
    assert (await created(client, name, retries=AT_ONCE)).text == "ok"


async def test_attempts_are_on_the_error(client, emulator) -> None:
    emulator.script = [Script(status=503), Script(status=500), Script(status=529)]
    with pytest.raises(OverloadedError) as caught:
        await created(client, retries=AT_ONCE)
    assert [earlier.status for earlier in caught.value.attempts] == [503, 500]
    assert "3 attempts" in str(caught.value)
    assert emulator.log.total == 3


# ------------------------------------------------------------------------------------------------------ options


@pytest.mark.usefixtures("leaping_clock")
async def test_timeouts_and_retries_of_one_call(client, emulator) -> None:
    emulator.script = Script(fault=Stall("before_headers"))
    for limits, phase in ((Timeouts(first_event=0.2), "first_event"), (Timeouts(total=0.2), "total")):
        begun = time.monotonic()
        with pytest.raises(APITimeoutError) as caught:
            await created(client, timeouts=limits)
        assert caught.value.phase == phase
        assert 0.19 < time.monotonic() - begun < 0.2 + SLACK
    emulator.script = [Script(status=500), Script(text="ok")]
    assert (await created(client, retries=AT_ONCE)).text == "ok"


async def test_with_options_is_a_client_over_the_same_pool(client, emulator) -> None:
    await created(client)
    twin = client.with_options(api_key="sk-other", retries=AT_ONCE, timeouts=Timeouts(total=5), headers={"X-Twin": "1"})
    emulator.script = [Script(status=500), Script(text="ok")]
    assert (await created(twin)).text == "ok"
    assert sent(emulator)["authorization"] == "Bearer sk-other"
    assert sent(emulator)["x-twin"] == "1"
    assert {request.connection for request in emulator.log} == {1}
    emulator.script = Script()
    await created(client)
    assert sent(emulator)["authorization"] == f"Bearer {KEY}"
    assert "x-twin" not in sent(emulator)
    third = client.with_options(base_url=emulator.url + "/else")
    with pytest.raises(NotFoundError):
        await created(third)
    for wrong in ({"timeouts": 5}, {"retries": 5}, {"api_key": ""}, {"base_url": "x"}, {"headers": {"a b": ""}}):
        with pytest.raises(ConfigError):
            client.with_options(**wrong)
    assert twin.stats() == client.stats()
    twin.terminate()
    assert client.closed
    with pytest.raises(ClientClosedError):
        await created(client)


async def test_the_bound_of_connections_is_kept(emulator) -> None:
    emulator.script = Script(delay=0.02)
    async with AsyncDGrid(KEY, base_url=emulator.url, limits=Limits(max_connections=2)) as client:
        await asyncio.gather(*(created(client) for _ in range(8)))
        assert client.stats().limit == 2
    assert emulator.peak_in_flight == 2


async def test_a_caller_s_own_session_is_used_and_not_closed(emulator) -> None:
    async with aiohttp.ClientSession(headers={"X-Own": "1"}) as session:
        async with AsyncDGrid(KEY, base_url=emulator.url, session=session) as client:
            await created(client)
            async with client.messages.stream(**CALLS["messages"][2]) as stream:
                await stream.final()
        assert not session.closed
    assert sent(emulator)["x-own"] == "1"


async def test_a_closed_client_refuses(emulator) -> None:
    client = AsyncDGrid(KEY, base_url=emulator.url)
    async with client as inside:
        assert inside is client
        assert not client.closed
    assert client.closed
    for call in (created(client), client.messages.stream(**CALLS["messages"][2]).open()):
        with pytest.raises(ClientClosedError):
            await call
    await client.close()
    client.terminate()
    assert emulator.log.total == 0


@pytest.mark.usefixtures("leaping_clock")
async def test_leaving_the_client_ends_a_plain_call_at_once(emulator) -> None:
    emulator.script = Script(fault=Stall("before_headers"))
    async with AsyncDGrid(KEY, base_url=emulator.url) as client:
        call = asyncio.create_task(created(client))
        await emulator.log.wait()
        left = time.monotonic()
    with pytest.raises(ClientClosedError):
        await call
    assert time.monotonic() - left < 0.05


# ------------------------------------------------------------------------------------------------------ frames, tasks, keys


async def test_many_calls_in_a_task_group(client, emulator) -> None:
    emulator.script = Script(text="ok")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(created(client, name)) for name in CALLS for _ in range(5)]
    assert [task.result().text for task in tasks] == ["ok"] * 20


async def test_no_key_can_be_seen_on_a_client(client) -> None:
    await created(client)
    call = client.call(
        import_module("dgrid_async.apis.messages.endpoint").ENDPOINT, "x", dict(CALLS["messages"][2]), streamed=False
    )
    shown = [client, client._options, client._pool, client.messages, client.chat, call]
    for each in shown:
        attributes = getattr(each, "__dict__", None) or {
            n: getattr(each, n, None) for n in getattr(type(each), "__slots__", ())
        }
        assert KEY not in repr(each) + str(each) + repr(attributes), each
    for each in (client, client._options, call):
        with pytest.raises(TypeError):
            pickle.dumps(each)


# ------------------------------------------------------------------------------------------------------ aioresponses

URL = "https://api.dgrid.ai/v1/chat/completions"


class Mocked(aiohttp.ClientResponse):
    """A response that can be made without a connection, by versions of aioresponses older than aiohttp too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def mock() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


REPLY = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}


async def test_plain_calls_can_be_mocked_by_aioresponses(mock) -> None:
    seen: list[dict[str, Any]] = []

    def answer(_url: Any, **kwargs: Any) -> CallbackResult:
        seen.append(kwargs)
        return CallbackResult(status=200, payload=REPLY, headers={"DGrid-Request-ID": "req_mock"}, response_class=Mocked)

    mock.post(URL, callback=answer)
    async with AsyncDGrid(KEY) as client:
        reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], n=1)
    assert (reply.text, reply.request_id) == ("Hi", "req_mock")
    assert json.loads(seen[0]["data"]) == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 1}
    assert seen[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert seen[0]["allow_redirects"] is False


@pytest.mark.parametrize(
    ("status", "calls"), [(400, 1), (401, 1), (403, 1), (404, 1), (422, 1), (429, 3), (500, 3), (503, 3), (408, 3)]
)
async def test_statuses_and_retries_under_aioresponses(mock, status, calls) -> None:
    mock.post(URL, status=status, payload={"error": {"message": "no"}}, repeat=True, response_class=Mocked)
    async with AsyncDGrid(KEY, retries=AT_ONCE) as client:
        with pytest.raises(APIStatusError) as caught:
            await created(client)
    assert caught.value.status == status
    assert len(caught.value.attempts) == calls - 1
    assert sum(len(requests) for requests in mock.requests.values()) == calls


async def test_a_failing_connection_is_retried_under_aioresponses(mock) -> None:
    mock.post(URL, exception=aiohttp.ClientConnectionError("gone"))
    mock.post(URL, exception=aiohttp.ServerDisconnectedError())
    mock.post(URL, payload=REPLY, response_class=Mocked)
    async with AsyncDGrid(KEY, retries=AT_ONCE) as client:
        assert (await created(client)).text == "Hi"
    keys = {request.kwargs["headers"]["idempotency-key"] for requests in mock.requests.values() for request in requests}
    assert len(keys) == 1


async def test_the_gemini_path_under_aioresponses(mock) -> None:
    mock.post(
        "https://api.dgrid.ai/v1/models/gemini-1.5-pro:generateContent",
        payload={"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]},
        response_class=Mocked,
    )
    async with AsyncDGrid(KEY) as client:
        reply = await client.models.generate_content(model="gemini-1.5-pro", contents="Hi")
    assert reply.text == "Hi"


async def test_a_stream_s_errors_under_aioresponses(mock) -> None:
    mock.post(URL, status=429, headers={"Retry-After": "0"}, response_class=Mocked)
    mock.post(URL, status=400, payload={"error": {"message": "no such thing"}}, response_class=Mocked)
    async with AsyncDGrid(KEY, retries=AT_ONCE) as client:
        with pytest.raises(BadRequestError, match="no such thing") as caught:
            await created(client, stream=True)
    assert [type(earlier) for earlier in caught.value.attempts] == [RateLimitError]


# ------------------------------------------------------------------------------------------------------------ warming up


async def test_warm_up_opens_connections_that_calls_then_use(client, emulator) -> None:
    assert await client.warm_up(3) == 3
    for _ in range(100):
        if emulator.open_connections == 3:
            break
        await asyncio.sleep(0.01)
    assert emulator.open_connections == 3
    assert len(emulator.log) == 0
    await asyncio.gather(*(client.responses.create(model="m", input="Hi") for _ in range(3)))
    assert emulator.open_connections == 3


async def test_warm_up_of_a_gateway_that_is_not_there_is_typed() -> None:
    async with AsyncDGrid(KEY, base_url="http://127.0.0.1:9", retries=ONCE) as client:
        with pytest.raises(APIConnectionError, match=r"127\.0\.0\.1"):
            await client.warm_up(2)
        assert client.stats().in_use == 0


# ----------------------------------------------------------------------------------------------------- requests, many calls

REQUESTS: dict[str, Call] = {
    "messages": lambda client: client.messages.request,
    "chat_completions": lambda client: client.chat.completions.request,
    "responses": lambda client: client.responses.request,
    "generate_content": lambda client: client.models.request,
}


@EVERY
async def test_a_request_is_the_call_as_a_value(client, emulator, name) -> None:
    create, stream, params, _ = CALLS[name]
    request = REQUESTS[name](client)(**params, custom_id="mine", stream=True, extra_headers={"x-secret": "s3cret"})
    assert (request.endpoint, request.custom_id, request.stream) == (name, "mine", True)
    assert request.url == PATHS[name]
    assert "s3cret" not in repr(request)
    assert emulator.log.total == 0
    await create(client)(**params)
    assert emulator.log[0].body == request.body
    (outcome,) = [each async for each in client.map([request])]
    assert outcome.ok
    assert sent(emulator)["x-secret"] == "s3cret"
    async with stream(client)(**params) as opened:
        await opened.final()
    assert (emulator.log[1].path, emulator.log[1].body) == (emulator.log[2].path, emulator.log[2].body)


@EVERY
def test_a_request_refuses_what_a_call_refuses(name) -> None:
    client = AsyncDGrid(KEY)
    create, _, params, _ = CALLS[name]
    with pytest.raises(TypeError) as of_request:
        REQUESTS[name](client)(custom_id="x")
    with pytest.raises(TypeError) as of_call:
        create(client)().send(None)
    assert str(of_request.value) == str(of_call.value)
    for wrong in (
        {"extra_body": {"x": object()}},
        {"extra_headers": {"x": "a\nb"}},
        {"timeouts": 5},
        {"custom_id": 7},
    ):
        with pytest.raises(ConfigError):
            REQUESTS[name](client)(**{**params, **wrong})


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"concurrency": "5"}, {"limits": Limits()}, {"limits": 5}, {"window": 0}, {"requests": 7}],
)
def test_a_map_refuses_an_option_without_a_meaning(options) -> None:
    client = AsyncDGrid(KEY)
    with pytest.raises(ConfigError, match=next(iter(options))):
        client.map(options.pop("requests", []), **options)


async def test_a_map_takes_its_concurrency_and_its_limits(client, emulator) -> None:
    from dgrid_async.batch import BatchLimits

    emulator.script = Script(delay=0.02)
    requests = [client.responses.request(model="m", input=str(n)) for n in range(12)]
    assert len([each async for each in client.map(requests, concurrency=3, limits=BatchLimits(rpm=6000))]) == 12
    assert emulator.peak_in_flight == 3
    assert [each.index async for each in client.map(iter(requests), ordered=True, window=1)] == list(range(12))


async def test_a_batch_belongs_to_its_client(client) -> None:
    from dgrid_async.batch import Batch

    assert isinstance(client.batch, Batch)
