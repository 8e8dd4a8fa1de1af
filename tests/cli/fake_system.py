"""What the fake plane answers about everything but sandboxes: always the same."""

from __future__ import annotations

from typing import Any

from tests.cli.fake_documents import (
    ACTION,
    ACTIVITY,
    BOOT,
    CAUGHT,
    CHANGE,
    CLOSED,
    DECOY,
    DONE,
    EVENT,
    HANDOUT,
    HONEYPOT,
    LIMIT,
    MATCH,
    MODE,
    OPERATION,
    OVERVIEW,
    PERSON,
    POLICY,
    POLICY_USAGE,
    ROUTE,
    STALE,
    THOUGHT,
    TIME,
    USAGE,
)
from tests.cli.fake_wire import instant


def _killed(name: str, killed: bool) -> dict[str, Any]:
    return {"key": name, "killed": killed, "killVariant": None, "version": 5}


def _evaluated(name: str, body: Any, **_: Any) -> tuple[int, Any]:
    if name == "none":
        return 404, {"key": name, "errorCode": "FLAG_NOT_FOUND", "errorDetails": "there is no such flag"}
    value = body["context"].get("plan") == "pro"
    return 200, {"key": name, "value": value, "variant": "on" if value else "off", "reason": "TARGETING_MATCH"}


def _hold(state: str = "held") -> dict[str, Any]:
    missing = "1 of finance" if state == "held" else None
    approval = {"step": 0, "by": "bo", "decision": "approve", "at": instant(), "reason": "seen"}
    members = {"arguments": {"cents": 500}, "approvals": [approval], "quorum": "2 of finance"}
    return {"id": "h1", "action": "refund", "state": state, "requested_by": "shop", "missing": missing} | members


def _alert(status: str = "open") -> dict[str, Any]:
    members = {"id": "a1", "name": "job.dead", "title": "Job mail failed for good", "labels": {"name": "mail"}}
    return members | {"severity": "error", "status": status, "count": 3, "last_at": instant(), "context": {"n": 1}}


def _attend(_id: str, verb: str, *, body: Any, **_: Any) -> tuple[int, Any]:
    if verb == "silence":
        return 201, {"id": "s1", "state": "active", "ends_at": body["until"]}
    return 200, _alert({"acknowledge": "acknowledged", "resolve": "resolved"}[verb])


def _decide(_id: str, verb: str, **_: Any) -> tuple[int, Any]:
    return 200, _hold({"approve": "approved", "deny": "denied", "cancel": "cancelled"}[verb])


def _key() -> dict[str, Any]:
    return {"id": "k1", "name": "ci", "owner": "team-a", "scopes": ["sandbox:write"], "prefix": "vh_k1"}


def _patched_limit(_name: str, query: dict[str, str], **_: Any) -> tuple[int, Any]:
    return (200, {"dry_run": True, "items": [CHANGE]}) if query.get("dry_run") else (200, LIMIT)


def _new_key(body: dict[str, Any], **_: Any) -> tuple[int, Any]:
    return 201, _key() | body | {"key": "vh_k1_secret"}


