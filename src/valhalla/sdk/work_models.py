"""Jobs, schedules and heartbeats as they cross the wire. Members that a newer control plane adds are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from valhalla.sdk.access import Model


class Submission(Model, frozen=True, kw_only=True):
    """A job's id; ``created`` is false when an unfinished job had its dedup key: that one."""

    id: str
    created: bool


class Submissions(Model, frozen=True, kw_only=True):
    """One answer for each job of a batch, in order."""

    items: tuple[Submission, ...]


class JobRecord(Model, frozen=True, kw_only=True):
    """A job and what became of it. ``effect`` of one that did not succeed: ``none``, or ``unknown``."""

    id: str
    name: str
    queue: str
    status: str
    args: dict[str, Any] = {}
    priority: int = 0
    dedup_key: str | None = None
    correlation_id: str | None = None
    timeout: float | None = None
    attempts: int = 0
    crashes: int = 0
    progress: dict[str, Any] | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    effect: str | None = None
    created_at: datetime | None = None
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has come to an end; a dead one may be retried."""
        return self.status in ("succeeded", "cancelled", "dead")


class Retried(Model, frozen=True, kw_only=True):
    """How many jobs matched, and which were put back."""

    dry_run: bool
    matched: int
    replayed: tuple[str, ...] = ()


class JobKind(Model, frozen=True, kw_only=True):
    """A job that some worker runs; ``alive`` while one does now."""

    name: str
    queue: str
    timeout: float | None = None
    parameters: dict[str, Any] = {}
    seen_at: datetime | None = None
    alive: bool = False


class JobKinds(Model, frozen=True, kw_only=True):
    """Every job that can be submitted."""

    items: tuple[JobKind, ...]


class QueueRecord(Model, frozen=True, kw_only=True):
    """One queue. ``oldest_at`` is when the first of those that wait became due, or will be."""

    name: str
    waiting: int = 0
    oldest_at: datetime | None = None
    running: int = 0
    held: int = 0
    dead: int = 0
    alive: bool = False


class QueueRecords(Model, frozen=True, kw_only=True):
    """Every queue, by name; ``capped`` are the counts that may be higher."""

    items: tuple[QueueRecord, ...]
    capped: tuple[str, ...] = ()


class ScheduleRecord(Model, frozen=True, kw_only=True):
    """A schedule, its next ``runs``, and what it did last. ``timing`` has a ``type``: cron, every or once."""

    name: str
    job: str
    timing: dict[str, Any]
    args: dict[str, Any] = {}
    catch_up: str = "one"
    overlap: str = "skip"
    jitter: float = 0.0
    paused: bool = False
    built_in: bool = False
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_job: str | None = None
    last_error: str | None = None
    runs: tuple[datetime, ...] = ()


class HeartbeatRecord(Model, frozen=True, kw_only=True):
    """A source and how it is: ``waiting`` (never heard of), ``alive`` or ``missed``."""

    name: str
    status: str
    interval: float
    timeout: float
    grace: float | None = None
    reason: str | None = None
    expected_since: datetime | None = None
    last_beat_at: datetime | None = None
    started_at: datetime | None = None
    took: float | None = None
    changed_at: datetime | None = None
