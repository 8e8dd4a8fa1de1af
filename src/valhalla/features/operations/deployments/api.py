"""``/system/deployment``: record deployments, take them through their life, and see what they amount to."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from valhalla.features.operations.deployments.contracts import Draft, Filter, Status
from valhalla.features.operations.deployments.service import DeploymentService
from valhalla.features.operations.deployments.wire import (
    CurrentOut,
    DeploymentIn,
    DeploymentOut,
    DeploymentPage,
    DoraOut,
    Instant,
    MoveIn,
)
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

PREFIX = "/system/deployment"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("deployments:read")]
Writer = Annotated[Principal, requires("deployments:write")]
DeploymentId = Annotated[str, Path(max_length=64, examples=["k3v9x0q2m1n8b7c6"])]
Place = Annotated[str | None, Query(min_length=1, max_length=64)]
When = Annotated[Instant | None, Query(examples=["2026-01-01T00:00:00Z"])]


def router(service: DeploymentService, clock: Clock) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix=PREFIX, tags=["deployments"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_deployments(
        principal: Reader,
        environment: Place = None,
        service_name: Annotated[str | None, Query(alias="service", min_length=1, max_length=64)] = None,
        status: Annotated[Status | None, Query()] = None,
        since: When = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> DeploymentPage:
        """List deployments, the newest first."""
        wanted = Filter(environment, service_name, status, since)
        page = await service.page(principal, wanted, limit=limit, cursor=cursor)
        return DeploymentPage(items=[DeploymentOut.of(each) for each in page.items], next=page.next)

    @routes.post("", status_code=201)
    async def record(body: DeploymentIn, response: Response, principal: Writer) -> DeploymentOut:
        """Record a deployment that is to come, or with ``start`` one that begins now."""
        made = await service.record(principal, Draft(**dict(body)))
        response.headers["Location"] = f"{PREFIX}/{made.id}"
        return DeploymentOut.of(made)

    @routes.get("/current")
    async def current(principal: Reader, environment: Place = None) -> CurrentOut:
        """Say what runs where: of each service the last that went live and was not rolled back."""
        found = await service.current(principal, environment)
        return CurrentOut(items=[DeploymentOut.of(each) for each in found])

    @routes.get("/dora")
    async def dora(
        principal: Reader,
        since: When = None,
        until: When = None,
        environment: Place = None,
        service_name: Annotated[str | None, Query(alias="service", min_length=1, max_length=64)] = None,
    ) -> DoraOut:
        """Compute the four DORA figures of a window; without one of the last 30 days."""
        ends = until or clock.now()
        begins = since or (ends - timedelta(days=30) if ends.year > 1 else ends)
        return DoraOut.of(await service.dora(principal, begins, ends, environment=environment, service=service_name))

    @routes.get("/{deployment_id}")
    async def show(deployment_id: DeploymentId, principal: Reader) -> DeploymentOut:
        """Show one deployment."""
        return DeploymentOut.of(await service.get(principal, deployment_id))

    @routes.post("/{deployment_id}/transition")
    async def move(deployment_id: DeploymentId, body: MoveIn, principal: Writer) -> DeploymentOut:
        """Take the next step: pending → in_progress → succeeded or failed, and from either rolled_back."""
        moved = await service.move(principal, deployment_id, body.to, notes=body.notes, force=body.force)
        return DeploymentOut.of(moved)

    return routes
