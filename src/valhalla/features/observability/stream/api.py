"""``GET /events`` and ``/ws``: one stream of what happens, as server-sent events, as a page, or over a WebSocket."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response

from valhalla.features.observability.stream import rules, store
from valhalla.features.observability.stream.contracts import SCOPE
from valhalla.features.observability.stream.following import follow, settle
from valhalla.features.observability.stream.hub import Hub
from valhalla.features.observability.stream.knowing import Knowing
from valhalla.features.observability.stream.socket import socket_route
from valhalla.features.observability.stream.sse import EVENT_STREAM, EventStream
from valhalla.features.observability.stream.wire import EventPage
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

Topics = Annotated[
    str | None, Query(max_length=2000, description="beginnings of subjects, with commas: sandbox,alert,job.<id>")
]
Listening = Annotated[Principal, requires(SCOPE)]
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}, "description": "The stream, or a page of it"}
}
_MOST: Final = 500


def router(hub: Hub, db: Database, knowing: Knowing) -> APIRouter:
    """Return the routes; ``knowing`` asks again who somebody is."""
    routes = APIRouter(tags=["events"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/events", response_model=EventPage, responses=_STREAM)
    async def events(
        request: Request,
        principal: Listening,
        topics: Topics = None,
        after: Annotated[int | None, Query(ge=0, lt=2**53, description="resume behind this id")] = None,
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
        follow_: Annotated[bool, Query(alias="follow", description="false: a page of what happened, as JSON")] = True,
        limit: Annotated[int, Query(ge=1, le=_MOST, description="of a page")] = 100,
    ) -> Response:
        """Follow what happens, as far as the key may know it. A stream resumes at `Last-Event-ID`."""
        wanted = rules.parse(topics)
        rules.check(principal, wanted)
        position = rules.position(last_event_id) if after is None else after
        if not follow_ or request.headers.get("accept") == "application/json":
            return await page(principal, wanted, position, limit)
        listener = hub.join(principal, wanted, knowing.recheck(request.scope))
        try:
            await settle(hub)
        except BaseException:
            hub.leave(listener)
            raise
        frames = follow(hub, db, listener, position)
        return EventStream(frames, listener, lambda: hub.leave(listener), hub.bounds.patience)

    async def page(principal: Principal, topics: frozenset[str], position: int | None, limit: int) -> Response:
        reset = position is not None and not await db.read(store.reaches, position, 10**9)
        if position is None or reset:
            found = await db.read(store.latest, limit)
        else:
            found = await db.read(store.after, position, limit)
        end = found[-1].id if found else max(position or 0, 0)
        items = [
            event
            for event in found
            if rules.covers(topics, event.subject) and rules.may_know(principal, event.subject, event.data)
        ]
        document = {"items": items, "next": end, "reset": reset}
        content = msgspec.json.encode(document)
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})

    routes.routes.append(socket_route(hub, db, knowing))
    return routes
