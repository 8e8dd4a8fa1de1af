"""One turn of a worker at the database: take jobs, keep them, give outcomes back. Functions ``f(conn, …)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit import notices
from valhalla.kit.outbox import emit_many
from valhalla.work import engine, kinds, rates, store
from valhalla.work.contracts import Ended, Job
from valhalla.work.registry import Jobs
from valhalla.work.rules import before_start
from valhalla.work.telling import tell_back
from valhalla.work.values import without_traceback

_AT_ONCE: Final = 500


def take(
    conn: Connection, jobs: Jobs, worker: UUID, *, most: int, stale: float | None, mine: Mapping[str, int]
) -> tuple[list[Job], float | None]:
    """Claim up to ``most`` jobs and begin them, in one transaction; return them and the seconds until more are due.

    ``stale`` seconds of silence make others' jobs free to take; None: they are not looked at. ``mine`` are the jobs
    that this worker has already, with their generations: it was late to say so, and they stay as they are.
    """
    queues = jobs.used_queues.values()
    free = {lane: queue.concurrency for queue in queues if queue.rate is None for lane in jobs.lanes(queue)}
    claimed = engine.claim(conn, free, worker, most=most, stale=stale) if free else []
    # what was found begins at once; the next turn, which finds nothing, asks when to come again
    due = 0.0 if claimed else engine.next_due(conn, [lane for queue in queues for lane in jobs.lanes(queue)])
    durable = False
    for queue in queues:
        if queue.rate is None or len(claimed) >= most:
            continue
        allowed, wait = rates.allowance(conn, queue.name, queue.rate)
        if allowed:
            lanes = dict.fromkeys(jobs.lanes(queue), queue.concurrency)
            taken = engine.claim(conn, lanes, worker, most=min(allowed, most - len(claimed)), stale=stale)
            if taken:
                # what was counted must stay counted
                durable = True
                rates.note_starts(conn, queue.name, queue.rate, len(taken))
                claimed += taken
        elif wait is not None:
            due = wait if due is None else min(due, wait)
    if again := [key for key in claimed if key in mine]:
        # one that was given back since it was looked at is a new one
        now = store.generations(conn, again)
        claimed = [key for key in claimed if key not in mine or now.get(key) != mine[key]]
    return (_begin(conn, jobs, worker, claimed, durable=durable) if claimed else []), due


def _begin(conn: Connection, jobs: Jobs, worker: UUID, claimed: list[str], *, durable: bool) -> list[Job]:
    begun = {job.id: job for job in store.begin(conn, claimed, worker, durable=durable)}
    engine.remove(conn, [key for key in claimed if key not in begun])
    refused: list[Ended] = []
    elsewhere: set[str] | None = None
    for job in list(begun.values()):
        definition = jobs.get(job.name)
        if definition is None and elsewhere is None:
            elsewhere = kinds.live(conn)[0]
        retry = definition.retry if definition is not None else None
        if (ended := before_start(job, retry, known_elsewhere=job.name in (elsewhere or ()))) is not None:
            refused.append(ended)
            del begun[job.id]
    if refused:
        give_back(conn, worker, refused)
    # in the order in which they were claimed, which is the order of priority
    return [begun[key] for key in claimed if key in begun]


def give_back(conn: Connection, worker: UUID, ended: Sequence[Ended]) -> set[str]:
    """Write outcomes and free the queue's rows in one transaction; return the ids of those that were taken.

    One that is missing was refused: another worker has begun the job since.
    """
    engine.lock(conn, [one.id for one in ended])
    taken = store.settle(conn, worker, ended)
    status = {row["id"]: row["status"] for row in taken}
    engine.again(conn, {one.id: one.delay for one in ended if status.get(one.id) == "queued"})
    engine.remove(conn, [key for key, now in status.items() if now != "queued"])
    _tell(conn, taken)
    return set(status)


def _tell(conn: Connection, rows: Sequence[RowMapping]) -> None:
    emit_many(
        conn,
        [
            {
                "subject": f"job.{row['id']}",
                "type": f"job.{row['status']}",
                "data": {
                    "id": row["id"],
                    "name": row["name"],
                    "queue": row["queue"],
                    "error": without_traceback(row["error"]),
                },
                "correlation_id": row["correlation_id"],
            }
            for row in rows
            if row["status"] in ("dead", "held")
        ],
    )


def keep(
    conn: Connection, worker: UUID, ids: Sequence[str], news: Sequence[Mapping[str, Any]], *, tell: bool = False
) -> list[str]:
    """Say that the worker lives, store progress, and return which of its jobs should end.

    With ``tell`` whoever looks at jobs hears that there is more to see.
    """
    if ids:
        engine.beat(conn, worker, ids)
    store.set_progress(conn, news)
    if tell:
        notices.tell(conn, notices.JOBS)
    return store.asked_to_end(conn, ids)


def look_after_names(conn: Connection, jobs: Jobs, *, patience: float | None) -> int:
    """Say which jobs are known here, let those go on that were held for that, and hold what nobody knows.

    Jobs are held that have been due for ``patience`` seconds in a lane that no live worker looks at (None: not now).
    Returns how many.
    """
    kinds.announce(conn, jobs)
    tell_back(conn, "job.released", store.release(conn, jobs.names))
    if patience is None:
        return 0
    _, looked_at = kinds.live(conn)
    ids = engine.left(conn, sorted(set(engine.lanes(conn)) - looked_at), patience=patience, most=_AT_ONCE)
    if not ids:
        return 0
    held = store.hold(conn, ids)
    engine.remove(conn, [row["id"] for row in held])
    _tell(conn, held)
    return len(held)
