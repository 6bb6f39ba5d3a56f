"""The vendors' own SDKs against the emulator: what they make of it is what they would make of the real services."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dgrid_async.emulator import Cut, Emulator, ErrorEvent, Script, ToolCall, Usage

pytestmark = [
    pytest.mark.peers,
    # The SDKs' own business: they and what they import use things that newer versions deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

REASON = "the vendors' SDKs are the extra [peers]"
PNG = b"\x89PNG" + b"x" * 64
BASE64 = base64.b64encode(PNG).decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
CALLS = Script(
    text="Wait.",
    tool_calls=(ToolCall("weather", {"city": "Zürich", "days": 2}), ToolCall("weather", {"city": "Bern", "days": 1})),
)
ARGUMENTS = [{"city": "Zürich", "days": 2}, {"city": "Bern", "days": 1}]
FULL = Script(text=("Hel", "lo ", "you"), reasoning=("Hm", "m"), usage=Usage(11, 7, reasoning=2, cached=3))


@pytest.fixture
async def claude(emulator: Emulator) -> AsyncIterator[Any]:
    anthropic = pytest.importorskip("anthropic", reason=REASON)
    async with anthropic.AsyncAnthropic(api_key="k", base_url=emulator.url, max_retries=0) as client:
        yield client


@pytest.fixture
async def openai(emulator: Emulator) -> AsyncIterator[Any]:
    module = pytest.importorskip("openai", reason=REASON)
    async with module.AsyncOpenAI(api_key="k", base_url=f"{emulator.url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
async def gemini(emulator: Emulator) -> AsyncIterator[Any]:
    genai = pytest.importorskip("google.genai", reason=REASON)
    client = genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=emulator.url))
    yield client.aio
    await client.aio.aclose()
    client.close()


# --- anthropic

HI: list[Any] = [{"role": "user", "content": "Hi"}]
CLAUDE: dict[str, Any] = {"model": "anthropic/claude", "max_tokens": 64, "messages": HI}


async def test_claude_plain_and_streamed_agree(emulator: Emulator, claude: Any) -> None:
    emulator.script = FULL
    plain = await claude.messages.create(**CLAUDE)
    async with claude.messages.stream(**CLAUDE) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert texts == ["Hel", "lo ", "you"]
    assert final.model_dump(exclude={"id"}) == plain.model_dump(exclude={"id"})
    assert [block.type for block in plain.content] == ["thinking", "text"]
    assert (plain.usage.input_tokens, plain.usage.cache_read_input_tokens, plain.usage.output_tokens) == (8, 3, 7)
    assert plain.stop_reason == "end_turn"


async def test_claude_events(emulator: Emulator, claude: Any) -> None:
    emulator.script = Script(text=("a", "b"))
    kinds = [event.type async for event in await claude.messages.create(**CLAUDE, stream=True)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_claude_tools(emulator: Emulator, claude: Any) -> None:
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    demanded = await claude.messages.create(**CLAUDE, tools=tools, tool_choice={"type": "any"})
    assert (demanded.stop_reason, demanded.content[0].input) == ("tool_use", {"city": "city", "days": 1})
    emulator.script = CALLS
    for reply in (await claude.messages.create(**CLAUDE, tools=tools), await streamed_claude(claude)):
        assert [block.input for block in reply.content if block.type == "tool_use"] == ARGUMENTS
        assert reply.content[0].text == "Wait."


async def streamed_claude(claude: Any) -> Any:
    async with claude.messages.stream(**CLAUDE) as stream:
        return await stream.get_final_message()


async def test_claude_media(claude: Any) -> None:
    def source(kind: str) -> dict[str, str]:
        return {"type": "base64", "media_type": kind, "data": BASE64}

    content = [
        {"type": "image", "source": source("image/png")},
        {"type": "document", "source": source("application/pdf")},
    ]
    reply = await claude.messages.create(**CLAUDE | {"messages": [{"role": "user", "content": content}]})
    assert "image/png, 68 bytes; application/pdf, 68 bytes" in reply.content[0].text


async def test_claude_errors(emulator: Emulator, claude: Any) -> None:
    anthropic = pytest.importorskip("anthropic", reason=REASON)
    for status, error in (
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (429, anthropic.RateLimitError),
        (529, anthropic.InternalServerError),
    ):
        emulator.script = Script(status=status, message="why")
        with pytest.raises(error, match="why") as caught:
            await claude.messages.create(**CLAUDE)
        assert caught.value.status_code == status
    emulator.script = Script()
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.role"):
        await claude.messages.create(**CLAUDE | {"messages": [{"role": "boss", "content": "x"}]})
    emulator.script = Script(text=("a", "b"), fault=ErrorEvent(after=4))
    with pytest.raises(anthropic.APIStatusError) as caught:
        await streamed_claude(claude)
    assert caught.value.type == "overloaded_error"


# --- openai, chat

CHAT: dict[str, Any] = {"model": "openai/gpt", "messages": HI}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]


async def streamed_chat(openai: Any, **more: Any) -> Any:
    async with openai.chat.completions.stream(**CHAT, **more) as stream:
        return await stream.get_final_completion()


async def test_chat_plain_and_streamed_agree(emulator: Emulator, openai: Any) -> None:
    emulator.script = FULL
    plain = await openai.chat.completions.create(**CHAT)
    final = await streamed_chat(openai, stream_options={"include_usage": True})
    for reply in (plain, final):
        message = reply.choices[0].message
        assert (message.content, message.reasoning_content, message.role) == ("Hello you", "Hmm", "assistant")
        assert reply.choices[0].finish_reason == "stop"
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (11, 7)
        assert reply.usage.completion_tokens_details.reasoning_tokens == 2


async def test_chat_chunks(emulator: Emulator, openai: Any) -> None:
    emulator.script = Script(text=("a", "b"), chunk_size=1)
    chunks = [chunk async for chunk in await openai.chat.completions.create(**CHAT, stream=True)]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "a", "b", None]
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_chat_choices(emulator: Emulator, openai: Any) -> None:
    emulator.script = Script(text="A a", alternatives=("B b b",))
    final = await streamed_chat(openai, n=2)
    assert [choice.message.content for choice in final.choices] == ["A a", "B b b"]


async def test_chat_tools_and_refusal(emulator: Emulator, openai: Any) -> None:
    demanded = await openai.chat.completions.create(**CHAT, tools=CHAT_TOOLS, tool_choice="required")
    assert demanded.choices[0].message.tool_calls[0].function.arguments == '{"city":"city","days":1}'
    emulator.script = CALLS
    for reply in (await openai.chat.completions.create(**CHAT), await streamed_chat(openai)):
        calls = reply.choices[0].message.tool_calls
        assert [call.function.arguments for call in calls] == ['{"city":"Zürich","days":2}', '{"city":"Bern","days":1}']
        assert (reply.choices[0].finish_reason, reply.choices[0].message.content) == ("tool_calls", "Wait.")
    emulator.script = Script(refusal="I will not.")
    assert (await streamed_chat(openai)).choices[0].message.refusal == "I will not."


async def test_chat_media(openai: Any) -> None:
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}},
        {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{BASE64}", "filename": "a.pdf"}},
    ]
    reply = await openai.chat.completions.create(**CHAT | {"messages": [{"role": "user", "content": content}]})
    text = reply.choices[0].message.content
    assert "image/png, 68 bytes; audio/wav, 68 bytes; application/pdf, 68 bytes" in text


async def test_openai_errors(emulator: Emulator, openai: Any) -> None:
    module = pytest.importorskip("openai", reason=REASON)
    for status, error in (
        (400, module.BadRequestError),
        (401, module.AuthenticationError),
        (429, module.RateLimitError),
        (503, module.InternalServerError),
    ):
        emulator.script = Script(status=status, message="why")
        for call in (openai.chat.completions.create(**CHAT), openai.responses.create(**RESPONSES)):
            with pytest.raises(error, match="why"):
                await call
    emulator.script = Script(text=("a", "b"), fault=ErrorEvent(after=2, message="midway"))
    with pytest.raises(module.APIError, match="midway"):
        await streamed_chat(openai)


async def test_openai_models(openai: Any) -> None:
    models = [model.id async for model in openai.models.list()]
    assert "openai/gpt-4o" in models


# --- openai, responses

RESPONSES: dict[str, Any] = {"model": "openai/gpt", "input": "Hi"}


async def streamed_responses(openai: Any) -> Any:
    async with openai.responses.stream(**RESPONSES) as stream:
        return await stream.get_final_response()


async def test_responses_plain_and_streamed_agree(emulator: Emulator, openai: Any) -> None:
    emulator.script = FULL
    for reply in (await openai.responses.create(**RESPONSES), await streamed_responses(openai)):
        assert (reply.output_text, reply.status) == ("Hello you", "completed")
        assert [item.type for item in reply.output] == ["reasoning", "message"]
        assert reply.output[0].summary[0].text == "Hmm"
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (11, 7, 18)


async def test_responses_tools(emulator: Emulator, openai: Any) -> None:
    tools = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}]
    demanded = await openai.responses.create(**RESPONSES, tools=tools, tool_choice="required")
    assert demanded.output[0].arguments == '{"city":"city","days":1}'
    emulator.script = CALLS
    for reply in (await openai.responses.create(**RESPONSES), await streamed_responses(openai)):
        calls = [item for item in reply.output if item.type == "function_call"]
        assert [call.arguments for call in calls] == ['{"city":"Zürich","days":2}', '{"city":"Bern","days":1}']
        assert reply.output_text == "Wait."


async def test_responses_media(openai: Any) -> None:
    content = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{BASE64}", "detail": "auto"},
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{BASE64}", "filename": "a.pdf"},
    ]
    reply = await openai.responses.create(**RESPONSES | {"input": [{"role": "user", "content": content}]})
    assert "image/png, 68 bytes; application/pdf, 68 bytes" in reply.output_text


async def test_responses_without_its_end(emulator: Emulator, openai: Any) -> None:
    emulator.script = Script(text="a", fault=Cut())
    with pytest.raises(RuntimeError, match=r"response\.completed"):
        await streamed_responses(openai)


async def test_responses_error_event(emulator: Emulator, openai: Any) -> None:
    emulator.script = Script(text="a", fault=ErrorEvent(after=3, status=429))
    events = [event async for event in await openai.responses.create(**RESPONSES, stream=True)]
    assert (events[-1].type, events[-1].code, events[-1].sequence_number) == ("error", "rate_limit_exceeded", 3)


# --- google-genai

GEMINI: dict[str, Any] = {"model": "google/gemini-2.5-flash", "contents": "Hi"}


async def test_gemini_plain_and_streamed_agree(emulator: Emulator, gemini: Any) -> None:
    emulator.script = FULL
    plain = await gemini.models.generate_content(**GEMINI)
    chunks = [chunk async for chunk in await gemini.models.generate_content_stream(**GEMINI)]
    assert plain.text == "".join(chunk.text or "" for chunk in chunks) == "Hello you"
    assert plain.model_version == "google/gemini-2.5-flash"
    for usage in (plain.usage_metadata, chunks[-1].usage_metadata):
        assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (11, 5, 2)
    assert str(chunks[-1].candidates[0].finish_reason).endswith("STOP")
    assert [part.thought for part in plain.candidates[0].content.parts] == [True, None, None]


async def test_gemini_candidates_and_tools(emulator: Emulator, gemini: Any) -> None:
    config: dict[str, Any] = {
        "tools": [{"function_declarations": [{"name": "weather", "parameters_json_schema": SCHEMA}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
        "automatic_function_calling": {"disable": True},
    }
    demanded = await gemini.models.generate_content(**GEMINI, config=config)
    assert [call.args for call in demanded.function_calls] == [{"city": "city", "days": 1}]
    emulator.script = CALLS
    plain = await gemini.models.generate_content(**GEMINI)
    assert [call.args for call in plain.function_calls] == ARGUMENTS
    streamed = [chunk async for chunk in await gemini.models.generate_content_stream(**GEMINI)]
    assert [call.args for chunk in streamed for call in chunk.function_calls or ()] == ARGUMENTS
    emulator.script = Script(text="same")
    several = await gemini.models.generate_content(**GEMINI, config={"candidate_count": 3})
    assert [candidate.index for candidate in several.candidates] == [0, 1, 2]


async def test_gemini_media(gemini: Any) -> None:
    types = pytest.importorskip("google.genai.types", reason=REASON)
    parts = [types.Part.from_bytes(data=PNG, mime_type=kind) for kind in ("image/png", "audio/wav", "video/mp4")]
    reply = await gemini.models.generate_content(model="gemini-2.5-flash", contents=[*parts, "Look"])
    assert "image/png, 68 bytes; audio/wav, 68 bytes; video/mp4, 68 bytes" in reply.text
    assert "“Look”" in reply.text


async def test_gemini_structured_output(gemini: Any) -> None:
    config = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    reply = await gemini.models.generate_content(**GEMINI, config=config)
    assert reply.parsed == {"city": "city", "days": 1}


async def test_gemini_refused_prompt(emulator: Emulator, gemini: Any) -> None:
    emulator.script = Script(refusal="No.")
    reply = await gemini.models.generate_content(**GEMINI)
    assert (reply.text, reply.candidates) == (None, None)
    assert str(reply.prompt_feedback.block_reason).endswith("SAFETY")


async def test_gemini_errors(emulator: Emulator, gemini: Any) -> None:
    errors = pytest.importorskip("google.genai.errors", reason=REASON)
    for status, error in ((400, errors.ClientError), (429, errors.ClientError), (503, errors.ServerError)):
        emulator.script = Script(status=status, message="why")
        with pytest.raises(error, match="why") as caught:
            await gemini.models.generate_content(**GEMINI)
        assert caught.value.code == status
    emulator.script = Script(text=("a", "b"), fault=ErrorEvent(after=1, status=429, message="midway"))
    with pytest.raises(errors.ClientError, match="midway"):
        async for _ in await gemini.models.generate_content_stream(**GEMINI):
            pass
