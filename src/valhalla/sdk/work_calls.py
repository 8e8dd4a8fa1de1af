"""Every call about jobs, schedules and heartbeats, as a function that returns the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, present, segment
from valhalla.sdk.work_models import (
    HeartbeatRecord,
    JobKinds,
    JobRecord,
    QueueRecords,
    Retried,
    ScheduleRecord,
    Submission,
    Submissions,
)

_JOBS = "/system/jobs"
_SCHEDULES = "/system/schedules"
_HEARTBEATS = "/system/heartbeats"


def submit_job(
    name: str,
    args: Mapping[str, Any] | None = None,
    *,
    priority: int | None = None,
    delay: float | None = None,
    timeout: float | None = None,
    dedup_key: str | None = None,
) -> Request[Submission]:
    """Submit a job; with a dedup key a repetition is harmless."""
    body = present(
        name=name, args=dict(args or {}), priority=priority, delay=delay, timeout=timeout, dedup_key=dedup_key
    )
    return Request("POST", _JOBS, Submission, body=body)


def submit_jobs(jobs: Sequence[Mapping[str, Any]]) -> Request[Submissions]:
    """Submit several jobs, all or none; each has the members of ``submit_job``."""
    return Request("POST", f"{_JOBS}/bulk", Submissions, body={"jobs": [dict(job) for job in jobs]})


def list_jobs(
    *,
    status: str | None = None,
    name: str | None = None,
    queue: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[JobRecord]]:
    """One page of jobs, newest first."""
    query = params(status=status, name=name, queue=queue, limit=limit, cursor=cursor)
    return Request("GET", _JOBS, Page[JobRecord], params=query)


def get_job(job_id: str) -> Request[JobRecord]:
    """One job."""
    return Request("GET", f"{_JOBS}/{segment(job_id)}", JobRecord)


def job_kinds() -> Request[JobKinds]:
    """The jobs that workers have announced."""
    return Request("GET", f"{_JOBS}/kinds", JobKinds)


def job_queues() -> Request[QueueRecords]:
    """How every queue is."""
    return Request("GET", f"{_JOBS}/queues", QueueRecords)


def cancel_job(job_id: str) -> Request[JobRecord]:
    """Cancel a job; a finished one stays as it is."""
    return Request("POST", f"{_JOBS}/{segment(job_id)}/cancel", JobRecord)


def retry_job(job_id: str) -> Request[JobRecord]:
    """Put a dead, cancelled or held job back into its queue."""
    return Request("POST", f"{_JOBS}/{segment(job_id)}/retry", JobRecord)


def retry_jobs(
    *, status: str = "dead", name: str | None = None, queue: str | None = None, dry_run: bool = False
) -> Request[Retried]:
    """Put the jobs that match back, a thousand at a time; ``dry_run`` only counts them."""
    body = present(status=status, name=name, queue=queue)
    return Request("POST", f"{_JOBS}/retry", Retried, params=params(dry_run=dry_run), body=body)


def list_schedules(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[ScheduleRecord]]:
    """One page of schedules, by name."""
    return Request("GET", _SCHEDULES, Page[ScheduleRecord], params=params(limit=limit, cursor=cursor))


def get_schedule(name: str, *, runs: int | None = None) -> Request[ScheduleRecord]:
    """One schedule with its next runs."""
    return Request("GET", f"{_SCHEDULES}/{segment(name)}", ScheduleRecord, params=params(runs=runs))


def put_schedule(
    name: str,
    *,
    job: str,
    timing: Mapping[str, Any],
    args: Mapping[str, Any] | None = None,
    catch_up: str | None = None,
    overlap: str | None = None,
    jitter: float | None = None,
    paused: bool | None = None,
) -> Request[ScheduleRecord]:
    """Write a schedule; one with the same timing keeps its next run."""
    body = present(
        job=job,
        timing=dict(timing),
        args=dict(args or {}),
        catch_up=catch_up,
        overlap=overlap,
        jitter=jitter,
        paused=paused,
    )
    return Request("PUT", f"{_SCHEDULES}/{segment(name)}", ScheduleRecord, body=body)


def remove_schedule(name: str) -> Request[None]:
    """Remove a schedule."""
    return Request("DELETE", f"{_SCHEDULES}/{segment(name)}", type(None))


def run_schedule(name: str) -> Request[Submission]:
    """Submit a schedule's job once, besides the timetable."""
    return Request("POST", f"{_SCHEDULES}/{segment(name)}/run", Submission)


def pause_schedule(name: str, *, paused: bool = True) -> Request[ScheduleRecord]:
    """Stop a schedule for a while, or let it go on."""
    return Request("POST", f"{_SCHEDULES}/{segment(name)}/{'pause' if paused else 'resume'}", ScheduleRecord)


def list_heartbeats(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[HeartbeatRecord]]:
    """One page of those who are expected to beat, by name."""
    return Request("GET", _HEARTBEATS, Page[HeartbeatRecord], params=params(limit=limit, cursor=cursor))


def get_heartbeat(name: str) -> Request[HeartbeatRecord]:
    """One source."""
    return Request("GET", f"{_HEARTBEATS}/{segment(name)}", HeartbeatRecord)


def expect_heartbeat(
    name: str, *, interval: float, timeout: float | None = None, grace: float | None = None
) -> Request[HeartbeatRecord]:
    """Expect a source from now on, or change what it promises; all in seconds."""
    body = present(interval=interval, timeout=timeout, grace=grace)
    return Request("PUT", f"{_HEARTBEATS}/{segment(name)}", HeartbeatRecord, body=body)


def ping_heartbeat(
    name: str, sign: str | None = None, *, interval: float | None = None, reason: str | None = None
) -> Request[HeartbeatRecord]:
    """Say that a source lives; ``sign`` ``start``: a run begins, ``fail``: it failed. ``interval`` declares it."""
    path = f"{_HEARTBEATS}/{segment(name)}"
    query = params(interval=interval if sign != "fail" else None, reason=reason if sign == "fail" else None)
    return Request("POST", path if sign is None else f"{path}/{segment(sign)}", HeartbeatRecord, params=query)


def forget_heartbeat(name: str) -> Request[None]:
    """Expect a source no longer."""
    return Request("DELETE", f"{_HEARTBEATS}/{segment(name)}", type(None))
