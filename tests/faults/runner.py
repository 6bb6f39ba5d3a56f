"""Drives the client against the fault server and says where what happened differs from what was expected.

The server runs in a process of its own, so that its work neither delays the client nor counts as its memory. Cases that wait
run many at a time; those whose memory or work is measured run one by one.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import mmap
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import dgrid_async
from dgrid_async import AsyncDGrid, Limits, Retries, Timeouts
from tests.faults.catalogue import FAULTS, cases
from tests.faults.fault import Expect, Fault, Mode
from tests.faults.formats import Format
from tests.faults.secrets import leaks_of

KEY = "sk-fault-run-0123456789abcdef"
# The server and its plays share the machine with the client: a wait that ends on time is seen this much later at worst.
CLOCK_SLACK = 0.15
# Cases that mostly wait, at a time; more would make the waits of each other late on two cores.
AT_ONCE = 24
# The longest that a case may take whatever it expects, so that a hang fails one case and not the run.
CASE_SECONDS = 20.0

# Plays of a case of whose holds of the loop the shortest counts: what a shared machine adds, it adds to one and not to all.
HELD_PLAYS = 3
# More memory than any case whose blocking is measured takes, in MiB.
TOUCHED = 400
# Seconds between the call that warms a connection up and the one that counts.
WARMED = 0.15

PARAMS: Mapping[str, Mapping[str, Any]] = {
    "messages": {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]},
    "chat_completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "m", "input": "Hi"},
    "generate_content": {"model": "m", "contents": "Hi"},
}


@dataclass
class Seen:
    """What became of one case.

    Attributes:
        reply: The reply, or None.
        error: What was raised instead, or None.
        seconds: How long the call took.
        events: Events that a stream handed out.
        block_ms: The longest that the event loop stood still meanwhile, in the play where that was shortest.
        memory_mb: How far the traced memory rose at most.
        tally: What the server saw.
        leaks: Where the key shows in what the call left behind.
    """

    reply: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    events: int = 0
    block_ms: float = 0.0
    memory_mb: float = 0.0
    tally: dict[str, Any] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)


@asynccontextmanager
async def server() -> AsyncIterator[dict[str, Any]]:
    """Run the fault server in its own process and yield its ports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


async def run_all(only: Iterable[tuple[Fault, Format, Mode]] | None = None) -> dict[str, list[str]]:
    """Run the cases and return each one's differences, by its id; an empty list is a pass."""
    chosen = list(cases() if only is None else only)
    found: dict[str, list[str]] = {}
    numbers = itertools.count()
    async with server() as ports, aiohttp.ClientSession() as tallies:
        gate = asyncio.Semaphore(AT_ONCE)

        async def run(case: tuple[Fault, Format, Mode], *, measured: bool) -> None:
            async with gate:
                seen = await play(next(numbers), *case, ports, tallies, measured=measured)
                for _ in range(HELD_PLAYS - 1):
                    if seen.block_ms > case[0].expect.block_ms:
                        again = await play(next(numbers), *case, ports, tallies, measured=measured)
                        seen.block_ms = min(seen.block_ms, again.block_ms)
            found[case_id(*case)] = differences(case[0], seen, case[1], measured=measured)

        waiting = [case for case in chosen if not is_measured(case[0])]
        await asyncio.gather(*(run(case, measured=False) for case in waiting))
        touch_memory()
        # Together these hold the loop longer than each would: whoever passes here would pass alone.
        silent = [case for case in chosen if is_measured(case[0]) and is_silent(case[0])]
        await asyncio.gather(*(run(case, measured=True) for case in silent))
        for case in chosen:
            # Others on a shared machine can make anything late once: what differs is played again, alone, and that counts.
            if found.get(case_id(*case), ["not yet played"]):
                await run(case, measured=True)
    return found


def is_measured(fault: Fault) -> bool:
    """Return whether a fault is about size, so that memory and blocking must be seen apart from other cases."""
    return fault.group in {"size", "encoding"} or fault.expect.memory_mb is not None


def is_silent(fault: Fault) -> bool:
    """Return whether a fault keeps the client waiting without a bound on memory, so that others may wait beside it."""
    return fault.ends in {"open", "flow"} and fault.expect.memory_mb is None


def case_id(fault: Fault, fmt: Format, mode: Mode) -> str:
    """Return the name of one case."""
    return f"{fault.name}-{fmt.name}-{mode}"


