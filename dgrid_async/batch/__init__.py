"""Many calls at a time: maps in code and batches from files, with bounded memory and one set of limits.

What batches from files need is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dgrid_async.batch.limiter import BatchLimits
from dgrid_async.batch.outcome import Outcome

if TYPE_CHECKING:
    from dgrid_async.batch.job import Batch
    from dgrid_async.batch.mapping import Outcomes
    from dgrid_async.batch.merging import merge
    from dgrid_async.batch.progress import Progress
    from dgrid_async.batch.report import Prices, Report
    from dgrid_async.batch.shards import WorkerLostError, run_sharded

__all__ = [
    "Batch",
    "BatchLimits",
    "Outcome",
    "Outcomes",
    "Prices",
    "Progress",
    "Report",
    "WorkerLostError",
    "merge",
    "run_sharded",
]

_HOMES = {
    "Batch": "job",
    "Outcomes": "mapping",
    "Prices": "report",
    "Progress": "progress",
    "Report": "report",
    "WorkerLostError": "shards",
    "merge": "merging",
    "run_sharded": "shards",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
