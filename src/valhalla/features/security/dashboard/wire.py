"""The security dashboard on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from valhalla.features.security.dashboard.contracts import Span
from valhalla.kit.http import WireModel


class StandingOut(WireModel):
    """The security mode; ``until`` is when it falls back."""

    mode: str
    reason: str
    actor: str
    since: datetime | None
    until: datetime | None


class SeverityOut(WireModel):
    """How many incidents of a severity are not over."""

    severity: str
    open: int
    acknowledged: int


class IncidentOut(WireModel):
    """One incident: an alert about security (`/system/alerts/{id}`)."""

    id: str
    name: str
    severity: str
    status: str
    title: str
    count: int
    opened_at: datetime
    last_at: datetime


class IncidentsOut(WireModel):
    """Alerts about security that are not resolved."""

    by_severity: list[SeverityOut]
    newest: list[IncidentOut]


class HitOut(WireModel):
    """A rule, and how often it refused a request."""

    key: str
    hits: int
    last_at: datetime


class BlocksOut(WireModel):
    """The blocklist."""

    rules: int
    allowed: int
    top: list[HitOut]


class CaughtOut(WireModel):
    """An address that honeypots caught."""

    address: str
    score: int
    events: int
    last_at: datetime


class ActivityOut(WireModel):
    """What honeypots and decoys caught within the last hour."""

    kinds: dict[str, int]
    honeypots: dict[str, int]
    addresses: list[CaughtOut]


class WaitingOut(WireModel):
    """Requests of one type that wait for approval."""

    type: str
    open: int
    oldest_at: datetime


class AgesOut(WireModel):
    """For how long requests have waited."""

    hour: int = Field(description="up to an hour")
    day: int = Field(description="up to a day")
    older: int


class ApprovalsOut(WireModel):
    """What waits for approval; 2,000 at most are counted."""

    open: int
    by_type: list[WaitingOut]
    by_age: AgesOut


class PointOut(WireModel):
    """What happened from an instant on, up to the next point."""

    at: datetime
    count: int


class TrendOut(WireModel):
    """How often something happened, of all processes."""

    metric: str
    points: list[PointOut]


class DashboardOut(WireModel):
    """What stands, what waits, and how it went."""

    at: datetime
    window: Span
    mode: StandingOut
    incidents: IncidentsOut
    blocklist: BlocksOut
    honeypots: ActivityOut
    approvals: ApprovalsOut
    failed_auth_per_minute: float
    trends: list[TrendOut]
