"""Every statement about handouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.admin.handouts.tables import handouts

_MOST = 200


def add(conn: Connection, row: Mapping[str, Any]) -> None:
    """Keep one; what nobody took in time goes."""
    conn.execute(sa.delete(handouts).where(handouts.c.expires_at <= row["made_at"]))
    conn.execute(sa.insert(handouts).values(**row))


def waiting(conn: Connection, owner: str, now: datetime) -> Sequence[RowMapping]:
    """Return what waits for somebody, oldest first."""
    columns = [column for column in handouts.c if column.name not in ("sealed", "owner")]
    query = sa.select(*columns).where(handouts.c.owner == owner, handouts.c.expires_at > now)
    return conn.execute(query.order_by(handouts.c.made_at).limit(_MOST)).mappings().all()


def take(conn: Connection, id_: str, owner: str, now: datetime) -> RowMapping | None:
    """Remove one and return it: of two who ask at once one gets it."""
    mine = (handouts.c.id == id_, handouts.c.owner == owner, handouts.c.expires_at > now)
    return conn.execute(sa.delete(handouts).where(*mine).returning(*handouts.c)).mappings().one_or_none()
