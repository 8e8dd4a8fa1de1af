"""Arena databases over time: opened when the last one is full, dropped whole when they have drained.

Catalog scans grow with everything in one database, and a dropped database takes leaked files with it, so an arena takes
a bounded number of sandboxes in its life and is never refilled.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kit.advisory import ARENAS
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.sandbox.slices.postgres import PostgresSlice
from valhalla.sandbox.tables import arenas, sandboxes

_log = get_logger("sandbox.arenas")
# every process has learnt by then that the arena is closed
SETTLED: Final = timedelta(minutes=1)


class ArenaKeeper:
    """Opens and drops arenas; every process runs one, the database lets one of them decide at a time."""

    def __init__(self, db: Database, postgres: PostgresSlice, *, size: int, clock: Clock) -> None:
        self._db = db
        self._postgres = postgres
        self._size = size
        self._clock = clock

    async def start(self) -> list[str]:
        """Learn or make the open arena and prepare it; return what the server does not enforce.

        Raises:
            Misconfigured: the server is too old or the control plane's role lacks a right.
            Unavailable: the server cannot be reached.
        """
        number = await self._db.run(_open_number, now=self._clock.now(), name=self._postgres.arenas.name_of)
        self._postgres.arenas.use(number)
        return await self._postgres.prepare()

    async def once(self) -> list[str]:
        """Close a full arena, open the next, drop a drained one; return the names of those dropped.

        Raises:
            Unavailable: the server cannot be reached.
        """
        number, taken = await self._db.read(_load)
        if taken >= self._size:
            await self._postgres.arenas.make(number + 1)
            number = await self._db.run(
                _advance, number, now=self._clock.now(), name=self._postgres.arenas.name_of(number + 1)
            )
            _log.info("an arena is full; the next is open", arena=self._postgres.arenas.name_of(number))
        self._postgres.arenas.use(number)
        dropped: list[str] = []
        for name in await self._db.read(_drained, before=self._clock.now() - SETTLED):
            await self._postgres.arenas.drop(name)
            await self._db.run(_mark_dropped, name, now=self._clock.now())
            dropped.append(name)
        return dropped


def _open_number(conn: Connection, *, now: object, name: object) -> int:
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(ARENAS)))
    number = conn.scalar(sa.select(arenas.c.number).where(arenas.c.status == "open"))
    if number is None:
        number = (conn.scalar(sa.select(sa.func.max(arenas.c.number))) or 0) + 1
        assert callable(name)
        conn.execute(arenas.insert().values(number=number, name=name(number), status="open", opened_at=now))
    return number


def _load(conn: Connection) -> tuple[int, int]:
    """Return the open arena's number and how many sandboxes it has taken in its life."""
    taken = (
        sa.select(sa.func.count())
        .select_from(sandboxes)
        .where(sandboxes.c.pg_database == arenas.c.name)
        .scalar_subquery()
    )
    row = conn.execute(sa.select(arenas.c.number, taken).where(arenas.c.status == "open")).one()
    return row[0], row[1]


def _advance(conn: Connection, number: int, *, now: object, name: str) -> int:
    """Close arena ``number`` and open the next, unless another process has; return the open one's number."""
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(ARENAS)))
    current = conn.execute(sa.select(arenas.c.number).where(arenas.c.status == "open")).scalar_one()
    if current != number:
        return current
    conn.execute(arenas.update().where(arenas.c.number == number).values(status="closed", closed_at=now))
    conn.execute(arenas.insert().values(number=number + 1, name=name, status="open", opened_at=now))
    return number + 1


def _drained(conn: Connection, *, before: object) -> list[str]:
    held = sa.exists().where(sandboxes.c.pg_database == arenas.c.name, sandboxes.c.status != "destroyed")
    statement = sa.select(arenas.c.name).where(arenas.c.status == "closed", arenas.c.closed_at < before, ~held).limit(5)
    return list(conn.execute(statement).scalars())


def _mark_dropped(conn: Connection, name: str, *, now: object) -> None:
    conn.execute(arenas.update().where(arenas.c.name == name).values(status="dropped", dropped_at=now))
