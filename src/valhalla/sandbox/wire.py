"""The API's models of sandboxes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from valhalla.kernel.clock import isoformat
from valhalla.kit.http import WireModel
from valhalla.sandbox.contracts import Extension, HealthReport, ReapReport, Sandbox, Status
from valhalla.sandbox.slices.contracts import Probe

_EXAMPLE = {
    "name": "checkout-fix",
    "template": "community",
    "ttl": "24h",
    "tags": ["ci", "branch:checkout"],
    "routes": [{"kind": "discord.guild", "key": "811234567890123456"}],
}


class RouteIn(WireModel):
    """A route to claim."""

    kind: str = Field(max_length=63, examples=["discord.guild"])
    key: str = Field(max_length=128, examples=["811234567890123456"])


class SandboxIn(WireModel):
    """A sandbox to make; every member is optional."""

    model_config = {**WireModel.model_config, "json_schema_extra": {"examples": [_EXAMPLE]}}

    name: str | None = Field(None, max_length=63, description="generated when absent")
    owner: str | None = Field(None, max_length=63, description="the key's owner when absent; another's needs admin")
    template: str = Field("community", max_length=63)
    ttl: StrictStr | StrictInt | StrictFloat | None = Field(
        None, description="'90m', '24h', '7d' or seconds; 24h when absent", examples=["24h"]
    )
    description: str | None = Field(None, max_length=500)
    tags: list[str] = Field(default_factory=list[str], max_length=20)
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    routes: list[RouteIn] = Field(default_factory=list[RouteIn], max_length=50)


class ExtendIn(WireModel):
    """How much longer."""

    ttl: StrictStr | StrictInt | StrictFloat = Field(examples=["24h"])


class RouteOut(WireModel):
    """A claimed route."""

    kind: str
    key: str
    linked_at: datetime | None


class SandboxOut(WireModel):
    """A sandbox."""

    id: str
    name: str
    owner: str
    status: Status
    template: str
    description: str | None
    tags: list[str]
    metadata: dict[str, Any]
    routes: list[RouteOut]
    database: str
    schema_name: str = Field(serialization_alias="schema")
    created_by: str
    created_at: datetime
    expires_at: datetime
    destroyed_at: datetime | None
    last_activity_at: datetime | None
    last_error: str | None

    @classmethod
    def of(cls, sandbox: Sandbox, **more: Any) -> Any:
        """Return the model of a sandbox; ``more`` fills a subclass's members."""
        return cls(
            id=sandbox.id,
            name=sandbox.name,
            owner=sandbox.owner,
            status=sandbox.status,
            template=sandbox.template,
            description=sandbox.description,
            tags=list(sandbox.tags),
            metadata=dict(sandbox.metadata),
            routes=[RouteOut(kind=r.kind, key=r.key, linked_at=r.linked_at) for r in sandbox.routes],
            database=sandbox.names.database,
            schema_name=sandbox.names.schema,
            created_by=sandbox.created_by,
            created_at=sandbox.created_at,
            expires_at=sandbox.expires_at,
            destroyed_at=sandbox.destroyed_at,
            last_activity_at=sandbox.last_activity_at,
            last_error=sandbox.last_error,
            **more,
        )


class CreatedOut(SandboxOut):
    """A fresh sandbox with its credentials (null once it has ended) and how long it took."""

    connection: dict[str, Any] | None
    duration_ms: float


class PlannedOut(WireModel):
    """What a create would make."""

    dry_run: Literal[True] = True
    would: dict[str, Any]


class SandboxPage(WireModel):
    """One page of sandboxes, newest first."""

    items: list[SandboxOut]
    next: str | None = Field(description="the cursor of the next page")
    total: int


class ExtendedOut(SandboxOut):
    """The sandbox with its new end."""

    capped: bool = Field(description="whether the maximum lifetime shortened the extension")
    max_expires_at: datetime


class ProbeOut(WireModel):
    """One check."""

    ok: bool
    latency_ms: float
    reason: str | None


class StatusOut(WireModel):
    """A sandbox's health."""

    id: str
    name: str
    owner: str
    status: Status
    health: Literal["healthy", "degraded", "unhealthy"]
    reasons: list[str]
    checks: dict[str, ProbeOut]
    created_at: datetime
    expires_at: datetime
    last_activity_at: datetime | None
    last_error: str | None
    routes: list[RouteOut]


class TableOut(WireModel):
    """One table and its rows."""

    table: str
    rows: int


class AuditEntryOut(WireModel):
    """One thing that happened."""

    id: int
    at: datetime
    actor: str
    action: str
    details: dict[str, Any]
    correlation_id: str | None
    seq: int | None


class AuditPage(WireModel):
    """One page of what happened, newest first."""

    items: list[AuditEntryOut]
    next: str | None


class ReapOut(WireModel):
    """What the reaper did, or would do."""

    dry_run: bool
    expired: list[str]
    resumed: list[str]
    destroyed: list[str]
    failed: dict[str, str]
    orphans: list[dict[str, str]]
    removed: list[dict[str, str]]


def probe_out(probe: Probe) -> ProbeOut:
    """Return the model of one check."""
    return ProbeOut(ok=probe.ok, latency_ms=probe.latency_ms, reason=probe.reason)


def status_out(report: HealthReport) -> StatusOut:
    """Return the model of a health report."""
    sandbox = report.sandbox
    return StatusOut(
        id=sandbox.id,
        name=sandbox.name,
        owner=sandbox.owner,
        status=sandbox.status,
        health=report.health,
        reasons=list(report.reasons),
        checks={name: probe_out(probe) for name, probe in report.checks.items()},
        created_at=sandbox.created_at,
        expires_at=sandbox.expires_at,
        last_activity_at=sandbox.last_activity_at,
        last_error=sandbox.last_error,
        routes=[RouteOut(kind=r.kind, key=r.key, linked_at=r.linked_at) for r in sandbox.routes],
    )


def extended_out(extension: Extension) -> ExtendedOut:
    """Return the model of an extension."""
    return ExtendedOut.of(extension.sandbox, capped=extension.capped, max_expires_at=extension.max_expires_at)


def planned_out(sandbox: Sandbox) -> PlannedOut:
    """Return the model of a dry run: without the id, which the real run chooses anew."""
    return PlannedOut(
        would={
            "name": sandbox.name,
            "owner": sandbox.owner,
            "template": sandbox.template,
            "tags": list(sandbox.tags),
            "routes": [str(route) for route in sandbox.routes],
            "expires_at": isoformat(sandbox.expires_at),
        }
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
    )
