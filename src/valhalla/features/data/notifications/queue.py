"""The deliverer's statements: taking what is due in order, and writing what came of it, many rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from valhalla.features.data.notifications import store
from valhalla.features.data.notifications.contracts import Delivery, Standing
from valhalla.features.data.notifications.tables import standings
from valhalla.kit import notices

_D: Final = "valhalla.notification_deliveries"
_texts: Final = ARRAY(sa.Text)
_instant: Final = sa.DateTime(timezone=True)
# who sends does not wait for the disk: what is forgotten in a crash of the server is sent again under the same id
_QUICK: Final = "SELECT set_config('synchronous_commit', 'off', true)"
# the gate of an ordered channel: nothing behind a message that failed and waits
_TAKE: Final = sa.text(
    "WITH wanted AS (SELECT w.* FROM unnest(:channels, :rooms, :ordered) AS w(channel, room, ordered),"  # noqa: S608
    f" ({_QUICK}) AS quick),"
    " picked AS (SELECT p.id FROM wanted AS w"
    f" CROSS JOIN LATERAL (SELECT coalesce(min(b.seq), 9223372036854775807) AS seq FROM {_D} AS b"
    " WHERE w.ordered AND b.channel = w.channel AND b.status = 'failed' AND b.blocking AND b.due_at > :now) AS gate"
    f" CROSS JOIN LATERAL (SELECT o.id FROM {_D} AS o WHERE o.channel = w.channel"
    " AND o.status IN ('pending', 'failed') AND o.due_at <= :now AND o.seq < gate.seq"
    " ORDER BY o.seq LIMIT w.room FOR UPDATE SKIP LOCKED) AS p)"
    f" UPDATE {_D} AS d SET status = 'delivering', bundle = NULL FROM picked WHERE d.id = picked.id"
    f" RETURNING {store.COLUMNS}"
).bindparams(
    sa.bindparam("channels", type_=_texts),
    sa.bindparam("rooms", type_=ARRAY(sa.Integer)),
    sa.bindparam("ordered", type_=ARRAY(sa.Boolean)),
    sa.bindparam("now", type_=_instant),
)
_SETTLE: Final = sa.text(
    f"UPDATE {_D} AS d SET status = r.status, attempts = r.number, due_at = coalesce(r.due_at, d.due_at),"  # noqa: S608
    " blocking = r.blocking, error = r.error, finished_at = r.finished_at"
    " FROM jsonb_to_recordset(:rows) AS r(id text, status text, number int, due_at timestamptz, blocking boolean,"
    " error text, finished_at timestamptz)"
    " WHERE d.id = r.id AND d.status = 'delivering'"
).bindparams(sa.bindparam("rows", type_=JSONB))
# a process that lost its lead may write late: the number of the attempt is its own all the same
_ATTEMPTS: Final = sa.text(
    "INSERT INTO valhalla.notification_attempts (delivery, number, at, seconds, outcome, status, error, excerpt)"
    " SELECT r.id, r.number, r.at, r.seconds, r.outcome, r.code, r.error, r.excerpt"
    " FROM jsonb_to_recordset(:rows) AS r(id text, number int, at timestamptz, seconds float8, outcome text, code int,"
    " error text, excerpt text) ON CONFLICT DO NOTHING"
).bindparams(sa.bindparam("rows", type_=JSONB))
_HURRY: Final = sa.text(_QUICK)
_GIVE_BACK: Final = sa.text(
    f"UPDATE {_D} SET status = 'pending' WHERE id = ANY(:ids) AND status = 'delivering'"  # noqa: S608
).bindparams(sa.bindparam("ids", type_=_texts))
_RECOVER: Final = sa.text(f"UPDATE {_D} SET status = 'pending' WHERE status = 'delivering'")  # noqa: S608
# a loose index scan: one step per channel, however many rows wait
_WAITING: Final = sa.text(
    "WITH RECURSIVE c AS ("  # noqa: S608
    f"(SELECT channel FROM {_D} WHERE status IN ('pending', 'failed') ORDER BY channel LIMIT 1) UNION ALL"
    f" SELECT (SELECT channel FROM {_D} WHERE status IN ('pending', 'failed') AND channel > c.channel"
    " ORDER BY channel LIMIT 1) FROM c WHERE c.channel IS NOT NULL) SELECT channel FROM c WHERE channel IS NOT NULL"
)
_LEAVE: Final = sa.text(
    f"UPDATE {_D} AS d SET fell_back = true WHERE d.id IN (SELECT id FROM {_D}"  # noqa: S608
    " WHERE channel = :channel AND status IN ('pending', 'failed') AND NOT fell_back"
    " AND (status = 'failed' OR due_at <= :now)"
    f" ORDER BY seq LIMIT :limit FOR UPDATE SKIP LOCKED) RETURNING {store.COLUMNS}"
).bindparams(sa.bindparam("now", type_=_instant))
_BURY: Final = sa.text(
    f"UPDATE {_D} AS d SET status = 'dead', finished_at = :now, error = :error, bundle = NULL"  # noqa: S608
    f" WHERE d.id IN (SELECT id FROM {_D} WHERE channel = :channel AND status IN ('pending', 'failed')"
    f" ORDER BY seq LIMIT :limit FOR UPDATE SKIP LOCKED) RETURNING {store.COLUMNS}"
).bindparams(sa.bindparam("now", type_=_instant))
_EXPIRE: Final = sa.text(
    f"UPDATE {_D} SET status = 'dead', finished_at = :now, bundle = NULL,"  # noqa: S608
    " error = coalesce(error, 'it waited too long') WHERE status IN ('pending', 'failed') AND created_at < :border"
).bindparams(sa.bindparam("now", type_=_instant), sa.bindparam("border", type_=_instant))


def take(conn: Connection, wanted: Sequence[tuple[str, int, bool]], now: datetime) -> list[Delivery]:
    """Take what is due of (channel, at most, whether ordered), oldest first; it is nobody else's then."""
    rows = conn.execute(
        _TAKE,
        {
            "channels": [each[0] for each in wanted],
            "rooms": [each[1] for each in wanted],
            "ordered": [each[2] for each in wanted],
            "now": now,
        },
    ).mappings()
    return sorted((store.read(row) for row in rows), key=lambda each: each.seq)


