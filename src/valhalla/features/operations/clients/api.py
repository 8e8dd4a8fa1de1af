"""``/system/api-clients``: issue, list and revoke keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, Field

from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.service import ClientService
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, WireModel, requires


class ClientIn(WireModel):
    """A client to make."""

    owner: str = Field(max_length=63, examples=["team-a"])
    scopes: list[str] = Field(min_length=1, max_length=20, examples=[["sandbox:write"]])
    name: str | None = Field(None, min_length=1, max_length=100)
    expires_at: AwareDatetime | None = None


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


def router(service: ClientService) -> APIRouter:
    """Return the routes over ``service``."""
    routes = APIRouter(prefix="/system/api-clients", tags=["clients"], responses=PROBLEMS)
    admin = requires("admin")

    @routes.post("", status_code=201)
    async def issue(body: ClientIn, response: Response, principal: Annotated[Principal, admin]) -> IssuedOut:
        """Make a client and show its key once."""
        issued = await service.issue(
            principal, owner=body.owner, scopes=body.scopes, name=body.name, expires_at=body.expires_at
        )
        response.headers["Location"] = f"/system/api-clients/{issued.client.id}"
        return IssuedOut.model_validate({**_out(issued.client), "key": issued.key})

    @routes.get("")
    async def list_clients(
        principal: Annotated[Principal, admin],
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> ClientPage:
        """List the clients."""
        page = await service.list(principal, limit=limit, cursor=cursor)
        return ClientPage(
            items=[ClientOut.model_validate(_out(record.value)) for record in page.items], next=page.next
        )

    @routes.delete("/{client_id}", status_code=204)
    async def revoke(
        client_id: Annotated[str, Path(max_length=64)], principal: Annotated[Principal, admin]
    ) -> None:
        """Revoke a client's key at once, in every process."""
        await service.revoke(principal, client_id)

    return routes
