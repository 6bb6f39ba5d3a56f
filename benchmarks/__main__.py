"""The command: `python -m benchmarks [--quick] [--only NAME …] [--peers NAME …] [--loop NAME] [--json PATH]`.

A full run takes some minutes, writes `benchmarks/results/<date>_<commit>.json`, and beside it the table and the chart.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.arena import ROOT, Arena
from benchmarks.figures import Results, Row
from benchmarks.peers import NAMES
from benchmarks.worker import LOOPS

__all__ = ["BENCHES", "main"]

BENCHES = (
    "decoder",
    "events",
    "accumulators",
    "count",
    "stream",
    "relay",
    "broadcast",
    "request",
    "loop",
    "map",
    "batch",
    "import",
)
_RESULTS = Path(__file__).parent / "results"


def _git(*arguments: str) -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return ""


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def facts(packages: Iterable[str], *, quick: bool) -> dict[str, Any]:
    """Return what a run is taken on."""
    versions = {}
    for package in sorted(packages):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "dgrid_async") else ""),
        "quick": quick,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "kind": platform.machine(),
        },
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 0 if every competitor did its jobs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the package beside its rivals.")
    small = "everything once and small: shows that it works, not how fast it is"
    parser.add_argument("--quick", action="store_true", help=small)
    parser.add_argument("--only", nargs="+", choices=BENCHES, metavar="NAME", help=f"some of: {', '.join(BENCHES)}")
    some = f"some of: {', '.join(NAMES)}"
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=some)
    parser.add_argument("--loop", choices=LOOPS, default=LOOPS[0], help="whose event loop the competitors run on")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the results")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    packages, skipped, failed = {given.loop}, dict[str, str](), dict[str, str]()
    for name in given.only or BENCHES:
        began = time.monotonic()
        bench: Callable[[Arena], list[Row]] = import_module(f"benchmarks.bench_{name}").run
        # Processes of its own: a heap that other benchmarks have worn makes calls dearer, and not for all peers alike.
        with Arena(quick=given.quick, names=given.peers, loop=given.loop) as arena:
            rows += bench(arena)
        packages |= arena.packages
        skipped |= arena.skipped
        failed |= arena.failed
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    told = {**facts(packages, quick=given.quick), "loop": given.loop}
    results = Results(told, {**skipped, **failed}, tuple(rows))
    print(report.table(results))
    for name, reason in skipped.items():
        print(f"{name} is skipped: {reason}")
    path = given.json
    if path is None and not given.quick and not given.only and given.peers == NAMES and given.loop == LOOPS[0]:
        path = _RESULTS / f"{told['date']}_{told['commit'].rstrip('+') or 'unknown'}.json"
    if path is not None:
        results.write(path)
        if path.parent == _RESULTS:
            report.write(results, _RESULTS)
    for what, reason in failed.items():
        print(f"failed: {what}: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
