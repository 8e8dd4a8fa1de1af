"""Every SQL statement about alerts. Rows are locked in the order of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.observability.alerts.contracts import LIFECYCLE, Alert, Filter, Status
from valhalla.features.observability.alerts.tables import alerts
from valhalla.kernel.alerting import SEVERITIES, Severity
from valhalla.kit import paging

_COLUMNS: Final = ", ".join(f"a.{column.name}" for column in alerts.c)
_INSTANTS: Final = tuple(column.name for column in alerts.c if isinstance(column.type, sa.DateTime))
_rows: Final = sa.bindparam("rows", type_=JSONB)
_texts: Final = ARRAY(sa.Text)
_RANKS: Final = "ARRAY['" + "','".join(SEVERITIES) + "']"
_WORSE: Final = f"array_position({_RANKS}, excluded.severity) > array_position({_RANKS}, a.severity)"
_BACK: Final = "a.status = 'resolved'"
_AGAIN: Final = f"({_BACK} OR (a.status = 'acknowledged' AND {_WORSE}))"

_REMEMBER: Final = sa.text(
    "INSERT INTO valhalla.alert_events (event_id, at) SELECT id, :now FROM unnest(:ids) AS id"
    " ON CONFLICT DO NOTHING RETURNING event_id"
).bindparams(sa.bindparam("ids", type_=ARRAY(sa.BigInteger)), sa.bindparam("now", type_=sa.DateTime(timezone=True)))
# an event is offered again only until every sink took it
_FORGET: Final = sa.text(
    "DELETE FROM valhalla.alert_events AS s WHERE s.at < :border AND NOT EXISTS"
    " (SELECT FROM valhalla.events AS e WHERE e.id = s.event_id AND e.sent_at IS NULL)"
).bindparams(sa.bindparam("border", type_=sa.DateTime(timezone=True)))
_LOCKED: Final = sa.text(
    "SELECT fingerprint, status, severity FROM valhalla.alerts WHERE fingerprint = ANY(:fingerprints)"
    " ORDER BY fingerprint FOR UPDATE"
).bindparams(sa.bindparam("fingerprints", type_=_texts))
_ROOM: Final = sa.text(
    "SELECT s.source,"
    " (SELECT count(*) FROM valhalla.alerts AS a WHERE a.source = s.source AND a.status <> 'resolved') AS open_now,"
    " (SELECT count(*) FROM valhalla.alerts AS a WHERE a.source = s.source AND a.opened_at > :border) AS opened_lately"
    " FROM unnest(:sources) AS s(source)"
).bindparams(sa.bindparam("sources", type_=_texts), sa.bindparam("border", type_=sa.DateTime(timezone=True)))
# what was closed begins a new episode; the row keeps what it was for all times
_UPSERT: Final = sa.text(
    "INSERT INTO valhalla.alerts AS a (id, fingerprint, name, source, severity, status, title, labels, context, count,"  # noqa: S608
    " episodes, escalations, first_at, opened_at, last_at, starts_at, ends_at, escalate_at)"
    " SELECT r.id, r.fingerprint, r.name, r.source, r.severity, 'open', r.title, r.labels, r.context, r.count,"
    " 1, 0, r.first_at, r.opened_at, r.last_at, r.starts_at, r.ends_at, r.escalate_at"
    " FROM jsonb_to_recordset(:rows) AS r(id text, fingerprint text, name text, source text, severity text, title text,"
    " labels jsonb, context jsonb, count bigint, first_at timestamptz, opened_at timestamptz, last_at timestamptz,"
    " starts_at timestamptz, ends_at timestamptz, escalate_at timestamptz)"
    " ORDER BY r.fingerprint"
    " ON CONFLICT (fingerprint) DO UPDATE SET title = excluded.title, context = excluded.context,"
    " count = a.count + excluded.count, first_at = least(a.first_at, excluded.first_at),"
    " last_at = greatest(a.last_at, excluded.last_at),"
    f" status = CASE WHEN {_AGAIN} THEN 'open' ELSE a.status END,"
    f" severity = CASE WHEN {_BACK} OR {_WORSE} THEN excluded.severity ELSE a.severity END,"
    f" opened_at = CASE WHEN {_BACK} THEN excluded.opened_at ELSE a.opened_at END,"
    f" starts_at = CASE WHEN {_BACK} THEN excluded.starts_at ELSE least(a.starts_at, excluded.starts_at) END,"
    " ends_at = excluded.ends_at,"
    f" episodes = a.episodes + ({_BACK})::int,"
    f" escalations = CASE WHEN {_BACK} THEN 0 ELSE a.escalations END,"
    f" escalate_at = CASE WHEN {_AGAIN} THEN excluded.escalate_at ELSE a.escalate_at END,"
    f" acknowledged_at = CASE WHEN {_AGAIN} THEN NULL ELSE a.acknowledged_at END,"
    f" acknowledged_by = CASE WHEN {_AGAIN} THEN NULL ELSE a.acknowledged_by END,"
    f" resolved_at = CASE WHEN {_BACK} THEN NULL ELSE a.resolved_at END,"
    f" resolved_by = CASE WHEN {_BACK} THEN NULL ELSE a.resolved_by END,"
    f" note = CASE WHEN {_BACK} THEN NULL ELSE a.note END"
    f" RETURNING {_COLUMNS}, (a.xmax = 0) AS inserted"
).bindparams(_rows)
_DUE: Final = sa.text(
    f"SELECT {_COLUMNS} FROM valhalla.alerts AS a WHERE a.escalate_at <= :now AND a.status = 'open'"  # noqa: S608
    " ORDER BY a.fingerprint LIMIT :limit FOR UPDATE SKIP LOCKED"
).bindparams(sa.bindparam("now", type_=sa.DateTime(timezone=True)))
_ESCALATE: Final = sa.text(
    "UPDATE valhalla.alerts AS a SET severity = r.severity, escalate_at = r.escalate_at,"  # noqa: S608
    " escalations = a.escalations + r.counted"
    " FROM jsonb_to_recordset(:rows) AS r(id text, severity text, escalate_at timestamptz, counted int)"
    f" WHERE a.id = r.id AND a.status = 'open' RETURNING {_COLUMNS}"
).bindparams(_rows)


def remember(conn: Connection, event_ids: Sequence[int], now: datetime) -> set[int]:
    """Note events; return those that were not noted before."""
    return set(conn.execute(_REMEMBER, {"ids": list(event_ids), "now": now}).scalars())


def forget_events(conn: Connection, border: datetime) -> int:
    """Forget the events noted before ``border`` that nobody delivers again; return how many."""
    return conn.execute(_FORGET, {"border": border}).rowcount


def locked(conn: Connection, fingerprints: Sequence[str]) -> dict[str, RowMapping]:
    """Lock those of the alerts that exist; return status and severity by fingerprint."""
    rows = conn.execute(_LOCKED, {"fingerprints": sorted(fingerprints)}).mappings()
    return {row["fingerprint"]: row for row in rows}


def crowds(conn: Connection, sources: Sequence[str], border: datetime) -> dict[str, tuple[int, int]]:
    """Return how many groups each source has that are not resolved, and how many it opened since ``border``."""
    rows = conn.execute(_ROOM, {"sources": list(sources), "border": border})
    return {row.source: (row.open_now, row.opened_lately) for row in rows}


def upsert(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Alert, bool]]:
    """Write groups, one row each; return the alerts as they are now, and whether each is new."""
    found = conn.execute(_UPSERT, {"rows": list(rows)}).mappings()
    return [(from_row(row), row["inserted"]) for row in found]


def move_many(
    conn: Connection, to: Status, where: sa.ColumnElement[bool], values: Mapping[str, Any]
) -> list[tuple[Alert, str]]:
    """Move every alert that fits and legally can to a status; return each with the status that it left."""
    old = (
        sa.select(alerts.c.id, alerts.c.status)
        .where(where, alerts.c.status.in_(LIFECYCLE.sources(to)))
        .order_by(alerts.c.fingerprint)
        .with_for_update()
        .cte("old")
    )
    step = (
        sa.update(alerts)
        .values({**values, "status": to})
        .where(alerts.c.id == old.c.id)
        .returning(*alerts.c, old.c.status.label("before"))
    )
    return [(from_row(row), row["before"]) for row in conn.execute(step).mappings()]


def due(conn: Connection, now: datetime, limit: int) -> list[Alert]:
    """Lock alerts that should escalate and that no other process is at."""
    return [from_row(row) for row in conn.execute(_DUE, {"now": now, "limit": limit}).mappings()]


def overdue(conn: Connection, now: datetime, limit: int) -> list[str]:
    """Return the ids of alerts that should have been sent again by now."""
    query = sa.select(alerts.c.id).where(alerts.c.ends_at <= now, alerts.c.status != "resolved")
    return list(conn.execute(query.order_by(alerts.c.ends_at).limit(limit)).scalars())


def escalate(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Alert]:
    """Write new severities and times; ``counted`` 0 only puts the time off."""
    return [from_row(row) for row in conn.execute(_ESCALATE, {"rows": list(rows)}).mappings()]


def find(conn: Connection, ref: str) -> Alert | None:
    """Return an alert by its id or fingerprint."""
    row = conn.execute(sa.select(alerts).where(sa.or_(alerts.c.id == ref, alerts.c.fingerprint == ref))).mappings()
    found = row.first()
    return None if found is None else from_row(found)


def page(conn: Connection, wanted: Filter, *, cursor: str | None, limit: int | None) -> paging.Page[Alert]:
    """Return alerts, those that were opened last first."""
    size = paging.clamp(limit)
    query = sa.select(alerts).where(fitting(wanted))
    if (position := paging.decode(cursor)) is not None:
        after = (paging.instant(position, "opened_at"), paging.text(position, "id"))
        query = query.where(sa.tuple_(alerts.c.opened_at, alerts.c.id) < sa.tuple_(*after))
    rows = conn.execute(query.order_by(alerts.c.opened_at.desc(), alerts.c.id.desc()).limit(size + 1)).mappings().all()
    items = tuple(from_row(row) for row in rows[:size])
    last = items[-1] if len(rows) > size else None
    return paging.Page(
        items, None if last is None else paging.encode({"opened_at": last.opened_at.isoformat(), "id": last.id})
    )


def unresolved(conn: Connection, limit: int) -> list[Alert]:
    """Return what is not over, oldest first."""
    query = sa.select(alerts).where(alerts.c.status != "resolved").order_by(alerts.c.opened_at, alerts.c.id)
    return [from_row(row) for row in conn.execute(query.limit(limit)).mappings()]


def standing(
    conn: Connection, sources: Sequence[str], limit: int
) -> tuple[dict[tuple[Severity, Status], int], list[Alert]]:
    """Return how many alerts of some sources are not over, by severity and status, and those opened last."""
    open_ = sa.and_(alerts.c.status != "resolved", alerts.c.source.in_(sources))
    grouped = sa.select(alerts.c.severity, alerts.c.status, sa.func.count()).where(open_)
    counts = {(row[0], row[1]): row[2] for row in conn.execute(grouped.group_by(alerts.c.severity, alerts.c.status))}
    newest = sa.select(alerts).where(open_).order_by(alerts.c.opened_at.desc(), alerts.c.id.desc()).limit(limit)
    return counts, [from_row(row) for row in conn.execute(newest).mappings()]


def ids(conn: Connection, wanted: Filter, statuses: Sequence[str], limit: int) -> list[str]:
    """Return the ids of alerts that fit and have one of the statuses."""
    query = sa.select(alerts.c.id).where(fitting(wanted), alerts.c.status.in_(statuses))
    return list(conn.execute(query.order_by(alerts.c.opened_at, alerts.c.id).limit(limit)).scalars())


def count(conn: Connection, wanted: Filter) -> int:
    """Return how many alerts fit."""
    return conn.execute(sa.select(sa.func.count()).select_from(alerts).where(fitting(wanted))).scalar_one()


def counts(conn: Connection) -> dict[tuple[str, str], int]:
    """Return how many alerts there are by status and severity, without those that are over."""
    query = sa.select(alerts.c.status, alerts.c.severity, sa.func.count()).where(alerts.c.status != "resolved")
    return {(row[0], row[1]): row[2] for row in conn.execute(query.group_by(alerts.c.status, alerts.c.severity))}


def fitting(wanted: Filter) -> sa.ColumnElement[bool]:
    """Return the condition of a filter."""
    conditions: list[sa.ColumnElement[bool]] = [sa.true()]
    if wanted.statuses:
        conditions.append(alerts.c.status.in_(wanted.statuses))
    if wanted.severities:
        conditions.append(alerts.c.severity.in_(wanted.severities))
    if wanted.source is not None:
        conditions.append(alerts.c.source == wanted.source)
    if wanted.name is not None:
        conditions.append(alerts.c.name == wanted.name)
    if wanted.text is not None:
        either = (alerts.c.title, alerts.c.name)
        conditions.append(sa.or_(*(column.icontains(wanted.text, autoescape=True) for column in either)))
    return sa.and_(*conditions)


def from_row(row: RowMapping) -> Alert:
    """Return the value of a row."""
    values = {name: row[name] for name in Alert.__struct_fields__}
    for name in _INSTANTS:
        if values[name] is not None:
            values[name] = values[name].astimezone(UTC)
    return Alert(**values)
