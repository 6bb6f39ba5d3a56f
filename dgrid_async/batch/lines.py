"""The input of a batch: a file's lines, each one a request or what is wrong with it, and the fingerprint of the whole.

A line is known by its number in the file, counted from 1, blank ones included. Nothing is held but the block in hand and, to
find repeated ids, 16 bits a line and 4 MiB at least: a Bloom filter tells the ids that may have come before, and only those are
compared.
Files are read in blocks of whole lines. Where every line of a block begins with its custom_id, as lines mostly do, the survey
takes the ids without decoding; any block in doubt is decoded.

It reads files, blocking, for `job` to call in a thread; it sends and writes nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import zlib
from array import array
from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import orjson

from dgrid_async import codec
from dgrid_async.errors import ConfigError
from dgrid_async.request import URLS, Request, checked

__all__ = ["MOST_BYTES", "BadLine", "Line", "Survey", "Unread", "check_endpoint", "parse", "read", "survey", "unread"]

Unread: TypeAlias = tuple[int, bytes | None]
"""A line that was not looked into: its number and its text, None where that is too long."""

# Above what any of the formats takes in one request (50 MB), so that the gateway refuses what is too large for it.
MOST_BYTES = 64 * 1024 * 1024

_BUFFER = 256 * 1024
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
# With 16 bits a line, one new id in two hundred looks like one that came before. With the least, of a hundred thousand none is
# likely to, and then the file is not read a second time.
_BITS, _LEAST_BITS = 16, 4 * 1024 * 1024 * 8
# So wide are the words of the filter: Python computes with what has 30 bits at a quarter of the cost of more.
_MASKS, _WIDE = 1024, 30
# What gzip saves on lines of JSON that are much alike.
_RATIO = 8
_WORD, _GOLDEN = 0xFFFF_FFFF_FFFF_FFFF, 0x9E37_79B9_7F4A_7C15
# Bytes that show how long lines are.
_SAMPLE = 65536
_POST = "POST"


@attrs.define  # pyright: ignore[reportGeneralTypeIssues]  # unfrozen by its last lines
class Line(Request):
    """One line as the request that it is; its custom_id is its number where the file gives none.

    Attributes:
        number: Its place in the file, from 1.
    """

    number: int = 0
    # Not frozen, as other requests are: to fill a frozen one costs a line a twentieth more. A plain store needs both.
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


@attrs.frozen
class BadLine:
    """One line that cannot be sent.

    Attributes:
        number: Its place in the file, from 1.
        custom_id: As a line's; None where it cannot be read.
        problem: What is wrong with it.
    """

    number: int
    custom_id: str | None
    problem: str


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
        tick: Called every quarter of a megabyte with the number of lines read; what it raises ends the survey.

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
        suspects: set[bytes] = set()
        number = 0

        def see(piece: bytes) -> None:
            digest.update(piece)
            tick(number)

        for block in _blocks(file, most, see):
            if block is None:
                filled[number % shards] += 1
                number += 1
                continue
            texts = _split(block)
            count = len(texts)
            names: Iterable[bytes] | None = _first_ids(block, count) if endpoint is None else _each_opens(block, count)
            if names is not None:  # then no line is blank
                for shard in range(shards):
                    filled[shard] += (number + count - 1 - shard) // shards - (number - 1 - shard) // shards
            else:
                for place, text in enumerate(texts, number):
                    filled[place % shards] += not text.isspace()
                names = filter(None, map(_id_of, texts)) if endpoint is None else ()
            suspects.update(seen.add(names))
            number += count
    del seen  # the second reading takes room of its own
    repeats = tuple(_repeats(path, suspects, most, tick)) if suspects else ()
    return Survey(state.st_size, state.st_mtime_ns, digest.hexdigest(), number, tuple(filled), repeats)


def read(
    path: Path,
    *,
    endpoint: str | None = None,
    shard: int = 0,
    shards: int = 1,
    done: Container[int] | None = None,
    repeats: Collection[int] = (),
    most: int = MOST_BYTES,
) -> Generator[Line | BadLine]:
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
    for some in unread(path, shard=shard, shards=shards, done=done, most=most):
        for number, text in some:
            yield parse(number, text, endpoint, repeated=number in again)


def unread(
    path: Path, *, shard: int = 0, shards: int = 1, done: Container[int] | None = None, most: int = MOST_BYTES
) -> Generator[list[Unread]]:
    """Yield the lines of one shard that are not done, a block at a time; of one that is done, the list is empty.

    Args:
        path: The file.
        shard: Which shard, from 0.
        shards: How many there are.
        done: Numbers that are left out.
        most: The most bytes of a line.

    Raises:
        ConfigError: The file cannot be read.
    """
    with _opened(path) as file:
        number = 1
        for block in _blocks(file, most):
            texts: Sequence[bytes | None] = (None,) if block is None else _split(block)
            first = (shard + 1 - number) % shards
            numbers = range(number + first, number + len(texts), shards)
            yield [
                (n, text)
                for n, text in zip(numbers, texts[first::shards], strict=True)
                if (done is None or n not in done) and (text is None or not text.isspace())
            ]
            number += len(texts)


def check_endpoint(url: str) -> None:
    """Raise a ConfigError unless this is the address of an endpoint."""
    gemini = url.startswith("/v1/models/") and url.endswith((":generateContent", ":streamGenerateContent"))
    if url not in URLS and not gemini:
        raise ConfigError(f"endpoint={url!r}: give one of {', '.join(URLS)}")


def parse(number: int, text: bytes | None, endpoint: str | None, *, repeated: bool = False) -> Line | BadLine:
    """Return a line that holds something as the request that it is, or with what is wrong.

    Args:
        number: Its place in the file, from 1.
        text: The line; None stands for one that is too long.
        endpoint: As for `read`.
        repeated: Whether an earlier line has its custom_id.
    """
    custom_id: str | None = None if endpoint is None else str(number)
    if text is None:
        return BadLine(number, None, f"the line is longer than {MOST_BYTES} bytes")
    try:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = _value(text)
        if type(value) is not dict:
            raise ConfigError(f"a {'line' if endpoint is None else 'body'} is a JSON object, not a {type(value).__name__}")
        url: Any = endpoint
        body: Any = value
        if endpoint is None:
            get = value.get
            name = get("custom_id")
            if type(name) is not str or not name:
                raise ConfigError("the line has no custom_id, a string that names it")
            custom_id = name
            if repeated:
                raise ConfigError(f"an earlier line has the custom_id {name!r}")
            if (method := get("method", _POST)) != _POST:
                raise ConfigError(f"method={method!r}: every endpoint takes POST")
            if type(url := get("url")) is not str:
                raise ConfigError(f"the line has no url: give one of {', '.join(URLS)}")
            if type(body := get("body")) is not dict:
                if "body" in value:
                    raise ConfigError(f"a body is a JSON object, not a {type(body).__name__}")
                body = {}
        # Filled by hand: its __init__ would copy the body and check once more what is checked here.
        line = Line.__new__(Line)
        fill: Any = line  # to the checkers its base is frozen
        fill.endpoint, fill.stream = checked(url, body)
    except ConfigError as error:
        return BadLine(number, custom_id, error.message)
    except ValueError as error:
        return BadLine(number, custom_id, f"the line is no JSON: {error}")
    fill.number, fill.custom_id, fill.params = number, custom_id, body
    return line


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


def _blocks(file: io.BufferedReader[Any], most: int, see: Callable[[bytes], object] = lambda _: None) -> Iterator[bytes | None]:
    """Yield a file in blocks of whole lines; None in place of a line above the bound, which is not held."""
    size = min(_BUFFER, most)  # so that only the line that a block cuts can be above it
    while block := file.read(size):
        see(block)
        if block.endswith(b"\n"):
            yield block
            continue
        start = block.rfind(b"\n") + 1
        rest = file.readline(most + 2 - (len(block) - start))  # with its line end
        see(rest)
        long = len(block) - start + len(rest)
        if long <= most or long - len(rest) + len(rest.rstrip(b"\r\n")) <= most:
            yield block + rest
            continue
        while not rest.endswith(b"\n") and (rest := file.readline(_BUFFER)):
            see(rest)
        if start:
            yield block[:start]
        yield None


def _split(block: bytes) -> list[bytes]:
    """Return the lines of a block with their ends; this way takes a third of the time that `split` takes, or `count`."""
    return io.BytesIO(block).readlines()


_FIRST_ID = re.compile(rb'\n\{"custom_id": ?"([^"\\\n]+)"')
# Letters that somebody escaped: a key may be spelt with them.
_LETTERS = (b"\\u005", b"\\u006", b"\\u007")


def _first_ids(block: bytes, count: int) -> list[bytes] | None:
    """Return the custom_id of each line, in UTF-8, where all are plain to see and there can be no others; or None."""
    if block.count(b"custom_id") != count:
        return None
    # Most blocks hold no backslash at all, and one byte is sought at a fiftieth of the time of four.
    if b"\\" in block and b"\\u00" in block and any(letter in block for letter in _LETTERS):
        return None
    names: list[bytes] = _FIRST_ID.findall(b"\n" + block)
    return names if len(names) == count else None


def _each_opens(block: bytes, count: int) -> tuple[()] | None:
    """Return no ids where each line holds something, by its brace; or None where that is not plain to see."""
    return () if block.count(b"\n{") + block.startswith(b"{") == count else None


@cache
def _masks() -> list[int]:
    """Return words of three bits each."""
    mixed = [n * _GOLDEN & _WORD for n in range(1, _MASKS + 1)]
    return [sum({1 << (value >> shift) % _WIDE for shift in (24, 34, 44)}) for value in mixed]


class _Seen:
    """Which ids have come; it may say so of one that has not, never the other way round.

    Args:
        expected: About how many there will be.
    """

    def __init__(self, expected: int) -> None:
        # Six bits of one word each: one look and one write a name.
        self._words = array("I", (0,)) * (max(expected * _BITS, _LEAST_BITS) // 32)

    def add(self, names: Iterable[bytes]) -> list[bytes]:
        """Take some in, and return those that may have come before."""
        words, masks, suspects = self._words, _masks(), []
        size, last = len(words), _MASKS - 1
        for name in names:
            # Hashes differ from process to process, and live no longer than this.
            value = hash(name)
            high, place = value >> 40, value % size
            mask, word = masks[high & last] | masks[high >> 10 & last], words[place]
            if word & mask == mask:
                suspects.append(name)
            else:
                words[place] = word | mask
        return suspects


def _repeats(path: Path, suspects: Collection[bytes], most: int, tick: Callable[[int], None]) -> Iterator[int]:
    seen: set[bytes] = set()
    number = 1

    def see(_piece: bytes) -> None:
        tick(number)

    with _opened(path) as file:
        for block in _blocks(file, most, see):
            count = 1
            if block is not None:
                texts = _split(block)
                count = len(texts)
                names = _first_ids(block, count)
                places: Collection[int] = range(count)
                if names is not None:
                    places = [place for place, name in enumerate(names) if name in suspects]
                for place in places:
                    # A line that is no JSON has no id, whatever it looks like.
                    if (name := _id_of(texts[place])) is None or name not in suspects:
                        continue
                    if name in seen:
                        yield number + place
                    seen.add(name)
            number += count


def _id_of(text: bytes) -> bytes | None:
    if text.isspace():
        return None
    try:
        name = _value(text)["custom_id"]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return name.encode("utf-8", "surrogatepass") if isinstance(name, str) else None


def _value(text: bytes) -> Any:
    """Return the value of a line. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        text = text.removesuffix(b"\n")  # which would put what is wrong at its end into a second line
    try:
        text.decode()
    except UnicodeDecodeError as error:
        # The codec would mend it, and the model be asked something else than the file says.
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    return codec.decode(text)
