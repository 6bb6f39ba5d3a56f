"""A chat page for one person: served on loopback, its answers kept on the server, its key never given to the page.

`dgrid-async web` runs it. The page itself is `page.html`, whole: no build step, and nothing from elsewhere.
"""

from dgrid_async.web.bounds import Bounds
from dgrid_async.web.server import Server

__all__ = ["Bounds", "Server"]
