"""pgqueuer, and the only module that knows it: the queue that says which job is whose turn.

Taken from it are its tables (migration 0008) and its dequeue statement: priorities, delays, seats of limited queues
over all workers, jobs of dead workers. Not its manager: that completes jobs by id alone, so the late completion of a
frozen worker would remove the job under the one that took it over.

A row of the queue names a job by ``dedupe_key``, which is unique among rows that wait or are taken. An entrypoint of
pgqueuer is a lane of ours: a queue that has limits, whose seats all its jobs share, or else a queue and the name of a
job, so that a worker takes what it knows and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection

from valhalla.kit.db import SCHEMA

if TYPE_CHECKING:
    from pgqueuer.adapters.persistence.qb import QueryQueueBuilder

CHANNEL: Final = "ch_pgqueuer"
"""Hears a NOTIFY whenever a job was put in or taken out."""

LOST_RACES: Final = ("23505", "40P01")
"""SQLSTATEs of a claim that another worker's claim beat to the last seat of a limited queue."""

LINE_UP: Final = (
    f"INSERT INTO {SCHEMA}.pgqueuer (priority, entrypoint, execute_after, dedupe_key, status)"  # noqa: S608
    " SELECT priority, coalesce(lane, queue), run_at, id, 'queued' FROM made"
    " ON CONFLICT (dedupe_key) WHERE status IN ('queued', 'picked') AND dedupe_key IS NOT NULL DO NOTHING"
)
"""Lines up the records of a common table ``made``, in the statement that makes them; workers wake at the commit."""

_LIVE: Final = "status IN ('queued', 'picked') AND dedupe_key = ANY(:ids)"
_REMOVE: Final = sa.text(f"DELETE FROM {SCHEMA}.pgqueuer WHERE {_LIVE}").bindparams(  # noqa: S608
    sa.bindparam("ids", type_=ARRAY(sa.Text))
)
_AGAIN: Final = sa.text(
    f"UPDATE {SCHEMA}.pgqueuer AS q SET status = 'queued', queue_manager_id = NULL, slot = NULL, updated = now(),"  # noqa: S608
    " execute_after = now() + make_interval(secs => r.delay)"
    " FROM jsonb_to_recordset(:rows) AS r(id text, delay float8)"
    " WHERE q.dedupe_key = r.id AND q.status IN ('queued', 'picked')"
).bindparams(sa.bindparam("rows", type_=JSONB))
_LOCK: Final = sa.text(
    f"SELECT 1 FROM {SCHEMA}.pgqueuer WHERE {_LIVE} ORDER BY dedupe_key FOR UPDATE"  # noqa: S608
).bindparams(sa.bindparam("ids", type_=ARRAY(sa.Text)))
# never by worker alone: a claim whose answer was lost must not be kept alive by a worker that knows nothing of it
# In one order with those who lock; who has a row locked is alive, or about to take it out.
_BEAT: Final = sa.text(
    f"UPDATE {SCHEMA}.pgqueuer SET heartbeat = clock_timestamp() WHERE id IN (SELECT id FROM {SCHEMA}.pgqueuer"  # noqa: S608
    f" WHERE {_LIVE} AND queue_manager_id = :worker ORDER BY dedupe_key FOR UPDATE SKIP LOCKED)"
).bindparams(sa.bindparam("worker", type_=sa.Uuid()), sa.bindparam("ids", type_=ARRAY(sa.Text)))
_NEXT: Final = sa.text(
    f"SELECT extract(epoch FROM min(execute_after) - clock_timestamp())::float8 FROM {SCHEMA}.pgqueuer"  # noqa: S608
    " WHERE status = 'queued' AND entrypoint = ANY(:lanes) AND execute_after > now()"
).bindparams(sa.bindparam("lanes", type_=ARRAY(sa.Text)))
# from one lane to the next over the index, however many jobs wait in each
_LANES: Final = sa.text(
    f"WITH RECURSIVE l AS ((SELECT entrypoint FROM {SCHEMA}.pgqueuer WHERE status = 'queued'"  # noqa: S608
    " ORDER BY entrypoint LIMIT 1) UNION ALL"
    f" SELECT (SELECT q.entrypoint FROM {SCHEMA}.pgqueuer AS q WHERE q.status = 'queued'"
    " AND q.entrypoint > l.entrypoint ORDER BY q.entrypoint LIMIT 1) FROM l WHERE l.entrypoint IS NOT NULL)"
    " SELECT entrypoint FROM l WHERE entrypoint IS NOT NULL"
)
_LEFT: Final = sa.text(
    f"SELECT dedupe_key FROM {SCHEMA}.pgqueuer WHERE status = 'queued' AND entrypoint = ANY(:lanes)"  # noqa: S608
    " AND execute_after < now() - make_interval(secs => :patience)"
    " ORDER BY dedupe_key LIMIT :most FOR UPDATE SKIP LOCKED"
).bindparams(sa.bindparam("lanes", type_=ARRAY(sa.Text)))
# of each lane no more than a few pages of its index, however many jobs wait in it
_WAITING: Final = sa.text(
    _LANES.text.removesuffix("SELECT entrypoint FROM l WHERE entrypoint IS NOT NULL") + " SELECT l.entrypoint,"  # noqa: S608
    f" (SELECT count(*) FROM (SELECT FROM {SCHEMA}.pgqueuer AS q WHERE q.status = 'queued'"
    " AND q.entrypoint = l.entrypoint LIMIT :most) AS w) AS waiting,"
    f" (SELECT q.execute_after FROM {SCHEMA}.pgqueuer AS q WHERE q.status = 'queued'"
    " AND q.entrypoint = l.entrypoint ORDER BY q.execute_after LIMIT 1) AS oldest"
    " FROM l WHERE l.entrypoint IS NOT NULL LIMIT :lanes"
)
_CLOCK: Final = sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")


