"""Every fault that can befall generate_content: the reply whole, or the error that names what happened."""

from __future__ import annotations

import pytest

from tests.faults import runner

# The first test waits for the other cases of the format.
pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("case", runner.marked("generate_content"))
def test_fault(case: str) -> None:
    runner.check("generate_content", case)
