"""The router of a registry: every path of it, from one ``Face``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec
from fastapi import APIRouter, Header, Path, Query, Response

from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps
from valhalla.kit.registry import Change
from valhalla.kit.registry_routes.desk import Desk, Writing, Written
from valhalla.kit.registry_routes.face import Face
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.reading import add_reading
from valhalla.kit.registry_routes.typed import typed
from valhalla.kit.registry_routes.wire import ChangesOut, RollbackIn, Wires, WriteQuery, change_document, wires

T = TypeVar("T", bound=msgspec.Struct)

Write = Literal["create", "bulk", "rollback", "rollback-one", "put", "patch", "delete"]
WRITES: Final[tuple[Write, ...]] = get_args(Write)
_Offer = tuple[str, Callable[..., Any], dict[str, Any]]

Key = Annotated[str, Path(max_length=512)]
How = Annotated[WriteQuery, Query()]
Reason = Annotated[str | None, Header(max_length=500, description="why; kept in history and ledger")]
Match = Annotated[str | None, Header(max_length=1000, description="the ETag of the version that was read")]
NoneMatch = Annotated[str | None, Header(max_length=1000, description="'*': only if there is none yet")]
_PREVIEW: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": ChangesOut, "description": "What would change (`dry_run`)"}
}


def registry_router(
    face: Face[T],
    db: Database,
    settle: Callable[[], Awaitable[None]],
    routes: APIRouter | None = None,
    *,
    writes: Collection[Write] = WRITES,
) -> APIRouter:
    """Return every route of a registry, or add them to ``routes``, whose own come first.

    ``settle`` brings this process's snapshot up to date after a write (``feed.refresh``). A registry whose past must
    not come back (revoked keys) leaves out some ``writes`` and has its own instead.
    """
    if routes is None:
        routes = APIRouter(prefix=face.prefix, tags=[face.tag], responses=PROBLEMS, route_class=StrictRoute)
    made = wires(face)
    desk = Desk(face, db, settle)
    key = "/{key:path}" if face.has_paths else "/{key}"
    offered = {**_of_many(face, desk, made), **_of_one(face, desk, made, key)}
    add_reading(routes, face, db, made, key)
    for name, (path, handler, options) in offered.items():
        if name in writes:
            if face.while_closed is not None:
                while_closed(face.while_closed)(handler)
            routes.add_api_route(path, handler, **options)
    return routes


def _of_many(face: Face[Any], desk: Desk[Any], made: Wires) -> dict[Write, _Offer]:
    """Return the writes whose paths hold no key."""
    writer = Annotated[Principal, requires(face.write)]

    async def create(body: Any, how: How, principal: Principal, x_reason: Reason = None) -> Response:
        key: str = getattr(body, face.key)
        model = face.parse(body.model_dump(exclude={face.key}, exclude_unset=True))
        written = await desk.create(key, model, _writing(principal, how, x_reason))
        return _one(face, written, how)

    async def bulk(body: Any, how: How, principal: Principal, x_reason: Reason = None) -> Response:
        return _many(face, await desk.bulk(body.operations, _writing(principal, how, x_reason)), how)

    async def rollback(body: RollbackIn, how: How, principal: Principal, x_reason: Reason = None) -> Response:
        return _many(face, await desk.rollback(body.to_revision, None, _writing(principal, how, x_reason)), how)

    noun, changes = face.noun, {"methods": ["POST"], "response_model": ChangesOut}
    creating = {"methods": ["POST"], "status_code": 201, "response_model": made.out, "responses": _PREVIEW}
    return {
        "create": (
            "",
            typed(create, body=made.new, principal=writer),
            {**creating, "summary": f"Create a {noun}"},
        ),
        "bulk": (
            "/bulk",
            typed(bulk, body=made.bulk, principal=writer),
            {**changes, "summary": f"Write many {face.plural}, all or none"},
        ),
        "rollback": (
            "/rollback",
            typed(rollback, principal=writer),
            {**changes, "summary": f"Bring all {face.plural} back to a revision"},
        ),
    }


def _of_one(face: Face[Any], desk: Desk[Any], made: Wires, path: str) -> dict[Write, _Offer]:
    """Return the writes of one record."""
    writer = Annotated[Principal, requires(face.write)]

    async def put(
        key: Key,
        body: Any,
        how: How,
        principal: Principal,
        if_match: Match = None,
        if_none_match: NoneMatch = None,
        x_reason: Reason = None,
    ) -> Response:
        model = face.parse(body.model_dump(exclude_unset=True))
        conditions = Conditions(if_match, if_none_match)
        return _one(face, await desk.put(key, model, conditions, _writing(principal, how, x_reason)), how)

    async def patch(
        key: Key, body: Any, how: How, principal: Principal, if_match: Match = None, x_reason: Reason = None
    ) -> Response:
        merge = body.model_dump(exclude_unset=True)
        written = await desk.patch(key, merge, Conditions(if_match), _writing(principal, how, x_reason))
        return _one(face, written, how)

    async def delete(
        key: Key, how: How, principal: Principal, if_match: Match = None, x_reason: Reason = None
    ) -> Response:
        change = await desk.delete(key, Conditions(if_match), _writing(principal, how, x_reason))
        return _many(face, [change], how) if how.dry_run else Response(status_code=204)

    async def rollback(key: Key, body: RollbackIn, how: How, principal: Principal, x_reason: Reason = None) -> Response:
        return _many(face, await desk.rollback(body.to_revision, key, _writing(principal, how, x_reason)), how)

    noun, new = face.noun, {201: {"model": made.out, "description": "It is new"}}
    # with `dry_run` what would change
    written: Any = made.out | ChangesOut
    gone = {"methods": ["DELETE"], "status_code": 204, "response_model": None, "responses": _PREVIEW}
    return {
        "rollback-one": (
            path + "/rollback",
            typed(rollback, principal=writer),
            {"methods": ["POST"], "response_model": ChangesOut, "summary": f"Bring one {noun} back to a revision"},
        ),
        "put": (
            path,
            typed(put, body=made.put, principal=writer),
            {
                "methods": ["PUT"],
                "response_model": written,
                "responses": new,
                "summary": f"Create or replace a {noun}",
            },
        ),
        "patch": (
            path,
            typed(patch, body=made.patch, principal=writer),
            {
                "methods": ["PATCH"],
                "response_model": written,
                "summary": f"Change members of a {noun} (JSON merge patch)",
            },
        ),
        "delete": (path, typed(delete, principal=writer), {**gone, "summary": f"Delete a {noun}"}),
    }


def _writing(principal: Principal, how: WriteQuery, header: str | None) -> Writing:
    return Writing(principal, how.reason or header or None, how.dry_run)


def _one(face: Face[Any], written: Written[Any], how: WriteQuery) -> Response:
    if how.dry_run:
        return _many(face, [written.change], how)
    headers = {"ETag": written.record.etag}
    if written.created:
        headers["Location"] = face.location(written.record.key)
    status = 201 if written.created else 200
    return Response(dumps(face.document(written.record)), status, headers, media_type="application/json")


def _many(face: Face[Any], changes: Sequence[Change], how: WriteQuery) -> Response:
    revision = max((change.revision for change in changes if change.changed), default=None)
    items = [change_document(face, change) for change in changes]
    document = {"dry_run": how.dry_run, "revision": revision, "items": items}
    return Response(dumps(document), media_type="application/json")
