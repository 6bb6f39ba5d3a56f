"""The fuzzed functions hold for the inputs that fuzzing begins with, and fail where a promise is broken."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from dgrid_async.sse import SSEDecoder
from tests.fuzz import targets
from tests.fuzz.__main__ import ROOT, TARGET_NAMES


def test_the_names_are_those_of_the_targets() -> None:
    assert set(TARGET_NAMES) == set(targets.TARGETS)


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_seeds_hold(name: str) -> None:
    seeds = targets.seeds(name)
    assert len(seeds) >= 20
    for seed in seeds:
        targets.TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_noise_holds(name: str) -> None:
    dice = random.Random(name)
    seeds, words = targets.seeds(name), targets.words(name)
    for _ in range(100):
        seed = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(seed))
            seed[at : at + dice.randrange(8)] = dice.choice((dice.choice(words), dice.randbytes(2)))
        targets.TARGETS[name](bytes(seed))


def test_chunks_hold_the_whole_input() -> None:
    for start in range(256):
        for step in (0, 1, 60, 255):
            assert b"".join(targets.split(bytes([start, step]) + b"data: hello\n\n")) == b"data: hello\n\n"
    assert len(targets.split(b"\1\0abcd")) == 4


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = SSEDecoder.feed
    monkeypatch.setattr(SSEDecoder, "feed", lambda self, chunk: feed(self, chunk.rstrip(b"}\n") + b"\n\n"))
    with pytest.raises(AssertionError, match="split"):
        targets.decode(b"\1\3" + b'data: {"a": {}}\n\ndata: {}\n\n')


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_short_run(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the fuzzer is the extra [fuzz]")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "5", "--only", "decoder", "messages", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("none fails") == 2
    assert list(tmp_path.iterdir()) == []