SYSTEM: list[tuple[str, str, Any]] = [
    ("GET", "/system/ingress/receivers", lambda **_: (200, {"items": [], "next": None, "total": 0})),
    ("GET", "/system/info", lambda **_: (200, {"version": "9", "services": {}, "sandboxes": {"running": 2}})),
    ("POST", "/system/api-clients", _new_key),
    ("GET", "/system/api-clients", lambda **_: (200, {"items": [_key()], "next": None})),
    ("POST", "/system/api-clients/(.+)/rotate", lambda _id, body, **_: _new_key(body={})),
    ("POST", "/system/api-clients/(.+)/(?:de)?activate", lambda _id, **_: (200, _key())),
    ("POST", "/system/flags/(.+)/kill", lambda name, **_: (200, _killed(name, True))),
    ("DELETE", "/system/flags/(.+)/kill", lambda name, **_: (200, _killed(name, False))),
    ("GET", "/system/flags/stale", lambda **_: (200, {"items": [STALE]})),
    ("POST", "/ofrep/v1/evaluate/flags/(.+)", _evaluated),
    ("GET", "/system/config/export", lambda **_: (200, {"a/b": {"value": [1, "x"]}})),
    ("POST", "/system/config/import", lambda **_: (200, {"items": [{**CHANGE, "changed": True}]})),
    ("GET", "/events", lambda **_: (200, {"items": [EVENT], "next": 7, "reset": False})),
    ("GET", "/system/routes", lambda **_: (200, {"items": [ROUTE], "total": 1, "next": None})),
    ("GET", "/system/routes/match", lambda **_: (200, MATCH)),
    ("GET", "/system/routes/changes", lambda **_: (200, {"items": [BOOT], "next": None})),
    ("GET", "/system/admin", lambda **_: (200, OVERVIEW)),
    ("GET", "/system/admin/actions", lambda **_: (200, {"items": [ACTION]})),
    ("POST", "/system/admin/actions/(.+)", lambda _name, **_: (200, DONE)),
    ("GET", "/system/admin/handouts", lambda **_: (200, {"items": [HANDOUT]})),
    ("POST", "/system/admin/handouts/(.+)", lambda _id, **_: (200, HANDOUT | {"secret": "vh_local_new"})),
    ("GET", "/system/admin/operations", lambda **_: (200, {"items": [OPERATION], "next": None})),
    ("GET", "/system/rate-limits/usage", lambda **_: (200, {"items": [USAGE], "buckets": 1})),
    ("GET", "/system/rate-limits/(?:[a-z]+/)?history", lambda **_: (200, {"items": [CHANGE], "next": None})),
    ("GET", "/system/rate-limits/diff", lambda **_: (200, {"items": [CHANGE], "next": None})),
    ("POST", "/system/rate-limits/(?:[a-z]+/)?rollback", lambda **_: (200, {"items": [CHANGE]})),
    ("GET", "/system/rate-limits/(.+)", lambda _name, **_: (200, LIMIT)),
    ("GET", "/system/rate-limits", lambda **_: (200, {"items": [LIMIT], "next": None, "total": 1})),
    ("PUT", "/system/rate-limits/(.+)", lambda _name, **_: (200, LIMIT)),
    ("PATCH", "/system/rate-limits/(.+)", _patched_limit),
    ("DELETE", "/system/rate-limits/(.+)", lambda _name, **_: (204, None)),
    ("DELETE", "/system/api-clients/(.+)", lambda _id, **_: (204, None)),
    ("GET", "/system/holds", lambda **_: (200, {"items": [_hold()], "next": None})),
    ("GET", "/system/holds/(.+)", lambda _id, **_: (200, _hold())),
    ("POST", "/system/holds/(.+)/(.+)", _decide),
    ("GET", "/system/jobs", lambda **_: (403, {"code": "forbidden", "title": "No", "status": 403})),
    ("POST", "/console/session", lambda **_: (201, {"path": "/console/link?code=c1", "expires_at": instant()})),
    ("GET", "/system/alerts", lambda **_: (200, {"items": [_alert()], "next": None})),
    ("GET", "/system/alerts/(.+)", lambda _id, **_: (200, _alert())),
    ("POST", "/system/alerts/(.+)/(.+)", _attend),
    ("GET", "/system/security/policies/usage", lambda **_: (200, {"items": [POLICY_USAGE]})),
    ("POST", "/system/security/policies/test", lambda **_: (200, THOUGHT)),
    ("POST", "/graphql", lambda **_: (200, {"data": {"flags": None}})),
    ("GET", "/system/people", lambda **_: (200, {"items": [PERSON], "next": None, "total": 1})),
    ("GET", "/system/security/policies", lambda **_: (200, {"items": [POLICY], "next": None, "total": 1})),
    ("GET", "/system/security/mode", lambda **_: (200, MODE)),
    ("POST", "/system/security/mode", lambda **_: (200, MODE)),
    ("GET", "/system/security/honeypots/events", lambda **_: (200, {"items": [CAUGHT], "next": None})),
    ("GET", "/system/security/honeypots/activity", lambda **_: (200, ACTIVITY)),
    ("GET", "/system/security/honeypots", lambda **_: (200, {"items": [HONEYPOT], "next": None, "total": 1})),
    ("POST", "/system/security/honeypots", lambda **_: (201, {**HONEYPOT, "key": "vh_local_k"})),
    ("POST", "/system/security/honeypots/(.+)/rotate", lambda _name, **_: (200, {"name": "h", "key": "vh_2"})),
    ("POST", "/system/security/honeypots/(.+)/(.+)", lambda _name, _verb, **_: (200, HONEYPOT)),
    ("POST", "/system/security/decoys/keys", lambda **_: (201, {"name": "bait", "key": "vh_bait"})),
    ("GET", "/system/security/decoys", lambda **_: (200, {"items": [DECOY], "next": None, "total": 1})),
    ("GET", "/system/maintenance/windows", lambda **_: (200, {"items": [], "next": None, "total": 0})),
    ("POST", "/system/maintenance/windows/preview", lambda **_: (200, {"items": [TIME]})),
    ("GET", "/system/maintenance", lambda **_: (200, CLOSED)),
    ("POST", "/system/maintenance/state", lambda **_: (200, CLOSED)),
]
