"""``/system/snapshot``: what an application's gate decides by, at once and whenever it changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from valhalla.features.operations.connected.giving import Giver
from valhalla.kernel.principal import Principal
from valhalla.kit.changes.followers import MAX_WAIT, Followers
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Machine = Annotated[Principal, requires("snapshot:read")]
Watch = Annotated[
    str | None, Query(max_length=200, description="the revision that is known: answer when there is another")
]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="seconds to wait for it")]
IfNoneMatch = Annotated[str | None, Header(max_length=210, description="the revision that is known: answer at once")]


class RowOut(WireModel):
    """One record."""

    key: str
    updated_at: datetime
    value: dict[str, Any]


class PartOut(WireModel):
    """One registry, whole."""

    revision: int
    records: list[RowOut]


class SnapshotOut(WireModel):
    """The registries that are newer than the revision that was named, all of them for who names none."""

    revision: str
    environment: str
    notice: float
    registries: dict[str, PartOut]


def router(giver: Giver, followers: Followers) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["connected"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get(
        "/system/snapshot",
        response_model=SnapshotOut,
        responses={304: {"description": "Nothing changed in time"}},
    )
    async def snapshot(
        principal: Machine, watch: Watch = None, wait: Wait = 30.0, if_none_match: IfNoneMatch = None
    ) -> Response:
        """Give keys (hashed), limits and maintenance; with `watch` what changed, when something has."""
        known = watch if watch is not None else _revision(if_none_match)
        if known is not None and not await followers.wait(known, wait if watch is not None else 0.0):
            return Response(status_code=304, headers={"ETag": f'"{followers.revision}"'})
        revision = followers.revision
        headers = {"ETag": f'"{revision}"', "Cache-Control": "no-store"}
        # to an If-None-Match the answer is the whole
        content = giver.document(revision, watch)
        return Response(content, media_type="application/json", headers=headers)

    return routes


def _revision(header: str | None) -> str | None:
    return None if header is None else header.strip().removeprefix("W/").strip('"')
