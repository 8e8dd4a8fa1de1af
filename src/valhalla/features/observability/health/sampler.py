"""One row of numbers every ten seconds; what cannot be stored now is stored with what comes next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from valhalla.features.observability.health import store
from valhalla.features.observability.health.contracts import Numbers, Sample
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import first_of, unless

_log = get_logger("health")
EVERY: Final = 10.0
# an hour without a database; then the oldest go
_MOST: Final = 360
_WIDEST: Final = 64


class Sampler:
    """Counts and stores. ``numbers`` is set by who can count."""

    def __init__(self, db: Database, source: str, *, clock: Clock) -> None:
        self._db = db
        self._source = source
        self._clock = clock
        self._waiting: deque[Sample] = deque(maxlen=_MOST)
        self.numbers: Numbers | None = None
        self.last: Sample | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Sample until ``stop`` is set. The first comes after a pause: a start has other work."""
        self.beat()
        while not await first_of(stop, seconds=EVERY):
            self.beat()
            try:
                await unless(stop, self.sample())
            except Unavailable:
                continue
            except Exception:  # noqa: BLE001 - it outlives whatever it meets, and says so
                _log.exception("a sample failed")

    async def sample(self) -> None:
        """Count and store now.

        Raises:
            Unavailable: it is kept for the next time.
        """
        if self.numbers is not None:
            numbers = plain(await self.numbers())
            self.last = Sample(self._clock.now(), self._source, numbers)
            self._waiting.append(self.last)
        batch = list(self._waiting)
        if batch:
            await self._db.run(store.add, batch)
            self._waiting.clear()


def plain(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Return at most 64 finite numbers, rounded: a sample stays small whoever counts."""
    found: dict[str, float] = {}
    for name, value in numbers.items():
        number = float(value)
        if len(found) < _WIDEST and number - number == 0:
            found[name] = round(number, 6)
    return found
