"""``/system/api-clients``: issue, list and revoke keys."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, Field, field_validator

from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.service import ClientService
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Admin = Annotated[Principal, requires("admin")]


class ClientIn(WireModel):
    """A client to make."""

    owner: str = Field(max_length=63, examples=["team-a"])
    scopes: list[Annotated[str, Field(max_length=50)]] = Field(
        min_length=1, max_length=20, examples=[["sandbox:write"]], description="what the key allows"
    )
    name: str | None = Field(None, min_length=1, max_length=100, examples=["team-a CI"])
    expires_at: AwareDatetime | None = Field(None, description="never when absent", examples=["2027-01-01T00:00:00Z"])

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("a name is printable text on one line")
        return value


class ClientOut(WireModel):
    """A client without its key."""

    id: str
    name: str
    owner: str
    scopes: list[str]
    prefix: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None


class IssuedOut(ClientOut):
    """A fresh client; ``key`` is shown this once."""

    key: str


class ClientPage(WireModel):
    """One page of clients."""

    items: list[ClientOut]
    next: str | None


def _out(client: ApiClient) -> dict[str, object]:
    return {
        "id": client.id,
        "name": client.name,
        "owner": client.owner,
        "scopes": list(client.scopes),
        "prefix": client.prefix,
        "created_by": client.created_by,
        "created_at": client.created_at,
        "expires_at": client.expires_at,
    }


def router(service: ClientService, settle: Callable[[], Awaitable[None]]) -> APIRouter:
    """Return the routes over ``service``; ``settle`` brings this process's snapshot up to date after a change."""
    routes = APIRouter(prefix="/system/api-clients", tags=["clients"], responses=PROBLEMS, route_class=StrictRoute)

    async def settled() -> None:
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await settle()

    @routes.post("", status_code=201)
    async def issue(body: ClientIn, response: Response, principal: Admin) -> IssuedOut:
        """Make a client and show its key once; it is valid when this answers."""
        issued = await service.issue(
            principal, owner=body.owner, scopes=body.scopes, name=body.name, expires_at=body.expires_at
        )
        await settled()
        response.headers["Cache-Control"] = "no-store"
        return IssuedOut.model_validate({**_out(issued.client), "key": issued.key})

    @routes.get("")
    async def list_clients(
        principal: Admin,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> ClientPage:
        """List the clients."""
        page = await service.list(principal, limit=limit, cursor=cursor)
        return ClientPage(items=[ClientOut.model_validate(_out(record.value)) for record in page.items], next=page.next)

    @routes.delete("/{client_id}", status_code=204)
    async def revoke(client_id: Annotated[str, Path(max_length=64)], principal: Admin) -> None:
        """Revoke a client's key: in this process when this answers, in every other one within milliseconds."""
        await service.revoke(principal, client_id)
        await settled()

    return routes
