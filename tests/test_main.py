"""`python -m dgrid_async`."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import dgrid_async
from dgrid_async.config import __version__

HERE = Path(dgrid_async.__file__).parents[1]


def test_is_the_program() -> None:
    def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dgrid_async", *arguments]
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=15, check=False)

    version = ended("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"dgrid-async {__version__}\n", "")
    assert ended("no-such-command").returncode == 2


def test_importing_it_runs_nothing(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dgrid-async", "no-such-command"])
    monkeypatch.delitem(sys.modules, "dgrid_async.__main__", raising=False)
    assert import_module("dgrid_async.__main__").main is import_module("dgrid_async.cli").main
