"""The attrs classes of the wire: JSON values to objects and back.

Rules
1. On first use a class gets one function made for its fields, held by a cattrs converter. Nested classes get theirs when
   the first of their kind arrives, so a slice costs nothing until it is used. The sets of fields that objects of a class
   keep coming with become ways of their own through its function; what comes out of a way is what comes out without it.
2. A missing or null field becomes the field's default, never the string "None". A scalar of another kind is converted
   when nothing is lost; anything else is a `MismatchError` that names the field. A tag of one value becomes that value.
3. An object keeps a reference to the JSON it came from. Unknown fields live there: `extra` reads them and `to_dict()`
   gives them back, and an event pays nothing for them.
4. A union is told apart by the `type` of its members; a member that derives from `Unknown` takes what none of them is.

This module never does I/O and knows no wire format by name.
"""

from __future__ import annotations

import base64
import binascii
import copyreg
import math
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    TypeGuard,
    TypeVar,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

import attrs

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "Field",
    "MismatchError",
    "Reply",
    "Unknown",
    "WireObject",
    "converter",
    "fields_of",
    "structure",
    "structurer",
    "wire_names",
    "wire_type",
]

T = TypeVar("T")
Hook = Callable[[Any], Any]
_SHOWN_BITS = 128


class MismatchError(ValueError):
    """JSON that a known field cannot hold; the message names the field, what belongs there and what came."""

    def __init__(self, place: str, wanted: str, value: Any) -> None:
        super().__init__(f"{place}: {wanted} belongs here, {_kind(value)} came")

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone.
        return copyreg.__newobj__, (type(self), str(self))  # type: ignore[attr-defined]  # pickle's own name for it


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a huge number"
    kinds: dict[type, str] = {dict: "an object", list: "an array", str: "a string"}
    return kinds.get(type(value)) or f"the number {value}"


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
            return {name: _plain(value) for name, value in made if value is not None}
        result: dict[str, Any] = {}
        for name, came in wire.items():
            field = spec.by_wire_name.get(name)
            result[name] = came if field is None else field.unstructure(getattr(self, field.name), came)
        for field in spec.fields:
            if field.wire_name not in wire:
                value = getattr(self, field.name)
                if value is not None and value != field.default():
                    result[field.wire_name] = _plain(value)
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
        hint = _strip_none(self.hint)
        if self.const or _scalar(hint) is not None:
            return "scalar"
        if _are_wire_classes(hint):
            return "object"
        return "objects" if get_origin(hint) is list and _are_wire_classes(get_args(hint)[0]) else "anything"

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


def _plain(value: Any) -> Any:
    """Return the JSON form of a field's value."""
    if isinstance(value, WireObject):
        return value.to_dict()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _spelt(value: Any, came: Any) -> Any:
    """Return the JSON form of a field's value in the sender's own spelling, where what came says the same.

    That is a number sent as a string, or base64 in the other alphabet.
    """
    if value is came:
        return came
    if isinstance(value, list) and isinstance(came, list):
        return [_spelt(item, came[n] if n < len(came) else None) for n, item in enumerate(value)]
    if isinstance(value, dict) and isinstance(came, dict):
        return {key: _spelt(item, came.get(key)) for key, item in value.items()}
    read = _SCALARS.get(type(value))
    if read is not None and isinstance(came, (str, int, float)):
        try:
            if read(came, "") == value:
                return came
        except MismatchError:
            pass
    return _plain(value)


# ------------------------------------------------------------------------------------------------------------- scalars


def to_str(value: Any, place: str) -> str:
    """Return a string: one as it is, a number as its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise MismatchError(place, "a string", value)


def to_int(value: Any, place: str) -> int:
    """Return an integer: one as it is, a float without a fraction, a string of digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:  # noqa: PLR2004 -- 64 bits
        return int(value)
    raise MismatchError(place, "an integer", value)


def to_float(value: Any, place: str) -> float:
    """Return a number as it is, or what a string of digits says."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise MismatchError(place, "a number", value)


def to_bool(value: Any, place: str) -> bool:
    """Return true or false, which 1 and 0 also say."""
    if isinstance(value, int) and value in (0, 1):  # a bool is one of them
        return bool(value)
    raise MismatchError(place, "true or false", value)


def to_bytes(value: Any, place: str) -> bytes:
    """Return what base64 says, in either alphabet, padded or not."""
    if not isinstance(value, str):
        raise MismatchError(place, "base64", value)
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MismatchError(place, "base64", value) from None


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    str: to_str,
    int: to_int,
    float: to_float,
    bool: to_bool,
    bytes: to_bytes,
}
# What a value of the right kind needs no conversion to be; an integer is a number.
_EXACT = {str: "str", int: "int", bool: "bool"}


# --------------------------------------------------------------------------------------------------------- structuring


@lru_cache(maxsize=1)
def converter() -> Converter:
    """Return the cattrs converter that holds the structuring function of every wire class."""
    from cattrs import Converter  # dear to import, and only decoding needs it

    made = Converter(detailed_validation=False)
    made.register_structure_hook_factory(_is_wire_class, _compile)
    for scalar in _SCALARS:
        made.register_structure_hook(scalar, _structure_scalar)
    made.register_unstructure_hook_func(_is_wire_class, WireObject.to_dict)
    made.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    return made


def _structure_scalar(value: Any, cls: type) -> Any:
    return _SCALARS[cls](value, cls.__name__)


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
    return _class_hook(cls) if _is_wire_class(cls) else _hook(cls, str(cls))


structurer: Callable[[Any], Hook] = lru_cache(maxsize=None)(_made_structurer)
"""Return the function that makes objects of a wire class, or of a union of them; the hot path keeps it.

