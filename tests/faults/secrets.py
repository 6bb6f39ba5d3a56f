"""Looks for a secret in everything that a call leaves behind: errors, their causes, replies, logs, and what is printed.

It looks for the secret as it is and in base64, and never judges how it got there.
"""

from __future__ import annotations

import base64
import io
import logging
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

__all__ = ["leaks_of", "shown", "watched"]

# Causes of causes: a loop in them must not be followed for ever.
MAX_CHAIN = 20


def spellings(secret: str) -> tuple[str, ...]:
    """Return the secret as it is, and as Basic authentication would carry it."""
    return secret, base64.b64encode(secret.encode()).decode()


def shown(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each way in which a value can be shown, with what it shows."""
    # What is nested too deeply to be shown shows nothing.
    ways: dict[str, Callable[[Any], str]] = {"repr": repr, "str": str, "vars": lambda one: repr(vars(one))}
    for name, way in ways.items():
        with suppress(TypeError, RecursionError):
            yield name, way(value)
    for name in getattr(type(value), "__slots__", ()):
        with suppress(AttributeError, RecursionError):
            yield f"slot {name}", repr(getattr(value, name))
    if not isinstance(value, BaseException) or value.__class__.__module__.startswith("dgrid_async"):
        with suppress(TypeError, AttributeError, RecursionError, pickle.PicklingError):
            yield "pickle", pickle.dumps(value).decode("latin-1")


def chain(error: BaseException) -> list[BaseException]:
    """Return an error with its causes, contexts and earlier attempts."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo and len(found) < MAX_CHAIN:
        one = todo.pop()
        if one is not None and one not in found:
            found.append(one)
            todo += [one.__cause__, one.__context__, *getattr(one, "attempts", ())]
    return found


def leaks_of(secret: str, *values: Any) -> list[str]:
    """Return where the secret shows in these values, in words; an error is looked at with all that led to it."""
    found: list[str] = []
    for value in values:
        for one in chain(value) if isinstance(value, BaseException) else [value]:
            ways = list(shown(one))
            if isinstance(one, BaseException):
                ways.append(("traceback", "".join(traceback.format_exception(one))))
            found += [f"{type(one).__name__}, {way}" for way, text in ways if any(s in text for s in spellings(secret))]
    return found


class _Handler(logging.Handler):
    def __init__(self, secret: str, found: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._secret, self._found = secret, found

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record) + repr(record.args)
        if any(spelling in text for spelling in spellings(self._secret)):
            self._found.append(f"the log {record.name}")


class _Ear(io.TextIOBase):
    """Hands on what is printed, and listens."""

    def __init__(self, name: str, under: Any, secret: str, found: list[str]) -> None:
        self._name, self._under, self._secret, self._found = name, under, secret, found
        self._tail = ""

    def write(self, text: str) -> int:
        self._tail = self._tail[-4 * len(self._secret) :] + text
        if any(spelling in self._tail for spelling in spellings(self._secret)):
            self._found.append(self._name)
        self._under.write(text)
        return len(text)

    def flush(self) -> None:
        self._under.flush()


@contextmanager
def watched(secret: str) -> Iterator[list[str]]:
    """Listen to all loggers at DEBUG and to what is printed; yield the list of places where the secret came up."""
    found: list[str] = []
    root = logging.getLogger()
    handler, level = _Handler(secret, found), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with (
            redirect_stdout(_Ear("stdout", sys.stdout, secret, found)),
            redirect_stderr(_Ear("stderr", sys.stderr, secret, found)),
        ):
            yield found
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
