"""Every module has the test module that its place in the tree says."""

from __future__ import annotations

from pathlib import Path

import pytest

import dgrid_async

ROOT = Path(__file__).parents[2]
PACKAGE = Path(dgrid_async.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def mirrors(module: Path) -> list[Path]:
    """Return where the tests of a module may stand: beside its path, or for a package of modules, in the package's own."""
    name = "test_main.py" if module.name == "__main__.py" else f"test_{module.name}"
    found = [ROOT / "tests" / module.with_name(name)]
    if module.parent.name:
        found.append(ROOT / "tests" / module.parent.with_name(f"test_{module.parent.name}.py"))
    return found


def test_there_are_modules() -> None:
    assert Path("stream.py") in MODULES


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_has_its_test(module: Path) -> None:
    assert any(path.exists() for path in mirrors(module)), f"no test for {module}: write {mirrors(module)[0]}"
