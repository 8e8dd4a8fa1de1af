"""``/system/retention``: what is kept how long, what must stay, and what was purged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query

from valhalla.features.data.retention import face
from valhalla.features.data.retention.contracts import Hold, Policy, Status
from valhalla.features.data.retention.face import PREFIX
from valhalla.features.data.retention.service import RetentionService
from valhalla.features.data.retention.wire import (
    AskedOut,
    CategoryList,
    CategoryOut,
    PreviewOut,
    PurgeIn,
    PurgeOut,
    PurgePage,
)
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import registry_router

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("retention:read")]
Writer = Annotated[Principal, requires("retention:write")]
Name = Annotated[str, Path(max_length=64, examples=["logs"])]
PurgeId = Annotated[str, Path(max_length=64, examples=["k3v9x0q2m1n8b7c6"])]


def router(service: RetentionService) -> APIRouter:
    """Return the routes of categories and purges."""
    routes = APIRouter(prefix=PREFIX, tags=["retention"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/categories")
    async def list_categories(principal: Reader) -> CategoryList:
        """List what can be aged out: table, clock, policy or default, and the newest purge."""
        return CategoryList(items=[CategoryOut.of(one) for one in await service.standings(principal)])

    @routes.get("/categories/{category}/preview")
    async def preview(
        category: Name,
        principal: Reader,
        days: Annotated[int | None, Query(ge=0, le=36_500, description="instead of the policy's")] = None,
        keep_last: Annotated[int | None, Query(ge=0, lt=2**40)] = None,
    ) -> PreviewOut:
        """Say what a purge would take now. Nothing is taken."""
        return PreviewOut.of(await service.preview(principal, category, days=days, keep_last=keep_last))

    @routes.post("/categories/{category}/purge", status_code=202)
    async def purge(category: Name, body: PurgeIn, principal: Writer) -> AskedOut:
        """Have a category purged by its policy, now. A large part of the table waits for somebody else's approval."""
        asked = await service.request(principal, category, reason=body.reason, confirm=body.confirm)
        return AskedOut(purge=None if asked.purge is None else PurgeOut.of(asked.purge), hold=asked.hold)

    @routes.get("/purges")
    async def list_purges(
        principal: Reader,
        category: Annotated[str | None, Query(min_length=1, max_length=64, pattern=r"^[^\x00]*$")] = None,
        status: Annotated[Status | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> PurgePage:
        """List purges with their proofs, the newest first."""
        page = await service.page(principal, category=category, status=status, limit=limit, cursor=cursor)
        return PurgePage(items=[PurgeOut.of(one) for one in page.items], next=page.next)

    @routes.get("/purges/{purge_id}")
    async def show(purge_id: PurgeId, principal: Reader) -> PurgeOut:
        """Show one purge."""
        return PurgeOut.of(await service.get(principal, purge_id))

    return routes


def registries(
    policies: Registry[Policy], holds: Registry[Hold], db: Database, settle: Callable[[], Awaitable[None]]
) -> tuple[APIRouter, APIRouter]:
    """Return the routes of policies and of legal holds."""
    return (
        registry_router(face.policies(policies), db, settle),
        registry_router(face.holds(holds), db, settle),
    )
