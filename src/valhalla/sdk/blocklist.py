"""Who is blocked: look, try, import, lift."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request, params, present

Document = dict[str, Any]


def unblock(body: Mapping[str, Any], *, dry_run: bool | None = None, reason: str | None = None) -> Request[Document]:
    """End a rule, named by its type and value in any form."""
    return Request(
        "POST", "/system/security/blocklist/unblock", Document, params=params(dry_run=dry_run, reason=reason), body=body
    )


def test(body: Mapping[str, Any]) -> Request[Document]:
    """Say what rules would have done to the last 10,000 requests of this process, if they were not allowed."""
    return Request("POST", "/system/security/blocklist/test", Document, body=body)


def check(body: Mapping[str, Any]) -> Request[Document]:
    """Say whether a request would be refused, and by which rule."""
    return Request("POST", "/system/security/blocklist/check", Document, body=body)


def load(
    body: Mapping[str, Any] | str,
    *,
    format_: str | None = None,
    action: str | None = None,
    source: str | None = None,
    reason: str | None = None,
    severity: str | None = None,
    expires_at: datetime | None = None,
    replace: bool | None = None,
    confirm: bool | None = None,
    dry_run: bool | None = None,
) -> Request[Document]:
    """Import a list: text with one value a line, CSV with a header, or JSON as CrowdSec exports it.

    The control plane takes ``max_body_bytes`` at once (a megabyte): of a longer list send parts.
    """
    return Request(
        "POST",
        "/system/security/blocklist/import",
        Document,
        params=params(
            format=format_,
            action=action,
            source=source,
            reason=reason,
            severity=severity,
            expires_at=expires_at,
            replace=replace,
            confirm=confirm,
            dry_run=dry_run,
        ),
        body=body,
    )


def block(
    type_: str,
    value: str,
    *,
    action: str = "block",
    reason: str | None = None,
    severity: str | None = None,
    source: str | None = None,
    expires_at: datetime | None = None,
    remediation: str | None = None,
    confirm: bool | None = None,
    dry_run: bool | None = None,
) -> Request[Document]:
    """Make a rule, or make the one that is there so; ``action`` ``allow`` wins over every block."""
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at needs a time zone")
    body = present(
        type=type_,
        value=value,
        action=action,
        reason=reason,
        severity=severity,
        source=source,
        expires_at=expires_at,
        remediation=remediation,
    )
    return Request(
        "POST", "/system/security/blocklist", Document, params=params(confirm=confirm, dry_run=dry_run), body=body
    )


def bouncers() -> Request[Document]:
    """Which CrowdSec bouncers pull decisions, and how far behind each is."""
    return Request("GET", "/system/security/crowdsec/bouncers", Document)


def agents() -> Request[Document]:
    """Which CrowdSec agents report alerts."""
    return Request("GET", "/system/security/crowdsec/agents", Document)


def stats() -> Request[Document]:
    """Count the rules, and name those that refuse most."""
    return Request("GET", "/system/security/blocklist/stats", Document)


class _Blocklist:
    """What both kinds of client have."""

    block = Call(block)
    unblock = Call(unblock)
    test = Call(test)
    check = Call(check)
    load = Call(load)
    stats = Call(stats)
    bouncers = Call(bouncers)
    agents = Call(agents)


class Blocklist(Group, _Blocklist):
    """Who is blocked: look, try, import, lift."""


class AsyncBlocklist(AsyncGroup, _Blocklist):
    """Who is blocked: look, try, import, lift."""
