"""Workers that shall take no more jobs: ordered by name, heard of within seconds, done when nothing runs there."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit.db import Database
from valhalla.work.tables import worker_drains

_ORDERS: Final = worker_drains.c
_TOLD: Final = sa.text(
    "UPDATE valhalla.worker_drains SET seen_at = clock_timestamp(), running = :running,"
    " drained_at = CASE WHEN :running = 0 THEN coalesce(drained_at, clock_timestamp()) END WHERE worker = :worker"
).bindparams(sa.bindparam("running", type_=sa.Integer))


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """An order and how far it is: ``running`` jobs when the worker looked last, none since ``drained_at``."""

    worker: str
    asked_by: str
    reason: str
    asked_at: datetime
    seen_at: datetime | None = None
    running: int | None = None
    drained_at: datetime | None = None


def order(conn: Connection, worker: str, *, by: str, reason: str) -> Drain:
    """Let a worker take no more jobs, also after a restart; one that is ordered already stays as it was."""
    values = {"worker": worker, "asked_by": by, "reason": reason}
    conn.execute(upsert(worker_drains).values(values).on_conflict_do_nothing())
    found = find(conn, worker)
    assert found is not None
    return found


def lift(conn: Connection, worker: str) -> bool:
    """Let it take jobs again; say whether it did not."""
    return conn.execute(sa.delete(worker_drains).where(_ORDERS.worker == worker)).rowcount > 0


def find(conn: Connection, worker: str) -> Drain | None:
    """Return the order for one worker."""
    row = conn.execute(sa.select(worker_drains).where(_ORDERS.worker == worker)).mappings().one_or_none()
    return None if row is None else _drain(row)


def every(conn: Connection) -> list[Drain]:
    """Return every order, by worker."""
    return [_drain(row) for row in conn.execute(sa.select(worker_drains).order_by(_ORDERS.worker)).mappings()]


class Draining:
    """What one worker knows of it; asked about once in ``every`` seconds."""

    def __init__(self, db: Database, worker: str | None, *, every: float) -> None:
        """A worker without a name cannot be ordered anything."""
        self._db = db
        self._worker = worker
        self._every = every
        self._asked = float("-inf")
        self._told: int | None = None
        self.is_on = False

    async def look(self, running: int) -> bool:
        """Say whether to take no more jobs, and tell how many run. While nobody answers, what was so stays so."""
        now = time.monotonic()
        if self._worker is None or (now - self._asked < self._every and (not self.is_on or running == self._told)):
            return self.is_on
        self._asked = now
        try:
            self.is_on = await self._db.read(find, self._worker) is not None
            if self.is_on:
                await self._db.run(_tell, self._worker, running)
                self._told = running
        except Exception:  # noqa: BLE001 - the worker outlives whatever it meets; the loop that takes jobs says so
            return self.is_on
        return self.is_on


def _tell(conn: Connection, worker: str, running: int) -> None:
    conn.execute(_TOLD, {"worker": worker, "running": running})


def _drain(row: RowMapping) -> Drain:
    values = {column.name: row[column.name] for column in worker_drains.c}
    for name in ("asked_at", "seen_at", "drained_at"):
        instant = cast("datetime | None", values[name])
        values[name] = None if instant is None else instant.astimezone(UTC)
    return Drain(**values)
