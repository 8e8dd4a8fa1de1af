"""What the dashboard shows, gathered once however many people look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from valhalla.features.observability.alerts import Alert, Alerts
from valhalla.features.security.actions.contracts import Asked
from valhalla.features.security.blocklist import Blocklist
from valhalla.features.security.dashboard import store
from valhalla.features.security.dashboard.contracts import INCIDENTS, METRICS, WINDOWS, Listed, Point, Span
from valhalla.features.security.dashboard.rolling import bucket_of
from valhalla.features.security.honeypots import Honeypots
from valhalla.features.security.policies import Policies
from valhalla.kernel.alerting import SEVERITIES
from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database

_FRESH: Final = 2.0
_SHOWN: Final = 20
_PAGES: Final = 10
_AGES: Final = (("hour", timedelta(hours=1)), ("day", timedelta(days=1)))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The features that it looks at."""

    alerts: Alerts
    policies: Policies
    blocklist: Blocklist
    honeypots: Honeypots


class DashboardService:
    """Bounded queries only: two groups of open alerts, twenty rules, an hour of honeypots, at most 2,016 buckets."""

    def __init__(self, db: Database, clock: Clock, of: Neighbours, listed: Listed) -> None:
        self._db = db
        self._clock = clock
        self._of = of
        self._listed = listed
        self._lock = asyncio.Lock()
        self._shown: dict[Span, tuple[float, Mapping[str, Any]]] = {}

    async def look(self, span: Span) -> Mapping[str, Any]:
        """Return the members of ``DashboardOut``, two seconds old at most.

        Raises:
            Unavailable: the database cannot be reached.
        """
        async with self._lock:
            known = self._shown.get(span)
            if known is not None and time.monotonic() - known[0] < _FRESH:
                # in which mode one is costs nothing, and is what people look for first
                return {**known[1], "mode": self._of.policies.modes.now()._asdict()}
            found = await self._gather(span)
            self._shown[span] = (time.monotonic(), found)
            return found

    async def _gather(self, span: Span) -> Mapping[str, Any]:
        now = self._clock.now().astimezone(UTC)
        window = WINDOWS[span]
        since = bucket_of(now) + WINDOWS["1h"].point - window.length
        counts, newest = await self._of.alerts.service.standing(INCIDENTS, _SHOWN)
        trends = await self._db.read(store.trends, since, window.point)
        index = self._of.blocklist.keeper.index
        standing = self._of.policies.modes.now()
        failed = sum(point.happened for point in trends.get("failed_auth", ()))
        return {
            "at": now,
            "window": span,
            "mode": standing._asdict(),
            "incidents": {
                "by_severity": [
                    {
                        "severity": severity,
                        "open": counts.get((severity, "open"), 0),
                        "acknowledged": counts.get((severity, "acknowledged"), 0),
                    }
                    for severity in reversed(SEVERITIES)
                ],
                "newest": [_incident(alert) for alert in newest],
            },
            "blocklist": {
                "rules": len(index.blocked),
                "allowed": len(index.allowed),
                "top": [hit._asdict() for hit in await self._of.blocklist.hits.top(_SHOWN)],
            },
            "honeypots": await self._caught(),
            "approvals": _approvals(await self._open(), now),
            "failed_auth_per_minute": failed / (window.length.total_seconds() / 60),
            "trends": [
                {"metric": metric, "points": _filled(trends.get(metric, ()), since, span)} for metric in METRICS
            ],
        }

    async def _caught(self) -> Mapping[str, Any]:
        found = await self._of.honeypots.service.activity(hours=1)
        return {name: found[name] for name in found if name != "since"}

    async def _open(self) -> list[Asked]:
        found: list[Asked] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            page = await self._listed(cursor)
            found += page.items
            cursor = page.next
            if cursor is None:
                break
        return found


def _incident(alert: Alert) -> Mapping[str, Any]:
    names = ("id", "name", "severity", "status", "title", "count", "opened_at", "last_at")
    return {name: getattr(alert, name) for name in names}


def _approvals(asked: list[Asked], now: datetime) -> Mapping[str, Any]:
    types: dict[str, list[datetime]] = {}
    ages = {name: 0 for name, _ in _AGES} | {"older": 0}
    for one in asked:
        types.setdefault(one.type, []).append(one.created_at)
        ages[next((name for name, most in _AGES if now - one.created_at <= most), "older")] += 1
    return {
        "open": len(asked),
        "by_type": [
            {"type": type_, "open": len(each), "oldest_at": min(each)} for type_, each in sorted(types.items())
        ],
        "by_age": ages,
    }


def _filled(points: Any, since: datetime, span: Span) -> list[Mapping[str, Any]]:
    """Return every point of a trend: one in which nothing happened is zero and not missing."""
    window = WINDOWS[span]
    known: dict[datetime, Point] = {point.at: point for point in points}
    found: list[Mapping[str, Any]] = []
    for number in range(int(window.length / window.point)):
        at = since + number * window.point
        point = known.get(at)
        found.append({"at": at, "count": 0 if point is None else point.happened})
    return found
