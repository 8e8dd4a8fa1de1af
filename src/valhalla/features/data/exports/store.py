"""Every SQL statement about exports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.data.exports.contracts import Export, File
from valhalla.features.data.exports.tables import export_jobs
from valhalla.kernel.ids import is_id
from valhalla.kit.copying.spec import Query

_INSTANTS: Final = ("since", "until", "created_at", "started_at", "finished_at", "seen_at", "expires_at", "removed_at")
_TABLE: Final = export_jobs.c
# what a superuser's view, or one in a schema of ours, shows is not the operator's to name
_DESCRIBE: Final = sa.text(
    """
    SELECT a.attname, t.typname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = :schema AND c.relname = :view AND c.relkind IN ('v', 'm') ORDER BY a.attnum
    """
)


def insert(conn: Connection, values: Mapping[str, Any]) -> Export:
    """Write a new one."""
    return read(conn.execute(sa.insert(export_jobs).values(values).returning(*_TABLE)).mappings().one())


def find(conn: Connection, id_: str, *, lock: bool = False) -> Export | None:
    """Return one; ``lock`` keeps it as it is until the transaction ends."""
    if not is_id(id_):
        return None
    query = sa.select(export_jobs).where(_TABLE.id == id_)
    row = conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else read(row)


def page(
    conn: Connection, *, status: str | None, source: str | None, before: tuple[datetime, str] | None, limit: int
) -> list[Export]:
    """Return exports, the newest first."""
    query = sa.select(export_jobs).order_by(_TABLE.created_at.desc(), _TABLE.id.desc()).limit(limit)
    if status is not None:
        query = query.where(_TABLE.status == status)
    if source is not None:
        query = query.where(_TABLE.source == source)
    if before is not None:
        query = query.where(sa.tuple_(_TABLE.created_at, _TABLE.id) < sa.tuple_(*map(sa.literal, before)))
    return [read(row) for row in conn.execute(query).mappings()]


def note(conn: Connection, id_: str, **values: Any) -> bool:
    """Note of a running export how far it is; false: it does not run any more."""
    wanted = sa.update(export_jobs).where(_TABLE.id == id_, _TABLE.status == "running")
    return conn.execute(wanted.values(seen_at=sa.func.clock_timestamp(), **values)).rowcount == 1


def link_job(conn: Connection, id_: str, job: str) -> None:
    """Note which job makes it."""
    conn.execute(sa.update(export_jobs).where(_TABLE.id == id_).values(job=job))


def expiring(conn: Connection, now: datetime, held: str | None, *, limit: int = 100) -> list[Export]:
    """Return those whose time is over and whose files are there; those that a hold names stay."""
    query = sa.select(export_jobs).where(_TABLE.expires_at <= now, _TABLE.removed_at.is_(None)).limit(limit)
    if held is not None:
        # the text has the alias of kit.relations
        of_it = f"EXISTS (SELECT FROM valhalla.export_jobs AS t WHERE t.id = valhalla.export_jobs.id AND ({held}))"
        query = query.where(sa.not_(sa.literal_column(of_it, sa.Boolean)))
    return [read(row) for row in conn.execute(query).mappings()]


def removed(conn: Connection, id_: str, at: datetime) -> None:
    """Note that the files are gone."""
    conn.execute(sa.update(export_jobs).where(_TABLE.id == id_).values(removed_at=at))


def silent(conn: Connection, before: datetime) -> list[Export]:
    """Return those that are not finished and of which nothing was heard since."""
    heard = sa.func.coalesce(_TABLE.seen_at, _TABLE.created_at)
    query = sa.select(export_jobs).where(_TABLE.finished_at.is_(None), heard < before).limit(100)
    return [read(row) for row in conn.execute(query).mappings()]


def known(conn: Connection, ids: list[str]) -> set[str]:
    """Return which of these ids still have files to keep."""
    found = sa.select(_TABLE.id).where(_TABLE.id.in_(ids), _TABLE.removed_at.is_(None))
    return set(conn.scalars(found))


def describe(conn: Connection, schema: str, view: str) -> list[tuple[str, str]]:
    """Return names and types of a view's columns; none if there is no such view."""
    return [(row[0], row[1]) for row in conn.execute(_DESCRIBE, {"schema": schema, "view": view})]


def estimate(conn: Connection, query: Query) -> tuple[int, int]:
    """Return how many rows, and how many bytes of each, the planner expects. Nothing is read for it."""
    text = f"EXPLAIN (FORMAT JSON) SELECT {query.columns} {query.source}"
    found: Any = conn.exec_driver_sql(text.replace("%", "%%") if _is_psycopg(conn) else text).scalar_one()
    plan = (msgspec.json.decode(found) if isinstance(found, str) else found)[0]["Plan"]
    return int(plan["Plan Rows"]), int(plan["Plan Width"])


def _is_psycopg(conn: Connection) -> bool:
    return conn.dialect.driver == "psycopg"


def read(row: RowMapping) -> Export:
    """Return the value of a row."""
    values = {column.name: row[column.name] for column in export_jobs.c}
    for name in _INSTANTS:
        instant = cast("datetime | None", values[name])
        values[name] = None if instant is None else instant.astimezone(UTC)
    values["files"] = tuple(File(**one) for one in values["files"])
    return Export(**values)
