"""``/api/sandboxes/{id}/snapshot`` and ``/api/templates``: the routes of templates and snapshots."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.sandbox.snapshots.service import SnapshotService
from valhalla.sandbox.templates import SnapshotInfo, Templates

Reader = Annotated[Principal, requires("sandbox:read")]
Writer = Annotated[Principal, requires("sandbox:write")]


class SnapshotIn(WireModel):
    """What the copy shall be called."""

    template: str = Field(max_length=63, examples=["shop-with-orders"])
    replace: bool = Field(False, description="replace your own snapshot of this name")


class SnapshotOut(WireModel):
    """A snapshot: a template that was a sandbox."""

    name: str
    owner: str
    sandbox: str = Field(description="the id of the sandbox that was copied")
    template: str = Field(description="the template that that sandbox was made from")
    isolation: Literal["schema", "database"]
    made_by: str
    made_at: datetime
    version: str
    tables: int
    rows: int
    size: int = Field(description="bytes of rows")

    @classmethod
    def of(cls, info: SnapshotInfo) -> SnapshotOut:
        """Return the model of a snapshot."""
        return cls(**{name: getattr(info, name) for name in cls.model_fields})


class TemplateOut(WireModel):
    """A template that a sandbox can be made from."""

    name: str
    kind: Literal["fixed", "snapshot"] = Field(description="'fixed' is built in or the operator's")
    snapshot: SnapshotOut | None


class TemplateList(WireModel):
    """Every template, by name."""

    items: list[TemplateOut]


def router(service: SnapshotService, templates: Templates) -> APIRouter:
    """Return the routes over the snapshot use cases."""
    routes = APIRouter(tags=["templates"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/api/sandboxes/{reference}/snapshot", status_code=201)
    async def take(
        reference: Annotated[str, Path(max_length=64, description="id or name", examples=["checkout-fix"])],
        body: SnapshotIn,
        principal: Writer,
    ) -> SnapshotOut:
        """Copy what a sandbox's Postgres slice holds into a template that others can start from."""
        return SnapshotOut.of(await service.take(principal, reference, body.template, replace=body.replace))

    @routes.get("/api/templates")
    async def list_templates(principal: Reader) -> TemplateList:
        """List what a sandbox can be made from."""
        fixed = await asyncio.to_thread(templates.fixed)
        items = [TemplateOut(name=name, kind="fixed", snapshot=None) for name in fixed]
        # an operator's template hides a snapshot of the same name
        items += [
            TemplateOut(name=info.name, kind="snapshot", snapshot=SnapshotOut.of(info))
            for info in await service.list()
            if info.name not in fixed
        ]
        return TemplateList(items=sorted(items, key=lambda item: item.name))

    @routes.delete("/api/templates/{name}", status_code=204)
    async def remove(name: Annotated[str, Path(max_length=63)], principal: Writer) -> None:
        """Remove a snapshot of yours; sandboxes that were made from it stay."""
        await service.remove(principal, name)

    return routes
