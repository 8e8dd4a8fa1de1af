"""``/system/admin``: the overview, the actions, and what was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response

from valhalla.features.operations.admin.contracts import READ, WRITE, AdminAction
from valhalla.features.operations.admin.handouts import Handouts
from valhalla.features.operations.admin.overview import Overview
from valhalla.features.operations.admin.service import AdminService
from valhalla.features.operations.admin.wire import (
    ActionList,
    ActionOut,
    DoneOut,
    HandoutList,
    HandoutOut,
    HandoutTaken,
    OrderIn,
    OverviewOut,
)
from valhalla.kernel.principal import Principal
from valhalla.kit.audit import LedgerEntryOut, LedgerPage
from valhalla.kit.http import PROBLEMS, StrictRoute, WhileClosed, requires, while_closed
from valhalla.kit.json import dumps

PREFIX = "/system/admin"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires(READ)]
Writer = Annotated[Principal, requires(WRITE)]
Asker = Annotated[Principal, requires("keys:write")]
Name = Annotated[str, Path(max_length=100)]
Id = Annotated[str, Path(max_length=64)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
_HELD: Final[dict[int | str, dict[str, Any]]] = {202: {"model": DoneOut, "description": "It waits for approval"}}


def router(service: AdminService, overview: Callable[[], Overview], handouts: Handouts) -> APIRouter:
    """Return the routes; ``overview`` raises while nothing is composed."""
    routes = APIRouter(prefix=PREFIX, tags=["admin"], responses=PROBLEMS, route_class=StrictRoute)

    def goes_on(path: Mapping[str, str]) -> WhileClosed | None:
        action = service.find(path["name"])
        return "write" if action is not None and action.while_closed else None

    @routes.get("")
    async def look(principal: Reader) -> OverviewOut:
        """Show mode, health, alerts, holds, queues, newest changes, keys that end soon, and windows."""
        return OverviewOut.model_validate(await overview().look())

    @routes.get("/actions")
    async def actions(principal: Reader) -> ActionList:
        """List the admin actions with the JSON Schemas of their arguments."""
        return ActionList(items=[_out(action) for action in service.actions()])

    @routes.get("/actions/{name}")
    async def action(name: Name, principal: Reader) -> ActionOut:
        """Show one admin action."""
        return _out(service.get(name))

    @routes.post("/actions/{name}", response_model=DoneOut, responses=_HELD)
    @while_closed(goes_on)
    async def execute(
        name: Name,
        body: OrderIn,
        principal: Writer,
        dry_run: Annotated[bool, Query(description="say what would be done; nothing is written")] = False,
        idempotency_key: Key = None,
    ) -> Response:
        """Execute an admin action through the guard: once per `Idempotency-Key`, held where somebody must approve."""
        operation, done = await service.execute(
            principal, name, body.arguments, reason=body.reason, key=idempotency_key, dry_run=dry_run
        )
        result = None if done.value is None else dict(done.value)
        document = DoneOut(operation=operation, action=name, status=done.status, result=result, hold=done.hold)
        headers = {"Location": f"/system/holds/{done.hold}"} if done.hold is not None else {}
        status = 202 if done.status == "held" else 200
        return Response(dumps(document.model_dump()), status, headers, media_type="application/json")

    @routes.get("/operations")
    async def operations(
        principal: Reader,
        actor: Annotated[str | None, Query(max_length=100)] = None,
        operation: Annotated[str | None, Query(max_length=64, description="one operation's id")] = None,
        step: Annotated[
            str | None, Query(pattern="^(requested|succeeded|replayed|held|refused|failed)$", max_length=20)
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> LedgerPage:
        """List what was asked for and what it came to, newest first, from the ledger."""
        page = await service.operations(
            actor=actor,
            subject=operation,
            action=None if step is None else f"admin.{step}",
            limit=limit,
            cursor=cursor,
        )
        return LedgerPage(items=LedgerEntryOut.each(page.items), next=page.next)

    _add_handouts(routes, handouts)
    return routes


def _add_handouts(routes: APIRouter, handouts: Handouts) -> None:
    @routes.get("/handouts")
    async def waiting(principal: Asker) -> HandoutList:
        """List the secrets that wait for who asks, such as keys that were rotated; not the secrets themselves."""
        return HandoutList(items=[HandoutOut(**row) for row in await handouts.waiting(principal)])

    @routes.post("/handouts/{handout_id}", response_model=HandoutTaken)
    @while_closed("write")
    async def take(handout_id: Id, principal: Asker) -> Response:
        """Hand out one secret, once, to who asked for the action that made it."""
        row, secret = await handouts.take(principal, handout_id)
        members = {name: row[name] for name in HandoutOut.model_fields}
        document = HandoutTaken(**members, secret=secret)
        return Response(
            dumps(document.model_dump()), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )


def _out(action: AdminAction) -> ActionOut:
    return ActionOut(
        name=action.name,
        summary=action.summary,
        effect=action.effect,
        scope=action.scope,
        approval=action.approval,
        preview=action.preview is not None,
        arguments=dict(action.schema),
    )
