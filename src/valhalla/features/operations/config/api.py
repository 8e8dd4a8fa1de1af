"""``/system/config``: entries, what holds in an environment, documents in and out, and following."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from valhalla.features.operations.config import documents, rules
from valhalla.features.operations.config.contracts import Entry
from valhalla.features.operations.config.face import PREFIX, entry_face
from valhalla.features.operations.config.values import Values
from valhalla.features.operations.config.wire import ExportQuery, ImportQuery, ValuesOut
from valhalla.kernel.principal import Principal
from valhalla.kit.changes.followers import MAX_WAIT, Followers
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.json import dumps
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import Face, registry_router
from valhalla.kit.registry_routes.desk import Desk, Writing
from valhalla.kit.registry_routes.wire import ChangesOut, change_document

Reader = Annotated[Principal, requires("config:read")]
Writer = Annotated[Principal, requires("config:write")]
Environment = Annotated[str | None, Query(max_length=64)]
Watch = Annotated[str | None, Query(max_length=64, description="the revision that is known: answer when it is another")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="seconds to wait for it")]
LastEvent = Annotated[str | None, Header(max_length=64)]
Reason = Annotated[str | None, Header(max_length=500, description="why; kept in history and ledger")]


def router(
    registry: Registry[Entry],
    db: Database,
    settle: Callable[[], Awaitable[None]],
    values: Values,
    followers: Followers,
    environment: str,
) -> APIRouter:
    """Return the routes; ``environment`` is the one of readers that name none."""
    routes = APIRouter(prefix=PREFIX, tags=["config"], responses=PROBLEMS, route_class=StrictRoute)
    face = entry_face(registry, followers)

    @routes.get("/values", response_model=ValuesOut, responses={304: {"description": "Nothing changed in time"}})
    async def read(
        principal: Reader,
        environment_named: Annotated[Environment, Query(alias="environment")] = None,
        watch: Watch = None,
        wait: Wait = 30.0,
        delta: Annotated[bool, Query(description="with 'watch': only what differs, if that is known here")] = False,
    ) -> Response:
        """Give every value of an environment at once; with `watch` when there is another revision."""
        if watch is not None and not await followers.wait(watch, wait):
            return Response(status_code=304)
        named = environment_named
        chosen = named if named is not None and re.fullmatch(rules.ENVIRONMENT, named) else environment
        return Response(values.document(chosen, watch if delta else None), media_type="application/json")

    @routes.get("/stream", include_in_schema=False)
    async def stream(principal: Reader, last_event_id: LastEvent = None) -> Response:
        """Say when configuration has changed, as server-sent events."""
        events = followers.stream(last_event_id, lambda: ("change", dumps({"revision": followers.revision})))
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    _add_documents(routes, face, db, settle)
    return registry_router(face, db, settle, routes)


def _add_documents(routes: APIRouter, face: Face[Entry], db: Database, settle: Callable[[], Awaitable[None]]) -> None:
    desk = Desk(face, db, settle)

    written: dict[int | str, dict[str, Any]] = {
        200: {"description": "Every entry by key", "content": {media: {} for media in documents.MEDIA.values()}}
    }

    @routes.get("/export", response_model=None, responses=written)
    async def export(query: Annotated[ExportQuery, Query()], principal: Reader) -> Response:
        """Write every entry as JSON, TOML or YAML."""
        _, records = await db.read(face.registry.load)
        entries = {record.key: _shortest(face.members(record.value)) for record in sorted(records, key=_key)}
        return Response(documents.write(entries, query.form), media_type=documents.MEDIA[query.form])

    @routes.post("/import", response_model=ChangesOut)
    async def import_(
        request: Request, query: Annotated[ImportQuery, Query()], principal: Writer, x_reason: Reason = None
    ) -> Response:
        """Create or replace the entries of a document, all or none; others stay as they are."""
        found = documents.read(await request.body(), query.form)
        operations = [
            SimpleNamespace(op="put", key=key, value=face.parse(members), if_version=None)
            for key, members in found.items()
        ]
        writing = Writing(principal, query.reason or x_reason, query.dry_run)
        changes = await desk.bulk(operations, writing) if operations else []
        revision = max((change.revision for change in changes if change.changed), default=None)
        items = [change_document(face, change) for change in changes]
        document = {"dry_run": query.dry_run, "revision": revision, "items": items}
        return Response(dumps(document), media_type="application/json")


def _key(record: Any) -> str:
    return record.key


def _shortest(members: dict[str, Any]) -> dict[str, Any]:
    """Return what is not as it would be anyway; a value always."""
    usual = msgspec.to_builtins(Entry(key=""))
    return {name: value for name, value in members.items() if name == "value" or value != usual[name]}
