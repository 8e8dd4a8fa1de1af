"""The routes that sandboxes hold."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection

from valhalla.sandbox.contracts import Route
from valhalla.sandbox.tables import sandbox_routes


def link(conn: Connection, sandbox_id: str, route: Route, *, at: datetime) -> str:
    """Claim a route and return the id of the sandbox that holds it now: another's id means that it was taken."""
    statement = (
        pg_insert(sandbox_routes)
        .values(kind=route.kind, key=route.key, sandbox_id=sandbox_id, linked_at=at)
        .on_conflict_do_update(index_elements=["kind", "key"], set_={"kind": route.kind})
        .returning(sandbox_routes.c.sandbox_id)
    )
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
