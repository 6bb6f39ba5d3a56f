"""Every error of the HTTP library and of the system has its own of ours, and neither shows a key or a password."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
import socket
import ssl
import traceback
from collections.abc import Callable
from typing import Any, cast, get_args

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from dgrid_async.config import Secret, Timeouts
from dgrid_async.errors import APIConnectionError, APITimeoutError, ConfigError, DGridError, Phase
from dgrid_async.translation import secrets_of, timed_out, translated

KEY = "sk-translate-0123456789"
PASSWORD = "pass/word"
PROXY = "http://me:pass%2Fword@proxy.test:3128"
SECRETS = tuple(secrets_of(Secret(KEY), PROXY))
LIMITS = Timeouts(connect=2.5)
CONNECTION = ConnectionKey("gate.test", 443, True, True, URL(PROXY), cast("Any", ("me", PASSWORD)), None)
INFO = aiohttp.RequestInfo(
    URL(f"https://gate.test/v1?key={KEY}"), "POST", CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {KEY}"}))
)
REFUSED = ConnectionRefusedError(111, "Connection refused")
CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")

Case = tuple[Callable[[], BaseException], type[DGridError], str]
CASES: dict[str, Case] = {
    "ClientError": (lambda: aiohttp.ClientError("x"), APIConnectionError, "gate.test failed: x"),
    "ClientConnectionError": (aiohttp.ClientConnectionError, APIConnectionError, "failed: ClientConnectionError"),
    "ClientConnectionResetError": (lambda: aiohttp.ClientConnectionResetError("closing"), APIConnectionError, "closing"),
    "ClientOSError": (lambda: aiohttp.ClientOSError(104, "reset by peer"), APIConnectionError, "reset by peer"),
    "ClientConnectorError": (
        lambda: aiohttp.ClientConnectorError(CONNECTION, REFUSED),
        APIConnectionError,
        "gate.test, port 443: .*refused",
    ),
    "ClientConnectorDNSError": (
        lambda: aiohttp.ClientConnectorDNSError(CONNECTION, socket.gaierror(-2, "not known")),
        APIConnectionError,
        "'gate.test' cannot be resolved: .*not known",
    ),
    "ClientProxyConnectionError": (
        lambda: aiohttp.ClientProxyConnectionError(CONNECTION, REFUSED),
        APIConnectionError,
        "the proxy .* before gate.test",
    ),
    "UnixClientConnectorError": (
        lambda: client_exceptions.UnixClientConnectorError("/s", CONNECTION, REFUSED),
        APIConnectionError,
        "no connection",
    ),
    "ClientSSLError": (
        lambda: client_exceptions.ClientSSLError(CONNECTION, ssl.SSLError(1, "handshake")),
        APIConnectionError,
        "handshake",
    ),
    "ClientConnectorSSLError": (
        lambda: aiohttp.ClientConnectorSSLError(CONNECTION, ssl.SSLError(1, "handshake")),
        APIConnectionError,
        "handshake",
    ),
    "ClientConnectorCertificateError": (
        lambda: aiohttp.ClientConnectorCertificateError(CONNECTION, CERTIFICATE),
        APIConnectionError,
        "certificate of gate.test is not trusted: .*ca_file=",
    ),
    "ServerConnectionError": (lambda: aiohttp.ServerConnectionError("x"), APIConnectionError, "failed: x"),
    "ServerDisconnectedError": (
        aiohttp.ServerDisconnectedError,
        APIConnectionError,
        "gate.test closed the connection without an answer",
    ),
    "ServerTimeoutError": (lambda: aiohttp.ServerTimeoutError("slow"), APIConnectionError, "failed: slow"),
    "ConnectionTimeoutError": (aiohttp.ConnectionTimeoutError, APITimeoutError, "gate.test: no connection .* 2.5 s"),
    "SocketTimeoutError": (lambda: aiohttp.SocketTimeoutError("slow"), APIConnectionError, "failed: slow"),
    "ServerFingerprintMismatch": (
        lambda: aiohttp.ServerFingerprintMismatch(b"a", b"b", "gate.test", 443),
        APIConnectionError,
        "failed",
    ),
    "ClientResponseError": (
        lambda: aiohttp.ClientResponseError(INFO, (), status=400, message=f"bad line {KEY}"),
        APIConnectionError,
        "gate.test answered what is no HTTP: bad line",
    ),
    "ContentTypeError": (
        lambda: aiohttp.ContentTypeError(INFO, (), message="type"),
        APIConnectionError,
        "no HTTP: type",
    ),
    "WSServerHandshakeError": (
        lambda: aiohttp.WSServerHandshakeError(INFO, (), message="shake"),
        APIConnectionError,
        "no HTTP: shake",
    ),
    "ClientHttpProxyError": (
        lambda: aiohttp.ClientHttpProxyError(INFO, (), status=407, message="Proxy Authentication Required"),
        APIConnectionError,
        "the proxy on the way to gate.test answered 407 Proxy Auth",
    ),
    "TooManyRedirects": (lambda: aiohttp.TooManyRedirects(INFO, (), message="many"), APIConnectionError, "many"),
    "ClientPayloadError": (
        lambda: aiohttp.ClientPayloadError("not enough data"),
        APIConnectionError,
        "lost inside the answer: not enough data",
    ),
    "UploadAbortedError": (
        lambda: getattr(client_exceptions, "UploadAbortedError", aiohttp.ClientError)("stopped"),
        APIConnectionError,
        "stopped",
    ),
    "InvalidURL": (lambda: aiohttp.InvalidURL(URL(PROXY)), ConfigError, "address of 'gate.test' .* base_url"),
    "InvalidUrlClientError": (lambda: aiohttp.InvalidUrlClientError(URL(PROXY)), ConfigError, "base_url"),
    "RedirectClientError": (lambda: aiohttp.RedirectClientError("x"), APIConnectionError, "x"),
    "NonHttpUrlClientError": (lambda: aiohttp.NonHttpUrlClientError(URL(PROXY)), APIConnectionError, "failed"),
    "InvalidUrlRedirectClientError": (lambda: aiohttp.InvalidUrlRedirectClientError(URL(PROXY)), ConfigError, "base_url"),
    "NonHttpUrlRedirectClientError": (lambda: aiohttp.NonHttpUrlRedirectClientError(URL(PROXY)), APIConnectionError, "failed"),
    "a parser's": (lambda: http_exceptions.BadHttpMessage("bad chunk"), APIConnectionError, "bad chunk"),
    "a line too long": (lambda: http_exceptions.LineTooLong(b"x" * 9, 8), APIConnectionError, "Got more than"),
    "OSError": (lambda: OSError(24, "Too many open files"), APIConnectionError, "Too many open files"),
    "the system's timeout": (lambda: TimeoutError(110, "Connection timed out"), APIConnectionError, "timed out"),
    "a bare timeout": (TimeoutError, APIConnectionError, "failed: TimeoutError"),
    "ssl.SSLError": (lambda: ssl.SSLError(1, "bad record"), APIConnectionError, "bad record"),
    "ssl.CertificateError": (lambda: CERTIFICATE, APIConnectionError, "verify failed"),
    "ValueError": (lambda: ValueError("no such header"), ConfigError, "cannot be sent: no such header"),
    "RuntimeError": (lambda: RuntimeError("Connection closed."), APIConnectionError, "was lost: Connection closed."),
    "AssertionError": (AssertionError, APIConnectionError, "was lost: AssertionError"),
    "IncompleteReadError": (lambda: asyncio.IncompleteReadError(b"x", 2), APIConnectionError, "was lost"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_means_what_the_table_says(case: str) -> None:
    make, cls, words = CASES[case]
    original = make()
    ours = translated(original, "gate.test", LIMITS, SECRETS)
    assert type(ours) is cls
    assert re.search(words, str(ours)), str(ours)
    assert ours.args == (ours.message,)
    copy = pickle.loads(pickle.dumps(ours))  # noqa: S301 -- our own bytes
    assert (type(copy), str(copy), vars(copy)) == (type(ours), str(ours), vars(ours))


def test_the_table_is_whole() -> None:
    """Every class of the HTTP library's that can be raised by a request."""
    found = {name for name, each in inspect.getmembers(client_exceptions, inspect.isclass) if issubclass(each, Exception)}
    ours = {name for name in found if getattr(client_exceptions, name).__module__ == client_exceptions.__name__}
    assert ours - {"WSMessageTypeError"} <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_nothing_shows_a_secret(case: str) -> None:
    problem = CASES[case][0]()

    def fail(headers: dict[str, str]) -> None:
        try:
            try:
                raise aiohttp.ClientProxyConnectionError(CONNECTION, REFUSED)
            except OSError as inner:
                try:
                    raise aiohttp.ClientResponseError(INFO, (), message=f"{KEY} {PASSWORD}") from inner
                except aiohttp.ClientError:
                    raise problem from ValueError(f"the login me:{PASSWORD} of {KEY}")
        finally:
            headers = dict(headers)

    with pytest.raises(type(problem)) as caught:
        fail({"authorization": f"Bearer {KEY}"})
    ours = translated(caught.value, "gate.test", LIMITS, SECRETS)
    ours.__cause__ = caught.value
    shown = "".join(traceback.TracebackException.from_exception(ours, capture_locals=True).format())
    each: BaseException | None = ours
    seen = []
    while each is not None:
        seen.append(each)
        shown += f"{each!s} {each!r} {each.args!r} {vars(each)!r}"
        each = each.__cause__ or each.__context__
    assert len(seen) >= 3
    assert KEY not in shown
    assert PASSWORD not in shown
    assert "pass%2Fword" not in shown


def test_our_own_error_stays_itself() -> None:
    ours = ConfigError("x")
    assert translated(ours, "gate.test", LIMITS) is ours


def test_a_chain_that_is_a_ring_ends() -> None:
    first, second = OSError("one"), OSError("two")
    first.__context__, second.__context__ = second, first
    assert "one" in str(translated(first, "gate.test", LIMITS))


@pytest.mark.parametrize("phase", get_args(Phase))
def test_each_limit_names_itself(phase: Phase) -> None:
    error = timed_out(phase, 1.5, "req_1", host="gate.test")
    assert (error.phase, error.seconds, error.request_id) == (phase, 1.5, "req_1")
    assert f"Timeouts.{phase}" in str(error)
    assert "1.5 s" in str(error)
    assert error.message.startswith("gate.test: ")
    assert not timed_out(phase, 1).message.startswith("gate.test")


def test_secrets_of() -> None:
    assert set(SECRETS) == {KEY, PASSWORD, "pass%2Fword"}
    assert not list(secrets_of(None, None))
    assert not list(secrets_of(None, "http://proxy.test"))
