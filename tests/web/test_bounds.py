"""The bounds, and the count of a minute."""

from __future__ import annotations

import attrs
import pytest

from dgrid_async import ConfigError
from dgrid_async.web.bounds import Bounds, Rate


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Bounds)])
def test_each_bound_is_above_zero(name: str) -> None:
    assert getattr(Bounds(**{name: 1}), name) == 1
    with pytest.raises(ConfigError, match=name):
        Bounds(**{name: 0})


def test_a_rate_holds_in_every_sixty_seconds() -> None:
    rate = Rate(3)
    assert [rate.take(now) for now in (0, 10, 20)] == [0, 0, 0]
    assert rate.take(30) == 30
    assert rate.take(59) == 1  # what was refused is not counted
    assert rate.take(60) == 0
    assert rate.take(61) == 9
    assert [rate.take(now) for now in (70, 80)] == [0, 0]
    assert rate.take(81) == 39
