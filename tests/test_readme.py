"""Every snippet and command of the README runs as it stands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from dgrid_async.emulator import Emulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) for line in block.splitlines()]
# What installs packages or runs this very suite is run by .ci/run, which reads it from here.
COMMANDS = [line for line in LINES if not line.startswith("pip install")]


async def run(emulator: Emulator, *command: str) -> tuple[int, str, str]:
    """Run a command as a reader would: with a key and the gateway's address in the environment."""
    environment = {
        **os.environ,
        "DGRID_API_KEY": "any-key",
        "DGRID_BASE_URL": emulator.url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "error",
    }
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=ROOT
    )
    out, err = await asyncio.wait_for(process.communicate(), 15)
    return process.returncode or 0, out.decode(), err.decode()


def test_first_example_is_within_thirty_lines() -> None:
    assert "stream(" in "\n".join(README.splitlines()[:30])
    assert len(SNIPPETS) >= 5


def test_first_commands_are_those_that_ci_reads() -> None:
    assert LINES[:2] == ["pip install . && dgrid-async demo", "pip install '.[test]' && pytest"]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
async def test_snippet_runs(snippet: str, emulator: Emulator) -> None:
    code, out, err = await run(emulator, sys.executable, "-c", snippet)
    assert (code, err) == (0, "")
    assert out.strip()


@pytest.mark.parametrize("command", COMMANDS)
async def test_command_runs(command: str, emulator: Emulator) -> None:
    code, out, err = await run(emulator, "bash", "-c", command)
    assert code == 0, err
    assert out.strip()


def test_what_the_clients_survive_is_what_was_counted() -> None:
    clients = json.loads((ROOT / "benchmarks/results/faults.json").read_text())["clients"]
    for name, found in clients.items():
        count, of = found["survived"], found["of"]
        assert f"| {name} {found['version']} | {count} ({100 * count / of:.0f} %) | {of} |" in README
