"""How often each rule refused a request: counted in memory, written in batches, added up over all processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from valhalla.features.security.blocklist import store
from valhalla.features.security.blocklist.store import Hit
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.waiting import first_of
from valhalla.kit.writing import upkeep

_BATCH: Final = 1000
_MOST: Final = 50_000
_OVERLAP: Final = timedelta(minutes=2)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Hits:
    """The hits of every rule: other processes' some seconds later."""

    def __init__(self, db: Database, now: Callable[[], datetime], *, interval: float = 5.0) -> None:
        """``interval`` in seconds: a process writes at most once in that time, however often it refuses."""
        self._db = db
        self._now = now
        self._interval = interval
        self._fresh: dict[str, int] = {}
        self._last: dict[str, datetime] = {}
        self._known: dict[str, Hit] = {}
        self._seen = _BEGINNING
        self.total = 0
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn."""
        self.uncounted = 0
        """Hits that no rule was credited with, because too many different ones were hit at once."""

    def mark(self, key: str) -> None:
        """Count one."""
        self.total += 1
        if key not in self._fresh and len(self._fresh) >= _MOST:
            self.uncounted += 1
            return
        self._fresh[key] = self._fresh.get(key, 0) + 1
        self._last[key] = self._now()

    def of(self, key: str) -> Hit:
        """Return the hits of a rule, as far as this process knows."""
        known, fresh = self._known.get(key), self._fresh.get(key, 0)
        if known is None:
            return Hit(key, fresh, self._last.get(key, _BEGINNING))
        return Hit(key, known.hits + fresh, max(known.last_at, self._last.get(key, _BEGINNING)))

    async def top(self, most: int) -> list[Hit]:
        """Return the rules that refused most, of all processes, as far as it is written."""
        return await self._db.read(store.top, most)

    async def run(self, stop: asyncio.Event) -> None:
        """Write and read until told to stop; then once more, so that an orderly end loses nothing."""
        while not stop.is_set():
            self.beat()
            await self.exchange()
            await first_of(stop, seconds=self._interval)
        await self.exchange()

    async def exchange(self) -> None:
        """Write what is new here and read what is new elsewhere; without the database later."""
        fresh, self._fresh = self._fresh, {}
        last, self._last = self._last, {}
        rows = [(key, count, last[key]) for key, count in sorted(fresh.items())]
        written = 0
        try:
            # what refuses people is counted also while users may not write
            with upkeep():
                for begin in range(0, len(rows), _BATCH):
                    await self._db.run(store.add_hits, rows[begin : begin + _BATCH])
                    written = begin + _BATCH
            found = await self._db.read(
                store.hits_since, self._seen - _OVERLAP if self._seen > _BEGINNING else self._seen, _MOST
            )
        except Unavailable:
            for key, count, at in rows[written:]:
                self._fresh[key] = self._fresh.get(key, 0) + count
                self._last[key] = max(at, self._last.get(key, at))
            return
        if len(self._known) > _MOST:
            self._known.clear()
        self._known.update((hit.key, hit) for hit in found)
        self._seen = max((hit.last_at for hit in found), default=self._seen)
