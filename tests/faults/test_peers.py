"""The comparison with the official SDKs judges as it says, and can be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import faults as comparison
from tests.faults.fault import Expect

FAMILY = (LookupError,)
REPLY, ERROR = Expect(text="Hello"), Expect(outcome="error", error=("DGridError",), text=None)
EITHER = Expect(outcome="either", error=("DGridError",), text="Hello")


@pytest.mark.parametrize(
    ("expect", "outcome", "verdict"),
    [
        (REPLY, "Hello", "survived"),
        (REPLY, "Hell", "wrong text"),
        (REPLY, KeyError(), "an error where a reply is due"),
        (REPLY, ValueError(), "foreign error: builtins.ValueError"),
        (ERROR, KeyError(), "survived"),
        (ERROR, "Hell", "a reply where an error is due"),
        (ERROR, "", "an empty reply where an error is due"),
        (ERROR, TimeoutError(), "foreign error: builtins.TimeoutError"),
        (ERROR, TimeoutError("hang"), "hang"),
        (EITHER, "Hello", "survived"),
        (EITHER, KeyError(), "survived"),
        (EITHER, "Hell", "wrong text"),
    ],
)
def test_what_surviving_means(expect: Expect, outcome: Any, verdict: str) -> None:
    assert comparison.verdict(expect, outcome, FAMILY) == verdict


@pytest.mark.slow
def test_this_client_survives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = "^(closed-before-any-byte|empty-stream|comments)$"
    status = comparison.main(["--only", pattern, "--clients", "dgrid_async", "--seconds", "15", "--out", str(tmp_path)])
    assert status == 0, capsys.readouterr().out
    ours = json.loads((tmp_path / "faults.json").read_text())["clients"]["dgrid_async"]
    assert ours["survived"] == ours["of"] >= 9
    assert ours["not_survived"] == []
    assert "(100 %)" in (tmp_path / "faults.md").read_text()


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    assert comparison.main(["--only", "^nothing$", "--clients", "dgrid_async", "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.peers
@pytest.mark.timeout(90)
@pytest.mark.parametrize(("client", "lost"), [("openai", 2), ("anthropic", 1), ("google-genai", 1)])
def test_the_official_clients_take_part(client: str, lost: int, tmp_path: Path) -> None:
    if not comparison.installed(client):
        pytest.skip("the vendors' SDKs are the extra [peers]")
    arguments = ["--only", "^(gzip|empty-stream)$", "--clients", client, "--seconds", "60", "--out", str(tmp_path)]
    assert comparison.main(arguments) == 0
    theirs = json.loads((tmp_path / "faults.json").read_text())["clients"][client]
    # They read a compressed reply, and take a stream of nothing for an empty answer.
    assert theirs["of"] - theirs["survived"] == lost
    assert all(words.startswith("empty-stream") for words in theirs["not_survived"])
