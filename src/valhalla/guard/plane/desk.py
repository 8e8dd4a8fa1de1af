"""Lets the feature of requested actions work on the guard's holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from valhalla.features.operations.admin.contracts import AdminAction, Done, Order
from valhalla.features.security.actions.contracts import Asked, Decision, FindTerms, Kind
from valhalla.guard.contracts import Record
from valhalla.guard.plane.operating import PREFIX, AdminGuard
from valhalla.guard.plane.service import HoldService, missing
from valhalla.guard.quorum import parse, spell
from valhalla.kernel.principal import Principal
from valhalla.kit.paging import Page


class RequestDesk:
    """Every hold is a request, whoever made it; admin actions are called as their catalogue calls them."""

    def __init__(self, holds: HoldService, executor: AdminGuard) -> None:
        self._holds = holds
        self._executor = executor

    def bind(self, terms: FindTerms) -> None:
        """Ask ``terms`` of every admin action."""
        self._executor.bind(terms)

    def spell(self, approval: str) -> str:
        """Return a quorum as holds show it.

        Raises:
            BadDeclaration: it cannot be read.
        """
        return spell(parse(approval))

    async def propose(self, action: AdminAction, order: Order, key: str | None) -> Done:
        """Hold an action for people.

        Raises:
            Problem: it was refused.
        """
        return await self._executor.propose(action, order, key)

    async def list(
        self, kind: Kind, *, name: str | None, requester: str | None, limit: int | None, cursor: str | None
    ) -> Page[Asked]:
        """Return a page, oldest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        if name is not None and self._executor.knows(name):
            name = PREFIX + name
        page = await self._holds.list(kind, action=name, requester=requester, limit=limit, cursor=cursor)
        return Page([_asked(record) for record in page.items], page.next)

    async def get(self, id_: str) -> Asked:
        """Return one.

        Raises:
            HoldNotFound: there is none.
        """
        return _asked(await self._holds.get(id_))

    async def decide(
        self,
        principal: Principal,
        id_: str,
        decision: Literal["approve", "deny"],
        *,
        reason: str | None,
        fingerprint: str | None,
    ) -> Asked:
        """Add a decision; raises what ``HoldService.decide`` raises."""
        return _asked(await self._holds.decide(principal, id_, decision, reason=reason, fingerprint=fingerprint))

    async def cancel(self, principal: Principal, id_: str, *, reason: str | None) -> Asked:
        """Take it back; raises what ``HoldService.cancel`` raises."""
        return _asked(await self._holds.cancel(principal, id_, reason=reason))


def _asked(record: Record) -> Asked:
    arguments: Any = None if record.summary is None else json.loads(record.summary)
    reason = record.reason
    type_ = record.name
    if record.name.startswith(PREFIX):
        type_ = record.name.removeprefix(PREFIX)
        if arguments is not None:
            # of an admin action the payload is one argument, and why it was asked for another; of one that nobody had
            # to approve neither is kept
            reason, arguments = arguments["reason"], arguments["arguments"]
    return Asked(
        id=record.id,
        type=type_,
        state=record.state,
        requester=record.principal,
        reason=reason,
        approval=spell(record.quorum) if record.quorum else None,
        missing=missing(record),
        decisions=tuple(
            Decision(one.step, one.approver, one.decision, _at(one.at), one.reason) for one in record.approvals
        ),
        payload=arguments,
        fingerprint=record.fingerprint.hex(),
        created_at=_at(record.created_at),
        updated_at=_at(record.updated_at),
        expires_at=None if record.expires_at is None else _at(record.expires_at),
        evidence=record.evidence,
        correlation_id=record.correlation,
    )


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
