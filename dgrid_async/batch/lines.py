"""The input of a batch: a file's lines, each one a request or what is wrong with it, and the fingerprint of the whole.

A line is known by its number in the file, counted from 1, blank ones included. Nothing is held but the line in hand and, to
find repeated ids, 16 bits a line: a Bloom filter tells the ids that may have come before, and only those are compared.

It reads files, blocking, for `job` to call in a thread; it sends and writes nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Collection, Container, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson

from dgrid_async import codec
from dgrid_async.errors import ConfigError
from dgrid_async.request import URLS, Request

__all__ = ["MOST_BYTES", "Line", "Survey", "check_endpoint", "read", "survey"]

# Above what any of the formats takes in one request (50 MB), so that the gateway refuses what is too large for it.
MOST_BYTES = 64 * 1024 * 1024

_BUFFER = 1024 * 1024
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
# 16 bits and four probes a line let one new id in four hundred look like one that came before.
_BITS, _PROBES = 16, 4
# What gzip saves on lines of JSON that are much alike.
_RATIO = 8
_WORD = 0xFFFF_FFFF_FFFF_FFFF
# Bytes that show how long lines are.
_SAMPLE = 65536
# Lines between two ticks.
_TICK = 65536
_POST = "POST"


@attrs.define(eq=False)
class Line:
    """One line that holds something.

    Attributes:
        number: Its place in the file, from 1.
        custom_id: The caller's name for it; the line's number where the file gives none; None where it cannot be read.
        request: What to send; None where the line is bad.
        problem: What is wrong with it; None where nothing is.
        bytes: How long it is; 0 where it was not kept.
    """

    number: int
    custom_id: str | None
    request: Request | None
    problem: str | None = None
    bytes: int = 0


@attrs.frozen
class Survey:
    """What a whole input is.

    Attributes:
        bytes: The size of the file, as it lies on the disk.
        mtime_ns: When it was last written, in nanoseconds.
        digest: Of its content, unpacked.
        lines: The number of its last line.
        filled: How many lines hold something, for each of the shards that were asked for.
        repeats: Numbers of the lines whose custom_id an earlier line has, ascending.
    """

    bytes: int
    mtime_ns: int
    digest: str
    lines: int
    filled: tuple[int, ...]
    repeats: tuple[int, ...] = ()


def survey(
    path: Path,
    *,
    endpoint: str | None = None,
    shards: int = 1,
    most: int = MOST_BYTES,
    tick: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Read an input once, and a second time where ids may repeat, and return what it is.

    Args:
        path: The file; gzip is known by its first bytes.
        endpoint: As for `read`; bare bodies have no ids that could repeat.
        shards: Line n belongs to shard (n - 1) % shards.
        most: The most bytes of a line.
        tick: Called now and then with the number of lines read.

    Raises:
        ConfigError: The file cannot be read.
    """
    with _opened(path) as file:
        state = os.fstat(file.fileno())
        # A wrong guess costs comparisons, never an answer.
        sample = file.peek(1)[:_SAMPLE]
        size = state.st_size * (1 if isinstance(file.raw, io.FileIO) else _RATIO)
        seen = _Seen(size * (sample.count(b"\n") + 1) // max(len(sample), 1))
        digest = hashlib.blake2b(digest_size=16)
        filled = [0] * shards
        suspects: set[str] = set()
        number = 0
        for number, line in _raw(file, most, digest.update):
            if line is not None and line.isspace():
                continue
            filled[(number - 1) % shards] += 1
            if not number % _TICK:
                tick(number)
            if endpoint is None and line is not None and (name := _id_of(line)) is not None and seen.add(name):
                suspects.add(name)
    repeats = tuple(_repeats(path, suspects, most)) if suspects else ()
    return Survey(state.st_size, state.st_mtime_ns, digest.hexdigest(), number, tuple(filled), repeats)


def read(
    path: Path,
    *,
    endpoint: str | None = None,
    shard: int = 0,
    shards: int = 1,
    done: Container[int] = (),
    repeats: Collection[int] = (),
    most: int = MOST_BYTES,
) -> Generator[Line]:
    """Yield the lines of one shard that are not done, bad ones with what is wrong.

    Args:
        path: The file.
        endpoint: The address for bare bodies, one a line, whose custom_id is the line's number; None: each line names its own.
        shard: Which shard, from 0.
        shards: How many there are.
        done: Numbers that are left out, unread.
        repeats: Numbers of the lines whose custom_id an earlier line has.
        most: The most bytes of a line.

    Raises:
        ConfigError: The file cannot be read.
    """
    again = frozenset(repeats)
    with _opened(path) as file:
        for number, line in _raw(file, most):
            if (number - 1) % shards != shard or number in done:
                continue
            if line is None:
                yield Line(number, None, None, f"the line is longer than {most} bytes")
            elif not line.isspace():
                yield _line(number, line, endpoint, repeated=number in again)


def check_endpoint(url: str) -> None:
    """Raise a ConfigError unless this is the address of an endpoint."""
    gemini = url.startswith("/v1/models/") and url.endswith((":generateContent", ":streamGenerateContent"))
    if url not in URLS and not gemini:
        raise ConfigError(f"endpoint={url!r}: give one of {', '.join(URLS)}")


def _line(number: int, line: bytes, endpoint: str | None, *, repeated: bool) -> Line:
    custom_id: str | None = None if endpoint is None else str(number)
    try:
        value = _value(line)
        if endpoint is not None:
            return Line(number, custom_id, Request.from_url(endpoint, value, custom_id), None, len(line))
        if not isinstance(value, dict):
            raise ConfigError(f"a line is a JSON object, not a {type(value).__name__}")
        name = value.get("custom_id")
        if not isinstance(name, str) or not name:
            raise ConfigError("the line has no custom_id, a string that names it")
        custom_id = name
        if repeated:
            raise ConfigError(f"an earlier line has the custom_id {name!r}")
        if (method := value.get("method", _POST)) != _POST:
            raise ConfigError(f"method={method!r}: every endpoint takes POST")
        if not isinstance(url := value.get("url"), str):
            raise ConfigError(f"the line has no url: give one of {', '.join(URLS)}")
        return Line(number, name, Request.from_url(url, value.get("body", {}), name), None, len(line))
    except ConfigError as error:
        return Line(number, custom_id, None, error.message)
    except ValueError as error:
        return Line(number, custom_id, None, f"the line is no JSON: {error}")


# ---------------------------------------------------------------------------------------------------------- the file


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader[Any]]:
    """Give the content of a file, unpacked if need be, from behind its byte order mark."""
    try:
        with io.BufferedReader(io.FileIO(path), _BUFFER) as file:
            content: io.BufferedReader[Any] = file
            if file.peek(2)[:2] == _GZIP:
                content = io.BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER)
            if content.peek(3)[:3] == _BOM:
                content.read(3)
            yield content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path} cannot be unpacked: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _raw(
    file: io.BufferedReader[Any], most: int, see: Callable[[bytes], object] | None = None
) -> Iterator[tuple[int, bytes | None]]:
    """Yield every line with its number; None in place of one above the bound, the rest of which is skipped."""
    readline, number = file.readline, 0
    while line := readline(most + 2):  # with its line end
        number += 1
        if see is not None:
            see(line)
        if len(line) <= most or len(line.rstrip(b"\r\n")) <= most:
            yield number, line
            continue
        while not line.endswith(b"\n") and (line := readline(_BUFFER)):
            if see is not None:
                see(line)
        yield number, None


