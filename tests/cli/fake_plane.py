"""A control plane that speaks the HTTP contract and remembers what it was asked.

It says nothing about the real one: it is here for the command line's own words, quoting and exit codes.
"""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.cli.fake_system import SYSTEM
from tests.cli.fake_wire import instant, problem, sandbox

KEY = "vh_test_key"
CREDS = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n"


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
            ("GET", "/system/audit/verify", lambda **_: (200, self.ledger)),
            ("GET", "/system/audit", self._audit),
            *SYSTEM,
        ]

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