async def play(
    number: int,
    fault: Fault,
    fmt: Format,
    mode: Mode,
    ports: Mapping[str, Any],
    tallies: aiohttp.ClientSession,
    *,
    measured: bool,
) -> Seen:
    """Make the call of one case and return what became of it."""
    options = fault.expect.options
    segment = f"{fault.name}~{number}"
    port = ports["port"] if fault.listener == "main" else ports[fault.listener]
    client = AsyncDGrid(
        KEY,
        base_url=f"http://127.0.0.1:{port}/{segment}",
        timeouts=Timeouts(**options.get("timeouts", {})),
        retries=Retries(**options.get("retries", {})),
        limits=Limits(**options.get("limits", {})),
    )
    seen = Seen()
    async with client:
        if fault.warmup:
            await call(client, fmt, mode, Seen())
            await asyncio.sleep(WARMED)  # what the server does to the kept connection happens behind the answer
        async with AsyncExitStack() as stack:
            if measured:
                stack.enter_context(resident(seen))
                await stack.enter_async_context(beating(seen))
            begun = time.monotonic()
            try:
                async with asyncio.timeout(CASE_SECONDS):
                    await call(client, fmt, mode, seen)
            except Exception as error:  # noqa: BLE001 -- any class at all is what is being looked for
                seen.error = error
            seen.seconds = time.monotonic() - begun
            await asyncio.sleep(0)
        # A reply is data, and as large as the fault makes it: only the small ones are worth a look.
        shown = [client, seen.error] if seen.reply is None or measured else [client, seen.reply]
        seen.leaks = leaks_of(KEY, *(value for value in shown if value is not None))
    url = f"{ports['url']}/cases/{segment}"
    async with tallies.get(url) as response:
        seen.tally = await response.json()
    return seen


async def call(client: AsyncDGrid, fmt: Format, mode: Mode, seen: Seen) -> None:
    """Make one call and put what it gave into `seen`."""
    params: Any = dict(PARAMS[fmt.name])
    plain, streamed = {
        "messages": (client.messages.create, client.messages.stream),
        "chat_completions": (client.chat.completions.create, client.chat.completions.stream),
        "responses": (client.responses.create, client.responses.stream),
        "generate_content": (client.models.generate_content, client.models.stream_generate_content),
    }[fmt.name]
    if mode == "plain":
        seen.reply = await plain(**params)
        return
    stream: Any = streamed(**params)
    async with stream:
        async for _ in stream:
            seen.events += 1
        seen.reply = await stream.final()


@cache
def touch_memory() -> None:
    """Write to memory and give it back to the system, which hands it out again first.

    The host of a virtual machine may find it memory only when that is first written to, and count the time as the thread's:
    more than 100 ms for one megabyte have been seen.
    """
    with mmap.mmap(-1, TOUCHED << 20) as memory:
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1


@asynccontextmanager
async def beating(seen: Seen) -> AsyncIterator[None]:
    """Measure how long the loop stands still."""

    # By the thread's own processor time: on a shared machine the clock on the wall also counts what others do.
    async def beat() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            seen.block_ms = max(seen.block_ms, (time.thread_time() - before) * 1000)

    task = asyncio.get_running_loop().create_task(beat())
    try:
        yield
        await asyncio.sleep(0.002)  # for the beat after the last work
    finally:
        task.cancel()


@contextmanager
def resident(seen: Seen) -> Iterator[None]:
    """Measure how far resident memory rises; where the system does not tell, 0."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    if not reset.exists():
        yield
        return
    reset.write_text("5")  # resets the peak; proc(5)
    before = _megabytes(status.read_text(), "VmRSS")
    try:
        yield
    finally:
        seen.memory_mb = _megabytes(status.read_text(), "VmHWM") - before


def _megabytes(status: str, name: str) -> float:
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) / 1024


def text_of(reply: Any) -> str | None:
    """Return a reply's text."""
    return None if reply is None else reply.text


@cache
def quick() -> frozenset[str]:
    """Return the names of the cases of the default run: each fault once, in one of its formats and modes after another."""
    chosen = []
    for n, fault in enumerate(FAULTS):
        runs = list(fault.runs())
        chosen.append(case_id(fault, *runs[n % len(runs)]))
    return frozenset(chosen)


@cache
def outcomes(format_name: str, *, slow: bool) -> dict[str, list[str]]:
    """Run the slow or the quick cases of one format, once, and return each one's differences."""
    chosen = (case for case in cases() if case[1].name == format_name and (case_id(*case) not in quick()) is slow)
    return asyncio.run(run_all(chosen))


def marked(format_name: str) -> list[Any]:
    """Return the names of one format's cases as parameters; what is not of the default run is marked slow."""
    names = [case_id(*case) for case in cases() if case[1].name == format_name]
    return [pytest.param(name, marks=() if name in quick() else pytest.mark.slow) for name in names]


