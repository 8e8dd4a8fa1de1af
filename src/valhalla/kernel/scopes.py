"""Every scope that a key can hold: the one list. A feature that needs another adds a line here.

A scope is ``area:verb``. ``x:write`` includes ``x:read``, ``x:*`` all of an area, ``admin`` everything; other verbs
include nothing. A role is a name for the scopes that somebody of that trade needs: each holds what those before hold.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, NamedTuple

ADMIN: Final = "admin"

Role = Literal["viewer", "developer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "developer", "operator", "admin")


class Scope(NamedTuple):
    """What a scope allows, and the least role that has it (``None``: given by name only)."""

    description: str
    role: Role | None


SCOPES: Final = MappingProxyType(
    {
        ADMIN: Scope("everything, everybody's things included", "admin"),
        "sandbox:read": Scope("see one's sandboxes", "viewer"),
        "sandbox:write": Scope("make, enter and destroy one's sandboxes", "developer"),
        "ingress": Scope("publish live events, into whichever lane they belong", "operator"),
        "ingress:read": Scope("see what receives webhooks", "operator"),
        "ingress:write": Scope("set up what receives webhooks", "operator"),
        "sources:read": Scope("see who publishes events under subjects of their own", "viewer"),
        "sources:write": Scope("declare such publishers, issue their NATS credentials", "operator"),
        "jobs:read": Scope("see jobs and queues", "viewer"),
        "jobs:write": Scope("enqueue, retry and cancel jobs", "operator"),
        "schedules:read": Scope("see the timetable", "viewer"),
        "schedules:write": Scope("change, pause and run schedules", "operator"),
        "heartbeats:read": Scope("see who lives", "viewer"),
        "heartbeats:write": Scope("send heartbeats, say what shall be watched", "developer"),
        "alerts:read": Scope("see alerts and silences", "viewer"),
        "alerts:write": Scope("send, acknowledge and silence alerts", "operator"),
        "holds:read": Scope("see actions that wait for approval", "viewer"),
        "holds:approve": Scope("approve or deny held actions", "operator"),
        "audit:read": Scope("read and verify the ledger", "operator"),
        "logs:read": Scope("search the logs", "developer"),
        "logs:write": Scope("send log lines", "developer"),
        "traces:read": Scope("see traces", "viewer"),
        "errors:read": Scope("see error groups", "viewer"),
        "errors:write": Scope("resolve and mute error groups", "operator"),
        "health:read": Scope("see how the control plane is, check by check", "viewer"),
        "metrics:read": Scope("see the history of metrics", "viewer"),
        "telemetry": Scope("send spans and metrics", "developer"),
        "events:read": Scope("follow what happens, as far as the other scopes allow to know it", "viewer"),
        "graphql": Scope("ask for several things in one query, each as its own scope allows", "viewer"),
        "routes:read": Scope("see the index of routes", "viewer"),
        "operations:read": Scope("see the admin overview, the admin actions and what was done", "operator"),
        "operations:write": Scope("execute admin actions whose own scopes one holds", "operator"),
        "keys:read": Scope("see API keys without their secrets", "operator"),
        "keys:write": Scope("issue, change, rotate and revoke API keys, up to one's own rights", "admin"),
        "snapshot:read": Scope("follow keys (hashed), limits and maintenance, as an application's gate does", None),
        "limits:read": Scope("see rate limits and their usage", "viewer"),
        "limits:write": Scope("change rate limits", "operator"),
        "maintenance:read": Scope("see state and windows of maintenance", "viewer"),
        "maintenance:write": Scope("change the state, plan windows", "operator"),
        "maintenance:bypass": Scope("write while others may not", None),
        "flags:read": Scope("see and evaluate flags", "viewer"),
        "flags:write": Scope("change flags", "operator"),
        "config:read": Scope("see configuration", "viewer"),
        "config:write": Scope("change configuration", "operator"),
        "deployments:read": Scope("see deployments and smoke tests", "viewer"),
        "deployments:write": Scope("record deployments, run smoke tests", "operator"),
        "policies:read": Scope("see security policies", "viewer"),
        "policies:write": Scope("change security policies and the mode", "operator"),
        "blocklist:read": Scope("see who is blocked", "viewer"),
        "blocklist:write": Scope("block and unblock", "operator"),
        "bouncer": Scope("pull decisions as a bouncer", None),
        "actions:read": Scope("see requested security actions", "viewer"),
        "actions:write": Scope("request security actions", "operator"),
        "actions:approve": Scope("approve security actions that others requested", "operator"),
        "honeypots:read": Scope("see honeypots and what they caught", "viewer"),
        "honeypots:write": Scope("set up honeypots", "operator"),
        "honeypots:ingest": Scope("send what a honeypot caught", None),
        "security:read": Scope("see the security dashboard", "viewer"),
        "notifications:read": Scope("see channels and notifications", "viewer"),
        "notifications:write": Scope("set up channels, send notifications", "operator"),
        "exports:read": Scope("see and fetch exports", "viewer"),
        "exports:write": Scope("export data", "operator"),
        "retention:read": Scope("see retention policies", "viewer"),
        "retention:write": Scope("change retention policies, purge", "operator"),
    }
)


def is_scope(text: str) -> bool:
    """Say whether a key can hold this: a scope of the list, or all of one of its areas."""
    area, colon, verb = text.partition(":")
    return text in SCOPES or (verb == "*" and any(scope.startswith(area + colon) for scope in SCOPES))


def scopes_of(role: Role | None) -> frozenset[str]:
    """Return what a role holds; nobody's role holds nothing."""
    if role is None:
        return frozenset()
    if role == ADMIN:
        return frozenset({ADMIN})
    rank = ROLES.index(role)
    return frozenset(name for name, scope in SCOPES.items() if scope.role and ROLES.index(scope.role) <= rank)
