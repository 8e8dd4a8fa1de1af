"""``/system/deployment/smoke``: suites, and what came of running them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from valhalla.features.operations.deployments.smoke.contracts import RunFilter, RunStatus, Suite
from valhalla.features.operations.deployments.smoke.service import SmokeService
from valhalla.features.operations.deployments.smoke.wire import RunDetailOut, RunIn, RunOut, RunPage
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.registry_routes import Face, registry_router

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("deployments:read")]
Writer = Annotated[Principal, requires("deployments:write")]
SuiteName = Annotated[str, Path(max_length=64, examples=["api"])]
RunId = Annotated[str, Path(max_length=64, examples=["k3v9x0q2m1n8b7c6"])]
Text = Annotated[str | None, Query(min_length=1, max_length=64)]
_RUNS: Final = "/system/deployment/smoke/runs"
_PLAIN: Final = RunIn(base_url=None, deployment=None)


def suites_router(
    service: SmokeService, face: Face[Suite], db: Database, settle: Callable[[], Awaitable[None]]
) -> APIRouter:
    """Return the routes of suites; ``settle`` brings this process's snapshot up to date after a write."""
    routes = APIRouter(prefix=face.prefix, tags=[face.tag], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/{name}/run", status_code=202)
    async def run(name: SuiteName, response: Response, principal: Writer, body: RunIn = _PLAIN) -> RunOut:
        """Have a suite run by a job; Location is where its results will be."""
        made = await service.request(principal, name, base_url=body.base_url, deployment=body.deployment)
        response.headers["Location"] = f"{_RUNS}/{made.id}"
        return RunOut.of(made)

    return registry_router(face, db, settle, routes)


def runs_router(service: SmokeService) -> APIRouter:
    """Return the routes of runs."""
    routes = APIRouter(prefix=_RUNS, tags=["deployments"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_runs(
        principal: Reader,
        suite: Text = None,
        status: Annotated[RunStatus | None, Query()] = None,
        deployment: Text = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> RunPage:
        """List runs, the newest first."""
        page = await service.page(principal, RunFilter(suite, status, deployment), limit=limit, cursor=cursor)
        return RunPage(items=[RunOut.of(each) for each in page.items], next=page.next)

    @routes.get("/{run}")
    async def show(run: RunId, principal: Reader) -> RunDetailOut:
        """Show a run with every attempt of every check so far."""
        return RunDetailOut.detail(*await service.get(principal, run))

    return routes
