"""Routes of sandboxes in bulk, their lanes and dead letters, and publishing of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.spans import span
from valhalla.sandbox import rules
from valhalla.sandbox.routing import envelope
from valhalla.sandbox.routing.errors import Fenced
from valhalla.sandbox.routing.items import Stored
from valhalla.sandbox.routing.reading import document
from valhalla.sandbox.routing.wire import (
    DeadOut,
    HeldRoute,
    LaneOut,
    PublishedOut,
    PublishIn,
    ReplayedOut,
    RoutesIn,
)

if TYPE_CHECKING:
    from valhalla.sandbox.routing.feature import EventRouting
    from valhalla.sandbox.service import SandboxService

Reference = Annotated[str, Path(max_length=64, description="id or name", examples=["checkout-fix"])]
Reader = Annotated[Principal, requires("sandbox:read")]
Writer = Annotated[Principal, requires("sandbox:write")]
Publisher = Annotated[Principal, requires("ingress")]
After = Annotated[int, Query(ge=0, lt=2**53, description="the sequence to go on behind")]
Limit = Annotated[int, Query(ge=1, le=200)]
NDJSON: Final = "application/x-ndjson"
# a connection is not followed for longer: who follows connects again, and is asked again who it is
_LONGEST: Final = 300.0
_PATIENCE: Final = 20.0


def router(sandboxes: SandboxService, routing: EventRouting) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["live-events"], responses=PROBLEMS, route_class=StrictRoute)
    _routes(routes, sandboxes)
    _lanes(routes, sandboxes, routing)

    @routes.post("/events")
    async def publish(body: PublishIn, _: Publisher) -> list[PublishedOut]:
        """Publish events: each on the lane of its key. All are stored when this answers."""
        # nothing is published of a request that has something wrong in it
        events = [envelope.check(each.event()) for each in body.events]
        ingress = await routing.ingress()
        waiting: list[asyncio.Future[Stored]] = []
        loop = asyncio.get_running_loop()
        started = loop.time()
        # an event without a trace of its own goes on in this span's
        with span("events.publish", kind="producer", events=len(events)):
            for event in events:
                future: asyncio.Future[Stored] = loop.create_future()
                ingress.outgoing.post(ingress.traced(event), future)
                waiting.append(future)
            try:
                async with asyncio.timeout(_PATIENCE):
                    stored = await asyncio.gather(*waiting)
            except TimeoutError as error:
                raise Fenced("the events are not stored yet; repeating the request stores each once") from error
        routing.publish_seconds.observe(loop.time() - started)
        return [PublishedOut(sequence=one.sequence, duplicate=one.duplicate, sandbox=one.sandbox) for one in stored]

    return routes


def _routes(routes: APIRouter, sandboxes: SandboxService) -> None:
    @routes.get("/sandboxes/{reference}/routes")
    async def list_routes(reference: Reference, principal: Reader) -> list[HeldRoute]:
        """List what a sandbox has."""
        return [HeldRoute.of(route) for route in (await sandboxes.get(principal, reference)).routes]

    @routes.post("/sandboxes/{reference}/routes/bulk")
    async def change_routes(reference: Reference, body: RoutesIn, principal: Writer) -> list[HeldRoute]:
        """Release and claim several routes."""
        linked = [each.checked(f"/link/{index}") for index, each in enumerate(body.link)]
        released = [
            rules.check_route(each.kind, each.key, f"/unlink/{index}") for index, each in enumerate(body.unlink)
        ]
        if released:
            await sandboxes.unlink_all(principal, reference, released, unread=body.unread)
        if linked:
            await sandboxes.link_all(principal, reference, linked)
        return [HeldRoute.of(route) for route in (await sandboxes.get(principal, reference)).routes]


def _lanes(routes: APIRouter, sandboxes: SandboxService, routing: EventRouting) -> None:
    reader = routing.reader

    @routes.get(
        "/sandboxes/{reference}/events",
        response_model=LaneOut,
        responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
    )
    async def events(
        reference: Reference,
        principal: Reader,
        after: After | None = None,
        follow: Annotated[bool, Query(description="true: a line of JSON for each event, as they come")] = False,
        limit: Limit = 100,
        since: Annotated[AwareDatetime | None, Query(description="without after: only what was stored then")] = None,
        until: Annotated[AwareDatetime | None, Query(description="without follow: what was stored before")] = None,
    ) -> LaneOut | Response:
        """Read a sandbox's lane: CloudEvents, oldest first. Following begins with what comes, or behind ``after``.

        Nothing is acknowledged: whoever works on the lane gets everything all the same.
        """
        sandbox = await sandboxes.get(principal, reference)
        if follow:
            position = after
            if position is None:
                position = await reader.newest(sandbox.id) if since is None else 0
            return StreamingResponse(_lines(sandbox.id, position, since), media_type=NDJSON)
        found = await reader.page(sandbox.id, after=after or 0, limit=limit, since=since, until=until)
        return LaneOut(
            items=[received.document() for received in found],
            next=found[-1].sequence if found else after or 0,
            lag=await reader.lag(sandbox.id),
        )

    async def _lines(sandbox: str, after: int, since: datetime | None) -> AsyncIterator[bytes]:
        # the headers go out before the first event
        yield b"\n"
        try:
            async with asyncio.timeout(_LONGEST):
                async for received in reader.follow(sandbox, after=after, since=since, until=routing.draining):
                    yield b"\n" if received is None else msgspec.json.encode(received.document()) + b"\n"
        except TimeoutError:
            return

    @routes.get("/sandboxes/{reference}/events/dead")
    async def dead(reference: Reference, principal: Reader, after: After = 0, limit: Limit = 100) -> DeadOut:
        """List what the sandbox could not work on, and why."""
        sandbox = await sandboxes.get(principal, reference)
        letters = await reader.dead(sandbox.id, after=after, limit=limit)
        return DeadOut(items=[document(one) for one in letters], next=letters[-1].number if letters else after)

    @routes.post("/sandboxes/{reference}/events/dead/{number}/replay")
    async def replay(
        reference: Reference, number: Annotated[int, Path(ge=1, lt=2**53)], principal: Writer
    ) -> ReplayedOut:
        """Put a dead letter on the sandbox's lane again."""
        sandbox = await sandboxes.get(principal, reference)
        sandboxes.must_run(sandbox)
        return ReplayedOut(sequence=await reader.replay(sandbox.id, number))
