"""The routes: CrowdSec's under ``/v1``, and what operators see of bouncers and agents."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request, Response

from valhalla.features.security.blocklist import Keeper
from valhalla.features.security.blocklist.rules import number_of
from valhalla.features.security.crowdsec import store
from valhalla.features.security.crowdsec.access import Access
from valhalla.features.security.crowdsec.agents import Agents
from valhalla.features.security.crowdsec.agents_api import add_agents, add_login
from valhalla.features.security.crowdsec.cursors import Cursors
from valhalla.features.security.crowdsec.decisions_api import add_decisions
from valhalla.features.security.crowdsec.errors import CannotFilter, NoSuchThing
from valhalla.features.security.crowdsec.lapi import REFUSALS, LapiRoute, is_head, json, open_query, writes
from valhalla.features.security.crowdsec.pulling import Pulls
from valhalla.features.security.crowdsec.wire import AgentOut, AgentsOut, BouncerOut, BouncersOut
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

Reader = Annotated[Principal, requires("blocklist:read")]
Writer = Annotated[Principal, writes()]
NAME: Final = "valhalla"
_MOST: Final = 10_000
_TARGETS: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": {"targets": ["203.0.113.7"]}}},
    }
}


def lapi_router(
    db: Database,
    keeper: Keeper,
    access: Access,
    reading: Pulls,
    cursors: Cursors,
    agents: Agents,
    now: Callable[[], datetime],
    ban: timedelta,
) -> APIRouter:
    """Return the routes of CrowdSec's API."""
    routes = APIRouter(prefix="/v1", tags=["crowdsec"], responses={**PROBLEMS, **REFUSALS}, route_class=LapiRoute)
    settle = _settling(keeper.refresh)
    add_decisions(routes, db, reading, cursors, agents, settle, now)
    add_login(routes, db, access, now)
    add_agents(routes, db, access, agents, settle, now, ban)
    _add_allowlists(routes, db, keeper, now)
    return routes


def operator_router(db: Database, keeper: Keeper) -> APIRouter:
    """Return the routes for operators."""
    routes = APIRouter(
        prefix="/system/security/crowdsec", tags=["crowdsec"], responses=PROBLEMS, route_class=StrictRoute
    )

    @routes.get("/bouncers")
    async def bouncers(principal: Reader) -> BouncersOut:
        """List who pulls decisions, and how far behind each is."""
        items: list[BouncerOut] = []
        for row in await db.read(store.list_bouncers):
            cursor = row["cursor"]
            behind = None if cursor is None else max(0, keeper.revision - cursor)
            members = {name: row[name] for name in BouncerOut.model_fields if name != "behind"}
            items.append(BouncerOut(**members, behind=behind))
        return BouncersOut(items=items)

    @routes.get("/agents")
    async def agents(principal: Reader) -> AgentsOut:
        """List who reports alerts."""
        rows = await db.read(store.list_watchers)
        return AgentsOut(items=[AgentOut(**{name: row[name] for name in AgentOut.model_fields}) for row in rows])

    return routes


def _add_allowlists(routes: APIRouter, db: Database, keeper: Keeper, now: Callable[[], datetime]) -> None:
    """Add what is allowed, as one list."""

    def allows(target: str) -> str | None:
        address, _, length = target.partition("/")
        if number_of(address) is None or (length and not length.isdecimal()):
            raise CannotFilter(f"invalid address {target[:64]!a}")
        index, at = keeper.index.allowed, now().timestamp()
        try:
            found = index.keys_around(target, at)
        except ValueError as error:
            raise CannotFilter(f"invalid address {target[:64]!a}") from error
        return found[0].partition(":")[2] if found else None

    async def document(content: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"name": NAME, "description": "what the blocklist allows", "console_managed": False}
        rows = await db.read(store.allowed, _MOST)
        times = [row["created_at"] for row in rows] or [now()]
        found |= {"allowlist_id": NAME, "created_at": min(times), "updated_at": max(times)}
        found["items"] = [
            {
                "value": row["value"],
                "description": row["reason"] or "",
                "created_at": row["created_at"],
                "expiration": row["expires_at"],
            }
            for row in rows
            if content
        ]
        return found

    @routes.get("/allowlists", response_model=None)
    @open_query
    async def lists(request: Request, principal: Writer) -> Response:
        """List what is allowed; with `with_content=true` with all of it."""
        return json([await document(request.query_params.get("with_content") == "true")])

    @routes.post("/allowlists/check", response_model=None, openapi_extra=_TARGETS)
    @open_query
    async def check_many(request: Request, principal: Writer) -> Response:
        """Say which of some addresses and networks are allowed."""
        try:
            body = msgspec.json.decode(await request.body(), type=dict[str, list[str]])
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
            raise CannotFilter("the body is {'targets': [...]}") from error
        found = [
            {"target": target, "allowlists": [f"{hit} from {NAME}"]}
            for target in body.get("targets", [])[:_MOST]
            if (hit := allows(target)) is not None
        ]
        return json({"results": found})

    @routes.get("/allowlists/check/{target:path}", response_model=None)
    @open_query
    async def check(target: Annotated[str, Path(max_length=64)], request: Request, principal: Writer) -> Response:
        """Say whether an address or network is allowed."""
        hit = allows(target)
        if is_head(request):
            return Response(status_code=204 if hit is None else 200)
        return json({"allowlisted": hit is not None, **({} if hit is None else {"reason": f"{hit} from {NAME}"})})

    @routes.get("/allowlists/{name}", response_model=None)
    @open_query
    async def one(name: Annotated[str, Path(max_length=64)], request: Request, principal: Writer) -> Response:
        """Return the one list that there is."""
        if name != NAME:
            raise NoSuchThing("allowlist not found")
        return json(await document(request.query_params.get("with_content") == "true"))


def _settling(refresh: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def settle() -> None:
        # what is committed stays, and the keeper catches up by itself
        with contextlib.suppress(Unavailable):
            await refresh()

    return settle
