"""What a caller does with jobs: functions ``f(conn, …)`` in the caller's transaction, so both commit or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import sqlalchemy.exc
from sqlalchemy.engine import Connection

from valhalla.kit import trace
from valhalla.kit.log import correlation_id
from valhalla.work import engine, store
from valhalla.work.contracts import Job, Request, Submitted
from valhalla.work.errors import BadArguments, NoSuchJob, NotReplayable
from valhalla.work.ids import job_ids
from valhalla.work.registry import Known
from valhalla.work.telling import tell_back
from valhalla.work.values import UnstorableError, plain

Lost = Literal["dead", "cancelled", "held"]
"""Statuses from which a job can be replayed."""

_TRIES: Final = 5
_LONGEST: Final = 10 * 365 * 86_400.0
_MAX_KEY: Final = 512


def submit(
    conn: Connection,
    jobs: Known,
    name: str,
    args: Mapping[str, Any] | None = None,
    *,
    priority: int = 0,
    delay: float = 0.0,
    timeout: float | None = None,
    dedup_key: str | None = None,
) -> Submitted:
    """Submit one job; it becomes visible to workers when the caller's transaction commits. See ``Request``.

    Raises:
        UnknownJob: nothing is registered under ``name``.
        BadArguments: ``args`` do not fit its parameters.
    """
    request = Request(name=name, args=args or {}, priority=priority, delay=delay, timeout=timeout, dedup_key=dedup_key)
    return submit_many(conn, jobs, [request])[0]


def submit_many(conn: Connection, jobs: Known, requests: Sequence[Request]) -> list[Submitted]:
    """Submit several jobs, all or none, in one statement; return one answer for each, in order.

    Raises:
        UnknownJob: nothing is registered under a name.
        BadArguments: arguments do not fit.
    """
    correlation = correlation_id()
    ids = job_ids(len(requests))
    rows = [_row(jobs, request, id, correlation) for request, id in zip(requests, ids, strict=True)]  # noqa: A001
    answers: dict[int, Submitted] = {}
    open_rows = dict(enumerate(rows))
    # the job that had the key may finish between the two looks: then the key is free again
    for _ in range(_TRIES):
        if not open_rows:
            break
        made = store.insert(conn, list(open_rows.values()))
        taken = [row for row in open_rows.values() if row["id"] not in made]
        others = store.open_ids(conn, taken) if taken else {}
        for index, row in list(open_rows.items()):
            if row["id"] in made:
                answers[index] = Submitted(row["id"], True)
            elif (other := others.get((row["name"], row["dedup_key"]))) is not None:
                answers[index] = Submitted(other, False)
            else:
                continue
            del open_rows[index]
    if open_rows:
        raise RuntimeError("a dedup key was taken and freed again and again")
    return [answers[index] for index in range(len(rows))]


def _check(request: Request) -> None:
    """Refuse what no queue could hold, before the database does so in its own words."""
    if not -(2**31) <= request.priority < 2**31:
        raise BadArguments("a priority is a whole number of 32 bits", job=request.name)
    if not -_LONGEST <= request.delay <= _LONGEST:
        raise BadArguments("a delay is a number of seconds, ten years at most", job=request.name)
    if request.timeout is not None and not 0 < request.timeout <= _LONGEST:
        raise BadArguments("a timeout is more than 0 and at most ten years, in seconds", job=request.name)
    key = request.dedup_key
    if key is not None and not (0 < len(key) <= _MAX_KEY and key.isprintable()):
        raise BadArguments(f"a dedup key is 1 to {_MAX_KEY} printable characters", job=request.name)


def cancel(conn: Connection, id: str) -> Job:  # noqa: A002
    """Cancel a job and return its record; a finished one is left as it is.

    One that waits never runs (``effect`` is ``none`` if it never did). A running one is asked to end: its context says
    so within a second and an async one is interrupted at its next await; what it then did is ``unknown``. If it ends
    by itself first, it has succeeded.

    Raises:
        NoSuchJob: the id is unknown.
    """
    engine.lock(conn, [id])
    if (job := store.get(conn, id, lock=True)) is None:
        raise NoSuchJob(f"there is no job {id}", id=id)
    if job.status in ("queued", "held"):
        engine.remove(conn, [id])
        store.finish_unstarted(conn, job)
    elif job.status == "running":
        store.ask_to_end(conn, id)
    return read(conn, id)


def replay(conn: Connection, id: str) -> Job:  # noqa: A002
    """Put a dead, cancelled or held job back into its queue with all its attempts.

    Raises:
        NoSuchJob: the id is unknown.
        NotReplayable: its status is another, or a newer job has its dedup key.
    """
    engine.lock(conn, [id])
    try:
        with conn.begin_nested():
            job = store.replay(conn, id)
    except sqlalchemy.exc.IntegrityError as error:
        raise NotReplayable("an unfinished job has its dedup key", id=id) from error
    if job is None:
        raise NotReplayable(f"it is {read(conn, id).status}", id=id)
    tell_back(
        conn,
        "job.replayed",
        [{"id": job.id, "name": job.name, "queue": job.queue, "correlation_id": job.correlation_id}],
    )
    return job


def replay_many(
    conn: Connection, *, status: Lost = "dead", name: str | None = None, queue: str | None = None, most: int = 1000
) -> list[str]:
    """Put jobs that match back into their queues, the oldest first, and return their ids.

    One whose dedup key an unfinished job has is left out.

    Raises:
        NotReplayable: a dedup key was taken meanwhile; nothing was replayed.
    """
    try:
        with conn.begin_nested():
            rows = store.replay_many(conn, status=status, name=name, queue=queue, most=most)
    except sqlalchemy.exc.IntegrityError as error:
        raise NotReplayable("a dedup key was taken meanwhile: try again") from error
    tell_back(conn, "job.replayed", rows)
    return [row["id"] for row in rows]


def read(conn: Connection, id: str) -> Job:  # noqa: A002
    """Return a job's record.

    Raises:
        NoSuchJob: the id is unknown.
    """
    if (job := store.get(conn, id)) is None:
        raise NoSuchJob(f"there is no job {id}", id=id)
    return job


def _row(jobs: Known, request: Request, id: str, correlation: str | None) -> dict[str, Any]:  # noqa: A002
    definition = jobs.known(request.name)
    _check(request)
    try:
        args = plain(definition.plain(request.args))
    except UnstorableError as error:
        raise BadArguments(f"{request.name}: {error}", job=request.name) from error
    return {
        "id": id,
        "name": request.name,
        "queue": definition.queue,
        "lane": definition.lane,
        "args": args,
        "priority": request.priority,
        "dedup_key": request.dedup_key,
        "correlation_id": correlation,
        "traceparent": None if (here := trace.current()) is None else trace.render(here),
        "timeout": request.timeout if request.timeout is not None else definition.timeout,
        "delay": max(0.0, request.delay),
    }
