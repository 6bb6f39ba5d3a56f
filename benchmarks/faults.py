"""How many faults the official SDKs survive, beside this one: `python -m benchmarks.faults`.

All run over the same server with the same expectations. A client survives a case when, within twice the time that is
expected,

- it gives the right text where a reply is due;
- it raises an error of its own family where an error is due: no other library's or the language's own, no hang, and no
  text handed over as if it were whole;
- it does either of these where both are right.

How many requests the server saw, memory, blocking, the class of the error within the family and the partial reply on it
are not asked of anyone here. The timeouts and numbers of attempts that a case needs are given to each SDK in its own
terms. A streamed case is read twice, by raw events and, where the SDK has one, by its stream helper; the better one counts.

Each client runs in a process of its own, many cases at a time. Results go to `benchmarks/results/faults.json` and `faults.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import platform
import re
import ssl
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.faults.catalogue import cases
from tests.faults.fault import Expect, Fault

KEY = "sk-faults-0123456789"
ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CLIENTS = ("dgrid_async", "openai", "anthropic", "google-genai")
MODULES = {"google-genai": "google.genai"}
FORMATS = {
    "dgrid_async": ("messages", "chat_completions", "responses", "generate_content"),
    "openai": ("chat_completions", "responses"),
    "anthropic": ("messages",),
    "google-genai": ("generate_content",),
}
AT_ONCE = 16
# Cases that hung in company are tried again with less of it, and that counts.
AGAIN_AT_ONCE = 8
# Of those with megabytes to send: the server gives each play a time, and all share its core.
LARGE_AT_ONCE = 2
# Beside the doubled time: many cases share two cores.
SLACK_SECONDS = 1.0
MOST_SECONDS = 20.0
# A client that stops its own event loop stops all its cases; what it has not told by then counts as a hang.
CLIENT_SECONDS = 1200.0
PARAMS: dict[str, dict[str, Any]] = {
    "messages": {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]},
    "chat_completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "m", "input": "Hi"},
    "generate_content": {"model": "m", "contents": "Hi"},
}


@dataclass(frozen=True)
class Settings:
    """What a case asks of a client, in any SDK's terms.

    Attributes:
        base_url: Without `/v1`.
        attempts: The first included.
        timeout: The shortest limit on waiting that the case sets, in seconds; None leaves the SDK's own.
        options: All options of the case, by the names of this package.
    """

    base_url: str
    attempts: int
    timeout: float | None
    options: Mapping[str, Any]


# One reading of one case: from the settings and the format to the text. Readings are named; plain calls have one.
Reading = Callable[[Settings, str], Awaitable[str]]


@dataclass(frozen=True)
class Peer:
    """A client as it is driven: its readings of a stream and of a plain call, and its family of errors."""

    stream: dict[str, Reading]
    plain: Reading
    family: tuple[type[BaseException], ...]


# ------------------------------------------------------------------------------------------------------------- clients


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """Return a context that all of a peer's clients share: making one stops the loop for long enough to spoil other cases."""
    return ssl.create_default_context()


def dgrid_async_peer() -> Peer:
    """Return this package."""
    from dgrid_async import AsyncDGrid, DGridError, Limits, Retries, Timeouts

    def client(settings: Settings) -> AsyncDGrid:
        options = settings.options
        return AsyncDGrid(
            KEY,
            base_url=settings.base_url,
            timeouts=Timeouts(**options.get("timeouts", {})),
            retries=Retries(**options.get("retries", {})),
            limits=Limits(**options.get("limits", {})),
        )

    def methods(made: AsyncDGrid, fmt: str) -> tuple[Any, Any]:
        return {
            "messages": (made.messages.create, made.messages.stream),
            "chat_completions": (made.chat.completions.create, made.chat.completions.stream),
            "responses": (made.responses.create, made.responses.stream),
            "generate_content": (made.models.generate_content, made.models.stream_generate_content),
        }[fmt]

    async def stream(settings: Settings, fmt: str) -> str:
        async with client(settings) as made, methods(made, fmt)[1](**PARAMS[fmt]) as opened:
            return str((await opened.final()).text)

    async def plain(settings: Settings, fmt: str) -> str:
        async with client(settings) as made:
            return str((await methods(made, fmt)[0](**PARAMS[fmt])).text)

    return Peer({"stream": stream}, plain, (DGridError,))


