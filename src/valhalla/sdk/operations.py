"""What operators ask: which routes there are, how things stand, and admin actions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from valhalla.sdk.access import Model
from valhalla.sdk.further_calls import AdminCalls
from valhalla.sdk.groups import AsyncGroup, Group
from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.reports import AuditEntry
from valhalla.sdk.wire import Request, params, segment

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

_ROUTES: Final = "/system/routes"
_ADMIN: Final = "/system/admin"


class Route(Model, frozen=True, kw_only=True):
    """A mounted route and what it did in the process that answered; quantiles in seconds."""

    id: str
    path: str
    methods: tuple[str, ...]
    name: str = ""
    kind: str = "http"
    summary: str = ""
    tags: tuple[str, ...] = ()
    scope: str | None = None
    public: bool = False
    deprecated: bool = False
    limits: tuple[str, ...] = ()
    requests: int = 0
    errors: int = 0
    error_rate: float | None = None
    p50: float | None = None
    p99: float | None = None


class Done(Model, frozen=True, kw_only=True):
    """What became of an admin action. ``held``: it is done once the hold of that id is approved."""

    operation: str
    action: str
    status: Literal["succeeded", "replayed", "planned", "held"]
    result: Mapping[str, Any] | None = None
    hold: str | None = None


def list_routes(*, limit: int | None = None, cursor: str | None = None, **filters: Any) -> Request[Page[Route]]:
    """The mounted routes; filters are ``q``, ``method``, ``tag``, ``scope`` and ``public``."""
    return Request("GET", _ROUTES, Page[Route], params=params(limit=limit, cursor=cursor, **filters))


def match_route(method: str, path: str, **of: Any) -> Request[dict[str, Any]]:
    """What would become of a request; ``of`` are ``key``, ``scopes``, ``anonymous`` and ``address``."""
    return Request("GET", f"{_ROUTES}/match", dict[str, Any], params=params(method=method, path=path, **of))


def route_changes(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[dict[str, Any]]]:
    """The boots that served other routes than the one before."""
    return Request("GET", f"{_ROUTES}/changes", Page[dict[str, Any]], params=params(limit=limit, cursor=cursor))


def overview() -> Request[dict[str, Any]]:
    """How things stand."""
    return Request("GET", _ADMIN, dict[str, Any])


def list_actions() -> Request[dict[str, Any]]:
    """The admin actions with the schemas of their arguments."""
    return Request("GET", f"{_ADMIN}/actions", dict[str, Any])


def execute(
    name: str, arguments: Mapping[str, Any], *, reason: str, key: str | None = None, dry_run: bool = False
) -> Request[Done]:
    """Execute an admin action, once per ``key``."""
    return Request(
        "POST",
        f"{_ADMIN}/actions/{segment(name)}",
        Done,
        params=params(dry_run=dry_run),
        body={"arguments": dict(arguments), "reason": reason},
        headers={} if key is None else {"Idempotency-Key": key},
    )


def list_operations(
    *, limit: int | None = None, cursor: str | None = None, **filters: Any
) -> Request[Page[AuditEntry]]:
    """What was asked for and what it came to; filters are ``actor``, ``operation`` and ``step``."""
    query = params(limit=limit, cursor=cursor, **filters)
    return Request("GET", f"{_ADMIN}/operations", Page[AuditEntry], params=query)


class Admin(Group, AdminCalls):
    """The admin API of a control plane."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def overview(self) -> dict[str, Any]:
        """Return mode, health, alerts, holds, queues, newest changes, keys that end soon, and windows."""
        return self._client.send(overview())

    def actions(self) -> list[dict[str, Any]]:
        """Return the admin actions with the schemas of their arguments."""
        return self._client.send(list_actions())["items"]

    def execute(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        reason: str,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Done:
        """Execute an admin action through the guard: once per ``key``, held where somebody must approve."""
        return self._client.send(execute(name, arguments or {}, reason=reason, key=key, dry_run=dry_run))

    def operations(self, **filters: Any) -> Iterator[AuditEntry]:
        """What was asked for and what it came to, newest first."""
        return pages(self._client.send, lambda cursor: list_operations(limit=100, cursor=cursor, **filters))

    def routes(self, **filters: Any) -> Iterator[Route]:
        """Every mounted route."""
        return pages(self._client.send, lambda cursor: list_routes(limit=100, cursor=cursor, **filters))

    def match(self, method: str, path: str, **of: Any) -> dict[str, Any]:
        """Say what would become of a request; nothing is sent."""
        return self._client.send(match_route(method, path, **of))


class AsyncAdmin(AsyncGroup, AdminCalls):
    """The admin API of a control plane."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def overview(self) -> dict[str, Any]:
        """Return mode, health, alerts, holds, queues, newest changes, keys that end soon, and windows."""
        return await self._client.send(overview())

    async def actions(self) -> list[dict[str, Any]]:
        """Return the admin actions with the schemas of their arguments."""
        return (await self._client.send(list_actions()))["items"]

    async def execute(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        reason: str,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Done:
        """Execute an admin action through the guard: once per ``key``, held where somebody must approve."""
        return await self._client.send(execute(name, arguments or {}, reason=reason, key=key, dry_run=dry_run))

    def operations(self, **filters: Any) -> AsyncIterator[AuditEntry]:
        """What was asked for and what it came to, newest first."""
        return apages(self._client.send, lambda cursor: list_operations(limit=100, cursor=cursor, **filters))

    def routes(self, **filters: Any) -> AsyncIterator[Route]:
        """Every mounted route."""
        return apages(self._client.send, lambda cursor: list_routes(limit=100, cursor=cursor, **filters))

    async def match(self, method: str, path: str, **of: Any) -> dict[str, Any]:
        """Say what would become of a request; nothing is sent."""
        return await self._client.send(match_route(method, path, **of))
