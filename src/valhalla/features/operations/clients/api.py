"""``/system/api-clients``: issue, list, change, rotate and revoke keys."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response

from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.face import PREFIX
from valhalla.features.operations.clients.service import ClientService
from valhalla.features.operations.clients.wire import (
    ClientIn,
    ClientOut,
    IssuedOut,
    RevokeQuery,
    RotateIn,
    SwitchQuery,
)
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps
from valhalla.kit.registry import Record
from valhalla.kit.registry_routes import Face, registry_router
from valhalla.kit.registry_routes.wire import ChangesOut, WriteQuery, change_document

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Writer = Annotated[Principal, requires("keys:write")]
Id = Annotated[str, Path(max_length=64)]
_PREVIEW: Final[dict[int | str, dict[str, Any]]] = {200: {"model": ChangesOut, "description": "What would change"}}


def router(
    service: ClientService, face: Face[ApiClient], db: Database, settle: Callable[[], Awaitable[None]]
) -> APIRouter:
    """Return the routes over ``service``; ``settle`` brings this process's snapshot up to date after a change."""
    routes = APIRouter(prefix=PREFIX, tags=["clients"], responses=PROBLEMS, route_class=StrictRoute)

    async def settled() -> None:
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await settle()

    def shown(record: Record[ApiClient], status: int = 200, **more: Any) -> Response:
        # no cache on the way may keep a key
        headers = {"ETag": record.etag, "Cache-Control": "no-store"}
        if status == 201:
            headers["Location"] = face.location(record.key)
        return Response(dumps({**face.document(record), **more}), status, headers, media_type="application/json")

    @routes.post("", status_code=201, response_model=IssuedOut)
    async def issue(body: ClientIn, how: Annotated[WriteQuery, Query()], principal: Writer) -> Response:
        """Make a client and show its key once; it is valid when this answers."""
        issued = await service.issue(principal, **dict(body), reason=how.reason, dry_run=how.dry_run)
        client = issued.client
        record = Record(client.id, client, 0, client.created_at, client.created_at)
        if how.dry_run:
            return shown(record, 200, key=None)
        await settled()
        return shown(await db.read(service.registry.find, client.id) or record, 201, key=issued.key)

    @routes.post("/{client_id}/rotate", response_model=IssuedOut)
    async def rotate(client_id: Id, body: RotateIn, principal: Writer) -> Response:
        """Give a client a new key, shown once. The old one is taken for the grace, then in no process any more."""
        issued, record = await service.rotate(principal, client_id, grace=timedelta(seconds=body.grace_seconds))
        await settled()
        return shown(record, key=issued.key)

    @routes.post("/{client_id}/activate", response_model=ClientOut)
    async def activate(client_id: Id, how: Annotated[SwitchQuery, Query()], principal: Writer) -> Response:
        """Take a client's keys again."""
        record = await service.switch(principal, client_id, "activate", reason=how.reason)
        await settled()
        return shown(record)

    @routes.post("/{client_id}/deactivate", response_model=ClientOut)
    @while_closed("write")
    async def deactivate(client_id: Id, how: Annotated[SwitchQuery, Query()], principal: Writer) -> Response:
        """Take a client's keys no longer, until it is activated again."""
        record = await service.switch(principal, client_id, "deactivate", confirm=how.confirm, reason=how.reason)
        await settled()
        return shown(record)

    @routes.delete("/{client_id}", status_code=204, response_model=None, responses=_PREVIEW)
    @while_closed("write")
    async def revoke(client_id: Id, how: Annotated[RevokeQuery, Query()], principal: Writer) -> Response:
        """Revoke a client's keys: in this process when this answers, in every other one within milliseconds."""
        change = await service.revoke(principal, client_id, confirm=how.confirm, reason=how.reason, dry_run=how.dry_run)
        if how.dry_run:
            document = {"dry_run": True, "revision": change.revision, "items": [change_document(face, change)]}
            return Response(dumps(document), media_type="application/json")
        await settled()
        return Response(status_code=204)

    return registry_router(face, db, settle, routes, writes=["patch"])
