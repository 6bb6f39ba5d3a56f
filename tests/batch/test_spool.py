"""An input by a pipe is kept whole, and known again."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from dgrid_async import ConfigError
from dgrid_async.batch.spool import spool


def test_a_pipe_is_kept_and_the_same_again_is_taken(tmp_path: Path) -> None:
    data = b"line\n" * 500_000
    for _ in range(2):
        spool(io.BytesIO(data), tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("other", [b"ab", b"abcd", b"abx", b""])
def test_something_else_is_refused_and_what_is_kept_stays(tmp_path: Path, other: bytes) -> None:
    spool(io.BytesIO(b"abc"), tmp_path / "kept")
    with pytest.raises(ConfigError, match="is not the one"):
        spool(io.BytesIO(other), tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == b"abc"


def test_a_pipe_that_breaks_leaves_nothing_that_counts(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            del size
            raise OSError(5, "Input/output error")

    with pytest.raises(ConfigError, match="cannot copy"):
        spool(Broken(), tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    spool(io.BytesIO(b"x"), tmp_path / "kept")
