"""A clock that a test moves."""

from __future__ import annotations


class VirtualClock:
    """Seconds that pass only when told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time go on (or back)."""
        self.now += seconds
