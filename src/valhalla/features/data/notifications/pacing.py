"""How often a channel may be used: no span of its window sees more messages than its rate says. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

MOST: Final = 10_000
"""A rate is of so many at most: the moment of each is remembered."""


class Pace:
    """The moments of what was sent lately, in seconds of one clock."""

    def __init__(self, most: int, window: float) -> None:
        self.most = most
        self.window = window
        self._sent: deque[float] = deque(maxlen=most)

    def free(self, now: float) -> int:
        """Return how many may be sent now."""
        while self._sent and now - self._sent[0] >= self.window:
            self._sent.popleft()
        return self.most - len(self._sent)

    def note(self, now: float) -> None:
        """Note that one is being sent."""
        self._sent.append(now)
