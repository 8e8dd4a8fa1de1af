"""The values that cross the wire. Members that a newer control plane adds are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from valhalla.sdk.access import Connection, Model
from valhalla.sdk.reports import Check

T = TypeVar("T")


class Route(Model, frozen=True, kw_only=True):
    """Events of ``kind`` with ``key`` go to the sandbox."""

    kind: str
    key: str
    linked_at: datetime | None = None


class Sandbox(Model, frozen=True, kw_only=True):
    """A sandbox as the control plane knows it. ``connection`` comes with the creation only."""

    id: str
    name: str
    owner: str
    status: str
    template: str = ""
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    routes: tuple[Route, ...] = ()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    destroyed_at: datetime | None = None
    last_activity_at: datetime | None = None
    slices: tuple[str, ...] = ()
    isolation: str | None = None
    database: str | None = None
    schema: str | None = None
    created_by: str | None = None
    last_error: str | None = None
    quarantined_at: datetime | None = None
    duration_ms: float | None = None
    connection: Connection | None = None


class Extension(Sandbox, frozen=True, kw_only=True):
    """The sandbox after an extension; ``capped`` when the maximum allowed less than was asked."""

    capped: bool = False
    max_expires_at: datetime | None = None


class Draft(Model, frozen=True, kw_only=True):
    """What a new sandbox shall be; whatever is absent the control plane decides."""

    name: str | None = None
    owner: str | None = None
    template: str | None = None
    ttl: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    routes: tuple[tuple[str, str], ...] = ()
    slices: tuple[str, ...] = ()

    def body(self) -> dict[str, object]:
        """Return the members that were given, as the control plane reads them."""
        routes = [{"kind": kind, "key": key} for kind, key in self.routes]
        members = msgspec.structs.asdict(self) | {"routes": routes}
        return {name: value for name, value in members.items() if value not in (None, (), {}, [])}


class DryRun(Model, frozen=True, kw_only=True):
    """What a creation would make. Nothing was made."""

    dry_run: bool = True
    would: dict[str, Any] = {}


class Health(Model, frozen=True, kw_only=True):
    """A sandbox's health: ``healthy``, ``degraded`` or ``unhealthy``, with the reasons.

    ``database`` is the arena that holds its ``schema``, or with ``isolation`` ``database`` its own.
    """

    id: str
    name: str
    status: str
    health: str
    reasons: tuple[str, ...] = ()
    checks: dict[str, Check] = {}
    slices: tuple[str, ...] = ()
    isolation: str | None = None
    database: str | None = None
    schema: str | None = None
    expires_at: datetime | None = None
    lane: dict[str, Any] | None = None
    """Its live events: ``events`` of ``quota``, ``bytes`` of ``byte_quota``, ``waiting``, ``dead_letters`` and more."""


class Page(Model, Generic[T], frozen=True, kw_only=True):
    """One page of a list; ``next`` is the cursor of the following one."""

    items: tuple[T, ...]
    next: str | None = None
    total: int | None = None
