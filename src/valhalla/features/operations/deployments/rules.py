"""DORA figures from finished deployments: pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from valhalla.features.operations.deployments.contracts import Dora, Finished, Spread


def dora(rows: Iterable[Finished], since: datetime, until: datetime, *, truncated: bool = False) -> Dora:
    """Return the figures of ``since <= finished_at < until``; rows from after ``until`` say what was restored then.

    A deployment counts as a failure if it failed or was rolled back, whenever that was. It is restored by the next
    one of its service and environment that went live after it failed.
    """
    everything = list(rows)
    live: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for row in everything:
        if row.good:
            live[row.environment, row.service].append(row.finished_at)
    for instants in live.values():
        instants.sort()
    window = [row for row in everything if since <= row.finished_at < until]
    failures = [row for row in window if row.failed_at is not None]
    restored: list[float] = []
    for row in failures:
        assert row.failed_at is not None
        instants = live[row.environment, row.service]
        following = bisect_right(instants, row.failed_at)
        if following < len(instants):
            restored.append((instants[following] - row.failed_at).total_seconds())
    good = [row for row in window if row.good]
    leads = [
        (row.finished_at - row.committed_at).total_seconds()
        for row in good
        if row.committed_at is not None and row.committed_at <= row.finished_at
    ]
    days = (until - since).total_seconds() / 86_400
    return Dora(
        since=since,
        until=until,
        deployments=len(good),
        per_day=len(good) / days if days > 0 else 0.0,
        failures=len(failures),
        failure_rate=len(failures) / len(window) if window else None,
        lead_time=spread(leads),
        time_to_restore=spread(restored),
        unrestored=len(failures) - len(restored),
        truncated=truncated,
    )


def spread(seconds: Sequence[float]) -> Spread:
    """Return median and 90th percentile (the nearest that occurred)."""
    if not seconds:
        return Spread()
    ordered = sorted(seconds)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Spread(len(ordered), median, ordered[math.ceil(0.9 * len(ordered)) - 1])
