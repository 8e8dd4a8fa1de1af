"""Waiting for what another thread does, for as long as a loaded machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds."""


def until(true: Callable[[], object]) -> None:
    """Return as soon as something is true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)
