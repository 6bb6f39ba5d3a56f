"""The faults in a few rows, for the README: `python -m tests.faults.summary` prints them.

One row a group: how many faults it has, in how many cases, what the server does in some of them, and what a good client
makes of it. It never runs a fault.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.faults.catalogue import CHAPTERS
from tests.faults.fault import Chapter, Expect

__all__ = ["summary"]

# Names of faults shown for a group, and outcomes that have a place of their own; rarer ones are counted together.
SHOWN = 3
NAMED = 3


def summary() -> str:
    """Return the table as Markdown, a line each for the groups and for all of them."""
    rows = [
        ("Group", "Faults", "Cases", "For example", "Expected"),
        ("---", "---:", "---:", "---", "---"),
        *(_row(chapter) for chapter in CHAPTERS),
    ]
    faults = sum(len(chapter.faults) for chapter in CHAPTERS)
    rows.append(("**all**", f"**{faults}**", f"**{sum(map(_cases, CHAPTERS))}**", "", ""))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _row(chapter: Chapter) -> tuple[str, ...]:
    step = max(1, len(chapter.faults) // SHOWN)
    examples = ", ".join(f"`{fault.name}`" for fault in chapter.faults[::step][:SHOWN])
    outcomes = Counter(_outcome(fault.expect) for fault in chapter.faults)
    named = [f"{outcome} ({count})" for outcome, count in outcomes.most_common(NAMED)]
    others = sum(outcomes.values()) - sum(count for _, count in outcomes.most_common(NAMED))
    expected = ", ".join([*named, *([f"others ({others})"] if others else [])])
    return chapter.group, str(len(chapter.faults)), str(_cases(chapter)), examples, expected


def _cases(chapter: Chapter) -> int:
    return sum(len(list(fault.runs())) for fault in chapter.faults)


def _outcome(expect: Expect) -> str:
    if expect.outcome == "reply":
        return "whole reply" if expect.requests[0] <= 1 else "whole reply after a retry"
    if expect.outcome == "either":
        return "whole reply or typed error"
    return f"`{expect.error[0]}`"


if __name__ == "__main__":
    sys.stdout.write(summary())
