"""What callers have met lately at the pool of one template, in plain memory."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import Final

from valhalla.sandbox.pool.pace import BURST, DRY, MOMENT, Demand

# claims that are remembered: the target never grows beyond
_MOST: Final = 4096
_RECENT: Final = 10.0


class Meter:
    """Counts claims; a claim costs two appends at most."""

    def __init__(self) -> None:
        self._claims: deque[float] = deque(maxlen=_MOST)
        self._missed: deque[float] = deque(maxlen=_MOST)

    def note(self, *, found: bool) -> None:
        """Count a claim, and whether there was a slot for it."""
        now = time.monotonic()
        self._claims.append(now)
        if not found:
            self._missed.append(now)

    def recent(self) -> int:
        """Return how many claims there were in ten seconds."""
        return _since(self._claims, time.monotonic() - _RECENT)

    def demand(self, *, target: int, ready: int, late: float) -> Demand:
        """Return what the pace depends on."""
        now = time.monotonic()
        moment = sum(at >= now - MOMENT for at in islice(reversed(self._claims), BURST))
        return Demand(target, ready, _since(self._missed, now - DRY), moment, late)


def _since(moments: deque[float], start: float) -> int:
    """Forget what was before ``start`` and count the rest."""
    while moments and moments[0] < start:
        moments.popleft()
    return len(moments)
