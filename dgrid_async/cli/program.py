"""The program itself: from arguments to an exit code.

It turns each way in which a command can end into a line on stderr and a code; what a command does is in its own
module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from dgrid_async.cli.arguments import parser
from dgrid_async.cli.exits import Exit, exit_of
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.terminal import Terminal
from dgrid_async.errors import DGridError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; `dgrid-async --help` lists them.

    Args:
        argv: The arguments after the program's name; None takes the process's own.
    """
    terminal = Terminal(sys.stdout, sys.stderr)
    with Interrupts() as interrupts:
        try:
            try:
                code = _run(argv, terminal, interrupts)
            except KeyboardInterrupt:
                terminal.end_line()
                code = interrupts.exit_code
            # Not left to the interpreter: it would end with code 120 and a complaint.
            sys.stdout.flush()
        except BrokenPipeError:
            terminal.abandon()
            return Exit.OK
        except OSError as error:
            terminal.abandon()
            print(f"dgrid-async: {error}", file=sys.stderr)
            return Exit.FAILED
    return code


def _run(argv: Sequence[str] | None, terminal: Terminal, interrupts: Interrupts) -> int:
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as end:
        # argparse has said what there is to say.
        return int(end.code or 0)
    command = import_module(f"dgrid_async.cli.{arguments.command}")
    try:
        code: int = command.run(arguments, terminal, interrupts)
    except DGridError as error:
        terminal.note(f"dgrid-async: {type(error).__name__}: {error}")
        return exit_of(error)
    return code
