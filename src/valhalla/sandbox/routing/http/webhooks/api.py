"""``/system/ingress/receivers``, and ``/ingress``, where third parties post."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request

from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import Face, registry_router
from valhalla.sandbox.routing.http.webhooks.contracts import Posted, Receiver
from valhalla.sandbox.routing.http.webhooks.errors import ReceiverNotFound, WebhookTooLarge
from valhalla.sandbox.routing.http.webhooks.masking import Masking
from valhalla.sandbox.routing.http.webhooks.receiving import Receiving
from valhalla.sandbox.routing.http.webhooks.rules import NAME
from valhalla.sandbox.routing.http.webhooks.wire import ReceivedOut, ReceiverModel

PREFIX: Final = "/ingress"
Name = Annotated[str, Path(max_length=64, examples=["github"])]
Key = Annotated[str, Path(max_length=256, examples=["acme"], description="read by receivers whose key_from is path")]
_ANY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {}, "example": {"type": "ping"}}}}
}


def registry(registry: Registry[Receiver], masking: Masking, db: Database, feed: Feed) -> APIRouter:
    """Return the routes of receivers."""
    face = Face(
        registry=registry,
        prefix="/system/ingress/receivers",
        tag="live-events",
        noun="webhook receiver",
        read="ingress:read",
        write="ingress:write",
        model=ReceiverModel,
        example={"kind": "tenant", "key_from": "body:$.account.id"},
        key="name",
        key_form=NAME,
        key_example="github",
        make=lambda name, model, before, _principal: masking.make(name, model, before),
        show=masking.show,
        filters=("kind", "enabled"),
        search=("description",),
        missing=ReceiverNotFound,
    )
    return registry_router(face, db, feed.refresh)


def receiving(service: Receiving) -> APIRouter:
    """Return the routes that third parties know. They need no key: a receiver's own signature is what counts."""
    routes = APIRouter(prefix=PREFIX, tags=["live-events"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/{receiver}", status_code=202, openapi_extra=_ANY)
    async def receive(receiver: Name, request: Request) -> ReceivedOut:
        """Take a webhook; it is stored when this answers."""
        return await _take(service, receiver, request, None)

    @routes.post("/{receiver}/{key}", status_code=202, openapi_extra=_ANY)
    async def receive_for(receiver: Name, key: Key, request: Request) -> ReceivedOut:
        """Take a webhook whose key is in its address; it is stored when this answers."""
        return await _take(service, receiver, request, key)

    return routes


async def _take(service: Receiving, name: str, request: Request, rest: str | None) -> ReceivedOut:
    limit = service.limit(name)
    body = bytearray()
    async for part in request.stream():
        body += part
        # the rest is never kept, whatever was said of the length
        if len(body) > limit:
            raise WebhookTooLarge(f"the limit is {limit} bytes")
    made, stored = await service.receive(name, Posted(_headers(request), bytes(body), rest))
    return ReceivedOut(id=made, duplicate=stored.duplicate)


def _headers(request: Request) -> Mapping[str, str]:
    """Return headers by name; of one that comes twice all values: nobody can choose which of them counts."""
    found: dict[str, str] = {}
    for raw, value in request.headers.raw:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
