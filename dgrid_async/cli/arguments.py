"""What can be said on the command line.

It only reads arguments; the commands act on them, each in the module of its name.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from dgrid_async.cli.exits import MEANINGS

__all__ = ["APIS", "DEMONSTRATED", "parser"]

APIS = ("chat", "messages", "responses", "gemini")
DEMONSTRATED = ("messages", "gemini-media", "gemini", "chat", "responses")

_LAST_PORT = 65535


def parser() -> argparse.ArgumentParser:
    """Return the parser; what it returns has the command's name as `command`."""
    root = argparse.ArgumentParser(
        prog="dgrid-async",
        description="Talk to the DGrid AI Gateway in any of its four wire formats, or to an emulator of it.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_batch(commands)
    _add_chat(commands)
    _add_demo(commands)
    _add_emulate(commands)
    _add_web(commands)
    return root


class _Version(argparse.Action):
    """Prints the version; the module that knows it is only then imported."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        del namespace, values, option_string
        from dgrid_async.config import __version__

        sys.stdout.write(f"{parser.prog} {__version__}\n")
        parser.exit()


def _epilog() -> str:
    variables = {
        "DGRID_API_KEY": "the gateway's key",
        "DGRID_BASE_URL": "the gateway's address, if not the public one",
    }
    environment = [f"  {name:<16}{meaning}" for name, meaning in variables.items()]
    codes = [f"  {code:<4d}{meaning}" for code, meaning in MEANINGS.items()]
    return "\n".join(["environment:", *environment, "", "exit codes:", *codes])


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description, allow_abbrev=False)
    return command


def _add_chat(commands: Any) -> None:
    chat = _command(
        commands,
        "chat",
        "ask a model and print its answer as it comes",
        "Ask a model and print its answer as it comes: the answer on stdout, token counts and all else on stderr.",
    )
    add = chat.add_argument
    add(
        "prompt",
        nargs="?",
        default="-",
        metavar="PROMPT",
        help="what to ask; without it, or as -, it is read from stdin",
    )
    add("-m", "--model", required=True, metavar="ID", help="the model, as the gateway lists it")
    add("--api", choices=APIS, default="chat", help="the wire format to use (default: %(default)s)")
    add("--system", metavar="TEXT", help="instructions that stand above the prompt")
    add("--max-tokens", type=_count, metavar="N", help="the most tokens of the answer")
    add("--temperature", type=_number, metavar="T", help="how freely to choose words")
    for kind in ("image", "audio", "video"):
        add(f"--{kind}", action="append", default=[], metavar="PATH", help=f"add a file of this kind: {_TAKERS[kind]}")
    add("--json", action="store_true", help="print each event, or with --no-stream the reply, as one line of JSON")
    add("--reasoning", action="store_true", help="show the reasoning that the gateway sends, on stderr")
    add("--no-stream", dest="stream", action="store_false", help="wait for the whole answer")
    _add_base_url(chat)
    add("--timeout", type=_seconds, metavar="SECONDS", help="the most time for the whole call (default: no limit)")


def _add_batch(commands: Any) -> None:
    batch = _command(
        commands,
        "batch",
        "answer the lines of a file into another, resumable",
        "Answer the lines of a file into another. Killed at any moment and run again, it goes on where it stopped.",
    )
    actions = batch.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_batch_run(actions)
    status = _command(actions, "status", "tell how far a job is", "Tell how far a job is, while it runs or later.")
    status.add_argument("output", metavar="OUT", help="the job's output")
    _add_report(status)
    retry = _command(
        actions,
        "retry-failed",
        "call the lines again that failed",
        "Call the lines again that failed, with new keys, and those that are not done. Their old failures are kept beside.",
    )
    retry.add_argument("output", metavar="OUT", help="the job's output")
    _add_speed(retry)
    _add_report(retry)
    merge = _command(
        actions,
        "merge",
        "make one output of those of several shards",
        "Make one output of those of several shards, in the order of the input.",
    )
    merge.add_argument("shards", nargs="+", metavar="SHARD", help="the output of a shard")
    merge.add_argument("-o", "--output", required=True, metavar="OUT", help="what is made")
    merge.add_argument("--failures", metavar="FILE", help="where the failures go (default: OUT.failures.jsonl)")
    merge.add_argument("--partial", action="store_true", help="take what there is, though lines or shards are missing")
    sample = _command(actions, "sample", "print lines to try it with", "Print lines to try it with, for all four endpoints.")
    sample.add_argument("-n", "--lines", type=_count, default=20, metavar="N", help="how many (default: %(default)s)")


def _add_batch_run(actions: Any) -> None:
    run = _command(
        actions,
        "run",
        "answer the lines of a file",
        'Answer the lines of a file. Each is in the form of OpenAI\'s Batch API, {"custom_id": ..., "method": "POST", "url": '
        '"/v1/messages", "body": {...}}, its url one of the four endpoints; or with --endpoint a body alone. The same command '
        "again goes on where it stopped. Ctrl-C once ends what is in flight, twice stops.",
    )
    add = run.add_argument
    add("input", metavar="IN", help="the lines, plain or .gz; - reads stdin, and keeps it in OUT.input")
    add("-o", "--output", required=True, metavar="OUT", help="where the answers go; OUT.job beside it tells what it belongs to")
    add("--failures", metavar="FILE", help="where lines go that failed (default: OUT.failures.jsonl)")
    add("--endpoint", metavar="URL", help="each line is a body for this, as /v1/messages; its number is its custom_id")
    add("--ordered", action="store_true", help="write the answers in the order of the lines")
    add("--shard", type=_shard, default=(1, 1), metavar="K/N", help="answer every N-th line from the K-th on alone")
    add("--job", metavar="NAME", help="the job's name, which ids and Idempotency-Keys are made of (default: a random one)")
    add("--dry-run", action="store_true", help="tell what would be done, and do nothing")
    _add_speed(run)
    _add_report(run)
    _add_base_url(run)


def _add_speed(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--concurrency", type=_count, metavar="N", help="calls at one time (default: found out by trying)")
    add("--max-concurrency", type=_count, default=256, metavar="N", help="the most to try (default: %(default)s)")
    add("--rpm", type=_rate, metavar="N", help="requests a minute, evenly spaced (default: no limit)")
    add("--tpm", type=_rate, metavar="N", help="tokens a minute (default: no limit)")
    add("--attempts", type=_count, default=6, metavar="N", help="the most attempts of a call (default: %(default)s)")
    add("--timeout", type=_seconds, metavar="SECONDS", help="the most time for a call, retries included (default: no limit)")


def _add_report(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--report", metavar="FILE", help="write the report as JSON as well")
    add("--prices", metavar="FILE", help='JSON of what a million tokens costs: {"MODEL": {"input": 2.5, "output": 10}}')


_TAKERS = {
    "image": "every API takes it; may be repeated",
    "audio": "chat, responses and gemini take it; may be repeated",
    "video": "gemini takes it; may be repeated",
}


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands,
        "demo",
        "run every chat entry of the gateway, plain and streamed",
        "Run every chat entry of the gateway, plain and streamed, and end with a table. Without DGRID_API_KEY and "
        "--base-url it runs on an emulator of its own.",
    )
    demo.add_argument(
        "--only",
        action="append",
        choices=DEMONSTRATED,
        metavar="NAME",
        help=f"one of {', '.join(DEMONSTRATED)}; may be repeated",
    )
    demo.add_argument("-m", "--model", metavar="ID", help="the model, in place of each entry's own")
    _add_base_url(demo)


def _add_emulate(commands: Any) -> None:
    emulate = _command(
        commands,
        "emulate",
        "run the emulator of the gateway until Ctrl-C",
        "Run the emulator of the gateway until Ctrl-C. Its address is the only line on stdout.",
    )
    add = emulate.add_argument
    add("--port", type=_port, default=0, metavar="N", help="the port; 0, the default, takes a free one")
    add("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add("--script", metavar="FILE", help="JSON of one script for all requests, or of a list to play in turn")
    add("--pace", type=_wait, metavar="SECONDS", help="time between two events of a stream, over what a script says")


def _add_web(commands: Any) -> None:
    web = _command(
        commands,
        "web",
        "serve a chat page on this machine until Ctrl-C",
        "Serve a chat page until Ctrl-C; its address is the only line on stdout. The key stays here. Without DGRID_API_KEY and "
        "--base-url the page talks to an emulator.",
    )
    add = web.add_argument
    add("--port", type=_port, default=8765, metavar="N", help="the port; 0 takes a free one (default: %(default)s)")
    add("--host", default="127.0.0.1", help="the address to listen on; others than this machine's own are warned of")
    add("--open", action="store_true", help="open the page in a browser")
    _add_base_url(web)


def _add_base_url(command: argparse.ArgumentParser) -> None:
    command.add_argument("--base-url", metavar="URL", help="the gateway's address (default: DGRID_BASE_URL, or the public one)")


# --------------------------------------------------------------------------------------------------------------- values


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: give seconds above 0")
    return value


def _rate(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0")
    return value


def _wait(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: give seconds from 0 on")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number from 1 on")
    return value


def _shard(text: str) -> tuple[int, int]:
    shard, _, shards = text.partition("/")
    if not (shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text}: give K/N, K from 1 to N")
    return int(shard), int(shards)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text}: ports go from 0 to {_LAST_PORT}")
    return value


# What argparse calls a value that these refuse: "invalid number value: 'x'".
for _type, _name in (
    (_number, "number"),
    (_seconds, "number"),
    (_rate, "number"),
    (_wait, "number"),
    (_count, "integer"),
    (_port, "port"),
):
    _type.__name__ = _name
