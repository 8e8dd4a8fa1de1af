"""The SQL statements of applications that follow this control plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.connected.tables import applications
from valhalla.kit import notices

_KEPT: Final = timedelta(days=1)
_MOST_OF_ONE: Final = 500
_MOST: Final = 1_000
_columns = applications.c


def note(conn: Connection, row: Mapping[str, Any]) -> None:
    """Keep what a process said last, and forget those that say nothing any more."""
    upsert = pg_insert(applications).values(**row, first_seen_at=row["seen_at"])
    replaced = {name: upsert.excluded[name] for name in row if name not in ("client_id", "instance")}
    conn.execute(upsert.on_conflict_do_update(index_elements=["client_id", "instance"], set_=replaced))
    mine = _columns.client_id == row["client_id"]
    newest = sa.select(_columns.instance).where(mine).order_by(_columns.seen_at.desc()).limit(_MOST_OF_ONE)
    beyond = sa.and_(mine, _columns.instance.not_in(newest))
    conn.execute(sa.delete(applications).where(sa.or_(beyond, _columns.seen_at < row["seen_at"] - _KEPT)))
    notices.tell(conn, notices.APPLICATIONS)


def seen(conn: Connection) -> Sequence[RowMapping]:
    """Return the processes that followed within a day, the last to say so first."""
    return conn.execute(sa.select(applications).order_by(_columns.seen_at.desc()).limit(_MOST)).mappings().all()


def lacking(conn: Connection, since: datetime) -> Sequence[RowMapping]:
    """Return the processes that follow and cannot enforce everything."""
    query = sa.select(_columns.name, _columns.host, _columns["lacks"])
    query = query.where(_columns.seen_at >= since, _columns["lacks"] != sa.text("'[]'::jsonb"))
    return conn.execute(query.order_by(_columns.name, _columns.host).limit(_MOST)).mappings().all()
