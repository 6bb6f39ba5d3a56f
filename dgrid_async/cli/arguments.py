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
    _add_chat(commands)
    _add_demo(commands)
    _add_emulate(commands)
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


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text}: ports go from 0 to {_LAST_PORT}")
    return value


# What argparse calls a value that these refuse: "invalid number value: 'x'".
for _type, _name in (
    (_number, "number"),
    (_seconds, "number"),
    (_wait, "number"),
    (_count, "integer"),
    (_port, "port"),
):
    _type.__name__ = _name
