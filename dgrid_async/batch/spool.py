"""An input that comes by a pipe, kept in a file: a batch reads its input more than once, and again when it is resumed.

It reads and writes bytes, blocking, and knows nothing of what they say.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from dgrid_async.errors import ConfigError

__all__ = ["spool"]

_BUFFER = 1024 * 1024


def spool(source: BinaryIO, path: Path) -> None:
    """Copy a pipe into a file, whole; where the file is there already, check that the pipe brings the same again.

    Args:
        source: Read to its end.
        path: The file.

    Raises:
        ConfigError: The pipe brings something else than the last time, or the file cannot be read or written.
    """
    try:
        if path.exists():
            with path.open("rb") as kept:
                while block := source.read(_BUFFER):
                    if kept.read(len(block)) != block:
                        raise _changed(path)
                if kept.read(1):
                    raise _changed(path)
            return
        draft = path.with_name(path.name + ".new")
        try:
            with draft.open("wb") as file:
                while block := source.read(_BUFFER):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot copy the input to {path}: {error.strerror or error}") from error


def _changed(path: Path) -> ConfigError:
    return ConfigError(f"the input is not the one that {path} was copied from: give another output, or delete the old files")
