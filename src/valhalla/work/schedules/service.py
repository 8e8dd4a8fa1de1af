"""What a caller does with schedules: functions ``f(conn, …)`` in the caller's transaction."""

from __future__ import annotations

import random
from datetime import datetime

import msgspec
from sqlalchemy.engine import Connection

from valhalla.kernel.problems import Problem
from valhalla.work import kinds
from valhalla.work.contracts import Submitted
from valhalla.work.errors import BadTiming, NoSuchSchedule
from valhalla.work.registry import Jobs, Known
from valhalla.work.schedules import rules, store
from valhalla.work.schedules.contracts import Schedule
from valhalla.work.submitting import submit


def put(conn: Connection, jobs: Known, schedule: Schedule, *, now: datetime | None = None) -> Schedule:
    """Write a schedule; one that is there with the same timing keeps its next run, so a restart repeats none.

    Raises:
        UnknownJob: its job is not registered.
        BadArguments: its arguments do not fit the job.
        BadTiming: it cannot be read, or never runs.
    """
    args = jobs.known(schedule.job).plain(schedule.args)
    before = store.get(conn, schedule.name, lock=True)
    if before is not None and before.timing == schedule.timing:
        next_at = before.next_at
    else:
        try:
            next_at = rules.next_run(schedule.timing, now or store.now(conn))
        except ValueError as error:
            raise BadTiming(str(error), schedule=schedule.name) from error
        if next_at is None:
            raise BadTiming("it would never run", schedule=schedule.name)
    saved = msgspec.structs.replace(schedule, args=args, next_at=next_at, last_error=None)
    store.save(conn, saved)
    return read(conn, schedule.name)


def read(conn: Connection, name: str) -> Schedule:
    """Return a schedule.

    Raises:
        NoSuchSchedule: the name is unknown.
    """
    if (schedule := store.get(conn, name)) is None:
        raise NoSuchSchedule(f"there is no schedule {name!r}", name=name)
    return schedule


def remove(conn: Connection, name: str) -> None:
    """Remove a schedule; jobs that it submitted go on.

    Raises:
        NoSuchSchedule: the name is unknown.
    """
    if not store.remove(conn, name):
        raise NoSuchSchedule(f"there is no schedule {name!r}", name=name)


def pause(conn: Connection, name: str, *, paused: bool = True) -> Schedule:
    """Stop a schedule for a while, or let it go on; what was missed meanwhile follows its ``catch_up``.

    Raises:
        NoSuchSchedule: the name is unknown.
    """
    read(conn, name)
    store.advance(conn, name, paused=paused)
    return read(conn, name)


def run_now(conn: Connection, jobs: Known, name: str) -> Submitted:
    """Submit the schedule's job once, besides its timetable; ``overlap="skip"`` gives the job that still runs.

    Raises:
        NoSuchSchedule: the name is unknown.
        UnknownJob, BadArguments: its job has changed.
    """
    return _submit(conn, jobs, read(conn, name), jitter=0.0)


def tick(conn: Connection, jobs: Jobs, *, now: datetime | None = None, everybodys: bool = False) -> int:
    """Submit what is due; return how many runs. Each runs once over all processes: row locks decide, and one commit.

    ``everybodys``: the jobs of all programs that have a worker, not only those of ``jobs``.
    """
    at = now or store.now(conn)
    count = 0
    due = store.due(conn, at, jobs.names, everybodys=everybodys)
    known: Known = kinds.read(conn, jobs) if due and everybodys else jobs
    for schedule in due:
        plan = rules.plan(schedule, at)
        last, failure = schedule.last_job, None
        try:
            for _ in plan.runs:
                made = _submit(conn, known, schedule, jitter=schedule.jitter)
                last = made.id
                count += made.created
        except Problem as problem:
            # the job has changed since: the timetable goes on, and says so
            failure = problem.detail
        last_at = plan.runs[-1] if plan.runs else schedule.last_at
        store.advance(conn, schedule.name, next_at=plan.next_at, last_at=last_at, last_job=last, last_error=failure)
    return count


def _submit(conn: Connection, jobs: Known, schedule: Schedule, *, jitter: float) -> Submitted:
    delay = random.random() * jitter if jitter else 0.0  # noqa: S311 - spreads load, guards nothing
    key = f"schedule:{schedule.name}" if schedule.overlap == "skip" else None
    return submit(conn, jobs, schedule.job, schedule.args, delay=delay, dedup_key=key)
