"""What is written with every step of an alert: the ledger's entry, and the event that subscribers hear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.observability.alerts.contracts import Alert, Told
from valhalla.features.observability.alerts.policy import Policy
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit_many

SYSTEM: Final = "alerts"
_TOLD: Final[Mapping[str, Told]] = {
    "opened": "opened",
    "reopened": "opened",
    "escalated": "escalated",
    "resolved": "resolved",
}


def tell(
    conn: Connection, policy: Policy, steps: Iterable[tuple[str, Alert]], now: datetime, *, details: Mapping[str, Any]
) -> None:
    """Emit ``alert.opened``, ``alert.escalated`` or ``alert.resolved`` for each (action, alert).

    A silenced alert names no subscriptions: it is seen on the console and told to nobody.
    """
    subscribed, silences = policy.subscribed, policy.silenced
    events: list[dict[str, Any]] = []
    for action, alert in steps:
        told = _TOLD[action]
        over = silences.over(alert, now)
        data = {
            "id": alert.id,
            "fingerprint": alert.fingerprint,
            "name": alert.name,
            "title": alert.title,
            "severity": alert.severity,
            "source": alert.source,
            "status": alert.status,
            "labels": alert.labels,
            "count": alert.count,
            "episode": alert.episodes,
            "opened_at": alert.opened_at,
            "last_at": alert.last_at,
            "silenced_by": list(over),
            "subscriptions": [] if over else list(subscribed.interested(alert.name, alert.severity, told)),
            **details,
        }
        events.append({"subject": f"alert.{alert.id}", "type": f"alert.{told}", "data": data})
    emit_many(conn, events)


def note(
    conn: Connection,
    ledger: Ledger,
    steps: Sequence[tuple[str, Alert, str | None]],
    *,
    actor: str = SYSTEM,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write the ledger's entries of steps (action, alert, status that it left)."""
    ledger.append_many(
        conn,
        [
            {
                "actor": actor,
                "action": action,
                "kind": "alert",
                "subject": alert.id,
                "details": {
                    "name": alert.name,
                    "severity": alert.severity,
                    **(details or {}),
                    **({"from": before} if before else {}),
                    "to": alert.status,
                },
            }
            for action, alert, before in steps
        ],
    )