class _Seen:
    """Which ids have come; it may say so of one that has not, never the other way round."""

    def __init__(self, expected: int) -> None:
        self._size = max(expected, 64) * _BITS
        self._bits = bytearray(self._size // 8 + 1)

    def add(self, name: str) -> bool:
        """Take one in, and return whether it may have come before."""
        # Hashes differ from process to process, and live no longer than this.
        value = hash(name) & _WORD
        step = (value >> 32) | 1
        bits, size, known = self._bits, self._size, True
        for _ in range(_PROBES):
            place = value % size
            value += step
            mask = 1 << (place & 7)
            if not bits[place >> 3] & mask:
                bits[place >> 3] |= mask
                known = False
        return known


def _repeats(path: Path, suspects: Collection[str], most: int) -> Iterator[int]:
    seen: set[str] = set()
    with _opened(path) as file:
        for number, line in _raw(file, most):
            if line is None or line.isspace() or (name := _id_of(line)) is None or name not in suspects:
                continue
            if name in seen:
                yield number
            seen.add(name)


def _id_of(line: bytes) -> str | None:
    try:
        name = _value(line)["custom_id"]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return name if isinstance(name, str) else None


def _value(line: bytes) -> Any:
    """Return the value of a line. Raises ValueError."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        line.decode()
    except UnicodeDecodeError as error:
        # The codec would mend it, and the model be asked something else than the file says.
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    return codec.decode(line)
