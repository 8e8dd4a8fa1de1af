"""What is decided about alerts: which rule holds, when one opens, who hears of it, when it escalates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from valhalla.features.observability.alerts.contracts import Alert, AlertRule, AlertSubscription, Told
from valhalla.features.observability.alerts.grouping import Group
from valhalla.kernel.alerting import SEVERITIES, Pattern, Severity, rank, reaches
from valhalla.kernel.problems import Invalid

# unacknowledged for so many seconds; what is less than an error wakes nobody up
_ESCALATE: Final[Mapping[Severity, float]] = {"error": 1800.0, "critical": 900.0}
MOST_ESCALATIONS: Final = 3
_LONGEST: Final = 30 * 86_400.0
_REMEMBERED: Final = 10_000
_PLAIN: Final = AlertRule(match="*")


def check_rule(rule: AlertRule) -> None:
    """Accept a rule or refuse it.

    Raises:
        Invalid: its pattern or one of its numbers makes no sense.
    """
    Pattern(rule.match)
    if not 1 <= rule.threshold <= 1_000_000:
        raise Invalid("a threshold is 1 to 1,000,000 occurrences")
    if not 1.0 <= rule.window <= 86_400.0:
        raise Invalid("a window is 1 to 86,400 seconds")
    if rule.escalate_after is not None and not 0.0 <= rule.escalate_after <= _LONGEST:
        raise Invalid(f"escalate_after is 0 (never) to {_LONGEST:.0f} seconds")


def check_subscription(subscription: AlertSubscription) -> None:
    """Accept a subscription or refuse it.

    Raises:
        Invalid: its pattern is none, or it asks for nothing.
    """
    Pattern(subscription.pattern)
    if not subscription.events:
        raise Invalid("a subscription names at least one of opened, escalated and resolved")
    if subscription.target is not None and not 0 < len(subscription.target) <= 200:
        raise Invalid("a target has 1 to 200 characters")


class RuleSet:
    """The operator's rules of one moment, the most exact one first."""

    def __init__(self, rules: Iterable[AlertRule]) -> None:
        # more characters that stand for themselves say more; an exact name says most
        exact = sorted(rules, key=lambda rule: ("*" in rule.match, -len(rule.match.replace("*", "")), rule.match))
        self._rules = [(Pattern(rule.match), rule) for rule in exact]

    def for_name(self, name: str) -> AlertRule:
        """Return the rule that holds for alerts of this name."""
        return next((rule for pattern, rule in self._rules if pattern.matches(name)), _PLAIN)


class Thresholds:
    """How often each fingerprint occurred lately, as far as a rule asks for it; bounded, and forgotten at a restart."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime, int]] = {}

    def reached(self, group: Group, rule: AlertRule) -> bool:
        """Count a group's occurrences; say whether they now are as many as its rule wants."""
        if rule.threshold <= 1 or group.count == 0:
            return True
        began, before = self._seen.pop(group.fingerprint, (group.first_at, 0))
        if group.last_at - began > timedelta(seconds=rule.window):
            began, before = group.first_at, 0
        count = before + group.count
        self._seen[group.fingerprint] = (began, count)
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if count < rule.threshold:
            return False
        # what came before the threshold belongs to the alert, once
        if before < rule.threshold:
            group.count = count
        return True


@dataclass(frozen=True, slots=True)
class Governed:
    """A group that is to be written, and when it escalates if nobody looks at it."""

    group: Group
    escalate_at: datetime | None


def govern(
    groups: Iterable[Group], rules: RuleSet, thresholds: Thresholds, now: datetime
) -> tuple[list[Governed], int]:
    """Apply the operator's rules; return what is to be written, and how many occurrences were muted."""
    kept: list[Governed] = []
    muted = 0
    for group in groups:
        rule = rules.for_name(group.name)
        if rule.muted:
            muted += group.count
            continue
        if not thresholds.reached(group, rule):
            continue
        if rule.severity is not None:
            group.severity = rule.severity
        kept.append(Governed(group, escalates_at(group.severity, rule, now)))
    return kept, muted


def escalates_at(severity: Severity, rule: AlertRule, now: datetime) -> datetime | None:
    """Return when an alert of this severity escalates that nobody acknowledges; None is never."""
    after = _ESCALATE.get(severity, 0.0) if rule.escalate_after is None else rule.escalate_after
    return now + timedelta(seconds=after) if after else None


def escalated(alert: Alert, rule: AlertRule, now: datetime) -> tuple[Severity, datetime | None]:
    """Return an alert's severity after one more escalation, and when the next one is due."""
    severity = SEVERITIES[min(rank(alert.severity) + 1, len(SEVERITIES) - 1)]
    last = alert.escalations + 1 >= MOST_ESCALATIONS
    return severity, None if last else escalates_at(severity, rule, now)


class Subscriptions:
    """Who wants to hear, of one moment."""

    def __init__(self, subscriptions: Mapping[str, AlertSubscription]) -> None:
        self._each = [(key, Pattern(one.pattern), one) for key, one in sorted(subscriptions.items())]
        self.keys = tuple(key for key, _, _ in self._each)

    def interested(self, name: str, severity: Severity, told: Told) -> Sequence[str]:
        """Return the keys of the subscriptions that an alert concerns."""
        return [
            key
            for key, pattern, one in self._each
            if told in one.events and reaches(severity, one.minimum) and pattern.matches(name)
        ]


def room(*, open_now: int, opened_lately: int, most_open: int, most_lately: int) -> int:
    """Return how many new groups a source may open now."""
    return max(0, min(most_open - open_now, most_lately - opened_lately))
