"""What became of one request of a map: its reply or its error, and what it took.

Values only: nothing here waits or sends.
"""

from __future__ import annotations

from typing import Any

import attrs

from dgrid_async.errors import DGridError
from dgrid_async.request import Request

__all__ = ["Outcome", "tokens_of"]

# Where the formats keep the number of all tokens, and its parts where one has no such number.
_TOTALS = ("total_tokens", "total_token_count")
_PARTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


# Not frozen, as other values are: making one would cost three times as much, once a request.
@attrs.define
class Outcome:
    """What became of one request.

    Attributes:
        index: The request's place in the input, from 0.
        request: The request itself.
        reply: The reply, or None where there is an error.
        error: Why there is none; `error.snapshot` is what a stream had brought by then.
        attempts: How often it was sent, refusals included; 0 where it could not be.
        seconds: From its first sending to its end, waits between attempts included.
    """

    index: int
    request: Request
    reply: Any = None
    error: DGridError | None = None
    attempts: int = 1
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True where there is a reply."""
        return self.error is None

    @property
    def custom_id(self) -> str | None:
        """The request's own name."""
        return self.request.custom_id

    @property
    def usage(self) -> Any:
        """The token counts in the words of the format, those of an unfinished stream too; None where none came."""
        return getattr(self.reply if self.error is None else self.error.snapshot, "usage", None)


def tokens_of(usage: Any) -> int | None:
    """Return how many tokens a usage counts in all, whatever its format; None where it counts none."""
    for name in _TOTALS:
        if total := getattr(usage, name, None):
            return int(total)
    return sum(getattr(usage, name, None) or 0 for name in _PARTS) or None
