"""Every SQL statement about deliveries that people ask for; ``queue`` has those of the deliverer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.data.notifications.contracts import Attempt, Delivery, Filter, Item, Standing
from valhalla.features.data.notifications.tables import attempts, deliveries, standings
from valhalla.kernel.alerting import SEVERITIES
from valhalla.kernel.ids import is_id
from valhalla.kit import notices
from valhalla.kit.holds import is_ungoverned

CHANNEL: Final = "valhalla_notifications"
RESUME: Final = "resume:"
"""Before a channel's name in what the deliverer hears: forget that it failed."""
MOST_ITEMS: Final = 50
_FIELDS: Final = Delivery.__struct_fields__
COLUMNS: Final = ", ".join(f"d.{name}" for name in _FIELDS)
_RANKS: Final = "ARRAY['" + "','".join(SEVERITIES) + "']"
_texts: Final = ARRAY(sa.Text)
_instant: Final = sa.DateTime(timezone=True)
# a row of a bundle that still waits takes the event in; one that was taken meanwhile does not conflict any more
_INSERT: Final = sa.text(
    "INSERT INTO valhalla.notification_deliveries AS d (id, channel, rule, status, type, severity, title, items, count,"
    " bundle, dedup, template, fallback, path, origin, fell_back, blocking, attempts, due_at, created_at, error, actor,"
    " correlation_id, finished_at)"
    " SELECT r.id, r.channel, r.rule, r.status, r.type, r.severity, r.title, r.items, r.count, r.bundle, r.dedup,"
    " r.template, r.fallback, r.path, r.origin, false, true, 0, r.due_at, r.created_at, r.error, r.actor,"
    " r.correlation_id, r.finished_at"
    " FROM jsonb_to_recordset(:rows) AS r(n int, id text, channel text, rule text, status text, type text,"
    " severity text, title text, items jsonb, count int, bundle text, dedup text, template text, fallback text,"
    " path text[], origin text, due_at timestamptz, created_at timestamptz, error text, actor text,"
    " correlation_id text, finished_at timestamptz) ORDER BY r.n"
)
_BUNDLED: Final = sa.text(
    f"{_INSERT.text} ON CONFLICT (bundle) WHERE bundle IS NOT NULL AND status = 'pending' DO UPDATE SET"
    " count = d.count + excluded.count,"
    f" items = CASE WHEN jsonb_array_length(d.items) < {MOST_ITEMS} THEN d.items || excluded.items ELSE d.items END,"
    f" severity = CASE WHEN array_position({_RANKS}, excluded.severity) > array_position({_RANKS}, d.severity)"
    " THEN excluded.severity ELSE d.severity END"
    " RETURNING d.id"
).bindparams(sa.bindparam("rows", type_=JSONB))
_ONCE: Final = sa.text(
    f"{_INSERT.text} ON CONFLICT (dedup) WHERE dedup IS NOT NULL DO NOTHING RETURNING d.id"
).bindparams(sa.bindparam("rows", type_=JSONB))
_NOTIFY: Final = sa.text(f"SELECT pg_notify('{CHANNEL}', name) FROM unnest(:names) AS name").bindparams(
    sa.bindparam("names", type_=ARRAY(sa.Text))
)
_REMEMBER: Final = sa.text(
    "INSERT INTO valhalla.notification_events (event_id, at) SELECT id, :now FROM unnest(:ids) AS id"
    " ON CONFLICT DO NOTHING RETURNING event_id"
).bindparams(sa.bindparam("ids", type_=ARRAY(sa.BigInteger)), sa.bindparam("now", type_=_instant))
_FORGET: Final = sa.text(
    "DELETE FROM valhalla.notification_events AS s WHERE s.at < :border AND NOT EXISTS"
    " (SELECT FROM valhalla.events AS e WHERE e.id = s.event_id AND e.sent_at IS NULL)"
).bindparams(sa.bindparam("border", type_=_instant))


