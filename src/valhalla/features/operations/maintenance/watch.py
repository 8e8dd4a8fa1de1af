"""Says what the clock did: windows that come, begin and end, states that run out or last too long.

Nothing depends on it: what holds is computed from the clock wherever it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from valhalla.features.operations.maintenance.records import Records
from valhalla.features.operations.maintenance.standing import Keeper
from valhalla.features.operations.maintenance.telling import is_news, tell
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import first_of

EVERY: Final = 2.0
_log = get_logger("maintenance")


class Watch:
    """Looks every two seconds; it costs no query unless there is something to say."""

    def __init__(
        self,
        db: Database,
        keeper: Keeper,
        records: Records,
        ledger: Ledger,
        settle: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
    ) -> None:
        self._db = db
        self._keeper = keeper
        self._records = records
        self._ledger = ledger
        self._settle = settle
        self._clock = clock
        self.beat: Callable[[], None] = lambda: None

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.once()
            except Unavailable as problem:
                _log.info("what maintenance did is told later", reason=problem.detail)
            except Exception:  # noqa: BLE001 - it must tell of the next one
                _log.exception("telling of maintenance failed")
            self.beat()
            await first_of(stop, seconds=EVERY)

    async def once(self) -> int:
        """Say what there is to say now; return how many events.

        Raises:
            Unavailable: the database cannot be reached.
        """
        now, timetable = self._clock.now(), self._keeper.timetable()
        if self._keeper.now().source == "unknown" or not is_news(self._keeper.told, timetable, now):
            return 0
        said = await self._db.run(tell, self._records, self._ledger, now, "system")
        await self._settle()
        return said
