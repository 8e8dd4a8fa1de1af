"""The verdict on a sandbox: healthy, degraded or unhealthy, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from valhalla.sandbox.contracts import HealthReport, Sandbox
from valhalla.sandbox.slices.contracts import Probe

SOON: Final = timedelta(minutes=15)


def judge(sandbox: Sandbox, probes: Mapping[str, Probe], *, now: datetime) -> HealthReport:
    """Weigh the probes: a slice that fails or a sandbox that is not running is unhealthy; little time left is degraded.

    A sandbox without routes is healthy: routes are optional.
    """
    checks = dict(probes)
    reasons = [f"{name}: {probe.reason}" for name, probe in probes.items() if not probe.ok]
    broken = bool(reasons)
    left = sandbox.expires_at - now
    if sandbox.status != "running":
        broken = True
        reasons.insert(0, f"the sandbox is {sandbox.status}")
    elif left <= timedelta(0):
        broken = True
        checks["ttl"] = Probe(False, 0.0, "its time is over")
        reasons.append("ttl: its time is over")
    elif left < SOON:
        text = f"{max(1, int(left.total_seconds() // 60))} min left"
        checks["ttl"] = Probe(True, 0.0, text)
        reasons.append(f"ttl: {text}")
    else:
        checks["ttl"] = Probe(True, 0.0)
    warned = [f"{name}: {probe.reason}" for name, probe in probes.items() if probe.ok and probe.reason]
    reasons.extend(warned)
    count = len(sandbox.routes)
    checks["routes"] = Probe(True, 0.0, f"{count} linked" if count else None)
    health = "unhealthy" if broken else "degraded" if reasons else "healthy"
    return HealthReport(sandbox, health, tuple(reasons), checks)
