"""The frozen values of the sandbox feature that cross its borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.sandbox.routing.contracts import Mode
from valhalla.sandbox.slices.contracts import DEFAULT_SLICES, Names, Probe

Status = Literal["pending", "creating", "running", "expired", "destroying", "destroyed"]
Health = Literal["healthy", "degraded", "unhealthy"]

LIFECYCLE: Final = Lifecycle(
    "sandbox",
    initial="pending",
    transitions={
        # a slot of the pool is pending until it is claimed; without a pool the first state is creating
        "pending": frozenset({"creating", "running", "destroying"}),
        "creating": frozenset({"running", "destroying"}),
        "running": frozenset({"expired", "destroying"}),
        "expired": frozenset({"destroying"}),
        "destroying": frozenset({"destroyed"}),
        "destroyed": frozenset(),
    },
)

# What counts against an owner's limit and keeps a name taken: access has not been cut yet.
LIVE: Final = ("pending", "creating", "running", "expired")


@dataclass(frozen=True, slots=True)
class Route:
    """A claim that live events of ``(kind, key)`` belong to a sandbox, or that copies of a part of them do."""

    kind: str
    key: str
    linked_at: datetime | None = None
    mode: Mode = "steal"
    sample: float = 1.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One sandbox as the registry knows it."""

    id: str
    name: str
    owner: str
    status: Status
    template: str
    description: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    routes: tuple[Route, ...]
    names: Names
    created_by: str
    created_at: datetime
    expires_at: datetime
    destroyed_at: datetime | None
    last_activity_at: datetime | None
    last_error: str | None
    quarantined_at: datetime | None = None
    """Since when nobody enters it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a caller asks for, already checked by ``rules.check_spec``."""

    owner: str
    template: str
    ttl: timedelta
    name: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    routes: tuple[Route, ...] = ()
    slices: tuple[str, ...] = DEFAULT_SLICES


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules' numbers, from the settings."""

    default_ttl: timedelta = timedelta(hours=24)
    max_ttl: timedelta = timedelta(hours=168)
    per_owner: int = 5


@dataclass(frozen=True, slots=True)
class Extension:
    """The answer to an extension; ``capped`` says that the maximum lifetime shortened it."""

    sandbox: Sandbox
    capped: bool
    max_expires_at: datetime


@dataclass(frozen=True, slots=True)
class LaneHealth:
    """How a sandbox's lane is. Of one that nobody has read yet (``is_read``) nothing is late."""

    events: int
    quota: int
    bytes: int
    byte_quota: int
    waiting: int
    unacknowledged: int
    redelivered: int
    dead_letters: int
    oldest_unread_seconds: float | None
    is_read: bool
    is_lagging: bool


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What was found when a sandbox was checked; ``lane`` is None where no events are routed to it."""

    sandbox: Sandbox
    health: Health
    reasons: tuple[str, ...]
    checks: Mapping[str, Probe]
    lane: LaneHealth | None = None


@dataclass(frozen=True, slots=True)
class TableStats:
    """One base table of a sandbox's schema and its exact number of rows."""

    table: str
    rows: int


@dataclass(slots=True)
class ReapReport:
    """What one run of the reaper did, or would do."""

    dry_run: bool
    expired: list[str] = field(default_factory=list[str])
    resumed: list[str] = field(default_factory=list[str])
    destroyed: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    orphans: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    removed: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    arenas_dropped: list[str] = field(default_factory=list[str])
    over_quota: dict[str, str] = field(default_factory=dict[str, str])
