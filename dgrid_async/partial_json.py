"""JSON that is still arriving: what can be said of its value after each piece.

This module never does I/O, never guesses the rest of an unfinished token and never reads an earlier piece again, however
small the pieces are.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from dgrid_async import codec

__all__ = ["PartialJSON"]

# A value nested deeper could not be encoded again by orjson (254 levels) without the recursion of the standard library.
_MAX_DEPTH = 250

_BLANK = " \t\n\r"
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_WORD = re.compile(r"[-+.0-9A-Za-z]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD_STARTS = "-0123456789tfn"
_NAMES = {"true": True, "false": False, "null": None}

# What may come next, as error messages say it.
_A_VALUE = "a value"
_VALUE_OR_END = "a value or ']'"
_KEY = "a key"
_KEY_OR_END = "a key or '}'"
_COLON = "':'"
_COMMA_OR_END = "',' or the end of the container"
_NOTHING = "nothing"
# What may come where: made once, as each mark asks.
_VALUES = frozenset({_A_VALUE, _VALUE_OR_END})
_KEYS = frozenset({_KEY, _KEY_OR_END})
_STRINGS = _VALUES | _KEYS
_ENDS = frozenset({_COMMA_OR_END, _VALUE_OR_END, _KEY_OR_END})


class PartialJSON:
    """The value of a JSON text that is fed in pieces, wherever it is cut.

    Attributes:
        value: The value so far, None before anything is known of it. A container is there from its first character on
            and holds its complete members only: an unfinished string, number or name is left out, and so is a key
            without its value. These are the live containers, which later pieces change; `copy()` gives ones that they
            do not. Half a character (a lone surrogate) becomes U+FFFD; an integer too long to convert stays the string
            of its digits.
        complete: True once the value is whole. A number outside any container is whole only when something follows it.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.complete = False
        # The mutable state beside these: the open containers, outermost first, each behind its key or place in the one
        # around it, and the innermost of them; what may come next and the key it will have; the pieces of a token cut in
        # two, whether it is a string, and whether it was cut after a backslash; the characters read by earlier calls.
        self._open: list[tuple[Any, Any]] = []
        self._inner: Any = None
        self._expected = _A_VALUE
        self._key: str | None = None
        self._token: list[str] = []
        self._in_string = False
        self._escaped = False
        self._read = 0

    def feed(self, piece: str) -> None:
        """Take in the next piece of the text.

        Raises:
            ValueError: The text is no JSON, or nested more than 250 deep. The value stays what it was before the
                fault, and every later call raises too.
        """
        at, end = 0, len(piece)
        try:
            # Only at its end may a piece leave a token cut in two.
            if self._token and piece:
                at = self._read_string(piece, 0) if self._in_string else self._read_word(piece, 0)
            while at < end:
                mark = piece[at]
                expected = self._expected
                if mark == '"' and expected in _STRINGS:
                    at = self._read_string(piece, at + 1)
                elif mark == "," and expected is _COMMA_OR_END:
                    self._expected = _KEY if self._inner.__class__ is dict else _A_VALUE
                    at += 1
                elif mark == ":" and expected is _COLON:
                    self._expected = _A_VALUE
                    at += 1
                elif mark in _WORD_STARTS and expected in _VALUES:
                    at = self._read_word(piece, at)
                elif mark in "}]" and expected in _ENDS and (mark == "}") is (self._inner.__class__ is dict):
                    self._end()
                    at += 1
                elif mark in "{[" and expected in _VALUES:
                    self._begin({} if mark == "{" else [])
                    at += 1
                elif mark in _BLANK:
                    at = _SPACE.match(piece, at).end()  # type: ignore[union-attr]  # matches the empty string too
                else:
                    raise ValueError(f"no JSON at character {self._read + at}: {expected} belongs here, {mark!r} came")
        except ValueError:
            self._expected, self._in_string, self._token = _NOTHING, False, []
            raise
        self._read += end

    def copy(self) -> Any:
        """Return the value so far as later pieces leave it: open containers are copied, closed ones shared."""
        if not self._open:
            return self.value
        root = around = None
        for place, container in self._open:
            fresh = container.copy()
            if around is None:
                root = fresh
            else:
                around[place] = fresh
            around = fresh
        return root

    def _read_string(self, piece: str, at: int) -> int:
        """Take in more of a string, and return the place after its end or that of the piece."""
        start, end = at, len(piece)
        if self._escaped:
            self._escaped = False
            at += 1
        while True:
            at = _PLAIN.match(piece, at).end()  # type: ignore[union-attr]  # matches the empty string too
            if at == end:
                break
            mark = piece[at]
            if mark == '"':
                text = piece[start:at]
                if self._token:
                    text = "".join(self._token) + text
                    self._token = []
                    self._in_string = False
                if "\\" in text or not text.isascii():
                    text = self._read_text(text, at)
                if self._expected in _KEYS:
                    self._key = text
                    self._expected = _COLON
                else:
                    self._put(text)
                return at + 1
            if mark != "\\":
                raise ValueError(f"no JSON at character {self._read + at}: {mark!r} stands unescaped in a string")
            at += 2
            if at > end:
                self._escaped = True
                at = end
                break
        self._in_string = True
        self._token.append(piece[start:])
        return at

    def _read_text(self, text: str, at: int) -> str:
        """Return what stands in a string that ends at a place."""
        quoted = f'"{text}"'
        try:
            return str(orjson.loads(quoted))
        except ValueError:  # half a character, perhaps
            pass
        try:
            return str(codec.mend(json.loads(quoted)))
        except json.JSONDecodeError:
            raise ValueError(f"no JSON before character {self._read + at}: a bad escape in a string") from None

    def _read_word(self, piece: str, at: int) -> int:
        """Take in more of a number or name, and return the place after it."""
        end = _WORD.match(piece, at).end()  # type: ignore[union-attr]  # matches the empty string too
        word = piece[at:end]
        cut = end == len(piece)
        if cut or self._token:
            self._token.append(word)
            if cut:
                return end
            word = "".join(self._token)
            self._token = []
        if word in _NAMES:
            self._put(_NAMES[word])
        elif _NUMBER.fullmatch(word):
            self._put(codec.decode(word.encode()))
        else:
            raise ValueError(f"no JSON before character {self._read + end}: {word[:40]!r}")
        return end

    def _begin(self, container: Any) -> None:
        if len(self._open) == _MAX_DEPTH:
            raise ValueError(f"JSON nested more than {_MAX_DEPTH} deep")
        around = self._inner
        place = 0 if around is None else self._key if around.__class__ is dict else len(around)
        self._put(container)
        self._open.append((place, container))
        self._inner = container
        self._expected = _KEY_OR_END if container.__class__ is dict else _VALUE_OR_END
        self.complete = False

    def _end(self) -> None:
        self._open.pop()
        self.complete = not self._open
        self._inner = None if self.complete else self._open[-1][1]
        self._expected = _NOTHING if self.complete else _COMMA_OR_END

    def _put(self, value: Any) -> None:
        around = self._inner
        if around.__class__ is dict:
            around[self._key] = value
        elif around is not None:
            around.append(value)
        else:
            self.value = value
            self.complete = True
            self._expected = _NOTHING
            return
        self._expected = _COMMA_OR_END
