"""The figures of one run: a row for each thing measured of each competitor, with all its rounds.

A ratio is formed within each round, between figures taken one after the other, so that what slows the machine for a while slows
both; its median and spread are over the rounds. This module measures nothing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Results", "Row", "Spread", "ratio"]


@attrs.frozen
class Spread:
    """A median with the least and the greatest of its rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of some values, one at least."""
        known = sorted(values)
        return cls(statistics.median(known), known[0], known[-1])


@attrs.frozen
class Row:
    """One figure.

    Attributes:
        bench: The benchmark's name.
        case: What was done.
        figure: What was measured, with its unit.
        peer: Who did it.
        rounds: The values in the order of the rounds; those of other peers at the same place were taken right before or behind.
    """

    bench: str
    case: str
    figure: str
    peer: str
    rounds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Its median, least and greatest."""
        return Spread.of(self.rounds)


def ratio(over: Row, under: Row) -> Spread:
    """Return how many times the one is the other, round by round."""
    pairs = zip(over.rounds, under.rounds, strict=True)
    return Spread.of([a / b if b else float("inf") if a else 1.0 for a, b in pairs])


@attrs.frozen
class Results:
    """All rows of one run, and what they were taken on.

    Attributes:
        facts: Machine, versions, commit, date, and whether the run was a quick one.
        skipped: Peers that were not measured, with the reason.
        rows: In the order in which they were measured.
    """

    facts: dict[str, Any]
    skipped: dict[str, str]
    rows: tuple[Row, ...]

    def find(self, bench: str, case: str, figure: str, peer: str) -> Row | None:
        """Return one row, or None where it was not measured."""
        for row in self.rows:
            if (row.bench, row.case, row.figure, row.peer) == (bench, case, figure, peer):
                return row
        return None

    def write(self, path: Path) -> None:
        """Write them as JSON; `read` gives them back."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {**attrs.asdict(row), "rounds": [float(f"{value:.5g}") for value in row.rounds], "median": row.spread.median}
            for row in self.rows
        ]
        text = json.dumps({"facts": self.facts, "skipped": self.skipped, "rows": rows}, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return what `write` wrote."""
        value = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(row["bench"], row["case"], row["figure"], row["peer"], tuple(row["rounds"])) for row in value["rows"])
        return cls(value["facts"], value["skipped"], rows)
