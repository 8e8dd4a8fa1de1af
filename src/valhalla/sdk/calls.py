"""Every call the control plane knows, as a function that returns the request."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from valhalla.sdk.access import Connection
from valhalla.sdk.models import Draft, DryRun, Extension, Health, Page, Sandbox
from valhalla.sdk.reports import (
    ApiKey,
    AuditEntry,
    Checkpoints,
    LedgerReport,
    Readiness,
    ReapReport,
    Snapshot,
    Templates,
)
from valhalla.sdk.wire import Request, params, present, segment

_SANDBOXES = "/api/sandboxes"


def _at(ref: str, *rest: str) -> str:
    return "/".join([_SANDBOXES, segment(ref), *rest])


def create(draft: Draft, *, idempotency_key: str | None = None) -> Request[Sandbox]:
    """Make a sandbox; the idempotency key makes a repetition after a lost answer harmless."""
    headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
    return Request("POST", _SANDBOXES, Sandbox, body=draft.body(), headers=headers)


def plan(draft: Draft) -> Request[DryRun]:
    """Say what ``create`` would make, and make nothing."""
    return Request("POST", _SANDBOXES, DryRun, params=params(dry_run=True), body=draft.body())


def list_sandboxes(
    *,
    owner: str | None = None,
    status: str | None = None,
    tag: str | None = None,
    name: str | None = None,
    include_destroyed: bool = False,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Sandbox]]:
    """One page of the sandboxes the key may see, newest first; ``name`` is what theirs begin with."""
    query = params(
        owner=owner,
        status=status,
        tag=tag,
        name=name,
        include_destroyed=include_destroyed,
        limit=limit,
        cursor=cursor,
    )
    return Request("GET", _SANDBOXES, Page[Sandbox], params=query)


def get(ref: str) -> Request[Sandbox]:
    """One sandbox by id or name."""
    return Request("GET", _at(ref), Sandbox)


def destroy(ref: str, *, wait: float | None = None) -> Request[Sandbox]:
    """Cut access at once and drop the rest; ``wait`` seconds for the end of it."""
    timeout = None if wait is None else wait + 10
    return Request("DELETE", _at(ref), Sandbox, params=params(wait=wait), timeout=timeout)


def reset(ref: str) -> Request[Sandbox]:
    """Bring a sandbox back to its template."""
    return Request("POST", _at(ref, "reset"), Sandbox)


def snapshot(ref: str, template: str, *, replace: bool = False) -> Request[Snapshot]:
    """Copy what a sandbox's Postgres slice holds into a template; it may take minutes."""
    body = present(template=template, replace=replace or None)
    return Request("POST", _at(ref, "snapshot"), Snapshot, body=body, timeout=310)


def list_templates() -> Request[Templates]:
    """Every template."""
    return Request("GET", "/api/templates", Templates)


def remove_template(name: str) -> Request[None]:
    """Remove a snapshot."""
    return Request("DELETE", f"/api/templates/{segment(name)}", type(None))


def extend(ref: str, ttl: str) -> Request[Extension]:
    """Give a sandbox more time, up to the maximum."""
    return Request("POST", _at(ref, "extend"), Extension, body={"ttl": ttl})


def status(ref: str) -> Request[Health]:
    """A sandbox's health, tried with its own credentials."""
    return Request("GET", _at(ref, "status"), Health)


def connection(ref: str) -> Request[Connection]:
    """How to enter a running sandbox."""
    return Request("GET", _at(ref, "connection"), Connection)


def link(
    ref: str, kind: str, key: str, *, mirror: bool = False, sample: float = 1.0, replay: bool = False
) -> Request[None]:
    """Route events of (kind, key) to the sandbox; with ``mirror`` copies of the part that ``sample`` says.

    With ``replay`` nothing of them comes live; ``lanes.replay_past`` brings those that production has had.
    """
    terms: dict[str, object] = {"mode": "mirror", "sample": sample} if mirror else {}
    terms |= {"mode": "replay"} if replay else {}
    return Request("POST", _at(ref, "routes"), type(None), body={"kind": kind, "key": key, **terms})


def unlink(ref: str, kind: str, key: str, *, unread: str | None = None) -> Request[None]:
    """End a route; ``unread`` events are the sandbox's still (``drain``), production's (``return``) or nobody's."""
    return Request("DELETE", _at(ref, "routes", segment(kind), segment(key)), type(None), params=params(unread=unread))


def sandbox_audit(ref: str, *, limit: int | None = None, cursor: str | None = None) -> Request[Page[AuditEntry]]:
    """What happened to one sandbox, also after its end."""
    return Request("GET", _at(ref, "audit"), Page[AuditEntry], params=params(limit=limit, cursor=cursor))


def reap(*, dry_run: bool = False) -> Request[ReapReport]:
    """Run one pass of the reaper now."""
    return Request("POST", f"{_SANDBOXES}/reap", ReapReport, params=params(dry_run=dry_run))


