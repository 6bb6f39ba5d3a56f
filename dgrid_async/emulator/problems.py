"""What is wrong with a request, and the checks that find it.

It names the field in its message. How the message is dressed for a client is the formats' business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["Problem", "must_be", "must_have", "roles_must_be"]

_WORDS: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    list: "an array",
    dict: "an object",
    float: "a number",
}


class Problem(Exception):  # noqa: N818 - a refusal that is part of the protocol, not a fault of the program
    """A request that the gateway refuses.

    Args:
        status: HTTP status.
        message: What is wrong, with the field's name.
        param: The field, where there is one.
        headers: Response headers that belong to it.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.param = param
        self.headers = dict(headers or {})


def _is(value: object, kind: type) -> bool:
    if kind is int:
        # JSON has one kind of number and Python counts True among the integers; vendors accept 16.0 and refuse true.
        return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def must_be(body: Mapping[str, Any], name: str, *kinds: type, least: int | None = None, place: str = "") -> None:
    """Check a field that may be absent or null.

    Raises:
        Problem: 400, if it is of none of the kinds, or a number below `least`.
    """
    value = body.get(name)
    if value is None:
        return
    where = f"{place}{name}"
    if not any(_is(value, kind) for kind in kinds):
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        raise Problem(400, f"{where}: must be {wanted}", param=where)
    if least is not None and isinstance(value, int | float) and value < least:
        raise Problem(400, f"{where}: must be at least {least}", param=where)


def must_have(body: Mapping[str, Any], name: str, *kinds: type, least: int | None = None, place: str = "") -> None:
    """Check a field that must be there; text and lists must not be empty.

    Raises:
        Problem: 400, if it is absent, null, empty or of none of the kinds.
    """
    value = body.get(name)
    where = f"{place}{name}"
    if value is None:
        raise Problem(400, f"{where}: field required", param=where)
    must_be(body, name, *kinds, least=least, place=place)
    if isinstance(value, str | list) and not value:
        raise Problem(400, f"{where}: must not be empty", param=where)


def roles_must_be(entries: Sequence[Any], known: Collection[str], place: str, *, required: bool = True) -> None:
    """Check that every entry is an object whose `role` is a known one.

    Raises:
        Problem: 400, naming the first entry that is not.
    """
    for index, entry in enumerate(entries):
        where = f"{place}.{index}"
        if not isinstance(entry, dict):
            raise Problem(400, f"{where}: must be an object", param=where)
        role = entry.get("role")
        if role is None and not required:
            continue
        if role is None:
            raise Problem(400, f"{where}.role: field required", param=f"{where}.role")
        if role not in known:
            raise Problem(400, f"{where}.role: must be one of {', '.join(known)}", param=f"{where}.role")
