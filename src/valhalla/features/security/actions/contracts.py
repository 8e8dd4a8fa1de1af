"""The values of requested security actions, and who executes and decides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from valhalla.features.operations.admin.contracts import AdminAction, Done, Order
from valhalla.kernel.principal import Principal
from valhalla.kit.paging import Page

READ: Final = "actions:read"
WRITE: Final = "actions:write"
APPROVE: Final = "actions:approve"
ANYBODY: Final = "1 of anyone"
"""Who approves a request that no chain is about."""
MOST_EXPIRES: Final = 30 * 86_400.0
LASTS: Final = 86_400.0
ESCALATES: Final = 4 * 3600.0
Kind = Literal["open", "approved", "indeterminate", "all"]


class Chain(msgspec.Struct, frozen=True):
    """Who must approve actions for which ``when`` (CEL) holds.

    ``approval`` is a quorum in stages: ``2 of security then 1 of finance``. The highest ``priority`` that holds
    decides, equal ones by name. A chain holds back what operators execute directly, too. ``expires_in`` and
    ``escalate_after`` are seconds: when an open request ends, and when it becomes an alert.
    """

    name: str
    when: str
    approval: str
    priority: int = 0
    expires_in: float = LASTS
    escalate_after: float = ESCALATES
    enabled: bool = True
    description: str | None = None


class Terms(NamedTuple):
    """Under which terms an action is held."""

    approval: str
    expires_in: float


def declared(action: AdminAction, *, requested: bool) -> Terms | None:
    """Return the terms of an action that no chain is about: a request always waits for somebody."""
    approval = action.approval or (ANYBODY if requested else None)
    return None if approval is None else Terms(approval, LASTS)


@dataclass(frozen=True, slots=True)
class Decision:
    """One person's decision about one stage."""

    stage: int
    by: str
    decision: str
    at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One guarded action that waited, or waits, for people: of this API, of the admin API, or of a program.

    ``payload`` is redacted; what is executed is what was asked for, bound by ``fingerprint``.
    """

    id: str
    type: str
    state: str
    requester: str
    reason: str | None
    approval: str | None
    missing: str | None
    decisions: tuple[Decision, ...]
    payload: Any
    fingerprint: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    evidence: str | None
    correlation_id: str | None


NoteKind = Literal["comment", "evidence", "escalation"]


class Note(NamedTuple):
    """What somebody added to a request. Of evidence the content is fetched apart."""

    id: int
    kind: NoteKind
    by: str
    at: datetime
    text: str
    name: str | None
    media_type: str | None
    size: int | None
    sha256: str | None


FindTerms = Callable[[AdminAction, Mapping[str, Any], str, bool], Terms | None]
"""Says under which terms an action of a principal (by its id) is held, None for none; last: whether it is a request."""


class Desk(Protocol):
    """Keeps requests, lets people decide, executes once what was approved; it stands above the features."""

    def bind(self, terms: FindTerms) -> None:
        """Ask ``terms`` of every admin action, when it is asked for and again before it is executed."""
        ...

    def spell(self, approval: str) -> str:
        """Return a quorum as requests show it.

        Raises:
            Problem: it cannot be read.
        """
        ...

    async def propose(self, action: AdminAction, order: Order, key: str | None) -> Done:
        """Hold an action for people, whatever its own declaration says.

        Raises:
            Problem: it was refused.
        """
        ...

    async def list(
        self, kind: Kind, *, name: str | None, requester: str | None, limit: int | None, cursor: str | None
    ) -> Page[Asked]:
        """Return a page, oldest first; ``name`` is a type.

        Raises:
            Invalid: the cursor was not made here.
        """
        ...

    async def get(self, id_: str) -> Asked:
        """Return one.

        Raises:
            NotFound: there is none.
        """
        ...

    async def decide(
        self,
        principal: Principal,
        id_: str,
        decision: Literal["approve", "deny"],
        *,
        reason: str | None,
        fingerprint: str | None,
    ) -> Asked:
        """Add a decision.

        Raises:
            Problem: the principal may not, or it is too late.
        """
        ...

    async def cancel(self, principal: Principal, id_: str, *, reason: str | None) -> Asked:
        """Take it back.

        Raises:
            Problem: it is over, or under way.
        """
        ...
