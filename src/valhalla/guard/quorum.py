"""Who must approve, and whether they have. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from valhalla.guard.contracts import Approval, Record, State, Step
from valhalla.guard.errors import BadDeclaration, NotAnApprover

_STEP: Final = re.compile(r"(\d{1,3})(?:\s+of\s+([A-Za-z0-9_.:-]{1,100}))?")
_ANYONE: Final = "anyone"

Quorum = tuple[Step, ...]


def parse(text: str | Iterable[Step] | int) -> Quorum:
    """Read ``"2 of finance"``, ``"1 of ops then 2 of finance"``, ``"2"`` (any two people) or steps.

    Raises:
        BadDeclaration: it cannot be read, or asks for nobody.
    """
    if isinstance(text, int):
        text = str(text)
    if not isinstance(text, str):
        return _checked(tuple(text))
    steps: list[Step] = []
    for part in re.split(r"\s*(?:,|\bthen\b)\s*", text.strip()):
        match = _STEP.fullmatch(part.strip())
        if match is None:
            raise BadDeclaration(f"approval={text!r} cannot be read; write for example '2 of finance'")
        role = match[2]
        steps.append(Step(int(match[1]), None if role in (None, _ANYONE) else role))
    return _checked(tuple(steps))


def _checked(steps: Quorum) -> Quorum:
    if not steps or any(step.count < 1 for step in steps):
        raise BadDeclaration("an approval needs at least one person in each step")
    return steps


def spell(quorum: Quorum) -> str:
    """Write a quorum as ``parse`` reads it."""
    return " then ".join(map(str, quorum))


def open_step(quorum: Quorum, approvals: Iterable[Approval]) -> int:
    """Return the index of the first step that lacks approvals; ``len(quorum)`` when all are complete."""
    counts = [0] * len(quorum)
    for approval in approvals:
        if approval.decision == "approve" and approval.step < len(counts):
            counts[approval.step] += 1
    return next((i for i, step in enumerate(quorum) if counts[i] < step.count), len(quorum))


def is_met(record: Record, *, self_approval: bool = False) -> bool:
    """Say whether the record's approvals fulfil its quorum, counting only valid ones: checked again at dispatch."""
    seen: set[str] = set()
    valid: list[Approval] = []
    for approval in record.approvals:
        own = approval.approver == record.principal and not self_approval
        if approval.decision == "deny" or approval.fingerprint != record.fingerprint:
            return False
        if own or approval.approver in seen:
            continue
        seen.add(approval.approver)
        valid.append(approval)
    return bool(record.quorum) and open_step(record.quorum, valid) == len(record.quorum)


def vote(
    record: Record,
    *,
    approver: str,
    roles: frozenset[str],
    decision: Literal["approve", "deny"],
    now: float,
    reason: str | None = None,
    self_approval: bool = False,
) -> tuple[tuple[Approval, ...], State]:
    """Return the approvals with this decision added and the state that follows.

    Raises:
        NotAnApprover: the requester, somebody who has decided already, or somebody without the role.
    """
    if approver == record.principal and not self_approval:
        raise NotAnApprover("the requester cannot decide on the own request", id=record.id)
    if any(approval.approver == approver for approval in record.approvals):
        raise NotAnApprover(f"{approver} has decided already; each step needs different people", id=record.id)
    step = open_step(record.quorum, record.approvals)
    eligible = record.quorum[step:] if decision == "deny" else record.quorum[step : step + 1]
    if not any(s.role is None or s.role in roles for s in eligible):
        wanted = " or ".join(sorted({s.role for s in eligible if s.role}))
        raise NotAnApprover(f"{approver} does not have the role {wanted}", id=record.id)
    approvals = (*record.approvals, Approval(step, approver, decision, record.fingerprint, now, reason))
    if decision == "deny":
        return approvals, "denied"
    return approvals, "approved" if open_step(record.quorum, approvals) == len(record.quorum) else "held"
