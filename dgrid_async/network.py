"""How to reach the gateway: whose session, which proxy, and whom to trust.

It reads the environment and files when asked, and never connects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from dgrid_async.config import Secret
from dgrid_async.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    import aiohttp

__all__ = ["Network", "Route"]


def _proxy(address: str | Secret | None) -> Secret | None:
    """Return the address of a proxy, kept like a key: it may hold a password.

    Raises:
        ConfigError: It is no address of an HTTP proxy; it is not shown.
    """
    if address is None or isinstance(address, Secret):
        return address
    if not isinstance(address, str):
        raise ConfigError(f"the proxy is an address as a string, not a {type(address).__name__}")
    address = address.strip()
    if "://" not in address:
        address = f"http://{address}"  # as curl and urllib read it
    try:
        parts = urlsplit(address)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError("the proxy is not usable: give http://host:port or https://host:port; SOCKS is not spoken")
    return Secret(address)


@attrs.frozen(kw_only=True)
class Network:
    """How to reach the gateway.

    Attributes:
        session: The caller's own session; used, never closed.
        proxy: Address of an HTTP proxy, or None for what the environment says (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
        ca_file: Path of a PEM file of authorities to trust, or None for the system's (SSL_CERT_FILE, SSL_CERT_DIR).
        client_cert: Path of a PEM file with certificate and key, or the two paths.

    Raises:
        ConfigError: The proxy is no HTTP proxy.
    """

    session: aiohttp.ClientSession | None = None
    proxy: Secret | None = attrs.field(default=None, converter=_proxy)
    ca_file: str | os.PathLike[str] | None = None
    client_cert: str | os.PathLike[str] | tuple[str, str] | None = None


class Route:
    """What a network comes to, found out at first use and then kept.

    Args:
        network: How to reach the gateway.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        # The mutable state: what was found, the proxies by the origin that they are for.
        self._ssl: ssl.SSLContext | bool | None = None
        self._proxies: dict[str, Secret | None] = {}

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Return whom to trust: True for the system's authorities.

        Raises:
            ConfigError: A file cannot be loaded.
        """
        if self._ssl is None:
            network = self.network
            if network.ca_file is None and network.client_cert is None:
                self._ssl = True
            else:
                import ssl

                try:
                    context = ssl.create_default_context(cafile=network.ca_file)
                    if network.client_cert is not None:
                        pair = network.client_cert
                        certificate, key = pair if isinstance(pair, tuple) else (pair, None)
                        # Without a password of ours an encrypted key would ask for one at the terminal.
                        context.load_cert_chain(certificate, key, password="")
                except (OSError, ValueError) as error:
                    raise ConfigError(
                        f"ca_file={network.ca_file!r}, client_cert={network.client_cert!r} cannot be loaded: {error}"
                    ) from error
                self._ssl = context
        return self._ssl

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy for an address: the caller's, or the environment's as it was at first use, or None.

        Raises:
            ConfigError: The environment names one that is not usable.
        """
        network = self.network
        if network.proxy is not None:
            return network.proxy.reveal()
        if network.session is not None:
            return None
        origin = _origin(url)
        if origin not in self._proxies:
            self._proxies[origin] = _environment_proxy(url, os.environ)
        proxy = self._proxies[origin]
        return None if proxy is None else proxy.reveal()


@lru_cache(maxsize=128)
def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _environment_proxy(url: str, environment: Mapping[str, str]) -> Secret | None:
    """Return what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say of an address; None is a direct connection.

    aiohttp's own reading of these would look into ~/.netrc too, for each request, and may find another key there.
    """
    if not any(name.lower().endswith("_proxy") for name in environment):
        return None
    from urllib.request import (  # type: ignore[attr-defined]  # documented since 2.6, missing in the stubs
        getproxies_environment,
        proxy_bypass_environment,  # pyright: ignore[reportAttributeAccessIssue]
    )

    parts = urlsplit(url)
    proxies = getproxies_environment()
    if proxy_bypass_environment(parts.netloc, proxies):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    try:
        return _proxy(proxy)
    except ConfigError as error:
        # A direct connection would go round what the environment demands.
        raise ConfigError(f"{parts.scheme.upper()}_PROXY or ALL_PROXY: {error.message}") from None
