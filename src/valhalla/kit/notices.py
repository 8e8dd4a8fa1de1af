"""News that is worth a hint and no row: who looks at logs, traces or the ledger hears that there is more to see.

A hint travels with the outbox's wake-ups, so whoever listens there hears it without a connection of its own. It is
kept nowhere: who was away reads again.
"""

from __future__ import annotations

from collections.abc import Iterable
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
_LOOKING: Final = "/console"
_TELL: Final = sa.text("SELECT pg_notify(:channel, :topic)")


def tell(conn: Connection, topic: str) -> None:
    """Let everybody who listens know, once this transaction is committed."""
    conn.execute(_TELL, {"channel": CHANNEL, "topic": topic})


def is_look(path: str | None) -> bool:
    """Say whether a request is one of the console's: a page that shows requests would renew itself for ever."""
    return path is not None and (path == _LOOKING or path.startswith(f"{_LOOKING}/"))


def looked(names: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the traces of requests of the console, from pairs of trace and span name (``GET /console/logs``)."""
    return frozenset(trace for trace, name in names if is_look(name.partition(" ")[2]))
