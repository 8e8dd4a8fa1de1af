"""Every SQL statement about the records of jobs. A queue's row is always locked before the record it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit.holds import is_ungoverned
from valhalla.work import engine
from valhalla.work.contracts import Ended, Job
from valhalla.work.rules import SUSPECT
from valhalla.work.tables import jobs

_FIELDS: Final = Job.__struct_fields__
_COLUMNS: Final = ", ".join(f"j.{name}" for name in _FIELDS)
# a page of 200 tracebacks would be megabytes: they stay where they are
_ERROR: Final = sa.case((sa.func.jsonb_typeof(jobs.c.error) == "object", jobs.c.error.op("-")(sa.text("'traceback'"))))
_LISTED: Final = [_ERROR.label("error") if name == "error" else jobs.c[name] for name in _FIELDS]
_ids: Final = sa.bindparam("ids", type_=ARRAY(sa.Text))
_rows: Final = sa.bindparam("rows", type_=JSONB)
# in a form that no index knows: before its first ANALYZE the table seems to hold few of these, and who has the keys
# would go through thousands
_UNFINISHED: Final = "(j.status IN ('queued', 'running')) IS TRUE"
_OURS: Final = "(j.worker = :worker AND j.status IN ('queued', 'running')) IS TRUE"
_RUNNING: Final = "(j.status = 'running') IS TRUE"

_INSERT: Final = sa.text(
    "WITH made AS (INSERT INTO valhalla.jobs"  # noqa: S608
    " (id, name, queue, lane, status, args, priority, dedup_key, correlation_id, traceparent, timeout, run_at)"
    " SELECT r.id, r.name, r.queue, r.lane, 'queued', r.args, r.priority, r.dedup_key, r.correlation_id,"
    " r.traceparent, r.timeout,"
    " now() + make_interval(secs => r.delay)"
    " FROM ROWS FROM (jsonb_to_recordset(:rows) AS (id text, name text, queue text, lane text, args jsonb,"
    " priority int, dedup_key text, correlation_id text, traceparent text, timeout float8,"
    " delay float8)) WITH ORDINALITY"
    " AS r(id, name, queue, lane, args, priority, dedup_key, correlation_id, traceparent, timeout, delay, place)"
    # one order for all, so that two batches with the same keys wait for each other and not in a circle
    " ORDER BY r.name, r.dedup_key, r.place"
    " ON CONFLICT (name, dedup_key) WHERE dedup_key IS NOT NULL AND status IN ('queued', 'running', 'held') DO NOTHING"
    f" RETURNING id, queue, lane, priority, run_at), lined AS ({engine.LINE_UP}) SELECT id FROM made"
).bindparams(_rows)
_OPEN: Final = sa.text(
    "SELECT j.name, j.dedup_key, j.id FROM valhalla.jobs AS j"
    " JOIN jsonb_to_recordset(:rows) AS r(name text, dedup_key text) USING (name, dedup_key)"
    " WHERE j.status IN ('queued', 'running', 'held')"
).bindparams(_rows)
# who was running when its worker died is counted; a suspect waits for its turn, so that it is not blamed for another
#
# The commit is not waited for: the outcome's is, which makes this one durable too. Were it lost with the server, the
# job would be taken again, and the fence, which knows the worker as well, would refuse the first one's outcome.
_BEGIN: Final = sa.text(
    "UPDATE valhalla.jobs AS j SET generation = j.generation + 1, worker = :worker,"  # noqa: S608
    " crashes = j.crashes + (j.status = 'running')::int,"
    " started_at = clock_timestamp(),"
    f" status = CASE WHEN j.crashes + (j.status = 'running')::int >= {SUSPECT} THEN 'queued' ELSE 'running' END"
    " FROM (SELECT set_config('synchronous_commit', CASE WHEN :durable THEN 'on' ELSE 'off' END, true)) AS quick"
    f" WHERE j.id = ANY(:ids) AND {_UNFINISHED} RETURNING {_COLUMNS}"
).bindparams(_ids, sa.bindparam("durable", type_=sa.Boolean), sa.bindparam("worker", type_=sa.Uuid()))
_START: Final = sa.text(
    "UPDATE valhalla.jobs SET status = 'running', started_at = clock_timestamp()"
    " WHERE id = :id AND generation = :generation AND status = 'queued' RETURNING id"
)
# asked to end and failed: it is not tried again
# a plan that was made while few jobs waited is kept while many do: it must look each up by its key from the beginning
_BY_KEY: Final = sa.text(
    "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"
    " set_config('enable_seqscan', 'off', true)"
)
_SETTLE: Final = sa.text(
    "UPDATE valhalla.jobs AS j SET"  # noqa: S608
    " status = CASE WHEN r.status = 'queued' AND j.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE r.status END,"
    " effect = CASE WHEN r.status = 'queued' AND j.cancel_requested_at IS NOT NULL THEN 'unknown' ELSE r.effect END,"
    " result = r.result, error = r.error, progress = coalesce(r.progress, j.progress), worker = NULL,"
    " attempts = j.attempts + r.failed::int, crashes = greatest(j.crashes, 0),"
    # what is in line again belongs to nobody: an outcome that is still under way must find the fence moved
    " generation = j.generation + (r.status = 'queued')::int,"
    " run_at = CASE WHEN r.status = 'queued' THEN now() + make_interval(secs => r.delay) ELSE j.run_at END,"
    " finished_at = CASE WHEN r.status IN ('queued', 'held') AND j.cancel_requested_at IS NULL"
    " THEN NULL ELSE clock_timestamp() END"
    " FROM jsonb_to_recordset(:rows) AS r(id text, generation int, status text, result jsonb, error jsonb, effect text,"
    " progress jsonb, failed bool, delay float8)"
    f" WHERE j.id = r.id AND j.generation = r.generation AND {_OURS}"
    " RETURNING j.id, j.status, j.name, j.queue, j.error, j.correlation_id"
).bindparams(_rows, sa.bindparam("worker", type_=sa.Uuid()))
_FORGIVE: Final = sa.text(
    "UPDATE valhalla.jobs SET crashes = crashes - 1 WHERE id = ANY(:ids) AND worker = :worker AND status = 'running'"
).bindparams(_ids, sa.bindparam("worker", type_=sa.Uuid()))
_PROGRESS: Final = sa.text(
    "UPDATE valhalla.jobs AS j SET progress = r.progress"  # noqa: S608
    " FROM jsonb_to_recordset(:rows) AS r(id text, generation int, progress jsonb)"
    f" WHERE j.id = r.id AND j.generation = r.generation AND {_RUNNING}"
).bindparams(_rows)
_ASKED: Final = sa.text(
    "SELECT id FROM valhalla.jobs WHERE id = ANY(:ids) AND cancel_requested_at IS NOT NULL"
).bindparams(_ids)
_REPLAY: Final = sa.text(
    "WITH made AS (UPDATE valhalla.jobs AS j SET status = 'queued', attempts = 0, crashes = 0,"  # noqa: S608
    " generation = j.generation + 1, worker = NULL,"
    " error = NULL, effect = NULL, result = NULL, progress = NULL, started_at = NULL, finished_at = NULL,"
    " cancel_requested_at = NULL, run_at = clock_timestamp()"
    f" WHERE j.id = :id AND j.status IN ('dead', 'cancelled', 'held') RETURNING lane, {_COLUMNS}),"
    f" lined AS ({engine.LINE_UP}) SELECT {_COLUMNS} FROM made AS j"
)
_LOST: Final = "j.status = :status AND (:name IS NULL OR j.name = :name) AND (:queue IS NULL OR j.queue = :queue)"
# of several with one dedup key the oldest goes; none goes beside an unfinished one
_REPLAY_MANY: Final = sa.text(
    f"WITH want AS (SELECT j.id, j.name, j.dedup_key FROM valhalla.jobs AS j WHERE {_LOST}"  # noqa: S608
    " AND NOT EXISTS (SELECT 1 FROM valhalla.jobs AS o WHERE o.name = j.name AND o.dedup_key = j.dedup_key"
    " AND o.status IN ('queued', 'running', 'held') AND o.id <> j.id)"
    " ORDER BY j.id LIMIT :most FOR UPDATE SKIP LOCKED),"
    " fit AS (SELECT DISTINCT ON (name, coalesce(dedup_key, id)) id FROM want"
    " ORDER BY name, coalesce(dedup_key, id), id),"
    " made AS (UPDATE valhalla.jobs AS j SET status = 'queued', attempts = 0, crashes = 0,"
    " generation = j.generation + 1, worker = NULL, error = NULL, effect = NULL, result = NULL, progress = NULL,"
    " started_at = NULL, finished_at = NULL, cancel_requested_at = NULL, run_at = clock_timestamp()"
    " FROM fit WHERE j.id = fit.id RETURNING j.id, j.name, j.queue, j.correlation_id, j.lane, j.priority,"
    " j.run_at),"
    f" lined AS ({engine.LINE_UP}) SELECT id, name, queue, correlation_id FROM made ORDER BY id"
).bindparams(sa.bindparam("name", type_=sa.Text), sa.bindparam("queue", type_=sa.Text))
_COUNT: Final = sa.text(f"SELECT count(*) FROM valhalla.jobs AS j WHERE {_LOST}").bindparams(  # noqa: S608
    sa.bindparam("name", type_=sa.Text), sa.bindparam("queue", type_=sa.Text)
)
_RELEASE: Final = sa.text(
    "WITH made AS (UPDATE valhalla.jobs SET status = 'queued', error = NULL, run_at = clock_timestamp()"  # noqa: S608
    " WHERE status = 'held' AND name = ANY(:names) RETURNING id, name, queue, correlation_id, lane, priority, run_at),"
    f" lined AS ({engine.LINE_UP}) SELECT id, name, queue, correlation_id FROM made"
).bindparams(sa.bindparam("names", type_=ARRAY(sa.Text)))
_STILL: Final = sa.text(
    "SELECT name, array_agg(DISTINCT status ORDER BY status) AS statuses FROM valhalla.jobs"
    " WHERE status IN ('dead', 'held') AND name = ANY(:names) GROUP BY name"
).bindparams(sa.bindparam("names", type_=ARRAY(sa.Text)))
_HOLD: Final = sa.text(
    "UPDATE valhalla.jobs SET status = 'held', worker = NULL, generation = generation + 1,"
    " error = jsonb_build_object('code', 'unknown-job', 'detail', 'no worker knows the job ' || name)"
    " WHERE id = ANY(:ids) AND status = 'queued' RETURNING id, status, name, queue, error, correlation_id"
).bindparams(_ids)


def insert(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Write and line up new records; return the ids of those whose dedup key was free."""
    return set(conn.scalars(_INSERT, {"rows": list(rows)}))


