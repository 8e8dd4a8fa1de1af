"""What the fake plane shows of everything but sandboxes: one document of each kind, as the wire has it."""

from __future__ import annotations

LIMIT = {"name": "per-key", "rate": "9/min", "scope": "key", "costs": {"/x": 2}, "enabled": True, "version": 4}
POLICY = {"name": "p", "when": "true", "action": "log", "on": "request", "priority": 0, "shadow": True}
PERSON = {"id": "person:a@example.com", "role": "viewer", "owner": "a-1", "active": True, "version": 1}
POLICY_USAGE = {"name": "p", "matched": 0, "shadowed": 2, "failed": 0, "last_at": None}
THOUGHT = {
    "outcome": "block",
    "policy": "p",
    "verdicts": [{"name": "p", "action": "block", "matched": True, "error": None, "shadow": False}],
}
MODE = {"mode": "elevated", "reason": "why", "actor": "k1", "since": None, "until": None, "version": 2}
HONEYPOT = {"name": "h", "type": "cowrie", "location": None, "active": True, "client_id": "c1", "version": 1}
DECOY = {"name": "env", "kind": "path", "path": "/.env", "face": "env", "enabled": True, "version": 1}
CAUGHT = {
    "at": "2026-01-01T00:00:00Z",
    "honeypot": "decoys",
    "kind": "decoy_path",
    "address": None,
    "score": 10,
    "payload": {"decoy": "env", "path": "/.env"},
}
ACTIVITY = {
    "since": "2026-01-01T00:00:00Z",
    "kinds": {"scan": 2},
    "honeypots": {"h": 2},
    "addresses": [{"address": "203.0.113.7", "score": 10, "events": 2, "last_at": "2026-01-01T00:00:00Z"}],
}
STALE = {"key": "old", "owner": None, "reasons": ["it expired at 2020-01-01"], "updated_at": "2026-01-01T00:00:00Z"}
USAGE = {"name": "per-key", "taken": 3, "refused": 1, "shadowed": 0, "top": [{"subject": "k1", "taken": 3}]}
TIME = {
    "window": "w",
    "mode": "maintenance",
    "reason": "upgrade",
    "start": "2026-12-06T02:00:00Z",
    "end": "2026-12-06T04:00:00Z",
}
CLOSED = {"mode": "read_only", "reason": "moving", "source": "state", "until": None, "upcoming": [TIME]}
CHANGE = {
    "revision": 4,
    "op": "put",
    "key": "per-key",
    "before": {"rate": "8/min"},
    "after": {"rate": "9/min"},
    "differences": {"rate": {"from": "8/min", "to": "9/min"}},
    "actor": "ada",
    "at": "2026-01-01T00:00:00Z",
    "reason": None,
}
EVENT = {
    "id": 7,
    "uid": "u7",
    "subject": "sandbox.s1",
    "type": "sandbox.created",
    "data": {"owner": "ada"},
    "correlation_id": None,
    "at": "2026-01-01T00:00:00Z",
}
ROUTE = {
    "id": "GET /api/sandboxes",
    "path": "/api/sandboxes",
    "methods": ["GET"],
    "scope": "sandbox:read",
    "public": False,
    "limits": ["per-key"],
    "requests": 3,
    "errors": 0,
    "p50": 0.001,
    "p99": None,
}
MATCH = {"allowed": True, "route": ROUTE, "methods": ["GET"], "parameters": {}, "stops": []}
BOOT = {
    "at": "2026-01-01T00:00:00Z",
    "release": "2",
    "before": "1",
    "routes": 9,
    "added": ["GET /new"],
    "removed": [],
    "changed": {"GET /api/sandboxes": ["scope"]},
}
OVERVIEW = {
    "mode": {"mode": "normal", "reason": "", "until": None},
    "health": {"phase": "serving", "ready": True, "reason": None, "failing": []},
    "alerts": {"critical": 1},
    "holds": 2,
    "jobs": {"queued": 3},
    "changes": [{**CHANGE, "registry": "rate_limits"}],
    "expiring_keys": [],
    "windows": [],
    "stale": False,
}
ACTION = {
    "name": "key.revoke",
    "summary": "End it.",
    "effect": "irreversible",
    "scope": "keys:write",
    "approval": None,
    "preview": True,
    "arguments": {"properties": {"id": {}}, "required": ["id"]},
}
DONE = {"operation": "o1", "action": "key.revoke", "status": "planned", "result": {"revoked": ["k1"]}, "hold": None}
HANDOUT = {
    "id": "op4x9k2m1n8b7c6d",
    "action": "key.rotate",
    "subject": "k3v9x0q2m1n8b7c6",
    "made_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-02T00:00:00Z",
}
OPERATION = {
    "id": 1,
    "at": "2026-01-01T00:00:00Z",
    "actor": "ada",
    "action": "admin.requested",
    "kind": "admin_operation",
    "subject": "o1",
    "details": {"action": "key.revoke", "reason": "it leaked"},
    "correlation_id": None,
    "seq": None,
}
