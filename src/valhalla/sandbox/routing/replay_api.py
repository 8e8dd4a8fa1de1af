"""Events once more: production's past of a key, and recorded sessions, onto the lane of one sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.sandbox import rules
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.errors import RouteNotFound
from valhalla.sandbox.routing import envelope
from valhalla.sandbox.routing.wire import CopiedOut, PastOut, PlayedOut, PlayIn, ReplayIn

if TYPE_CHECKING:
    from valhalla.sandbox.routing.feature import EventRouting
    from valhalla.sandbox.service import SandboxService

Reference = Annotated[str, Path(max_length=64, description="id or name", examples=["checkout-fix"])]
Reader = Annotated[Principal, requires("sandbox:read")]
Writer = Annotated[Principal, requires("sandbox:write")]


def router(sandboxes: SandboxService, routing: EventRouting) -> APIRouter:
    """Return the routes. Each does a bounded piece; who asks goes on, or stops."""
    routes = APIRouter(prefix="/api/sandboxes", tags=["live-events"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/{reference}/events/past")
    async def past(
        reference: Reference,
        principal: Reader,
        kind: Annotated[str, Query(max_length=63, examples=["tenant"])],
        key: Annotated[str, Query(max_length=128, examples=["acme"])],
        after: Annotated[int, Query(ge=0, lt=2**53, description="the sequence to go on behind")] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
        since: Annotated[AwareDatetime | None, Query(description="without after: only what was stored then")] = None,
        until: Annotated[AwareDatetime | None, Query(description="what was stored before")] = None,
    ) -> PastOut:
        """Read what production has of a key that the sandbox has a route for."""
        sandbox = await sandboxes.get(principal, reference)
        kind, key = _linked(sandbox, kind, key)
        page = await routing.reader.past(kind, key, after=after, limit=limit, since=since, until=until)
        return PastOut(items=[one.document() for one in page.items], next=page.next, done=page.done)

    @routes.post("/{reference}/events/replay")
    async def replay(reference: Reference, body: ReplayIn, principal: Writer) -> CopiedOut:
        """Copy a piece of what production has of a linked key onto the lane, oldest first."""
        sandbox = await sandboxes.get(principal, reference)
        sandboxes.must_run(sandbox)
        kind, key = _linked(sandbox, body.kind, body.key)
        done = await routing.injector.copy(
            sandbox.id,
            kind,
            key,
            run=body.run,
            after=body.after,
            limit=body.limit,
            since=body.since,
            until=body.until,
        )
        return CopiedOut(copied=done.copied, next=done.next, done=done.done)

    @routes.post("/{reference}/events/play")
    async def play(reference: Reference, body: PlayIn, principal: Writer) -> PlayedOut:
        """Put recorded events onto the lane, whatever routes the sandbox has. All are stored when this answers."""
        events = [envelope.check(each.event()) for each in body.events]
        sandbox = await sandboxes.get(principal, reference)
        sandboxes.must_run(sandbox)
        return PlayedOut(sequences=await routing.injector.play(sandbox.id, events, run=body.run, first=body.first))

    return routes


def _linked(sandbox: Sandbox, kind: str, key: str) -> tuple[str, str]:
    route = rules.check_route(kind, key, "")
    if not any((held.kind, held.key) == (route.kind, route.key) for held in sandbox.routes):
        raise RouteNotFound(f"the sandbox does not hold the route {route}", route=str(route))
    return route.kind, route.key
