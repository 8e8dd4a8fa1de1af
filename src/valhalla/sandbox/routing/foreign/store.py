"""The routes that publishers which are not ours must follow."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.kit.advisory import EVENT_ACCOUNTS
from valhalla.sandbox.tables import sandbox_routes


def lock(conn: Connection) -> None:
    """Let nobody else write accounts until the transaction ends: the last to read is the last to push."""
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(EVENT_ACCOUNTS)))


def mirrored(conn: Connection, kind: str) -> list[str]:
    """Return the keys of a kind that sandboxes mirror."""
    table = sandbox_routes.c
    statement = sa.select(table.key).where(table.mode == "mirror", table.kind == kind).order_by(table.key)
    return list(conn.execute(statement).scalars())


def stolen(conn: Connection, kinds: Collection[str]) -> dict[tuple[str, str], str]:
    """Return whose the keys of these kinds are, by kind and key."""
    table = sandbox_routes.c
    statement = sa.select(table.kind, table.key, table.sandbox_id).where(
        table.mode == "steal", table.kind == sa.any_(sa.cast(list(kinds), sa.ARRAY(sa.Text)))
    )
    return {(row.kind, row.key): row.sandbox_id for row in conn.execute(statement)}
