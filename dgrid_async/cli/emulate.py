"""`emulate`: the emulator of the gateway, alone, until a signal ends it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from dgrid_async.cli.exits import Exit
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.terminal import Terminal
from dgrid_async.emulator import Script, serve
from dgrid_async.errors import ConfigError

__all__ = ["run"]

_HINT = """\
The emulator of the gateway listens there; any key will do. To point a client at it:

  export DGRID_BASE_URL={url} DGRID_API_KEY=any
  dgrid-async chat -m openai/gpt-4o "Hello"

Ctrl-C stops it."""


def run(arguments: argparse.Namespace, terminal: Terminal, interrupts: Interrupts) -> int:
    """Run the emulator until a signal comes.

    Raises:
        ConfigError: The script is none, or the address cannot be had.
        KeyboardInterrupt: The signal has come.
    """
    scripts = [Script()] if arguments.script is None else _read(Path(arguments.script))
    if arguments.pace is not None:
        scripts = [dataclasses.replace(script, pace=arguments.pace) for script in scripts]

    def greet(url: str) -> None:
        terminal.write(url + "\n")
        terminal.note(_HINT.format(url=url))

    return interrupts.run(_serve(arguments, scripts, greet))


async def _serve(arguments: argparse.Namespace, scripts: list[Script], greet: Any) -> int:
    listening = False

    def on_start(url: str) -> None:
        nonlocal listening
        listening = True
        greet(url)

    try:
        await serve(arguments.host, arguments.port, scripts, on_start)
    except OSError as error:
        if listening:
            raise
        raise ConfigError(f"cannot listen on {arguments.host}, port {arguments.port}: {error.strerror or error}") from error
    return Exit.OK


def _read(path: Path) -> list[Script]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    items = data if isinstance(data, list) else [data]
    if not items:
        raise ConfigError(f"{path}: a list of scripts needs one at least")
    try:
        return [Script.from_dict(item) for item in items]
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
