"""A clock that only goes forward."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_FORWARD: Final = (time.monotonic, time.perf_counter)


def steady(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that goes on from where it was when ``clock`` jumps backwards.

    Standing still until the old time is reached again would lock everybody out for as long as the jump.
    """
    return clock if clock in _FORWARD else _Steady(clock)


class _Steady:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._last = float(clock())
        self._lost = 0.0

    def __call__(self) -> float:
        # read under the lock: two readings that are told in the wrong order would look like a jump
        with self._lock:
            now = self._clock() + self._lost
            if now < self._last:
                self._lost += self._last - now
                return self._last
            self._last = now
            return now
