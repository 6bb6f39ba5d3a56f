"""JSON that is still arriving: what can be said of its value after each piece.

This module never does I/O, never guesses the rest of an unfinished token and never reads a character twice, however
small the pieces are.
"""

from __future__ import annotations

import json
import re
from typing import Any

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
            while at < end:
                if self._in_string:
                    at = self._read_string(piece, at)
                elif self._token:
                    at = self._read_word(piece, at)
                else:
                    mark = piece[at]
                    if mark == '"' and self._expected in _STRINGS:
                        at = self._read_string(piece, at + 1)
                    elif mark == "," and self._expected is _COMMA_OR_END:
                        self._expected = _KEY if self._inner.__class__ is dict else _A_VALUE
                        at += 1
                    elif mark == ":" and self._expected is _COLON:
                        self._expected = _A_VALUE
                        at += 1
                    elif mark in _BLANK:
                        at = _SPACE.match(piece, at).end()  # type: ignore[union-attr]  # matches the empty string too
                    else:
                        at = self._read_mark(piece, at)
        except ValueError:
            self._expected, self._in_string, self._token = _NOTHING, False, []
            raise
        self._read += end

    def copy(self) -> Any:
        """Return the value so far as later pieces leave it: open containers are copied, closed ones shared."""
        if not self._open:
            return self.value
        # The outermost has its place in a root of its own.
        root: Any = [None]
        around = root
        for place, container in self._open:
            fresh = container.copy()
            around[place] = fresh
            around = fresh
        return root[0]

    def _read_mark(self, piece: str, at: int) -> int:
        """Take in a bracket or the beginning of a word, and return the place after it.

        Raises:
            ValueError: The mark is neither, or does not belong here.
        """
        mark, expected = piece[at], self._expected
        if mark in "}]" and self._closes(mark):
            self._open.pop()
            self.complete = not self._open
            self._inner = None if self.complete else self._open[-1][1]
            self._expected = _NOTHING if self.complete else _COMMA_OR_END
        elif expected in _VALUES and mark in "{[":
            self._begin({} if mark == "{" else [])
        elif expected in _VALUES and mark in _WORD_STARTS:
            return self._read_word(piece, at)
        else:
            raise ValueError(f"no JSON at character {self._read + at}: {expected} belongs here, {mark!r} came")
        return at + 1

    def _closes(self, mark: str) -> bool:
        if not self._open or self._expected not in _ENDS:
            return False
        return (mark == "}") is isinstance(self._inner, dict)

    def _read_string(self, piece: str, at: int) -> int:
        """Take in more of a string, and return the place after its end or that of the piece."""
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        while True:
            at = _PLAIN.match(piece, at).end()  # type: ignore[union-attr]  # matches the empty string too
            if at == len(piece):
                break
            if piece[at] == '"':
                text = piece[start:at]
                if self._token:
                    text = "".join(self._token) + text
                    self._token = []
                self._in_string = False
                self._finish_string(text, at)
                return at + 1
            if piece[at] != "\\":
                raise ValueError(f"no JSON at character {self._read + at}: {piece[at]!r} stands unescaped in a string")
            at += 2
            if at > len(piece):
                self._escaped = True
                at = len(piece)
                break
        self._in_string = True
        self._token.append(piece[start:])
        return at

    def _finish_string(self, text: str, at: int) -> None:
        if "\\" in text:
            try:
                text = json.loads(f'"{text}"')
            except json.JSONDecodeError:
                raise ValueError(f"no JSON before character {self._read + at}: a bad escape in a string") from None
        if not text.isascii():
            text = codec.mend(text)
        if self._expected in _KEYS:
            self._key = text
            self._expected = _COLON
        else:
            self._put(text)

    def _read_word(self, piece: str, at: int) -> int:
        """Take in more of a number or name, and return the place after it."""
        end = _WORD.match(piece, at).end()  # type: ignore[union-attr]  # matches the empty string too
        self._token.append(piece[at:end])
        if end < len(piece):
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
        self._expected = _KEY_OR_END if isinstance(container, dict) else _VALUE_OR_END
        self.complete = False

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
