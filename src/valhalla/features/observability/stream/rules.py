"""Pure: which topics there are, who may know what, and what a set of topics covers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kernel.scopes import ADMIN
from valhalla.kit import notices

REGISTRY: Final = "registry"
_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]{1,100}(?:\.[A-Za-z0-9_-]{1,100}){0,5}")
_MOST: Final = 50

# the first word of a subject, and what a key needs to hear of it; of what is not listed only admins hear
SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sandbox": "sandbox:read",
        "job": "jobs:read",
        "schedule": "schedules:read",
        "heartbeat": "heartbeats:read",
        "alert": "alerts:read",
        "action": "holds:read",
        "error": "errors:read",
        "readiness": "health:read",
        "routes": "routes:read",
        "flag": "flags:read",
        "config": "config:read",
        "maintenance": "maintenance:read",
        "deployment": "deployments:read",
        "smoke": "deployments:read",
        "policy": "policies:read",
        "block": "blocklist:read",
        "honeypot": "honeypots:read",
        "notification": "notifications:read",
        "export": "exports:read",
        "retention": "retention:read",
    }
)
# of what has no events, who names it hears that there is more (``kit.notices``); nothing of it is kept
HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        notices.LOGS: "logs:read",
        notices.TRACES: "traces:read",
        notices.AUDIT: "audit:read",
        notices.TEMPLATES: "sandbox:read",
        notices.JOBS: "jobs:read",
        notices.SCHEDULES: "schedules:read",
        notices.HEARTBEATS: "heartbeats:read",
        notices.APPLICATIONS: "health:read",
        notices.DELIVERIES: "notifications:read",
    }
)
REGISTRIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "api_clients": "keys:read",
        "people": "keys:read",
        "rate_limits": "limits:read",
        "alert_rules": "alerts:read",
        "alert_silences": "alerts:read",
        "alert_subscriptions": "alerts:read",
        "flags": "flags:read",
        "flag_rules": "flags:read",
        "config": "config:read",
        "maintenance_state": "maintenance:read",
        "maintenance_windows": "maintenance:read",
        "blocklist": "blocklist:read",
        "security_policies": "policies:read",
        "security_mode": "policies:read",
        "security_grants": "policies:read",
        "event_sources": "sources:read",
        "honeypots": "honeypots:read",
        "decoys": "honeypots:read",
        "smoke_suites": "deployments:read",
        "route_lists": "routes:read",
        "approval_chains": "actions:read",
        "retention_policies": "retention:read",
        "legal_holds": "retention:read",
        "notification_channels": "notifications:read",
        "notification_rules": "notifications:read",
        "notification_templates": "notifications:read",
        "webhook_receivers": "ingress:read",
    }
)


def scope_of(subject: str) -> str:
    """Return the scope that a key needs to hear of a subject."""
    first, _, rest = subject.partition(".")
    if first == REGISTRY:
        return REGISTRIES.get(rest.partition(".")[0], ADMIN)
    return SCOPES.get(first) or HINTS.get(first, ADMIN)


def may_know(principal: Principal, subject: str, data: Mapping[str, Any]) -> bool:
    """Say whether somebody may hear of an event: by scope, and of sandboxes only the own ones without ``admin``."""
    if principal.is_admin:
        return True
    if not principal.allows(scope_of(subject)):
        return False
    return not subject.startswith("sandbox.") or data.get("owner") == principal.owner


def covers(topics: Collection[str], subject: str) -> bool:
    """Say whether one of the topics is the subject or the beginning of it; no topics are all."""
    return not topics or any(subject == topic or subject.startswith(f"{topic}.") for topic in topics)


def parse(topics: str | Collection[str] | None) -> frozenset[str]:
    """Read topics: ``sandbox``, ``alert``, ``job.<id>``, ``registry.flags``; text has commas between them.

    Raises:
        Invalid: one is none, or there are too many.
    """
    found = [one.strip() for one in topics.split(",")] if isinstance(topics, str) else list(topics or ())
    wanted = frozenset(one for one in found if one)
    if len(wanted) > _MOST:
        raise Invalid(f"at most {_MOST} topics", parameter="topics")
    for one in wanted:
        if _TOPIC.fullmatch(one) is None:
            raise Invalid("a topic is words with dots, such as 'sandbox' or 'registry.flags'", parameter="topics")
    return wanted


def check(principal: Principal, topics: Collection[str]) -> None:
    """Accept topics that the principal may hear of: who names one should not wait for what never comes.

    Raises:
        Forbidden: one of them needs a scope that is not held.
    """
    for topic in sorted(topics):
        if topic != REGISTRY:
            principal.require(scope_of(topic))


def position(text: str | None) -> int | None:
    """Return the number of a ``Last-Event-ID``; -1 for one that was not given out here, which begins anew."""
    if text is None or not text.strip():
        return None
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
