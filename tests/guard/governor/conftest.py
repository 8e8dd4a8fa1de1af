"""What the governor's tests share."""

from __future__ import annotations

import pytest
from tests.guard.governor.virtual import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
