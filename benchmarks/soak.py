"""Thousands of streams at once under random faults, and what is left of them: `python -m benchmarks.soak`.

A gateway that misbehaves runs in another process. Streams of all four formats are read, left, cancelled and aborted at
random; each must end whole, with an error of ours, or as the caller ended it. Afterwards no task, no socket and no memory
may be left over. Prints the counts; the exit status is 1 where anything is wrong.

It measures no speed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dgrid_async import AsyncDGrid, ClientClosedError, DGridError, Limits, Retries, Timeouts
from tests.faults.catalogue import FAULTS
from tests.faults.fault import Fault
from tests.faults.formats import Format

KEY = "sk-soak"
ROOT = Path(__file__).parents[1]
PARAMS: dict[str, dict[str, Any]] = {
    "messages": {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]},
    "chat_completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "m", "input": "Hi"},
    "generate_content": {"model": "m", "contents": "Hi"},
}
# A call that takes longer hangs: the longest fault takes some seconds, and all streams share two cores.
HANG_SECONDS = 60.0
# The part of the time that only fills caches, pools and the allocator's arenas.
WARM_PART = 0.3
# Resident memory may end this much higher than after warming up: what the allocator keeps is not the same each time.
GROWTH_PART = 0.10
GROWTH_MEGABYTES = 8.0
# Transports close behind the call that closes them, and a whole answer holds its slot for 0.25 s where its body does not end.
SETTLE_SECONDS = 0.6
# How streams end, and how often.
WAYS = ("read", "read", "read", "read", "read", "read", "final", "leave", "cancel", "abort")
# Files beside the sockets of the streams.
SPARE_FILES = 200


@dataclass
class Count:
    """What became of the streams.

    Attributes:
        started: Streams begun.
        whole: Those that ended with the right reply.
        errors: Those that ended with an error of ours, by class.
        ended_by_caller: Those that the caller left, cancelled or aborted, by the way of it.
        wrong: Those that ended whole with the wrong text, or whole where only an error is right.
        foreign: Those that ended with an error that is none of ours.
        hung: Those that did not end.
        samples: Some words on the last three.
    """

    started: int = 0
    whole: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    ended_by_caller: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    foreign: int = 0
    hung: int = 0
    samples: list[str] = field(default_factory=list)

    def blame(self, kind: str, words: str) -> None:
        """Count something that must not be, and keep some of the words."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.samples) < 10:
            self.samples.append(f"{kind}: {words}")

    @property
    def accounted(self) -> int:
        """How many streams have ended in one of the ways."""
        ended = self.whole + self.wrong + self.foreign + self.hung
        return ended + sum(self.errors.values()) + sum(self.ended_by_caller.values())


def add(numbers: dict[str, int], name: str) -> None:
    """Count one more of a name."""
    numbers[name] = numbers.get(name, 0) + 1


def ranked(numbers: dict[str, int]) -> list[tuple[str, int]]:
    """Return the names with their numbers, the most frequent first."""
    return sorted(numbers.items(), key=lambda pair: -pair[1])


def suitable(fault: Fault) -> bool:
    """Return whether a fault is one that thousands of streams can meet at once.

    Left out: the large ones, those that need a client of their own, and the rate limits, which rightly hold back every
    other call of the same client.
    """
    expect = fault.expect
    large = fault.group in {"size", "encoding"} or expect.memory_mb is not None or fault.group == "json"
    own = "limits" in expect.options or fault.warmup or fault.listener != "main"
    paced = expect.retry_after is not None or "RateLimitError" in expect.error or fault.group == "retry"
    return not (large or own or paced) and "stream" in fault.modes


