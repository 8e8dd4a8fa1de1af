"""Looking at a sandbox's Postgres slice with its own login: what runs there has only the sandbox's rights."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import asyncpg

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.sql import identifier
from valhalla.kit.sqlstates import is_away
from valhalla.sandbox.contracts import TableStats

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

_MAX_TABLES = 500


async def count_rows(connection: asyncpg.Connection[asyncpg.Record], schema: str) -> list[TableStats]:
    """Count the rows of each base table of a schema, of 500 at most."""
    tables = await connection.fetch(
        "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.to_regnamespace($1)"
        " AND relkind IN ('r', 'p') ORDER BY relname LIMIT $2",
        schema,
        _MAX_TABLES,
    )
    found: list[TableStats] = []
    for (table,) in tables:
        count = await connection.fetchval(
            f"SELECT pg_catalog.count(*) FROM {identifier(schema)}.{identifier(table)}",
            timeout=10,
        )
        found.append(TableStats(table, count))
    return found


def plain(error: BaseException) -> str:
    """Return why a look failed, in the user's words."""
    if isinstance(error, Unavailable):
        return error.detail
    if isinstance(error, Misconfigured) or not is_away(error):
        return str(error) or type(error).__name__
    return "postgres cannot be reached"


async def write_and_read(
    connection: asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record],
) -> str | None:
    """Write a row to the disk of the server, read it back and remove it; return what is wrong.

    What a process that is killed in between leaves behind is pruned.
    """
    token = secrets.token_hex(12)
    await connection.execute("INSERT INTO valhalla.health_marks (token) VALUES ($1)", token, timeout=3)
    back = await connection.fetchval(
        "DELETE FROM valhalla.health_marks WHERE token = $1 RETURNING token", token, timeout=3
    )
    return None if back == token else "postgres lost what was written"
