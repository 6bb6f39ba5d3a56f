"""The attrs classes of the wire: what they have in common, and the way back to JSON.

An object keeps a reference to the JSON it came from. Unknown fields live there: `extra` reads them and `to_dict()` gives
them back, and an event pays nothing for them.

This module never does I/O and knows no wire format by name; `structuring` makes the objects.
"""

from __future__ import annotations

import base64
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeGuard, TypeVar, cast, dataclass_transform, get_args, get_origin

import attrs

from dgrid_async.scalars import SCALARS, MismatchError

__all__ = [
    "Field",
    "Reply",
    "Unknown",
    "WireObject",
    "are_wire_classes",
    "fields_of",
    "is_union",
    "is_wire_class",
    "scalar_of",
    "strip_none",
    "wire_names",
    "wire_of",
    "wire_type",
]

T = TypeVar("T")


# ------------------------------------------------------------------------------------------------------------- classes


class WireObject:
    """The base of every event, reply and part of one: an attrs class over the JSON it was decoded from."""

    __slots__ = ("_wire",)

    camel: ClassVar[bool] = False
    """True where the wire spells field names in camelCase."""

    _wire: dict[str, Any]

    @property
    def extra(self) -> dict[str, Any]:
        """The fields that came on the wire and that this class does not know, by their wire names; a new dict."""
        wire = getattr(self, "_wire", None)
        if not wire:
            return {}
        known = _spec(type(self)).by_wire_name
        return {name: value for name, value in wire.items() if name not in known}

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form: known fields as they are now, unknown ones as they came.

        A field that the wire did not carry and that still has its default is left out; one that came as null stays so.
        Of an object that the caller made, every field that is not None is there.
        """
        spec = _spec(type(self))
        wire = getattr(self, "_wire", None)
        if wire is None:
            made = ((field.wire_name, getattr(self, field.name)) for field in spec.fields)
            return {name: _spelt(value) for name, value in made if value is not None}
        result: dict[str, Any] = {}
        for name, came in wire.items():
            field = spec.by_wire_name.get(name)
            result[name] = came if field is None else field.unstructure(getattr(self, field.name), came)
        for field in spec.fields:
            if field.wire_name not in wire:
                value = getattr(self, field.name)
                if value is not None and value != field.default():
                    result[field.wire_name] = _spelt(value)
        return result

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.extra == other.extra and all(
            getattr(self, field.name) == getattr(other, field.name) for field in _spec(type(self)).fields
        )

    __hash__ = None  # type: ignore[assignment]  # mutable, like a dict

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={value!r}"
            for field in _spec(type(self)).fields
            if (value := getattr(self, field.name)) is not None and (field.const or value != field.default())
        ]
        shown += [f"{name}={value!r}" for name, value in self.extra.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


def wire_of(value: WireObject) -> dict[str, Any]:
    """Return the JSON that an object was decoded from, which costs nothing; of one made by hand, its wire form.

    It is the object's own, to be read and not changed, and knows of no change to the object: `to_dict` does.
    """
    try:
        return value._wire  # noqa: SLF001 -- of the same module
    except AttributeError:
        return value.to_dict()


class Reply(WireObject):
    """The base of the four reply classes."""

    __slots__ = ("_request_id",)

    @property
    def request_id(self) -> str | None:
        """The gateway's name for the call (`DGrid-Request-ID` or its like), or None if it sent none."""
        return getattr(self, "_request_id", None)


@dataclass_transform(field_specifiers=(attrs.field,))
def wire_type(cls: type[T]) -> type[T]:
    """Make an attrs class of a wire object.

    Equality, repr and pickling are the base's: generating them for each class would double a slice's time to import.
    """
    return attrs.define(eq=False, repr=False, getstate_setstate=False, match_args=False, weakref_slot=False)(cls)


@wire_type
class Unknown(WireObject):
    """Something of a kind that this version does not know; the base of the slices' own `Unknown…` classes.

    Attributes:
        type: The kind as the wire spelt it, or an empty string.
        data: The whole object as it came; goes back out unchanged.
    """

    type: str = ""
    data: dict[str, Any] = attrs.field(factory=dict)

    @property
    def extra(self) -> dict[str, Any]:
        """Nothing: everything is in `data`."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Return the object as it came, or of one that the caller made its data with its type."""
        named = "type" in self.data or not self.type
        return dict(self.data) if named else {"type": self.type, **self.data}


