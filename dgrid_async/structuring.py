"""Structuring: JSON values to objects of the wire's classes.

Rules
1. On first use a class gets one function made for its fields, held by a cattrs converter. Nested classes get theirs when
   the first of their kind arrives, so a slice costs nothing until it is used. The sets of fields that objects of a class
   keep coming with become ways of their own through its function; what comes out of a way is what comes out without it.
2. A missing or null field becomes the field's default, never the string "None". A scalar of another kind is converted
   when nothing is lost; anything else is a `MismatchError` that names the field. A tag of one value becomes that value.
3. A union is told apart by the `type` of its members; a member that derives from `Unknown` takes what none of them is.

This module never does I/O and knows no wire format by name.
"""

from __future__ import annotations

import base64
import types
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin

from dgrid_async.scalars import EXACT, SCALARS, MismatchError
from dgrid_async.wire import (
    Field,
    Unknown,
    WireObject,
    fields_of,
    is_union,
    is_wire_class,
    scalar_of,
    strip_none,
)

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["converter", "lazy", "structure", "structurer"]

T = TypeVar("T")
Hook = Callable[[Any], Any]


@lru_cache(maxsize=1)
def converter() -> Converter:
    """Return the cattrs converter that holds the structuring function of every wire class."""
    from cattrs import Converter  # dear to import, and only decoding needs it

    made = Converter(detailed_validation=False)
    made.register_structure_hook_factory(is_wire_class, _compile)
    for scalar in SCALARS:
        made.register_structure_hook(scalar, _structure_scalar)
    made.register_unstructure_hook_func(is_wire_class, WireObject.to_dict)
    made.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    return made


def _structure_scalar(value: Any, cls: type) -> Any:
    return SCALARS[cls](value, cls.__name__)


def structure(value: Any, cls: type[T]) -> T:
    """Return the object of a wire class that a JSON value describes.

    Raises:
        MismatchError: A known field holds what it cannot hold, or classes are nested too deeply in each other.
    """
    hook = structurer(cls)
    try:
        return cast("T", hook(value))
    except RecursionError:
        raise MismatchError(cls.__name__, "less nesting", value) from None


def _made_structurer(cls: Any) -> Hook:
    return _class_hook(cls) if is_wire_class(cls) else _hook(cls, str(cls))


structurer: Callable[[Any], Hook] = lru_cache(maxsize=None)(_made_structurer)
"""Return the function that makes objects of a wire class, or of a union of them; the hot path keeps it.

It raises a `MismatchError` as `structure` does, and a RecursionError where that says that the nesting is too deep.
"""


def _class_hook(cls: type[WireObject]) -> Hook:
    return cast("Hook", converter().get_structure_hook(cls))


def lazy(table: dict[Any, Any], key: Any, cls: type[WireObject]) -> Hook:
    """Return a structuring function that makes the class's own on the first call, and puts that in its place."""

    def first(value: Any) -> Any:
        table[key] = _class_hook(cls)
        return table[key](value)

    return first


# So often in a row must objects that fit no way have the same fields before these get one; so many ways a class has at most;
# and after so many objects without a new one no further one is looked for.
_RUN, _WAYS, _PATIENCE = 16, 4, 1024
# So many fields may a way be for, and so long may the names be that the wire makes up: they are kept.
_WIDEST, _LONGEST = 32, 64
# Of so few fields none is worth a way.
_NARROW = 3


