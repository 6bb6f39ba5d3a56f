"""How much the page's server takes on: the numbers, and the count of questions in a minute.

Sans-IO; the clock is the caller's.
"""

from __future__ import annotations

from collections import deque

import attrs

from dgrid_async.errors import ConfigError

__all__ = ["Bounds", "Rate"]

_MINUTE = 60.0


def _above_zero(_: object, field: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise ConfigError(f"{field.name} is {value!r}: give a number from 1 on")


@attrs.frozen(kw_only=True)
class Bounds:
    """What one server takes on; all of it together, whoever asks.

    Attributes:
        questions_per_minute: Questions in any sixty seconds; a person does not come near it, a script gone wild does.
        answers_at_once: Answers that are being written; each costs tokens.
        answers_kept: Answers that can still be read, the oldest ended ones go first; at least those being written.
        answer_bytes: Of each kept answer, the bytes of its newest frames, as `broadcast` counts them.
        readers: Open event streams of one answer: tabs that show it.
        message_bytes: One question with the whole conversation before it.
    """

    questions_per_minute: int = attrs.field(default=30, validator=_above_zero)
    answers_at_once: int = attrs.field(default=4, validator=_above_zero)
    answers_kept: int = attrs.field(default=16, validator=_above_zero)
    answer_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_above_zero)
    readers: int = attrs.field(default=8, validator=_above_zero)
    message_bytes: int = attrs.field(default=1024 * 1024, validator=_above_zero)


class Rate:
    """Counts what happens in any sixty seconds.

    Args:
        most: How often it may.
    """

    def __init__(self, most: int) -> None:
        # The mutable state: when it happened, the last `most` times.
        self._times: deque[float] = deque(maxlen=most)

    def take(self, now: float) -> float:
        """Return 0 and count one more; or return the seconds until one more may be, and count nothing.

        Args:
            now: By a monotonic clock.
        """
        times = self._times
        if len(times) == times.maxlen and (wait := times[0] + _MINUTE - now) > 0:
            return wait
        times.append(now)
        return 0.0
