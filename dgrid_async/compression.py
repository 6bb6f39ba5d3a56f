"""Decompresses an answer's body as it comes, in steps of bounded size.

It never reads, waits or looks at a clock: bytes go in, at most one step of bytes comes out, and `pending` says that more would.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any, cast

from dgrid_async import failures
from dgrid_async.errors import APIConnectionError, DGridError, UnexpectedResponseError

__all__ = ["STEP_BYTES", "Inflater"]

# One step, in bytes: bounds memory and the time that the loop is held, whatever the ratio.
STEP_BYTES = 256 * 1024
# So many steps are made of what a lost connection left: it is no place to wait.
_LAST_STEPS = 8
_MAGIC = b"\x1f"
_ZLIB, _METHOD_BITS = 8, 0x8F


class Inflater:
    """The decompressor of one body.

    Args:
        encoding: The Content-Encoding header, in lower case.
        secret: The API key, to be taken out of what an error shows.

    Source: RFC 9110, 8.4.1; RFC 1950 to 1952.
    """

    def __init__(self, encoding: str, *, secret: str | None = None) -> None:
        self._encoding = encoding
        self._secret = secret
        self._gzip = encoding in {"gzip", "x-gzip"}
        # The mutable state: the decompressor, what it has not taken yet, and whether the body goes on behind its end.
        self._inflate: Any = None
        self._rest = b""
        self._over = False

    @property
    def pending(self) -> bool:
        """Whether `feed(b"")` would give more."""
        return bool(self._rest)

    def feed(self, chunk: bytes) -> bytes:
        """Return the next decompressed bytes, at most `STEP_BYTES` of them; none may be ready yet.

        Raises:
            UnexpectedResponseError: The bytes are not in the encoding, or it is not known.
        """
        if not self._gzip and self._encoding != "deflate":
            raise UnexpectedResponseError(
                f"the answer is in content encoding {self._encoding!r}, which was not asked for and cannot be decoded"
            )
        data, self._rest = self._rest + chunk, b""
        if self._inflate is not None and self._inflate.eof:
            data = self._next_member(data)
        if not data:
            return b""
        if self._inflate is None:
            self._inflate = zlib.decompressobj(self._window(data[0]))
        try:
            step = cast("bytes", self._inflate.decompress(data, STEP_BYTES))
        except zlib.error as error:
            raise UnexpectedResponseError(
                f"the answer is no valid {self._encoding}, which its content-encoding header names: {error}",
                excerpt=failures.excerpt(data, secret=self._secret),
            ) from error
        self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
        return step

    def end(self) -> None:
        """Take in that the body is over.

        Raises:
            APIConnectionError: It ended inside the encoding.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise APIConnectionError(f"the answer ended inside its {self._encoding} encoding")

    def last(self, chunk: bytes) -> bytes:
        """Return what these last bytes hold, as far as they can be decoded; whoever reads has failed already."""
        steps = []
        with suppress(DGridError):
            for _ in range(_LAST_STEPS):
                steps.append(self.feed(chunk))
                chunk = b""
        return b"".join(steps)

    def _next_member(self, data: bytes) -> bytes:
        """Return what is to be decompressed behind the end of a member: a gzip body may be several, zeros between them.

        Anything else there means nothing, and nothing of it is kept.
        """
        data = data.lstrip(b"\0") if self._gzip and not self._over else b""
        if data.startswith(_MAGIC):
            self._inflate = None
            return data
        self._over = self._over or bool(data)
        return b""

    def _window(self, first: int) -> int:
        if self._gzip:
            return 16 + zlib.MAX_WBITS
        # "deflate" means zlib's wrapping, but servers send it bare as well: no bare body begins with zlib's first byte.
        return zlib.MAX_WBITS if first & _METHOD_BITS == _ZLIB else -zlib.MAX_WBITS