def openai_peer() -> Peer:
    """Return OpenAI's SDK."""
    import openai

    def client(settings: Settings) -> openai.AsyncOpenAI:
        limit: Any = {} if settings.timeout is None else {"timeout": settings.timeout}
        http = openai.DefaultAsyncHttpxClient(verify=tls(), **limit)
        url = f"{settings.base_url}/v1"
        return openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=settings.attempts - 1, http_client=http, **limit)

    async def raw(settings: Settings, fmt: str) -> str:
        async with client(settings) as made:
            words = []
            if fmt == "responses":
                async for event in await made.responses.create(**PARAMS[fmt], stream=True):
                    words += [event.delta] if event.type == "response.output_text.delta" else []
            else:
                async for chunk in await made.chat.completions.create(**PARAMS[fmt], stream=True):
                    words += [c.delta.content for c in chunk.choices if c.index == 0 and c.delta.content]
            return "".join(words)

    async def helper(settings: Settings, fmt: str) -> str:
        async with client(settings) as made:
            if fmt == "responses":
                async with made.responses.stream(**PARAMS[fmt]) as opened:
                    return str((await opened.get_final_response()).output_text)
            async with made.chat.completions.stream(**PARAMS[fmt]) as opened:
                return str((await opened.get_final_completion()).choices[0].message.content or "")

    async def plain(settings: Settings, fmt: str) -> str:
        async with client(settings) as made:
            if fmt == "responses":
                return str((await made.responses.create(**PARAMS[fmt])).output_text)
            return str((await made.chat.completions.create(**PARAMS[fmt])).choices[0].message.content or "")

    return Peer({"raw": raw, "helper": helper}, plain, (openai.OpenAIError,))


def anthropic_peer() -> Peer:
    """Return Anthropic's SDK."""
    import anthropic

    def client(settings: Settings) -> anthropic.AsyncAnthropic:
        limit: Any = {} if settings.timeout is None else {"timeout": settings.timeout}
        http, url = anthropic.DefaultAsyncHttpxClient(verify=tls(), **limit), settings.base_url
        return anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=settings.attempts - 1, http_client=http, **limit)

    def text(message: Any) -> str:
        return "".join(block.text for block in message.content if block.type == "text")

    async def raw(settings: Settings, fmt: str) -> str:
        async with client(settings) as made:
            words = []
            async for event in await made.messages.create(**PARAMS[fmt], stream=True):
                text_came = event.type == "content_block_delta" and event.delta.type == "text_delta"
                words += [event.delta.text] if text_came else []
            return "".join(words)

    async def helper(settings: Settings, fmt: str) -> str:
        async with client(settings) as made, made.messages.stream(**PARAMS[fmt]) as opened:
            return text(await opened.get_final_message())

    async def plain(settings: Settings, fmt: str) -> str:
        async with client(settings) as made:
            return text(await made.messages.create(**PARAMS[fmt]))

    return Peer({"raw": raw, "helper": helper}, plain, (anthropic.AnthropicError,))


def google_genai_peer() -> Peer:
    """Return Google's SDK."""
    from google import genai
    from google.genai import errors, types

    def client(settings: Settings) -> genai.Client:
        limit: Any = {} if settings.timeout is None else {"timeout": round(settings.timeout * 1000)}
        retry = types.HttpRetryOptions(attempts=settings.attempts, initial_delay=0.05)
        url, version = settings.base_url, "v1"
        shared: Any = {"client_args": {"verify": tls()}, "async_client_args": {"ssl": tls()}}
        options = types.HttpOptions(base_url=url, api_version=version, retry_options=retry, **shared, **limit)
        return genai.Client(api_key=KEY, http_options=options)

    async def raw(settings: Settings, fmt: str) -> str:
        made = client(settings).aio
        try:
            words = [chunk.text or "" async for chunk in await made.models.generate_content_stream(**PARAMS[fmt])]
            return "".join(words)
        finally:
            await made.aclose()

    async def plain(settings: Settings, fmt: str) -> str:
        made = client(settings).aio
        try:
            return str((await made.models.generate_content(**PARAMS[fmt])).text or "")
        finally:
            await made.aclose()

    return Peer({"raw": raw}, plain, (errors.APIError,))


PEERS: Mapping[str, Callable[[], Peer]] = {
    "dgrid_async": dgrid_async_peer,
    "openai": openai_peer,
    "anthropic": anthropic_peer,
    "google-genai": google_genai_peer,
}

