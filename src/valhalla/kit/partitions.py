"""Tables with a partition per day (UTC): made when they are needed, dropped whole when they are old."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.kit.advisory import PARTITIONS
from valhalla.kit.db import SCHEMA

_NAMED: Final = re.compile(r"_p([0-9]{8})")
_DAY: Final = timedelta(days=1)
_AHEAD: Final = 3


def ensure(conn: Connection, table: str, days: Iterable[date]) -> None:
    """Make the partitions of ``days`` that are missing; neither readers nor writers of the table wait for it."""
    wanted = sorted(set(days))
    if not wanted or not set(wanted) - existing(conn, table):
        return
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": PARTITIONS})
    for day in sorted(set(wanted) - existing(conn, table)):
        name = f"{SCHEMA}.{table}_p{day:%Y%m%d}"
        # attached, and not created as a partition: that would lock the table against everybody
        conn.execute(sa.text(f"CREATE TABLE {name} (LIKE {SCHEMA}.{table} INCLUDING ALL)"))
        bounds = f"FROM ('{day} 00:00:00+00') TO ('{day + _DAY} 00:00:00+00')"
        conn.execute(sa.text(f"ALTER TABLE {SCHEMA}.{table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def ahead(conn: Connection, table: str, now: datetime) -> None:
    """Make those of today and the next days."""
    today = now.astimezone(UTC).date()
    ensure(conn, table, [today + _DAY * number for number in range(_AHEAD)])


def drop_before(conn: Connection, table: str, border: datetime) -> list[date]:
    """Drop those whose last instant is older than ``border``, oldest first; return their days.

    Gives up after two seconds of waiting for who reads (``55P03``): the next time is soon enough.
    """
    last = border.astimezone(UTC).date()
    old = sorted(day for day in existing(conn, table) if day < last)
    if old:
        conn.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
    for day in old:
        conn.execute(sa.text(f"DROP TABLE {SCHEMA}.{table}_p{day:%Y%m%d}"))
    return old


def existing(conn: Connection, table: str) -> set[date]:
    """Return the days that have a partition."""
    names = conn.scalars(
        sa.text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = to_regclass(:of)"
        ),
        {"of": f"{SCHEMA}.{table}"},
    )
    found = (_NAMED.fullmatch(name.removeprefix(table)) for name in names)
    return {datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date() for match in found if match}
