"""One competitor's process: takes jobs by name, one JSON line each, and answers each with a line.

    {"job": "benchmarks.bench_stream:read_streams", "arguments": {…}}

It imports one peer and no other. A job is a function, or coroutine function, whose first argument is that peer.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers import MissingPeerError, load

__all__ = ["LOOPS", "main", "resident_bytes"]

LOOPS = ("asyncio", "uvloop")
"""Whose event loop the competitors may run on."""


def resident_bytes() -> int:
    """Return the memory that this process has resident; where the system does not tell, the most it ever had."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(name: str, loop: str = LOOPS[0]) -> None:
    """Work until standard input ends.

    Args:
        name: The peer's.
        loop: One of `LOOPS`.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a peer prints must not be taken for an answer
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    try:
        peer = load(name)
        new_loop = _loop_factory(loop)
    except MissingPeerError as error:
        out.write(json.dumps({"missing": str(error)}) + "\n")
        return
    out.write(json.dumps({"formats": sorted(peer.formats), "skills": sorted(peer.skills), "packages": peer.packages}) + "\n")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        for line in sys.stdin:
            request = json.loads(line)
            module, _, function = request["job"].partition(":")
            gc.collect()
            try:
                result: Any = getattr(import_module(module), function)(peer, **request["arguments"])
                if inspect.iscoroutine(result):
                    result = runner.run(result)
                answer = {"result": result}
            except Exception:  # noqa: BLE001 -- whatever a peer raises is told, and ends the run over there
                answer = {"failure": traceback.format_exc()}
            out.write(json.dumps(answer) + "\n")


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module(loop).new_event_loop
    except ImportError as error:
        raise MissingPeerError(str(error)) from error
    return factory


if __name__ == "__main__":
    main(*sys.argv[1:])
