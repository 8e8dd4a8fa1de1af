"""What is told of checks, and when readiness was lost: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Invalid
from valhalla.kit.checks import Report, Result

MOST_POINTS: Final = 1000
SHORTEST_STEP: Final = 10.0
_POINTS: Final = 200
_LONGEST: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Turn:
    """Readiness was lost (``ready`` is False) or regained, with the reasons by check of the loss."""

    ready: bool
    reasons: Mapping[str, str]
    at: datetime
    lasted: float = 0.0

    @property
    def type(self) -> str:
        """The event that tells of it."""
        return "readiness.regained" if self.ready else "readiness.lost"


def turn(before: Turn | None, report: Report, *, now: datetime) -> Turn | None:
    """Return what is new: readiness that goes or comes back; the first time only that it is not there is news."""
    was_ready = before is None or before.ready
    if report.ok == was_ready:
        return None
    lasted = 0.0 if before is None else max(0.0, (now - before.at).total_seconds())
    return Turn(report.ok, reasons(report), now, lasted)


def reasons(report: Report) -> dict[str, str]:
    """Return why it is not ready, by critical check."""
    failed = {result.name: result.reason or "it failed" for result in report.results if not _may_fail(result)}
    return failed if failed or report.ok else {"readiness": report.reason or "it failed"}


def _may_fail(result: Result) -> bool:
    return result.ok or not result.critical


def document(report: Report) -> dict[str, Any]:
    """Return ``{status, checks}`` as ``/ready`` answers it."""
    return {
        "status": "ready" if report.ok else "not-ready",
        "checks": {result.name: check(result) for result in report.results},
    }


def check(result: Result) -> dict[str, Any]:
    """Return one check as every report tells it."""
    return {
        "ok": result.ok,
        "latency_ms": round(result.seconds * 1000, 3),
        "reason": result.reason,
        "help": None if result.ok else result.help,
        "critical": result.critical,
        "age_seconds": None if result.age is None else round(result.age, 3),
        "late": result.late,
    }


def health_json(report: Report, *, version: str, now: datetime) -> dict[str, Any]:
    """Return the same in the form of ``application/health+json`` (draft-inadarei-api-health-check-06)."""
    checks: dict[str, list[dict[str, Any]]] = {}
    for result in report.results:
        item: dict[str, Any] = {
            "status": "pass" if result.ok else "fail" if result.critical else "warn",
            "observedValue": round(result.seconds * 1000, 3),
            "observedUnit": "ms",
        }
        if result.age is not None:
            item["time"] = isoformat(now - timedelta(seconds=result.age))
        if result.reason is not None and not result.ok:
            item["output"] = result.reason
        checks[f"{result.name}:responseTime"] = [item]
    return {"status": status(report), "version": version, "checks": checks}


def status(report: Report) -> str:
    """Return ``pass``, ``warn`` when only what is not critical fails, or ``fail``."""
    if not report.ok:
        return "fail"
    return "pass" if all(result.ok for result in report.results) else "warn"


def span(start: datetime | None, end: datetime | None, step: float | None, *, now: datetime) -> tuple[Any, Any, float]:
    """Return start, end and the seconds between two points of a history; the last hour when nothing is said.

    Raises:
        Invalid: it ends before it starts, is longer than a month, or has more points than anybody can look at.
    """
    end = now if end is None else end
    start = end - timedelta(hours=1) if start is None else start
    seconds = (end - start).total_seconds()
    if seconds <= 0:
        raise Invalid("'from' lies before 'to'")
    if end - start > _LONGEST:
        raise Invalid("a history is 31 days at most")
    if step is None:
        step = max(SHORTEST_STEP, math.ceil(seconds / _POINTS / SHORTEST_STEP) * SHORTEST_STEP)
    if seconds / step > MOST_POINTS:
        raise Invalid(f"that is more than {MOST_POINTS} points: choose a longer step", shortest=seconds / MOST_POINTS)
    return start, end, step
