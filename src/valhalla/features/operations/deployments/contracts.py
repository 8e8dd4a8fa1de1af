"""The values of deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from valhalla.kernel.lifecycle import Lifecycle

Status = Literal["pending", "in_progress", "succeeded", "failed", "rolled_back"]
Target = Literal["in_progress", "succeeded", "failed", "rolled_back"]
Verdict = Literal["passed", "failed"]

LIFECYCLE: Final = Lifecycle(
    "deployment",
    "pending",
    {
        "pending": frozenset({"in_progress", "failed"}),
        "in_progress": frozenset({"succeeded", "failed", "rolled_back"}),
        "succeeded": frozenset({"rolled_back"}),
        "failed": frozenset({"rolled_back"}),
        "rolled_back": frozenset[str](),
    },
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A deployment to record. ``rollback_of`` names the one that it undoes; ``start``: it begins now."""

    environment: str
    service: str
    version: str
    commit: str | None = None
    committed_at: datetime | None = None
    rollback_of: str | None = None
    notes: str | None = None
    start: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version of one service that goes, or went, into one environment."""

    id: str
    environment: str
    service: str
    version: str
    commit: str | None
    committed_at: datetime | None
    status: Status
    actor: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    """When it succeeded or failed; a later rollback does not move it."""
    failed_at: datetime | None
    """When it failed or was rolled back: from then on something was to be restored."""
    rollback_of: str | None
    rolled_back_by: str | None
    smoke_run: str | None
    """The last smoke run that was linked to it, and its verdict."""
    verdict: Verdict | None
    revisions: Mapping[str, int]
    """Of the registries that govern behaviour, when it was recorded: where a rollback leads."""
    notes: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deployments to list; ``None`` is any."""

    environment: str | None = None
    service: str | None = None
    status: Status | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """What DORA figures need of one deployment."""

    environment: str
    service: str
    finished_at: datetime
    committed_at: datetime | None
    failed_at: datetime | None
    good: bool
    """It went live: it succeeded, whatever came later."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of durations in seconds: how many, the median, and what 9 of 10 do not exceed. None without any."""

    count: int = 0
    median: float | None = None
    p90: float | None = None


@dataclass(frozen=True, slots=True)
class Dora:
    """The four figures of a window. ``failure_rate`` is of all that finished, ``None`` for none."""

    since: datetime
    until: datetime
    deployments: int
    per_day: float
    failures: int
    failure_rate: float | None
    lead_time: Spread = field(default_factory=Spread)
    time_to_restore: Spread = field(default_factory=Spread)
    unrestored: int = 0
    truncated: bool = False
