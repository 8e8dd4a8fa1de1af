"""What the API reports about sandboxes: health, contents, history, the reaper's work."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import Field

from valhalla.kit.http import WireModel
from valhalla.sandbox.contracts import HealthReport, ReapReport, Status
from valhalla.sandbox.slices.contracts import Isolation, Probe
from valhalla.sandbox.wire.answers import RouteOut


class ProbeOut(WireModel):
    """One check."""

    ok: bool
    latency_ms: float
    reason: str | None


class LaneStatusOut(WireModel):
    """How the lane of live events is."""

    events: int
    quota: int = Field(description="of more events the oldest go")
    bytes: int = Field(description="about so many, as seen within the last ten seconds or so")
    byte_quota: int = Field(description="of more bytes the oldest events go")
    waiting: int
    unacknowledged: int
    redelivered: int
    dead_letters: int
    oldest_unread_seconds: float | None
    is_read: bool = Field(description="false: nothing has been taken by its consumer, so nothing is late")
    is_lagging: bool


class StatusOut(WireModel):
    """A sandbox's health."""

    id: str
    name: str
    owner: str
    status: Status
    health: Literal["healthy", "degraded", "unhealthy"]
    reasons: list[str]
    checks: dict[str, ProbeOut]
    slices: list[str]
    isolation: Isolation | None
    database: str | None
    schema_name: str | None = Field(alias="schema")
    created_at: datetime
    expires_at: datetime
    last_activity_at: datetime | None
    last_error: str | None
    routes: list[RouteOut]
    lane: LaneStatusOut | None


class TableOut(WireModel):
    """One table and its rows."""

    table: str
    rows: int


class ReapOut(WireModel):
    """What the reaper did, or would do."""

    dry_run: bool
    expired: list[str]
    resumed: list[str]
    destroyed: list[str]
    failed: dict[str, str]
    orphans: list[dict[str, str]]
    removed: list[dict[str, str]]
    arenas_dropped: list[str]
    over_quota: dict[str, str] = Field(description="sandbox id: what it has too much of")


def probe_out(probe: Probe) -> ProbeOut:
    """Return the model of one check."""
    return ProbeOut(ok=probe.ok, latency_ms=probe.latency_ms, reason=probe.reason)


def status_out(report: HealthReport) -> StatusOut:
    """Return the model of a health report."""
    sandbox = report.sandbox
    database, schema, isolation = sandbox.names.place
    return StatusOut(
        id=sandbox.id,
        name=sandbox.name,
        owner=sandbox.owner,
        status=sandbox.status,
        health=report.health,
        reasons=list(report.reasons),
        checks={name: probe_out(probe) for name, probe in report.checks.items()},
        slices=list(sandbox.names.slices),
        isolation=isolation,
        database=database,
        schema=schema,
        created_at=sandbox.created_at,
        expires_at=sandbox.expires_at,
        last_activity_at=sandbox.last_activity_at,
        last_error=sandbox.last_error,
        routes=[RouteOut(kind=r.kind, key=r.key, linked_at=r.linked_at) for r in sandbox.routes],
        lane=None if report.lane is None else LaneStatusOut(**asdict(report.lane)),
    )


def reap_out(report: ReapReport) -> ReapOut:
    """Return the model of a reaper's run."""
    return ReapOut(
        dry_run=report.dry_run,
        expired=report.expired,
        resumed=report.resumed,
        destroyed=report.destroyed,
        failed=report.failed,
        orphans=report.orphans,
        removed=report.removed,
        arenas_dropped=report.arenas_dropped,
        over_quota=report.over_quota,
    )
