"""A control plane of 200 lines that speaks the HTTP contract and remembers what it was asked.

It says nothing about the real one: it is here for the command line's own words, quoting and exit codes.
"""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

KEY = "vh_test_key"
CREDS = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n"


_LIMIT = {"name": "per-key", "rate": "9/min", "scope": "key", "costs": {"/x": 2}, "enabled": True, "version": 4}
_POLICY = {"name": "p", "when": "true", "action": "log", "on": "request", "priority": 0, "shadow": True}
_PERSON = {"id": "person:a@example.com", "role": "viewer", "owner": "a-1", "active": True, "version": 1}
_POLICY_USAGE = {"name": "p", "matched": 0, "shadowed": 2, "failed": 0, "last_at": None}
_THOUGHT = {
    "outcome": "block",
    "policy": "p",
    "verdicts": [{"name": "p", "action": "block", "matched": True, "error": None, "shadow": False}],
}
_MODE = {"mode": "elevated", "reason": "why", "actor": "k1", "since": None, "until": None, "version": 2}
_HONEYPOT = {"name": "h", "type": "cowrie", "location": None, "active": True, "client_id": "c1", "version": 1}
_DECOY = {"name": "env", "kind": "path", "path": "/.env", "face": "env", "enabled": True, "version": 1}
_CAUGHT = {
    "at": "2026-01-01T00:00:00Z",
    "honeypot": "decoys",
    "kind": "decoy_path",
    "address": None,
    "score": 10,
    "payload": {"decoy": "env", "path": "/.env"},
}
_ACTIVITY = {
    "since": "2026-01-01T00:00:00Z",
    "kinds": {"scan": 2},
    "honeypots": {"h": 2},
    "addresses": [{"address": "203.0.113.7", "score": 10, "events": 2, "last_at": "2026-01-01T00:00:00Z"}],
}
_STALE = {"key": "old", "owner": None, "reasons": ["it expired at 2020-01-01"], "updated_at": "2026-01-01T00:00:00Z"}
_USAGE = {"name": "per-key", "taken": 3, "refused": 1, "shadowed": 0, "top": [{"subject": "k1", "taken": 3}]}
_TIME = {
    "window": "w",
    "mode": "maintenance",
    "reason": "upgrade",
    "start": "2026-12-06T02:00:00Z",
    "end": "2026-12-06T04:00:00Z",
}
_CLOSED = {"mode": "read_only", "reason": "moving", "source": "state", "until": None, "upcoming": [_TIME]}
_CHANGE = {
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
_EVENT = {
    "id": 7,
    "uid": "u7",
    "subject": "sandbox.s1",
    "type": "sandbox.created",
    "data": {"owner": "ada"},
    "correlation_id": None,
    "at": "2026-01-01T00:00:00Z",
}
_ROUTE = {
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
_MATCH = {"allowed": True, "route": _ROUTE, "methods": ["GET"], "parameters": {}, "stops": []}
_BOOT = {
    "at": "2026-01-01T00:00:00Z",
    "release": "2",
    "before": "1",
    "routes": 9,
    "added": ["GET /new"],
    "removed": [],
    "changed": {"GET /api/sandboxes": ["scope"]},
}
_OVERVIEW = {
    "mode": {"mode": "normal", "reason": "", "until": None},
    "health": {"phase": "serving", "ready": True, "reason": None, "failing": []},
    "alerts": {"critical": 1},
    "holds": 2,
    "jobs": {"queued": 3},
    "changes": [{**_CHANGE, "registry": "rate_limits"}],
    "expiring_keys": [],
    "windows": [],
    "stale": False,
}
_ACTION = {
    "name": "key.revoke",
    "summary": "End it.",
    "effect": "irreversible",
    "scope": "keys:write",
    "approval": None,
    "preview": True,
    "arguments": {"properties": {"id": {}}, "required": ["id"]},
}
_DONE = {"operation": "o1", "action": "key.revoke", "status": "planned", "result": {"revoked": ["k1"]}, "hold": None}
_HANDOUT = {
    "id": "op4x9k2m1n8b7c6d",
    "action": "key.rotate",
    "subject": "k3v9x0q2m1n8b7c6",
    "made_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-02T00:00:00Z",
}
_OPERATION = {
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


def instant(**ahead: float) -> str:
    """Return an RFC 3339 instant from now."""
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat().replace("+00:00", "Z")


def sandbox(name: str, number: int, **members: Any) -> dict[str, Any]:
    """Return a sandbox as the wire has it."""
    return {
        "id": f"s{number:015d}",
        "name": name,
        "owner": "ada",
        "status": "running",
        "template": "community",
        "description": None,
        "tags": [],
        "metadata": {},
        "routes": [],
        "created_at": instant(),
        "expires_at": instant(hours=3),
        "destroyed_at": None,
        "last_activity_at": None,
        "database": "valhalla",
        "schema": f"sbx_s{number:015d}",
        **members,
    }


def _killed(name: str, killed: bool) -> dict[str, Any]:
    return {"key": name, "killed": killed, "killVariant": None, "version": 5}


class FakePlane:
    """The plane: ``sandboxes`` by id, ``seen`` requests, ``env`` that connections add, ``script`` of forced answers."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str, dict[str, str], Any, dict[str, str]]] = []
        self.env: dict[str, str] = {}
        self.script: list[tuple[int, dict[str, Any]]] = []
        self.ready: dict[str, Any] = {"status": "ready", "checks": {"postgres": {"ok": True, "latency_ms": 0.4}}}
        self.ledger: dict[str, Any] = {"ok": True, "entries": 3, "sealed": 3, "checkpoints": 1, "fault": None}
        self.capped = False
        self.drops_late = False
        self.answered_at = 0.0
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                sent = self.rfile.read(length) if length else b"null"
                body = json.loads(sent) if self.headers["Content-Type"] != "text/plain" else sent.decode()
                status, document = plane.answer(self.command, self.path, body, dict(self.headers))
                content = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                plane.answered_at = time.monotonic()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, **members: Any) -> dict[str, Any]:
        """Put a sandbox there."""
        made = sandbox(name, len(self.sandboxes) + 1, **members)
        self.sandboxes[made["id"]] = made
        return made

    def answer(self, method: str, target: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        """Answer one request."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        self.seen.append((method, parts.path, query, body, headers))
        if self.script:
            return self.script.pop(0)
        if parts.path == "/live":
            return 200, {"status": "live"}
        if parts.path == "/ready":
            return (200 if self.ready["status"] == "ready" else 503), self.ready
        if headers.get("Authorization") != f"Bearer {KEY}":
            return problem(401, "unauthenticated", "A valid API key is needed")
        for verb, pattern, handler in self._routes():
            match = re.fullmatch(pattern, parts.path)
            if match and verb == method:
                return handler(*map(unquote, match.groups()), query=query, body=body)
        return problem(404, "not-found", "no such path")

    def _evaluated(self, name: str, body: Any, **_: Any) -> tuple[int, Any]:
        if name == "none":
            return 404, {"key": name, "errorCode": "FLAG_NOT_FOUND", "errorDetails": "there is no such flag"}
        value = body["context"].get("plan") == "pro"
        return 200, {"key": name, "value": value, "variant": "on" if value else "off", "reason": "TARGETING_MATCH"}

    def _routes(self) -> list[tuple[str, str, Any]]:
        one = "/api/sandboxes/([^/]+)"
        return [
            ("POST", "/api/sandboxes/reap", self._reap),
            ("POST", "/api/sandboxes", self._create),
            ("GET", "/api/sandboxes", self._list),
            ("GET", one, self._get),
            ("DELETE", one, self._destroy),
            ("POST", f"{one}/extend", self._extend),
            ("GET", f"{one}/status", self._status),
            ("GET", f"{one}/connection", self._connection),
            ("POST", f"{one}/routes", self._link),
            ("DELETE", f"{one}/routes/([^/]+)/([^/]+)", self._unlink),
            ("GET", f"{one}/audit", self._audit),
            ("GET", f"{one}/upstream", lambda _ref, **_: (200, {"name": "x", "url": "http://upstream", "key": "k"})),
            ("GET", f"{one}/discord-token", lambda _ref, **_: (200, {"sandbox": "x", "name": "x", "token": "t"})),
            ("PUT", f"{one}/upstream", lambda _ref, **_: (200, {"name": "x", "url": "http://upstream", "key": "k"})),
            ("DELETE", f"{one}/upstream", lambda _ref, **_: (204, None)),
            ("GET", "/system/ingress/receivers", lambda **_: (200, {"items": [], "next": None, "total": 0})),
            ("GET", "/system/info", lambda **_: (200, {"version": "9", "services": {}, "sandboxes": {"running": 2}})),
            ("GET", "/system/audit/verify", lambda **_: (200, self.ledger)),
            ("GET", "/system/audit", self._audit),
            ("POST", "/system/api-clients", self._new_key),
            ("GET", "/system/api-clients", lambda **_: (200, {"items": [self._key()], "next": None})),
            ("POST", "/system/api-clients/(.+)/rotate", lambda _id, body, **_: self._new_key(body={})),
            ("POST", "/system/api-clients/(.+)/(?:de)?activate", lambda _id, **_: (200, self._key())),
            ("POST", "/system/flags/(.+)/kill", lambda name, **_: (200, _killed(name, True))),
            ("DELETE", "/system/flags/(.+)/kill", lambda name, **_: (200, _killed(name, False))),
            ("GET", "/system/flags/stale", lambda **_: (200, {"items": [_STALE]})),
            ("POST", "/ofrep/v1/evaluate/flags/(.+)", self._evaluated),
            ("GET", "/system/config/export", lambda **_: (200, {"a/b": {"value": [1, "x"]}})),
            ("POST", "/system/config/import", lambda **_: (200, {"items": [{**_CHANGE, "changed": True}]})),
            ("GET", "/events", lambda **_: (200, {"items": [_EVENT], "next": 7, "reset": False})),
            ("GET", "/system/routes", lambda **_: (200, {"items": [_ROUTE], "total": 1, "next": None})),
            ("GET", "/system/routes/match", lambda **_: (200, _MATCH)),
            ("GET", "/system/routes/changes", lambda **_: (200, {"items": [_BOOT], "next": None})),
            ("GET", "/system/admin", lambda **_: (200, _OVERVIEW)),
            ("GET", "/system/admin/actions", lambda **_: (200, {"items": [_ACTION]})),
            ("POST", "/system/admin/actions/(.+)", lambda _name, **_: (200, _DONE)),
            ("GET", "/system/admin/handouts", lambda **_: (200, {"items": [_HANDOUT]})),
            ("POST", "/system/admin/handouts/(.+)", lambda _id, **_: (200, _HANDOUT | {"secret": "vh_local_new"})),
            ("GET", "/system/admin/operations", lambda **_: (200, {"items": [_OPERATION], "next": None})),
            ("GET", "/system/rate-limits/usage", lambda **_: (200, {"items": [_USAGE], "buckets": 1})),
            ("GET", "/system/rate-limits/(?:[a-z]+/)?history", lambda **_: (200, {"items": [_CHANGE], "next": None})),
            ("GET", "/system/rate-limits/diff", lambda **_: (200, {"items": [_CHANGE], "next": None})),
            ("POST", "/system/rate-limits/(?:[a-z]+/)?rollback", lambda **_: (200, {"items": [_CHANGE]})),
            ("GET", "/system/rate-limits/(.+)", lambda _name, **_: (200, _LIMIT)),
            ("GET", "/system/rate-limits", lambda **_: (200, {"items": [_LIMIT], "next": None, "total": 1})),
            ("PUT", "/system/rate-limits/(.+)", lambda _name, **_: (200, _LIMIT)),
            ("PATCH", "/system/rate-limits/(.+)", self._patched_limit),
            ("DELETE", "/system/rate-limits/(.+)", lambda _name, **_: (204, None)),
            ("DELETE", "/system/api-clients/(.+)", lambda _id, **_: (204, None)),
            ("GET", "/system/holds", lambda **_: (200, {"items": [self._hold()], "next": None})),
            ("GET", "/system/holds/(.+)", lambda _id, **_: (200, self._hold())),
            ("POST", "/system/holds/(.+)/(.+)", self._decide),
            ("GET", "/system/jobs", lambda **_: (403, {"code": "forbidden", "title": "No", "status": 403})),
            ("POST", "/console/session", lambda **_: (201, {"path": "/console/link?code=c1", "expires_at": instant()})),
            ("GET", "/system/alerts", lambda **_: (200, {"items": [self._alert()], "next": None})),
            ("GET", "/system/alerts/(.+)", lambda _id, **_: (200, self._alert())),
            ("POST", "/system/alerts/(.+)/(.+)", self._attend),
            ("GET", "/system/security/policies/usage", lambda **_: (200, {"items": [_POLICY_USAGE]})),
            ("POST", "/system/security/policies/test", lambda **_: (200, _THOUGHT)),
            ("POST", "/graphql", lambda **_: (200, {"data": {"flags": None}})),
            ("GET", "/system/people", lambda **_: (200, {"items": [_PERSON], "next": None, "total": 1})),
            ("GET", "/system/security/policies", lambda **_: (200, {"items": [_POLICY], "next": None, "total": 1})),
            ("GET", "/system/security/mode", lambda **_: (200, _MODE)),
            ("POST", "/system/security/mode", lambda **_: (200, _MODE)),
            ("GET", "/system/security/honeypots/events", lambda **_: (200, {"items": [_CAUGHT], "next": None})),
            ("GET", "/system/security/honeypots/activity", lambda **_: (200, _ACTIVITY)),
            ("GET", "/system/security/honeypots", lambda **_: (200, {"items": [_HONEYPOT], "next": None, "total": 1})),
            ("POST", "/system/security/honeypots", lambda **_: (201, {**_HONEYPOT, "key": "vh_local_k"})),
            ("POST", "/system/security/honeypots/(.+)/rotate", lambda _name, **_: (200, {"name": "h", "key": "vh_2"})),
            ("POST", "/system/security/honeypots/(.+)/(.+)", lambda _name, _verb, **_: (200, _HONEYPOT)),
            ("POST", "/system/security/decoys/keys", lambda **_: (201, {"name": "bait", "key": "vh_bait"})),
            ("GET", "/system/security/decoys", lambda **_: (200, {"items": [_DECOY], "next": None, "total": 1})),
            ("GET", "/system/maintenance/windows", lambda **_: (200, {"items": [], "next": None, "total": 0})),
            ("POST", "/system/maintenance/windows/preview", lambda **_: (200, {"items": [_TIME]})),
            ("GET", "/system/maintenance", lambda **_: (200, _CLOSED)),
            ("POST", "/system/maintenance/state", lambda **_: (200, _CLOSED)),
        ]

    def _hold(self, state: str = "held") -> dict[str, Any]:
        missing = "1 of finance" if state == "held" else None
        approval = {"step": 0, "by": "bo", "decision": "approve", "at": instant(), "reason": "seen"}
        members = {"arguments": {"cents": 500}, "approvals": [approval], "quorum": "2 of finance"}
        return {"id": "h1", "action": "refund", "state": state, "requested_by": "shop", "missing": missing} | members

    def _alert(self, status: str = "open") -> dict[str, Any]:
        members = {"id": "a1", "name": "job.dead", "title": "Job mail failed for good", "labels": {"name": "mail"}}
        return members | {"severity": "error", "status": status, "count": 3, "last_at": instant(), "context": {"n": 1}}

    def _attend(self, _id: str, verb: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        if verb == "silence":
            return 201, {"id": "s1", "state": "active", "ends_at": body["until"]}
        return 200, self._alert({"acknowledge": "acknowledged", "resolve": "resolved"}[verb])

    def _decide(self, _id: str, verb: str, **_: Any) -> tuple[int, Any]:
        return 200, self._hold({"approve": "approved", "deny": "denied", "cancel": "cancelled"}[verb])

    def _find(self, ref: str) -> dict[str, Any] | None:
        return self.sandboxes.get(ref) or next((s for s in self.sandboxes.values() if s["name"] == ref), None)

    def _get(self, ref: str, **_: Any) -> tuple[int, Any]:
        found = self._find(ref)
        if found is None:
            return problem(404, "sandbox-not-found", f"no sandbox has the id or name '{ref}'")
        if found["status"] == "destroying" and self.drops_late:
            self.drops_late = False
            return 200, dict(found) | {"status": "destroying"}
        if found["status"] == "destroying":
            found |= {"status": "destroyed", "destroyed_at": instant()}
        return 200, found

    def _create(self, query: dict[str, str], body: dict[str, Any], **_: Any) -> tuple[int, Any]:
        routes = body.pop("routes", [])
        name = body.pop("name", "ada-brave-otter")
        members = {k: v for k, v in body.items() if k != "ttl"} | {"routes": routes}
        if query.get("dry_run"):
            return 200, {"dry_run": True, "would": {"name": name, "owner": "ada", "routes": []}}
        made = self.add(name, **members)
        return 201, made | {"connection": self._connection(made["id"])[1]}

    def _list(self, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        ended = query.get("include_destroyed") == "true"
        found = [s for s in self.sandboxes.values() if ended or s["status"] != "destroyed"]
        found = [s for s in found if all(s[k] == query[k] for k in ("owner", "status") if k in query)]
        begin, size = int(query.get("cursor", 0)), int(query["limit"])
        following = str(begin + size) if begin + size < len(found) else None
        return 200, {"items": found[begin : begin + size], "next": following, "total": len(found)}

    def _destroy(self, ref: str, **_: Any) -> tuple[int, Any]:
        status, found = self._get(ref)
        if status == 200 and found["status"] != "destroyed":
            found["status"] = "destroying"
            return 202, dict(found)
        return status, found

    def _extend(self, ref: str, **_: Any) -> tuple[int, Any]:
        status, found = self._get(ref)
        if status == 200:
            found["expires_at"] = instant(hours=27)
            return 200, found | {"capped": self.capped, "max_expires_at": instant(hours=27)}
        return status, found

    def _status(self, ref: str, **_: Any) -> tuple[int, Any]:
        status, found = self._get(ref)
        checks = {"postgres": {"ok": False, "latency_ms": 1.25, "reason": "no answer"}, "valkey": {"ok": True}}
        health = {"health": "degraded", "reasons": ["postgres: no answer"], "checks": checks}
        return status, found | health if status == 200 else found

    def _connection(self, ref: str, **_: Any) -> tuple[int, Any]:
        status, found = self._get(ref)
        if status != 200:
            return status, found
        password, name = "p'w\"$(x)", found["name"]
        postgres = {"url": "postgresql://u@h/d", "host": "127.0.0.1", "port": 5, "database": "d", "user": "u"}
        valkey = {"url": "redis://h", "host": "h", "port": 6, "user": "u", "password": password, "prefix": "{x}:"}
        nats = {"url": "nats://h", "creds": CREDS, "prefix": "sbx.x.", "inbox_prefix": "_INBOX_x"}
        env = {"SANDBOX_ID": found["id"], "SANDBOX_NAME": name, "DATABASE_URL": "postgresql://u:p@h/d", **self.env}
        return 200, {
            "postgres": {**postgres, "password": password, "schema": found["schema"]},
            "valkey": valkey,
            "nats": nats,
            "env": env,
        }

    def _link(self, ref: str, body: dict[str, Any], **_: Any) -> tuple[int, Any]:
        if body["key"] == "taken":
            return problem(409, "route-taken", "another sandbox holds it")
        return 201, body

    def _unlink(self, ref: str, kind: str, key: str, **_: Any) -> tuple[int, Any]:
        return 204, None

    def _audit(self, *_: str, **__: Any) -> tuple[int, Any]:
        row = {"id": 1, "seq": 1, "at": instant(), "actor": "ada", "action": "created", "details": {"ttl": "24h"}}
        return 200, {"items": [row | {"kind": "sandbox", "subject": "s1"}], "next": None}

    def _reap(self, **_: Any) -> tuple[int, Any]:
        orphan = {"slice": "postgres", "kind": "schema", "name": "sbx_lost"}
        return 200, {"expired": [], "destroyed": ["s1"], "resumed": [], "orphans": [orphan], "removed": []}

    def _key(self) -> dict[str, Any]:
        return {"id": "k1", "name": "ci", "owner": "team-a", "scopes": ["sandbox:write"], "prefix": "vh_k1"}

    def _patched_limit(self, _name: str, query: dict[str, str], **_: Any) -> tuple[int, Any]:
        return (200, {"dry_run": True, "items": [_CHANGE]}) if query.get("dry_run") else (200, _LIMIT)

    def _new_key(self, body: dict[str, Any], **_: Any) -> tuple[int, Any]:
        return 201, self._key() | body | {"key": "vh_k1_secret"}


def problem(status: int, code: str, detail: str, **extra: Any) -> tuple[int, dict[str, Any]]:
    """Return a problem as the wire has it."""
    title = "The title of " + code
    members = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail, "code": code}
    return status, members | {"help": "Do the other thing.", "correlation_id": "c0ffee"} | extra
