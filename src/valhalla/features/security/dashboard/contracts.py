"""The values of the security dashboard, and what it looks at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from valhalla.features.security.actions.contracts import Asked
from valhalla.kit.paging import Page

READ: Final = "security:read"
BUCKET: Final = timedelta(minutes=5)
KEPT: Final = timedelta(days=8)
Span = Literal["1h", "24h", "7d"]


class Window(NamedTuple):
    """How far back a trend goes, and how long one of its points is."""

    length: timedelta
    point: timedelta


WINDOWS: Final[Mapping[Span, Window]] = {
    "1h": Window(timedelta(hours=1), BUCKET),
    "24h": Window(timedelta(hours=24), timedelta(hours=1)),
    "7d": Window(timedelta(days=7), timedelta(hours=6)),
}
METRICS: Final = ("failed_auth", "scans", "denied", "decoys", "blocked", "policies", "honeypots")
"""What is rolled up: answers 401 to keys that are nobody's, paths that are not there, 403, decoys touched, requests
that a rule of the blocklist refused, policies that acted, events of honeypots."""

INCIDENTS: Final = ("policy", "decoy", "honeypot", "security", "action")
"""The sources of the alerts that are incidents of security."""
Counted = Callable[[], Mapping[str, int]]
"""Returns how often each metric happened in this process since it started."""
Listed = Callable[[str | None], Awaitable[Page[Asked]]]
"""Returns a page of requests that wait for approval, from a cursor on."""


class Point(NamedTuple):
    """One point of a trend."""

    at: datetime
    happened: int
