"""Other libraries' errors to ours, and keys and passwords out of what they keep: the one place that knows their classes.

It never sends, waits or decides about a retry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from dgrid_async import failures
from dgrid_async.config import Secret, Timeouts
from dgrid_async.errors import APIConnectionError, APITimeoutError, ConfigError, DGridError, Phase

__all__ = ["secrets_of", "timed_out", "translated"]

_WHAT: dict[Phase, str] = {
    "connect": "no connection was made",
    "first_event": "the first content event, or the whole of a plain answer, did not come",
    "idle": "nothing at all came over the wire",
    "event": "no content event came, keep-alives aside",
    "total": "the call did not end",
}


def timed_out(phase: Phase, seconds: float, request_id: str | None = None, *, host: str | None = None) -> APITimeoutError:
    """Return the error of one limit of `Timeouts`."""
    where = f"{host}: " if host else ""
    return APITimeoutError(
        f"{where}{_WHAT[phase]} within {seconds:g} s: raise Timeouts.{phase} if that is expected",
        phase=phase,
        seconds=seconds,
        request_id=request_id,
    )


def secrets_of(key: Secret | None, proxy: str | None) -> Iterator[str]:
    """Yield what no message may show: the key, and the password of a proxy in both its spellings."""
    if key is not None:
        yield key.reveal()
    password = urlsplit(proxy).password if proxy else None
    if password:
        yield password
        yield unquote(password)


def translated(error: BaseException, host: str, timeouts: Timeouts, secrets: tuple[str, ...] = ()) -> DGridError:
    """Return our error for one of aiohttp's or the system's; the caller raises it from the original.

    Args:
        error: The original; what it holds of keys and passwords is taken out of it.
        host: Where the request went, for the message.
        timeouts: The limits in force.
        secrets: What neither error may show.
    """
    if isinstance(error, DGridError):
        return error
    _cleanse(error, secrets)
    ours = _meaning(error, host, timeouts)
    ours.message = _masked(ours.message, secrets)
    ours.args = (ours.message,)
    return ours


def _meaning(error: BaseException, host: str, timeouts: Timeouts) -> DGridError:
    import aiohttp

    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return timed_out("connect", timeouts.connect or 0.0, host=host)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError(f"the address of {host!r} is not valid: check base_url")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return APIConnectionError(f"the proxy on the way to {host} answered {error.status} {failures.excerpt(error.message)}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return APIConnectionError(f"no connection to the proxy {error.host}:{error.port} before {host}: {error.os_error}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return APIConnectionError(f"the name {error.host!r} cannot be resolved: {error.os_error}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return APIConnectionError(
            f"the certificate of {error.host} is not trusted: {error.certificate_error}; ca_file= names others"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return APIConnectionError(f"no connection to {error.host}, port {error.port}: {error.os_error}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return APIConnectionError(f"{host} closed the connection without an answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return APIConnectionError(f"the connection to {host} was lost inside the answer: {failures.excerpt(str(error))}")
    if isinstance(error, aiohttp.ClientResponseError):
        return APIConnectionError(f"{host} answered what is no HTTP: {failures.excerpt(error.message)}")
    if isinstance(error, aiohttp.ClientError | OSError):
        return APIConnectionError(f"the connection to {host} failed: {str(error) or type(error).__name__}")
    if isinstance(error, ValueError):
        return ConfigError(f"the request to {host} cannot be sent: {error}")
    # aiohttp's RuntimeError is its word for going on with a connection that is gone.
    return APIConnectionError(f"the connection to {host} was lost: {str(error) or type(error).__name__}")


def _cleanse(error: BaseException, secrets: tuple[str, ...]) -> None:
    """Take out of an error and what it is chained to whatever its repr or an error reporter could show of keys."""
    import aiohttp
    from multidict import CIMultiDict, CIMultiDictProxy
    from yarl import URL

    for each in _chain(error):
        # The library's frames hold the request's headers, and error reporters print what frames hold.
        each.__traceback__ = None
        if isinstance(each, aiohttp.ClientResponseError):
            each.request_info = aiohttp.RequestInfo(URL(), "POST", CIMultiDictProxy(CIMultiDict()), URL())
            each.history = ()
            each.message = _masked(each.message, secrets)
            each.headers = None
            each.args = (each.status, each.message)
        elif isinstance(each, aiohttp.ClientConnectorError):
            # The address and the login of a proxy are part of the connection's key.
            key = each._conn_key = each._conn_key._replace(proxy=None, proxy_auth=None)  # noqa: SLF001 -- no public way
            each.args = (key, *each.args[1:])
        elif isinstance(each, aiohttp.InvalidURL):
            each._url = "***"  # noqa: SLF001 -- what its text shows; it may be a proxy's
            each.args = ("***",)
        else:
            each.args = tuple(_masked(str(part), secrets) if _shows(part, secrets) else part for part in each.args)
            if isinstance(getattr(each, "message", None), str):
                cast("Any", each).message = _masked(cast("Any", each).message, secrets)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it came from, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]


def _shows(part: Any, secrets: tuple[str, ...]) -> bool:
    return any(secret in str(part) for secret in secrets)


def _masked(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
