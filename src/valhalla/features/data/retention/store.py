"""Every SQL statement of retention."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, cast

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.data.retention import rules
from valhalla.features.data.retention.contracts import Category, Hold, Purge
from valhalla.features.data.retention.tables import retention_runs
from valhalla.kernel.ids import is_id
from valhalla.kit import partitions
from valhalla.kit.db import SCHEMA
from valhalla.kit.holds import REGISTRY as HOLDS
from valhalla.kit.registry import Registry
from valhalla.kit.registry.tables import heads
from valhalla.kit.sql import identifier, literal
from valhalla.kit.sqlstates import sqlstate

_TABLE: Final = retention_runs.c
_INSTANTS: Final = ("cutoff", "oldest", "newest", "created_at", "started_at", "finished_at")
LOCKED: Final = "55P03"
_TRIES: Final = 15
_COUNTED: Final = 64 * 2**20
# shorter than who looks for deadlocks waits
PURGING: Final[Mapping[str, str]] = {"synchronous_commit": "off", "lock_timeout": "50ms"}
"""The settings of sessions that take batches."""


@dataclass(frozen=True, slots=True)
class Held:
    """The condition that a row of a category is held, as of a revision of the holds."""

    revision: int
    sql: str


@dataclass(frozen=True, slots=True)
class Step:
    """How a batch is taken: so many rows, none older than where the last one ended."""

    size: int = rules.SMALLEST
    since: datetime | None = None
    contended: bool = False
    """Somebody locks these rows: leave such, instead of waiting for them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What went: so many rows up to ``newest``, of the purge so many in ``total`` and at ``most``; seconds it took."""

    rows: int
    newest: datetime | None
    total: int | None
    most: int | None
    took: float


@dataclass(frozen=True, slots=True)
class Gone:
    """What a partition was."""

    rows: int
    oldest: datetime | None
    newest: datetime | None
    digest: str


def held(conn: Connection, registry: Registry[Hold], category: Category) -> Held:
    """Return what is held, and let nobody change the holds until the transaction ends.

    Whoever places one waits for what is under way; after that no row that it names is ever deleted.

    Raises:
        Invalid: a hold names what the table does not have; nothing may be purged then.
    """
    query = sa.select(heads.c.revision).where(heads.c.name == HOLDS).with_for_update(read=True)
    revision = conn.scalar(query)
    if revision is None:
        # there has never been one; without the row there would be nothing to wait for
        conn.execute(pg_insert(heads).values(name=HOLDS, revision=0).on_conflict_do_nothing())
        revision = conn.execute(query).scalar_one()
    return Held(revision, rules.held_sql(category, [record.value for record in registry.load(conn)[1]]))


def take(
    conn: Connection, id_: str, category: Category, table: str, cutoff: datetime, held: Held, step: Step
) -> Batch | None:
    """Delete a batch and note it in its purge; None if the purge is not running, or something else is held by now.

    The session has the settings ``PURGING``: what is lost with the server's power is deleted again, nobody waits for
    the disk, and of two that wait for each other it is the purge that gives way.

    Raises:
        DBAPIError: somebody has locked one of the rows (``55P03``), unless it is ``contended``.
    """
    if step.contended:
        conn.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
    text = rules.batch_sql(category, table, cutoff, held.sql, step.size, contended=step.contended)
    began = time.monotonic()
    allowed, rows, newest, total, most = conn.exec_driver_sql(text, (step.since, id_, held.revision)).one()
    return Batch(rows, _utc(newest), total, most, time.monotonic() - began) if allowed else None


def is_left(conn: Connection, category: Category, table: str, cutoff: datetime, held: str) -> bool:
    """Say whether rows are there that may go: somebody else has them locked."""
    old = rules.old_sql(category, cutoff)
    return bool(
        conn.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {table} AS t WHERE {old} AND NOT ({held}))").scalar_one()
    )


def old_days(conn: Connection, category: Category, cutoff: datetime) -> list[date]:
    """Return the days of a table by day that lie before the cutoff as a whole."""
    last = cutoff.astimezone(UTC).date()
    return sorted(day for day in partitions.existing(conn, category.relation.table) if day < last)


def partition(category: Category, day: date) -> str:
    """Return the quoted name of a day's partition."""
    return f"{identifier(SCHEMA)}.{identifier(f'{category.relation.table}_p{day:%Y%m%d}')}"


def drop_day(conn: Connection, category: Category, day: date, held: str) -> Gone | None:
    """Drop a day with all its rows, None if one of them is held.

    Who writes to that day waits while its rows are counted. Readers of the table wait for an instant, and are never
    made to wait longer by somebody else's long query: then this gives up.

    Raises:
        DBAPIError: others read the table all the time (``55P03``).
    """
    name = partition(category, day)
    conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
    conn.exec_driver_sql(f"LOCK TABLE {name} IN SHARE MODE")
    if conn.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {name} AS t WHERE {held})").scalar_one():
        return None
    gone = _gone(conn.exec_driver_sql(rules.proof_sql(category, name)).one())
    conn.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
    for attempt in range(_TRIES):
        try:
            with conn.begin_nested():
                conn.exec_driver_sql(f"DROP TABLE {name}")
        except sqlalchemy.exc.DBAPIError as error:
            if sqlstate(error) != LOCKED or attempt == _TRIES - 1:
                raise
            conn.exec_driver_sql("SELECT pg_sleep(0.2)")
        else:
            return gone
    raise AssertionError("unreachable")


