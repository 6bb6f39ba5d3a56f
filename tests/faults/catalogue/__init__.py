"""Every fault by name, a module for each group; the groups are listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.catalogue import (
    connections,
    encodings,
    framing,
    inband,
    redirects,
    retries,
    shapes,
    sizes,
    stalls,
    statuses,
    terminals,
    values,
)
from tests.faults.fault import Fault, Mode
from tests.faults.formats import ALL, Format

CHAPTERS = (
    connections.chapter,
    stalls.chapter,
    sizes.chapter,
    statuses.chapter,
    retries.chapter,
    redirects.chapter,
    encodings.chapter,
    framing.chapter,
    values.chapter,
    shapes.chapter,
    inband.chapter,
    terminals.chapter,
)

FAULTS: tuple[Fault, ...] = tuple(fault for chapter in CHAPTERS for fault in chapter.faults)


def cases() -> Iterator[tuple[Fault, Format, Mode]]:
    """Yield every fault with each format and mode it runs in."""
    for fault in FAULTS:
        for fmt, mode in fault.runs():
            yield fault, fmt, mode


def table() -> list[tuple[str, str, str, str, str]]:
    """Return a row for each fault: group, name, what the server does, formats and modes, the expected outcome."""
    rows = []
    for fault in FAULTS:
        formats = "all" if fault.formats == ALL else ", ".join(fault.formats)
        where = f"{formats}; {' and '.join(fault.modes)}"
        rows.append((fault.group, fault.name, fault.line, where, fault.expect.summary()))
    return rows
