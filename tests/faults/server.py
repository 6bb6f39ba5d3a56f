"""The fault server: loopback sockets, one URL for each fault, and a count of what each client did.

It finds the fault a request asks for, lets its play answer, and keeps the tallies. What is wrong with an answer is the
play's doing; whether a client coped is for a runner to judge.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Self

from tests.faults.connection import ClientLeftError, Connection, Request
from tests.faults.fault import Fault
from tests.faults.formats import CHAT, GEMINI, MESSAGES, RESPONSES, Format

HOST = "127.0.0.1"
PLAY_SECONDS = 15.0
IDLE_SECONDS = 15.0


@dataclass(frozen=True)
class Attempt:
    """One request of a case, as the server saw it; `at` is the loop's clock in seconds."""

    method: str
    target: str
    authorization: str | None
    idempotency_key: str | None
    at: float


@dataclass
class Case:
    """What the server saw of one run of a fault.

    Args:
        fault: The fault's name.
        token: What tells this run from others of the same fault.
        base_url: Where to point the client.
        attempts: The requests in order, warm-ups left out.
        warmups: How many warm-up requests came.
        connections: How many sockets carried a request.
        client_left: How many times the client closed while the play still had something to do.
        expired: How many plays reached the server's own bound; none should.
        sent: Bytes written, heads included.
        elsewhere: Requests that reached the other host.
        leaked: Keys of any kind that the other host was shown.
        broken: What a play failed with, when the play itself is at fault.
    """

    fault: str
    token: str
    base_url: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    warmups: int = 0
    connections: int = 0
    client_left: int = 0
    expired: int = 0
    sent: int = 0
    elsewhere: list[Attempt] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many requests came, warm-ups left out."""
        return len(self.attempts)

    @property
    def idempotency_keys(self) -> list[str | None]:
        """The Idempotency-Key of each attempt."""
        return [attempt.idempotency_key for attempt in self.attempts]

    @property
    def authorizations(self) -> list[str | None]:
        """The Authorization of each attempt."""
        return [attempt.authorization for attempt in self.attempts]


KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization")


def format_of(target: str) -> Format | None:
    """Return the format a request's path belongs to, with or without `/v1`, or None."""
    path = target.partition("?")[0]
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return GEMINI
    if path.endswith("/chat/completions"):
        return CHAT
    if path.endswith("/messages"):
        return MESSAGES
    return RESPONSES if path.endswith("/responses") else None


