"""SIGINT and SIGTERM: both end the command's task as a cancellation, so that everything it holds is closed.

A second signal ends the process at once. What a shell made the program ignore stays ignored.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import asyncio

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BASE = 128
"""What a shell adds to a signal's number for the exit code."""


class Interrupts:
    """Catches the signals while it is entered; outside the main thread, where none can be caught, it does nothing."""

    def __init__(self) -> None:
        # The mutable state: the first signal that came, the task that it ends, and the handlers to put back.
        self._signal: int = signal.SIGINT
        self._came = False
        self._task: asyncio.Task[Any] | None = None
        self._earlier: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """What the program ends with after the signal."""
        return _BASE + self._signal

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._earlier[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        while self._earlier:
            signal.signal(*self._earlier.popitem())

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._came:
            # Whoever asks twice does not want to wait for a name server, or for a pipe that nobody reads.
            os._exit(self.exit_code)
        self._came, self._signal = True, number
        if self._task is None:
            raise KeyboardInterrupt
        self._task.cancel()
        # The handler runs in the main thread, but not as a callback of the loop: that may be asleep.
        self._task.get_loop().call_soon_threadsafe(lambda: None)

    @contextmanager
    def _waking(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Let a signal wake the loop: one that comes just as it falls asleep would else be taken when something else does."""
        if not self._earlier or os.name == "nt":  # the loop of Windows sees to that itself
            yield
            return
        heard, told = socket.socketpair()
        with heard, told:
            heard.settimeout(0)
            told.settimeout(0)
            loop.add_reader(heard, heard.recv, 4096)
            before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(before)
                loop.remove_reader(heard)

    def run(self, command: Coroutine[Any, Any, int]) -> int:
        """Run a command to its end and return its exit code.

        Raises:
            KeyboardInterrupt: A signal ended it.
        """
        import asyncio

        async def attended() -> int:
            self._task = asyncio.current_task()
            try:
                with self._waking(asyncio.get_running_loop()):
                    return await command
            finally:
                self._task = None

        try:
            return asyncio.run(attended())
        except asyncio.CancelledError:
            if not self._came:
                raise
            raise KeyboardInterrupt from None
        finally:
            command.close()