def settle(conn: Connection, rows: Sequence[Mapping[str, Any]], *, durable: bool = True) -> None:
    """Write what came of attempts; without ``durable`` nobody waits until the transaction is on disk."""
    if not durable:
        conn.execute(_HURRY)
    conn.execute(_SETTLE, {"rows": list(rows)})
    conn.execute(_ATTEMPTS, {"rows": list(rows)})
    notices.tell(conn, notices.DELIVERIES)


def give_back(conn: Connection, ids: Sequence[str]) -> None:
    """Let what was taken and not tried wait again."""
    conn.execute(_GIVE_BACK, {"ids": list(ids)})


def recover(conn: Connection) -> int:
    """Let what a process took that is no more wait again; only who leads may."""
    return conn.execute(_RECOVER).rowcount


def waiting(conn: Connection) -> list[str]:
    """Return the channels that something waits for, whether they exist or not."""
    return list(conn.scalars(_WAITING))


def leave(conn: Connection, channel: str, now: datetime, limit: int) -> list[Delivery]:
    """Mark what waits for a broken channel as told elsewhere; return it. It goes on waiting."""
    rows = conn.execute(_LEAVE, {"channel": channel, "now": now, "limit": limit}).mappings()
    return sorted((store.read(row) for row in rows), key=lambda each: each.seq)


def bury(conn: Connection, channel: str, error: str, now: datetime, limit: int) -> list[Delivery]:
    """Give up what waits for a channel that takes nothing; return it."""
    rows = conn.execute(_BURY, {"channel": channel, "error": error, "now": now, "limit": limit}).mappings()
    return sorted((store.read(row) for row in rows), key=lambda each: each.seq)


def expire(conn: Connection, border: datetime, now: datetime) -> int:
    """End what has waited since before ``border``, for a channel that was disabled all the time; return how many."""
    return conn.execute(_EXPIRE, {"border": border, "now": now}).rowcount


def keep_standing(conn: Connection, standing: Standing, now: datetime) -> None:
    """Write how a channel fares."""
    values = {name: getattr(standing, name) for name in Standing.__struct_fields__}
    written = upsert(standings).values(**values, updated_at=now)
    changed: dict[str, sa.ColumnElement[Any]] = {
        name: written.excluded[name] for name in (*values, "updated_at") if name != "channel"
    }
    # when it last delivered is only ever later
    changed["delivered_at"] = sa.func.greatest(written.excluded.delivered_at, standings.c.delivered_at)
    conn.execute(written.on_conflict_do_update(index_elements=["channel"], set_=changed))
