"""The emulator as a server: routes, keys, scripts in turn, and the only place that waits or touches a socket.

What a format says is in that format's module; what goes wrong is in `playback`.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain, islice
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, TypeAlias, cast

from aiohttp import web

from dgrid_async.emulator import chat_completions, generate_content, messages, responses
from dgrid_async.emulator.answer import EPOCH, Answer, compose
from dgrid_async.emulator.log import Log, Received
from dgrid_async.emulator.playback import Act, Step, halves, plan
from dgrid_async.emulator.problems import Problem
from dgrid_async.emulator.prompt import Prompt
from dgrid_async.emulator.script import COMMENT, Close, ErrorEvent, HoldOpen, Html, Script, Stall, WholeJson
from dgrid_async.emulator.sse import Sse, encode

__all__ = ["Emulator", "serve"]

MAX_REQUEST_BYTES = 32 * 2**20
"""Claude's limit for one request; Google's is 20 MB, OpenAI's 50 MB."""

LOG_SIZE = 10_000
"""Requests kept in the log: an emulator that runs for days must not grow without end."""

MODELS = ("anthropic/claude-sonnet-4.5", "openai/gpt-4o", "google/gemini-2.5-flash")

SCRIPT_HEADER = "X-Emulator-Script"

_ACCEPT_ROUNDS = 5
_STOP_SECONDS = 0.5
_ERROR = 400
_JSON = "application/json; charset=utf-8"
_SSE = "text/event-stream; charset=utf-8"
_HTML_PAGE = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>\n"
_GENERATE = re.compile(r"/(?:v1|v1beta)/models/(.+):(generateContent|streamGenerateContent)")

Scripts: TypeAlias = Script | Sequence[Script] | Callable[[Received], Script]


class Format(Protocol):
    """What each format's module has."""

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Prompt:
        """Return what the request asks for, or raise Problem."""
        ...

    def reply(self, answer: Answer) -> dict[str, Any]:
        """Return the whole reply."""
        ...

    def stream(self, answer: Answer) -> Iterator[Sse]:
        """Yield the reply's events."""
        ...

    def failure(self, status: int, message: str | None, request_id: str, param: str | None = None) -> dict[str, Any]:
        """Return an error body."""
        ...

    def failure_sse(self, status: int, message: str | None, request_id: str, number: int) -> Sse:
        """Return an error within a stream."""
        ...


FORMATS: Mapping[str, Format] = {
    "/v1/messages": messages,
    "/v1/chat/completions": chat_completions,
    "/v1/responses": responses,
}


