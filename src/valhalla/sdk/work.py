"""Jobs, schedules and heartbeats of a control plane, for the blocking client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valhalla.sdk import work_calls
from valhalla.sdk.further_calls import JobCalls
from valhalla.sdk.groups import Group
from valhalla.sdk.paging import pages
from valhalla.sdk.work_models import (
    HeartbeatRecord,
    JobKind,
    JobRecord,
    QueueRecords,
    Retried,
    ScheduleRecord,
    Submission,
)

if TYPE_CHECKING:
    from valhalla.sdk.client import Client


class Jobs(Group, JobCalls):
    """Background jobs of every program whose worker has run."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        delay: float | None = None,
        timeout: float | None = None,
        dedup_key: str | None = None,
    ) -> Submission:
        """Submit a job; ``delay`` and ``timeout`` in seconds. Only with a dedup key may it be repeated safely."""
        request = work_calls.submit_job(
            name, args, priority=priority, delay=delay, timeout=timeout, dedup_key=dedup_key
        )
        return self._client.send(request)

    def submit_many(self, jobs: Sequence[Mapping[str, Any]]) -> tuple[Submission, ...]:
        """Submit up to a thousand jobs, all or none; each has the members that ``submit`` takes."""
        return (self._client.send(work_calls.submit_jobs(jobs))).items

    def iterate(
        self, *, status: str | None = None, name: str | None = None, queue: str | None = None
    ) -> Iterator[JobRecord]:
        """Every job that matches, newest first."""
        return pages(
            self._client.send,
            lambda cursor: work_calls.list_jobs(status=status, name=name, queue=queue, limit=100, cursor=cursor),
        )

    def get(self, job_id: str) -> JobRecord:
        """Return one job."""
        return self._client.send(work_calls.get_job(job_id))

    def kinds(self) -> tuple[JobKind, ...]:
        """Return what can be submitted."""
        return (self._client.send(work_calls.job_kinds())).items

    def queues(self) -> QueueRecords:
        """Return how many jobs wait, run, are held or dead in each queue."""
        return self._client.send(work_calls.job_queues())

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: one that waits never runs, one that runs is asked to end."""
        return self._client.send(work_calls.cancel_job(job_id))

    def retry(self, job_id: str) -> JobRecord:
        """Put a dead, cancelled or held job back into its queue, with all its attempts."""
        return self._client.send(work_calls.retry_job(job_id))

    def retry_many(
        self, *, status: str = "dead", name: str | None = None, queue: str | None = None, dry_run: bool = False
    ) -> Retried:
        """Put the jobs that match back, a thousand at a time; ``dry_run`` only counts them."""
        return self._client.send(work_calls.retry_jobs(status=status, name=name, queue=queue, dry_run=dry_run))


class Schedules:
    """The timetable of jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def iterate(self) -> Iterator[ScheduleRecord]:
        """Every schedule, by name."""
        return pages(self._client.send, lambda cursor: work_calls.list_schedules(limit=100, cursor=cursor))

    def get(self, name: str, *, runs: int | None = None) -> ScheduleRecord:
        """Return a schedule with its next runs."""
        return self._client.send(work_calls.get_schedule(name, runs=runs))

    def put(
        self,
        name: str,
        *,
        job: str,
        timing: Mapping[str, Any],
        args: Mapping[str, Any] | None = None,
        catch_up: str | None = None,
        overlap: str | None = None,
        jitter: float | None = None,
        paused: bool | None = None,
    ) -> ScheduleRecord:
        """Write a schedule; ``timing`` is like ``{"type": "cron", "expression": "30 2 * * *", "timezone": "UTC"}``."""
        request = work_calls.put_schedule(
            name,
            job=job,
            timing=timing,
            args=args,
            catch_up=catch_up,
            overlap=overlap,
            jitter=jitter,
            paused=paused,
        )
        return self._client.send(request)

    def remove(self, name: str) -> None:
        """Remove a schedule; jobs that it submitted go on."""
        self._client.send(work_calls.remove_schedule(name))

    def run(self, name: str) -> Submission:
        """Submit its job once, besides the timetable."""
        return self._client.send(work_calls.run_schedule(name))

    def pause(self, name: str) -> ScheduleRecord:
        """Stop a schedule for a while."""
        return self._client.send(work_calls.pause_schedule(name))

    def resume(self, name: str) -> ScheduleRecord:
        """Let a paused schedule go on."""
        return self._client.send(work_calls.pause_schedule(name, paused=False))


class Heartbeats:
    """Who says that it lives: a dead man's switch for whatever runs elsewhere."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def iterate(self) -> Iterator[HeartbeatRecord]:
        """Every source, by name."""
        return pages(self._client.send, lambda cursor: work_calls.list_heartbeats(limit=100, cursor=cursor))

    def get(self, name: str) -> HeartbeatRecord:
        """Return one source."""
        return self._client.send(work_calls.get_heartbeat(name))

    def expect(
        self,
        name: str,
        *,
        interval: float,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> HeartbeatRecord:
        """Expect a source from now on, or change what it promises; all in seconds."""
        return self._client.send(work_calls.expect_heartbeat(name, interval=interval, timeout=timeout, grace=grace))

    def ping(self, name: str, *, interval: float | None = None) -> HeartbeatRecord:
        """Say that it lives, or that the run that began has ended well; ``interval`` declares a new one."""
        return self._client.send(work_calls.ping_heartbeat(name, interval=interval))

    def start(self, name: str, *, interval: float | None = None) -> HeartbeatRecord:
        """Say that a run begins: it must end within its grace."""
        return self._client.send(work_calls.ping_heartbeat(name, "start", interval=interval))

    def fail(self, name: str, reason: str = "") -> HeartbeatRecord:
        """Say that it failed: it is missed at once, until it beats again."""
        return self._client.send(work_calls.ping_heartbeat(name, "fail", reason=reason))

    def forget(self, name: str) -> None:
        """Expect a source no longer."""
        self._client.send(work_calls.forget_heartbeat(name))
