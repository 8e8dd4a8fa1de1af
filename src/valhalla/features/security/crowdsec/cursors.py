"""What each bouncer has been told: known in memory, written in batches, never lost ahead of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from valhalla.features.security.crowdsec import store
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.waiting import first_of
from valhalla.kit.writing import upkeep

_MOST: Final = 100_000
_BATCH: Final = 1000
_AGENT: Final = 200


class Bouncer(NamedTuple):
    """One bouncer: a key at an address, as CrowdSec counts them."""

    client_id: str
    address: str


class Cursors:
    """The revision that each bouncer is up to. After a crash one may be told something again, never too little."""

    def __init__(self, db: Database, now: Callable[[], datetime], *, interval: float = 1.0) -> None:
        """``interval`` in seconds: what was told is written that late."""
        self._db = db
        self._now = now
        self._interval = interval
        self._told: dict[Bouncer, int] = {}
        self._seen: dict[Bouncer, datetime] = {}
        self._waiting: dict[Bouncer, dict[str, Any]] = {}
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn."""

    def __len__(self) -> int:
        return len(self._told)

    def known(self, bouncer: Bouncer) -> int | None:
        """Return what this process has told a bouncer."""
        return self._told.get(bouncer)

    async def read(self, bouncer: Bouncer) -> int | None:
        """Return what a bouncer was told by whichever process."""
        mine = self._told.get(bouncer)
        theirs = await self._db.read(store.cursor_of, *bouncer)
        return mine if theirs is None else theirs if mine is None else max(mine, theirs)

    def told(self, bouncer: Bouncer, cursor: int, agent: str | None, *, reset: bool) -> None:
        """Note what a bouncer has been told; ``reset``: it began again with everything."""
        if len(self._told) >= _MOST:
            # who is forgotten is looked up
            self._told.clear()
        self._told[bouncer] = cursor
        row = self._row(bouncer, agent, cursor)
        before = self._waiting.get(bouncer)
        row["reset"] = reset or (before is not None and before["reset"])
        self._waiting[bouncer] = row

    def seen(self, bouncer: Bouncer, agent: str | None) -> None:
        """Note that a bouncer asked and there was nothing new; written once in a minute."""
        now, last = self._now(), self._seen.get(bouncer)
        if bouncer in self._waiting or (last is not None and (now - last).total_seconds() < 60):
            return
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[bouncer] = now
        self._waiting[bouncer] = {**self._row(bouncer, agent, self._told.get(bouncer)), "reset": False}

    def _row(self, bouncer: Bouncer, agent: str | None, cursor: int | None) -> dict[str, Any]:
        now = self._now()
        text = None if agent is None else agent[:_AGENT]
        return {**bouncer._asdict(), "cursor": cursor, "agent": text, "first_pull_at": now, "last_pull_at": now}

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop; then once more."""
        while not stop.is_set():
            self.beat()
            await first_of(stop, seconds=self._interval)
            await self.flush()
        await self.flush()

    async def flush(self) -> None:
        """Write what waits; without the database later."""
        waiting, self._waiting = self._waiting, {}
        rows = [waiting[bouncer] for bouncer in sorted(waiting)]
        for begin in range(0, len(rows), _BATCH):
            try:
                with upkeep():
                    await self._db.run(store.note_pulls, rows[begin : begin + _BATCH])
            except Unavailable:
                kept = {Bouncer(row["client_id"], row["address"]): row for row in rows[begin:]}
                self._waiting = {**kept, **self._waiting}
                return
