"""Where requests go: addresses as they are sent, and where a redirect may lead.

It never sends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from dgrid_async import failures
from dgrid_async.config import Secret
from dgrid_async.errors import UnexpectedResponseError

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["redirected", "url_of"]

_KEEPS_POST = frozenset({307, 308})
# What stays as it is in a path or a query, the percent sign of what has been quoted before among it (RFC 3986, 3.3 and 3.4).
_SENT = "%/?:@!$&'()*+,;=~"


def redirected(url: str, status: int, headers: Mapping[str, str], secret: Secret | None = None) -> str:
    """Return where a redirect of a POST to `url` leads, if it may be followed.

    Args:
        url: Where the request went.
        status: 3xx.
        headers: Of the answer, looked up without regard to case.
        secret: The key, which the error must not show where the gateway put it into the address.

    Raises:
        UnexpectedResponseError: It leads to another host or back to plain HTTP, would make a GET of the POST, or leads nowhere.
    """
    location = headers.get("location")
    shown = "nowhere"
    if location is not None:
        try:
            target = urljoin(url, location)
            here, there = urlsplit(url), urlsplit(target)
            shown = f"{there.scheme}://{there.hostname}{there.path}"
            if status in _KEEPS_POST and there.username is None and _same_place(here, there):
                return target
        except ValueError:
            shown = "an address that is none"
    shown = failures.excerpt(shown, secret=None if secret is None else secret.reveal())
    raise UnexpectedResponseError(
        f"HTTP {status} redirects to {shown}: only a 307 or 308 to the same host is followed, because the key must go "
        "nowhere else and a POST must stay one; set base_url to the right address",
        status=status,
        content_type=headers.get("content-type") or "",
        request_id=failures.request_id_of(headers),
    )


def _same_place(here: SplitResult, there: SplitResult) -> bool:
    """Tell whether both are one host and port; from HTTP to HTTPS counts as one, between the ports usual for them too."""
    ports = {"http": 80, "https": 443}
    if here.hostname != there.hostname or there.scheme not in ports:
        return False
    port, other = here.port or ports[here.scheme], there.port or ports[there.scheme]
    if here.scheme == there.scheme:
        return port == other
    return there.scheme == "https" and (other == port or (port, other) == (80, 443))


@lru_cache(maxsize=128)
def url_of(url: str) -> URL:
    """Return an address that is sent as it stands: left to it, aiohttp makes a colon of the %3A in a model's name."""
    from yarl import URL

    parts = urlsplit(url)
    place = parts.netloc if parts.netloc.isascii() else URL(f"{parts.scheme}://{parts.netloc}").raw_authority
    path, query = quote(parts.path, safe=_SENT), quote(parts.query, safe=_SENT)
    return URL(urlunsplit((parts.scheme, place.lower(), path or "/", query, "")), encoded=True)
