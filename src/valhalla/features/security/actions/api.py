"""``/system/security/actions``: ask, see, decide, comment, bring evidence."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Response

from valhalla.features.security.actions.contracts import APPROVE, READ, WRITE, Asked, Kind, Note
from valhalla.features.security.actions.service import ActionService, Evidence
from valhalla.features.security.actions.wire import (
    ActionOut,
    ActionPage,
    CommentIn,
    DecideIn,
    DecisionList,
    DecisionOut,
    EvidenceIn,
    NoteOut,
    NotePage,
    RequestIn,
    TypeList,
    TypeOut,
    WithdrawIn,
)
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps

PREFIX: Final = "/system/security/actions"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires(READ)]
Writer = Annotated[Principal, requires(WRITE)]
Approver = Annotated[Principal, requires(APPROVE)]
Id = Annotated[str, Path(max_length=64)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
After = Annotated[int, Query(ge=0, le=2**62, description="the id of the last one seen")]
Limit = Annotated[int, Query(ge=1, le=200)]


def router(service: Callable[[], ActionService]) -> APIRouter:
    """Return the routes; ``service`` raises while nothing is composed."""
    routes = APIRouter(prefix=PREFIX, tags=["security-actions"], responses=PROBLEMS, route_class=StrictRoute)
    _add_requests(routes, service)
    _add_decisions(routes, service)
    _add_notes(routes, service)
    return routes


def _add_requests(routes: APIRouter, service: Callable[[], ActionService]) -> None:
    @routes.get("")
    async def list_actions(
        principal: Reader,
        kind: Annotated[Kind, Query(description="what waits for whom")] = "open",
        type: Annotated[str | None, Query(max_length=100)] = None,  # noqa: A002 - the member's name on the wire
        requester: Annotated[str | None, Query(max_length=200)] = None,
        limit: Limit = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> ActionPage:
        """List actions: `open` wait for people, `approved` for a worker, `indeterminate` for somebody who finds out."""
        page = await service().desk.list(kind, name=type, requester=requester, limit=limit, cursor=cursor)
        return ActionPage(items=[_out(asked) for asked in page.items], next=page.next)

    @routes.get("/types")
    async def types(principal: Reader) -> TypeList:
        """List what can be asked for, with the JSON Schemas of the payloads."""
        return TypeList(
            items=[
                TypeOut(
                    type=one.name, summary=one.summary, effect=one.effect, scope=one.scope, payload=dict(one.schema)
                )
                for one in service().types()
            ]
        )

    @routes.post("", status_code=201, response_model=ActionOut)
    async def ask(body: RequestIn, principal: Writer, idempotency_key: Key = None) -> Response:
        """Ask for an action. It waits for who must approve, and a worker executes what was approved, once."""
        _, done = await service().request(principal, body.type, body.payload, reason=body.reason, key=idempotency_key)
        assert done.hold is not None
        document = _out(await service().desk.get(done.hold))
        return Response(
            dumps(document.model_dump()), 201, {"Location": f"{PREFIX}/{done.hold}"}, media_type="application/json"
        )

    @routes.get("/{action_id}")
    async def show(action_id: Id, principal: Reader) -> ActionOut:
        """Show one action: who asked for what and why, who decided, who is missing."""
        return _out(await service().desk.get(action_id))


def _add_decisions(routes: APIRouter, service: Callable[[], ActionService]) -> None:
    @routes.get("/{action_id}/approvals")
    async def approvals(action_id: Id, principal: Reader) -> DecisionList:
        """List who decided what, in order."""
        return DecisionList(items=_out(await service().desk.get(action_id)).decisions)

    @routes.post("/{action_id}/approve")
    @while_closed("write")
    async def approve(action_id: Id, body: DecideIn, principal: Approver) -> ActionOut:
        """Approve the stage that is open. Nobody approves the own request, nor twice with several keys."""
        return await _decided(action_id, body, principal, "approve")

    @routes.post("/{action_id}/deny")
    @while_closed("write")
    async def deny(action_id: Id, body: DecideIn, principal: Approver) -> ActionOut:
        """Deny: one person whom a stage that is not complete names is enough."""
        return await _decided(action_id, body, principal, "deny")

    @routes.post("/{action_id}/cancel")
    @while_closed("write")
    async def cancel(action_id: Id, body: WithdrawIn, principal: Writer) -> ActionOut:
        """Take back a request that was not executed: who asked, or who may approve."""
        return _out(await service().cancel(principal, action_id, reason=body.reason))

    async def _decided(
        action_id: str, body: DecideIn, principal: Principal, decision: Literal["approve", "deny"]
    ) -> ActionOut:
        return _out(
            await service().decide(principal, action_id, decision, reason=body.reason, fingerprint=body.fingerprint)
        )


def _add_notes(routes: APIRouter, service: Callable[[], ActionService]) -> None:
    @routes.get("/{action_id}/comments")
    async def comments(action_id: Id, principal: Reader, after: After = 0, limit: Limit = 50) -> NotePage:
        """List the comments, oldest first."""
        return _page(await service().notes(action_id, "comment", after=after, limit=limit), limit)

    @routes.post("/{action_id}/comments", status_code=201)
    async def comment(action_id: Id, body: CommentIn, principal: Writer) -> NoteOut:
        """Add a comment."""
        return _note(await service().comment(principal, action_id, body.text))

    @routes.get("/{action_id}/evidence")
    async def evidence(action_id: Id, principal: Reader, after: After = 0, limit: Limit = 50) -> NotePage:
        """List the evidence, oldest first, without contents."""
        return _page(await service().notes(action_id, "evidence", after=after, limit=limit), limit)

    @routes.post("/{action_id}/evidence", status_code=201)
    async def bring(action_id: Id, body: EvidenceIn, principal: Writer) -> NoteOut:
        """Add a piece of evidence: up to ten of 256 KiB."""
        content = base64.b64decode(body.content)
        return _note(
            await service().bring(principal, action_id, Evidence(body.name, body.media_type, content, body.text))
        )

    @routes.get("/{action_id}/evidence/{note_id}", response_class=Response)
    async def fetch(action_id: Id, note_id: Annotated[int, Path(ge=1, le=2**62)], principal: Reader) -> Response:
        """Download a piece of evidence. It is what somebody sent: never shown in place."""
        name, media_type, content = await service().evidence(action_id, note_id)
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        }
        return Response(content, headers=headers, media_type=media_type)


def _out(asked: Asked) -> ActionOut:
    return ActionOut.model_validate(
        asdict(asked) | {"decisions": [DecisionOut.model_validate(asdict(one)) for one in asked.decisions]}
    )


def _note(note: Note) -> NoteOut:
    members = note._asdict()
    del members["kind"]
    return NoteOut.model_validate(members)


def _page(notes: list[Note], limit: int) -> NotePage:
    return NotePage(items=[_note(note) for note in notes], next=str(notes[-1].id) if len(notes) == limit else None)
