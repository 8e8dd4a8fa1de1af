"""The values that cross this room's border."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

Status = Literal["queued", "running", "held", "succeeded", "cancelled", "dead"]
"""``held``: no live worker knows its name. ``dead``: it failed for good and can be replayed."""

Effect = Literal["none", "unknown"]
"""What a job that did not succeed may have done: nothing, since its function was never called, or nobody knows."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often a function that raises is called again, and after which pauses.

    The pause before attempt ``n + 1`` is drawn from the upper half of ``base * 2**(n - 1)`` seconds, at most ``cap``.
    ``crashes`` is how many workers may die while they run it: the poison job of the last one is dead, not tried again.
    """

    attempts: int = 5
    base: float = 1.0
    cap: float = 300.0
    crashes: int = 4


class Rate(msgspec.Struct, frozen=True):
    """No window of ``seconds`` sees more than ``count`` jobs of a queue begin, over all workers."""

    count: int
    seconds: float


def own_lane(queue: str, name: str) -> str:
    """Return the lane of one kind of jobs; the name of a queue holds no colon."""
    return f"{queue}:{name}"


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all jobs of one queue over all workers, which must agree on it. ``concurrency`` 0: no limit."""

    name: str = "default"
    concurrency: int = 0
    rate: Rate | None = None

    @property
    def is_limited(self) -> bool:
        """Whether its jobs share seats or a rate, and so must wait in one lane."""
        return self.concurrency > 0 or self.rate is not None

    def lane(self, name: str) -> str:
        """Return where jobs called ``name`` wait in this queue."""
        return self.name if self.is_limited else own_lane(self.name, name)

    def lanes(self, names: Iterable[str]) -> list[str]:
        """Return where a worker that knows ``names`` looks: also where a program put them that knows no limits."""
        return [self.name, *(own_lane(self.name, name) for name in names)]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One job to submit. ``delay`` and ``timeout`` (of one attempt) are in seconds; a higher ``priority`` goes first.

    While a job of the same name and ``dedup_key`` is not finished, submitting it again gives that one.
    """

    name: str
    args: Mapping[str, Any] = {}
    priority: int = 0
    delay: float = 0.0
    timeout: float | None = None
    dedup_key: str | None = None


class Submitted(msgspec.Struct, frozen=True):
    """The job's id, and whether this call made it; ``False`` means that its dedup key was taken by that job."""

    id: str
    created: bool


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a job. ``attempts`` and ``crashes`` count failed calls and workers that died with it."""

    id: str
    name: str
    queue: str
    status: Status
    args: Mapping[str, Any]
    priority: int
    dedup_key: str | None
    correlation_id: str | None
    timeout: float | None
    attempts: int
    crashes: int
    generation: int
    progress: Mapping[str, Any] | None
    result: Any
    error: Mapping[str, Any] | None
    effect: Effect | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    traceparent: str | None = None
    """The span that submitted it."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. ``status`` ``queued`` means once more, after ``delay`` seconds.

    ``generation`` is the fence: the record takes the outcome only from the attempt that it last began.
    """

    id: str
    generation: int
    status: Status
    result: Any = None
    error: Mapping[str, Any] | None = None
    effect: Effect | None = None
    progress: Mapping[str, Any] | None = None
    failed: bool = False
    delay: float = 0.0
