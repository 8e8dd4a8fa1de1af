"""Every SQL statement about spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.observability.tracing.contracts import Filter, Stored
from valhalla.features.observability.tracing.tables import trace_spans
from valhalla.kit.json import dumps_text

_COLUMNS: Final = tuple(column.name for column in trace_spans.c)
_INSERT: Final = sa.text(
    f"INSERT INTO valhalla.trace_spans ({', '.join(_COLUMNS)})"  # noqa: S608 - constants of ours
    f" SELECT {', '.join(_COLUMNS[:-1])}, attributes::jsonb FROM unnest({', '.join(':' + name for name in _COLUMNS)})"
    f" AS r({', '.join(_COLUMNS)})"
).bindparams(
    *(
        sa.bindparam(column.name, type_=ARRAY(sa.Text() if column.name == "attributes" else column.type))
        for column in trace_spans.c
    )
)


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store spans; partitions of their days exist."""
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in _COLUMNS}
    columns["attributes"] = [None if value is None else dumps_text(value) for value in columns["attributes"]]
    conn.execute(_INSERT, columns)


def page(conn: Connection, wanted: Filter, *, before: tuple[datetime, str] | None, limit: int) -> list[Stored]:
    """Return entries that fit, the last to be received first."""
    table = trace_spans.c
    query = sa.select(trace_spans).where(table.entry).order_by(table.at.desc(), table.span_id.desc()).limit(limit)
    if wanted.status is not None:
        # written out, or a prepared statement could not know that the index of failures has them all
        query = query.where(table.status == sa.literal_column("'error'" if wanted.status == "error" else "'ok'"))
    for column, value in ((table.name, wanted.name), (table.correlation_id, wanted.correlation_id)):
        if value is not None:
            query = query.where(column == value)
    if wanted.slower_than is not None:
        query = query.where(table.seconds >= wanted.slower_than)
    if wanted.since is not None:
        query = query.where(table.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(table.at < wanted.until)
    if before is not None:
        query = query.where(sa.tuple_(table.at, table.span_id) < sa.tuple_(*map(sa.literal, before)))
        query = query.where(table.at <= before[0])
    return [_stored(row) for row in conn.execute(query).mappings()]


def spans(conn: Connection, trace_id: str, *, limit: int) -> list[Stored]:
    """Return the spans of a trace, the first to begin first."""
    table = trace_spans.c
    query = sa.select(trace_spans).where(table.trace_id == trace_id).order_by(table.started_at).limit(limit)
    return [_stored(row) for row in conn.execute(query).mappings()]


def _stored(row: RowMapping) -> Stored:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    for name in ("at", "started_at"):
        values[name] = values[name].astimezone(UTC)
    return Stored(**values)
