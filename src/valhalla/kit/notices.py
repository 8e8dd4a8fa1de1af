"""News that is worth a hint and no row: who looks at logs, traces or the ledger hears that there is more to see.

A hint travels with the outbox's wake-ups, so whoever listens there hears it without a connection of its own. It is
kept nowhere: who was away reads again.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.kit.outbox.store import CHANNEL

LOGS: Final = "logs"
TRACES: Final = "traces"
AUDIT: Final = "audit"
TEMPLATES: Final = "templates"
JOBS: Final = "job"
SCHEDULES: Final = "schedule"
HEARTBEATS: Final = "heartbeat"
APPLICATIONS: Final = "applications"
DELIVERIES: Final = "deliveries"
_TELL: Final = sa.text("SELECT pg_notify(:channel, :topic)")


def tell(conn: Connection, topic: str) -> None:
    """Let everybody who listens know, once this transaction is committed."""
    conn.execute(_TELL, {"channel": CHANNEL, "topic": topic})
