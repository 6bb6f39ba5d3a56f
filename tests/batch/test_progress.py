"""What a person sees: a bar on a terminal, lines without one, the same numbers in both."""

from __future__ import annotations

import io

import pytest

from dgrid_async.batch.progress import Bar, Lines, Progress, Rate, display_on, spoken


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


AT = Progress(lines=1000, answered=240, failed=10, in_flight=7, concurrency=8, tokens=12345, seconds=20.0, rate=12.5)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")]
)
def test_times_are_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_progress_knows_when_it_will_end() -> None:
    assert (AT.done, AT.left) == (250, 60.0)
    assert Progress(lines=1, answered=0, failed=0).left is None
    for part in ("250/1,000 (25 %)", "10 failed", "12.5/s", "7 of 8 in flight", "12,345 tokens", "1 min 0 s left"):
        assert part in str(AT)
    assert "ending" in str(Progress(lines=0, answered=0, failed=0, draining=True))


def test_the_rate_is_that_of_late() -> None:
    rate = Rate()
    assert rate.at(0.0, 100) == 0.0
    assert rate.at(10.0, 200) == 10.0
    for second in range(11, 60):
        found = rate.at(second, 200 + 30 * (second - 10))
    assert found == pytest.approx(30.0)
    assert len(rate._marks) < 20


def test_lines_come_now_and_then() -> None:
    notes: list[str] = []
    with Lines(notes.append, every=10.0) as display:
        for second in (0.0, 5.0, 10.0, 12.0, 19.0, 25.0):
            display(Progress(lines=1, answered=0, failed=0, seconds=second))
    assert len(notes) == 2


def test_a_terminal_has_a_bar_and_anything_else_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(display_on(io.StringIO(), print), Lines)
    pytest.importorskip("rich")
    assert isinstance(display_on(Terminal(), print), Bar)
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)  # as where rich is not installed
    assert isinstance(display_on(Terminal(), print), Lines)


def test_the_bar_shows_the_numbers_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with Bar(terminal) as bar:
        bar(AT)
        bar(Progress(lines=1000, answered=990, failed=10, draining=True))
    text = terminal.getvalue()
    for part in ("25 %", "250/1,000", "10 failed", "7/8 in flight", "1 min 0 s left", "ending"):
        assert part in text
