"""The background part that chains new entries about once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sqlalchemy.engine import Connection

from valhalla.kernel.problems import Unavailable
from valhalla.kit import notices
from valhalla.kit.db import Database
from valhalla.kit.ledger.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of

log = get_logger("ledger.sealer")


class Sealer:
    """Every process may run one; the database lets one of them work at a time."""

    def __init__(self, db: Database, ledger: Ledger, *, interval: float = 0.5, batch: int = 1000) -> None:
        """``interval`` in seconds; ``batch`` entries share one transaction and one checkpoint."""
        self._db = db
        self._ledger = ledger
        self._interval = interval
        self._batch = batch
        self._woken = asyncio.Event()
        self._sealed_at: float | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called after each pass, whatever came of it."""

    @property
    def idle_for(self) -> float | None:
        """Seconds since the last pass that reached the database, ``None`` before the first."""
        return None if self._sealed_at is None else time.monotonic() - self._sealed_at

    def wake(self) -> None:
        """Seal now instead of at the next pass."""
        self._woken.set()

    async def once(self) -> int:
        """Seal everything that waits; return how many entries.

        Raises:
            Unavailable: the database cannot be reached.
        """
        total = 0
        while sealed := await self._db.run(self._seal):
            total += sealed
            if sealed < self._batch:
                break
        self._sealed_at = time.monotonic()
        return total

    def _seal(self, conn: Connection) -> int:
        if sealed := self._ledger.seal(conn, self._batch):
            # once a batch, and not at every entry: notifying transactions wait for each other
            notices.tell(conn, notices.AUDIT)
        return sealed

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then seal what is left; a lost database is waited for."""
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            self._woken.clear()
            pause = self._interval
            try:
                await self.once()
                backoff.reset()
            except Unavailable as problem:
                pause = backoff.next()
                log.warning("sealing waits for the database", error=problem.detail, pause=round(pause, 2))
            except Exception:
                pause = backoff.next()
                log.exception("sealing failed and will be tried again", pause=round(pause, 2))
            self.beat()
            await first_of(stop, self._woken, seconds=pause)
        try:
            await self.once()
        except Unavailable as problem:
            log.warning("the last entries are left to the next sealer", error=problem.detail)
