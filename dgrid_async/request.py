"""A call as a value: which endpoint, which parameters, and the name its maker gave it.

It is what a map takes and what a batch file holds. It never sends anything and knows no key; what a format's parameters
mean is its slice's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Self
from urllib.parse import unquote

import attrs

from dgrid_async import codec
from dgrid_async.config import CALL_OPTIONS
from dgrid_async.endpoint import Endpoint
from dgrid_async.errors import ConfigError

__all__ = ["URLS", "Request", "checked", "endpoint_named"]

_ROUTES = {
    "/v1/messages": "messages",
    "/v1/chat/completions": "chat_completions",
    "/v1/responses": "responses",
}
_GENERATE = "generate_content"
_MODELS = "/v1/models/"
# The two methods of a Gemini model, and whether they stream.
_METHODS = {"generateContent": False, "streamGenerateContent": True}
_NAMES = (*_ROUTES.values(), _GENERATE)

URLS = (*_ROUTES, f"{_MODELS}{{model}}:generateContent")
"""The addresses that a request can have, as a message shows them."""


def _shown(params: Mapping[str, Any]) -> str:
    # A header can hold a secret, and so can a query or an extra field.
    return repr({name: value for name, value in params.items() if name not in CALL_OPTIONS})


def _name(_: object, __: object, value: Any) -> None:
    if value not in _NAMES:
        raise ConfigError(f"endpoint={value!r}: give one of {', '.join(_NAMES)}")


def _custom_id(_: object, __: object, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"custom_id={value!r}: give a string")


@attrs.frozen
class Request:
    """One call that is not made yet: `client.messages.request(...)` and its siblings return it.

    Attributes:
        endpoint: The slice's name, as in `dgrid_async.apis`.
        params: The parameters of the method, options such as `extra_headers` among them; the repr leaves options out.
        custom_id: The caller's own name for it, or None.
        stream: Whether it is sent as a stream; its reply is the same.
    """

    endpoint: str = attrs.field(validator=_name)
    params: Mapping[str, Any] = attrs.field(converter=dict, repr=_shown)
    custom_id: str | None = attrs.field(default=None, validator=_custom_id)
    stream: bool = False

    @classmethod
    def from_url(cls, url: str, body: Mapping[str, Any], custom_id: str | None = None) -> Self:
        """Return the request that the wire form describes: the path of an endpoint and the JSON object it is sent.

        A body that asks for a stream, or Gemini's streaming method, makes a streamed request.

        Raises:
            ConfigError: No endpoint has this path, the body is no object, a required field is missing, or a field has the
                name of a call's option, which would not be sent.
        """
        if not _is_object(body):
            raise ConfigError(f"a body is a JSON object, not a {type(body).__name__}")
        _custom_id(None, None, custom_id)
        params = dict(body)
        endpoint, stream = checked(url, params)
        return cls(endpoint, params, custom_id, stream)

    @property
    def url(self) -> str:
        """The path of the plain call, from `/v1` on, quoted where needed."""
        return endpoint_named(self.endpoint).encode(self._parameters(), False).path  # noqa: FBT003 -- the contract's

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that the plain call sends, made of plain values.

        Raises:
            ConfigError: A value has no JSON form.
        """
        try:
            target = endpoint_named(self.endpoint).encode(self._parameters(), False)  # noqa: FBT003 -- the contract's
            body = {**target.body, **(self.params.get("extra_body") or {})}
            plain: dict[str, Any] = codec.decode(codec.encode(body))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"a parameter cannot be sent: {error}") from error
        return plain

    def _parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self.params.items() if name not in CALL_OPTIONS}


def checked(url: Any, fields: dict[str, Any]) -> tuple[str, bool]:
    """Return which endpoint a URL stands for and whether it streams, and make a body's fields the parameters of its method.

    Raises:
        ConfigError: As `Request.from_url`.
    """
    stream = fields.pop("stream", None) is True
    endpoint = _ROUTES.get(url) if isinstance(url, str) else None
    if endpoint is None:
        model, method = _model_of(url)
        endpoint, fields["model"] = _GENERATE, model
        stream = stream or _METHODS[method]
    if not CALL_OPTIONS.isdisjoint(fields):
        name = min(CALL_OPTIONS & fields.keys())
        raise ConfigError(f"the body holds {name!r}, which is an option of this client and no field of a request")
    for required in _REQUIRED.get(endpoint) or _required(endpoint):
        if fields.get(required) is None:
            raise ConfigError(f"the body has no {required!r}, which {url} requires")
    return endpoint, stream


def _is_object(body: Any) -> bool:
    return isinstance(body, Mapping) and {str}.issuperset(map(type, body))


def _model_of(url: Any) -> tuple[str, str]:
    """Return the model and the method that Gemini's path names."""
    if isinstance(url, str) and url.startswith(_MODELS):
        model, _, method = url.removeprefix(_MODELS).rpartition(":")
        if model and method in _METHODS:
            return unquote(model), method
    raise ConfigError(f"url={url!r}: give one of {', '.join(URLS)}")


# What each endpoint requires, once it was asked for.
_REQUIRED: dict[str, tuple[str, ...]] = {}


def _required(endpoint: str) -> tuple[str, ...]:
    return _REQUIRED.setdefault(endpoint, endpoint_named(endpoint).required)


@cache
def endpoint_named(name: str) -> Endpoint[Any, Any]:
    """Return a slice's endpoint; its classes are made at the first call, so that a program pays for what it uses."""
    endpoint: Endpoint[Any, Any] = import_module(f"dgrid_async.apis.{name}.endpoint").ENDPOINT
    return endpoint