# --------------------------------------------------------------------------------------------------------------- judging


def chosen(client: str, pattern: str) -> list[tuple[int, Fault, str, str]]:
    """Return a client's cases with their numbers: fault, format, mode.

    Cases that call twice over one client are left out: the peers are given a new client for each case.
    """
    wanted = re.compile(pattern)
    return [
        (number, fault, fmt.name, mode)
        for number, (fault, fmt, mode) in enumerate(cases())
        if fmt.name in FORMATS[client] and not fault.warmup and wanted.search(fault.name)
    ]


def verdict(expect: Expect, outcome: Any, family: tuple[type[BaseException], ...]) -> str:
    """Return "survived", or in a few words why not."""
    if isinstance(outcome, BaseException):
        if isinstance(outcome, TimeoutError) and not isinstance(outcome, family) and "hang" in outcome.args:
            return "hang"
        if not isinstance(outcome, family):
            return f"foreign error: {type(outcome).__module__.partition('.')[0]}.{type(outcome).__name__}"
        return "an error where a reply is due" if expect.outcome == "reply" else "survived"
    if expect.outcome == "error":
        return "a reply where an error is due" if outcome else "an empty reply where an error is due"
    return "survived" if expect.text is None or outcome == expect.text else "wrong text"


async def attempted(peer: Peer, reading: Reading, fault: Fault, settings: Settings, fmt: str) -> str:
    """Return what became of one reading of one case."""
    limit = min(MOST_SECONDS, 2 * fault.expect.seconds + SLACK_SECONDS)
    outcome: Any
    try:
        async with asyncio.timeout(limit) as clock:
            try:
                outcome = await reading(settings, fmt)
            except Exception as error:  # noqa: BLE001 -- its class is what is judged
                outcome = error
    except TimeoutError:
        outcome = TimeoutError("hang")
    if clock.expired():
        outcome = TimeoutError("hang")
    return verdict(fault.expect, outcome, peer.family)


async def work(client: str, pattern: str, ports: Mapping[str, Any]) -> None:
    """Run a client's cases and print a line of JSON for each."""
    peer = PEERS[client]()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the SDKs' own leftovers are not judged

    async def one(gate: asyncio.Semaphore, turn: int, case: tuple[int, Fault, str, str]) -> dict[str, Any]:
        number, fault, fmt, mode = case
        port = ports["port"] if fault.listener == "main" else ports[fault.listener]
        options = fault.expect.options
        limits = [limit for limit in options.get("timeouts", {}).values() if limit is not None]
        readings = peer.stream if mode == "stream" else {"plain": peer.plain}
        told = {}
        async with gate:
            for name, reading in readings.items():
                url = f"http://127.0.0.1:{port}/{fault.name}~{client}-{number}-{name}-{turn}"
                attempts = options.get("retries", {}).get("max_attempts", 3)
                settings = Settings(url, attempts, min(limits, default=None), options)
                told[name] = await attempted(peer, reading, fault, settings, fmt)
                if told[name] == "survived":
                    break
        best = "survived" if "survived" in told.values() else next(iter(told.values()))
        line = {"fault": fault.name, "group": fault.group, "format": fmt, "mode": mode, "verdict": best, "readings": told}
        print(json.dumps(line), flush=True)
        return line

    todo = chosen(client, pattern)
    large = asyncio.Semaphore(LARGE_AT_ONCE)
    for turn, at_once in enumerate((AT_ONCE, AGAIN_AT_ONCE)):
        gate = asyncio.Semaphore(at_once)
        lines = await asyncio.gather(*(one(large if case[1].group == "size" else gate, turn, case) for case in todo))
        todo = [case for case, line in zip(todo, lines, strict=True) if "hang" in line["readings"].values()]


# ---------------------------------------------------------------------------------------------------------------- running


