"""Alerts as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from valhalla.kernel.alerting import Severity
from valhalla.kernel.lifecycle import Lifecycle

Status = Literal["open", "acknowledged", "resolved"]
Told = Literal["opened", "escalated", "resolved"]
"""What happens to an alert that a subscriber hears of."""

LIFECYCLE: Final = Lifecycle(
    name="alert",
    initial="open",
    transitions={
        "open": frozenset({"acknowledged", "resolved"}),
        # what was acknowledged and grows worse wants to be looked at again
        "acknowledged": frozenset({"open", "resolved"}),
        "resolved": frozenset({"open"}),
    },
)

# what domain events and the intake raise: nobody may raise or resolve these by the API in their name
OWN_SOURCES: Final = frozenset(
    {"job", "heartbeat", "sandbox", "readiness", "action", "error", "delivery", "alertmanager", "maintenance", "smoke"}
    | {"security", "policy", "honeypot", "decoy", "export", "retention", "lane", "claim"}
)


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """One occurrence, or with ``resolves`` the news that it is over; equal fingerprints are one alert."""

    fingerprint: str
    name: str
    source: str
    severity: Severity
    title: str
    at: datetime
    labels: Mapping[str, str] = {}
    context: Mapping[str, Any] = {}
    resolves: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """All occurrences with one fingerprint: ``count`` and ``first_at`` of all times, ``opened_at`` of this episode."""

    id: str
    fingerprint: str
    name: str
    source: str
    severity: Severity
    status: Status
    title: str
    labels: dict[str, str]
    context: dict[str, Any]
    count: int
    episodes: int
    escalations: int
    first_at: datetime
    opened_at: datetime
    last_at: datetime
    starts_at: datetime
    ends_at: datetime | None
    escalate_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


class Matcher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One condition on a label: equality, or a regular expression (RE2) that must fit the whole value.

    Besides the labels of an alert there are ``alertname``, ``severity``, ``source`` and ``fingerprint``; a label that
    an alert does not have is the empty text.
    """

    name: str
    value: str
    regex: bool = False
    equal: bool = True


class Silence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alerts that fit every matcher are not told to anybody from ``starts_at`` until ``ends_at``."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    reason: str
    updated_at: datetime


class AlertRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator changes about alerts whose name fits ``match``; of several rules the most exact one holds."""

    match: str
    severity: Severity | None = None
    """Instead of the one it was raised with."""
    muted: bool = False
    """Neither stored nor told."""
    threshold: int = 1
    """Opened at so many occurrences of one fingerprint ..."""
    window: float = 60.0
    """... within so many seconds."""
    escalate_after: float | None = None
    """Seconds unacknowledged until it escalates; 0 is never, None what its severity has by default."""


class AlertSubscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to hear of alerts whose name fits ``pattern`` and that are at least ``minimum``."""

    pattern: str = "*"
    minimum: Severity = "warning"
    events: tuple[Told, ...] = ("opened", "escalated", "resolved")
    target: str | None = None
    """Where it goes: the name of a notification channel."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts; what is absent is not asked for."""

    statuses: tuple[Status, ...] = ()
    severities: tuple[Severity, ...] = ()
    source: str | None = None
    name: str | None = None
    text: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a storm may take: beyond it, occurrences are counted in one group per source, the overflow."""

    pending: int = 2_000
    """Distinct fingerprints in memory until they are written."""
    sources: int = 100
    """Distinct sources in memory until they are written."""
    opened_per_minute: int = 500
    """New groups per source and minute."""
    open: int = 5_000
    """Groups per source that are not resolved."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a bulk request: how many fitted, and what was or would be changed."""

    matched: int
    changed: int
    ids: tuple[str, ...]
    dry_run: bool
