"""One turn of a worker at the database: take jobs, keep them, give outcomes back. Functions ``f(conn, …)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection

from valhalla.kit.outbox import emit_many
from valhalla.work import engine, store
from valhalla.work.contracts import Ended, Job
from valhalla.work.registry import Jobs
from valhalla.work.rules import before_start


def take(
    conn: Connection, jobs: Jobs, worker: UUID, *, most: int, stale: float, mine: frozenset[str]
) -> tuple[list[Job], float | None]:
    """Claim up to ``most`` jobs and begin them, in one transaction; return them and the seconds until more are due.

    ``mine`` are the jobs that this worker runs already: it was late to say so, and they stay as they are.
    """
    queues = {name: jobs.queues[name] for name in jobs.used_queues}
    free = {name: queue.concurrency for name, queue in queues.items() if queue.rate is None}
    claimed = engine.claim(conn, free, worker, most=most, stale=stale) if free else []
    # what was found begins at once; the next turn, which finds nothing, asks when to come again
    due = 0.0 if claimed else engine.next_due(conn, list(queues))
    for name, queue in queues.items():
        if queue.rate is None or len(claimed) >= most:
            continue
        allowed, wait = store.allowance(conn, name, queue.rate)
        if allowed:
            taken = engine.claim(
                conn, {name: queue.concurrency}, worker, most=min(allowed, most - len(claimed)), stale=stale
            )
            if taken:
                store.note_starts(conn, name, queue.rate, len(taken))
                claimed += taken
        elif wait is not None:
            due = wait if due is None else min(due, wait)
    claimed = [key for key in claimed if key not in mine]
    return (_begin(conn, jobs, worker, claimed) if claimed else []), due


def _begin(conn: Connection, jobs: Jobs, worker: UUID, claimed: list[str]) -> list[Job]:
    begun = {job.id: job for job in store.begin(conn, claimed, worker)}
    engine.remove(conn, [key for key in claimed if key not in begun])
    refused: list[Ended] = []
    for job in list(begun.values()):
        definition = jobs.get(job.name)
        if (ended := before_start(job, definition.retry if definition is not None else None)) is not None:
            refused.append(ended)
            del begun[job.id]
    if refused:
        give_back(conn, refused)
    # in the order in which they were claimed, which is the order of priority
    return [begun[key] for key in claimed if key in begun]


def give_back(conn: Connection, ended: Sequence[Ended]) -> set[str]:
    """Write outcomes and free the queue's rows in one transaction; return the ids of those that were taken.

    One that is missing was refused: another worker has begun the job since.
    """
    engine.lock(conn, [one.id for one in ended])
    taken = store.settle(conn, ended)
    status = {row["id"]: row["status"] for row in taken}
    engine.again(conn, {one.id: one.delay for one in ended if status.get(one.id) == "queued"})
    engine.remove(conn, [key for key, now in status.items() if now != "queued"])
    emit_many(
        conn,
        [
            {
                "subject": f"job.{row['id']}",
                "type": f"job.{row['status']}",
                "data": {"id": row["id"], "name": row["name"], "error": row["error"]},
                "correlation_id": row["correlation_id"],
            }
            for row in taken
            if row["status"] in ("dead", "held")
        ],
    )
    return set(status)


def keep(conn: Connection, worker: UUID, ids: Sequence[str], news: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say that the worker lives, store progress, and return which of its jobs should end."""
    engine.beat(conn, worker, ids)
    store.set_progress(conn, news)
    return store.asked_to_end(conn, ids)


def release_held(conn: Connection, jobs: Jobs) -> int:
    """Let held jobs go on whose names are known here; return how many."""
    rows = store.release(conn, jobs.names)
    engine.put(conn, [{**row, "delay": 0.0} for row in rows])
    return len(rows)
