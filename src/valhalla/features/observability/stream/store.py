"""Every SQL statement of live events: reading the outbox, never writing it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from valhalla.kit.outbox import Event
from valhalla.kit.outbox.tables import events

_COLUMNS = (
    events.c.id,
    events.c.uid,
    events.c.subject,
    events.c.type,
    events.c.data,
    events.c.correlation_id,
    events.c.at,
)


def head(conn: Connection, window: int) -> tuple[int, list[int]]:
    """Return the highest id (0 for none), and which of the ``window`` ids up to it are not there."""
    last = conn.scalar(sa.select(sa.func.coalesce(sa.func.max(events.c.id), 0))) or 0
    first = max(1, last - window + 1)
    there = set(conn.scalars(sa.select(events.c.id).where(events.c.id >= first)))
    return last, [number for number in range(first, last) if number not in there]


def unseen(conn: Connection, after: int, gaps: Collection[int], limit: int) -> list[Event]:
    """Return events with a higher id, and those that filled a gap, by id."""
    wanted: sa.ColumnElement[bool] = events.c.id > after
    if gaps:
        wanted = sa.or_(wanted, events.c.id == sa.any_(sa.cast(sorted(gaps), ARRAY(sa.BigInteger))))
    return _read(conn, sa.select(*_COLUMNS).where(wanted).order_by(events.c.id).limit(limit))


def after(conn: Connection, number: int, limit: int) -> list[Event]:
    """Return the first events after one, by id."""
    return _read(conn, sa.select(*_COLUMNS).where(events.c.id > number).order_by(events.c.id).limit(limit))


def latest(conn: Connection, limit: int) -> list[Event]:
    """Return the newest events, by id."""
    found = _read(conn, sa.select(*_COLUMNS).order_by(events.c.id.desc()).limit(limit))
    return found[::-1]


def reaches(conn: Connection, number: int, most: int) -> bool:
    """Say whether everything after an id is still there, and is at most so many events."""
    known = sa.exists().where(events.c.id <= number)
    last = sa.select(sa.func.max(events.c.id)).scalar_subquery()
    row = conn.execute(sa.select(known, last)).one()
    if not row[0] or row[1] is None or row[1] < number:
        return False
    some = sa.select(events.c.id).where(events.c.id > number).limit(most + 1).subquery()
    return (conn.scalar(sa.select(sa.func.count()).select_from(some)) or 0) <= most


def _read(conn: Connection, query: sa.Select[*tuple[Any, ...]]) -> list[Event]:
    rows: Sequence[Any] = conn.execute(query).all()
    return [Event(*row) for row in rows]
