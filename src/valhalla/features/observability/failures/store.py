"""Every SQL statement about unexpected errors. Rows are locked in the order of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.observability.failures.contracts import Failure, Filter
from valhalla.features.observability.failures.tables import error_events

_INSTANTS: Final = ("first_at", "last_at", "settled_at")
_LOCKED: Final = sa.text(
    "SELECT fingerprint, status FROM valhalla.error_events WHERE fingerprint = ANY(:fingerprints)"
    " ORDER BY fingerprint FOR UPDATE"
).bindparams(sa.bindparam("fingerprints", type_=ARRAY(sa.Text)))
# what another process noticed before it was resolved and wrote down only now does not open it again
_BACK: Final = "e.status = 'resolved' AND excluded.last_at > e.settled_at"
_UPSERT: Final = sa.text(
    "INSERT INTO valhalla.error_events AS e (id, fingerprint, kind, message, route, place, sample, status, count,"  # noqa: S608 - a constant of ours
    " first_at, last_at, last_correlation, last_principal, version)"
    " SELECT r.id, r.fingerprint, r.kind, r.message, r.route, r.place, r.sample, 'open', r.count, r.first_at,"
    " r.last_at, r.correlation, r.principal, r.version FROM jsonb_to_recordset(:rows) AS r(id text,"
    " fingerprint text, kind text, message text,"
    " route text, place text, sample text, count bigint, first_at timestamptz, last_at timestamptz,"
    " correlation text, principal text, version text) ORDER BY r.fingerprint"
    " ON CONFLICT (fingerprint) DO UPDATE SET count = e.count + excluded.count, message = excluded.message,"
    " first_at = least(e.first_at, excluded.first_at), last_at = greatest(e.last_at, excluded.last_at),"
    " last_correlation = excluded.last_correlation, last_principal = excluded.last_principal,"
    f" version = excluded.version, sample = CASE WHEN {_BACK} THEN excluded.sample ELSE e.sample END,"
    f" status = CASE WHEN {_BACK} THEN 'open' ELSE e.status END,"
    f" settled_by = CASE WHEN {_BACK} THEN NULL ELSE e.settled_by END,"
    f" note = CASE WHEN {_BACK} THEN NULL ELSE e.note END,"
    f" settled_at = CASE WHEN {_BACK} THEN NULL ELSE e.settled_at END"
    " RETURNING e.*, e.xmax = 0 AS fresh"
).bindparams(sa.bindparam("rows", type_=JSONB))


def record(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Failure], list[Failure]]:
    """Add occurrences; return the errors that are new, and those that were resolved and have come back."""
    fingerprints = [row["fingerprint"] for row in rows]
    before = {row.fingerprint: row.status for row in conn.execute(_LOCKED, {"fingerprints": fingerprints})}
    new: list[Failure] = []
    back: list[Failure] = []
    for row in conn.execute(_UPSERT, {"rows": list(rows)}).mappings():
        failure = read(row)
        if row["fresh"]:
            new.append(failure)
        elif before.get(failure.fingerprint) == "resolved" and failure.status == "open":
            back.append(failure)
    return new, back


def page(conn: Connection, wanted: Filter, *, before: tuple[datetime, str] | None, limit: int) -> list[Failure]:
    """Return those that fit, the last to happen first."""
    table = error_events.c
    query = sa.select(error_events).order_by(table.last_at.desc(), table.id.desc()).limit(limit)
    for column, value in ((table.status, wanted.status), (table.kind, wanted.kind), (table.route, wanted.route)):
        if value is not None:
            query = query.where(column == value)
    if wanted.text is not None:
        query = query.where(
            table.message.icontains(wanted.text, autoescape=True) | table.place.icontains(wanted.text, autoescape=True)
        )
    if wanted.since is not None:
        query = query.where(table.last_at > wanted.since)
    if before is not None:
        query = query.where(sa.tuple_(table.last_at, table.id) < sa.tuple_(*map(sa.literal, before)))
    return [read(row) for row in conn.execute(query).mappings()]


def find(conn: Connection, error_id: str) -> Failure | None:
    """Return one."""
    row = conn.execute(sa.select(error_events).where(error_events.c.id == error_id)).mappings().one_or_none()
    return None if row is None else read(row)


def read(row: RowMapping) -> Failure:
    """Return the value of a row."""
    values = {column.name: row[column.name] for column in error_events.c}
    for name in _INSTANTS:
        instant = cast("datetime | None", values[name])
        values[name] = None if instant is None else instant.astimezone(UTC)
    return Failure(**values)
