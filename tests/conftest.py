"""What all tests share: no network but loopback, a key-free environment, the emulator, and a clock that leaps over waits."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dgrid_async.emulator import Emulator
from tests import clock

LOCAL_NAMES = {"localhost", "localhost.localdomain", "", None}


def _is_local(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        # A reserved name (RFC 2606) resolves nowhere: what a test of failing look-ups asks for.
        return str(host).endswith((".invalid", ".test"))


def pytest_collection_finish() -> None:
    """Leave the thousands of tests themselves out of garbage collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    """Let no test reach beyond this machine, by accident or by a proxy of the environment."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(address[0]):
            raise AssertionError(f"a test connects to {address}")
        return connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise AssertionError(f"a test looks up {host!r}")
        if str(host).endswith((".invalid", ".test")):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """Take away what a developer's shell may have set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DGRID_API_KEY", "DGRID_BASE_URL"):
            patch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_as_usual() -> None:
    """Let the commands that tests start hear Ctrl-C: what a shell starts in the background ignores it, and so do its heirs."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def leaping_clock() -> AsyncIterator[None]:
    """Let the test's waits take no time; see `tests/clock.py` for which tests that is right."""
    with clock.leaping(asyncio.get_running_loop()):
        yield


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An emulator on a free loopback port, for the length of one test."""
    async with Emulator() as running:
        yield running
