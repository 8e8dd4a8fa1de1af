"""Remove what has expired: at the gate it holds no longer anyway, bouncers are told by this."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from valhalla.features.security.blocklist import store
from valhalla.features.security.blocklist.service import BlockService
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.kit.writing import upkeep
from valhalla.work.schedules import Cron, Schedule

_log = get_logger("blocklist")
_EVERY: Final = 2.0
_KEPT: Final = timedelta(days=30)
PRUNE: Final = Schedule(
    name="valhalla.prune-block-hits", job="valhalla.prune-block-hits", timing=Cron("41 3 * * *"), jitter=60.0
)


class Sweeper:
    """Looks every two seconds, by an index that holds only rules with an expiry."""

    def __init__(self, db: Database, service: BlockService, now: Callable[[], datetime]) -> None:
        self._db = db
        self._service = service
        self._now = now
        self.swept = 0
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until told to stop."""
        backoff, pause = Backoff(_EVERY, 30.0), _EVERY
        self.beat()
        while not await first_of(stop, seconds=pause):
            self.beat()
            try:
                found = await self.sweep()
            except Unavailable:
                pause = backoff.next()
            except Problem as problem:
                pause = backoff.next()
                _log.warning("expired rules could not be removed", error=problem.detail)
            except Exception:  # noqa: BLE001 - it outlives whatever it meets, and says so
                pause = backoff.next()
                _log.exception("expired rules could not be removed")
            else:
                # there may be more
                pause = 0.0 if found else _EVERY
                backoff.reset()

    async def sweep(self) -> int:
        """Remove up to 500 rules; return how many."""
        # an expiry is no user's write
        with upkeep():
            found = await self._db.run(self._service.sweep, self._now())
        self.swept += found
        return found

    async def prune(self) -> int:
        """Remove the counts of rules that are gone for a month."""
        return await self._db.run(store.drop_hits, datetime.now(UTC) - _KEPT)