class Field:
    """What there is to know about one field of a class.

    Attributes:
        name: The attribute's.
        wire_name: That on the wire.
        hint: The type that the class declares.
        const: Whether it is a tag of one value.
        default: Makes the value that it has where none came.
        literal: The source of that value, or None where each object needs one of its own.
    """

    __slots__ = ("const", "default", "hint", "literal", "name", "wire_name")

    def __init__(self, attribute: attrs.Attribute[Any], hint: Any, *, camel: bool) -> None:
        self.name = attribute.name
        self.hint = hint
        plain = attribute.name.rstrip("_")  # `async_`: the wire's name is a Python keyword
        self.wire_name: str = attribute.metadata.get("wire") or (_to_camel(plain) if camel else plain)
        self.const = get_origin(hint) is Literal and len(get_args(hint)) == 1 and isinstance(get_args(hint)[0], str)
        self.literal: str | None = None
        default: Any = attribute.default
        if hasattr(default, "factory"):
            self.default: Callable[[], Any] = default.factory
        else:
            value = None if default is attrs.NOTHING else default
            self.default = lambda: value
            if value is None or type(value) in (str, int, bool):
                self.literal = repr(value)

    @property
    def holds(self) -> Literal["scalar", "object", "objects", "anything"]:
        """What the value is unless it is None; an object is one of a wire class, objects are a list of these."""
        hint = strip_none(self.hint)
        if self.const or scalar_of(hint) is not None:
            return "scalar"
        if are_wire_classes(hint):
            return "object"
        return "objects" if get_origin(hint) is list and are_wire_classes(get_args(hint)[0]) else "anything"

    def unstructure(self, value: Any, came: Any) -> Any:
        """Return the wire form of the value, given what had come in its place."""
        if (came is None or (self.const and not isinstance(came, str))) and value == self.default():
            return came
        return _spelt(value, came)


class _Spec:
    __slots__ = ("by_wire_name", "fields")

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self.by_wire_name = {field.wire_name: field for field in fields}


def _made_spec(cls: type[WireObject]) -> _Spec:
    hints = typing.get_type_hints(cls)
    return _Spec(tuple(Field(a, hints[a.name], camel=cls.camel) for a in attrs.fields(cast("Any", cls))))


# Named with its type, because a type checker takes a class whose objects do not hash for one that does not either.
_spec = cast("Callable[[type[WireObject]], _Spec]", lru_cache(maxsize=None)(_made_spec))


def fields_of(cls: type[WireObject]) -> tuple[Field, ...]:
    """Return a class's fields in the order in which it declares them."""
    return _spec(cls).fields


def wire_names(cls: type[WireObject]) -> dict[str, str]:
    """Return a class's fields: wire name to attribute name."""
    return {field.wire_name: field.name for field in _spec(cls).fields}


def _to_camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def _spelt(value: Any, came: Any = None) -> Any:
    """Return the JSON form of a field's value in the sender's own spelling, where what came says the same.

    That is a number sent as a string, or base64 in the other alphabet. JSON may be nested more deeply than calls may be.
    """
    if value is came:
        return came
    if not isinstance(value, (list, dict)):
        return _scalar(value, came)
    root: list[Any] = [value]
    # Containers that are made here, beside what had come in their places; what they hold is still the field's.
    rest: list[tuple[Any, Any]] = [(root, [came])]
    while rest:
        box, old = rest.pop()
        known: Any = dict(enumerate(old)) if isinstance(old, list) else old if isinstance(old, dict) else {}
        for place, item in enumerate(box) if isinstance(box, list) else box.items():
            was = known.get(place)
            if item is was:
                continue
            if isinstance(item, (list, dict)):
                fresh: Any = [*item] if isinstance(item, list) else {**item}
                box[place] = fresh
                rest.append((fresh, was if isinstance(was, list) is isinstance(item, list) else None))
            else:
                box[place] = _scalar(item, was)
    return root[0]


def _scalar(value: Any, came: Any) -> Any:
    """Return the JSON form of what is no container."""
    read = SCALARS.get(type(value))
    if read is not None and isinstance(came, (str, int, float)):
        try:
            if read(came, "") == value:
                return came
        except MismatchError:
            pass
    if isinstance(value, WireObject):
        return value.to_dict()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


# --------------------------------------------------------------------------------------------------------------- hints


def is_wire_class(cls: Any) -> TypeGuard[type[WireObject]]:
    """Return whether a hint is a wire class."""
    return isinstance(cls, type) and issubclass(cls, WireObject)


def are_wire_classes(hint: Any) -> bool:
    """Return whether a hint is a wire class, or a union of nothing else."""
    return all(map(is_wire_class, get_args(hint))) if is_union(hint) else is_wire_class(hint)


def strip_none(hint: Any) -> Any:
    """Return a hint without the None that it allows beside other things."""
    members = [member for member in get_args(hint) if member is not type(None)] if is_union(hint) else []
    if not members or len(members) == len(get_args(hint)):
        return hint
    return typing.Union[tuple(members)]  # noqa: UP007 -- made of a list


def is_union(hint: Any) -> bool:
    """Return whether a hint is a union, however it is written."""
    return get_origin(hint) in (typing.Union, types.UnionType)


def scalar_of(hint: Any) -> Any:
    """Return str, int, float, bool or bytes where the hint is that, or only open literals of it; else None."""
    if hint in SCALARS:
        return hint
    if get_origin(hint) is Literal:
        kinds = {type(value) for value in get_args(hint)}
        return kinds.pop() if len(kinds) == 1 else None
    if is_union(hint):
        found = {scalar_of(member) for member in get_args(hint)}
        return found.pop() if len(found) == 1 else None
    return None
