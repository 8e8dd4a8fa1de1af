"""Every SQL statement of health."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from valhalla.features.observability.health.contracts import Sample
from valhalla.features.observability.health.tables import health_marks, metrics_snapshots

# of each source the last sample in each step: one walk along the index
_HISTORY: Final = sa.text(
    """
    SELECT DISTINCT ON (bin, source) at, source, numbers,
           date_bin(make_interval(secs => :step), at, :start) AS bin
      FROM valhalla.metrics_snapshots
     WHERE at >= :start AND at < :end AND (CAST(:source AS text) IS NULL OR source = :source)
     ORDER BY bin, source, at DESC
     LIMIT :limit
    """
)
_LATEST: Final = sa.text(
    "SELECT DISTINCT ON (source) at, source, numbers FROM valhalla.metrics_snapshots WHERE at > :newer_than"
    " ORDER BY source, at DESC"
)


def add(conn: Connection, samples: Sequence[Sample]) -> None:
    """Store samples; one that is there already stays as it is."""
    rows = [{"source": one.source, "at": one.at, "numbers": dict(one.numbers)} for one in samples]
    conn.execute(insert(metrics_snapshots).on_conflict_do_nothing(), rows)


def history(
    conn: Connection, *, start: datetime, end: datetime, step: float, source: str | None, limit: int
) -> list[Sample]:
    """Return one sample per source and ``step`` seconds, oldest first."""
    values = {"start": start, "end": end, "step": step, "source": source, "limit": limit}
    return [Sample(row.at, row.source, row.numbers) for row in conn.execute(_HISTORY, values)]


def latest(conn: Connection, *, newer_than: datetime) -> list[Sample]:
    """Return the last sample of each source that is newer."""
    return [Sample(row.at, row.source, row.numbers) for row in conn.execute(_LATEST, {"newer_than": newer_than})]


def forget_marks(conn: Connection, *, older_than: timedelta) -> int:
    """Remove what killed processes left of their checks; return how many."""
    border = sa.func.clock_timestamp() - older_than
    return conn.execute(sa.delete(health_marks).where(health_marks.c.at < border)).rowcount
