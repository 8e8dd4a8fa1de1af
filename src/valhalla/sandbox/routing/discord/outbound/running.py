"""Which sandboxes run, as the database says; remembered for a moment."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database
from valhalla.sandbox import store

_FRESH: Final = 2.0
_MOST: Final = 10_000


class Running:
    """Answers of the last two seconds are not asked for again: a bot whose sandbox has ended has so much time."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def __call__(self, sandbox_id: str) -> bool:
        """Say whether the sandbox of this id runs, is not in quarantine, and has time left.

        Raises:
            Unavailable: the database cannot be reached, and nothing fresh is known.
        """
        known = self._known.get(sandbox_id)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        found = await self._db.read(store.find, sandbox_id)
        runs = (
            found is not None
            and found.id == sandbox_id
            and found.status == "running"
            and found.quarantined_at is None
            and found.expires_at > self._clock.now()
        )
        if len(self._known) >= _MOST and sandbox_id not in self._known:
            self._known.popitem(last=False)
        self._known[sandbox_id] = runs, time.monotonic() + _FRESH
        return runs
