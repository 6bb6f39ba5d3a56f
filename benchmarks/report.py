"""What a run found, for people: the aims with what was reached, a Markdown table, and a chart.

`python -m benchmarks.report benchmarks/results/<file>.json` writes both beside the file. Nothing here measures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from benchmarks.figures import Results, Row, Spread, ratio
from benchmarks.peers import FLOOR, SUBJECT
from benchmarks.worker import LOOPS

__all__ = ["AIMS", "Aim", "aims", "draw", "loops", "slowness", "table", "write"]

_NAMES = {
    FLOOR: "bare aiohttp",
    SUBJECT: "dgrid_async",
    "openai": "openai",
    "anthropic": "anthropic",
    "google_genai": "google-genai",
    "httpx_sse": "httpx-sse",
    "raw": "aiohttp, bytes only",
}
_COLOURS = {
    FLOOR: "#9aa0a6",
    SUBJECT: "#1a73e8",
    "openai": "#e8a33d",
    "anthropic": "#c1665a",
    "google_genai": "#5f9e6e",
    "httpx_sse": "#8d79b5",
}
_EVENT = "µs CPU an event"
_CALL = "µs CPU a call"
_FORMATS = ("chat_completions", "messages", "responses", "generate_content")


@attrs.frozen
class Aim:
    """A bound that a figure is to keep.

    Attributes:
        bench, case, figure: Which figure of ours; a case that begins so is meant.
        most: The bound.
        against: The peer by whose figure ours is divided, or None for the figure itself.
        inverse: Whether theirs is divided by ours, and the bound is the least.
        less: Whether the peer's figure is taken off instead.
        case_against: The peer's case, where it is another.
        timed: Whether the bound is a time on the machine that the aims were set on: a slower one has as much more.
    """

    bench: str
    case: str
    figure: str
    most: float
    against: str | None = None
    inverse: bool = False
    less: bool = False
    case_against: str | None = None
    timed: bool = False


# What bare aiohttp's plain call takes on the machine that the aims were set on: µs CPU, 64 in flight.
_CALL_THERE = 115


AIMS: tuple[Aim, ...] = (
    *(Aim("stream", f"{name}, large reads", _EVENT, 2.5, FLOOR) for name in _FORMATS),
    Aim("stream", "chat_completions, large reads", _EVENT, 15, "openai", inverse=True),
    Aim("stream", "responses, large reads", _EVENT, 12, "openai", inverse=True),
    Aim("stream", "messages, large reads", _EVENT, 6, "anthropic", inverse=True),
    Aim("stream", "generate_content, large reads", _EVENT, 30, "google_genai", inverse=True),
    *(Aim("stream", f"{name}, one event a read", _EVENT, 1.3, FLOOR) for name in _FORMATS),
    *(Aim("request", f"{name}, {n} in flight", _CALL, 1.4, FLOOR) for name in _FORMATS for n in (1, 64, 512)),
    Aim("request", "chat_completions, 64 in flight", _CALL, 8, "openai", inverse=True),
    Aim("request", "messages, 64 in flight", _CALL, 8, "anthropic", inverse=True),
    *(Aim("stream", f"{name}, first event", "ms to the first event", 0.2, FLOOR, less=True, timed=True) for name in _FORMATS),
    Aim("stream", "chat_completions, 1,000 at a time", "ms late, 99th percentile", 50, timed=True),
    Aim("stream", "chat_completions, 1,000 at a time", "KB a stream", 1.3, FLOOR),
    *(Aim("accumulators", f"{name}, text", "time for four times the deltas, in times", 4.4) for name in _FORMATS),
    *(Aim("accumulators", f"{name}, live tool call", "time for four times the deltas, in times", 4.4) for name in _FORMATS[:2]),
    Aim("accumulators", "messages, tool call of", "ms CPU", 20, "anthropic", inverse=True),
    Aim("accumulators", "chat_completions, tool call of", "ms CPU", 40, "openai", inverse=True),
    Aim("import", "import", "ms", 60 / 131, FLOOR),
    Aim("import", "import", "MB resident", 25 / 34, FLOOR),
    Aim("import", "ready client", "ms", 1.25, FLOOR, case_against="import"),
    *(Aim("count", name, "Python calls a token", 90) for name in _FORMATS),
    *(Aim("count", name, "awaits a token", 3) for name in _FORMATS),
    Aim("batch", "a stub", "µs CPU a line", 20, timed=True),
    Aim("batch", "a stub, 1,000,000 lines", "MB resident", 5, SUBJECT, less=True, case_against="a stub, 100,000 lines"),
    Aim("batch", "4,000 calls of 50 ms, 96 in flight", "% of the ideal rate", 90, inverse=True),
    Aim("map", "4,000 calls of 50 ms, 60 taken", "times the fixed time", 1.15),
    Aim("map", "4,000 calls of 50 ms, 60 taken", "% refused", 1),
)


def _row(results: Results, aim: Aim, peer: str, case: str) -> Row | None:
    rows = [row for row in results.rows if (row.bench, row.figure, row.peer) == (aim.bench, aim.figure, peer)]
    return next((row for row in rows if row.case == case or (row.case.startswith(case) and row.bench != "import")), None)


def reached(results: Results, aim: Aim) -> Spread | None:
    """Return what an aim's figure is, or None where it was not measured."""
    ours = _row(results, aim, SUBJECT, aim.case)
    if ours is None or aim.against is None:
        return None if ours is None else ours.spread
    theirs = _row(results, aim, aim.against, aim.case_against or aim.case)
    if theirs is None:
        return None
    if aim.less:
        return Spread.of(a - b for a, b in zip(ours.rounds, theirs.rounds, strict=True))
    return ratio(theirs, ours) if aim.inverse else ratio(ours, theirs)


