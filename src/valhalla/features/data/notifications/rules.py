"""What is decided about notifications: which rule concerns an event, when it is told, what an answer means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from valhalla.features.data.notifications import timing
from valhalla.features.data.notifications.contracts import Item, Outcome, Rule
from valhalla.kernel.alerting import Pattern, Severity, rank, reaches, worse

NAME: Final = r"[a-z0-9][a-z0-9_.-]{0,62}"
# of a message alone, not of whom it was sent to: trying others first does no harm
_REFUSES: Final = frozenset({400, 413, 415, 422})
_GONE: Final = 410
_BAD_WORDS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TITLE: Final = 200
_LOUD: Final[Mapping[str, Severity]] = {
    "failed": "error",
    "dead": "error",
    "lost": "critical",
    "missed": "error",
    "denied": "warning",
    "held": "warning",
    "overdue": "warning",
    "quota_exceeded": "warning",
}


def line(text: str, limit: int = _TITLE) -> str:
    """Return text as one line that may stand in a header: whatever could end the line is a space."""
    return _BAD_WORDS.sub(" ", text).strip()[:limit]


def severity_of(event: str, data: Mapping[str, Any]) -> Severity:
    """Return how grave an event is: what it says itself, else what its name says."""
    told = data.get("severity")
    if told in ("info", "warning", "error", "critical"):
        return told
    return _LOUD.get(event.rpartition(".")[2], "info")


def title_of(event: str, subject: str, data: Mapping[str, Any]) -> str:
    """Return one line that says what happened."""
    title = data.get("title")
    if isinstance(title, str) and title:
        what = event.rpartition(".")[2] if event.startswith("alert.") else ""
        return line(f"{title} ({what})" if what else title)
    name = data.get("name") or data.get("channel") or subject
    return line(f"{event}: {name}")


def failing_channel(event: str, data: Mapping[str, Any]) -> str | None:
    """Return the channel that an event says is failing, itself or as an alert: it is not told that by itself."""
    labels = data.get("labels")
    if event.startswith("delivery."):
        found = data.get("channel")
    elif event.startswith("alert.") and str(data.get("name", "")).startswith("delivery.") and isinstance(labels, dict):
        found = labels.get("channel")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    else:
        return None
    return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Watcher:
    """A rule, ready to be asked."""

    rule: Rule
    patterns: tuple[Pattern, ...]

    @classmethod
    def of(cls, rule: Rule) -> Watcher:
        """Read a rule's patterns."""
        return cls(rule, tuple(map(Pattern, rule.events)))

    def wants(self, event: str, severity: Severity, data: Mapping[str, Any]) -> bool:
        """Say whether it concerns an event."""
        rule = self.rule
        if not rule.enabled or not reaches(severity, rule.minimum):
            return False
        # what an operator silenced is told to nobody
        if data.get("silenced_by"):
            return False
        return any(each.matches(event) for each in self.patterns) and all(
            member(data, name) == value for name, value in rule.where.items()
        )


def member(data: Mapping[str, Any], name: str) -> str:
    """Return a member of an event's data as text, or a label of that name; empty when there is none."""
    found = data.get(name)
    labels = data.get("labels")
    if found is None and isinstance(labels, dict):
        found = labels.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return "" if found is None else str(found)  # pyright: ignore[reportUnknownArgumentType]


@dataclass(frozen=True, slots=True)
class Plan:
    """When a message is due; those with the same ``bundle`` become one while they wait."""

    due_at: datetime
    bundle: str | None = None


def plan(rule: Rule, channel: str, item: Item, now: datetime, sent_lately: int | None = None) -> Plan:
    """Decide when a rule tells a channel of something; ``sent_lately`` is how often in the window of its rate."""
    parts = [rule.name, channel]
    due, why = now, ""
    if rule.digest is not None:
        due, why = timing.next_digest(rule.digest, now), "digest"
    elif rule.group_by or rule.group_wait:
        due, why = now + timedelta(seconds=rule.group_wait), "group"
        parts += [member(item.data, name) if name != "type" else item.type for name in rule.group_by]
    elif sent_lately is not None and rule.rate is not None:
        most, window = rate_of(rule.rate)
        if sent_lately >= most:
            due, why = now + timedelta(seconds=window), "rate"
    if rule.quiet is not None and not reaches(item.severity, rule.quiet.above):
        until = timing.quiet_until(rule.quiet, due)
        if until is not None:
            due, why = until, why or "quiet"
    return Plan(due, _bundle(why, parts)) if why else Plan(due)


MOST_AT_ONCE: Final = 10_000
"""A channel's rate is of so many at most: the moment of each is remembered."""


def rate_of(text: str) -> tuple[int, float]:
    """Read ``20/hour``: how many messages in how many seconds.

    Raises:
        Invalid: it has another form.
    """
    from valhalla.features.operations.limits.rules import parse_rate

    found = parse_rate(text)
    return found.capacity, found.window


def _bundle(why: str, parts: Iterable[str]) -> str:
    hashed = blake2b(digest_size=12)
    for part in (why, *parts):
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(data) + data)
    return f"{why}:{hashed.hexdigest()}"


def gravest(items: Iterable[Item]) -> Severity:
    """Return the severity of what is gravest."""
    found: Severity = "info"
    for item in items:
        found = worse(found, item.severity)
    return found


def outcome_of(status: int) -> Outcome:
    """Return what a status of HTTP means: 2xx arrived, 410 never come again, and a redirect is not followed."""
    if 200 <= status < 300:
        return "delivered"
    if status == _GONE:
        return "gone"
    return "refused" if status in _REFUSES else "failed"


def tells_of_channel(outcome: Outcome) -> bool:
    """Say whether a failure speaks against the channel and not only against the message."""
    return outcome in ("failed", "gone")


def gravity(severity: Severity) -> int:
    """Return the rank of a severity."""
    return rank(severity)
