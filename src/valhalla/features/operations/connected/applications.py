"""``/system/applications``: who follows this control plane, and which of its rules are not enforced there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from valhalla.features.operations.connected import store
from valhalla.features.operations.connected.enforcing import FOLLOWS
from valhalla.features.operations.connected.store import State
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires, while_closed

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Machine = Annotated[Principal, requires("snapshot:read")]
Reader = Annotated[Principal, requires("health:read")]
# PostgreSQL stores no NUL
Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]


class Lack(WireModel):
    """Rules that are not enforced in an application: what they need (`country`, `asn`, `cel`), and why not."""

    what: Name
    rules: int = Field(ge=1, le=2**62)
    why: Text


class ReportIn(WireModel):
    """What one process of an application says of itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "instance": "5f1c0d2e9a7b4c38",
                    "host": "web-1",
                    "release": "1.0.0",
                    "revision": "1.1.1.1",
                    "lacks": [],
                }
            ]
        },
    )
    instance: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$")
    name: Name | None = None
    host: Name
    release: Name
    revision: Text | None = None
    blocklist: int | None = Field(None, ge=0, le=2**62)
    lacks: list[Lack] = Field(default=[], max_length=20)


class ApplicationOut(WireModel):
    """One process of an application; `silent`: it has not been heard of for 90 seconds."""

    client_id: str
    instance: str
    name: str
    host: str
    state: State
    release: str
    revision: str | None
    blocklist: int | None
    lacks: list[Lack]
    first_seen_at: datetime
    seen_at: datetime


class ApplicationPage(WireModel):
    """One page of applications, by name."""

    items: list[ApplicationOut]
    next: str | None


def router(db: Database, now: Callable[[], datetime]) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["connected"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/system/snapshot/applications", status_code=204, response_class=Response)
    @while_closed("write")
    async def report(body: ReportIn, principal: Machine) -> Response:
        """Say how well a process of an application follows, and which rules it cannot enforce."""
        row: dict[str, Any] = body.model_dump() | {"name": body.name or principal.owner}
        row |= {"client_id": principal.id, "seen_at": now()}
        await db.run(store.note, row)
        return Response(status_code=204)

    @routes.get("/system/applications")
    async def applications(
        principal: Reader,
        state: Annotated[State | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=2000)] = None,
    ) -> ApplicationPage:
        """List the processes of applications that followed within a day, by name, and what each cannot enforce."""
        alive = now() - FOLLOWS
        page = await db.read(store.page, alive, state=state, limit=limit, cursor=cursor)
        items = [
            ApplicationOut(
                **row, state="silent" if row["seen_at"] < alive else "degraded" if row["lacks"] else "following"
            )
            for row in page.items
        ]
        return ApplicationPage(items=items, next=page.next)

    return routes
