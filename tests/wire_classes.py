"""Classes of a wire that there is not, one field of each kind, for tests of what all classes of the wire share."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

import attrs

from dgrid_async.structuring import structure
from dgrid_async.wire import Reply, Unknown, WireObject, wire_type


@wire_type
class TextPart(WireObject):
    type: Literal["text"] = "text"
    text: str = ""


@wire_type
class CallPart(WireObject):
    type: Literal["call", "server_call"] = "call"
    name: str = ""
    input: Any = None


@wire_type
class UnknownPart(Unknown):
    pass


Part = TextPart | CallPart | UnknownPart


@wire_type
class Everything(Reply):
    text: str = ""
    note: str | None = None
    count: int = 0
    limit: int | None = None
    share: float = 1.5
    rate: float | None = None
    flag: bool = False
    maybe: bool | None = None
    data: bytes = b""
    blob: bytes | None = None
    kind: Literal["a", "b"] | str = "a"
    anything: Any = None
    one: TextPart | None = None
    always: TextPart = attrs.field(factory=TextPart)
    parts: list[Part] = attrs.field(factory=list)
    texts: list[TextPart] | None = None
    words: list[str] = attrs.field(factory=list)
    gaps: list[int | None] | None = None
    grid: list[list[int]] | None = None
    names: dict[str, int] = attrs.field(factory=dict)
    boxes: dict[str, TextPart] | None = None
    raw: dict[str, Any] | None = None
    loose: list[Any] | None = None
    content: str | list[Part] | None = None
    number: int | float | None = None
    object: TextPart | dict[str, Any] | None = None
    child: Everything | None = None
    async_: str | None = None
    renamed: str | None = attrs.field(default=None, metadata={"wire": "other-name"})


@wire_type
class Camel(WireObject):
    camel: ClassVar[bool] = True
    mime_type: str | None = None
    data: bytes | None = None
    token_count_2: int | None = None


@wire_type
class Plain(WireObject):
    text: str | None = None


@wire_type
class Tree(WireObject):
    name: str = ""
    leaves: list[Tree] = attrs.field(factory=list)


def both_ways(value: dict[str, Any], cls: type[Any] = Everything) -> Any:
    """Return the object of a JSON value, after checking that it gives back the very same JSON."""
    made = structure(value, cls)
    assert json.dumps(made.to_dict(), sort_keys=True) == json.dumps(value, sort_keys=True)
    return made
