"""When keys were last used: noted in memory by the hot path, written in batches, only ever forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection

from valhalla.features.operations.clients.tables import client_usage
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.waiting import first_of

_BATCH: Final = 2000
# processes' clocks differ a little: look back further than they do
_OVERLAP: Final = timedelta(minutes=2)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LastUsed:
    """The last use of every key: this process's at once, other processes' some seconds later."""

    def __init__(self, db: Database, *, interval: float = 5.0) -> None:
        """``interval`` in seconds: a process writes at most one batch in that time, however often keys are used."""
        self._db = db
        self._interval = interval
        self._fresh: dict[str, datetime] = {}
        self._known: dict[str, datetime] = {}
        self._seen = _BEGINNING
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    def mark(self, client_id: str, at: datetime) -> None:
        """Note a use."""
        self._fresh[client_id] = at

    def of(self, client_id: str) -> datetime | None:
        """Return when a key was last used, as far as this process knows."""
        fresh, known = self._fresh.get(client_id), self._known.get(client_id)
        if fresh is None or known is None:
            return fresh or known
        return max(fresh, known)

    async def run(self, stop: asyncio.Event) -> None:
        """Write and read until told to stop; then once more, so that an orderly end loses nothing."""
        while not stop.is_set():
            self.beat()
            await self.exchange()
            await first_of(stop, seconds=self._interval)
        await self.exchange()

    async def exchange(self) -> None:
        """Write what is new here and read what is new elsewhere; without the database later."""
        batch, self._fresh = self._fresh, {}
        try:
            rows = sorted(batch.items())
            for begin in range(0, len(rows), _BATCH):
                await self._db.run(write, rows[begin : begin + _BATCH])
            found = await self._db.read(newer, self._seen - _OVERLAP if self._seen > _BEGINNING else self._seen)
        except Unavailable:
            self._fresh = {**batch, **self._fresh}
            return
        for client_id, at in [*rows, *found.items()]:
            self._known[client_id] = max(at, self._known.get(client_id, at))
        self._seen = max(found.values(), default=self._seen)

    def forget(self, client_id: str) -> None:
        """Drop what is known of a client that is gone."""
        self._fresh.pop(client_id, None)
        self._known.pop(client_id, None)


def write(conn: Connection, rows: Sequence[tuple[str, datetime]]) -> None:
    """Move the last uses forward; in the order of ids, so that processes do not wait for each other in a circle."""
    upsert = pg_insert(client_usage)
    later = upsert.excluded.last_used_at > client_usage.c.last_used_at
    upsert = upsert.on_conflict_do_update(
        index_elements=["client_id"], set_={"last_used_at": upsert.excluded.last_used_at}, where=later
    )
    conn.execute(upsert, [{"client_id": client_id, "last_used_at": at} for client_id, at in rows])


def newer(conn: Connection, since: datetime) -> Mapping[str, datetime]:
    """Return the uses after an instant."""
    rows = conn.execute(sa.select(client_usage).where(client_usage.c.last_used_at > since))
    return {row.client_id: row.last_used_at for row in rows}


def drop(conn: Connection, client_id: str) -> None:
    """Remove the row of a client that is revoked."""
    conn.execute(sa.delete(client_usage).where(client_usage.c.client_id == client_id))
