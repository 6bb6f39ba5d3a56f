"""What type checkers make of the public face; checked, never run.

A line that must be refused carries an ignore with its code: an ignore that nothing needs fails the check.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from dgrid_async import (
    APIStatusError,
    APITimeoutError,
    AsyncDGrid,
    DGridError,
    EventStream,
    Limits,
    Retries,
    TextStream,
    Timeouts,
    chat_completions,
    generate_content,
    messages,
    responses,
)
from dgrid_async.batch import BatchLimits, Outcome, Outcomes
from dgrid_async.request import Request


async def clients() -> None:
    async with AsyncDGrid() as client:
        assert_type(client, AsyncDGrid)
        assert_type(client.with_options(timeouts=Timeouts(total=5)), AsyncDGrid)
        assert_type(client.closed, bool)
        await client.close()
        client.terminate()
    AsyncDGrid("sk", base_url="https://x", timeouts=Timeouts(idle=None), retries=Retries(max_attempts=1), limits=Limits())
    AsyncDGrid(timeouts=5)  # type: ignore[arg-type]  # seconds of what?
    AsyncDGrid(api_keys="sk")  # type: ignore[call-arg]  # no such option


async def message(client: AsyncDGrid, stream_or_not: bool) -> None:
    turns: list[messages.MessageParam] = [{"role": "user", "content": "Hi"}]
    plain = await client.messages.create(model="m", max_tokens=5, messages=turns)
    assert_type(plain, messages.Message)
    assert_type(plain.text, str)
    assert_type(plain.request_id, str | None)
    assert_type(await client.messages.create(model="m", max_tokens=5, messages=turns, stream=False), messages.Message)
    opened = await client.messages.create(model="m", max_tokens=5, messages=turns, stream=True)
    assert_type(opened, EventStream[messages.Event, messages.Message])
    either = await client.messages.create(model="m", max_tokens=5, messages=turns, stream=stream_or_not)
    assert_type(either, messages.Message | EventStream[messages.Event, messages.Message])
    async with client.messages.stream(model="m", max_tokens=5, messages=turns) as stream:
        assert_type(stream, EventStream[messages.Event, messages.Message])
        async for event in stream:
            if isinstance(event, messages.ContentBlockDelta):
                assert_type(event.index, int)
        assert_type(await stream.final(), messages.Message)
    await client.messages.create(model=5, max_tokens=5, messages=turns)  # type: ignore[call-overload]  # a model is a name
    await client.messages.create(model="m", max_tokens="5", messages=turns)  # type: ignore[call-overload]  # a number
    client.messages.stream(model="m", max_tokens=5, messages=turns, temperature="hot")  # type: ignore[arg-type]  # a number
    client.messages.stream(model="m", max_tokens=5, messages=turns, timeouts=5)  # type: ignore[arg-type]  # a Timeouts


async def chat(client: AsyncDGrid) -> None:
    plain = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], temperature=0.5)
    assert_type(plain, chat_completions.ChatCompletion)
    assert_type(plain.text, str)
    opened = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
    assert_type(opened, EventStream[chat_completions.Event, chat_completions.ChatCompletion])
    async with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Hi"}]) as stream:
        async for chunk in stream:
            if isinstance(chunk, chat_completions.ChatCompletionChunk):
                assert_type(chunk.id, str)
        assert_type(stream.snapshot, chat_completions.ChatCompletion | None)
    client.chat.completions.stream(model="m", messages="Hi")  # type: ignore[arg-type]  # a list of turns
    client.chat.completions.stream(model="m", messages=[], retries=3)  # type: ignore[arg-type]  # a Retries


async def response(client: AsyncDGrid) -> None:
    assert_type(await client.responses.create(model="m", input="Hi"), responses.Response)
    opened = await client.responses.create(model="m", input="Hi", stream=True)
    assert_type(opened, EventStream[responses.Event, responses.Response])
    async with client.responses.stream(model="m", input="Hi", extra_headers={"x": None}) as stream:
        async for event in stream:
            if isinstance(event, responses.OutputTextDelta):
                assert_type(event.delta, str)
        assert_type(await stream.final(), responses.Response)
    client.responses.stream(model="m", input=5)  # type: ignore[arg-type]  # a text or a list


async def content(client: AsyncDGrid) -> None:
    plain = await client.models.generate_content(model="m", contents="Hi")
    assert_type(plain, generate_content.GenerateContentResponse)
    part = generate_content.Part.from_bytes(b"", "image/png")
    async with client.models.stream_generate_content(model="m", contents=["Hi", part]) as stream:
        async for event in stream:
            assert_type(event, generate_content.GenerateContentResponse)
        assert_type(await stream.final(), generate_content.GenerateContentResponse)
    client.models.stream_generate_content(model=5, contents="Hi")  # type: ignore[arg-type]  # a model is a name


async def facts(stream: EventStream[Any, messages.Message]) -> None:
    assert_type(stream.text_stream, TextStream)
    texts: AsyncIterator[str] = stream.text_stream
    async for text in texts:
        assert_type(text, str)
    assert_type(stream.request_id, str | None)
    assert_type(stream.status, int | None)
    assert_type(stream.snapshot, messages.Message | None)
    assert_type(await stream.open(), EventStream[Any, messages.Message])
    stream.abort()
    await stream.close()
    await stream.abort()  # type: ignore[func-returns-value, misc]  # a plain function


def errors(error: DGridError) -> None:
    if isinstance(error, APITimeoutError):
        assert_type(error.seconds, float)
    elif isinstance(error, APIStatusError):
        assert_type(error.status, int)
        assert_type(error.retry_after, float | None)
    assert_type(error.attempts, tuple[DGridError, ...])


async def many(client: AsyncDGrid, later: AsyncIterator[Request]) -> None:
    one = client.chat.completions.request(model="m", messages=[{"role": "user", "content": "Hi"}], custom_id="1", stream=True)
    assert_type(one, Request)
    assert_type(one.body, dict[str, Any])
    assert_type(Request.from_url("/v1/responses", {"model": "m"}), Request)
    client.messages.request(model="m", max_tokens=5, messages=[], custom_id=5)  # type: ignore[arg-type]  # a string
    client.responses.request(model=5)  # type: ignore[arg-type]  # a model is a name
    client.models.request(model="m", contents="Hi")

    async def each(request: Request, event: Any) -> None: ...

    outcomes = client.map([one], concurrency=8, ordered=True, limits=BatchLimits(rpm=60, tpm=1e5), window=9, each=each)
    assert_type(outcomes, Outcomes)
    async with outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            assert_type(outcome.error, DGridError | None)
            assert_type(outcome.attempts, int)
    client.map(later, each=lambda request, event: None)
    client.map(["Hi"])  # type: ignore[list-item]  # requests
    client.map([one], limits=Limits())  # type: ignore[arg-type]  # a BatchLimits
