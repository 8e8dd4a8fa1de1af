"""Every statement of the security dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from valhalla.features.security.dashboard.contracts import Point
from valhalla.features.security.dashboard.tables import rollups


def add(conn: Connection, at: datetime, counts: Mapping[str, int]) -> None:
    """Add to a bucket; in one order, so that processes do not wait for each other in a circle."""
    upsert = insert(rollups)
    upsert = upsert.on_conflict_do_update(
        index_elements=["at", "metric"], set_={"count": rollups.c.count + upsert.excluded.count}
    )
    conn.execute(upsert, [{"at": at, "metric": metric, "count": count} for metric, count in sorted(counts.items())])


def drop(conn: Connection, before: datetime) -> int:
    """Remove buckets that nobody shows any more."""
    return conn.execute(sa.delete(rollups).where(rollups.c.at < before)).rowcount


def trends(conn: Connection, since: datetime, point: timedelta) -> Mapping[str, Sequence[Point]]:
    """Return what happened since, by metric, in points of a length; those in which nothing did are left out."""
    at = sa.func.date_bin(point, rollups.c.at, since).label("point")
    query = sa.select(rollups.c.metric, at, sa.cast(sa.func.sum(rollups.c.count), sa.BigInteger))
    rows = conn.execute(query.where(rollups.c.at >= since).group_by(rollups.c.metric, at).order_by(at))
    found: dict[str, list[Point]] = {}
    for metric, begin, count in rows:
        found.setdefault(metric, []).append(Point(begin.astimezone(UTC), count))
    return found
