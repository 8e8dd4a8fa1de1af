"""``/api/sandboxes``: the routes of sandboxes."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Header, Path, Query, Response

from valhalla.kernel.principal import Principal
from valhalla.kit.audit import AuditEntryOut, AuditPage
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.sandbox import rules
from valhalla.sandbox.contracts import Sandbox, Status
from valhalla.sandbox.reaper import Reaper
from valhalla.sandbox.routing.contracts import Unread
from valhalla.sandbox.routing.wire import LinkIn
from valhalla.sandbox.service import SandboxService
from valhalla.sandbox.wire import (
    ConnectionOut,
    CreatedOut,
    ExtendedOut,
    ExtendIn,
    PlannedOut,
    ReapOut,
    RouteOut,
    SandboxIn,
    SandboxOut,
    SandboxPage,
    StatusOut,
    TableOut,
    extended_out,
    planned_out,
    reap_out,
    status_out,
)

Reference = Annotated[str, Path(max_length=64, description="id or name", examples=["checkout-fix"])]
Reader = Annotated[Principal, requires("sandbox:read")]
Writer = Annotated[Principal, requires("sandbox:write")]
Admin = Annotated[Principal, requires("admin")]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=500)]


def router(service: SandboxService, reaper: Reaper) -> APIRouter:
    """Return the routes over ``service``."""
    routes = APIRouter(prefix="/api/sandboxes", tags=["sandboxes"], responses=PROBLEMS, route_class=StrictRoute)
    _lifecycle(routes, service)
    _details(routes, service)

    @routes.post("/reap")
    async def reap(principal: Admin, dry_run: bool = False) -> ReapOut:
        """Run the reaper now, or only tell what it would do."""
        return reap_out(await reaper.once(dry_run=dry_run))

    return routes


def _lifecycle(routes: APIRouter, service: SandboxService) -> None:
    @routes.post("", status_code=201, response_model=CreatedOut, responses={200: {"model": PlannedOut}})
    async def create(
        body: SandboxIn,
        response: Response,
        principal: Writer,
        dry_run: bool = False,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> CreatedOut | Response:
        """Make a sandbox; with ``dry_run`` only check and tell."""
        spec = rules.check_spec(
            owner=body.owner if body.owner is not None else principal.owner,
            limits=service.limits,
            name=body.name,
            template=body.template,
            ttl=body.ttl,
            description=body.description,
            tags=body.tags,
            metadata=body.metadata,
            routes=[(route.kind, route.key) for route in body.routes],
            slices=body.slices,
        )
        if dry_run:
            planned = planned_out(await service.plan(principal, spec))
            return Response(planned.model_dump_json(), 200, media_type="application/json")
        created = await service.create(principal, spec, key=idempotency_key)
        response.headers["Location"] = f"/api/sandboxes/{created.sandbox.id}"
        if created.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        response.headers["Cache-Control"] = "no-store"
        return CreatedOut.of(created.sandbox, connection=created.connection, duration_ms=created.milliseconds)

    @routes.get("")
    async def list_sandboxes(
        principal: Reader,
        owner: Annotated[str | None, Query(max_length=63)] = None,
        status: Annotated[list[Status] | None, Query()] = None,
        tag: Annotated[str | None, Query(max_length=63)] = None,
        name: Annotated[
            str | None, Query(max_length=63, pattern=r"^[^\x00]*$", description="what its name begins with")
        ] = None,
        include_destroyed: bool = False,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> SandboxPage:
        """List sandboxes, newest first; a key that is no admin's sees its owner's."""
        page = await service.list(
            principal,
            owner=owner,
            statuses=status,
            tag=tag,
            name=name,
            include_destroyed=include_destroyed,
            limit=limit,
            cursor=cursor,
        )
        return SandboxPage(items=[SandboxOut.of(item) for item in page.items], next=page.next, total=page.total)

    @routes.get("/{reference}")
    async def get(reference: Reference, principal: Reader) -> SandboxOut:
        """Show one sandbox."""
        return SandboxOut.of(await service.get(principal, reference))

    @routes.delete("/{reference}", status_code=202, responses={200: {"model": SandboxOut}})
    async def destroy(
        reference: Reference,
        response: Response,
        principal: Writer,
        wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for the end")] = 0,
    ) -> SandboxOut:
        """Destroy a sandbox: access is cut when this answers; 200 when everything is gone already."""
        sandbox: Sandbox = await service.destroy(principal, reference, wait=wait)
        response.status_code = 200 if sandbox.status == "destroyed" else 202
        return SandboxOut.of(sandbox)

    @routes.post("/{reference}/extend")
    async def extend(reference: Reference, body: ExtendIn, principal: Writer) -> ExtendedOut:
        """Give a running sandbox more time, up to the maximum from its creation."""
        return extended_out(await service.extend(principal, reference, body.ttl))

    @routes.post("/{reference}/reset")
    async def reset(reference: Reference, principal: Writer) -> SandboxOut:
        """Bring a sandbox back to its template, with the same credentials."""
        return SandboxOut.of(await service.reset(principal, reference))


def _details(routes: APIRouter, service: SandboxService) -> None:
    @routes.get("/{reference}/status")
    async def status(reference: Reference, principal: Reader) -> StatusOut:
        """Check a sandbox with its own credentials."""
        return status_out(await service.health(principal, reference))

    @routes.get("/{reference}/connection")
    async def connection(reference: Reference, response: Response, principal: Writer) -> ConnectionOut:
        """Show addresses, credentials and environment variables."""
        response.headers["Cache-Control"] = "no-store"
        return cast(ConnectionOut, await service.connection(principal, reference))

    @routes.get("/{reference}/tables")
    async def tables(reference: Reference, principal: Reader) -> list[TableOut]:
        """Count the rows of each table, as the sandbox itself."""
        return [TableOut(table=item.table, rows=item.rows) for item in await service.stats(principal, reference)]

    @routes.post("/{reference}/routes", status_code=201)
    async def link(reference: Reference, body: LinkIn, principal: Writer) -> RouteOut:
        """Claim a route: from when this answers on, its events are the sandbox's."""
        route = await service.link(principal, reference, body.kind, body.key, mode=body.mode, sample=body.sample)
        return RouteOut(kind=route.kind, key=route.key, linked_at=route.linked_at)

    @routes.delete("/{reference}/routes/{kind}/{key}", status_code=204)
    async def unlink(
        reference: Reference,
        kind: Annotated[str, Path(max_length=63)],
        key: Annotated[str, Path(max_length=128)],
        principal: Writer,
        unread: Annotated[Unread, Query(description="who gets the events that the sandbox has not read")] = "drain",
    ) -> None:
        """Release a route."""
        await service.unlink(principal, reference, kind, key, unread=unread)

    @routes.get("/{reference}/audit")
    async def audit(reference: Reference, principal: Reader, limit: Limit = 50, cursor: Cursor = None) -> AuditPage:
        """Show what happened to a sandbox, also after its end."""
        page = await service.audit(principal, reference, limit=limit, cursor=cursor)
        return AuditPage(items=AuditEntryOut.each(page.items), next=page.next)
