"""Every module can be imported first, alone, in a process that has none of the others, with warnings as errors."""

from __future__ import annotations

import json
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
# A fork for each module has what this process has: of what others wrote, the packages that each of them may import anyway.
FORKS = """
import importlib, json, os, sys, traceback
import aiohttp, attrs, cattrs
said = {}
for name in sys.argv[1:]:
    near, far = os.pipe()
    if os.fork() == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            os.write(far, traceback.format_exc()[-4000:].encode())
        os._exit(0)
    os.close(far)
    with os.fdopen(near) as told:
        said[name] = told.read()
    _, status = os.wait()
    said[name] += f"ended by {status}" if status else ""
print(json.dumps([sorted(name for name in sys.modules if name.startswith("dgrid_async")), said]))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """Return what importing each module said; nothing where all is well."""
    command = [sys.executable, "-W", "error", "-c", FORKS, *NAMES]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    already, found = json.loads(run.stdout)
    assert already == []
    return dict(found)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", NAMES)
def test_module_imports_alone(name: str, said: dict[str, str]) -> None:
    assert said[name] == ""
