"""How long a property is tried: briefly and always alike by default, at length under the `slow` mark.

No deadline per example: on a shared machine a pause of the machine would be a failure of the property.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

__all__ = ["brief", "long", "slow"]


def brief(examples: int) -> settings:
    """Return the settings of a default run: the same examples each time."""
    return settings(_profile(examples), derandomize=True)


def long(examples: int) -> settings:
    """Return the settings of a slow run: other examples each time, and none is kept."""
    return _profile(examples)


def _profile(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


def slow(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test as one that runs at length."""
    marked: Callable[..., None] = pytest.mark.slow(pytest.mark.timeout(240)(test))
    return marked
