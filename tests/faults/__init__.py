"""A raw-socket server that misbehaves on demand, and what a good client makes of each fault.

It shares nothing with the package under test: it imports nothing of it and judges nothing. A runner goes like this:

    async with FaultServer(FAULTS) as server:
        for fault, fmt, mode in cases():
            case = server.case(fault.name)
            # Point a client with the options of `fault.expect` to `case.base_url`; when `fault.warmup`, make one good
            # call first. Then compare what the caller got with `fault.expect`, and `case` with its `requests`.
            # In any case: `case.broken`, `case.leaked` and `case.expired` are empty, and the Idempotency-Key of every
            # attempt is the same.
"""

from tests.faults.catalogue import FAULTS, cases, table
from tests.faults.fault import ERROR_TREE, Expect, Fault
from tests.faults.server import Attempt, Case, FaultServer

__all__ = ["ERROR_TREE", "FAULTS", "Attempt", "Case", "Expect", "Fault", "FaultServer", "cases", "table"]
