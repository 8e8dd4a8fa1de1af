"""Every SQL statement about how many jobs of a queue began lately."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.work.contracts import Rate

_STARTS: Final = sa.text("SELECT starts FROM valhalla.job_starts WHERE queue = :queue FOR UPDATE SKIP LOCKED")
_RECENT: Final = sa.text(
    "SELECT count(*), extract(epoch FROM min(s) + make_interval(secs => :seconds) - clock_timestamp())::float8"
    " FROM valhalla.job_starts, unnest(starts) AS s"
    " WHERE queue = :queue AND s > clock_timestamp() - make_interval(secs => :seconds)"
)
_STARTED: Final = sa.text(
    "UPDATE valhalla.job_starts SET starts = ("
    "SELECT coalesce(array_agg(s), '{}') FROM unnest(starts) AS s"
    " WHERE s > clock_timestamp() - make_interval(secs => :seconds))"
    " || array_fill(clock_timestamp(), ARRAY[CAST(:count AS int)]) WHERE queue = :queue"
)


def allowance(conn: Connection, queue: str, rate: Rate) -> tuple[int, float | None]:
    """Return how many jobs of a queue may begin now, and after how many seconds one more may if none can.

    The queue stays locked until the transaction ends; while another worker has it, nothing is allowed here.
    """
    conn.execute(
        sa.text("INSERT INTO valhalla.job_starts VALUES (:queue, '{}') ON CONFLICT DO NOTHING"), {"queue": queue}
    )
    if conn.execute(_STARTS, {"queue": queue}).one_or_none() is None:
        return 0, 0.05
    count, wait = conn.execute(_RECENT, {"queue": queue, "seconds": rate.seconds}).one()
    return max(0, rate.count - count), wait


def note_starts(conn: Connection, queue: str, rate: Rate, count: int) -> None:
    """Count jobs that begin now against the queue's rate."""
    conn.execute(_STARTED, {"queue": queue, "seconds": rate.seconds, "count": count})
