"""The command line: the program `dgrid-async`.

It starts fast: a command's module, and the client with it, is imported when that command runs.
"""

from dgrid_async.cli.program import main

__all__ = ["main"]
