"""Every SQL statement about smoke runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.deployments.smoke.contracts import Attempt, Run, RunFilter
from valhalla.features.operations.deployments.smoke.tables import smoke_results, smoke_runs
from valhalla.kernel.ids import is_id

_INSTANTS: Final = ("created_at", "started_at", "finished_at")


def insert(conn: Connection, values: dict[str, Any]) -> Run:
    """Write a new run."""
    return read(conn.execute(sa.insert(smoke_runs).values(values).returning(*smoke_runs.c)).mappings().one())


def find(conn: Connection, run: str, *, lock: bool = False) -> Run | None:
    """Return one; ``lock`` keeps it as it is until the transaction ends."""
    if not is_id(run):
        return None
    query = sa.select(smoke_runs).where(smoke_runs.c.id == run)
    row = conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else read(row)


def page(conn: Connection, wanted: RunFilter, *, before: tuple[datetime, str] | None, limit: int) -> list[Run]:
    """Return those that fit, the newest first."""
    table = smoke_runs.c
    query = sa.select(smoke_runs).order_by(table.created_at.desc(), table.id.desc()).limit(limit)
    for column, value in (
        (table.suite, wanted.suite),
        (table.status, wanted.status),
        (table.deployment, wanted.deployment),
    ):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(sa.tuple_(table.created_at, table.id) < sa.tuple_(*map(sa.literal, before)))
    return [read(row) for row in conn.execute(query).mappings()]


def open_run(conn: Connection, suite: str) -> str | None:
    """Return a run of a suite that has not ended, if there is one."""
    table = smoke_runs.c
    return conn.scalar(sa.select(table.id).where(table.suite == suite, table.finished_at.is_(None)).limit(1))


def keep(conn: Connection, run: str, attempt: Attempt) -> None:
    """Write an attempt and count what is decided by it; one that was tried again after a crash replaces what was."""
    values = {**msgspec.structs.asdict(attempt), "failures": list(attempt.failures), "run": run}
    written = upsert(smoke_results).values(values)
    changed = {name: written.excluded[name] for name in ("ok", "last", "status", "latency_ms", "failures", "at")}
    conn.execute(written.on_conflict_do_update(index_elements=["run", "position", "attempt"], set_=changed))
    if attempt.last:
        column = smoke_runs.c.passed if attempt.ok else smoke_runs.c.failed
        conn.execute(sa.update(smoke_runs).where(smoke_runs.c.id == run).values({column: column + 1}))


def remedied(conn: Connection, run: str, remedy: Mapping[str, Any]) -> None:
    """Write what was done about a failed run."""
    conn.execute(sa.update(smoke_runs).where(smoke_runs.c.id == run).values(remedy=dict(remedy)))


def results(conn: Connection, run: str) -> list[Attempt]:
    """Return every attempt, in the order of the checks."""
    table = smoke_results.c
    query = sa.select(smoke_results).where(table.run == run).order_by(table.position, table.attempt)
    found: list[Attempt] = []
    for row in conn.execute(query).mappings():
        values: dict[str, Any] = {name: row[name] for name in Attempt.__struct_fields__}
        found.append(msgspec.convert({**values, "at": row["at"].astimezone(UTC)}, Attempt))
    return found


def unfinished(conn: Connection, older_than: timedelta) -> list[str]:
    """Return the runs that nobody finished for so long."""
    table = smoke_runs.c
    border = sa.func.clock_timestamp() - older_than
    query = sa.select(table.id).where(table.finished_at.is_(None), table.created_at < border).limit(200)
    return list(conn.scalars(query))


def read(row: RowMapping) -> Run:
    """Return the value of a row."""
    values = {column.name: row[column.name] for column in smoke_runs.c}
    for name in _INSTANTS:
        instant = cast("datetime | None", values[name])
        values[name] = None if instant is None else instant.astimezone(UTC)
    return Run(**values)
