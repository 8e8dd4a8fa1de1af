"""Every SQL statement of holds that the guard's own store does not know."""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# the rows are as many as a program makes calls: how far back one looks is bounded, whatever name it is
_PREVIOUS: Final = sa.text(
    """
    WITH this AS (SELECT seq, name FROM valhalla_guard.actions WHERE id = :id)
    SELECT near.id, near.state, near.principal, near.created_at, near.cold->>'summary' AS summary
    FROM this, LATERAL (
        SELECT a.id, a.seq, a.name, a.state, a.principal, a.created_at, a.cold
        FROM valhalla_guard.actions a WHERE a.seq < this.seq ORDER BY a.seq DESC LIMIT 2000
    ) AS near
    WHERE near.name = this.name AND near.cold->>'summary' IS NOT NULL
    ORDER BY near.seq DESC LIMIT 1
    """
)


class Proposal(NamedTuple):
    """What somebody proposed; ``summary`` are its redacted arguments as JSON."""

    id: str
    state: str
    principal: str
    created_at: float
    summary: str


def previous(conn: Connection, id_: str) -> Proposal | None:
    """Return what was proposed last under the name of an action before it."""
    row = conn.execute(_PREVIOUS, {"id": id_}).one_or_none()
    return None if row is None else Proposal(*row)
