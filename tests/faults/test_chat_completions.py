"""Every fault that can befall chat_completions: the reply whole, or the error that names what happened."""

from __future__ import annotations

import pytest

from tests.faults import runner

# The first test waits for all cases of the format; one worker runs them.
pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("chat_completions")]


@pytest.mark.parametrize("case", runner.ids("chat_completions"))
def test_fault(case: str) -> None:
    assert runner.outcomes("chat_completions")[case] == []
