"""The README's table of faults is the one that the catalogue makes."""

from __future__ import annotations

from pathlib import Path

from tests.faults.catalogue import CHAPTERS, FAULTS, cases
from tests.faults.summary import summary

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"


def test_every_group_has_its_row() -> None:
    head, rule, *rows, total = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary().splitlines()]
    assert len({len(row) for row in (head, rule, *rows, total)}) == 1
    assert [row[0] for row in rows] == [chapter.group for chapter in CHAPTERS]
    assert sum(int(row[1]) for row in rows) == len(FAULTS) >= 120
    assert sum(int(row[2]) for row in rows) == len(list(cases()))
    assert total[1:3] == [f"**{len(FAULTS)}**", f"**{len(list(cases()))}**"]


def test_the_outcomes_of_a_group_add_up() -> None:
    for line in summary().splitlines()[2:-1]:
        _, count, _, _, expected = [cell.strip() for cell in line.split("|")[1:-1]]
        assert sum(int(outcome.rpartition("(")[2].rstrip(")")) for outcome in expected.split(", ")) == int(count)


def test_the_readme_has_this_table() -> None:
    before, begin, rest = README.read_text("utf-8").partition(BEGIN)
    block, end, _ = rest.partition(END)
    if not begin:
        assert END not in before
        return
    assert end, f"{BEGIN} is never closed"
    assert block.strip() == summary().strip(), "run python -m tests.faults.summary"
