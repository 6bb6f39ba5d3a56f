"""Who may ask the page's server, and what a browser may do with what it answers.

Rules
1. A name that somebody else's DNS may point here is not ours: the Host is an address, `localhost`, or the name that was given.
2. Another site's page may send nothing and read nothing; it may link to the page and no more.
3. What changes something says where it comes from, or is refused: browsers always do.
4. The page runs its own script and style alone, known by their hashes, and talks to its own server alone.

Sans-IO: it reads headers and returns words.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Mapping

__all__ = ["HEADERS", "Guard", "content_security_policy", "is_loopback"]

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store, no-transform",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "dgrid-async",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_READING = frozenset({"GET", "HEAD"})
# What a browser says of requests by the page itself, and by a person who typed the address.
_OWN = frozenset({"same-origin", "none"})


class Guard:
    """Decides by the headers of a request.

    Args:
        host: The address or name that the server listens on.
    """

    def __init__(self, host: str) -> None:
        self._host = host.lower()
        self._open = not is_loopback(host)

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Return why a request is refused, or None.

        Args:
            method: In capitals.
            path: Without the query.
            headers: Looked up by their names as the standards write them.
        """
        host = headers.get("Host", "")
        if not self._knows(host):
            return "this server does not go by that name: use its address"
        origin = headers.get("Origin")
        if origin is None:
            if method not in _READING:
                return "the request does not say which page it comes from"
        elif origin.lower() not in {f"http://{host}".lower(), f"https://{host}".lower()}:
            return "the request comes from another site"
        if headers.get("Sec-Fetch-Site", "none") not in _OWN and path != "/":
            return "the request comes from another site"
        return None

    def _knows(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower()
        if name == "localhost" or (self._open and name == self._host):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._open or address.is_loopback


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def content_security_policy(page: str) -> str:
    """Return the policy under which a page runs its own inline script and style, and nothing else.

    Source: https://www.w3.org/TR/CSP3/
    """
    script, style = (_hashes(page, tag) for tag in ("script", "style"))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {script}",
            f"style-src {style}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hashes(page: str, tag: str) -> str:
    bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
