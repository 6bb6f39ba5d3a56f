"""How the gateway is reached, over real sockets: proxies and certificates."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from dgrid_async import (
    APIConnectionError,
    ConfigError,
    Retries,
)
from dgrid_async.network import Network
from tests.loopback import (
    KEY,
    ask,
    client_of,
    good,
    loopback,
    stream_text,
)

ROOT = Path(__file__).parents[1]


# --------------------------------------------------------------------------------------------------------------- proxies


@attrs.define
class Proxy:
    """A small HTTP proxy: what it was asked for, and with which login."""

    url: str = ""
    asked: list[str] = attrs.field(factory=list)
    logins: list[str | None] = attrs.field(factory=list)
    refuse: bytes = b""


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy on loopback, for plain requests and for CONNECT."""
    running = Proxy()
    tasks: set[asyncio.Task[Any]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # there is one
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *headers = head.rstrip().split("\r\n")
            method, target, _ = line.split(" ")
            running.asked.append(f"{method} {target}")
            login = [each.partition(": ")[2] for each in headers if each.lower().startswith("proxy-authorization")]
            running.logins.append(login[0] if login else None)
            if running.refuse:
                writer.write(running.refuse)
                return
            host, _, port = (target if method == "CONNECT" else target.split("/")[2]).partition(":")
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = "/" + target.split("/", 3)[3]
                there_writer.write("\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""]).encode())
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield running
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def with_login(url: str) -> str:
    return url.replace("//", "//me:pass%21word@")


async def test_a_proxy_given_as_an_argument(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    async with loopback() as server, client_of(server, proxy=with_login(proxy.url)) as client:
        assert await ask(client) == "hello"
        assert proxy.asked == [f"POST {server.url}/v1/chat/completions"]
        assert proxy.logins == ["Basic bWU6cGFzcyF3b3Jk"]
        assert "proxy-authorization" not in server.requests[0].headers or server.requests[0].headers["authorization"]
        shown = repr([vars(client), vars(client._pool), attrs.asdict(client._pool.route.network), client._pool.route.network])
        assert "word" not in shown


@pytest.mark.parametrize("form", ["http://{}", "{}"])
async def test_a_proxy_of_the_environment(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", form.format(proxy.url.removeprefix("http://")))
    async with loopback() as server, client_of(server) as client:
        assert await ask(client) == "hello"
        assert await stream_text(client) == "hello"
        assert len(proxy.asked) >= 1
        assert len(server.requests) == 2


@pytest.mark.parametrize("excepted", ["127.0.0.1", "*", "127.0.0.1:{port}"])
async def test_no_proxy_of_the_environment(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    async with loopback() as server:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", excepted.format(port=server.port))
        async with client_of(server) as client:
            assert await ask(client) == "hello"
        assert proxy.asked == []


async def test_a_proxy_of_another_scheme_is_no_reason_to_use_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback() as server:
        monkeypatch.setenv("ALL_PROXY", "socks5://me:password@127.0.0.1:1")
        async with client_of(server) as client:
            with pytest.raises(ConfigError, match="SOCKS") as caught:
                await ask(client)
            assert "password" not in repr(caught.value)
            assert client.stats().in_use == 0
        assert server.requests == []


@pytest.mark.parametrize("address", ["socks5://me:password@h:1", "http://", "http://h:99999", "http://me:password@h:0", 5])
def test_an_unusable_proxy_is_refused_and_not_shown(address: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Network(proxy=address)
    assert "password" not in str(caught.value)


async def test_a_proxy_that_is_not_there_or_refuses(proxy: Proxy) -> None:
    async with loopback() as server, client_of(server, proxy="http://me:password@127.0.0.1:1") as client:
        with pytest.raises(APIConnectionError, match=r"no connection to the proxy 127\.0\.0\.1:1") as caught:
            await ask(client, retries=Retries(max_attempts=1))
        assert "password" not in repr(caught.value) + repr(caught.value.__cause__) + repr(vars(caught.value.__cause__))
    proxy.refuse = b"HTTP/1.1 407 Login first\r\ncontent-length: 0\r\n\r\n"
    async with client_of("https://127.0.0.1:9", proxy=with_login(proxy.url)) as client:
        with pytest.raises(APIConnectionError, match="answered 407 Login first") as caught:
            await ask(client, retries=Retries(max_attempts=1))
        cause = caught.value.__cause__
        for text in (str(cause), repr(cause), repr(vars(cause))):
            assert KEY not in text
            assert "word" not in text
            assert "bWU6" not in text


# ------------------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate for 127.0.0.1 and a client's, as PEM files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for name in ("server", "client"):
        subprocess.run(
            [*new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE"],
            cwd=folder, capture_output=True, check=True,
        )  # fmt: skip
    (folder / "both.pem").write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
    subprocess.run(
        ["openssl", "ec", "-in", "client.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key"],
        cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    return folder


def server_context(certificates: Path, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "client.pem")
    return context


async def test_a_ca_file(certificates: Path) -> None:
    async with loopback(good, server_context(certificates)) as server:
        async with client_of(server, ca_file=certificates / "server.pem") as client:
            assert await ask(client) == "hello"
            assert await stream_text(client) == "hello"
            assert server.connections == 1
        async with client_of(server, retries=Retries(max_attempts=1)) as client:
            with pytest.raises(APIConnectionError, match=r"certificate of 127\.0\.0\.1 is not trusted") as caught:
                await ask(client)
            assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorCertificateError)


@pytest.mark.parametrize("files", [("client.pem", "client.key"), ("both.pem",)])
async def test_a_client_certificate(certificates: Path, files: tuple[str, ...]) -> None:
    paths = tuple(str(certificates / name) for name in files)
    async with loopback(good, server_context(certificates, client=True)) as server:
        own: Any = paths if len(paths) > 1 else paths[0]
        async with client_of(server, ca_file=certificates / "server.pem", client_cert=own) as client:
            assert await ask(client) == "hello"
        async with client_of(server, ca_file=certificates / "server.pem", retries=Retries(max_attempts=1)) as client:
            with pytest.raises(APIConnectionError):
                await ask(client)


async def test_through_a_proxy_to_https(certificates: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", with_login(proxy.url))
    own = certificates / "server.pem"
    async with loopback(good, server_context(certificates)) as server, client_of(server, ca_file=own) as client:
        assert await ask(client) == "hello"
        assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port}"]
        assert proxy.logins == ["Basic bWU6cGFzcyF3b3Jk"]
        assert "proxy-authorization" not in server.requests[0].headers
        assert "word" not in repr([vars(client._pool), vars(client._pool.route)])


@pytest.mark.parametrize(
    "options",
    [{"ca_file": "nowhere.pem"}, {"client_cert": "nowhere.pem"}, {"client_cert": ("client.pem", "locked.key")}],
    ids=str,
)
async def test_certificates_that_cannot_be_loaded(certificates: Path, options: dict[str, Any]) -> None:
    placed = {
        name: tuple(str(certificates / each) for each in value) if isinstance(value, tuple) else str(certificates / value)
        for name, value in options.items()
    }
    async with loopback() as server, client_of(server, **placed) as client:
        with pytest.raises(ConfigError, match="cannot be loaded"):
            await ask(client)
        assert client.stats().in_use == 0


async def test_an_encrypted_key_asks_for_no_password(certificates: Path) -> None:
    """Without a terminal the question would go to the standard input, where this process has the answer."""
    program = """
        import asyncio
        from dgrid_async import AsyncDGrid, ConfigError
        client = AsyncDGrid("k", base_url="https://127.0.0.1:1", client_cert=("client.pem", "locked.key"))
        try:
            asyncio.run(client.messages.create(model="m", max_tokens=1, messages=[]))
        except ConfigError as error:
            print(error)
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), cwd=certificates, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    out, _ = await process.communicate(b"secret\n")
    assert b"cannot be loaded" in out
