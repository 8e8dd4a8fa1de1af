"""Deployments: what went where, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from valhalla.sdk.access import Model
from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.wire import Request, params, present, segment

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

_PREFIX: Final = "/system/deployment"
Target = Literal["in_progress", "succeeded", "failed", "rolled_back"]


class Deployment(Model, frozen=True, kw_only=True):
    """One version of one service in one environment."""

    id: str
    environment: str
    service: str
    version: str
    status: str
    commit: str | None = None
    committed_at: datetime | None = None
    actor: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failed_at: datetime | None = None
    rollback_of: str | None = None
    rolled_back_by: str | None = None
    smoke_run: str | None = None
    verdict: str | None = None
    revisions: dict[str, int] = {}
    notes: str | None = None


class Spread(Model, frozen=True, kw_only=True):
    """Durations in seconds; None without any."""

    count: int = 0
    median: float | None = None
    p90: float | None = None


class Dora(Model, frozen=True, kw_only=True):
    """The four figures of a window."""

    since: datetime
    until: datetime
    deployments: int
    per_day: float
    failures: int
    failure_rate: float | None = None
    lead_time: Spread = Spread()
    time_to_restore: Spread = Spread()
    unrestored: int = 0
    truncated: bool = False


def record_deployment(environment: str, service: str, version: str, **more: Any) -> Request[Deployment]:
    """Record one: ``commit``, ``committed_at``, ``rollback_of``, ``notes``, ``start``."""
    body = present(environment=environment, service=service, version=version, **more)
    return Request("POST", _PREFIX, Deployment, body=body)


def move_deployment(
    deployment: str, to: Target, *, notes: str | None = None, force: bool = False
) -> Request[Deployment]:
    """Take its next step."""
    body = present(to=to, notes=notes, force=force or None)
    return Request("POST", f"{_PREFIX}/{segment(deployment)}/transition", Deployment, body=body)


def get_deployment(deployment: str) -> Request[Deployment]:
    """One deployment."""
    return Request("GET", f"{_PREFIX}/{segment(deployment)}", Deployment)


def list_deployments(
    *, limit: int | None = None, cursor: str | None = None, **filters: object
) -> Request[Page[Deployment]]:
    """One page: filters are ``environment``, ``service``, ``status``, ``since``."""
    return Request("GET", _PREFIX, Page[Deployment], params=params(limit=limit, cursor=cursor, **filters))


def current_deployments(environment: str | None = None) -> Request[Page[Deployment]]:
    """What runs where."""
    return Request("GET", f"{_PREFIX}/current", Page[Deployment], params=params(environment=environment))


def dora_figures(*, since: datetime | None = None, until: datetime | None = None, **where: str | None) -> Request[Dora]:
    """The figures of a window, of the last 30 days without one; ``environment`` and ``service`` narrow them."""
    instants = {
        name: None if instant is None else instant.isoformat() for name, instant in (("since", since), ("until", until))
    }
    return Request("GET", f"{_PREFIX}/dora", Dora, params=params(**instants, **where))


class Deployments:
    """Deployments and what they amount to."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(self, environment: str, service: str, version: str, **more: Any) -> Deployment:
        """Record one that begins now, or with ``start=False`` later; ``more`` is as of ``record_deployment``."""
        return self._client.send(record_deployment(environment, service, version, **{"start": True, **more}))

    def move(self, deployment: str, to: Target, *, notes: str | None = None, force: bool = False) -> Deployment:
        """Take the next step; ``force`` passes over a failed smoke test."""
        return self._client.send(move_deployment(deployment, to, notes=notes, force=force))

    def get(self, deployment: str) -> Deployment:
        """Return one."""
        return self._client.send(get_deployment(deployment))

    def iterate(self, **filters: object) -> Iterator[Deployment]:
        """Every one that fits ``environment``, ``service``, ``status`` and ``since``, the newest first."""
        return pages(self._client.send, lambda cursor: list_deployments(limit=100, cursor=cursor, **filters))

    def current(self, environment: str | None = None) -> tuple[Deployment, ...]:
        """Return what runs where."""
        return tuple(self._client.send(current_deployments(environment)).items)

    def dora(self, *, since: datetime | None = None, until: datetime | None = None, **where: str | None) -> Dora:
        """Return the four figures."""
        return self._client.send(dora_figures(since=since, until=until, **where))


class AsyncDeployments:
    """Deployments and what they amount to."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def start(self, environment: str, service: str, version: str, **more: Any) -> Deployment:
        """Record one that begins now, or with ``start=False`` later; ``more`` is as of ``record_deployment``."""
        return await self._client.send(record_deployment(environment, service, version, **{"start": True, **more}))

    async def move(self, deployment: str, to: Target, *, notes: str | None = None, force: bool = False) -> Deployment:
        """Take the next step; ``force`` passes over a failed smoke test."""
        return await self._client.send(move_deployment(deployment, to, notes=notes, force=force))

    async def get(self, deployment: str) -> Deployment:
        """Return one."""
        return await self._client.send(get_deployment(deployment))

    def iterate(self, **filters: object) -> AsyncIterator[Deployment]:
        """Every one that fits ``environment``, ``service``, ``status`` and ``since``, the newest first."""
        return apages(self._client.send, lambda cursor: list_deployments(limit=100, cursor=cursor, **filters))

    async def current(self, environment: str | None = None) -> tuple[Deployment, ...]:
        """Return what runs where."""
        return tuple((await self._client.send(current_deployments(environment))).items)

    async def dora(self, *, since: datetime | None = None, until: datetime | None = None, **where: str | None) -> Dora:
        """Return the four figures."""
        return await self._client.send(dora_figures(since=since, until=until, **where))
