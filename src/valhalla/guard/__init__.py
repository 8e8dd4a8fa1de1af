"""Any Python callable under one pipeline: dedup, policy, limits, dry-run lock, approvals, retry, ledger.

>>> from valhalla import guard
>>> @guard.action("payment", key="order", limit="100/hour", approval="2 of finance")
... def pay(order, amount): ...

The functions here are those of one default ``Guard`` in this process's memory, made at the first use.
Programs with a store of their own make a ``Guard``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from valhalla.guard.breaker import Breaker
    from valhalla.guard.context import Context, current
    from valhalla.guard.contracts import Effect, Record, Verdict
    from valhalla.guard.egress import sealed
    from valhalla.guard.errors import (
        ActionFailed,
        BadArguments,
        BadDeclaration,
        BadKey,
        BadName,
        BreakerOpen,
        DeadlineExceeded,
        Denied,
        DoneFailed,
        GuardProblem,
        Held,
        HoldGone,
        HoldNotFound,
        Indeterminate,
        InProgress,
        KeyReuse,
        LimitExceeded,
        NameTaken,
        NotAnApprover,
        NotDone,
        ResultForgotten,
        StalePlan,
        StoreRefuses,
        TooManyHolds,
        UnknownAction,
        Unrecorded,
    )
    from valhalla.guard.governor import Governor, Limit
    from valhalla.guard.guard import Guard, Proposal
    from valhalla.guard.outcome import Outcome
    from valhalla.guard.plans import Plan
    from valhalla.guard.reconcile import Done, Finding
    from valhalla.guard.retry import Retry
    from valhalla.guard.stores.memory import MemoryStore
    from valhalla.guard.stores.postgres import PostgresStore
    from valhalla.guard.stores.sqlite import SqliteStore

    _guard: Guard = Guard()
    action, run, arun, dry_run = _guard.action, _guard.run, _guard.arun, _guard.dry_run
    plan, aplan, apply, aapply = _guard.plan, _guard.aplan, _guard.apply, _guard.aapply
    acting, get = _guard.acting, _guard.get
    approve, aapprove, deny, adeny = _guard.approve, _guard.aapprove, _guard.deny, _guard.adeny
    cancel, acancel, settle, asettle = _guard.cancel, _guard.acancel, _guard.settle, _guard.asettle
    dispatch, adispatch, sweep, asweep = _guard.dispatch, _guard.adispatch, _guard.sweep, _guard.asweep
    waiting, clear_expired, aclear_expired = _guard.waiting, _guard.clear_expired, _guard.aclear_expired

_FROM: Final = {
    "Breaker": "breaker",
    "Context": "context",
    "current": "context",
    "Effect": "contracts",
    "Record": "contracts",
    "Verdict": "contracts",
    "Governor": "governor",
    "Limit": "governor",
    "sealed": "egress",
    "Guard": "guard",
    "Proposal": "guard",
    "Outcome": "outcome",
    "Plan": "plans",
    "Done": "reconcile",
    "Finding": "reconcile",
    "Retry": "retry",
    "MemoryStore": "stores.memory",
    "PostgresStore": "stores.postgres",
    "SqliteStore": "stores.sqlite",
}
_DEFAULTS: Final = (
    "aapply",
    "aapprove",
    "acancel",
    "aclear_expired",
    "acting",
    "action",
    "adeny",
    "adispatch",
    "aplan",
    "apply",
    "approve",
    "arun",
    "asettle",
    "asweep",
    "cancel",
    "clear_expired",
    "deny",
    "dispatch",
    "dry_run",
    "get",
    "plan",
    "run",
    "settle",
    "sweep",
    "waiting",
)

__all__ = [
    "ActionFailed",
    "BadArguments",
    "BadDeclaration",
    "BadKey",
    "BadName",
    "Breaker",
    "BreakerOpen",
    "Context",
    "DeadlineExceeded",
    "Denied",
    "Done",
    "DoneFailed",
    "Effect",
    "Finding",
    "Governor",
    "Guard",
    "GuardProblem",
    "Held",
    "HoldGone",
    "HoldNotFound",
    "InProgress",
    "Indeterminate",
    "KeyReuse",
    "Limit",
    "LimitExceeded",
    "MemoryStore",
    "NameTaken",
    "NotAnApprover",
    "NotDone",
    "Outcome",
    "Plan",
    "PostgresStore",
    "Proposal",
    "Record",
    "ResultForgotten",
    "Retry",
    "SqliteStore",
    "StalePlan",
    "StoreRefuses",
    "TooManyHolds",
    "UnknownAction",
    "Unrecorded",
    "Verdict",
    "aapply",
    "aapprove",
    "acancel",
    "aclear_expired",
    "acting",
    "action",
    "adeny",
    "adispatch",
    "aplan",
    "apply",
    "approve",
    "arun",
    "asettle",
    "asweep",
    "cancel",
    "clear_expired",
    "current",
    "default",
    "deny",
    "dispatch",
    "dry_run",
    "get",
    "plan",
    "run",
    "sealed",
    "settle",
    "sweep",
    "waiting",
]


@cache
def default() -> Guard:
    """Return the default guard of this process, made at the first use; its rows live in memory."""
    from valhalla.guard.guard import Guard

    return Guard()


def __getattr__(name: str) -> Any:
    if name in _DEFAULTS:
        return getattr(default(), name)
    if name in _FROM:
        value = globals()[name] = getattr(import_module(f"valhalla.guard.{_FROM[name]}"), name)
        return value
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("valhalla.guard.errors"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
