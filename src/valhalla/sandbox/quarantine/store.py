"""The statements about quarantines."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.store.rows import from_row
from valhalla.sandbox.tables import sandboxes


def begin(conn: Connection, sandbox_id: str, now: datetime) -> Sandbox | None:
    """Mark a running sandbox, anew if it is already; None for one that does not run."""
    mark = sandboxes.update().where(sandboxes.c.id == sandbox_id, sandboxes.c.status == "running")
    row = conn.execute(mark.values(quarantined_at=now).returning(*sandboxes.c)).mappings().one_or_none()
    return None if row is None else from_row(row)


def end(conn: Connection, seen: Sandbox, expires_at: datetime) -> bool:
    """Take the mark that was seen away; False when it is another by now, or the sandbox has ended."""
    mine = (sandboxes.c.id == seen.id, sandboxes.c.status == "running")
    mark = sandboxes.update().where(*mine, sandboxes.c.quarantined_at == seen.quarantined_at)
    return conn.execute(mark.values(quarantined_at=None, expires_at=expires_at)).rowcount == 1


def since(conn: Connection, before: datetime) -> list[Sandbox]:
    """Return what is in quarantine since before an instant."""
    query = sa.select(sandboxes).where(sandboxes.c.status == "running", sandboxes.c.quarantined_at <= before)
    return [from_row(row) for row in conn.execute(query.limit(1000)).mappings()]
