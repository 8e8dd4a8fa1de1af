"""Every SQL statement about what honeypots caught."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.security.honeypots.contracts import DECOYS, Caught, Filter, Total
from valhalla.features.security.honeypots.tables import honeypot_events
from valhalla.kit.advisory import HONEYPOT_SOURCE

_TABLE: Final = honeypot_events.c
_TOP: Final = 20
_TOUCHES: Final = 5000
_TURNS: Final = sa.text(
    "SELECT pg_advisory_xact_lock(:class, h) FROM"
    " (SELECT DISTINCT abs(hashtext(a) % 64) AS h FROM unnest(:addresses) AS a ORDER BY h) AS locks"
).bindparams(sa.bindparam("class", type_=sa.Integer), sa.bindparam("addresses", type_=ARRAY(sa.Text)))


def take_turns(conn: Connection, addresses: Collection[str]) -> None:
    """Let processes that caught the same address write one after the other: else each would miss the other's part.

    Addresses share 64 locks, taken in one order and held to the end of the transaction.
    """
    if addresses:
        conn.execute(_TURNS, {"class": HONEYPOT_SOURCE, "addresses": list(addresses)})


def add(conn: Connection, events: Sequence[Caught], received_at: datetime) -> set[str]:
    """Store events whose days have partitions; return the uids of those that are new."""
    rows = {(one.at, one.uid): {**one._asdict(), "received_at": received_at} for one in events}
    if not rows:
        return set()
    # in one order, so that two senders of the same events do not wait for each other in a circle
    values = [rows[key] for key in sorted(rows)]
    insert = pg_insert(honeypot_events).values(values).on_conflict_do_nothing()
    return set(conn.execute(insert.returning(_TABLE.uid)).scalars())


def totals(conn: Connection, addresses: Sequence[str], since: datetime) -> Mapping[str, Total]:
    """Return what was caught of addresses since an instant."""
    wanted = _TABLE.address == sa.any_(sa.cast(list(addresses), ARRAY(sa.Text)))
    query = sa.select(_TABLE.address, sa.func.sum(_TABLE.score), sa.func.count()).where(wanted, _TABLE.at >= since)
    rows = conn.execute(query.group_by(_TABLE.address))
    return {address: Total(int(score), int(events)) for address, score, events in rows}


def page(conn: Connection, wanted: Filter, *, before: tuple[datetime, str] | None, limit: int) -> list[RowMapping]:
    """Return events that fit, newest first."""
    query = sa.select(honeypot_events).where(*_conditions(wanted))
    if before is not None:
        query = query.where(sa.tuple_(_TABLE.at, _TABLE.uid) < sa.tuple_(*map(sa.literal, before)))
    return list(conn.execute(query.order_by(_TABLE.at.desc(), _TABLE.uid.desc()).limit(limit)).mappings())


def activity(conn: Connection, since: datetime) -> Mapping[str, Any]:
    """Return what was caught since an instant: by kind, by honeypot, and the addresses with the highest scores."""
    recent = _TABLE.at >= since

    def by(column: sa.Column[Any]) -> Mapping[str, int]:
        rows = conn.execute(sa.select(column, sa.func.count()).where(recent).group_by(column).order_by(column))
        return {str(name): int(count) for name, count in rows}

    score = sa.func.sum(_TABLE.score).label("score")
    top = (
        sa.select(_TABLE.address, score, sa.func.count().label("events"), sa.func.max(_TABLE.at).label("last_at"))
        .where(recent, _TABLE.address.is_not(None))
        .group_by(_TABLE.address)
        .order_by(score.desc(), _TABLE.address)
        .limit(_TOP)
    )
    return {
        "kinds": by(_TABLE.kind),
        "honeypots": by(_TABLE.honeypot),
        "addresses": [
            {**row, "score": int(row["score"]), "last_at": row["last_at"].astimezone(UTC)}
            for row in conn.execute(top).mappings()
        ],
    }


def touches(conn: Connection, since: datetime, step: timedelta) -> list[RowMapping]:
    """Return how often each decoy and sensor was touched in each ``step`` since an instant, newest first."""
    # all decoys report under one name; which of them it was is in the payload
    name = sa.case(
        (_TABLE.honeypot == DECOYS, sa.func.coalesce(_TABLE.payload["decoy"].astext, DECOYS)), else_=_TABLE.honeypot
    )
    at = sa.func.date_bin(sa.literal(step, sa.Interval), _TABLE.at, sa.literal(since, sa.DateTime(timezone=True)))
    query = (
        sa.select(
            name.label("name"),
            (_TABLE.honeypot == DECOYS).label("decoy"),
            at.label("at"),
            sa.func.count().label("events"),
            sa.func.count(sa.distinct(_TABLE.address)).label("addresses"),
            sa.func.max(_TABLE.address).label("address"),
        )
        .where(_TABLE.at >= since)
        .group_by(sa.text("1, 2, 3"))
        .order_by(sa.text("at DESC, name"))
        .limit(_TOUCHES)
    )
    return list(conn.execute(query).mappings())


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    asked = {name: getattr(wanted, name) for name in ("honeypot", "kind", "address")}
    found: list[sa.ColumnElement[bool]] = [_TABLE[name] == value for name, value in asked.items() if value is not None]
    if wanted.since is not None:
        found.append(_TABLE.at >= wanted.since)
    if wanted.until is not None:
        found.append(_TABLE.at < wanted.until)
    return found