def _compile(cls: type[WireObject]) -> Callable[..., Any]:
    """Return the structuring function of a class: straight-line code over its fields.

    Written as source because a loop over the fields costs three times as much per event. It stores the fields itself: the
    class's own `__init__`, with an argument for each, costs half as much again. And to ask for each of twenty fields costs
    more than the one or two that came: where objects with the same fields keep coming, those get a way of their own through
    the function. Whichever way an object takes, the same comes out.
    """
    if issubclass(cls, Unknown):
        return _compile_unknown(cls)
    scope: dict[str, Any] = {"new": object.__new__, "arguments": (cls,), "MismatchError": MismatchError}
    fields = [_Source(i, field, cls, scope) for i, field in enumerate(fields_of(cls))]
    opening = [
        "def structure(d, _=None):",
        " if d.__class__ is not dict:",
        f"  raise MismatchError({cls.__name__!r}, 'an object', d)",
    ]
    # Called with a tuple that is there already: for `new(cls)` one would be made and thrown away for each object.
    begin = [" self = new(*arguments)", " self._wire = d"]
    end = [*([" self.__attrs_post_init__()"] if hasattr(cls, "__attrs_post_init__") else []), " return self"]
    whole = _function([*opening, *begin, *(line for field in fields for line in field.asked), *end], scope)
    if len(fields) <= _NARROW:
        return whole
    function = _function([*opening, " return learn(d)"], scope)
    ways: list[str] = []
    keys: list[str] = []
    run, patience = 0, _PATIENCE

    def learn(value: dict[str, Any]) -> Any:
        """Make an object that fits no way."""
        nonlocal keys, run, patience
        made = whole(value)
        before, keys = keys, [*value] if len(value) <= _WIDEST else []
        run = run + 1 if keys == before and len(keys) == len(value) else 1
        patience -= 1
        if run == _RUN and all(len(name) <= _LONGEST for name in keys):
            ways.append("\n".join(way(keys)))
            patience = _PATIENCE if len(ways) < _WAYS else 0
            # Many hold the function by now: it stays the same one, and its code becomes another.
            function.__code__ = _function([*opening, " n = len(d)", *ways, " return learn(d)"], scope).__code__
        if not patience:
            scope["learn"] = whole
        return made

    def way(keys: list[str]) -> list[str]:
        known = {field.wire_name for field in fields}
        # The wire's own names are values here, never source.
        names = {name: f"way{len(ways)}_{n}" for n, name in enumerate(keys)}
        scope.update({variable: name for name, variable in names.items()})
        present = [field for field in fields if field.wire_name in keys]
        absent = [field for field in fields if field.wire_name not in keys]
        body = [
            *begin,
            *(line for field in present for line in field.fetched),
            # All at once: constants that are unpacked cost a third less than one by one.
            *([f" {', '.join(f.place for f in absent)} = {', '.join(f.default for f in absent)}"] if absent else []),
            *(f" d[{variable}]" for name, variable in names.items() if name not in known),  # it must be there, too
            *end,
        ]
        # As many fields, and all of these: then there are no others. Where the last is there, the others mostly are.
        return [
            f" if n == {len(keys)}{f' and {names[keys[-1]]} in d' if keys else ''}:",
            "  try:",
            *(f"  {line}" for line in body),
            "  except KeyError: pass",
        ]

    scope["learn"] = learn
    return function


def _function(lines: list[str], scope: dict[str, Any]) -> types.FunctionType:
    exec("\n".join(lines), scope)  # noqa: S102 -- source made of field names of our own classes
    return cast("types.FunctionType", scope.pop("structure"))


class _Source:
    """The lines of code that structure one field.

    Attributes:
        wire_name: The field's.
        place: Where its value goes.
        default: The expression for its value where none came.
        fetched: For an object that has it.
        asked: For one that may have it.
    """

    __slots__ = ("asked", "default", "fetched", "place", "wire_name")

    def __init__(self, i: int, field: Field, cls: type[WireObject], scope: dict[str, Any]) -> None:
        self.wire_name = field.wire_name
        self.place = f"self.{field.name}"
        if field.literal is None:
            scope[f"default{i}"] = field.default
        self.default = field.literal or f"default{i}()"
        lines = _value_lines(i, field, f"{cls.__name__}.{field.name}", self.default, scope)
        self.fetched = [f" v = d[{field.wire_name!r}]", *(f" {line}" for line in lines), f" {self.place} = v"]
        # To ask whether it is there and then for it costs less than a call of `get`, whichever the answer.
        self.asked = [
            f" if {field.wire_name!r} in d:",
            *(f" {line}" for line in self.fetched),
            " else:",
            f"  {self.place} = {self.default}",
        ]


def _compile_unknown(cls: type[Unknown]) -> Callable[..., Any]:
    def structure_unknown(value: Any, _: Any = None) -> Any:
        if value.__class__ is not dict:
            raise MismatchError(cls.__name__, "an object", value)
        kind = value.get("type")
        return cls(kind if isinstance(kind, str) else "", value)

    return structure_unknown


