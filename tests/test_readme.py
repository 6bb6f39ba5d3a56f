"""Every snippet and command of the README runs as it stands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Results
from benchmarks.report import aims, loops
from dgrid_async.emulator import Emulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) for line in block.splitlines()]
# What starts a server is run by tests/relay/test_recipes.py; what needs a cluster is slow.
SERVERS = ("web.run_app(", "uvicorn.run(")
SCRIPTS = [
    pytest.param(snippet, id=str(n), marks=[pytest.mark.slow, pytest.mark.timeout(60)] if "dask" in snippet else [])
    for n, snippet in enumerate(SNIPPETS)
    if not any(server in snippet for server in SERVERS)
]
# What installs packages or runs this very suite is run by .ci/run, which reads it from here.
COMMANDS = [line for line in LINES if not line.startswith("pip install")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the reader is: what a command writes, the next ones read."""
    return tmp_path_factory.mktemp("reader")


async def run(emulator: Emulator, folder: Path, *command: str, seconds: float = 15) -> tuple[int, str, str]:
    """Run a command as a reader would: with a key and the gateway's address in the environment."""
    environment = {
        **os.environ,
        "DGRID_API_KEY": "any-key",
        "DGRID_BASE_URL": emulator.url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=folder
    )
    out, err = await asyncio.wait_for(process.communicate(), seconds)
    return process.returncode or 0, out.decode(), err.decode()


def test_first_example_is_within_thirty_lines() -> None:
    assert "stream(" in "\n".join(README.splitlines()[:30])
    assert len(SNIPPETS) >= 5


def test_first_commands_are_those_that_ci_reads() -> None:
    assert LINES[:2] == ["pip install . && dgrid-async demo", "pip install '.[test]' && pytest"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_command_runs(command: str, emulator: Emulator, folder: Path) -> None:
    code, out, err = await run(emulator, folder, "bash", "-c", command)
    assert code == 0, err
    assert out.strip() or ">" in command


@pytest.mark.parametrize("snippet", SCRIPTS)
async def test_snippet_runs(snippet: str, emulator: Emulator, folder: Path) -> None:
    if "dask" in snippet:
        pytest.importorskip("distributed")
        code, out, err = await run(emulator, folder, "bash", "-c", "dgrid-async batch sample > requests.jsonl")
        assert code == 0, err
        (folder / "snippet.py").write_text(snippet)  # workers of a cluster import the program
        code, out, err = await run(emulator, folder, sys.executable, "-W", "default", "snippet.py", seconds=50)
        assert code == 0, err
    else:
        code, out, err = await run(emulator, folder, sys.executable, "-c", snippet)
        assert (code, err) == (0, "")
    assert out.strip()


def test_what_the_clients_survive_is_what_was_counted() -> None:
    clients = json.loads((ROOT / "benchmarks/results/faults.json").read_text())["clients"]
    for name, found in clients.items():
        count, of = found["survived"], found["of"]
        assert f"| {name} {found['version']} | {count} ({100 * count / of:.0f} %) | {of} |" in README


def test_the_figures_are_those_of_the_results_file() -> None:
    (file,) = (path for path in (ROOT / "benchmarks/results").glob("*.json") if path.name != "faults.json")
    results = Results.read(file)
    for name, lines in (("figures", aims(results)), ("loops", loops(results))):
        block = README.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
        assert block.splitlines() == lines