def insert(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write deliveries in the caller's transaction; those with a ``bundle`` join the one that waits.

    Return the ids of what was written; the deliverer hears of it when the transaction commits.
    """
    if not rows:
        return []
    numbered = [{**row, "n": n} for n, row in enumerate(rows)]
    bundled = [row for row in numbered if row["bundle"] is not None]
    plain = [row for row in numbered if row["bundle"] is None]
    written = list(conn.scalars(_ONCE, {"rows": plain})) if plain else []
    for row in bundled:
        # one after the other: a statement cannot touch a row twice, and several may be of one bundle
        written += conn.scalars(_BUNDLED, {"rows": [row]})
    tell(conn, {row["channel"] for row in rows})
    return written


def tell(conn: Connection, channels: Iterable[str]) -> None:
    """Wake the deliverer for these channels when the transaction commits."""
    conn.execute(_NOTIFY, {"names": sorted(channels)})
    notices.tell(conn, notices.DELIVERIES)


def by_dedup(conn: Connection, dedup: str) -> Delivery | None:
    """Return what was sent under a key."""
    row = conn.execute(sa.select(deliveries).where(deliveries.c.dedup == dedup)).mappings().one_or_none()
    return None if row is None else read(row)


def remember(conn: Connection, events: Sequence[int], now: datetime) -> set[int]:
    """Note events; return those that were not noted before."""
    return set(conn.scalars(_REMEMBER, {"ids": list(events), "now": now}))


def forget(conn: Connection, border: datetime) -> None:
    """Forget events of before ``border`` that nobody offers again."""
    conn.execute(_FORGET, {"border": border})


def sent_lately(conn: Connection, rule: str, channel: str, since: datetime) -> int:
    """Return how many messages a rule made for a channel since then."""
    table = deliveries.c
    query = sa.select(sa.func.count()).where(table.rule == rule, table.channel == channel, table.created_at > since)
    return conn.execute(query).scalar_one()


def find(conn: Connection, delivery: str) -> Delivery | None:
    """Return one."""
    if not is_id(delivery):
        return None
    row = conn.execute(sa.select(deliveries).where(deliveries.c.id == delivery)).mappings().one_or_none()
    return None if row is None else read(row)


def page(conn: Connection, wanted: Filter, *, before: int | None, limit: int) -> list[Delivery]:
    """Return those that fit, the newest first."""
    query = sa.select(deliveries).where(*_conditions(wanted)).order_by(deliveries.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(deliveries.c.seq < before)
    return [read(row) for row in conn.execute(query).mappings()]


def tries(conn: Connection, delivery: str) -> list[Attempt]:
    """Return every attempt, the first one first."""
    query = sa.select(attempts).where(attempts.c.delivery == delivery).order_by(attempts.c.number)
    return [
        Attempt(**{name: _utc(row[name]) for name in Attempt.__struct_fields__})
        for row in conn.execute(query).mappings()
    ]


def replay(conn: Connection, ids: Sequence[str], now: datetime) -> list[Delivery]:
    """Let dead ones begin again, under their ids; return them."""
    table = deliveries.c
    again = (
        sa.update(deliveries)
        .where(table.id.in_(ids), table.status == "dead")
        .values(status="pending", due_at=now, finished_at=None, error=None, blocking=True, fell_back=False, bundle=None)
        .returning(*deliveries.c)
    )
    done = sorted((read(row) for row in conn.execute(again).mappings()), key=lambda each: each.seq)
    if done:
        tell(conn, {each.channel for each in done})
    return done


def dead(conn: Connection, wanted: Filter, ids: Sequence[str], limit: int) -> tuple[int, list[str]]:
    """Return how many dead ones fit, and the oldest of them."""
    table = deliveries.c
    conditions = [*_conditions(wanted), table.status == "dead"]
    if ids:
        conditions.append(table.id.in_(ids))
    matched = conn.execute(sa.select(sa.func.count()).where(*conditions)).scalar_one()
    query = sa.select(table.id).where(*conditions).order_by(table.seq).limit(limit)
    return matched, list(conn.scalars(query))


def hurry(conn: Connection, channel: str, now: datetime) -> int:
    """Let what waits for its next try be tried now; return how many."""
    table = deliveries.c
    soon = sa.update(deliveries).where(table.channel == channel, table.status == "failed").values(due_at=now)
    done = conn.execute(soon).rowcount
    tell(conn, [channel, f"{RESUME}{channel}"])
    return done


def every_standing(conn: Connection) -> list[Standing]:
    """Return how each channel fares that ever was used."""
    rows = conn.execute(sa.select(standings).order_by(standings.c.channel)).mappings()
    return [Standing(**{name: _utc(row[name]) for name in Standing.__struct_fields__}) for row in rows]


def backlog(conn: Connection) -> dict[tuple[str, str], int]:
    """Return how many wait, by channel and status."""
    table = deliveries.c
    query = sa.select(table.channel, table.status, sa.func.count()).where(
        table.status.in_(("pending", "failed", "delivering", "dead"))
    )
    return {(row[0], row[1]): row[2] for row in conn.execute(query.group_by(table.channel, table.status))}


def prune(conn: Connection, border: datetime, limit: int) -> int:
    """Remove what ended before then, with its attempts; return how many."""
    table = deliveries.c
    # while somebody holds any, or says how long, retention knows which of them may go
    old = sa.select(table.id).where(table.finished_at < border, is_ungoverned("notifications"))
    old = old.order_by(table.seq).limit(limit)
    gone = list(conn.scalars(sa.delete(deliveries).where(table.id.in_(old)).returning(table.id)))
    if gone:
        conn.execute(sa.delete(attempts).where(attempts.c.delivery == sa.any_(sa.cast(gone, _texts))))
    return len(gone)


def read(row: RowMapping) -> Delivery:
    """Return the value of a row."""
    values: dict[str, Any] = {name: _utc(row[name]) for name in _FIELDS}
    values["items"] = msgspec.convert(row["items"], tuple[Item, ...])
    values["path"] = tuple(row["path"])
    return Delivery(**values)


def _conditions(wanted: Filter) -> Iterable[sa.ColumnElement[bool]]:
    table = deliveries.c
    for column, value in (
        (table.channel, wanted.channel),
        (table.status, wanted.status),
        (table.rule, wanted.rule),
        (table.type, wanted.type),
    ):
        if value is not None:
            yield column == value
    if wanted.since is not None:
        yield table.created_at >= wanted.since
    if wanted.until is not None:
        yield table.created_at < wanted.until


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
