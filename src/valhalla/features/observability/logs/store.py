"""Every SQL statement about log lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.observability.logs import rules
from valhalla.features.observability.logs.contracts import LEVELS, NAMES, Filter, Line
from valhalla.features.observability.logs.tables import system_logs
from valhalla.kit.json import dumps_text

_COLUMNS: Final = (
    *("at", "level", "origin", "category", "message", "correlation_id", "trace_id", "principal", "owner", "context"),
)
_TYPES: Final = {"at": sa.DateTime(timezone=True), "level": sa.SmallInteger()}
# a column at a time: the driver encodes ten arrays, not ten times as many values as there are lines
_INSERT: Final = sa.text(
    f"INSERT INTO valhalla.system_logs ({', '.join(_COLUMNS)})"  # noqa: S608 - constants of ours
    f" SELECT {', '.join(_COLUMNS[:-1])}, context::jsonb FROM unnest({', '.join(':' + name for name in _COLUMNS)})"
    f" AS r({', '.join(_COLUMNS)})"
).bindparams(*(sa.bindparam(name, type_=ARRAY(_TYPES.get(name, sa.Text()))) for name in _COLUMNS))
# a frequent word is found among the newest lines, a rare one through its index: each is slow the other way round
_NEWEST: Final = 5_000
_TABLE: Final = system_logs.c
_SHOWN: Final = tuple(column for column in system_logs.c if column.name != "words")


def add(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store lines; partitions of their days exist."""
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in _COLUMNS}
    columns["context"] = [None if value is None else dumps_text(value) for value in columns["context"]]
    conn.execute(_INSERT, columns)


def page(conn: Connection, wanted: Filter, *, before: tuple[datetime, int] | None, limit: int) -> list[Line]:
    """Return lines that fit, newest first."""
    conditions = list(_conditions(wanted, before))
    words = None if wanted.text is None else rules.query(wanted.text)
    if words is None:
        return _lines(conn, sa.select(*_SHOWN).where(*conditions), limit)
    match = _TABLE.words.op("@@")(sa.func.to_tsquery("simple", words))
    newest = sa.select(system_logs).where(*conditions).order_by(_TABLE.at.desc(), _TABLE.id.desc()).limit(_NEWEST)
    recent = newest.subquery()
    near = recent.c.words.op("@@")(sa.func.to_tsquery("simple", words))
    names = [recent.c[column.name] for column in _SHOWN]
    found = _lines(conn, sa.select(*names).where(near), limit, recent.c)
    if len(found) >= limit:
        return found
    hits = sa.select(*_SHOWN).where(match, *conditions).cte("hits").prefix_with("MATERIALIZED")
    return _lines(conn, sa.select(*hits.c), limit, hits.c)


def newer(conn: Connection, wanted: Filter, *, after: tuple[datetime, int], limit: int) -> list[Line]:
    """Return lines that fit and came after one, oldest first."""
    position = sa.tuple_(_TABLE.at, _TABLE.id) > sa.tuple_(*map(sa.literal, after))
    words = None if wanted.text is None else rules.query(wanted.text)
    query = sa.select(*_SHOWN).where(position, *_conditions(wanted, None))
    if words is not None:
        query = query.where(_TABLE.words.op("@@")(sa.func.to_tsquery("simple", words)))
    return [_line(row) for row in conn.execute(query.order_by(_TABLE.at, _TABLE.id).limit(limit)).mappings()]


def _lines(conn: Connection, query: Any, limit: int, columns: Any = _TABLE) -> list[Line]:
    query = query.order_by(columns.at.desc(), columns.id.desc()).limit(limit)
    return [_line(row) for row in conn.execute(query).mappings()]


def _conditions(wanted: Filter, before: tuple[datetime, int] | None) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.level is not None and wanted.level != "debug":
        # written out, or a prepared statement could not know that an index of errors has them all
        found.append(_TABLE.level >= sa.literal_column(str(LEVELS[wanted.level])))
    for column, value in (
        (_TABLE.category, wanted.category),
        (_TABLE.correlation_id, wanted.correlation_id),
        (_TABLE.trace_id, wanted.trace_id),
        (_TABLE.principal, wanted.principal),
        (_TABLE.origin, wanted.origin),
    ):
        if value is not None:
            found.append(column == value)
    if wanted.since is not None:
        found.append(_TABLE.at >= wanted.since)
    if wanted.until is not None:
        found.append(_TABLE.at < wanted.until)
    if before is not None:
        found.append(sa.tuple_(_TABLE.at, _TABLE.id) < sa.tuple_(*map(sa.literal, before)))
        # the same once more, for the planner to leave out newer days
        found.append(_TABLE.at <= before[0])
    return found


def _line(row: RowMapping) -> Line:
    values: dict[str, Any] = {name: row[name] for name in (*_COLUMNS, "id")}
    values["at"], values["level"] = values["at"].astimezone(UTC), NAMES.get(values["level"], "info")
    return Line(**values)
