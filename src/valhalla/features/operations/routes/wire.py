"""The index of routes on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from valhalla.kit.http import WireModel


class RouteOut(WireModel):
    """A mounted route and what it did in the process that answers."""

    id: str = Field(examples=["GET /api/sandboxes"])
    path: str
    methods: list[str]
    name: str
    kind: str = Field(description="http, websocket, or mount for an application below the path")
    summary: str
    tags: list[str]
    scope: str | None = Field(description="what a key needs; null where no scope is asked for")
    public: bool = Field(description="answered without a key")
    deprecated: bool
    flags: list[str] = Field(description="feature flags that it reads")
    limits: list[str] = Field(description="enabled rate limits that may count a request, by name")
    requests: int
    errors: int = Field(description="answers with a status of 500 or more")
    error_rate: float | None
    p50: float | None = Field(description="seconds")
    p99: float | None = Field(description="seconds")


class RoutePage(WireModel):
    """One page of routes, by path."""

    items: list[RouteOut]
    total: int = Field(description="how many fit the filters")
    next: str | None


class StopOut(WireModel):
    """Something that would stop the request."""

    by: str = Field(description="maintenance, blocklist, authentication, policy, limit, path, method or scope")
    status: int
    code: str
    detail: str


class MatchOut(WireModel):
    """What would become of a request; the first of ``stops`` would be its answer."""

    method: str
    path: str
    allowed: bool
    route: RouteOut | None
    parameters: dict[str, str] = Field(description="of the path")
    methods: list[str] = Field(description="what the path has; of a route that answers, its own")
    stops: list[StopOut]


class BootOut(WireModel):
    """A boot that served other routes than the one before."""

    revision: int
    at: datetime
    release: str
    before: str | None = Field(description="the release before; null for the first boot")
    routes: int
    added: list[str]
    removed: list[str]
    changed: dict[str, list[str]] = Field(description="members that differ, by route")


class BootPage(WireModel):
    """One page of boots, newest first."""

    items: list[BootOut]
    next: str | None