def _told(aim: Aim) -> str:
    if aim.against is None:
        return aim.figure
    name = _NAMES[aim.against]
    if aim.less:
        return f"{aim.figure}, beyond {aim.case_against or name}"
    if aim.inverse:
        return f"{aim.figure}, times less than {name}"
    return f"{aim.figure}, times that of {name}" + (f" ({aim.case_against})" if aim.case_against else "")


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _spread(spread: Spread, unit: str = "") -> str:
    if spread.least == spread.greatest:
        return f"{_number(spread.median)}{unit}"
    return f"{_number(spread.median)}{unit} ({_number(spread.least)}-{_number(spread.greatest)})"


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def slowness(results: Results) -> float:
    """Return how many times as long as the machine that the aims were set on this one takes, by bare aiohttp's plain call."""
    call = results.find("request", "chat_completions, 64 in flight", _CALL, FLOOR)
    return 1.0 if call is None else call.spread.median / _CALL_THERE


def aims(results: Results) -> list[str]:
    """Return the aims with what was reached, as the lines of a table; none where nothing was measured."""
    rows = []
    for aim in AIMS:
        found = reached(results, aim)
        if found is not None:
            most = aim.most * (slowness(results) if aim.timed else 1)
            kept = found.median >= most if aim.inverse else found.median <= most
            bound = f"{'≥' if aim.inverse else '≤'} {_number(aim.most)}" + (f"; here {_number(most)}" if aim.timed else "")
            rows.append((f"{aim.bench}: {aim.case}", _told(aim), bound, _spread(found), "yes" if kept else "**no**"))
    return _lines(("what", "figure", "aim", "reached", "kept"), rows) if rows else []


def loops(results: Results) -> list[str]:
    """Return what the event loops cost, side by side, as the lines of a table; none where that was not measured."""
    of_bench = {(row.case, row.figure): row.spread for row in results.rows if row.bench == "loop"}
    rows = []
    for case, figure in of_bench:
        what, _, loop = case.rpartition(", on ")
        cells = [of_bench.get((f"{what}, on {other}", figure)) for other in LOOPS]
        if loop == LOOPS[0] and None not in cells:
            rows.append((what, figure, *(_spread(spread) for spread in cells if spread is not None)))
    return _lines(("what", "figure", *LOOPS), rows) if rows else []


def _bench(results: Results, bench: str) -> list[str]:
    """Return the table of one benchmark: a line for each thing measured, a column for each competitor."""
    of_bench = [row for row in results.rows if row.bench == bench]
    peers = [peer for peer in _NAMES if any(row.peer == peer for row in of_bench)]
    rows = []
    for case, figure in dict.fromkeys((row.case, row.figure) for row in of_bench):
        floor = results.find(bench, case, figure, FLOOR)
        cells = []
        for peer in peers:
            row = results.find(bench, case, figure, peer)
            if row is None:
                cells.append("")
            elif floor is None or peer == FLOOR:
                cells.append(_spread(row.spread))
            else:
                cells.append(f"{_spread(row.spread)} · {_number(ratio(row, floor).median)} x")
        rows.append((case, figure, *cells))
    return _lines(("case", "figure", *(_NAMES[peer] for peer in peers)), rows)


