"""One rule as it is enforced, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from valhalla.features.operations.limits import rules
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.gate.contracts import Quota
from valhalla.gate.quotas.talkers import Talkers
from valhalla.guard.governor import Decision, Limit
from valhalla.kernel.problems import QuotaExceeded


@dataclass(frozen=True, slots=True)
class Counted:
    """One rule as it is enforced; the governor's name of it changes when usage cannot be carried over."""

    rule: LimitRule
    limit: Limit
    resource: str
    talkers: Talkers


class Way(NamedTuple):
    """One rule that counts requests of a method, path and route, if the one who asks is among its subjects."""

    counted: Counted
    cost: int
    subject: str | None
    """Under which name, where that does not depend on who asks."""


class Charge(NamedTuple):
    """One rule's part of a request."""

    counted: Counted
    subject: str
    cost: int


def refusal(counted: Counted, cost: int, wait: float) -> QuotaExceeded:
    """Return the problem that a limit is used up."""
    rule = counted.rule
    return QuotaExceeded(
        f"the limit '{rule.name}' allows {rule.rate}, counted per {rule.scope}",
        retry_after=None if wait == float("inf") else wait,
        limit=rule.name,
        rate=rule.rate,
        scope=rule.scope,
        cost=cost,
    )


def counted_by(rule: LimitRule, talkers: Talkers) -> Counted:
    """Return a rule as it is enforced."""
    rate = rules.parse_rate(rule.rate)
    together = rule.scope == "global"
    limit = Limit(
        capacity=rate.capacity,
        window=rate.window,
        name=rule.name,
        kind=rule.kind,
        burst=rule.burst,
        scope="all" if together else "subject",
        shadow=rule.shadow,
    )
    # what is used under another kind or scope means something else
    return Counted(rule, limit, f"{rule.name}|{rule.kind}|{rule.scope}", talkers)


def quotas_of(counted: Counted, decision: Decision) -> list[Quota]:
    """Return what the headers tell of it; of a shadow nothing."""
    return [
        Quota(name, counted.limit.capacity, counted.limit.window, remaining, reset)
        for name, remaining, reset in decision.policies
    ]
