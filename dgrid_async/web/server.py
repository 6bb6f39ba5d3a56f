"""The page's server: its four routes over aiohttp.web, guarded and bounded.

    GET     /                     the page
    GET     /api/settings         formats, models, what the page should know
    PUT     /api/answers/{id}     ask; the id is 22 to 64 letters, digits, `-` or `_` of the page's own making
    GET     /api/answers/{id}     the answer as an event stream of frames, on from `Last-Event-ID` or `?after=`
    HEAD    /api/answers/{id}     whether it can be had
    DELETE  /api/answers/{id}     stop

A refusal is JSON, `{"error": {"message": ...}}`. `dgrid_async.relay.frames` says what a frame is.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib.resources import files
from types import TracebackType
from typing import Self

from aiohttp import web

from dgrid_async import codec
from dgrid_async.client import AsyncDGrid
from dgrid_async.errors import ConfigError
from dgrid_async.relay.broadcasting import Broadcast
from dgrid_async.relay.event_stream import sse_response
from dgrid_async.web.answers import Answers
from dgrid_async.web.bounds import Bounds, Rate
from dgrid_async.web.guard import HEADERS, Guard, content_security_policy
from dgrid_async.web.questions import FORMATS, Question
from dgrid_async.web.rehearsal import PROMPTS

__all__ = ["GRACE", "Server"]

GRACE = 10.0
"""Seconds for which an answer goes on without a page: a reload takes one or two, an `EventSource` tries again after three."""

# Where one listens is not always where one can be found.
_REACHED_AS: Mapping[str, str] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nobody listens by this

_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")
# A question is small and comes from near.
_READ_SECONDS = 10.0
_STOP_SECONDS = 2.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """The page and its answers on one port; under `async with`, or `start` and `stop` it.

    Args:
        client: What the questions go through; it stays the caller's.
        host: The address to listen on. Whoever can reach it can ask, and the client's key pays.
        port: The port; 0 picks a free one.
        bounds: How much it takes on.
        grace: Seconds for which an answer goes on while no page shows it.
        emulated: Tell the page that the client talks to an emulator under `rehearsal`.

    Attributes:
        answers: Those that are kept.
    """

    def __init__(
        self,
        client: AsyncDGrid,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        bounds: Bounds | None = None,
        grace: float = GRACE,
        emulated: bool = False,
    ) -> None:
        self._client = client
        self._host = host
        self._port = port
        self._bounds = bounds or Bounds()
        self._emulated = emulated
        self._guard = Guard(host)
        self._page = files("dgrid_async.web").joinpath("page.html").read_text(encoding="utf-8")
        self._policy = content_security_policy(self._page)
        # The mutable state: the answers, the questions of the last minute, and the server while it runs.
        self.answers = Answers(self._bounds, grace)
        self._rate = Rate(self._bounds.questions_per_minute)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The page's address, of this machine where it listens on all.

        Raises:
            RuntimeError: It is not running.
        """
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the server is not running")
        host, port = self._runner.addresses[0][:2]
        shown = _REACHED_AS.get(host, host)
        return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had.
        """
        app = web.Application(client_max_size=self._bounds.message_bytes, middlewares=[self._guarded])
        app.router.add_get("/", self._show_page)
        app.router.add_get("/api/settings", self._show_settings)
        app.router.add_put("/api/answers/{key}", self._ask)
        app.router.add_get("/api/answers/{key}", self._read)
        app.router.add_delete("/api/answers/{key}", self._stop_answer)
        app.on_response_prepare.append(_add_headers)
        app.on_shutdown.append(self._end_answers)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS, handle_signals=False)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port).start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all answers and listen no more. A second call does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        await self.stop()

    async def _end_answers(self, _app: web.Application) -> None:
        await self.answers.close()

    # --------------------------------------------------------------------------------------------------------- the door

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        why = self._guard.refusal(request.method, request.path, request.headers)
        if why is not None:
            return _refused(HTTPStatus.FORBIDDEN, why)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refused(error.status, error.reason)

    async def _show_page(self, _request: web.Request) -> web.Response:
        return web.Response(
            text=self._page, content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": self._policy}
        )

    async def _show_settings(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "emulated": self._emulated,
                "prompts": list(PROMPTS) if self._emulated else [],
                "formats": [{"name": name, "title": each.title, "models": list(each.models)} for name, each in FORMATS.items()],
            }
        )

    # ------------------------------------------------------------------------------------------------------- the answers

    async def _ask(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if not _KEY.fullmatch(key):
            return _refused(HTTPStatus.BAD_REQUEST, "the id of an answer is 22 to 64 letters, digits, - or _")
        if self.answers.get(key) is not None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        if wait := self._rate.take(asyncio.get_running_loop().time()):
            most = self._bounds.questions_per_minute
            return _refused(
                HTTPStatus.TOO_MANY_REQUESTS, f"this server takes {most} questions a minute", retry_after=math.ceil(wait)
            )
        if request.content_type != "application/json":
            return _refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question is application/json")
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await request.read()
        except TimeoutError:
            return _refused(HTTPStatus.REQUEST_TIMEOUT, "the question did not come in time")
        except web.HTTPRequestEntityTooLarge:
            most = self._bounds.message_bytes
            return _refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the conversation has more than {most} bytes: begin a new one"
            )
        if self.answers.full:
            most = self._bounds.answers_at_once
            return _refused(
                HTTPStatus.TOO_MANY_REQUESTS, f"this server writes {most} answers at once: stop one, or wait for its end"
            )
        try:
            question = Question.read(codec.decode(body))
            self.answers.begin(key, lambda: question.stream(self._client))
        except ConfigError as error:
            return _refused(HTTPStatus.BAD_REQUEST, error.message)
        except ValueError:
            return _refused(HTTPStatus.BAD_REQUEST, "the question is no JSON")
        return web.Response(status=HTTPStatus.CREATED)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        live = self._found(request)
        if live is None:
            return _refused(HTTPStatus.NOT_FOUND, "this answer is not kept, or never was")
        if live.listeners >= self._bounds.readers:
            return _refused(
                HTTPStatus.TOO_MANY_REQUESTS, f"this server shows one answer to {self._bounds.readers} tabs at once"
            )
        if request.method == "HEAD":
            return web.Response(content_type="text/event-stream")
        after = request.headers.get("Last-Event-ID") or request.query.get("after")
        try:
            subscription = live.subscribe(after)
        except ConfigError as error:
            return _refused(HTTPStatus.BAD_REQUEST, error.message)
        # The broadcast has joined what came at once; a second interval would only hold it up.
        response: web.StreamResponse = await sse_response(request, subscription, interval=0)
        return response

    async def _stop_answer(self, request: web.Request) -> web.Response:
        live = self._found(request)
        if live is None:
            return _refused(HTTPStatus.NOT_FOUND, "this answer is not kept, or never was")
        live.abort()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _found(self, request: web.Request) -> Broadcast | None:
        return self.answers.get(request.match_info["key"])


def _refused(status: int, message: str, *, retry_after: int | None = None) -> web.Response:
    headers = None if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
