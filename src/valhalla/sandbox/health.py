"""The verdict on a sandbox: healthy, degraded or unhealthy, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from valhalla.kernel.problems import Problem
from valhalla.sandbox.contracts import HealthReport, LaneHealth, Sandbox
from valhalla.sandbox.slices.contracts import Probe

SOON: Final = timedelta(minutes=15)
_NEAR: Final = 0.8


def judge(
    sandbox: Sandbox, probes: Mapping[str, Probe], *, now: datetime, lane: LaneHealth | Problem | None = None
) -> HealthReport:
    """Weigh the probes: a slice that fails or a sandbox that is not running is unhealthy; little time left is degraded.

    So is a lane that lags, nears its quota or has dead letters, and one that nobody can say anything of.

    A sandbox without routes is healthy: routes are optional.
    """
    checks = dict(probes)
    reasons = [f"{name}: {probe.reason}" for name, probe in probes.items() if not probe.ok]
    broken = bool(reasons)
    left = sandbox.expires_at - now
    if sandbox.status != "running":
        broken = True
        reasons.insert(0, f"the sandbox is {sandbox.status}")
    elif sandbox.quarantined_at is not None:
        broken = True
        reasons.insert(0, "the sandbox is in quarantine")
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
    if lane is not None:
        checks["lane"] = Probe(not isinstance(lane, Problem), 0.0, _lane(lane))
        reasons.extend([f"lane: {checks['lane'].reason}"] if checks["lane"].reason else [])
    warned = [f"{name}: {probe.reason}" for name, probe in probes.items() if probe.ok and probe.reason]
    reasons.extend(warned)
    count = len(sandbox.routes)
    checks["routes"] = Probe(True, 0.0, f"{count} linked" if count else None)
    health = "unhealthy" if broken else "degraded" if reasons else "healthy"
    return HealthReport(sandbox, health, tuple(reasons), checks, None if isinstance(lane, Problem) else lane)


def _lane(lane: LaneHealth | Problem) -> str | None:
    """Return what is wrong with a lane."""
    if isinstance(lane, Problem):
        return lane.detail or lane.title
    found: list[str] = []
    if lane.is_lagging:
        unread = lane.waiting + lane.unacknowledged
        found.append(f"{unread} events unread, the oldest for {lane.oldest_unread_seconds or 0:.0f} s")
    if lane.dead_letters:
        found.append(f"{lane.dead_letters} dead letters")
    if lane.events >= lane.quota * _NEAR:
        found.append(f"{lane.events} of {lane.quota} events, then the oldest go")
    if lane.bytes >= lane.byte_quota * _NEAR:
        found.append(f"{lane.bytes / 2**20:.1f} of {lane.byte_quota / 2**20:.1f} MB, then the oldest events go")
    return ", ".join(found) or None
