"""Which domain events are alerts, and which end them: the one table of it (docs/alerts.md explains each)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from valhalla.features.observability.alerts.contracts import Raised
from valhalla.kernel import alerting
from valhalla.kernel.alerting import Severity

_LABEL: Final = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """An event that is an alert. ``group`` names the members of its data that make two occurrences the same alert."""

    event: str
    severity: Severity
    title: str
    """``{member}`` stands for a member of the event's data."""
    group: tuple[str, ...]
    ended_by: tuple[str, ...] = ()
    """The events with the same group that end it; not one whose data says that others are ``still`` so."""


KINDS: Final[tuple[Kind, ...]] = (
    Kind("job.dead", "error", "Job {name} failed for good", ("name",), ("job.replayed",)),
    Kind(
        "job.held",
        "warning",
        "Job {name} waits: no worker knows this name",
        ("name",),
        ("job.released", "job.replayed"),
    ),
    Kind(
        "heartbeat.missed", "error", "{name} has gone silent", ("name",), ("heartbeat.recovered", "heartbeat.forgotten")
    ),
    Kind("readiness.lost", "critical", "The control plane {source} is not ready", ("source",), ("readiness.regained",)),
    Kind("sandbox.failed", "error", "A sandbox of {owner} could not be made", ("owner",)),
    Kind("sandbox.quota_exceeded", "warning", "A sandbox of {owner} was ended over its quota", ("owner",)),
    Kind("sandbox.quota_warning", "info", "A sandbox of {owner} nears its quota", ("owner",)),
    Kind(
        "lane.lagging",
        "warning",
        "Sandbox {name} does not keep up with its events",
        ("id", "name"),
        ("lane.recovered",),
    ),
    Kind(
        "lane.trimmed",
        "warning",
        "Sandbox {name} had more events than it may keep, and lost the oldest",
        ("id", "name"),
    ),
    Kind("lane.dead_letters", "warning", "Sandbox {name} could not work on events", ("id", "name")),
    Kind("claim.late", "warning", "Ingress {ingress} was late to follow a claim", ("ingress",)),
    Kind("export.failed", "error", "An export of {source} failed", ("source",), ("export.completed",)),
    Kind("retention.blocked", "error", "A purge of {category} could not be done", ("category",)),
    Kind("action.denied", "warning", "Action {name} was denied", ("name",)),
    Kind("action.held", "warning", "Action {name} waits for approval", ("name",)),
    Kind("action.escalated", "error", "Action {name} has waited for approval for too long", ("name",)),
    Kind("action.failed", "error", "Action {name} failed", ("name",)),
    Kind("action.indeterminate", "critical", "Nobody knows whether action {name} happened", ("name",)),
    Kind("error.new", "error", "Unexpected {kind} in {route}", ("id", "kind", "route"), ("error.resolved",)),
    Kind("error.regressed", "error", "{kind} in {route} is back", ("id", "kind", "route"), ("error.resolved",)),
    Kind("maintenance.overdue", "warning", "Writes have been closed for long", (), ("maintenance.ended",)),
    Kind("smoke.failed", "error", "Smoke suite {suite} fails at {base_url}", ("suite", "base_url"), ("smoke.passed",)),
    Kind(
        "smoke.remedy_failed",
        "critical",
        "What smoke suite {suite} declares for its failure at {base_url} could not be done",
        ("suite", "base_url"),
        ("smoke.passed",),
    ),
    Kind("security.elevated", "warning", "The security mode is raised", (), ("security.normal",)),
    Kind("security.lockdown", "critical", "The control plane is in lockdown", (), ("security.normal",)),
    Kind("policy.blocked", "error", "Policy {policy} has blocked {subject}", ("policy", "subject")),
    Kind("policy.held", "warning", "Policy {policy} holds requests of {subject}", ("policy", "subject")),
    Kind("decoy.touched", "warning", "{address} touches decoys", ("address",)),
    Kind("decoy.key_used", "critical", "Somebody at {address} uses decoy key {decoy}", ("decoy", "address")),
    Kind("decoy.canary_seen", "critical", "Canary {decoy} was seen at {address}", ("decoy", "address")),
    Kind("honeypot.caught", "warning", "Honeypot {honeypot} caught {address}", ("honeypot", "address")),
    Kind("delivery.failed", "error", "Notifications to {channel} fail", ("channel",), ("delivery.recovered",)),
)
_BY_EVENT: Final[Mapping[str, Kind]] = {kind.event: kind for kind in KINDS}
_ENDED: Final[Mapping[str, tuple[Kind, ...]]] = {
    event: tuple(kind for kind in KINDS if event in kind.ended_by)
    for event in {event for kind in KINDS for event in kind.ended_by}
}


def is_known(event: str) -> bool:
    """Say whether an event raises or ends an alert."""
    return event in _BY_EVENT or event in _ENDED


def translate(event: str, data: Mapping[str, Any], at: datetime) -> Iterator[Raised]:
    """Yield what an event means: an alert, the end of some, or nothing."""
    if (kind := _BY_EVENT.get(event)) is not None:
        yield _raised(kind, data, at, resolves=False)
    for ended in _ENDED.get(event, ()):
        if ended.event.partition(".")[2] in data.get("still", ()):
            continue
        yield _raised(ended, data, at, resolves=True)


def _raised(kind: Kind, data: Mapping[str, Any], at: datetime, *, resolves: bool) -> Raised:
    labels = {member: str(data.get(member, ""))[:_LABEL] for member in kind.group}
    source = kind.event.partition(".")[0]
    return Raised(
        fingerprint=alerting.fingerprint(f"{source}/{kind.event}", labels),
        name=kind.event,
        source=source,
        severity=kind.severity,
        title=kind.title.format_map(labels),
        at=at,
        labels=labels,
        context=data,
        resolves=resolves,
    )
