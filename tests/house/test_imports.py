"""Every module can be imported first, alone, in a fresh process, with warnings as errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dgrid_async

PACKAGE = Path(dgrid_async.__file__).parent
NAMES = sorted(
    ".".join(["dgrid_async", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_module_imports_alone(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {name}"], capture_output=True, text=True, timeout=20, check=False
    )
    assert run.returncode == 0, run.stderr
