"""``/api/sandboxes/{reference}/upstream``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.sandbox.routing.http.upstreams.contracts import Upstream
from valhalla.sandbox.routing.http.upstreams.service import Upstreams

Reference = Annotated[str, Path(max_length=64, description="id or name", examples=["checkout-fix"])]
Reader = Annotated[Principal, requires("sandbox:read")]
Writer = Annotated[Principal, requires("sandbox:write")]


class UpstreamIn(WireModel):
    """Where a sandbox's requests go."""

    url: str = Field(max_length=300, examples=["http://127.0.0.1:3000"])
    own_host: bool = Field(False, description="ask it under the name in its URL; else under the one the caller used")


class UpstreamOut(WireModel):
    """Where a sandbox's requests go."""

    sandbox: str
    name: str
    url: str
    own_host: bool
    key: str | None = Field(description="the routing key: whoever sends it is sent into the sandbox. Null for readers")

    @classmethod
    def of(cls, upstream: Upstream, key: str | None) -> UpstreamOut:
        """Return the model."""
        return cls(sandbox=upstream.sandbox, name=upstream.name, url=upstream.url, own_host=upstream.own_host, key=key)


def router(service: Upstreams) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["live-events"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.put("/sandboxes/{reference}/upstream")
    async def put(reference: Reference, body: UpstreamIn, response: Response, principal: Writer) -> UpstreamOut:
        """Say where the requests of a sandbox go that come by the proxy."""
        response.headers["Cache-Control"] = "no-store"
        return UpstreamOut.of(*await service.put(principal, reference, body.url, own_host=body.own_host))

    @routes.get("/sandboxes/{reference}/upstream")
    async def show(reference: Reference, response: Response, principal: Reader) -> UpstreamOut:
        """Show where the requests of a sandbox go, and its routing key to who may change that."""
        response.headers["Cache-Control"] = "no-store"
        return UpstreamOut.of(*await service.get(principal, reference))

    @routes.delete("/sandboxes/{reference}/upstream", status_code=204)
    async def drop(reference: Reference, principal: Writer) -> None:
        """Forget where the requests of a sandbox go; what it has claimed is answered with 502 then."""
        await service.drop(principal, reference)

    return routes