def open_ids(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the unfinished jobs that have the keys of ``rows``, by name and key."""
    wanted = [{"name": row["name"], "dedup_key": row["dedup_key"]} for row in rows]
    return {(row.name, row.dedup_key): row.id for row in conn.execute(_OPEN, {"rows": wanted})}


def begin(conn: Connection, ids: Sequence[str], worker: UUID, *, durable: bool) -> list[Job]:
    """Give claimed jobs to ``worker`` with a new generation; suspects stay ``queued`` until ``start``."""
    parameters = {"ids": list(ids), "worker": worker, "durable": durable}
    return [_job(row) for row in conn.execute(_BEGIN, parameters).mappings()]


def generations(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Return who began each job last, as far as a fence can tell."""
    rows = conn.execute(sa.select(jobs.c.id, jobs.c.generation).where(jobs.c.id.in_(ids)))
    return {row.id: row.generation for row in rows}


def start(conn: Connection, job: Job) -> bool:
    """Note that a suspect's function is about to be called; ``False``: it is no longer this worker's."""
    return conn.scalar(_START, {"id": job.id, "generation": job.generation}) is not None


def settle(conn: Connection, worker: UUID, ended: Sequence[Ended]) -> list[RowMapping]:
    """Write ``worker``'s outcomes; return what was taken: one of an older generation, or of another, is refused."""
    conn.execute(_BY_KEY)
    return list(conn.execute(_SETTLE, {"rows": msgspec.to_builtins(ended), "worker": worker}).mappings())


def hold(conn: Connection, ids: Sequence[str]) -> list[RowMapping]:
    """Hold waiting jobs whose names nobody knows; return those that were."""
    return list(conn.execute(_HOLD, {"ids": list(ids)}).mappings())


def forgive(conn: Connection, worker: UUID, ids: Sequence[str]) -> None:
    """Note that ``worker`` ends in peace while it runs these: whoever takes them over will count a death too many."""
    conn.execute(_FORGIVE, {"worker": worker, "ids": list(ids)})


def set_progress(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store progress, each a row of ``id``, ``generation`` and ``progress``."""
    if rows:
        conn.execute(_PROGRESS, {"rows": list(rows)})


def asked_to_end(conn: Connection, ids: Sequence[str]) -> list[str]:
    """Return which of the jobs were cancelled while they run."""
    return list(conn.scalars(_ASKED, {"ids": list(ids)}))


def get(conn: Connection, id: str, *, lock: bool = False) -> Job | None:  # noqa: A002
    """Return one record."""
    query = sa.select(*(jobs.c[name] for name in _FIELDS)).where(jobs.c.id == id)
    row = conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else _job(row)


def find(
    conn: Connection,
    *,
    statuses: Iterable[str] = (),
    name: str | None = None,
    queue: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[Job]:
    """Return records, newest first, of some states (none: of every), older than the id ``before``.

    Their errors come without tracebacks.
    """
    query = sa.select(*_LISTED).order_by(jobs.c.id.desc()).limit(limit)
    if statuses := list(statuses):
        query = query.where(jobs.c.status.in_(statuses))
    if name is not None:
        query = query.where(jobs.c.name == name)
    if queue is not None:
        query = query.where(jobs.c.queue == queue)
    if before is not None:
        query = query.where(jobs.c.id < before)
    return [_job(row) for row in conn.execute(query).mappings()]


def finish_unstarted(conn: Connection, job: Job) -> None:
    """Cancel a job that waits."""
    effect = "none" if job.attempts == job.crashes == 0 else "unknown"
    conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job.id)
        .values(status="cancelled", effect=effect, finished_at=sa.func.clock_timestamp())
    )


def ask_to_end(conn: Connection, id: str) -> None:  # noqa: A002
    """Note that a running job should end."""
    now = sa.func.coalesce(jobs.c.cancel_requested_at, sa.func.clock_timestamp())
    conn.execute(sa.update(jobs).where(jobs.c.id == id).values(cancel_requested_at=now))


def replay(conn: Connection, id: str) -> Job | None:  # noqa: A002
    """Make a dead, cancelled or held job new again; ``None`` if it is none of these."""
    row = conn.execute(_REPLAY, {"id": id}).mappings().one_or_none()
    return None if row is None else _job(row)


def replay_many(conn: Connection, *, status: str, name: str | None, queue: str | None, most: int) -> list[RowMapping]:
    """Make up to ``most`` dead, cancelled or held jobs new again; return who they are, the oldest first."""
    values = {"status": status, "name": name, "queue": queue, "most": most}
    return list(conn.execute(_REPLAY_MANY, values).mappings())


def count(conn: Connection, *, status: str, name: str | None, queue: str | None) -> int:
    """Return how many jobs have a status."""
    return conn.execute(_COUNT, {"status": status, "name": name, "queue": queue}).scalar_one()


def release(conn: Connection, names: Sequence[str]) -> list[RowMapping]:
    """Let jobs go on that were held because no worker knew their names; return who they are."""
    return list(conn.execute(_RELEASE, {"names": list(names)}).mappings())


def lost(conn: Connection, names: Sequence[str]) -> dict[str, list[str]]:
    """Return by name whether jobs are ``dead`` or ``held``."""
    return {row.name: row.statuses for row in conn.execute(_STILL, {"names": list(names)})}


def prune(conn: Connection, older_than: timedelta, *, limit: int = 10_000) -> int:
    """Remove jobs that finished longer ago than ``older_than`` (dead ones stay, somebody may replay them).

    While a legal hold or a policy names jobs this removes none: retention knows which of them may go.
    """
    border = sa.func.clock_timestamp() - older_than
    old = (
        sa.select(jobs.c.id)
        .where(jobs.c.finished_at < border, jobs.c.status != "dead", is_ungoverned("jobs"))
        .limit(limit)
    )
    return conn.execute(sa.delete(jobs).where(jobs.c.id.in_(old))).rowcount


def _job(row: RowMapping) -> Job:
    values = dict(row)
    for name in ("created_at", "run_at", "started_at", "finished_at", "cancel_requested_at"):
        if values[name] is not None:
            values[name] = values[name].astimezone(UTC)
    return Job(**values)
