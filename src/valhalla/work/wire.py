"""Jobs as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import Field

from valhalla.kit.http import WireModel
from valhalla.work.contracts import Effect, Job, Request, Status
from valhalla.work.desk import AT_ONCE
from valhalla.work.kinds import ALIVE, Announced
from valhalla.work.queues import Queues
from valhalla.work.submitting import Lost

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class JobIn(WireModel):
    """A job to submit."""

    name: Name = Field(examples=["export.make"], description="the name of a registered function")
    args: dict[str, Any] = Field(default_factory=dict, examples=[{"customer": "c1"}])
    priority: int = Field(0, ge=-(2**31), lt=2**31, description="a higher one goes first")
    delay: float = Field(0, ge=0, le=315_360_000, description="seconds until it may begin")
    timeout: float | None = Field(None, gt=0, le=315_360_000, description="seconds an attempt may take")
    dedup_key: str | None = Field(None, min_length=1, max_length=512, description="while one is unfinished, no second")

    def request(self) -> Request:
        """Return what to submit."""
        return Request(
            name=self.name,
            args=self.args,
            priority=self.priority,
            delay=self.delay,
            timeout=self.timeout,
            dedup_key=self.dedup_key,
        )


class JobsIn(WireModel):
    """Several jobs, all or none."""

    jobs: list[JobIn] = Field(
        min_length=1, max_length=AT_ONCE, examples=[[{"name": "export.make", "args": {"customer": "c1"}}]]
    )


class SubmittedOut(WireModel):
    """A job's id; ``created`` is false when its dedup key was taken by that job."""

    id: str
    created: bool


class SubmittedPage(WireModel):
    """One answer for each job, in order."""

    items: list[SubmittedOut]


class JobOut(WireModel):
    """A job and what became of it."""

    id: str
    name: str
    queue: str
    status: Status
    args: Mapping[str, Any]
    priority: int
    dedup_key: str | None
    correlation_id: str | None
    timeout: float | None
    attempts: int = Field(description="failed calls")
    crashes: int = Field(description="workers that died with it")
    progress: Mapping[str, Any] | None
    result: Any
    error: Mapping[str, Any] | None = Field(
        description="code and detail; of what the function raised its type, too, and in one job's own answer the end of"
        " its traceback"
    )
    effect: Effect | None = Field(description="what it may have done if it did not succeed: none, or nobody knows")
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """Show a job; its generation and its place in a trace are nobody's business."""
        members = msgspec.structs.asdict(job)
        del members["generation"], members["traceparent"]
        return cls.model_validate(members)


class JobPage(WireModel):
    """One page of jobs."""

    items: list[JobOut]
    next: str | None


class ReplayIn(WireModel):
    """Which jobs to put back into their queues."""

    status: Lost = Field(examples=["dead"])
    name: Name | None = Field(None, examples=["export.make"])
    queue: Name | None = None


class ReplayOut(WireModel):
    """How many matched, and which were put back; more than a thousand need more than one call."""

    dry_run: bool
    matched: int
    replayed: list[str]


class KindOut(WireModel):
    """A job that some worker runs; ``alive`` while one does now."""

    name: str
    queue: str
    timeout: float | None
    parameters: Mapping[str, Any] = Field(description="'properties' and 'required' as JSON Schema has them")
    seen_at: datetime
    alive: bool

    @classmethod
    def of(cls, kind: Announced) -> Self:
        """Show what workers announce."""
        return cls(
            name=kind.name,
            queue=kind.queue,
            timeout=kind.timeout,
            parameters=kind.parameters,
            seen_at=kind.seen_at,
            alive=(datetime.now(UTC) - kind.seen_at).total_seconds() < ALIVE,
        )


class KindList(WireModel):
    """Every job that can be submitted."""

    items: list[KindOut]


class QueueOut(WireModel):
    """One queue."""

    name: str = Field(examples=["exports"])
    waiting: int = Field(description="jobs in line, those that are delayed or tried again later among them")
    oldest_at: datetime | None = Field(description="when the first of them became due, or will be; null: none waits")
    running: int
    held: int
    dead: int
    alive: bool = Field(description="whether a live worker looks at it")


class QueueList(WireModel):
    """Every queue with a job, or that a worker knows, by name."""

    items: list[QueueOut]
    capped: list[str] = Field(
        examples=[["dead"]],
        description="the counts that may be higher: of each kind of jobs that wait, and of the newest in each other"
        " status, a thousand are counted",
    )

    @classmethod
    def of(cls, queues: Queues) -> Self:
        """Show what was counted."""
        return cls(
            items=[QueueOut.model_validate(msgspec.structs.asdict(one)) for one in queues.items],
            capped=list(queues.capped),
        )


StatusFilter = Literal["queued", "running", "held", "succeeded", "cancelled", "dead"]
