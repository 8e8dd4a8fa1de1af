"""Every SQL statement about schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.work.schedules.contracts import Schedule, Timing
from valhalla.work.schedules.tables import schedules
from valhalla.work.tables import job_kinds

_FIELDS: Final = Schedule.__struct_fields__
_COLUMNS: Final = [schedules.c[name] for name in _FIELDS]


def now(conn: Connection) -> datetime:
    """Return the database's clock: the processes' own may differ."""
    return conn.execute(sa.text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)


def save(conn: Connection, schedule: Schedule) -> None:
    """Write a schedule over the one of its name; what it did last stays."""
    values: dict[str, Any] = {name: getattr(schedule, name) for name in _FIELDS}
    values["timing"] = msgspec.to_builtins(schedule.timing)
    kept = ("name", "last_at", "last_job")
    statement = insert(schedules).values(values)
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=[schedules.c.name],
            set_={name: statement.excluded[name] for name in _FIELDS if name not in kept},
        )
    )


def get(conn: Connection, name: str, *, lock: bool = False) -> Schedule | None:
    """Return one schedule."""
    query = sa.select(*_COLUMNS).where(schedules.c.name == name)
    row = conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else _schedule(row)


def every(conn: Connection) -> list[Schedule]:
    """Return all schedules by name."""
    return [_schedule(row) for row in conn.execute(sa.select(*_COLUMNS).order_by(schedules.c.name)).mappings()]


def page(conn: Connection, *, after: str | None, limit: int) -> list[Schedule]:
    """Return schedules by name, after the name ``after``."""
    query = sa.select(*_COLUMNS).order_by(schedules.c.name).limit(limit)
    if after is not None:
        query = query.where(schedules.c.name > after)
    return [_schedule(row) for row in conn.execute(query).mappings()]


def remove(conn: Connection, name: str) -> bool:
    """Remove a schedule; its jobs stay."""
    return conn.execute(sa.delete(schedules).where(schedules.c.name == name)).rowcount > 0


def due(
    conn: Connection, at: datetime, jobs: Sequence[str], *, everybodys: bool = False, limit: int = 50
) -> list[Schedule]:
    """Lock and return schedules of ``jobs`` that are due at ``at`` and that no other process is working on.

    ``everybodys`` are those whose job some worker knows, too.
    """
    known = schedules.c.job.in_(jobs)
    if everybodys:
        known = sa.or_(known, schedules.c.job.in_(sa.select(job_kinds.c.name)))
    query = (
        sa.select(*_COLUMNS)
        .where(~schedules.c.paused, schedules.c.next_at <= at, known)
        .order_by(schedules.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_schedule(row) for row in conn.execute(query).mappings()]


def advance(conn: Connection, name: str, **values: Any) -> None:
    """Note what a tick did."""
    conn.execute(sa.update(schedules).where(schedules.c.name == name).values(values))


def _schedule(row: RowMapping) -> Schedule:
    values = dict(row)
    for name in ("next_at", "last_at"):
        if values[name] is not None:
            values[name] = values[name].astimezone(UTC)
    return Schedule(**{**values, "timing": msgspec.convert(values["timing"], Timing)})
