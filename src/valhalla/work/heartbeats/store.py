"""Every SQL statement about heartbeats, and what a caller does with them. All time is the database's clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kernel.problems import Invalid
from valhalla.kit.outbox import emit_many
from valhalla.kit.redact import text
from valhalla.work.errors import NoSuchHeartbeat
from valhalla.work.heartbeats.contracts import Heartbeat
from valhalla.work.heartbeats.tables import heartbeats

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(?:\.[a-z0-9_-]{1,63}){0,7}")

# a source that is expected again keeps its state, and has its whole timeout to say something after a restart
_EXPECT: Final = sa.text(
    "INSERT INTO valhalla.heartbeats AS h (name, interval, timeout, grace, status, expected_since, changed_at)"
    " VALUES (:name, :interval, :timeout, :grace, 'waiting', clock_timestamp(), clock_timestamp())"
    " ON CONFLICT (name) DO UPDATE SET interval = excluded.interval, timeout = excluded.timeout,"
    " grace = excluded.grace, expected_since = excluded.expected_since"
).bindparams(sa.bindparam("grace", type_=sa.Double))
# the lock shows which status was left; `old` is read before the update of the same statement
_BEAT: Final = sa.text(
    "WITH old AS (SELECT h.name, h.status, r.age FROM valhalla.heartbeats AS h"
    " JOIN jsonb_to_recordset(:rows) AS r(name text, age float8) USING (name) ORDER BY h.name FOR UPDATE OF h)"
    " UPDATE valhalla.heartbeats AS h SET"
    " last_beat_at = greatest(h.last_beat_at, clock_timestamp() - make_interval(secs => old.age)), status = 'alive',"
    " changed_at = CASE WHEN h.status = 'alive' THEN h.changed_at ELSE clock_timestamp() END, reason = NULL,"
    " took = coalesce(extract(epoch FROM clock_timestamp() - h.started_at)::float8, h.took), started_at = NULL"
    " FROM old WHERE h.name = old.name RETURNING h.name, old.status AS before,"
    " extract(epoch FROM clock_timestamp() - h.last_beat_at)::float8 AS silent"
).bindparams(sa.bindparam("rows", type_=JSONB))
# a second beginning keeps the first one's time: what hangs must not hide behind what begins beside it
_START: Final = sa.text(
    "UPDATE valhalla.heartbeats SET started_at = coalesce(started_at, clock_timestamp()) WHERE name = :name"
)
_FAIL: Final = sa.text(
    "UPDATE valhalla.heartbeats SET status = 'missed', reason = :reason, changed_at = clock_timestamp(),"
    " took = coalesce(extract(epoch FROM clock_timestamp() - started_at)::float8, took), started_at = NULL"
    " WHERE name = :name RETURNING name, timeout, last_beat_at IS NULL AS never, reason"
)
# guarded by its condition: of many watchers one finds a row that it may change
_MISS: Final = sa.text(
    "WITH late AS (SELECT name, CASE"
    " WHEN started_at + make_interval(secs => coalesce(grace, timeout)) < clock_timestamp() THEN 'did not end in time'"
    " WHEN last_beat_at IS NULL THEN 'was never heard of' ELSE 'is silent' END AS reason"
    " FROM valhalla.heartbeats WHERE status <> 'missed'"
    " AND (greatest(last_beat_at, expected_since) + make_interval(secs => timeout) < clock_timestamp()"
    " OR started_at + make_interval(secs => coalesce(grace, timeout)) < clock_timestamp())"
    " ORDER BY name FOR UPDATE SKIP LOCKED)"
    " UPDATE valhalla.heartbeats AS h SET status = 'missed', reason = late.reason, changed_at = clock_timestamp(),"
    " started_at = NULL"
    " FROM late WHERE h.name = late.name RETURNING h.name, h.timeout, h.last_beat_at IS NULL AS never, h.reason"
)
# parts of a control plane, called `<part>.<host>.<data directory>` (work/loops.py), whose host will not come back; what
# others declared is kept: a backup that is silent for weeks is what its owner wants to hear of
_GONE: Final = sa.text(
    "DELETE FROM valhalla.heartbeats WHERE status = 'missed' AND split_part(name, '.', 1) = ANY(:parts)"
    " AND name ~ '^[^.]+[.][^.]+[.][0-9a-f]{6}$'"
    " AND greatest(last_beat_at, expected_since) < clock_timestamp() - make_interval(secs => :seconds)"
    " RETURNING name, status"
).bindparams(sa.bindparam("parts", type_=ARRAY(sa.Text)))
_LONGEST: Final = 10 * 365 * 86_400


def expect(conn: Connection, name: str, *, interval: float, timeout: float, grace: float | None = None) -> None:
    """Expect a source to beat every ``interval`` seconds; silent for ``timeout`` seconds, from now on, it is missed.

    A run that says that it begins (``start``) must end within ``grace`` seconds, or ``timeout`` without one.

    Raises:
        Invalid: the name is not dotted tokens of ``a-z0-9_-``, or the times make no sense.
    """
    if _NAME.fullmatch(name) is None:
        raise Invalid(f"{name!r} is no name of a heartbeat: dotted tokens of a-z, 0-9, _ and -", name=name)
    if not 0 < interval < timeout < _LONGEST:
        raise Invalid("the timeout must be longer than the interval, and both positive", name=name)
    if grace is not None and not 0 < grace < _LONGEST:
        raise Invalid("the grace is a positive number of seconds", name=name)
    conn.execute(_EXPECT, {"name": name, "interval": interval, "timeout": timeout, "grace": grace})


def beat(conn: Connection, name: str) -> None:
    """Note that a source is alive; a run that began has ended well.

    Raises:
        NoSuchHeartbeat: nobody expects it.
    """
    if not beat_many(conn, {name: 0.0}):
        raise _nobody(name)


def start(conn: Connection, name: str) -> None:
    """Note that a run begins; it is no sign of life, and must end in time.

    Raises:
        NoSuchHeartbeat: nobody expects it.
    """
    if conn.execute(_START, {"name": name}).rowcount == 0:
        raise _nobody(name)


def fail(conn: Connection, name: str, reason: str) -> None:
    """Note that a source says that it failed: it is missed at once, until it beats again. Each failure is an event.

    Raises:
        NoSuchHeartbeat: nobody expects it.
    """
    rows = conn.execute(_FAIL, {"name": name, "reason": f"failed: {text(reason, limit=500)}"}).mappings().all()
    if not rows:
        raise _nobody(name)
    _tell(conn, "heartbeat.missed", rows)


def read(conn: Connection, name: str) -> Heartbeat:
    """Return one source.

    Raises:
        NoSuchHeartbeat: nobody expects it.
    """
    row = conn.execute(sa.select(heartbeats).where(heartbeats.c.name == name)).mappings().one_or_none()
    if row is None:
        raise _nobody(name)
    return _heartbeat(row)


def beat_many(conn: Connection, ages: Mapping[str, float]) -> Sequence[str]:
    """Note that sources were alive so many seconds ago; return those that are expected. A recovery is an event."""
    rows = [{"name": name, "age": age} for name, age in ages.items()]
    known = list(conn.execute(_BEAT, {"rows": rows}).mappings()) if rows else []
    _tell(conn, "heartbeat.recovered", [{"name": row["name"]} for row in known if row["before"] == "missed"])
    return [row["name"] for row in known]


def miss(conn: Connection) -> list[str]:
    """Note who is silent for too long; each time it begins it is one event, however many processes look."""
    rows = conn.execute(_MISS).mappings().all()
    _tell(conn, "heartbeat.missed", rows)
    return [row["name"] for row in rows]


def forget(conn: Connection, name: str) -> None:
    """Expect a source no longer.

    Raises:
        NoSuchHeartbeat: nobody did.
    """
    if not forget_all(conn, [name]):
        raise _nobody(name)


def forget_all(conn: Connection, names: Sequence[str]) -> list[str]:
    """Expect several sources no longer, and return those that somebody did expect."""
    gone = sa.delete(heartbeats).where(heartbeats.c.name.in_(names)).returning(heartbeats.c.name, heartbeats.c.status)
    return _forgotten(conn, conn.execute(gone).mappings().all())


def forget_gone(conn: Connection, parts: Sequence[str], *, after: timedelta) -> list[str]:
    """Expect no longer these ``parts`` of control planes that have been silent for so long; return their names."""
    rows = conn.execute(_GONE, {"parts": list(parts), "seconds": after.total_seconds()}).mappings().all()
    return _forgotten(conn, rows)


def every(conn: Connection) -> list[Heartbeat]:
    """Return all sources by name."""
    rows = conn.execute(sa.select(heartbeats).order_by(heartbeats.c.name)).mappings()
    return [_heartbeat(row) for row in rows]


def page(conn: Connection, *, after: str | None, limit: int) -> list[Heartbeat]:
    """Return sources by name, after the name ``after``."""
    query = sa.select(heartbeats).order_by(heartbeats.c.name).limit(limit)
    if after is not None:
        query = query.where(heartbeats.c.name > after)
    return [_heartbeat(row) for row in conn.execute(query).mappings()]


def _nobody(name: str) -> NoSuchHeartbeat:
    return NoSuchHeartbeat(f"no heartbeat is called {name!r}", name=name)


def _forgotten(conn: Connection, rows: Sequence[RowMapping]) -> list[str]:
    # who heard of the silence should hear that nobody waits any more
    _tell(conn, "heartbeat.forgotten", [{"name": row["name"]} for row in rows if row["status"] == "missed"])
    return [row["name"] for row in rows]


def _tell(conn: Connection, kind: str, rows: Sequence[Mapping[str, object]] | Sequence[RowMapping]) -> None:
    emit_many(
        conn,
        [{"subject": f"heartbeat.{row['name']}", "type": kind, "data": dict(row)} for row in rows],
    )


def _heartbeat(row: RowMapping) -> Heartbeat:
    values = dict(row)
    for name in ("expected_since", "last_beat_at", "changed_at", "started_at"):
        if values[name] is not None:
            values[name] = values[name].astimezone(UTC)
    return Heartbeat(**values)
