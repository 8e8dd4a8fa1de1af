"""What the API says about a sandbox itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from valhalla.kernel.clock import isoformat
from valhalla.kit.http import WireModel
from valhalla.sandbox.contracts import Extension, Sandbox, Status
from valhalla.sandbox.slices.contracts import Isolation
from valhalla.sandbox.wire.access import ConnectionOut


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
    slices: list[str]
    isolation: Isolation | None
    database: str | None
    schema_name: str | None = Field(alias="schema")
    created_by: str
    created_at: datetime
    expires_at: datetime
    destroyed_at: datetime | None
    last_activity_at: datetime | None
    last_error: str | None
    quarantined_at: datetime | None = Field(None, description="since when nobody enters it, by an operator's word")

    @classmethod
    def of(cls, sandbox: Sandbox, **more: Any) -> Any:
        """Return the model of a sandbox; ``more`` fills a subclass's members."""
        database, schema, isolation = sandbox.names.place
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
            slices=list(sandbox.names.slices),
            isolation=isolation,
            database=database,
            schema=schema,
            created_by=sandbox.created_by,
            created_at=sandbox.created_at,
            expires_at=sandbox.expires_at,
            destroyed_at=sandbox.destroyed_at,
            last_activity_at=sandbox.last_activity_at,
            last_error=sandbox.last_error,
            quarantined_at=sandbox.quarantined_at,
            **more,
        )


class CreatedOut(SandboxOut):
    """A fresh sandbox with its credentials (null once it has ended) and how long it took."""

    connection: ConnectionOut | None
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
            "slices": list(sandbox.names.slices),
            "isolation": sandbox.names.place[2],
            "tags": list(sandbox.tags),
            "routes": [str(route) for route in sandbox.routes],
            "expires_at": isoformat(sandbox.expires_at),
        }
    )
