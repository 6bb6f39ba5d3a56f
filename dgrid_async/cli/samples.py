"""A picture, a sound and a film to demonstrate media with, made in memory; each a whole file of its kind, and tiny."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib

__all__ = ["film", "picture", "sound"]

_SIDE = 32
_RATE = 8000
_RED, _WHITE = (220, 30, 30), (255, 255, 255)


def _disc(middle: float) -> list[list[tuple[int, int, int]]]:
    """Return rows of pixels (red, green, blue): a red disc on white, its middle so many pixels from the left."""
    rows = range(_SIDE)
    inside = [[math.hypot(x - middle, y - _SIDE / 2) < _SIDE / 4 for x in rows] for y in rows]
    return [[_RED if here else _WHITE for here in row] for row in inside]


def picture() -> bytes:
    """Return a PNG of a red disc on white.

    Source: https://www.w3.org/TR/png-3/
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in _disc(_SIDE / 2))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def sound() -> bytes:
    """Return a WAV of a quarter of a second of the note A."""
    samples = (int(12_000 * math.sin(2 * math.pi * 440 * n / _RATE)) for n in range(_RATE // 4))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return buffer.getvalue()


def film() -> bytes:
    """Return an AVI of two seconds, four uncompressed pictures, in which the disc moves from left to right.

    Source: https://learn.microsoft.com/en-us/windows/win32/directshow/avi-riff-file-reference
    """
    # The format wants rows from the bottom up and pixels as blue, green, red.
    frames = [
        b"".join(bytes(value for pixel in row for value in reversed(pixel)) for row in reversed(_disc(middle)))
        for middle in (8, 13, 19, 24)
    ]
    size, micros = len(frames[0]), 500_000
    main = struct.pack("<14I", micros, size * 2, 0, 0x10, len(frames), 0, 1, size, _SIDE, _SIDE, 0, 0, 0, 0)
    stream = struct.pack(
        "<4s4sIHHIIIIIIII4H", b"vids", b"DIB ", 0, 0, 0, 0, 1, 2, 0, len(frames), size, 0, size, 0, 0, _SIDE, _SIDE
    )
    bitmap = struct.pack("<IiiHHIIiiII", 40, _SIDE, _SIDE, 1, 24, 0, size, 0, 0, 0, 0)
    header = _list(b"hdrl", _box(b"avih", main) + _list(b"strl", _box(b"strh", stream) + _box(b"strf", bitmap)))
    movie = _list(b"movi", b"".join(_box(b"00db", frame) for frame in frames))
    # Places are counted from the word "movi" on.
    index = b"".join(struct.pack("<4sIII", b"00db", 0x10, 4 + n * (size + 8), size) for n in range(len(frames)))
    return _box(b"RIFF", b"AVI " + header + movie + _box(b"idx1", index))


def _box(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(kind: bytes, data: bytes) -> bytes:
    return _box(b"LIST", kind + data)
