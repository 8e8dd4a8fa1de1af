"""The routes that sandboxes hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection

from valhalla.sandbox.contracts import LIVE, Route
from valhalla.sandbox.tables import sandbox_routes, sandboxes


def link(conn: Connection, sandbox_id: str, route: Route, *, at: datetime) -> str:
    """Claim a route and return the id of the sandbox that holds it now: another's id means that it was taken."""
    row = pg_insert(sandbox_routes).values(
        kind=route.kind, key=route.key, sandbox_id=sandbox_id, linked_at=at, mode=route.mode, sample=route.sample
    )
    # one's own may change its terms, another's nothing
    own = sandbox_routes.c.sandbox_id == row.excluded.sandbox_id
    statement = row.on_conflict_do_update(
        index_elements=["kind", "key"],
        set_={
            "mode": sa.case((own, row.excluded.mode), else_=sandbox_routes.c.mode),
            "sample": sa.case((own, row.excluded.sample), else_=sandbox_routes.c.sample),
        },
    ).returning(sandbox_routes.c.sandbox_id)
    return conn.execute(statement).scalar_one()


def unlink(conn: Connection, sandbox_id: str, kind: str, key: str) -> bool:
    """Release one route; False when the sandbox does not hold it."""
    result = conn.execute(
        sandbox_routes.delete().where(
            sandbox_routes.c.kind == kind,
            sandbox_routes.c.key == key,
            sandbox_routes.c.sandbox_id == sandbox_id,
        )
    )
    return result.rowcount == 1


def unlink_all(conn: Connection, sandbox_id: str) -> list[Route]:
    """Release every route of a sandbox and return them."""
    rows = conn.execute(
        sandbox_routes.delete()
        .where(sandbox_routes.c.sandbox_id == sandbox_id)
        .returning(sandbox_routes.c.kind, sandbox_routes.c.key)
    )
    return [Route(row.kind, row.key) for row in rows]


def holder(conn: Connection, kind: str, key: str) -> str | None:
    """Return which sandbox has a route."""
    statement = sa.select(sandbox_routes.c.sandbox_id).where(sandbox_routes.c.kind == kind, sandbox_routes.c.key == key)
    return conn.execute(statement).scalar_one_or_none()


def keys_of_others(conn: Connection, kind: str, sandbox_id: str) -> list[str]:
    """Return the keys of a kind that other sandboxes have, and let nobody add one until the transaction ends."""
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"valhalla.routes:{kind}", 0))))
    statement = sa.select(sandbox_routes.c.key).where(
        sandbox_routes.c.kind == kind, sandbox_routes.c.sandbox_id != sandbox_id
    )
    return list(conn.execute(statement).scalars())


def linked_running(conn: Connection) -> list[tuple[str, datetime, Route]]:
    """Return every route of a running sandbox: its id, when it ends, the route."""
    statement = sa.select(sandbox_routes, sandboxes.c.expires_at).join(sandboxes).where(sandboxes.c.status == "running")
    return [
        (row.sandbox_id, row.expires_at, Route(row.kind, row.key, row.linked_at, row.mode, row.sample))
        for row in conn.execute(statement)
    ]


def running_of(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Return which of these sandboxes are not ended."""
    statement = sa.select(sandboxes.c.id).where(sandboxes.c.id == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.Text))))
    return set(conn.execute(statement.where(sandboxes.c.status.in_(LIVE))).scalars())