def table(results: Results) -> str:
    """Return the Markdown of a run: what it was taken on, the aims, and all figures by benchmark."""
    told = results.facts
    machine = told["machine"]
    lines = [
        f"{told['date']}, commit {told['commit']}, {told['python']}, {machine['system']} {machine['kind']}, "
        f"{machine['cores']} cores ({machine['processor']})."
        + (" A quick run: it shows that the suite works, not how fast anything is." if told["quick"] else ""),
        "Versions: " + ", ".join(f"{name} {number}" for name, number in told["versions"].items()) + ".",
        *(f"Not measured: {who} ({reason})." for who, reason in results.skipped.items()),
        "Medians of the rounds, least and greatest in brackets; behind the dot, how many times bare aiohttp's figure it is.",
        "",
    ]
    if bounds := aims(results):
        lines += ["### Aims", "", *bounds, ""]
    for bench in dict.fromkeys(row.bench for row in results.rows):
        lines += [f"### {bench}", ""]
        lines += [*_bench(results, bench), ""]
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Write the chart as an image.

    Raises:
        ImportError: matplotlib is not installed; it comes with the extra `bench`.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels: list[tuple[str, str, dict[str, tuple[str, str]], str]] = [
        (
            "CPU per streamed event, large reads",
            "microseconds",
            {name: ("stream", f"{name}, large reads") for name in _FORMATS},
            _EVENT,
        ),
        (
            "CPU per streamed event, one event a read",
            "microseconds",
            {name: ("stream", f"{name}, one event a read") for name in _FORMATS},
            _EVENT,
        ),
        (
            "CPU per plain call, 64 in flight",
            "microseconds",
            {name: ("request", f"{name}, 64 in flight") for name in _FORMATS},
            _CALL,
        ),
        (
            "Time to import, to a ready client, to a first reply",
            "milliseconds",
            {case: ("import", case) for case in ("import", "ready client", "first reply")},
            "ms",
        ),
    ]
    measured = {(row.bench, row.case, row.figure) for row in results.rows}
    shown = [panel for panel in panels if any((*case, panel[3]) in measured for case in panel[2].values())]
    if not shown:
        raise ValueError("the results hold nothing that the chart shows")
    figure, axes = plt.subplots(len(shown), 1, figsize=(9, 3.4 * len(shown)), squeeze=False, layout="constrained")
    used: dict[str, Any] = {}
    for axis, (title, unit, cases, what) in zip(axes[:, 0], shown, strict=True):
        _draw_panel(axis, results, cases, what, used)
        axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axis.set_xlabel(f"{unit}; less is better", fontsize=9)
    order = [peer for peer in _COLOURS if peer in used]
    names = [_NAMES[peer] for peer in order]
    figure.legend([used[peer] for peer in order], names, loc="outside upper center", ncols=6, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_panel(axis: Any, results: Results, cases: dict[str, tuple[str, str]], what: str, used: dict[str, Any]) -> None:
    ticks: list[float] = []
    names: list[str] = []
    place = 0.0
    greatest = 0.0
    for name, (bench, case) in cases.items():
        rows = [row for peer in _COLOURS if (row := results.find(bench, case, what, peer)) is not None]
        if not rows:
            continue
        ticks.append(place + (len(rows) - 1) / 2)
        names.append(name)
        for row in rows:
            spread = row.spread
            bar = axis.barh(place, spread.median, height=0.86, color=_COLOURS[row.peer])
            used.setdefault(row.peer, bar)
            axis.plot([spread.least, spread.greatest], [place, place], color="#202124", linewidth=1)
            at = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            axis.annotate(_number(spread.median), (spread.greatest, place), **at)
            greatest = max(greatest, spread.greatest)
            place += 1
        place += 0.7
    axis.set_xlim(0, greatest * 1.12)
    axis.set_yticks(ticks, names, fontsize=9)
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", which="major", color="#dadce0", linewidth=0.6)
    axis.set_axisbelow(True)


def write(results: Results, folder: Path) -> None:
    """Write `table.md` and, if matplotlib is installed, `chart.png`."""
    (folder / "table.md").write_text(table(results) + "\n", encoding="utf-8")
    if find_spec("matplotlib") is None:
        print("the chart is not drawn: matplotlib is not installed; it comes with the extra `bench`")
    else:
        draw(results, folder / "chart.png")


if __name__ == "__main__":
    file = Path(sys.argv[1])
    write(Results.read(file), file.parent)
