"""``/api/sandboxes/{reference}/discord-token``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.sandbox.routing.discord.outbound.service import BotTokens

Reference = Annotated[str, Path(max_length=64, description="id or name", examples=["checkout-fix"])]
Writer = Annotated[Principal, requires("sandbox:write")]


class BotTokenOut(WireModel):
    """The token of a sandbox's bot."""

    sandbox: str
    name: str
    token: str = Field(description="opens 'valhalla ingress discord-api' alone: Discord itself refuses it")


def router(service: BotTokens) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["live-events"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/sandboxes/{reference}/discord-token")
    async def show(reference: Reference, response: Response, principal: Writer) -> BotTokenOut:
        """Show the token that the bot of a running sandbox uses instead of the real one."""
        response.headers["Cache-Control"] = "no-store"
        sandbox, token = await service.get(principal, reference)
        return BotTokenOut(sandbox=sandbox.id, name=sandbox.name, token=token)

    return routes
