"""A script's faults and inserts woven into a reply, as a plan of what to put on the wire.

A pure generator: it never writes, waits or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from dgrid_async.emulator.script import Abort, Cut, ErrorEvent, HoldOpen, Insert, Malformed, Script, Stall
from dgrid_async.emulator.sse import DONE, Sse

__all__ = ["Act", "Send", "Step", "halves", "plan"]

_BROKEN = b'{"broken": [1, '


class Act(Enum):
    """What can be done other than send."""

    ABORT = auto()
    STALL = auto()


class Send(NamedTuple):
    """Bytes to send; `event` says whether they are a whole event, which counts and is paced."""

    data: bytes
    event: bool = True


Step: TypeAlias = Send | Act


def halves(body: bytes) -> tuple[Sse, Sse]:
    """Return a plain reply's body in two parts, the second of which ends the reply."""
    middle = len(body) // 2
    return Sse(body[:middle]), Sse(body[middle:], ends=True)


def plan(events: Iterable[Sse], script: Script, failure: Callable[[int], Sse], *, sse: bool = True) -> Iterator[Step]:
    """Yield what to put on the wire, in order; the body ends where the plan does.

    Args:
        events: The reply's events, read no further than needed.
        script: Whose fault, inserts and `done` are carried out.
        failure: Gives the format's error event, from the number of events before it.
        sse: False for a body that is no event stream: it has neither inserts nor `[DONE]`.
    """
    fault = script.fault
    inserts = script.inserts if sse else ()
    number = 0
    done = False
    for event in events:
        if _strikes(fault, number, event):
            yield from _strike(fault, event, number, failure, sse=sse)
            struck, fault = fault, None
            if not isinstance(struck, Malformed):
                break
        if event is DONE:
            if script.done is False:
                continue
            done = True
        yield from _with_inserts(event, number, inserts)
        number += 1
    if sse and script.done and not done:
        yield Send(DONE.data)
    yield from (Send(item.raw.encode() * item.times, event=False) for item in inserts if item.before == -1)
    yield from _strike(fault, Sse(b""), number, failure, sse=sse)


def _strikes(fault: object, number: int, event: Sse) -> bool:
    if not isinstance(fault, Cut | Abort | Stall | ErrorEvent | Malformed):
        return False
    if isinstance(fault, Stall) and fault.where == "after_headers":
        return True
    return event.ends if fault.after is None else number >= fault.after


def _strike(fault: object, event: Sse, number: int, failure: Callable[[int], Sse], *, sse: bool) -> Iterator[Step]:
    half = event.data[: len(event.data) // 2]
    match fault:
        case Abort():
            if half:
                yield Send(half, event=False)
            yield Act.ABORT
        case Stall():
            if fault.where == "inside_event" and half:
                yield Send(half, event=False)
            yield Act.STALL
        case ErrorEvent():
            yield Send(failure(number).data)
        case Malformed():
            yield Send(b"data: %b\n\n" % _BROKEN if sse else _BROKEN)
        case HoldOpen():
            yield Act.STALL


def _with_inserts(event: Sse, number: int, inserts: tuple[Insert, ...]) -> Iterator[Step]:
    head, tail = b"", event.data
    for insert in inserts:
        if insert.before is not None and insert.before != number:
            continue
        raw = insert.raw.encode() * insert.times
        if insert.inside:
            line, end, rest = tail.partition(b"\n")
            head, tail = head + line + end, raw + rest
        else:
            yield Send(raw, event=False)
    yield Send(head + tail)