def _value_lines(i: int, field: Field, place: str, default: str, scope: dict[str, Any]) -> list[str]:
    """Return the lines that turn the JSON value `v` into the field's value."""
    if field.const:  # a tag says nothing that the class does not: whatever came instead of a string is harmless
        return [f"if v.__class__ is not str: v = {default}"]
    hint = strip_none(field.hint)
    scalar = scalar_of(hint)
    hook = f"hook{i}"
    item = next(iter(get_args(hint)), Any) if get_origin(hint) is list else Any
    if scalar is not None:
        scope[hook] = SCALARS[scalar]
        lines = [f"v = {hook}(v, {place!r})"]
    elif item is not Any:
        scope[hook] = lazy(scope, hook, item) if is_wire_class(item) else _hook(item, f"{place}[]")
        lines = [
            f"if v.__class__ is not list: raise MismatchError({place!r}, 'an array', v)",
            # Most lists are of one or of none, and a comprehension is a call.
            f"v = [{hook}(v[0])] if len(v) == 1 else [{hook}(item) for item in v] if v else []",
        ]
    elif hint is not Any:
        scope[hook] = lazy(scope, hook, hint) if is_wire_class(hint) else _hook(hint, place)
        lines = [f"v = {hook}(v)"]
    else:
        lines = ["pass"]
    null = ["if v is not None:"] if default == "None" else [f"if v is None: v = {default}", "else:"]
    lines = [*null, *(f" {line}" for line in lines)]
    return [f"if v.__class__ is not {EXACT[scalar]}:", *(f" {line}" for line in lines)] if scalar in EXACT else lines


def _hook(hint: Any, place: str) -> Hook:
    """Return the function for a hint that is more than a scalar or one class."""
    inner = strip_none(hint)
    if inner is not hint:
        hook = _hook(inner, place)
        return lambda value: None if value is None else hook(value)
    if hint is Any or hint is object:
        return lambda value: value
    if is_wire_class(hint):
        table: dict[str, Any] = {}
        table["hook"] = lazy(table, "hook", hint)
        return lambda value: table["hook"](value)  # noqa: PLW0108 -- the first call puts another there
    scalar = scalar_of(hint)
    if scalar is not None:
        strict = SCALARS[scalar]
        return lambda value: strict(value, place)
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is list:
        return _list_hook(arguments[0] if arguments else Any, place)
    if origin is dict:
        return _dict_hook(arguments[1] if arguments else Any, place)
    if is_union(hint):
        return _union_hook(arguments, place)
    raise TypeError(f"{place}: no rule to structure {hint!r}")


def _list_hook(hint: Any, place: str) -> Hook:
    item_hook = None if hint is Any else _hook(hint, f"{place}[]")

    def structure_list(value: Any) -> Any:
        if value.__class__ is not list:
            raise MismatchError(place, "an array", value)
        return value if item_hook is None else [item_hook(item) for item in value]

    return structure_list


def _dict_hook(hint: Any, place: str) -> Hook:
    item_hook = None if hint is Any else _hook(hint, f"{place}{{}}")

    def structure_dict(value: Any) -> Any:
        if value.__class__ is not dict:
            raise MismatchError(place, "an object", value)
        return value if item_hook is None else {key: item_hook(item) for key, item in value.items()}

    return structure_dict


def _union_hook(members: tuple[Any, ...], place: str) -> Hook:
    """Return the function for a union: the JSON kind decides first, then an object's `type`."""
    flat: list[Any] = []
    for member in members:
        flat.extend(get_args(member) if is_union(member) else [member])
    classes = [member for member in flat if is_wire_class(member)]
    known = [cls for cls in classes if not issubclass(cls, Unknown)]
    by_tag: dict[Any, Hook] = {}
    for cls in known:
        for tag in _tags(cls):
            by_tag[tag] = lazy(by_tag, tag, cls)
    by_kind: dict[type, Hook] = {}
    for member in flat:
        kind = get_origin(member) or member
        if kind is Literal:
            kind = scalar_of(member)
        if kind in (list, dict) or kind in SCALARS:
            by_kind[kind] = _hook(member, place)
    if float in by_kind:
        by_kind.setdefault(int, by_kind[float])
    anything = any(member is Any for member in flat)
    # An object whose tag is none of theirs: what was made for it, else what takes every object, else the best guess.
    other = next((_hook(cls, place) for cls in classes if issubclass(cls, Unknown)), by_kind.get(dict))
    if other is None and known and not anything:
        other = _hook(next((cls for cls in known if not _tags(cls)), known[0]), place)

    def structure_union(value: Any) -> Any:
        kind = value.__class__
        if kind is dict:
            tag = value.get("type")
            hook = by_tag.get(tag) if tag.__class__ is str else None
            if hook is not None or other is not None:
                return (hook or cast("Hook", other))(value)
        else:
            hook = by_kind.get(kind)
            if hook is not None:
                return hook(value)
        if anything:
            return value
        raise MismatchError(place, "one of its known forms", value)

    return structure_union


def _tags(cls: type[WireObject]) -> tuple[str, ...]:
    """Return the values of `type` that say an object is of this class; several for a class that serves several."""
    field = next((field for field in fields_of(cls) if field.wire_name == "type"), None)
    return get_args(field.hint) if field is not None and get_origin(field.hint) is Literal else ()
