"""The numbers of one sample: what the dashboard draws over time."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from valhalla.runtime import Runtime
from valhalla.server.traffic import TIMES, TOTAL, WITHIN

_LIVING: Final = ("pending", "creating", "running", "expired", "destroying")


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in the database, and when."""

    at: float
    sandboxes: Mapping[str, int]
    events: int
    oldest_event: float
    unsealed: int


def numbers(runtime: Runtime, counts: Counts | None) -> dict[str, float]:
    """Return this process's numbers, and the database's unless it is away. What only grows says so in its name."""
    found = {"ready": float(runtime.features.health.checks.last().ok), "database.up": float(counts is not None)}
    found |= _requests(runtime)
    if counts is not None:
        found |= {f"sandboxes.{status}": counts.sandboxes.get(status, 0) for status in _LIVING}
        found |= {"events.waiting": counts.events, "events.oldest_seconds": counts.oldest_event}
        found["ledger.unsealed"] = counts.unsealed
    found["feed.stale_seconds"] = runtime.feed.status()["stale_for"] or 0.0
    filler = runtime.sandboxes.filler
    if filler.enabled:
        found["pool.ready"] = sum(level.ready for level in filler.pool.values())
        found["pool.target"] = sum(level.target for level in filler.pool.values())
        found |= {"pool.claimed_total": filler.stock.claimed, "pool.missed_total": filler.stock.missed}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found["process.cpu_seconds_total"] = usage.ru_utime + usage.ru_stime
    # kilobytes on Linux, bytes on macOS
    found["process.peak_bytes"] = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found["process.threads"] = threading.active_count()
    return found


def _requests(runtime: Runtime) -> dict[str, float]:
    """Return the requests since the process began: all, by class of status, and by how long they took.

    Counts and no quantiles: those of several processes, or of some minutes, cannot be worked out from quantiles.
    """
    totals = dict.fromkeys(("2xx", "4xx", "5xx"), 0.0)
    found: dict[str, float] = {TOTAL: 0.0}
    for family in runtime.http_metrics.collect():
        if family.name == "valhalla_http_requests":
            for sample in family.samples:
                found[TOTAL] += sample.value
                status = sample.labels.get("status", "")
                if status in totals:
                    totals[status] += sample.value
        elif family.name == "valhalla_http_request_seconds":
            within = {sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels}
            found |= {WITHIN.format(bound): within[str(bound)] for bound in TIMES}
    return found | {f"http.{status}_total": value for status, value in totals.items()}
