"""pgqueuer, and the only module that knows it: the queue that says which job is whose turn.

Taken from it are its tables (migration 0008) and its dequeue statement: priorities, delays, seats of limited queues
over all workers, jobs of dead workers. Not its manager: that completes jobs by id alone, so the late completion of a
frozen worker would remove the job under the one that took it over.

A row of the queue names a job by ``dedupe_key``, which is unique among rows that wait or are taken. An entrypoint of
pgqueuer is a queue of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
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

_PUT: Final = sa.text(
    f"INSERT INTO {SCHEMA}.pgqueuer (priority, entrypoint, execute_after, dedupe_key, status)"  # noqa: S608
    " SELECT r.priority, r.queue, now() + make_interval(secs => r.delay), r.id, 'queued'"
    " FROM jsonb_to_recordset(:rows) AS r(id text, queue text, priority int, delay float8) ORDER BY r.id"
    " ON CONFLICT (dedupe_key) WHERE status IN ('queued', 'picked') AND dedupe_key IS NOT NULL DO NOTHING"
).bindparams(sa.bindparam("rows", type_=JSONB))
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
_BEAT: Final = sa.text(
    f"UPDATE {SCHEMA}.pgqueuer SET heartbeat = clock_timestamp() WHERE {_LIVE} AND queue_manager_id = :worker"  # noqa: S608
).bindparams(sa.bindparam("worker", type_=sa.Uuid()), sa.bindparam("ids", type_=ARRAY(sa.Text)))
_NEXT: Final = sa.text(
    f"SELECT extract(epoch FROM min(execute_after) - clock_timestamp())::float8 FROM {SCHEMA}.pgqueuer"  # noqa: S608
    " WHERE status = 'queued' AND entrypoint = ANY(:queues) AND execute_after > now()"
).bindparams(sa.bindparam("queues", type_=ARRAY(sa.Text)))
_WAITING: Final = sa.text(
    f"SELECT entrypoint, count(*) FROM {SCHEMA}.pgqueuer WHERE status = 'queued' GROUP BY 1"  # noqa: S608
)
_PRUNE: Final = sa.text(f"DELETE FROM {SCHEMA}.pgqueuer_log WHERE created < now() - interval '1 hour'")  # noqa: S608


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


def put(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Line up jobs, each a row of ``id``, ``queue``, ``priority``, ``delay`` (seconds); workers wake at the commit."""
    if rows:
        conn.execute(_PUT, {"rows": list(rows)})


def claim(conn: Connection, queues: Mapping[str, int], worker: UUID, *, most: int, stale: float) -> list[str]:
    """Take up to ``most`` jobs for ``worker`` from ``queues`` (name → concurrency over all workers, 0: no limit).

    Jobs come highest priority first, among them those whose worker gave no sign of life for ``stale`` seconds.
    Runs on asyncpg only. An error of ``LOST_RACES`` means that there was nothing to take after all.
    """
    query = _builder().build_dequeue_query(
        batch_size=most,
        entrypoints=cast("list[Any]", list(queues)),
        concurrency_limits=list(queues.values()),
        queue_manager_id=cast("Any", worker),
        global_concurrency_limit=None,
        heartbeat_timeout=timedelta(seconds=stale),
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


def next_due(conn: Connection, queues: Sequence[str]) -> float | None:
    """Return the seconds until the next delayed job becomes due."""
    return conn.scalar(_NEXT, {"queues": list(queues)})


def waiting(conn: Connection) -> dict[str, int]:
    """Return how many jobs wait in each queue."""
    return {row[0]: row[1] for row in conn.execute(_WAITING)}


def prune(conn: Connection) -> None:
    """Drop what the dequeue statement logs; nothing reads it."""
    conn.execute(_PRUNE)
