"""The use cases of holds: what waits for people, and what they decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

from valhalla.guard import holds
from valhalla.guard.contracts import Page as Found
from valhalla.guard.contracts import Record, Scan
from valhalla.guard.errors import NotAnApprover
from valhalla.guard.guard import Guard
from valhalla.guard.plane import store
from valhalla.guard.quorum import open_step
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit import paging
from valhalla.kit.db import Database

Kind = Literal["open", "approved", "indeterminate", "all"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Outcome = Literal["succeeded", "failed", "not_done"]
_ROLE: Final = "role:"


class HoldService:
    """Lists and decides holds. A person is an owner of keys; their ``role:`` scopes are the roles that quorums name."""

    def __init__(self, guard: Guard, db: Database) -> None:
        self._guard = guard
        self._db = db
        self.owner_of: Callable[[str], str] = _itself
        """Whose key one with this id is; what is no key's id is a person already."""

    async def list(
        self, kind: Kind, *, action: str | None, requester: str | None, limit: int | None, cursor: str | None
    ) -> paging.Page[Record]:
        """Return a page of what waits, oldest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        position = paging.decode(cursor)
        after = None if position is None else paging.integer(position, "seq")
        size = paging.clamp(limit)
        query = Scan(kind, name=action, principal=requester, after=after, limit=size)
        found: Found = await self._guard.store.ascan(query)
        return paging.Page(found.records, None if found.cursor is None else paging.encode({"seq": found.cursor}))

    async def get(self, id_: str) -> Record:
        """Return one action.

        Raises:
            HoldNotFound: there is none.
        """
        return await self._guard.adrive(holds.find(id_))

    async def review(self, id_: str) -> tuple[Record, store.Proposal | None]:
        """Return one action, and what was proposed last under its name before it.

        Raises:
            HoldNotFound: there is none.
        """
        return await self.get(id_), await self._db.read(store.previous, id_)

    async def decide(
        self,
        principal: Principal,
        id_: str,
        decision: Literal["approve", "deny"],
        *,
        reason: str | None,
        fingerprint: str | None = None,
    ) -> Record:
        """Add the principal's decision. ``fingerprint`` (hex) is that of what the person saw.

        Raises:
            HoldNotFound, HoldGone, NotAnApprover: as they say.
            Invalid: the hold stands for other arguments than those that the person saw.
            IllegalTransition: it is decided already.
        """
        record = await self.get(id_)
        if fingerprint is not None and fingerprint.lower() != record.fingerprint.hex():
            raise Invalid("the hold is not what was looked at", help="Look at it again before deciding.", id=id_)
        # by person and not by key: a second key makes nobody a second person
        if principal.owner == self.owner_of(record.principal) and not self._guard.self_approval:
            raise NotAnApprover("the requester cannot decide on the own request", id=id_)
        return await self._guard.adrive(
            holds.decide(self._guard, id_, principal.owner, _roles(principal), decision, reason)
        )

    async def cancel(self, principal: Principal, id_: str, *, reason: str | None) -> Record:
        """Take back an open hold that was not dispatched.

        Raises:
            HoldNotFound, HoldGone: as they say.
            IllegalTransition: it has been dispatched.
        """
        return await self._guard.adrive(holds.cancel(id_, principal.id, reason))

    async def settle(self, principal: Principal, id_: str, outcome: Outcome, *, evidence: str) -> Record:
        """Write down what a person found out about an action whose end nobody knew.

        Raises:
            HoldNotFound: there is no such action.
            IllegalTransition: its end is known, or it still runs.
        """
        return await self._guard.adrive(holds.settle(self._guard, id_, outcome, principal.id, evidence, None))


def _itself(name: str) -> str:
    return name


def _roles(principal: Principal) -> frozenset[str]:
    return frozenset(scope.removeprefix(_ROLE) for scope in principal.scopes if scope.startswith(_ROLE))


def missing(record: Record) -> str | None:
    """Say whose approval an action waits for now, None if for nobody's."""
    step = open_step(record.quorum, record.approvals) if record.state == "held" else len(record.quorum)
    if step >= len(record.quorum):
        return None
    wanted = record.quorum[step]
    given = sum(one.step == step and one.decision == "approve" for one in record.approvals)
    return f"{wanted.count - given} of {wanted.role or 'anyone'}"
