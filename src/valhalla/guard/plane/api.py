"""``/system/holds``: what waits for people, and their decisions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from valhalla.guard.contracts import Record
from valhalla.guard.plane.comparing import differences
from valhalla.guard.plane.service import HoldService, Kind, Outcome, missing
from valhalla.guard.plane.store import Proposal
from valhalla.guard.planning import PLAN
from valhalla.guard.quorum import spell
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires, while_closed

Reader = Annotated[Principal, requires("holds:read")]
Approver = Annotated[Principal, requires("holds:approve")]
Id = Annotated[str, Path(max_length=64)]
Reason = Annotated[str | None, Field(max_length=1000)]


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(**WireModel.model_config | {"json_schema_extra": {"examples": [members]}})


class DecisionIn(WireModel):
    """A decision. With ``fingerprint`` it holds only for the arguments that the person saw."""

    model_config = _example(reason="the customer called")

    reason: Reason = None
    fingerprint: str | None = Field(None, max_length=64, pattern=r"^[0-9a-fA-F]*$")


class CancelIn(WireModel):
    """Why a hold is taken back."""

    model_config = _example(reason="ordered twice")

    reason: Reason = None


class SettleIn(WireModel):
    """What a person found out about an action whose end nobody knew."""

    outcome: Outcome = Field(examples=["not_done"])
    evidence: str = Field(
        min_length=1, max_length=2000, examples=["the provider's statement of 3 May has no such charge"]
    )


class ApprovalOut(WireModel):
    """One person's decision."""

    step: int
    by: str
    decision: str
    at: datetime
    reason: str | None


class StepOut(WireModel):
    """One action of a plan, below the one before it that is less deep."""

    depth: int
    action: str
    arguments: Any
    effect: str
    approval: str | None
    reason: str | None


class HoldOut(WireModel):
    """A guarded action that waited, or waits, for people; ``arguments`` are redacted."""

    id: str
    action: str
    effect: str
    state: str
    key: str | None
    requested_by: str
    reason: str | None
    evidence: str | None
    quorum: str | None
    missing: str | None
    approvals: list[ApprovalOut]
    arguments: Any
    plan: list[StepOut] | None = Field(description="of a plan that is held as a whole: what it would do, as a tree")
    parent: str | None = Field(description="the action within which it was asked for")
    fingerprint: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    correlation_id: str | None


class PreviousOut(WireModel):
    """What was asked for before."""

    id: str
    state: str
    requested_by: str
    created_at: datetime
    arguments: Any


class ReviewOut(WireModel):
    """An action beside the last one of its name that was proposed before it."""

    previous: PreviousOut | None = Field(description="null: there is none among the newest 2,000 actions before it")
    differences: dict[str, dict[str, Any]] = Field(description="arguments that differ: {path: {from, to}}")


class HoldPage(WireModel):
    """One page of holds, oldest first."""

    items: list[HoldOut]
    next: str | None


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _review(record: Record, previous: Proposal | None) -> ReviewOut:
    if previous is None:
        return ReviewOut(previous=None, differences={})
    before, after = _arguments(previous.summary), _arguments(record.summary)
    found = PreviousOut(
        id=previous.id,
        state=previous.state,
        requested_by=previous.principal,
        created_at=_at(previous.created_at),
        arguments=before,
    )
    return ReviewOut(previous=found, differences=differences(before, after))


def _arguments(summary: str | None) -> Any:
    return None if summary is None else json.loads(summary)


def _plan(record: Record) -> list[StepOut] | None:
    if record.name != PLAN:
        return None
    shown: dict[str, list[Any]] = _arguments(record.summary)
    return [StepOut.model_validate(step) for step in shown.get("plan", ())]


def _out(record: Record) -> HoldOut:
    return HoldOut(
        id=record.id,
        action=record.name,
        effect=record.effect,
        state=record.state,
        key=record.key,
        requested_by=record.principal,
        reason=record.reason,
        evidence=record.evidence,
        quorum=spell(record.quorum) if record.quorum else None,
        missing=missing(record),
        approvals=[
            ApprovalOut(step=one.step, by=one.approver, decision=one.decision, at=_at(one.at), reason=one.reason)
            for one in record.approvals
        ],
        arguments=_arguments(record.summary),
        plan=_plan(record),
        parent=record.parent,
        fingerprint=record.fingerprint.hex(),
        created_at=_at(record.created_at),
        updated_at=_at(record.updated_at),
        expires_at=None if record.expires_at is None else _at(record.expires_at),
        correlation_id=record.correlation,
    )


def router(service: HoldService) -> APIRouter:
    """Return the routes over ``service``."""
    routes = APIRouter(prefix="/system/holds", tags=["holds"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_holds(
        principal: Reader,
        kind: Annotated[Kind, Query(description="what waits for whom")] = "open",
        action: Annotated[str | None, Query(max_length=100)] = None,
        requester: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> HoldPage:
        """List what waits: `open` for people, `approved` for a worker, `indeterminate` for somebody who finds out."""
        page = await service.list(kind, action=action, requester=requester, limit=limit, cursor=cursor)
        return HoldPage(items=[_out(record) for record in page.items], next=page.next)

    @routes.get("/{hold_id}")
    async def show(hold_id: Id, principal: Reader) -> HoldOut:
        """Show one action: who asked for what, who decided, who is missing."""
        return _out(await service.get(hold_id))

    @routes.get("/{hold_id}/review")
    async def review(hold_id: Id, principal: Reader) -> ReviewOut:
        """Show what is asked for beside what was asked for last under the same name."""
        return _review(*await service.review(hold_id))

    @routes.post("/{hold_id}/approve")
    @while_closed("write")
    async def approve(hold_id: Id, body: DecisionIn, principal: Approver) -> HoldOut:
        """Approve. With the last approval that is needed a worker runs the action, once. Nobody approves the own."""
        return _out(
            await service.decide(principal, hold_id, "approve", reason=body.reason, fingerprint=body.fingerprint)
        )

    @routes.post("/{hold_id}/deny")
    @while_closed("write")
    async def deny(hold_id: Id, body: DecisionIn, principal: Approver) -> HoldOut:
        """Deny: one person whose role the quorum names is enough."""
        return _out(await service.decide(principal, hold_id, "deny", reason=body.reason, fingerprint=body.fingerprint))

    @routes.post("/{hold_id}/cancel")
    @while_closed("write")
    async def cancel(hold_id: Id, body: CancelIn, principal: Approver) -> HoldOut:
        """Take back an open hold, also an approved one that no worker took yet."""
        return _out(await service.cancel(principal, hold_id, reason=body.reason))

    @routes.post("/{hold_id}/settle")
    @while_closed("write")
    async def settle(hold_id: Id, body: SettleIn, principal: Approver) -> HoldOut:
        """Say what became of an `indeterminate` action; the evidence is kept."""
        return _out(await service.settle(principal, hold_id, body.outcome, evidence=body.evidence))

    return routes