CHOSEN = [fault for fault in FAULTS if suitable(fault)]
GOOD = [fault for fault in CHOSEN if fault.expect.outcome == "reply" and fault.expect.requests == (1, 1)]


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """Run the fault server in another process and yield its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes to the server")
    try:
        yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        await process.wait()


async def one(client: AsyncDGrid, url: str, dice: random.Random, count: Count) -> None:
    """Begin one stream, end it in some way, and count how it ended."""
    # Half of the streams are in order: faults must not harm those beside them.
    fault = dice.choice(GOOD if dice.random() < 0.5 else CHOSEN)
    fmt, _ = dice.choice([run for run in fault.runs() if run[1] == "stream"])
    way = dice.choice(WAYS)
    count.started += 1
    options = fault.expect.options
    caller = client.with_options(
        base_url=f"{url}/{fault.name}",
        timeouts=Timeouts(**{"first_event": 20.0, "idle": 20.0, **options.get("timeouts", {})}),
        retries=Retries(**{"max_attempts": 2, "initial_delay": 0.05, **options.get("retries", {})}),
    )
    name = f"{fault.name} in {fmt.name}, {way}"
    task = asyncio.current_task()
    timer: asyncio.TimerHandle | None = None
    stream: Any = None
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        cancelled = True
        if task is not None:
            task.cancel()

    try:
        async with asyncio.timeout(HANG_SECONDS):
            stream = begun(caller, fmt)
            if way in {"cancel", "abort"}:
                act = cancel if way == "cancel" else stream.abort
                timer = asyncio.get_running_loop().call_later(dice.random() * 0.3, act)
            async with stream:
                if way != "final":
                    events = 0
                    async for _ in stream:
                        events += 1
                        if way == "leave" and events > dice.randrange(4):
                            add(count.ended_by_caller, "left")
                            return
                reply = await stream.final()
    except asyncio.CancelledError:
        if not cancelled:
            raise
        if task is not None:
            task.uncancel()
        add(count.ended_by_caller, "cancelled")
    except TimeoutError:
        count.blame("hung", name)
    except ClientClosedError as error:
        if way == "abort":
            add(count.ended_by_caller, "aborted")
        else:
            count.blame("foreign", f"{name}: {error!r}")
    except DGridError as error:
        add(count.errors, type(error).__name__)
    except Exception:  # noqa: BLE001 -- any class at all is what is being looked for
        count.blame("foreign", f"{name}: {traceback.format_exc(limit=-3)}")
    else:
        expect = fault.expect
        if expect.outcome == "error":
            count.blame("wrong", f"{name}: a reply, {reply.text!r:.80}")
        elif expect.text is not None and reply.text != expect.text:
            count.blame("wrong", f"{name}: {reply.text!r:.80}, not {expect.text!r:.80}")
        else:
            count.whole += 1
    finally:
        if timer is not None:
            timer.cancel()


def begun(client: AsyncDGrid, fmt: Format) -> Any:
    """Return a stream of the format, not opened yet."""
    make: dict[str, Any] = {
        "messages": client.messages.stream,
        "chat_completions": client.chat.completions.stream,
        "responses": client.responses.stream,
        "generate_content": client.models.stream_generate_content,
    }
    return make[fmt.name](**PARAMS[fmt.name])


async def phase(client: AsyncDGrid, url: str, streams: int, seconds: float, dice: random.Random, count: Count) -> None:
    """Keep so many streams going for some seconds, and wait for the last of them."""
    until = time.monotonic() + seconds

    async def worker() -> None:
        # Not all in the same moment: a crowd at the door is another test.
        await asyncio.sleep(dice.random() * min(2.0, seconds / 3))
        while time.monotonic() < until:
            await asyncio.get_running_loop().create_task(one(client, url, dice, count))

    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(worker())


def megabytes() -> float:
    """Return this process's resident memory once garbage is collected; 0 where the system does not tell."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    return int(next(line for line in status.read_text().splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def sockets() -> int:
    """Return how many sockets this process has open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    found = 0
    for entry in folder.iterdir() if folder.exists() else ():
        try:
            found += str(entry.readlink()).startswith("socket:")
        except OSError:  # the one that lists the folder is gone by now
            continue
    return found


@dataclass
class Result:
    """What a soak came to; `faults` says in words what is wrong, and is empty where nothing is."""

    streams: int
    seconds: float
    count: Count
    warm_megabytes: float
    end_megabytes: float
    tasks_left: int
    sockets_left: int
    faults: list[str] = field(default_factory=list)


async def soak(streams: int, seconds: float, seed: int) -> Result:
    """Run it all and return what it came to."""
    dice = random.Random(seed)
    count, warm = Count(), Count()
    async with gateway() as url:
        tasks, held = len(asyncio.all_tasks()), sockets()
        async with AsyncDGrid(KEY, limits=Limits(max_connections=streams)) as client:
            await phase(client, url, streams, seconds * WARM_PART, dice, warm)
            before = megabytes()
            await phase(client, url, streams, seconds * (1 - WARM_PART), dice, count)
            after = megabytes()
            await asyncio.sleep(SETTLE_SECONDS)
            pooled = client.stats()
        await asyncio.sleep(SETTLE_SECONDS)
        gc.collect()
        tasks_left, sockets_left = len(asyncio.all_tasks()) - tasks, sockets() - held
    result = Result(streams, seconds, count, round(before, 1), round(after, 1), tasks_left, sockets_left)
    for name, part in (("warm-up", warm), ("run", count)):
        result.faults += [f"{name}: {words}" for words in part.samples]
        if part.accounted != part.started:
            result.faults.append(f"{name}: {part.started} streams began, {part.accounted} ended")
    if not count.whole or not count.errors:
        result.faults.append("a run without both replies and errors shows nothing")
    if pooled.in_use:
        result.faults.append(f"{pooled.in_use} connections of the pool were in use when no stream was")
    if tasks_left > 0:
        result.faults.append(f"{tasks_left} tasks are left")
    if sockets_left > 0:
        result.faults.append(f"{sockets_left} sockets are left")
    if after > before * (1 + GROWTH_PART) + GROWTH_MEGABYTES:
        result.faults.append(f"memory grew from {before:.0f} to {after:.0f} MB")
    return result


def printed(result: Result) -> str:
    """Return the result in some lines."""
    count = result.count
    lines = [
        f"{result.streams} streams at a time for {result.seconds:g} s: {count.started:,} streams",
        f"  whole          {count.whole:,}",
        *(f"  {name:<26} {number:,}" for name, number in ranked(count.errors)),
        *(f"  {name:<14} {number:,} by the caller" for name, number in ranked(count.ended_by_caller)),
        f"  wrong {count.wrong}, foreign {count.foreign}, hung {count.hung}",
        f"  left: {result.tasks_left} tasks, {result.sockets_left} sockets",
        f"  memory: {result.warm_megabytes} MB after warming up, {result.end_megabytes} MB at the end",
        *(f"  NOT AS IT SHOULD BE: {words}" for words in result.faults),
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write the result as JSON")
    options = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.streams + SPARE_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard))
    result = asyncio.run(soak(options.streams, options.seconds, options.seed))
    print(printed(result))
    if options.out:
        options.out.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