It raises a `MismatchError` as `structure` does, and a RecursionError where that says that the nesting is too deep.
"""


def _class_hook(cls: type[WireObject]) -> Hook:
    return cast("Hook", converter().get_structure_hook(cls))


def _is_wire_class(cls: Any) -> TypeGuard[type[WireObject]]:
    return isinstance(cls, type) and issubclass(cls, WireObject)


def _lazy(table: dict[Any, Any], key: Any, cls: type[WireObject]) -> Hook:
    """Return a function that makes the class's own on the first call, and puts that in its place."""

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
    scope: dict[str, Any] = {"cls": cls, "new": object.__new__, "MismatchError": MismatchError}
    fields = [_Source(i, field, cls, scope) for i, field in enumerate(_spec(cls).fields)]
    opening = [
        "def structure(d, _=None):",
        " if d.__class__ is not dict:",
        f"  raise MismatchError({cls.__name__!r}, 'an object', d)",
    ]
    begin = [" self = new(cls)", " self._wire = d"]
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
        body = [
            *begin,
            *(line for field in fields for line in (field.fetched if field.wire_name in keys else field.absent)),
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
        fetched: For an object that has it.
        absent: For one that has not.
        asked: For one that may have it.
    """

    __slots__ = ("absent", "asked", "fetched", "wire_name")

    def __init__(self, i: int, field: Field, cls: type[WireObject], scope: dict[str, Any]) -> None:
        default = field.literal
        if default is None:
            scope[f"default{i}"] = field.default
            default = f"default{i}()"
        lines = _value_lines(i, field, f"{cls.__name__}.{field.name}", default, scope)
        self.wire_name = field.wire_name
        self.fetched = [f" v = d[{field.wire_name!r}]", *(f" {line}" for line in lines), f" self.{field.name} = v"]
        self.absent = [f" self.{field.name} = {default}"]
        # To ask whether it is there and then for it costs less than a call of `get`, whichever the answer.
        self.asked = [
            f" if {field.wire_name!r} in d:",
            *(f" {line}" for line in self.fetched),
            " else:",
            *(f" {line}" for line in self.absent),
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
    hint = _strip_none(field.hint)
    scalar = _scalar(hint)
    if scalar is not None:
        scope[f"fix{i}"] = _SCALARS[scalar]
        unless = f"if v.__class__ is not {_EXACT[scalar]}: " if scalar in _EXACT else ""
        return [f"{unless}v = {default} if v is None else fix{i}(v, {place!r})"]
    null = f"if v is None: v = {default}"
    if hint is Any:
        return [null]
    hook = f"hook{i}"
    if get_origin(hint) is list and _is_wire_class(get_args(hint)[0]):
        scope[hook] = _lazy(scope, hook, get_args(hint)[0])
        return [
            null,
            f"elif v.__class__ is not list: raise MismatchError({place!r}, 'an array', v)",
            # Most lists of a delta are of one, and a comprehension is a call.
            f"else: v = [{hook}(v[0])] if len(v) == 1 else [{hook}(item) for item in v]",
        ]
    scope[hook] = _lazy(scope, hook, hint) if _is_wire_class(hint) else _hook(hint, place)
    return [null, f"else: v = {hook}(v)"]


def _are_wire_classes(hint: Any) -> bool:
    """Return whether a hint is a wire class, or a union of nothing else."""
    return all(map(_is_wire_class, get_args(hint))) if _is_union(hint) else _is_wire_class(hint)


def _strip_none(hint: Any) -> Any:
    members = [member for member in get_args(hint) if member is not type(None)] if _is_union(hint) else []
    if not members or len(members) == len(get_args(hint)):
        return hint
    return typing.Union[tuple(members)]  # noqa: UP007 -- made of a list


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (typing.Union, types.UnionType)


def _scalar(hint: Any) -> Any:
    """Return str, int, float, bool or bytes where the hint is that, or only open literals of it; else None."""
    if hint in _SCALARS:
        return hint
    if get_origin(hint) is Literal:
        kinds = {type(value) for value in get_args(hint)}
        return kinds.pop() if len(kinds) == 1 else None
    if _is_union(hint):
        found = {_scalar(member) for member in get_args(hint)}
        return found.pop() if len(found) == 1 else None
    return None


def _hook(hint: Any, place: str) -> Hook:
    """Return the function for a hint that is more than a scalar or one class."""
    inner = _strip_none(hint)
    if inner is not hint:
        hook = _hook(inner, place)
        return lambda value: None if value is None else hook(value)
    if hint is Any or hint is object:
        return lambda value: value
    if _is_wire_class(hint):
        table: dict[str, Any] = {}
        table["hook"] = _lazy(table, "hook", hint)
        return lambda value: table["hook"](value)  # noqa: PLW0108 -- the first call puts another there
    scalar = _scalar(hint)
    if scalar is not None:
        strict = _SCALARS[scalar]
        return lambda value: strict(value, place)
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is list:
        return _list_hook(arguments[0] if arguments else Any, place)
    if origin is dict:
        return _dict_hook(arguments[1] if arguments else Any, place)
    if _is_union(hint):
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
        flat.extend(get_args(member) if _is_union(member) else [member])
    classes = [member for member in flat if _is_wire_class(member)]
    known = [cls for cls in classes if not issubclass(cls, Unknown)]
    by_tag: dict[Any, Hook] = {}
    for cls in known:
        for tag in _tags(cls):
            by_tag[tag] = _lazy(by_tag, tag, cls)
    by_kind: dict[type, Hook] = {}
    for member in flat:
        kind = get_origin(member) or member
        if kind is Literal:
            kind = _scalar(member)
        if kind in (list, dict) or kind in _SCALARS:
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
    field = _spec(cls).by_wire_name.get("type")
    return get_args(field.hint) if field is not None and get_origin(field.hint) is Literal else ()
