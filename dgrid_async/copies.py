"""Copies of decoded JSON and of wire objects, for snapshots that share nothing with what goes on growing.

This module never changes what it copies, and knows no wire format by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from dgrid_async.wire import Unknown, WireObject, fields_of

__all__ = ["copied"]

T = TypeVar("T")
Copier = Callable[[Any], Any]

_LEAVES = frozenset({str, int, float, bool, bytes, type(None)})


def copied(value: T) -> T:
    """Return a copy of a JSON value, or of an object that structuring made, that shares nothing that can change.

    Without recursion into JSON: a server may nest what we do not know deeper than Python's stack.
    """
    kind: type[Any] = value.__class__
    if kind is not dict and kind is not list:
        copy = _COPIERS[kind]
        return value if copy is None else copy(value)
    root: Any = value.copy()  # type: ignore[attr-defined]  # seen by its class
    todo: list[Any] = [root]
    while todo:
        container = todo.pop()
        for place, item in container.items() if container.__class__ is dict else enumerate(container):
            kind = item.__class__
            if kind in _LEAVES:
                continue
            if kind is dict or kind is list:
                container[place] = item.copy()
                todo.append(container[place])
            else:
                container[place] = copied(item)
    return cast("T", root)


class _Known(dict[str, Any]):
    """The JSON behind a copy where the class knows every field of it: copies of the copy share it, and need not look."""

    __slots__ = ()


_COPY = {
    "object": "of[v.__class__](v)",
    "objects": "[of[v[0].__class__](v[0])] if len(v) == 1 else [of[item.__class__](item) for item in v]",
    "anything": "copied(v)",
}


def _made_copier(cls: type[Any]) -> Copier | None:
    """Return the function that copies the objects of a class, or None where they never change.

    Straight-line code over the fields, as the function that structures the class.
    """
    if not issubclass(cls, WireObject):
        return None
    if issubclass(cls, Unknown):
        return lambda value: cls(value.type, copied(value.data))
    fields = fields_of(cls)
    known = frozenset(field.wire_name for field in fields)
    scope: dict[str, Any] = {"arguments": (cls,), "new": object.__new__, "known": known, "Known": _Known}
    scope |= {"copied": copied, "of": _COPIERS}
    lines = [
        "def copy(came):",
        " self = new(*arguments)",
        " try:",
        "  d = came._wire",
        " except AttributeError:",  # a default has none
        "  pass",
        " else:",
        # Of the JSON behind it nobody is handed more than the fields that the class does not know.
        "  if d.__class__ is not Known:",
        "   d = Known(d) if known.issuperset(d) else {n: v if n in known else copied(v) for n, v in d.items()}",
        "  self._wire = d",
    ]
    for field in fields:
        if field.holds == "scalar":
            lines.append(f" self.{field.name} = came.{field.name}")
        else:
            lines.append(f" self.{field.name} = None if (v := came.{field.name}) is None else {_COPY[field.holds]}")
    lines.append(" return self")
    exec("\n".join(lines), scope)  # noqa: S102 -- source made of field names of our own classes
    return cast("Copier", scope["copy"])


class _Copiers(dict[type[Any], "Copier | None"]):
    """The functions by their classes, each made when it is first asked for."""

    def __missing__(self, cls: type[Any]) -> Copier | None:
        copier = self[cls] = _made_copier(cls)
        return copier


# Not `lru_cache`, a call of which costs more than the copy of a small object.
_COPIERS = _Copiers()