def check(format_name: str, case: str) -> None:
    """Fail unless what became of a case is what was expected."""
    found = outcomes(format_name, slow=case not in quick())[case]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def differences(fault: Fault, seen: Seen, fmt: Format, *, measured: bool) -> list[str]:
    """Return where a case differs from what was expected, in words."""
    expect, error = fault.expect, seen.error
    found: list[str] = []

    def check(holds: object, words: str) -> None:
        if not holds:
            found.append(words)

    if error is None:
        check(expect.outcome != "error", f"a reply came: {seen.reply!r:.300}")
        found.extend(_reply_differences(expect, seen, fmt))
    elif expect.outcome == "reply":
        found.append(f"raised {error!r:.300}")
    else:
        found.extend(_error_differences(expect, seen))
    fewest, most = expect.requests
    if fault.listener == "main":
        requests = len(seen.tally["attempts"])
        check(fewest <= requests <= most, f"the server saw {requests} requests, not {fewest} to {most}")
        keys = {attempt["idempotency_key"] for attempt in seen.tally["attempts"]}
        check(len(keys) <= 1 and None not in keys, f"Idempotency-Keys {keys}")
        for name in ("broken", "leaked", "expired"):
            check(not seen.tally[name], f"the server says {name}: {seen.tally[name]}")
    check(seen.seconds <= expect.seconds + CLOCK_SLACK, f"took {seen.seconds:.2f} s, not {expect.seconds}")
    check(seen.seconds >= expect.at_least - CLOCK_SLACK, f"took only {seen.seconds:.2f} s, not {expect.at_least}")
    check(not seen.leaks, f"the key shows in {seen.leaks}")
    check(expect.events is None or seen.events >= expect.events, f"{seen.events} events, not {expect.events}")
    if measured:
        check(seen.block_ms <= expect.block_ms, f"the loop stood still for {seen.block_ms:.0f} ms")
        memory = expect.memory_mb
        check(memory is None or seen.memory_mb <= memory, f"memory rose by {seen.memory_mb:.0f} MB, not {memory}")
    return found


def _reply_differences(expect: Expect, seen: Seen, fmt: Format) -> list[str]:
    found = []
    reply = seen.reply
    if expect.text is not None and text_of(reply) != expect.text:
        found.append(f"the text is {text_of(reply)!r:.200}, not {expect.text!r:.200}")
    if expect.output_tokens is not None and _output_tokens(reply) != expect.output_tokens:
        found.append(f"output tokens {_output_tokens(reply)}, not {expect.output_tokens}")
    if expect.request_id is not None and reply.request_id != expect.request_id:
        found.append(f"request id {reply.request_id}, not {expect.request_id}")
    if expect.tools is not None:
        tools = _tools(reply, fmt)
        wanted = [(name, _loose(arguments)) for name, arguments in expect.tools]
        if [(name, _loose(arguments)) for name, arguments in tools] != wanted:
            found.append(f"tool calls {tools}, not {expect.tools}")
    if reply is not None:
        json.dumps(reply.to_dict()).encode()
    return found


def _loose(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments


def _output_tokens(reply: Any) -> Any:
    usage = reply.usage
    for name in ("output_tokens", "completion_tokens", "candidates_token_count"):
        if getattr(usage, name, None) is not None:
            return getattr(usage, name)
    return None


def _tools(reply: Any, fmt: Format) -> list[tuple[str, Any]]:
    wire = reply.to_dict()
    if fmt.name == "messages":
        return [
            (block.name, block.input_raw if block.input_raw is not None else block.input)
            for block in reply.content
            if block.type == "tool_use"
        ]
    if fmt.name == "chat_completions":
        calls = wire["choices"][0]["message"].get("tool_calls") or []
        return [(c["function"]["name"], c["function"]["arguments"]) for c in calls]
    if fmt.name == "responses":
        return [(i["name"], i["arguments"]) for i in wire["output"] if i["type"] == "function_call"]
    parts = wire["candidates"][0]["content"]["parts"]
    return [(p["functionCall"]["name"], p["functionCall"].get("args", {})) for p in parts if "functionCall" in p]


def _error_differences(expect: Expect, seen: Seen) -> list[str]:
    found = []
    error: Any = seen.error
    classes = tuple(getattr(dgrid_async, name) for name in expect.error)
    if not isinstance(error, classes):
        return [f"raised {error!r:.300}, not {' or '.join(expect.error)}"]
    for name in ("status", "phase"):
        wanted = getattr(expect, name)
        if wanted is not None and getattr(error, name, None) != wanted:
            found.append(f"{name} {getattr(error, name, None)}, not {wanted}")
    if expect.partial is not None and (text_of(error.snapshot) or "") != expect.partial:
        found.append(f"the snapshot's text is {text_of(error.snapshot)!r:.200}, not {expect.partial!r:.200}")
    if expect.retry_after is not None and (error.retry_after is None or abs(error.retry_after - expect.retry_after) > 1):
        found.append(f"retry_after {error.retry_after}, not {expect.retry_after}")
    found.extend(f"{words!r} is not in {error}" for words in expect.message_has if words not in str(error))
    if expect.request_id is not None and error.request_id != expect.request_id:
        found.append(f"request id {error.request_id}, not {expect.request_id}")
    if error.events_received != seen.events:
        found.append(f"events_received {error.events_received}, but {seen.events} were handed out")
    return found