def measured(client: str, pattern: str, seconds: float) -> list[dict[str, Any]]:
    """Return a line for each of a client's cases, from processes of their own; a case that was not told is a hang."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    if server.stdin is None or server.stdout is None:
        raise RuntimeError("no pipes to the server")
    try:
        ports = server.stdout.readline()
        command = [sys.executable, "-m", "benchmarks.faults", "--worker", client, "--ports", ports, "--only", pattern]
        try:
            run = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=seconds, check=False)
            output, failed = run.stdout, run.returncode and run.stderr.decode("utf-8", "replace")[-2000:]
        except subprocess.TimeoutExpired as error:
            output, failed = error.stdout or b"", ""
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait()
    if failed:
        print(f"{client}: {failed}", file=sys.stderr)
    found = {}
    for line in output.decode("utf-8", "replace").splitlines():
        if line.startswith('{"fault"'):
            case = json.loads(line)
            found[case["fault"], case["format"], case["mode"]] = case
    return [
        found.get((fault.name, fmt, mode))
        or {"fault": fault.name, "group": fault.group, "format": fmt, "mode": mode, "verdict": "not told", "readings": {}}
        for _, fault, fmt, mode in chosen(client, pattern)
    ]


def version(client: str) -> str:
    """Return a client's version."""
    if client == "dgrid_async":
        from dgrid_async import __version__

        return __version__
    return importlib.metadata.version(client)


def markdown(clients: Mapping[str, Any]) -> str:
    """Return the results as Markdown: a row a group, a column a client and a format; and why cases were not survived."""
    tables = []
    columns = [(client, fmt) for client, result in clients.items() for fmt in _formats(result["cases"])]
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    groups: dict[str, None] = {}
    for client, result in clients.items():
        for case in result["cases"]:
            for group in (case["group"], "**all**"):
                count = counts[client, case["format"], group]
                count[0] += case["verdict"] == "survived"
                count[1] += 1
            groups[case["group"]] = None
    rows = [
        ["Faults survived", *(f"{client} {clients[client]['version']}, {fmt}" for client, fmt in columns)],
        ["---", *("---:" for _ in columns)],
        *([group, *(_share(counts[client, fmt, group]) for client, fmt in columns)] for group in [*groups, "**all**"]),
    ]
    tables.append("".join("| " + " | ".join(row) + " |\n" for row in rows))
    for client, result in clients.items():
        why: dict[str, int] = defaultdict(int)
        for case in result["cases"]:
            why[case["verdict"]] += case["verdict"] != "survived"
        worst = sorted(((number, words) for words, number in why.items() if number), reverse=True)[:8]
        if worst:
            tables.append(f"{client}: " + ", ".join(f"{words} ({number})" for number, words in worst) + ".\n")
    return "\n".join(tables)


def condensed(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client's result with those cases alone that it did not survive, and the counts of each format."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case in result["cases"]:
        counts[case["format"]][0] += case["verdict"] == "survived"
        counts[case["format"]][1] += 1
    failed = [
        f"{case['fault']}, {case['format']}, {case['mode']}: "
        + "; ".join(f"{name}: {words}" for name, words in case["readings"].items())
        for case in result["cases"]
        if case["verdict"] != "survived"
    ]
    facts = {name: result[name] for name in ("version", "survived", "of")}
    return {**facts, "formats": {fmt: {"survived": s, "of": n} for fmt, (s, n) in counts.items()}, "not_survived": failed}


def _formats(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(case["format"] for case in found))


def _share(count: list[int]) -> str:
    survived, number = count
    return f"{survived}/{number} ({100 * survived / number:.0f} %)" if number else "-"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--only", default=".", help="a regular expression that a fault's name must match")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=CLIENT_SECONDS, help="the most for one client")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of faults.json and faults.md")
    parser.add_argument("--worker", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--ports", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        warnings.simplefilter("ignore")
        asyncio.run(work(options.worker, options.only, json.loads(options.ports)))
        return 0
    results: dict[str, Any] = {}
    for client in options.clients:
        if not installed(client):
            print(f"{client}: left out, for it is not installed (extra `peers`)")
            continue
        begun = time.monotonic()
        found = measured(client, options.only, options.seconds)
        survived = sum(case["verdict"] == "survived" for case in found)
        print(f"{client} {version(client)}: {_share([survived, len(found)])} in {time.monotonic() - begun:.0f} s", flush=True)
        results[client] = {"version": version(client), "survived": survived, "of": len(found), "cases": found}
    if not any(result["of"] for result in results.values()):
        print(f"no fault matches {options.only!r}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    record = {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "only": options.only,
        "clients": {client: condensed(result) for client, result in results.items()},
    }
    (options.out / "faults.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.out / "faults.md").write_text(markdown(results))
    print("\n" + markdown(results))
    return 0


def installed(client: str) -> bool:
    """Return whether a client can be imported."""
    try:
        return importlib.util.find_spec(MODULES.get(client, client)) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