def create_key(
    *,
    owner: str,
    scopes: Sequence[str] = (),
    role: str | None = None,
    name: str | None = None,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> Request[ApiKey]:
    """Make an API key; the answer is the only time it is told."""
    body = present(
        name=name,
        owner=owner,
        scopes=list(scopes) or None,
        role=role,
        expires_at=expires_at,
        networks=list(networks) or None,
        limits=list(limits) or None,
    )
    return Request("POST", "/system/api-clients", ApiKey, body=body)


def rotate_key(client_id: str, grace_seconds: int) -> Request[ApiKey]:
    """Give a client a new key; the one before is taken for the grace, too."""
    path = f"/system/api-clients/{segment(client_id)}/rotate"
    return Request("POST", path, ApiKey, body={"grace_seconds": grace_seconds})


def switch_key(client_id: str, *, active: bool, confirm: bool = False) -> Request[ApiKey]:
    """Take a client's keys again, or no longer."""
    verb = "activate" if active else "deactivate"
    path = f"/system/api-clients/{segment(client_id)}/{verb}"
    return Request("POST", path, ApiKey, params=params(confirm=confirm))


def list_keys(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[ApiKey]]:
    """The API keys, without their secrets."""
    return Request("GET", "/system/api-clients", Page[ApiKey], params=params(limit=limit, cursor=cursor))


def revoke_key(client_id: str, *, confirm: bool = False) -> Request[None]:
    """End a key at once; ``confirm`` also the last one that can administer keys."""
    path = f"/system/api-clients/{segment(client_id)}"
    return Request("DELETE", path, type(None), params=params(confirm=confirm))


def limit_usage(top: int = 10) -> Request[dict[str, Any]]:
    """What became of each rate limit's requests in the process that answers."""
    return Request("GET", "/system/rate-limits/usage", dict[str, Any], params=params(top=top))


def flag_evaluate(key: str, context: Mapping[str, Any]) -> Request[dict[str, Any]]:
    """Evaluate one flag by OFREP; a failure is an answer with an ``errorCode``."""
    path = f"/ofrep/v1/evaluate/flags/{segment(key)}"
    return Request("POST", path, dict[str, Any], body={"context": context}, accept=frozenset({400, 404}))


def flag_kill(key: str, variant: str | None = None, reason: str | None = None) -> Request[dict[str, Any]]:
    """Take a flag out of service."""
    path = f"/system/flags/{segment(key)}/kill"
    return Request("POST", path, dict[str, Any], body=present(variant=variant, reason=reason))


def flag_revive(key: str, reason: str | None = None) -> Request[dict[str, Any]]:
    """End a flag's being killed."""
    return Request("DELETE", f"/system/flags/{segment(key)}/kill", dict[str, Any], params=params(reason=reason))


def flag_stale(days: int = 30) -> Request[dict[str, Any]]:
    """Flags that may be removed."""
    return Request("GET", "/system/flags/stale", dict[str, Any], params=params(days=days))


def config_export() -> Request[dict[str, Any]]:
    """Every configuration entry by key."""
    return Request("GET", "/system/config/export", dict[str, Any])


def config_import(
    entries: Mapping[str, Any], *, reason: str | None = None, dry_run: bool = False
) -> Request[dict[str, Any]]:
    """Create or replace configuration entries, all or none."""
    query = params(reason=reason, dry_run=dry_run)
    return Request("POST", "/system/config/import", dict[str, Any], params=query, body=entries)


def audit(
    *,
    kind: str | None = None,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[AuditEntry]]:
    """One page of the ledger."""
    query = params(kind=kind, subject=subject, actor=actor, action=action, limit=limit, cursor=cursor)
    return Request("GET", "/system/audit", Page[AuditEntry], params=query)


def verify_ledger(*, size: int | None = None, hash: str | None = None) -> Request[LedgerReport]:  # noqa: A002
    """Recompute the chain; a long ledger takes a while. ``size`` and ``hash`` are those of a kept checkpoint."""
    return Request("GET", "/system/audit/verify", LedgerReport, params=params(size=size, hash=hash), timeout=600)


def ledger_checkpoints(*, limit: int | None = None, cursor: str | None = None) -> Request[Checkpoints]:
    """What was signed of the ledger, newest first."""
    return Request("GET", "/system/audit/checkpoints", Checkpoints, params=params(limit=limit, cursor=cursor))


def export_ledger(after: int = 0, *, limit: int | None = None) -> Request[dict[str, Any]]:
    """Entries of the chain in its order after a place, with what recomputes their hashes."""
    return Request("GET", "/system/audit/export", dict[str, Any], params=params(after=after, limit=limit))


def live() -> Request[None]:
    """Whether the process answers at all."""
    return Request("GET", "/live", type(None), timeout=2)


def ready() -> Request[Readiness]:
    """Whether it can do its work; not being ready is an answer, too."""
    return Request("GET", "/ready", Readiness, params={"verbose": "1"}, accept=frozenset({503}))


def info() -> Request[dict[str, Any]]:
    """Version, address, data directory and services."""
    return Request("GET", "/system/info", dict[str, Any])
