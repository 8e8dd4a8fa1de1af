"""Every page of the console: what another person does that it must show by itself, and what its own button does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from tests.server.console import rare_rows as rare
from tests.server.console.rows import Row, deleting, editing, looking, narrowing, posted, pressing, registry, sheet

HOUR: Final = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
hold = partial(pressing, check=lambda found: found["state"] == "denied")

ROWS: Final[dict[str, Row]] = {
    "sandboxes": posted(
        "/api/sandboxes", "row-box-{n}", rare.destroying, query="?status=running", name="row-box-{n}", template="empty"
    ),
    "templates": Row(rare.template, rare.removing_template, opens=False),
    "holds": Row(rare.hold, hold("Deny", at="table", reason="not today")),
    "jobs": Row(
        rare.job, pressing("Cancel", lambda found: found["status"] == "cancelled"), "?status=queued"
    ),
    "schedules": Row(rare.schedule, rare.planning),
    "heartbeats": registry("row-beat", "/system/heartbeats", deleting(), interval=3600),
    "maintenance": registry(
        "row-window", "/system/maintenance/windows", editing("reason", "moved"),
        start="2031-01-05T02:00:00", end="2031-01-05T03:00:00", reason="upgrade",
    ),
    "flags": registry(
        "row-flag", "/system/flags", pressing("Kill", lambda found: found["killed"], variant="off", reason="row"),
        variants={"on": True, "off": False}, defaultVariant="off",
    ),
    "config": registry("row.entry", "/system/config", editing("value", 7), value=1, type="integer"),
    "limits": registry("row-limit", "/system/rate-limits", editing("rate", "9/hour"), rate="5/second", enabled=False),
    "clients": posted(
        "/system/api-clients", "row-client-{n}", pressing("Deactivate", lambda found: not found["active"]),
        query="?owner=row-client", owner="row-client", name="row-client-{n}", role="viewer",
    ),
    "applications": Row(rare.application, sheet("row-host-0"), opens=False),
    "people": Row(rare.person, pressing("Deactivate", lambda found: not found["active"])),
    "deployments": posted(
        "/system/deployment", "row-service-{n}",
        pressing("Say what became of it", lambda found: found["status"] == "failed", to="failed", notes="row"),
        environment="row", service="row-service-{n}", version="1", start=True,
    ),
    "smoke": registry(
        "row-suite", "/system/deployment/smoke/suites", rare.running_suite,
        base_url="http://127.0.0.1:9", checks=[{"name": "alive", "path": "/live"}],
    ),
    "smoke-runs": Row(rare.smoke_run, looking("row-run")),
    "routes": Row(rare.routes, narrowing("q", "/system/config", "/system/security"), opens=False),
    "alerts": Row(
        rare.alert, pressing("Acknowledge", lambda found: found["status"] == "acknowledged", at="table")
    ),
    "silences": posted(
        "/system/alerts/silences", "row-silence-{n}", pressing("Delete", lambda found: found["state"] == "expired"),
        matchers=[{"name": "name", "value": "row-nothing-{n}"}], until=HOUR, reason="row-silence-{n}",
    ),
    "alert-rules": registry(
        "row-rule", "/system/alerts/rules", editing("threshold", 5), match="row.nothing", severity="info"
    ),
    "errors": Row(rare.error, rare.resolving_error),
    "logs": Row(rare.line, narrowing("text", "row line 0", "row line 1"), "?category=row", opens=False),
    "traces": Row(rare.trace, looking("row span")),
    "audit": Row(rare.entry, rare.verifying, "?kind=config", opens=False),
    "security": Row(rare.mode, rare.switching_mode, opens=False),
    "policies": registry(
        "row-policy", "/system/security/policies", editing("shadow", True),
        when='request.path == "/row"', action="log",
    ),
    "blocklist": Row(rare.block, deleting(), "?q=198.51.100.2"),
    "honeypots": posted(
        "/system/security/honeypots", "row-pot-{n}", pressing("Deactivate", lambda found: not found["active"]),
        query="?q=row-pot", key="name", name="row-pot-{n}", type="other",
    ),
    "caught": Row(rare.caught, sheet("203.0.113.7"), opens=False),
    "decoys": registry(
        "row-decoy", "/system/security/decoys", editing("score", 3), path="/row-old-admin/*", face="login"
    ),
    "actions": Row(rare.action, hold("Deny", at="table", reason="not today")),
    "approval-chains": registry(
        "row-chain", "/system/security/approval-chains", editing("priority", 3),
        when='action.type == "row.nothing"', approval="2 of security",
    ),
    "channels": registry(
        "row-channel", "/system/notify/channels", editing("description", "ours"),
        kind="webhook", webhook={"url": "http://127.0.0.1:9/"}, enabled=False,
    ),
    "notify-rules": Row(rare.notify_rule, editing("enabled", False), "?q=row-notify"),
    "notify-templates": registry(
        "row-words", "/system/notify/templates", editing("body", "It is {{ event.title }}"), body="{{ event.title }}"
    ),
    "deliveries": Row(rare.delivery, rare.replaying),
    "exports": Row(rare.export, rare.downloading),
    "retention": Row(rare.kept_days, rare.previewing_purge, opens=False),
    "retention-policies": Row(rare.retention_policy, editing("days", 44)),
    "legal-holds": registry(
        "row-case", "/system/retention/holds", editing("reason", "another case"), category="logs", reason="a case"
    ),
    "purges": Row(rare.purge, looking("purges")),
}  # fmt: skip
