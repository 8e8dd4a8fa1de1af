"""The policies that a new control plane begins with; from then on they are the operator's."""

from __future__ import annotations

from typing import Final

from valhalla.features.security.policies.contracts import Policy

STOCK: Final = (
    Policy(
        name="lockdown",
        when="!principal.scopes.exists(s,"
        ' s in ["admin", "policies:write", "policies:*", "bouncer", "honeypots:ingest"])',
        action="challenge",
        modes=("lockdown",),
        priority=100,
        description="in lockdown only those pass who can end it, bouncers and honeypots",
    ),
    Policy(
        name="failed-auth",
        when="counters.failed_auth >= 10",
        action="block",
        modes=("elevated", "lockdown"),
        description="ten wrong keys within a minute while the mode is raised",
    ),
    Policy(
        name="scans",
        when="counters.scans >= 20",
        action="block",
        modes=("elevated", "lockdown"),
        description="twenty paths that are not there within a minute while the mode is raised",
    ),
    Policy(
        name="failed-auth-storm",
        when="counters.failed_auth >= 100",
        action="block",
        shadow=True,
        description="a hundred wrong keys within a minute; switch the shadow off to block",
    ),
    Policy(
        name="honeypots",
        on="honeypot",
        when="source.score >= 30",
        action="block",
        duration=3600.0,
        description="what honeypots and decoys caught of one address within an hour",
    ),
)
