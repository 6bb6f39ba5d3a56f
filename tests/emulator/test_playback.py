"""The plan of what goes on the wire, without a wire."""

from __future__ import annotations

import pytest

from dgrid_async.emulator import Abort, Cut, ErrorEvent, HoldOpen, Insert, Malformed, Script, Stall
from dgrid_async.emulator.playback import Act, Send, Step, halves, plan
from dgrid_async.emulator.sse import DONE, Sse

EVENTS = [Sse(b"event: a\ndata: 1\n\n"), Sse(b"data: 22\n\n"), Sse(b"data: end\n\n", ends=True), DONE]


def failure(number: int) -> Sse:
    return Sse(b"data: error after %d\n\n" % number)


def played(script: Script, *, sse: bool = True) -> list[Step]:
    return list(plan(EVENTS, script, failure, sse=sse))


def sent(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


A, B, END, LAST = (event.data for event in EVENTS)


def test_nothing_wrong() -> None:
    assert played(Script()) == [Send(data) for data in (A, B, END, LAST)]


@pytest.mark.parametrize(
    ("script", "body", "act"),
    [
        (Script(fault=Cut()), A + B, None),
        (Script(fault=Cut(after=0)), b"", None),
        (Script(fault=Cut(after=1)), A, None),
        (Script(fault=Cut(after=99)), A + B + END + LAST, None),
        (Script(fault=Cut(), done=True), A + B + LAST, None),
        (Script(fault=Abort(after=99)), A + B + END + LAST, Act.ABORT),
        (Script(fault=Abort(after=1)), A + B[: len(B) // 2], Act.ABORT),
        (Script(fault=Stall()), A + B, Act.STALL),
        (Script(fault=Stall("after_headers")), b"", Act.STALL),
        (Script(fault=Stall("inside_event", after=1)), A + B[: len(B) // 2], Act.STALL),
        (Script(fault=ErrorEvent(after=1)), A + b"data: error after 1\n\n", None),
        (Script(fault=HoldOpen()), A + B + END + LAST, Act.STALL),
        (Script(done=False), A + B + END, None),
        (Script(done=True), A + B + END + LAST, None),
    ],
)
def test_faults(script: Script, body: bytes, act: Act | None) -> None:
    steps = played(script)
    assert sent(steps) == body
    assert [step for step in steps if isinstance(step, Act)] == ([act] if act else [])


def test_malformed_goes_on_after_it() -> None:
    body = sent(played(Script(fault=Malformed(after=1))))
    assert body.startswith(A + b"data: {")
    assert body.endswith(B + END + LAST)
    assert sent(played(Script(fault=Malformed(after=0)), sse=False)).startswith(b'{"broken": [1, ')


def test_inserts() -> None:
    inserts = (
        Insert(": a\n\n", before=1, times=2),
        Insert(": z\n", before=-1),
        Insert("id: 7\n", before=0, inside=True),
    )
    steps = played(Script(inserts=inserts))
    assert sent(steps) == b"event: a\nid: 7\ndata: 1\n\n" + b": a\n\n" * 2 + B + END + LAST + b": z\n"
    assert [step.event for step in steps if isinstance(step, Send)] == [True, False, True, True, True, False]
    assert sent(played(Script(inserts=(Insert(),)))).count(b": PING\n\n") == len(EVENTS)


def test_no_stream_has_neither_inserts_nor_done() -> None:
    events = halves(b"abcdef")
    script = Script(inserts=(Insert(),), done=True)
    assert sent(list(plan(events, script, failure, sse=False))) == b"abcdef"
    assert sent(list(plan(events, Script(fault=Cut()), failure, sse=False))) == b"abc"


def test_events_are_read_no_further_than_needed() -> None:
    events = iter(EVENTS)
    list(plan(events, Script(fault=Cut(after=1)), failure))
    assert next(events) is EVENTS[2]
