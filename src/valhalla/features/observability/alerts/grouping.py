"""Occurrences to groups: pure, and bounded whatever comes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from valhalla.features.observability.alerts.contracts import Raised
from valhalla.kernel import alerting
from valhalla.kernel.alerting import Severity

OVERFLOW: Final = "alerts.overflow"


@dataclass(slots=True)
class Group:
    """The occurrences of one fingerprint since the last write. ``count`` 0: only its end was told."""

    fingerprint: str
    name: str
    source: str
    severity: Severity
    title: str
    labels: Mapping[str, str]
    context: Mapping[str, Any]
    count: int
    first_at: datetime
    last_at: datetime
    ended: bool
    starts_at: datetime | None
    ends_at: datetime | None

    @classmethod
    def of(cls, one: Raised) -> Group:
        """Begin a group with its first occurrence."""
        return cls(
            one.fingerprint,
            one.name,
            one.source,
            one.severity,
            one.title,
            one.labels,
            one.context,
            0 if one.resolves else 1,
            one.at,
            one.at,
            one.resolves,
            one.starts_at,
            one.ends_at,
        )

    def add(self, one: Raised) -> None:
        """Take one more occurrence or the end; the latest of them has the last word."""
        self.ended = one.resolves
        self.last_at = one.at
        if one.resolves:
            return
        self.count += 1
        self.severity = alerting.worse(self.severity, one.severity)
        self.title, self.context = one.title, one.context
        self.starts_at, self.ends_at = self.starts_at or one.starts_at, one.ends_at

    def join(self, later: Group) -> None:
        """Take in what came after, group by group."""
        self.count += later.count
        self.ended, self.last_at = later.ended, later.last_at
        if later.count:
            self.severity = alerting.worse(self.severity, later.severity)
            self.title, self.context = later.title, later.context
            self.starts_at, self.ends_at = self.starts_at or later.starts_at, later.ends_at


def fold(raised: Iterable[Raised]) -> dict[str, Group]:
    """Return the groups of some occurrences, which come in the order in which they happened."""
    groups: dict[str, Group] = {}
    for one in raised:
        group = groups.get(one.fingerprint)
        if group is None:
            groups[one.fingerprint] = Group.of(one)
        else:
            group.add(one)
    return groups


def overflow(source: str, severity: Severity, at: datetime) -> Group:
    """Return an empty overflow group of a source."""
    return Group(
        fingerprint=alerting.fingerprint(f"valhalla/{OVERFLOW}", {"of": source}),
        name=OVERFLOW,
        source=source,
        severity=severity,
        title=f"More different alerts of {source} than are kept apart",
        labels={"of": source},
        context={},
        count=0,
        first_at=at,
        last_at=at,
        ended=False,
        starts_at=None,
        ends_at=None,
    )


def spill(overflowing: Group, group: Group) -> None:
    """Count a group's occurrences in the overflow; what it was about last is kept as an example."""
    overflowing.count += group.count
    overflowing.severity = alerting.worse(overflowing.severity, group.severity)
    overflowing.last_at = max(overflowing.last_at, group.last_at)
    overflowing.context = {"last": {"name": group.name, "title": group.title, "labels": dict(group.labels)}}


def merge(groups: Iterable[Group]) -> dict[str, Group]:
    """Return one group per fingerprint; of equal ones the later comes later."""
    merged: dict[str, Group] = {}
    for group in groups:
        if (earlier := merged.get(group.fingerprint)) is None:
            merged[group.fingerprint] = group
        else:
            earlier.join(group)
    return merged
