"""Every SQL statement about deployments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.deployments.contracts import Deployment, Filter, Finished, Verdict
from valhalla.features.operations.deployments.tables import deployments
from valhalla.kernel.ids import is_id

MOST: Final = 50_000
"""So many rows DORA figures are computed from at most, the newest."""

_INSTANTS: Final = ("created_at", "started_at", "finished_at", "failed_at", "committed_at")


def insert(conn: Connection, values: dict[str, Any]) -> Deployment:
    """Write a new one."""
    return read(conn.execute(sa.insert(deployments).values(values).returning(*deployments.c)).mappings().one())


def find(conn: Connection, deployment_id: str, *, lock: bool = False) -> Deployment | None:
    """Return one; ``lock`` keeps it as it is until the transaction ends."""
    if not is_id(deployment_id):
        return None
    query = sa.select(deployments).where(deployments.c.id == deployment_id)
    row = conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else read(row)


def page(conn: Connection, wanted: Filter, *, before: tuple[datetime, str] | None, limit: int) -> list[Deployment]:
    """Return those that fit, the newest first."""
    table = deployments.c
    query = sa.select(deployments).order_by(table.created_at.desc(), table.id.desc()).limit(limit)
    for column, value in (
        (table.environment, wanted.environment),
        (table.service, wanted.service),
        (table.status, wanted.status),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(table.created_at > wanted.since)
    if before is not None:
        query = query.where(sa.tuple_(table.created_at, table.id) < sa.tuple_(*map(sa.literal, before)))
    return [read(row) for row in conn.execute(query).mappings()]


def current(conn: Connection, environment: str | None, *, limit: int = 1000) -> list[Deployment]:
    """Return what runs: of each service in each environment the last that went live and was not rolled back."""
    table = deployments.c
    newest = sa.func.row_number().over(
        partition_by=(table.environment, table.service), order_by=(table.finished_at.desc(), table.id.desc())
    )
    live = sa.select(*table, newest.label("place")).where(table.status == "succeeded")
    if environment is not None:
        live = live.where(table.environment == environment)
    found = live.subquery()
    query = sa.select(found).where(found.c.place == 1).order_by(found.c.environment, found.c.service).limit(limit)
    return [read(row) for row in conn.execute(query).mappings()]


def finished(
    conn: Connection, since: datetime, *, environment: str | None, service: str | None
) -> tuple[list[Finished], bool]:
    """Return what finished since then, and whether there was more than is looked at."""
    table = deployments.c
    query = (
        sa.select(
            table.environment, table.service, table.finished_at, table.committed_at, table.failed_at, table.status
        )
        .where(table.finished_at >= since)
        .order_by(table.finished_at.desc())
        .limit(MOST + 1)
    )
    for column, value in ((table.environment, environment), (table.service, service)):
        if value is not None:
            query = query.where(column == value)
    rows = conn.execute(query).all()
    found = [
        # one that failed has failed at the instant it finished; one that was live was rolled back later
        Finished(row[0], row[1], row[2], row[3], row[4], good=row[4] is None or row[4] > row[2])
        for row in rows[:MOST]
    ]
    return found, len(rows) > MOST


def link(conn: Connection, deployment_id: str, run: str, verdict: Verdict | None) -> None:
    """Note the smoke run that is, or was, made for it; the verdict of an older run does not replace a newer one's."""
    table = deployments.c
    query = sa.update(deployments).where(table.id == deployment_id).values(smoke_run=run, verdict=verdict)
    conn.execute(query if verdict is None else query.where(table.smoke_run == run))


def read(row: RowMapping) -> Deployment:
    """Return the value of a row."""
    values = {column.name: row[column.name] for column in deployments.c}
    for name in _INSTANTS:
        instant = cast("datetime | None", values[name])
        values[name] = None if instant is None else instant.astimezone(UTC)
    return Deployment(**values)
