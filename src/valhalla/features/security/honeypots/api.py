"""``/system/security/honeypots`` and ``/system/security/decoys``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime

from valhalla.features.security.honeypots import reading
from valhalla.features.security.honeypots.contracts import Filter, Kind, Taken
from valhalla.features.security.honeypots.face import DECOYS, HONEYPOTS, READ, WRITE, decoy_face, honeypot_face
from valhalla.features.security.honeypots.service import INGEST, MOST, READERS, HoneypotService
from valhalla.features.security.honeypots.wire import (
    ActivityOut,
    DecoyKeyIn,
    EventIn,
    EventOut,
    EventPage,
    EventsIn,
    HoneypotIn,
    HoneypotOut,
    KeyOut,
    RegisteredOut,
    RotateIn,
    TakenOut,
)
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps
from valhalla.kit.registry_routes import registry_router

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires(READ)]
Writer = Annotated[Principal, requires(WRITE)]
Sensor = Annotated[Principal, requires(INGEST)]
Name = Annotated[str, Path(max_length=64)]
Text = Annotated[str | None, Query(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
Instant = Annotated[AwareDatetime | None, Query(examples=["2026-01-01T00:00:00Z"])]
Settle = Callable[[], Awaitable[None]]
_CANARY: Final[dict[str, Any]] = {
    "logtype": 4002,
    "src_host": "203.0.113.7",
    "utc_time": "2026-01-01 00:00:00.000000",
    "logdata": {},
}
_COWRIE: Final[dict[str, Any]] = {
    "eventid": "cowrie.login.failed",
    "src_ip": "203.0.113.7",
    "timestamp": "2026-01-01T00:00:00Z",
}


def _takes(*kinds: str, example: Any) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "object"}, "example": example} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def honeypot_router(service: HoneypotService, db: Database, settle: Settle) -> APIRouter:
    """Return the routes of sensors and of what they caught."""
    routes = APIRouter(prefix=HONEYPOTS, tags=["honeypots"], responses=PROBLEMS, route_class=StrictRoute)
    face = honeypot_face(service.honeypots)

    @routes.get("/events")
    async def events(
        principal: Reader,
        honeypot: Text = None,
        kind: Annotated[Kind | None, Query()] = None,
        address: Text = None,
        since: Instant = None,
        until: Instant = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> EventPage:
        """List what was caught, newest first; our own decoys report as the honeypot `decoys`."""
        page = await service.events(Filter(honeypot, kind, address, since, until), limit=limit, cursor=cursor)
        return EventPage(items=[EventOut(**row) for row in page.items], next=page.next)

    @routes.get("/activity")
    async def activity(principal: Reader, hours: Annotated[int, Query(ge=1, le=168)] = 24) -> ActivityOut:
        """Say what was caught lately: by kind, by honeypot, which addresses score most, and what when."""
        found = await service.activity(hours)
        return ActivityOut.model_validate({**found, **await service.touched(found["since"], hours)})

    @routes.post("/events")
    @while_closed("write")
    async def send(body: EventsIn, principal: Sensor) -> TakenOut:
        """Send what a sensor of your own caught; sent again it is taken once."""
        return _taken(await service.take(principal, body.items, _own))

    @routes.post("/events/opencanary", openapi_extra=_takes("application/json", example=_CANARY))
    @while_closed("write")
    async def opencanary(request: Request, principal: Sensor) -> TakenOut:
        """Take OpenCanary's webhook: its events as JSON, or as text under `message`, also in a form."""
        return _taken(await service.take(principal, await _documents(request, reading.webhook), READERS["opencanary"]))

    @routes.post("/events/cowrie", openapi_extra=_takes("application/json", "application/x-ndjson", example=_COWRIE))
    @while_closed("write")
    async def cowrie(request: Request, principal: Sensor) -> TakenOut:
        """Take lines of Cowrie's JSON log, up to 1000 at once."""
        return _taken(await service.take(principal, await _documents(request, reading.lines), READERS["cowrie"]))

    @routes.post("", status_code=201, response_model=RegisteredOut)
    async def register(body: HoneypotIn, principal: Writer) -> Response:
        """Register a sensor and show its key once: with it the sensor can send, and nothing else."""
        record, key = await service.register(
            principal,
            body.name,
            body.type,
            location=body.location,
            metadata=body.metadata,
            networks=body.networks,
        )
        # no cache on the way may keep a key
        headers = {"Cache-Control": "no-store", "Location": face.location(record.key), "ETag": record.etag}
        document = {**face.document(record), "key": key}
        return Response(dumps(document), 201, headers, media_type="application/json")

    @routes.post("/{name}/deactivate", response_model=HoneypotOut)
    @while_closed("write")
    async def deactivate(name: Name, principal: Writer) -> Response:
        """Take nothing of a sensor any more, until it is activated again."""
        record = await service.switch(principal, name, active=False)
        return Response(dumps(face.document(record)), media_type="application/json")

    @routes.post("/{name}/activate", response_model=HoneypotOut)
    async def activate(name: Name, principal: Writer) -> Response:
        """Take what a sensor sends again."""
        record = await service.switch(principal, name, active=True)
        return Response(dumps(face.document(record)), media_type="application/json")

    @routes.post("/{name}/rotate", response_model=KeyOut)
    async def rotate(name: Name, body: RotateIn, principal: Writer) -> Response:
        """Give a sensor a new key, shown once."""
        key = await service.rotate(principal, name, grace=timedelta(seconds=body.grace_seconds))
        headers = {"Cache-Control": "no-store"}
        return Response(dumps({"name": name, "key": key}), headers=headers, media_type="application/json")

    @routes.delete("/{name}", status_code=204, response_model=None)
    async def remove(name: Name, principal: Writer) -> Response:
        """Forget a sensor and end its key; what it caught stays."""
        await service.remove(principal, name)
        return Response(status_code=204)

    return registry_router(face, db, settle, routes, writes=["patch"])


def decoy_router(service: HoneypotService, db: Database, settle: Settle) -> APIRouter:
    """Return the routes of decoys."""
    routes = APIRouter(prefix=DECOYS, tags=["honeypots"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/keys", status_code=201, response_model=KeyOut)
    async def key(body: DecoyKeyIn, principal: Writer) -> Response:
        """Make a decoy API key, shown once: put it where only a thief looks. Using it is an alert and a block."""
        record, made = await service.decoy_key(principal, body.name, description=body.description, score=body.score)
        headers = {"Cache-Control": "no-store", "Location": f"{DECOYS}/{record.key}"}
        return Response(dumps({"name": record.key, "key": made}), 201, headers, media_type="application/json")

    return registry_router(decoy_face(service.decoys), db, settle, routes)


async def _documents(request: Request, read: Callable[[bytes, int], list[object]]) -> list[object]:
    return read(await request.body(), MOST)


def _own(item: object) -> reading.Read:
    assert isinstance(item, EventIn)
    return item.read()


def _taken(taken: Taken) -> TakenOut:
    refused: Sequence[Any] = [one._asdict() for one in taken.refused]
    return TakenOut.model_validate({**taken._asdict(), "refused": refused})