class FaultServer:
    """Serves every fault at once; an async context manager.

    `http://HOST:PORT/<fault>` is a base URL for all four formats; `http://HOST:PORT/<fault>~<token>` keeps a tally of
    its own, and `GET /cases/<fault>~<token>` gives it as JSON.
    """

    # The mutable state: the listeners, a task for each connection, and the cases by fault and token.
    def __init__(self, faults: Iterable[Fault]) -> None:
        """Hold the faults; nothing is opened before `start`."""
        self._faults = {fault.name: fault for fault in faults}
        self._cases: dict[str, Case] = {}
        self._listeners: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._tokens = 0
        self.connections: set[Connection] = set()
        self.port = 0
        self.elsewhere_port = 0
        self.closed_port = 0
        self.blackhole_port = 0

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        await self.close()

    @property
    def url(self) -> str:
        """The root of the main listener."""
        return f"http://{HOST}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Open the listeners; port 0 takes a free one."""
        loop = asyncio.get_running_loop()

        def connection(*, elsewhere: bool) -> Connection:
            return Connection(lambda accepted: self._accept(accepted, elsewhere=elsewhere))

        main = await loop.create_server(lambda: connection(elsewhere=False), HOST, port, backlog=1024)
        other = await loop.create_server(lambda: connection(elsewhere=True), HOST, 0, backlog=128)
        self._listeners = [main, other]
        self.port = main.sockets[0].getsockname()[1]
        self.elsewhere_port = other.sockets[0].getsockname()[1]
        self.closed_port = self._bound().getsockname()[1]
        hole = self._bound()
        hole.listen(0)
        self.blackhole_port = hole.getsockname()[1]
        # A full accept queue makes the kernel drop further SYNs: connecting then neither succeeds nor fails.
        for _ in range(4):
            filler = self._socket()
            filler.connect_ex((HOST, self.blackhole_port))

    def _socket(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        self._sockets.append(sock)
        return sock

    def _bound(self) -> socket.socket:
        sock = self._socket()
        sock.bind((HOST, 0))
        return sock

    async def close(self) -> None:
        """Stop listening, cut every connection and end every task.

        Cancel: The connections are cut already; only the waiting for their tasks is given up.
        """
        for listener in self._listeners:
            listener.close()
        for task in self._tasks:
            task.cancel()
        for connection in self.connections:
            connection.transport.abort()
        for sock in self._sockets:
            sock.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()
        self._sockets.clear()

    def case(self, name: str) -> Case:
        """Return a fresh case of the fault, with the base URL that leads to it.

        Raises:
            KeyError: There is no such fault.
        """
        fault = self._faults[name]
        self._tokens += 1
        case = self._find(f"{name}~{self._tokens}")
        port = {"main": self.port, "closed": self.closed_port, "blackhole": self.blackhole_port}[fault.listener]
        case.base_url = f"http://{HOST}:{port}/{name}~{case.token}"
        return case

    def _find(self, segment: str) -> Case:
        name, _, token = segment.partition("~")
        if segment not in self._cases:
            self._cases[segment] = Case(name, token, f"{self.url}/{segment}")
        return self._cases[segment]

    def _accept(self, connection: Connection, *, elsewhere: bool) -> None:
        self.connections.add(connection)
        task = asyncio.get_running_loop().create_task(self._serve(connection, elsewhere=elsewhere))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection, *, elsewhere: bool) -> None:
        seen: set[str] = set()
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    request = await connection.read_request()
                if request is None:
                    return
                await self._answer(connection, request, seen, elsewhere=elsewhere)
                connection.served += 1
                if connection.ended or not connection.reusable:
                    return
        except (ClientLeftError, TimeoutError):
            # Between requests: the client may go whenever it likes, and an idle one is sent away.
            return
        finally:
            if not connection.ended:
                connection.close()
            self.connections.discard(connection)

    async def _answer(self, connection: Connection, request: Request, seen: set[str], *, elsewhere: bool) -> None:
        _, segment, *rest = request.target.partition("?")[0].split("/")
        if segment == "cases" and rest:
            known = self._cases.get(rest[0])
            await connection.answer_json(200 if known else 404, asdict(known) if known else None)
            return
        fault = self._faults.get(segment.partition("~")[0])
        fmt = format_of(request.target)
        if fault is None or fmt is None:
            await connection.answer_json(404, {"error": {"message": "no such fault or format", "type": "fault_server"}})
            return
        case = self._find(segment)
        attempt = Attempt(
            request.method,
            request.target,
            request.headers.get("authorization"),
            request.headers.get("idempotency-key"),
            asyncio.get_running_loop().time(),
        )
        if elsewhere:
            case.elsewhere.append(attempt)
            case.leaked += [request.headers[name] for name in KEY_HEADERS if name in request.headers]
            await connection.good(request, fmt)
            return
        if segment not in seen:
            seen.add(segment)
            case.connections += 1
        if fault.warmup and not case.warmups:
            case.warmups += 1
        else:
            case.attempts.append(attempt)
        connection.request_id = f"req_{segment}_{case.requests}"
        await self._play(connection, request, fmt, case)

    async def _play(self, connection: Connection, request: Request, fmt: Format, case: Case) -> None:
        before = connection.sent
        connection.elsewhere_url = f"http://localhost:{self.elsewhere_port}"
        try:
            async with asyncio.timeout(PLAY_SECONDS):
                await self._faults[case.fault].play(connection, request, fmt, case.requests)
        except ClientLeftError:
            if not connection.ended:
                case.client_left += 1
            connection.reusable = False
        except TimeoutError:
            case.expired += 1
            connection.reusable = False
        except Exception as error:  # noqa: BLE001 - a fault of a fault must be seen by the runner, not lost in a task
            case.broken.append(repr(error))
            connection.reusable = False
        finally:
            case.sent += connection.sent - before
