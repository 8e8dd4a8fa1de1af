"""What workers do with rows: dispatch what was approved, sweep what is over. Procedures for both drivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.contracts import CasRequest, CasResult, Page, Record, Scan, ScanKind, State
from valhalla.guard.engine import dispatch
from valhalla.guard.errors import GuardProblem, UnknownAction
from valhalla.guard.outcome import Outcome
from valhalla.guard.reconcile import reconcile
from valhalla.guard.steps import Steps
from valhalla.kernel.problems import Invalid

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

_OPEN: Final = frozenset({"held", "approved"})
_APPROVED: Final = frozenset({"approved"})
_EXECUTING: Final = frozenset({"executing"})
# rows that are read at a time
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep changed."""

    expired: int = 0
    lapsed: int = 0
    reconciled: int = 0
    purged: int = 0


def _through(kind: ScanKind, limit: int, act: Callable[[Record], Steps[bool]]) -> Steps[None]:
    """Let ``act`` look at every row of the kind until ``limit`` of them counted: what it leaves hides no other row."""
    after: int | None = None
    while limit > 0:
        page: Page = yield Scan(kind, after=after, limit=_PAGE)
        for record in page.records:
            limit -= yield from act(record)
            if limit <= 0:
                return
        if (after := page.cursor) is None:
            return


def run_approved(guard: Guard, limit: int, *, strict: bool) -> Steps[list[Outcome[Any]]]:
    """Execute up to ``limit`` approved holds from the registry, each once whoever else tries; return their outcomes.

    One whose arguments today's function does not take becomes stale; one that a limit stops stays approved.

    Raises:
        UnknownAction: with ``strict``, a hold's action is not registered in this process.
    """
    outcomes: list[Outcome[Any]] = []

    def act(record: Record) -> Steps[bool]:
        action = guard.find_action(record.name)
        if action is None:
            if strict:
                raise UnknownAction(f"no action {record.name!r} is registered here", id=record.id)
            return False
        try:
            call = guard.recall(action, record)
        except (GuardProblem, Invalid, TypeError) as error:
            reason = f"the arguments that were approved do not fit the action any more ({type(error).__name__})"
            yield CasRequest(
                record.id, _APPROVED, "stale", "stale", "system", version=record.version, patch={"reason": reason}
            )
            return False
        outcome = yield from dispatch(guard, call, record)
        if outcome is None:
            return False
        outcomes.append(outcome)
        return outcome.status != "limited"

    yield from _through("approved", limit, act)
    return outcomes


def sweep(guard: Guard, limit: int) -> Steps[Swept]:
    """Let overdue holds expire and lapsed executions be known as such, and ask ``reconcile=`` about them.

    Up to ``limit`` of each are changed (of the last: asked about).
    """
    expired = lapsed = reconciled = 0

    def expire(record: Record) -> Steps[bool]:
        nonlocal expired
        result: CasResult = yield CasRequest(record.id, _OPEN, "expired", "expired", "sweeper", when="expired")
        expired += result.done
        return result.done

    def lapse(record: Record) -> Steps[bool]:
        nonlocal lapsed
        # who may run again is free to; of the rest nobody knows
        to: State = "not_done" if record.effect.repeatable else "indeterminate"
        result: CasResult = yield CasRequest(
            record.id, _EXECUTING, to, "lapsed", "sweeper", generation=record.generation, when="lapsed"
        )
        lapsed += result.done
        return result.done

    def ask(record: Record) -> Steps[bool]:
        nonlocal reconciled
        action = guard.find_action(record.name)
        if action is None or action.reconcile is None:
            return False
        outcome = yield from reconcile(guard, action, record)
        reconciled += outcome is None or outcome.status != "indeterminate"
        return True

    yield from guard.unanswered.release()
    yield from _through("overdue", limit, expire)
    yield from _through("lapsed", limit, lapse)
    yield from _through("indeterminate", limit, ask)
    return Swept(expired, lapsed, reconciled)
