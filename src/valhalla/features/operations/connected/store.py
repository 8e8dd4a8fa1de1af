"""The SQL statements of applications that follow this control plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.connected.tables import applications
from valhalla.kit import notices, paging

State = Literal["following", "degraded", "silent"]

_KEPT: Final = timedelta(days=1)
_MOST_OF_ONE: Final = 500
_MOST: Final = 1_000
_columns = applications.c
# the members of a cursor: none changes while a process runs, so whoever goes through the pages misses nobody
_ORDER: Final = ("name", "client_id", "instance")
_ENFORCES: Final = _columns["lacks"] == sa.text("'[]'::jsonb")


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


def page(
    conn: Connection,
    alive: datetime,
    *,
    state: State | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> paging.Page[RowMapping]:
    """Return the processes that followed within a day, by name; who was not heard of since ``alive`` is silent.

    Raises:
        Invalid: the cursor was not made here.
    """
    # where "b" comes before "C" is not the same in every database
    order = [_columns["name"].collate("C"), _columns.client_id, _columns.instance]
    query = sa.select(applications).order_by(*order)
    if state is not None:
        query = query.where(_columns.seen_at < alive if state == "silent" else _columns.seen_at >= alive)
    if state in ("following", "degraded"):
        query = query.where(_ENFORCES if state == "following" else sa.not_(_ENFORCES))
    position = paging.decode(cursor)
    if position is not None:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*(paging.text(position, name) for name in _ORDER)))
    size = paging.clamp(limit)
    rows = conn.execute(query.limit(size + 1)).mappings().all()
    items = rows[:size]
    return paging.Page(items, paging.encode({name: items[-1][name] for name in _ORDER}) if len(rows) > size else None)


def lacking(conn: Connection, since: datetime) -> Sequence[RowMapping]:
    """Return the processes that follow and cannot enforce everything."""
    query = sa.select(_columns.name, _columns.host, _columns["lacks"])
    query = query.where(_columns.seen_at >= since, sa.not_(_ENFORCES))
    return conn.execute(query.order_by(_columns.name, _columns.host).limit(_MOST)).mappings().all()
