"""What `import dgrid_async` gives, and what it does not load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dgrid_async

ROOT = Path(__file__).parents[1]
HEAVY = (
    "aiohttp",
    "anyio",
    "asyncio",
    "cattrs",
    "orjson",
    "ssl",
    "dgrid_async.client",
    "dgrid_async.stream",
    "dgrid_async.wire",
)


def loaded(code: str) -> set[str]:
    """Return which of the heavy modules a fresh process has after running code."""
    script = f"import sys, json\n{code}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=15, check=True
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_the_package_alone_loads_nothing_heavy() -> None:
    assert loaded("import dgrid_async") == set()


def test_options_and_errors_load_nothing_heavy() -> None:
    code = "from dgrid_async import Timeouts, Retries, Limits, DGridError, __version__\nTimeouts(total=5), Retries(), Limits()"
    assert loaded(code) == set()


def test_a_client_is_made_without_the_http_library() -> None:
    found = loaded("from dgrid_async import AsyncDGrid\nAsyncDGrid('sk-test')")
    assert not found & {"aiohttp", "cattrs"}
    assert "dgrid_async.client" in found


def test_one_format_does_not_load_another() -> None:
    code = "from dgrid_async import messages\nmessages.Message\nassert 'dgrid_async.apis.responses' not in sys.modules"
    assert not loaded(code) & {"aiohttp", "anyio", "dgrid_async.client"}


@pytest.mark.parametrize("name", sorted(dgrid_async.__all__))
def test_each_public_name_is_there_and_listed(name) -> None:
    assert getattr(dgrid_async, name) is not None
    assert name in dir(dgrid_async)


def test_a_name_is_looked_up_once() -> None:
    assert dgrid_async.AsyncDGrid is vars(dgrid_async)["AsyncDGrid"]
    assert dgrid_async.messages is vars(dgrid_async)["messages"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dgrid_async.no_such_name  # noqa: B018 -- the look-up is the test
    with pytest.raises(ImportError):
        from dgrid_async import no_such_name  # noqa: F401


def test_everything_by_star() -> None:
    names: dict[str, object] = {}
    exec("from dgrid_async import *", names)  # noqa: S102 -- there is no other way to write it in a function
    assert set(dgrid_async.__all__) <= names.keys()
