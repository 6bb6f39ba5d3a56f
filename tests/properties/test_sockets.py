"""What holds of the sans-IO layer holds over a socket: any split, any padding and any wound gives what it gives there."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dgrid_async import AsyncDGrid, DGridError, Retries, Timeouts
from tests.faults import runner
from tests.faults.connection import Connection, Request
from tests.faults.fault import Expect, Fault
from tests.faults.formats import Format
from tests.faults.server import FaultServer
from tests.properties.reading import Outcome, cut, read
from tests.properties.samples import SAMPLES, Sample
from tests.properties.test_padding import BETWEEN

TEXTS = [sample for sample in SAMPLES if sample.name in {"text", "text_unicode", "tool_use", "n2_choices", "thoughts", "mcp"}]
WOUNDS = 12


async def fetched(api: str, chunks: list[bytes]) -> Outcome:
    """Return what the client makes of a body that is sent in these chunks."""

    async def play(connection: Connection, request: Request, fmt: Format, attempt: int) -> None:
        await connection.stream(chunks)

    async with FaultServer([Fault("body", "any", "sends these chunks", play, Expect())]) as server:
        client = AsyncDGrid(
            "k",
            base_url=server.case("body").base_url,
            retries=Retries(max_attempts=1),
            timeouts=Timeouts(first_event=5, idle=5),
        )
        async with client:
            params: Any = runner.PARAMS[api]
            make: Any = {
                "messages": client.messages.stream,
                "chat_completions": client.chat.completions.stream,
                "responses": client.responses.stream,
                "generate_content": client.models.stream_generate_content,
            }[api]
            stream: Any = make(**params)
            events: list[Any] = []
            failure: DGridError | None = None
            reply: Any = None
            try:
                async with stream:
                    async for event in stream:
                        events += [event]
                    reply = await stream.final()
            except DGridError as error:
                failure, reply = error, error.snapshot
            assert failure is None or failure.events_received == len(events)
            return Outcome(events, reply, failure)


def same(ours: Outcome, expected: Outcome) -> None:
    assert ours.told()[0] == expected.told()[0]
    assert ours.told()[2] == expected.told()[2]
    # Before the first event there is no reply to speak of.
    if expected.events:
        assert ours.told()[1] == expected.told()[1]


@pytest.mark.parametrize("sample", TEXTS, ids=str)
async def test_any_split(sample: Sample) -> None:
    dice = random.Random(sample.name)
    chunks = cut(sample.data, dice.sample(range(1, len(sample.data)), 60))
    same(await fetched(sample.api, chunks), read(sample.api, [sample.data]))


@pytest.mark.parametrize("sample", TEXTS, ids=str)
async def test_any_padding(sample: Sample) -> None:
    dice = random.Random(sample.name)
    parts = [part for document in sample.documents() for part in (dice.choice(BETWEEN), document.sse())]
    same(await fetched(sample.api, parts), read(sample.api, [sample.data]))


@pytest.mark.parametrize("sample", [sample for sample in TEXTS if sample.name == "text"], ids=str)
async def test_any_wound(sample: Sample) -> None:
    dice = random.Random(sample.api)
    for _ in range(WOUNDS):
        data = bytearray(sample.data)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(1, 12)] = dice.randbytes(dice.randrange(4))
        chunks = cut(bytes(data), dice.sample(range(1, len(data)), 5))
        same(await fetched(sample.api, chunks), read(sample.api, [bytes(data)]))