class Emulator:
    """A gateway on loopback that answers as scripted, in four wire formats.

    Args:
        script: One script for all requests; or several, played in turn with the last repeating; or a function that
            is asked for each request. None = the default script. A request's own header wins over it.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        models: The ids that `GET /v1/models` lists.
        max_request_bytes: Larger bodies are refused with 413.
        log_size: Requests kept in `log`; None = all.
    """

    def __init__(
        self,
        script: Scripts | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        models: Sequence[str] = MODELS,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        log_size: int | None = LOG_SIZE,
    ) -> None:
        self.log = Log(log_size)
        self.in_flight = 0
        """Requests being answered now."""
        self.peak_in_flight = 0
        """The most of them at any time."""
        self._host = host
        self._port = port
        self._models = tuple(models)
        self._max_request_bytes = max_request_bytes
        self._runner: web.AppRunner | None = None
        # The mutable state of a running server: the scripts and how far they are played, the requests and connections
        # counted, and the transports that stop() has to cut.
        self._turn = 0
        self._script: Scripts = Script()
        self._number = 0
        self._connections: weakref.WeakKeyDictionary[asyncio.BaseTransport, int] = weakref.WeakKeyDictionary()
        self._connection_number = 0
        self._transports: set[asyncio.Transport] = set()
        self._stopping = False
        self.script = script if script is not None else Script()

    @property
    def script(self) -> Scripts:
        """The script or scripts in force; setting it starts a sequence from its beginning."""
        return self._script

    @script.setter
    def script(self, script: Scripts) -> None:
        if isinstance(script, Sequence) and not script:
            msg = "a sequence of scripts needs one at least"
            raise ValueError(msg)
        self._script = script
        self._turn = 0

    @property
    def url(self) -> str:
        """The address without a path, e.g. `http://127.0.0.1:8080`.

        Raises:
            RuntimeError: The emulator is not running.
        """
        if self._runner is None or not self._runner.addresses:
            msg = "the emulator is not running"
            raise RuntimeError(msg)
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def open_connections(self) -> int:
        """TCP connections open now, idle ones included."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address is taken.
            RuntimeError: It is running already.
        """
        if self._runner is not None:
            msg = "the emulator is running already"
            raise RuntimeError(msg)
        self._stopping = False
        app = web.Application(client_max_size=self._max_request_bytes)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_SECONDS, handle_signals=False
        )
        try:
            await self._runner.setup()
            # Clients by the thousand connect at once in the benchmarks; the default of 128 makes some wait a second.
            await web.TCPSite(self._runner, self._host, self._port, backlog=4096).start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Cut what still runs and listen no more; the log stays."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._stopping = True
        # A connection accepted just now is known to the server only some rounds of the loop later; stopped before that, the
        # server would leave it open.
        for _ in range(_ACCEPT_ROUNDS):
            await asyncio.sleep(0)
        for transport in list(self._transports):
            transport.abort()
        await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        async with self._recorded(request) as received:
            exchange = _Exchange(request, received)
            try:
                return await self._answer(exchange)
            except Problem as problem:
                return await exchange.refuse(problem)
            except ConnectionError:
                # The client left while we wrote; aiohttp logs a traceback for what it takes for a failing handler.
                received.closed_early = not self._stopping
                return exchange.response if exchange.response is not None else web.Response()
            except asyncio.CancelledError:
                if received.closed_early is None:
                    received.closed_early = not self._stopping
                raise

    @asynccontextmanager
    async def _recorded(self, request: web.Request) -> AsyncIterator[Received]:
        """Count a request while it lasts, and note how it ended."""
        loop = asyncio.get_running_loop()
        transport = _connection(request)
        self._number += 1
        received = Received(
            number=self._number,
            connection=self._number_of(transport),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=request.headers,
            at=loop.time(),
        )
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self._transports.add(transport)
        try:
            yield received
        finally:
            self.in_flight -= 1
            self._transports.discard(transport)
            received.closed_at = loop.time()
            if received.closed_early is None:
                received.closed_early = False
            received.closed.set()

    def _number_of(self, connection: asyncio.BaseTransport) -> int:
        number = self._connections.get(connection)
        if number is None:
            self._connection_number += 1
            number = self._connections[connection] = self._connection_number
        return number

    async def _answer(self, exchange: _Exchange) -> web.StreamResponse:
        received = exchange.received
        problem = exchange.route()
        try:
            raw = await exchange.request.read()
            received.size = len(raw)
            received.body = json.loads(raw) if raw else None
        except web.HTTPRequestEntityTooLarge:
            problem = problem or Problem(413, f"The request is larger than {self._max_request_bytes} bytes")
        except (ValueError, RecursionError) as error:
            problem = problem or Problem(400, f"The body is not valid JSON: {error}")
        # Not sooner: whoever waits for the request finds it with its body.
        self.log.add(received)
        if problem is not None:
            raise problem
        shape = exchange.format
        if shape is None:
            return await exchange.play_models(self._script_for(exchange), self._models)
        prompt = exchange.prompt(shape)
        script = self._script_for(exchange)
        answer = compose(prompt, script, received.body, received.number, received.request_id)
        try:
            return await exchange.play(shape, answer, script)
        except ValueError as error:
            raise Problem(500, f"The script does not fit this format: {error}") from error

    def _script_for(self, exchange: _Exchange) -> Script:
        text = exchange.received.headers.get(SCRIPT_HEADER)
        if text is not None:
            try:
                return Script.from_dict(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise Problem(400, f"{SCRIPT_HEADER}: {error}", param=SCRIPT_HEADER) from error
        if isinstance(self._script, Script):
            return self._script
        if isinstance(self._script, Sequence):
            turn = min(self._turn, len(self._script) - 1)
            self._turn += 1
            return self._script[turn]
        return self._script(exchange.received)


class _Exchange:
    """One request on its way through: its format, its response, and the writing of both."""

    def __init__(self, request: web.Request, received: Received) -> None:
        self.request = request
        self.received = received
        self.response: web.StreamResponse | None = None
        self.format: Format | None = None
        self.streamed = False
        self._shape: Format = chat_completions
        self._model = ""
        self._listed = False

    def route(self) -> Problem | None:
        """Find the format for the path; return what is wrong with path, method or key: 404, 405 or 401."""
        path = self.received.path
        method = "POST"
        match = _GENERATE.fullmatch(path)
        if match is not None:
            self.format = self._shape = generate_content
            self._model = match[1]
            self.streamed = match[2] == "streamGenerateContent"
            self._listed = self.streamed and self.received.query.get("alt") != "sse"
        elif path in FORMATS:
            self.format = self._shape = FORMATS[path]
        elif path == "/v1/models":
            method = "GET"
        else:
            if "/messages" in path:
                self._shape = messages
            elif "/models/" in path:
                self._shape = generate_content
            return Problem(404, f"Unknown path: {path}")
        if self.received.method != method:
            message = f"{self.received.method} is not allowed on {path}"
            return Problem(405, message, headers={"Allow": method})
        if not _has_key(self.received.headers):
            return Problem(401, "No API key: send it as Authorization: Bearer <key>")
        return None

    def prompt(self, shape: Format) -> Prompt:
        """Return what the body asks for.

        Raises:
            Problem: 400, as the format finds it.
        """
        body = self.received.body
        if not isinstance(body, dict):
            raise Problem(400, "The body must be a JSON object")
        try:
            prompt = shape.read(body, self.received.headers)
        except (AttributeError, TypeError, KeyError) as error:
            # Fields are checked by name where clients go wrong; this is for what is wrong deeper down.
            raise Problem(400, f"The body does not fit this API: {error}") from error
        if not self._model:
            self.streamed = bool(body.get("stream"))
            return prompt
        return replace(prompt, model=self._model)

    async def refuse(self, problem: Problem) -> web.StreamResponse:
        """Answer with an error."""
        request_id = self.received.request_id
        body = self._shape.failure(problem.status, problem.message, request_id, problem.param)
        return await self._whole(problem.status, encode(body), _JSON, problem.headers)

    async def play_models(self, script: Script, models: Sequence[str]) -> web.StreamResponse:
        """Answer with the list of models, or with what the script has instead."""
        kinds = ["openai", "openai-response", "anthropic", "gemini"]
        data = [
            {
                "id": model,
                "object": "model",
                "created": EPOCH,
                "owned_by": model.partition("/")[0],
                "supported_endpoint_types": kinds,
            }
            for model in models
        ]
        body = {"object": "list", "success": True, "data": data, "message": ""}
        return await self._play(script, lambda: encode(body))

    async def play(self, shape: Format, answer: Answer, script: Script) -> web.StreamResponse:
        """Answer as the script says."""
        streamed = self.streamed and not isinstance(script.fault, WholeJson)
        if not streamed or script.status >= _ERROR or script.body is not None:
            return await self._play(script, lambda: encode(shape.reply(answer)))
        events = shape.stream(answer)
        failure = shape.failure_sse
        if self._listed:
            events = generate_content.listed(events)
            failure = generate_content.listed_failure
        return await self._stream(script, events, failure, sse=not self._listed)

    async def _play(self, script: Script, reply: Callable[[], bytes]) -> web.StreamResponse:
        """Answer with one body: the script's, an error, or the reply."""
        if script.body is not None:
            body, content_type = _literal(script.body)
        elif script.status >= _ERROR:
            body = encode(self._shape.failure(script.status, script.message, self.received.request_id))
            content_type = _JSON
        elif isinstance(script.fault, Html):
            body, content_type = _literal(_HTML_PAGE)
        else:
            body, content_type = reply(), _JSON
        plain = script.fault is None or isinstance(script.fault, Html | WholeJson)
        if plain and script.chunk_size is None:
            await asyncio.sleep(script.delay)
            return await self._whole(script.status, body, script.content_type or content_type, script.headers)
        return await self._stream(script, iter(halves(body)), self._plain_failure, sse=False, content_type=content_type)

    def _plain_failure(self, status: int, message: str | None, request_id: str, number: int) -> Sse:
        """Return the error that follows the first half of a plain reply, or stands in its place."""
        del number
        return Sse(encode(self._shape.failure(status, message, request_id)))

    async def _whole(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> web.StreamResponse:
        response = web.Response(status=status, body=body, headers=self._headers(content_type, headers))
        await self._send_head(response)
        await response.write_eof()
        return response

    async def _stream(
        self,
        script: Script,
        events: Iterator[Sse],
        failure: Callable[[int, str | None, str, int], Sse],
        *,
        sse: bool,
        content_type: str = _JSON,
    ) -> web.StreamResponse:
        """Answer with a body in parts, on the script's terms."""
        await asyncio.sleep(script.delay)
        fault = script.fault
        if isinstance(fault, Html):
            body, content_type = _literal(_HTML_PAGE)
            return await self._whole(script.status, body, script.content_type or content_type, script.headers)
        if isinstance(fault, Close):
            await self._hang_up()
        if isinstance(fault, Stall) and fault.where == "before_headers":
            await _for_ever()
        # The first event is made before the head goes out, while an answer that the format cannot carry can be a 500.
        events = chain(list(islice(events, 1)), events)
        content_type = script.content_type or (_SSE if sse else content_type)
        response = web.StreamResponse(status=script.status, headers=self._headers(content_type, script.headers))
        await self._send_head(response)

        def fail(number: int) -> Sse:
            status, message = (fault.status, fault.message) if isinstance(fault, ErrorEvent) else (500, None)
            return failure(status, message, self.received.request_id, number)

        steps = plan(events, script, fail, sse=sse)
        comment_every = fault.comment_every if isinstance(fault, Stall) and sse else None
        await self._perform(response, steps, script, comment_every)
        await response.write_eof()
        return response

    async def _perform(
        self, response: web.StreamResponse, steps: Iterator[Step], script: Script, comment_every: float | None
    ) -> None:
        """Put the steps on the wire at the script's pace, in writes of its size."""
        loop = asyncio.get_running_loop()
        size = script.chunk_size
        waiting = bytearray()
        due = 0.0
        for step in steps:
            if isinstance(step, Act):
                await _write(response, waiting, len(waiting))
                if step is Act.ABORT:
                    await self._reset()
                if isinstance(script.fault, HoldOpen):
                    # All was sent: the client that leaves now leaves in time.
                    self.received.closed_early = False
                await _stall(response, comment_every)
            if step.event and script.pace:
                now = loop.time()
                if due:
                    # Late by more than a pace, the pace starts anew: a burst to catch up would be no pace at all.
                    await asyncio.sleep(max(0.0, due - now))
                due = max(due, now) + script.pace
            if size is None:
                await response.write(step.data)
                if not script.pace:
                    # Gives the other streams their turn, and the reader a chance to see writes one by one.
                    await asyncio.sleep(0)
            else:
                waiting += step.data
                if size != "all":
                    await _write(response, waiting, size, whole=True)
            self.received.events_sent += step.event
        await _write(response, waiting, len(waiting))

    def _headers(self, content_type: str, more: Mapping[str, str]) -> dict[str, str]:
        headers = {"Content-Type": content_type, "DGrid-Request-ID": self.received.request_id}
        if content_type == _SSE:
            headers["Cache-Control"] = "no-cache"
        return headers | dict(more)

    async def _send_head(self, response: web.StreamResponse) -> None:
        self.response = response
        self.received.status = response.status
        if response.headers.get("Connection", "").lower() == "close":
            # A scripted header that aiohttp would send and not keep to.
            response.force_close()
        await response.prepare(self.request)

    async def _hang_up(self) -> NoReturn:
        """Close the connection; what waits here is cancelled by the connection's end."""
        self.received.closed_early = False
        _connection(self.request).close()
        await _for_ever()

    async def _reset(self) -> NoReturn:
        """Reset the connection; what waits here is cancelled by the connection's end."""
        self.received.closed_early = False
        transport = _connection(self.request)
        # A close with no time to linger makes the kernel send RST, as a crashing proxy does.
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _for_ever()


def _connection(request: web.Request) -> asyncio.Transport:
    """Return the request's connection; a handler that is cancelled with its connection always has one."""
    return cast("asyncio.Transport", request.transport)


async def _for_ever() -> NoReturn:
    while True:
        await asyncio.get_running_loop().create_future()


async def _stall(response: web.StreamResponse, comment_every: float | None) -> NoReturn:
    if comment_every is None:
        await _for_ever()
    while True:
        await asyncio.sleep(comment_every)
        await response.write(COMMENT.encode())


async def _write(response: web.StreamResponse, waiting: bytearray, size: int, *, whole: bool = False) -> None:
    """Write what waits in parts of `size`; with `whole`, what is less than one part goes on waiting."""
    while waiting and (len(waiting) >= size or not whole):
        part = bytes(waiting[:size])
        del waiting[:size]
        await response.write(part)
        await asyncio.sleep(0)


def _has_key(headers: Mapping[str, str]) -> bool:
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return True
    # The vendors' own SDKs send the key in these.
    return any(headers.get(name, "").strip() for name in ("x-api-key", "x-goog-api-key"))


def _literal(body: Any) -> tuple[bytes, str]:
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return body.encode(), f"{kind}; charset=utf-8"
    return encode(body), _JSON


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    script: Scripts | None = None,
    on_start: Callable[[str], object] | None = None,
) -> None:
    """Run an emulator until cancelled.

    Args:
        host: The address to listen on.
        port: The port; 0 picks a free one.
        script: As for Emulator.
        on_start: Called with the address once it listens.

    Cancel: the emulator is stopped first; that takes less than a second.
    """
    async with Emulator(script, host=host, port=port) as emulator:
        if on_start is not None:
            on_start(emulator.url)
        await _for_ever()