def table_of(category: Category) -> str:
    """Return the quoted name of a category's table."""
    return f"{identifier(category.relation.schema)}.{identifier(category.relation.table)}"


def border(conn: Connection, category: Category, keep: int) -> datetime | None:
    """Return the clock of the oldest of the newest ``keep`` rows, None if there are not so many."""
    found: datetime | None = conn.exec_driver_sql(rules.border_sql(category, keep)).scalar_one_or_none()
    return None if found is None else found.astimezone(UTC)


def count(conn: Connection, category: Category, cutoff: datetime, held: str) -> tuple[int, int, Any, Any]:
    """Return how many rows would go, how many are held, and the oldest and newest instant."""
    row = conn.exec_driver_sql(rules.count_sql(category, cutoff, held)).one()
    return row[0], row[1], _utc(row[2]), _utc(row[3])


def count_old(conn: Connection, category: Category, cutoff: datetime) -> int:
    """Return how many rows are older, held or not, whatever else the category asks of them."""
    clock = category.relation.column(category.clock).sql
    before = literal(cutoff.astimezone(UTC).isoformat())
    text = f"SELECT count(*) FROM {category.relation.sql} WHERE {clock} < {before}::timestamptz"
    return conn.exec_driver_sql(text).scalar_one()


def size(conn: Connection, category: Category) -> tuple[int, int]:
    """Return rows and bytes of the table, indexes included; of a large one the rows that the last ANALYZE found."""
    name = f"{category.relation.schema}.{category.relation.table}"
    row = conn.execute(
        sa.text(
            "SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint,"
            " coalesce(sum(c.reltuples) FILTER (WHERE c.reltuples > 0), 0)::bigint"
            " FROM pg_partition_tree(to_regclass(:name)) JOIN pg_class AS c ON c.oid = relid WHERE isleaf"
        ),
        {"name": name},
    ).one()
    if row[0] > _COUNTED:
        return row[1], row[0]
    where = category.relation.where or "true"
    text = f"SELECT count(*) FROM {category.relation.sql} WHERE {where}"
    return conn.exec_driver_sql(text).scalar_one(), row[0]


def insert(conn: Connection, values: Mapping[str, Any]) -> Purge | None:
    """Write a new purge, None if one of its category has not ended."""
    query = pg_insert(retention_runs).values(values).on_conflict_do_nothing().returning(*_TABLE)
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else read(row)


def find(conn: Connection, id_: str, *, lock: bool = False) -> Purge | None:
    """Return one; ``lock`` keeps it as it is until the transaction ends."""
    if not is_id(id_):
        return None
    query = sa.select(retention_runs).where(_TABLE.id == id_)
    row = conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else read(row)


def advance(conn: Connection, purge: Purge, gone: Gone, day: str) -> Purge:
    """Note a dropped day in its own transaction: what is noted and what is gone are the same, whatever crashes."""
    oldest = [one for one in (purge.oldest, gone.oldest) if one is not None]
    newest = [one for one in (purge.newest, gone.newest) if one is not None]
    values: dict[str, Any] = {
        "rows": purge.rows + gone.rows,
        "batches": purge.batches + 1,
        "oldest": min(oldest, default=None),
        "newest": max(newest, default=None),
        "digest": rules.chained(purge.digest, gone.digest),
        "days": [*purge.days, day],
    }
    query = sa.update(retention_runs).where(_TABLE.id == purge.id, _TABLE.status == "running").values(values)
    return read(conn.execute(query.returning(*_TABLE)).mappings().one())


def put(conn: Connection, id_: str, **values: Any) -> None:
    """Change members of a purge that are no step of its life."""
    conn.execute(sa.update(retention_runs).where(_TABLE.id == id_).values(**values))


def page(
    conn: Connection, *, category: str | None, status: str | None, before: tuple[datetime, str] | None, limit: int
) -> list[Purge]:
    """Return purges, the newest first."""
    query = sa.select(retention_runs).order_by(_TABLE.created_at.desc(), _TABLE.id.desc()).limit(limit)
    if category is not None:
        query = query.where(_TABLE.category == category)
    if status is not None:
        query = query.where(_TABLE.status == status)
    if before is not None:
        query = query.where(sa.tuple_(_TABLE.created_at, _TABLE.id) < sa.tuple_(*map(sa.literal, before)))
    return [read(row) for row in conn.execute(query).mappings()]


def last(conn: Connection) -> dict[str, Purge]:
    """Return the newest purge of each category."""
    newest = sa.func.row_number().over(partition_by=_TABLE.category, order_by=(_TABLE.created_at.desc(), _TABLE.id))
    found = sa.select(*_TABLE, newest.label("place")).subquery()
    query = sa.select(found).where(found.c.place == 1)
    return {row["category"]: read(row) for row in conn.execute(query).mappings()}


def abandoned(conn: Connection, before: datetime) -> list[str]:
    """Return purges that began so long ago that no job will end them."""
    query = sa.select(_TABLE.id).where(_TABLE.finished_at.is_(None), _TABLE.created_at < before)
    return list(conn.scalars(query.where(_TABLE.status != "blocked")))


def read(row: RowMapping) -> Purge:
    """Return the value of a row."""
    values = {column.name: row[column.name] for column in retention_runs.c}
    for name in _INSTANTS:
        values[name] = _utc(values[name])
    values["days"] = tuple(values["days"])
    return Purge(**values)


def _gone(row: Any) -> Gone:
    return Gone(row[0], _utc(row[1]), _utc(row[2]), row[3])


def _utc(instant: object) -> Any:
    return None if instant is None else cast("datetime", instant).astimezone(UTC)