@lru_cache(maxsize=1)
def _builder() -> QueryQueueBuilder:
    # 0.14 s that only a process with a worker pays
    from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
    from pgqueuer.domain.settings import DBSettings, Durability
    from pgqueuer.domain.types import Channel

    # every name is given: the class would read what is missing from the environment (even from a bare $CHANNEL)
    names = DBSettings(
        prefix="",
        db_schema=SCHEMA,
        channel=Channel(CHANNEL),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.balanced,
        widen_id=False,
    )
    return QueryQueueBuilder(names)


def warm() -> None:
    """Load pgqueuer, so that the first claim does not."""
    _builder()


def claim(conn: Connection, lanes: Mapping[str, int], worker: UUID, *, most: int, stale: float | None) -> list[str]:
    """Take up to ``most`` jobs for ``worker`` from ``lanes`` (lane → concurrency over all workers, 0: no limit).

    Jobs come highest priority first, among them those whose worker gave no sign of life for ``stale`` seconds (None:
    what others have is left alone).
    Runs on asyncpg only. An error of ``LOST_RACES`` means that there was nothing to take after all.
    """
    query = _builder().build_dequeue_query(
        batch_size=most,
        entrypoints=cast("list[Any]", list(lanes)),
        concurrency_limits=list(lanes.values()),
        queue_manager_id=cast("Any", worker),
        global_concurrency_limit=None,
        heartbeat_timeout=timedelta(days=36_500) if stale is None else timedelta(seconds=stale),
    )
    return [row.dedupe_key for row in conn.exec_driver_sql(query.sql, query.args)]


def beat(conn: Connection, worker: UUID, ids: Sequence[str]) -> None:
    """Say that ``worker`` is alive and works on these jobs, so that they stay its own."""
    conn.execute(_BEAT, {"worker": worker, "ids": list(ids)})


def lock(conn: Connection, ids: Sequence[str]) -> None:
    """Wait until nobody else changes who has these jobs; what locks records as well calls this first."""
    conn.execute(_LOCK, {"ids": list(ids)})


def remove(conn: Connection, ids: Sequence[str]) -> None:
    """Take jobs out, whoever has them."""
    if ids:
        conn.execute(_REMOVE, {"ids": list(ids)})


def again(conn: Connection, delays: Mapping[str, float]) -> None:
    """Put taken jobs back into line, each after its seconds."""
    if delays:
        conn.execute(_AGAIN, {"rows": [{"id": key, "delay": delay} for key, delay in delays.items()]})


def next_due(conn: Connection, lanes: Sequence[str]) -> float | None:
    """Return the seconds until the next delayed job becomes due."""
    return conn.scalar(_NEXT, {"lanes": list(lanes)})


def lanes(conn: Connection) -> list[str]:
    """Return the lanes in which a job waits."""
    return list(conn.scalars(_LANES))


def waiting(conn: Connection, *, most: int, lanes: int) -> list[tuple[str, int, datetime]]:
    """Return of each queue's lanes (``lanes`` at most): how many wait there, up to ``most``, and since when the first.

    One that is delayed waits from when it may begin.
    """
    rows = conn.execute(_WAITING, {"most": most, "lanes": lanes})
    return [(row.entrypoint.partition(":")[0], row.waiting, row.oldest.astimezone(UTC)) for row in rows]


def left(conn: Connection, lanes: Sequence[str], *, patience: float, most: int) -> list[str]:
    """Lock and return jobs that have been due in these lanes for ``patience`` seconds, and nobody took them."""
    return list(conn.scalars(_LEFT, {"lanes": list(lanes), "patience": patience, "most": most})) if lanes else []


def clock(conn: Connection) -> float:
    """Return the database's clock, in seconds since the epoch: who is silent for too long is decided by it."""
    return conn.execute(_CLOCK).scalar_one()
