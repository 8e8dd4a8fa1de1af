"""Adds what every process counted to the rollups, some seconds later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from valhalla.features.security.dashboard import store
from valhalla.features.security.dashboard.contracts import BUCKET, KEPT, Counted
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.waiting import first_of
from valhalla.kit.writing import upkeep


class Rollups:
    """Counts go on while the database is away, and are written to the bucket in which it answers again."""

    def __init__(self, db: Database, counted: Counted, now: Callable[[], datetime], *, interval: float = 10.0) -> None:
        """``interval`` in seconds between two writes."""
        self._db = db
        self._counted = counted
        self._now = now
        self._interval = interval
        self._written: dict[str, int] = {}
        self._pruned: datetime | None = None
        self._lock = asyncio.Lock()
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn."""

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop; then once more, so that an orderly end loses nothing."""
        while not stop.is_set():
            self.beat()
            await self.once()
            await first_of(stop, seconds=self._interval)
        await self.once()

    async def once(self) -> None:
        """Write what is new; without the database later."""
        # two at once would both write what is new
        async with self._lock:
            await self._write()

    async def _write(self) -> None:
        now = self._now().astimezone(UTC)
        counts = dict(self._counted())
        fresh = {metric: more for metric, count in counts.items() if (more := count - self._written.get(metric, 0)) > 0}
        try:
            # what happens is counted also while users may not write
            with upkeep():
                if fresh:
                    await self._db.run(store.add, bucket_of(now), fresh)
                    self._written = counts
                if self._pruned is None or now - self._pruned > BUCKET:
                    await self._db.run(store.drop, now - KEPT)
                    self._pruned = now
        except Unavailable:
            return


def bucket_of(at: datetime) -> datetime:
    """Return the beginning of the bucket of an instant."""
    seconds = int(BUCKET.total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, UTC)
