"""The client: one coroutine method per entry of the gateway, over one pool.

It turns a caller's arguments into a `Call`; the waiting is `transport`'s and `stream`'s, the formats are the slices'.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Mapping
from functools import cache, cached_property, partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, TypeVar, Unpack, overload
from urllib.parse import urlencode

import attrs

from dgrid_async import codec
from dgrid_async.body import reply_of
from dgrid_async.config import (
    CALL_OPTIONS,
    DEFAULT_BASE_URL,
    Limits,
    Retries,
    Secret,
    Timeouts,
    __version__,
    header_name,
    normal_base_url,
    normal_headers,
    normal_key,
)
from dgrid_async.endpoint import Endpoint
from dgrid_async.errors import ConfigError
from dgrid_async.network import Network
from dgrid_async.pool import Pool, PoolStats
from dgrid_async.request import Request
from dgrid_async.stream import EventStream
from dgrid_async.transport import Call, CoolDown, warm_up

if TYPE_CHECKING:
    import aiohttp

    from dgrid_async.apis import chat_completions, generate_content, messages, responses
    from dgrid_async.apis.chat_completions.params import CreateParams as ChatParams
    from dgrid_async.apis.generate_content.params import GenerateParams
    from dgrid_async.apis.messages.params import CreateParams as MessagesParams
    from dgrid_async.apis.responses.params import CreateParams as ResponsesParams
    from dgrid_async.batch.job import Batch
    from dgrid_async.batch.limiter import BatchLimits
    from dgrid_async.batch.mapping import Each, Outcomes, Requests

    MessageStream: TypeAlias = EventStream[messages.Event, messages.Message]
    ChatStream: TypeAlias = EventStream[chat_completions.Event, chat_completions.ChatCompletion]
    ResponseStream: TypeAlias = EventStream[responses.Event, responses.Response]
    ContentStream: TypeAlias = EventStream[generate_content.GenerateContentResponse, generate_content.GenerateContentResponse]

__all__ = ["AsyncDGrid"]

T = TypeVar("T")

_USER_AGENT = f"dgrid-async/{__version__} Python/{sys.version_info.major}.{sys.version_info.minor}"
# What every request carries unless the caller says otherwise.
_PLAIN = {
    "user-agent": _USER_AGENT,
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
}
# A compressed event stream comes in bursts: the compressor waits for more.
_STREAMED = {**_PLAIN, "accept": "text/event-stream", "accept-encoding": "identity"}
_NONE: Mapping[str, Any] = {}


@attrs.frozen(kw_only=True)
class _Options:
    """What `with_options` can replace; the pool is not among it."""

    secret: Secret | None
    base_url: str
    timeouts: Timeouts
    retries: Retries
    headers: Mapping[str, str] = attrs.field(repr=False)

    @cached_property
    def plain(self) -> dict[str, str]:
        """The headers of a plain call."""
        return _named({**_PLAIN, **self.headers})

    @cached_property
    def streamed(self) -> dict[str, str]:
        """The headers of a streamed call."""
        return _named({**_STREAMED, **self.headers})


class AsyncDGrid:
    """A client of the DGrid AI Gateway.

    Use it under `async with`, or `close()` it; one client serves any number of concurrent calls.

    Args:
        api_key: The gateway's key; None takes DGRID_API_KEY from the environment.
        base_url: The gateway's address, with or without `/v1`; None takes DGRID_BASE_URL, or https://api.dgrid.ai.
        timeouts: Limits of time, in seconds.
        retries: When a failed call is tried again.
        limits: Limits of connections and sizes.
        headers: Sent with every request, over what the client sends.
        http_referer: Your site, as the gateway's HTTP-Referer header.
        x_title: Your app's name, as the gateway's X-Title header.
        session: Your own `aiohttp.ClientSession`: used with its proxy, TLS and connection settings, and never closed.
        proxy: Address of an HTTP proxy; None takes HTTPS_PROXY, HTTP_PROXY and NO_PROXY from the environment.
        ca_file: Path of a PEM file of authorities to trust; None trusts the system's, or what SSL_CERT_FILE names.
        client_cert: Path of a PEM file with certificate and key, or the two paths.

    Raises:
        ConfigError: No key is given or set, or an option has no meaning.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        limits: Limits | None = None,
        headers: Mapping[str, str] | None = None,
        http_referer: str | None = None,
        x_title: str | None = None,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | tuple[str, str] | None = None,
    ) -> None:
        named = {"http-referer": http_referer, "x-title": x_title}
        own = normal_headers({name: value for name, value in named.items() if value is not None})
        own.update(normal_headers({} if headers is None else headers))
        if session is not None and (proxy, ca_file, client_cert) != (None, None, None):
            raise ConfigError("session= brings its own proxy and TLS settings: give them to the session, or leave it out")
        self._options = _Options(
            secret=_key(api_key, own),
            base_url=normal_base_url(base_url or os.environ.get("DGRID_BASE_URL") or DEFAULT_BASE_URL),
            timeouts=_of(Timeouts, "timeouts", timeouts),
            retries=_of(Retries, "retries", retries),
            headers=own,
        )
        network = Network(session=session, proxy=proxy, ca_file=ca_file, client_cert=client_cert)
        self._pool = Pool(_of(Limits, "limits", limits), network)
        self._cool_down = CoolDown()

    def with_options(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncDGrid:
        """Return a client with other options over the same pool; closing either closes both.

        Args:
            api_key: As for the class, but None keeps what this client has; so with the next three.
            base_url: As for the class.
            timeouts: As for the class.
            retries: As for the class.
            headers: Added to this client's own.
        """
        old = self._options
        twin = object.__new__(AsyncDGrid)
        twin._options = attrs.evolve(
            old,
            secret=old.secret if api_key is None else normal_key(api_key),
            base_url=old.base_url if base_url is None else normal_base_url(base_url),
            timeouts=old.timeouts if timeouts is None else _of(Timeouts, "timeouts", timeouts),
            retries=old.retries if retries is None else _of(Retries, "retries", retries),
            headers={**old.headers, **normal_headers({} if headers is None else headers)},
        )
        twin._pool, twin._cool_down = self._pool, self._cool_down
        return twin

    def __repr__(self) -> str:
        return f"AsyncDGrid(base_url={self._options.base_url!r}, closed={self.closed})"

    # ----------------------------------------------------------------------------------------------------- the entries

    @cached_property
    def messages(self) -> Messages:
        """Claude Messages, `/v1/messages`."""
        return Messages(self)

    @cached_property
    def chat(self) -> Chat:
        """OpenAI Chat; `chat.completions` is `/v1/chat/completions`."""
        return Chat(self)

    @cached_property
    def responses(self) -> Responses:
        """OpenAI Responses, `/v1/responses`."""
        return Responses(self)

    @cached_property
    def models(self) -> Models:
        """Gemini, `/v1/models/{model}:generateContent`."""
        return Models(self)

    # ------------------------------------------------------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the client as `terminate` does: nothing that it began outlives the block."""
        self.terminate()
        await self._pool.wait_closed()

    async def close(self) -> None:
        """Refuse new calls, wait until those under way have ended, and close the connections."""
        await self._pool.close()

    def terminate(self) -> None:
        """Refuse new calls and cut those under way: whoever waits for one gets a `ClientClosedError` at once."""
        self._pool.terminate()

    @property
    def closed(self) -> bool:
        """True once `close`, `terminate` or the end of `async with` has begun."""
        return self._pool.closed

    async def warm_up(self, connections: int = 1) -> int:
        """Open connections for the calls to come, so that the first ones need not wait for TCP and TLS; send nothing.

        Args:
            connections: How many there are to be.

        Returns:
            How many are open, idle ones from before included.

        Raises:
            DGridError: One could not be opened; those that could are kept.

        Cancel: what is open by then is kept.
        """
        return await warm_up(self._pool, self._options.base_url, connections, self._options.timeouts)

    def stats(self) -> PoolStats:
        """Return the pool's numbers in the running loop: connections in use, calls waiting, the bound."""
        return self._pool.stats()

    # ------------------------------------------------------------------------------------------------------- many calls

    def map(
        self,
        requests: Requests,
        *,
        concurrency: int | None = None,
        ordered: bool = False,
        limits: BatchLimits | None = None,
        window: int | None = None,
        each: Each | None = None,
    ) -> Outcomes:
        """Return the outcomes of many requests, some of them under way at a time: an async iterator of `Outcome`.

        A call that fails is an outcome with an `error`. Leaving the loop cancels what is under way; `async with` waits for it.

        Args:
            requests: From `messages.request(...)` and its siblings: any iterable or async iterable, read lazily and never
                further than the concurrency and the window ahead of the outcomes taken.
            concurrency: Calls at one time, over that of `limits`; None for both finds out how many the gateway takes.
            ordered: Give the outcomes in the order of the requests, not as they come.
            limits: Requests and tokens a minute, and bounds of concurrency.
            window: How many outcomes may wait to be taken; None is 128.
            each: Called with the request and each event of a streamed one; awaited if it is a coroutine function. What it
                raises ends the map.

        Raises:
            ConfigError: An option has no meaning.
        """
        from dgrid_async.batch.limiter import BatchLimits
        from dgrid_async.batch.mapping import fan_out, limiter_of, sender

        own = _of(BatchLimits, "limits", limits)
        if concurrency is not None:
            own = attrs.evolve(own, concurrency=concurrency)
        return fan_out(requests, sender(self, each=each), limiter=limiter_of(self, own), ordered=ordered, window=window)

    @property
    def batch(self) -> Batch:
        """Batches from files, which can be stopped and resumed."""
        from dgrid_async.batch.job import Batch

        return Batch(self)

    # ------------------------------------------------------------------------------------------------------------ calls

    def call(self, endpoint: Endpoint[Any, Any], name: str, params: dict[str, Any], *, streamed: bool) -> Call:
        """Return the call that a method's arguments describe, not sent yet.

        Raises:
            TypeError: A required parameter is missing.
            ConfigError: A value cannot be sent.
        """
        for required in endpoint.required:
            if params.get(required) is None:
                raise TypeError(f"{name}() is missing its required parameter {required!r}")
        own = self._options
        options: Mapping[str, Any] = _NONE
        if not CALL_OPTIONS.isdisjoint(params):
            options = {option: params.pop(option) for option in CALL_OPTIONS & params.keys()}
        try:
            target = endpoint.encode(params, streamed)
            fields, query = target.body, target.query
            if options:
                fields = {**fields, **_mapping(options, "extra_body")}
                query = {**query, **_mapping(options, "extra_query")}
            body = codec.encode(fields)
            address = own.base_url + target.path + ("?" + urlencode(query, doseq=True) if query else "")
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{name}(): a parameter cannot be sent: {error}") from error
        # By their places: with names it costs half a microsecond more to make.
        call = Call(
            self._pool,
            self._cool_down,
            address,
            body,
            self._headers(target.headers, options, streamed=streamed),
            own.secret,
            _of(Timeouts, "timeouts", options.get("timeouts"), own.timeouts) if options else own.timeouts,
            _of(Retries, "retries", options.get("retries"), own.retries) if options else own.retries,
        )
        call.eager = streamed
        return call

    def _headers(self, special: Mapping[str, str], options: Mapping[str, Any], *, streamed: bool) -> dict[str, str]:
        own = self._options
        headers = own.streamed if streamed else own.plain
        if special:
            headers = headers | {header_name(name): value for name, value in special.items() if name not in own.headers}
        if not options:
            return headers
        headers = dict(headers)
        extra = _mapping(options, "extra_headers")
        given = {"idempotency-key": options.get("idempotency_key"), **extra}
        headers.update(normal_headers({name: value for name, value in given.items() if value is not None}))
        for name, value in extra.items():
            if value is None:
                headers.pop(name.lower(), None)
        return headers


class _Entry:
    """One group of methods of a client, over one endpoint."""

    __slots__ = ("_client",)
    _slice: ClassVar[str]
    _name: ClassVar[str]
    """What the errors call the plain method and the streaming one."""
    _stream_name: ClassVar[str]

    def __init__(self, client: AsyncDGrid) -> None:
        self._client = client

    def _create(self, params: dict[str, Any], *, stream: bool = False) -> Awaitable[Any]:
        if stream:
            return self._stream(params).open()
        endpoint = _endpoint(self._slice)
        return self._client.call(endpoint, self._name, params, streamed=False).send(partial(reply_of, endpoint))

    def _stream(self, params: dict[str, Any]) -> EventStream[Any, Any]:
        endpoint = _endpoint(self._slice)
        return EventStream(endpoint, self._client.call(endpoint, self._stream_name, params, streamed=True))

    def _request(self, params: dict[str, Any], custom_id: str | None, *, stream: bool) -> Request:
        request = Request(self._slice, params, custom_id, stream)
        self._client.call(_endpoint(self._slice), self._name, params, streamed=stream)  # for what it refuses
        return request


class Messages(_Entry):
    """Claude Messages.

    Source: docs.anthropic.com/en/api/messages.
    """

    _slice, _name, _stream_name = "messages", "messages.create", "messages.stream"

    @overload
    async def create(self, *, stream: Literal[False] = False, **params: Unpack[MessagesParams]) -> messages.Message: ...
    @overload
    async def create(self, *, stream: Literal[True], **params: Unpack[MessagesParams]) -> MessageStream: ...
    @overload
    async def create(self, *, stream: bool, **params: Unpack[MessagesParams]) -> messages.Message | MessageStream: ...
    async def create(self, *, stream: bool = False, **params: Any) -> Any:
        """Return the reply; or with `stream=True` the stream of its events, opened.

        Raises:
            TypeError: `model`, `max_tokens` or `messages` is missing.
            DGridError: The call failed, retries included.

        Cancel: the connection is closed.
        """
        return await self._create(params, stream=stream)

    def stream(self, **params: Unpack[MessagesParams]) -> MessageStream:
        """Return the stream of the reply's events; `async with` sends the request.

        Raises:
            TypeError: As `create`.
        """
        return self._stream(dict(params))

    def request(self, *, custom_id: str | None = None, stream: bool = False, **params: Unpack[MessagesParams]) -> Request:
        """Return the call as a value, for `map`; checked, and not sent.

        Args:
            custom_id: Your own name for it, which its outcome carries.
            stream: Send it as a stream; the reply is the same.

        Raises:
            TypeError: As `create`.
            ConfigError: A value cannot be sent.
        """
        return self._request(dict(params), custom_id, stream=stream)


class Chat:
    """OpenAI Chat: `completions` is all of it."""

    __slots__ = ("completions",)

    def __init__(self, client: AsyncDGrid) -> None:
        self.completions = ChatCompletions(client)


class ChatCompletions(_Entry):
    """OpenAI Chat Completions.

    Source: platform.openai.com/docs/api-reference/chat.
    """

    _slice, _name, _stream_name = "chat_completions", "chat.completions.create", "chat.completions.stream"

    @overload
    async def create(
        self, *, stream: Literal[False] = False, **params: Unpack[ChatParams]
    ) -> chat_completions.ChatCompletion: ...
    @overload
    async def create(self, *, stream: Literal[True], **params: Unpack[ChatParams]) -> ChatStream: ...
    @overload
    async def create(self, *, stream: bool, **params: Unpack[ChatParams]) -> chat_completions.ChatCompletion | ChatStream: ...
    async def create(self, *, stream: bool = False, **params: Any) -> Any:
        """Return the reply; or with `stream=True` the stream of its chunks, opened.

        Raises:
            TypeError: `model` or `messages` is missing.
            DGridError: The call failed, retries included.

        Cancel: the connection is closed.
        """
        return await self._create(params, stream=stream)

    def stream(self, **params: Unpack[ChatParams]) -> ChatStream:
        """Return the stream of the reply's chunks; `async with` sends the request.

        Raises:
            TypeError: As `create`.
        """
        return self._stream(dict(params))

    def request(self, *, custom_id: str | None = None, stream: bool = False, **params: Unpack[ChatParams]) -> Request:
        """Return the call as a value, for `map`; checked, and not sent.

        Args:
            custom_id: Your own name for it, which its outcome carries.
            stream: Send it as a stream; the reply is the same.

        Raises:
            TypeError: As `create`.
            ConfigError: A value cannot be sent.
        """
        return self._request(dict(params), custom_id, stream=stream)


class Responses(_Entry):
    """OpenAI Responses.

    Source: platform.openai.com/docs/api-reference/responses.
    """

    _slice, _name, _stream_name = "responses", "responses.create", "responses.stream"

    @overload
    async def create(self, *, stream: Literal[False] = False, **params: Unpack[ResponsesParams]) -> responses.Response: ...
    @overload
    async def create(self, *, stream: Literal[True], **params: Unpack[ResponsesParams]) -> ResponseStream: ...
    @overload
    async def create(self, *, stream: bool, **params: Unpack[ResponsesParams]) -> responses.Response | ResponseStream: ...
    async def create(self, *, stream: bool = False, **params: Any) -> Any:
        """Return the reply; or with `stream=True` the stream of its events, opened.

        Raises:
            TypeError: `model` is missing.
            DGridError: The call failed, retries included.

        Cancel: the connection is closed.
        """
        return await self._create(params, stream=stream)

    def stream(self, **params: Unpack[ResponsesParams]) -> ResponseStream:
        """Return the stream of the reply's events; `async with` sends the request.

        Raises:
            TypeError: As `create`.
        """
        return self._stream(dict(params))

    def request(self, *, custom_id: str | None = None, stream: bool = False, **params: Unpack[ResponsesParams]) -> Request:
        """Return the call as a value, for `map`; checked, and not sent.

        Args:
            custom_id: Your own name for it, which its outcome carries.
            stream: Send it as a stream; the reply is the same.

        Raises:
            TypeError: As `create`.
            ConfigError: A value cannot be sent.
        """
        return self._request(dict(params), custom_id, stream=stream)


class Models(_Entry):
    """Gemini generateContent.

    Source: ai.google.dev/api/generate-content.
    """

    _slice, _name, _stream_name = "generate_content", "models.generate_content", "models.stream_generate_content"

    async def generate_content(self, **params: Unpack[GenerateParams]) -> generate_content.GenerateContentResponse:
        """Return the reply.

        Raises:
            TypeError: `model` is missing.
            DGridError: The call failed, retries included.

        Cancel: the connection is closed.
        """
        return await self._create(dict(params))  # type: ignore[no-any-return]  # the endpoint is looked up by name

    def stream_generate_content(self, **params: Unpack[GenerateParams]) -> ContentStream:
        """Return the stream of the reply's chunks; `async with` sends the request.

        Raises:
            TypeError: As `generate_content`.
        """
        return self._stream(dict(params))

    def request(self, *, custom_id: str | None = None, stream: bool = False, **params: Unpack[GenerateParams]) -> Request:
        """Return the call as a value, for `map`; checked, and not sent.

        Args:
            custom_id: Your own name for it, which its outcome carries.
            stream: Send it as a stream; the reply is the same.

        Raises:
            TypeError: As `generate_content`.
            ConfigError: A value cannot be sent.
        """
        return self._request(dict(params), custom_id, stream=stream)


@cache
def _endpoint(name: str) -> Endpoint[Any, Any]:
    """Return a slice's endpoint; its classes are made at the first call, so that a program pays for what it uses."""
    endpoint: Endpoint[Any, Any] = import_module(f"dgrid_async.apis.{name}.endpoint").ENDPOINT
    return endpoint


def _key(given: str | None, headers: Mapping[str, str]) -> Secret | None:
    """Return the key to send; None where the caller's own headers carry one."""
    key = os.environ.get("DGRID_API_KEY") if given is None else given
    if given is not None or (key and key.strip()):
        return normal_key(key)  # type: ignore[arg-type]  # what is no string it refuses
    if "authorization" in headers:
        return None
    raise ConfigError("no API key: set the environment variable DGRID_API_KEY, or give AsyncDGrid(api_key=...)")


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {header_name(name): value for name, value in headers.items()}


def _mapping(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = options.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{name}: give a mapping whose keys are strings, not a {type(value).__name__}")
    return value


def _of(kind: type[T], name: str, value: T | None, default: T | None = None) -> T:
    if value is None:
        return kind() if default is None else default
    if not isinstance(value, kind):
        raise ConfigError(f"{name}={value!r}: give a {kind.__name__}(...)")
    return value
