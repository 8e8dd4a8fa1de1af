"""What people do with rows: decide, cancel, settle, list. Procedures for both drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from valhalla.guard import rules
from valhalla.guard.contracts import CasRequest, CasResult, Field, Page, Record, Scan, ScanKind, State
from valhalla.guard.errors import HoldGone, HoldNotFound
from valhalla.guard.lifecycle import LIFECYCLE
from valhalla.guard.quorum import vote
from valhalla.guard.steps import Steps
from valhalla.kernel.problems import Invalid

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

_HELD: Final = frozenset({"held"})
_OPEN: Final = frozenset({"held", "approved"})
_EXECUTING: Final = frozenset({"executing"})
_OVER: Final = frozenset({"expired", "cancelled", "superseded", "stale"})
Settled = Literal["succeeded", "failed", "not_done"]


def find(id_: str) -> Steps[Record]:
    """Return the row.

    Raises:
        HoldNotFound: there is none.
    """
    page: Page = yield Scan("id", id=id_)
    if not page.records:
        raise HoldNotFound(f"there is no action {id_}")
    return page.records[0]


def decide(
    guard: Guard, id_: str, by: str, roles: frozenset[str], decision: Literal["approve", "deny"], reason: str | None
) -> Steps[Record]:
    """Add one person's decision; the last one that is needed moves the row in the same compare-and-swap.

    Raises:
        NotAnApprover: the person may not.
        HoldGone: it is too late.
        IllegalTransition: it is decided already.
    """
    while True:
        page: Page = yield Scan("id", id=id_)
        if not page.records:
            raise HoldNotFound(f"there is no action {id_}")
        record = page.records[0]
        _check_open(record, "approved" if decision == "approve" else "denied")
        approvals, to = vote(
            record,
            approver=by,
            roles=roles,
            decision=decision,
            now=page.now,
            reason=reason,
            self_approval=guard.self_approval,
        )
        patch: dict[Field, Any] = {"approvals": approvals}
        if decision == "deny" and reason is not None:
            patch["reason"] = reason
        event = "denied" if to == "denied" else "approved" if to == "approved" else "approval"
        result: CasResult = yield CasRequest(
            id_, _HELD, to, event, by, version=record.version, when="unexpired", patch=patch
        )
        if result.done and result.record is not None:
            return result.record
        if result.record is not None and result.record.version == record.version:
            # nobody changed it, so the store's clock refused
            yield CasRequest(id_, _OPEN, "expired", "expired", by, when="expired")
            raise HoldGone(f"the hold of {record.name} expired before the decision", id=id_)


def _check_open(record: Record, to: State) -> None:
    if record.state in _OVER:
        raise HoldGone(f"the hold of {record.name} is {record.state}", id=record.id)
    LIFECYCLE.check(record.state, to)


def cancel(id_: str, by: str, reason: str | None) -> Steps[Record]:
    """Take back an open hold, also an approved one that was not dispatched.

    Raises:
        HoldGone: it is over already.
        IllegalTransition: it has been dispatched.
    """
    record = yield from find(id_)
    _check_open(record, "cancelled")
    patch: dict[Field, Any] = {} if reason is None else {"reason": reason}
    result: CasResult = yield CasRequest(id_, _OPEN, "cancelled", "cancelled", by, patch=patch)
    return _changed(result, "cancelled")


def settle(guard: Guard, id_: str, to: Settled, by: str, evidence: str, value: Any) -> Steps[Record]:
    """Write down what a person found out about an action whose end nobody knew.

    Raises:
        Invalid: there is no evidence.
        IllegalTransition: its end is known, or it still runs.
    """
    if not evidence.strip():
        raise Invalid("an action is settled by what somebody saw", help="Say in evidence= what that was, and where.")
    record = yield from find(id_)
    if record.state == "executing":
        # it may have crashed: the store's clock says whether its lease is over
        lapsed: CasResult = yield CasRequest(
            id_, _EXECUTING, "indeterminate", "lapsed", by, version=record.version, when="lapsed"
        )
        record = lapsed.record or record
    if record.state != "indeterminate":
        LIFECYCLE.check("succeeded" if record.state == "executing" else record.state, to)
    patch: dict[Field, Any] = {"evidence": evidence}
    if to == "succeeded":
        patch["value"], patch["reason"] = rules.keep_value(guard.store.codec, value)
    result: CasResult = yield CasRequest(id_, frozenset({"indeterminate"}), to, "settled", by, patch=patch)
    return _changed(result, to)


def _changed(result: CasResult, to: State) -> Record:
    if result.record is None:
        raise HoldNotFound("the action is gone")
    if not result.done:
        LIFECYCLE.check(result.record.state, to)
        raise HoldGone(f"the action is {result.record.state}", id=result.record.id)
    return result.record


def listing(kind: ScanKind, name: str | None, principal: str | None, limit: int) -> Steps[tuple[Record, ...]]:
    """Return rows, oldest first."""
    page: Page = yield Scan(kind, name=name, principal=principal, limit=limit)
    return page.records
