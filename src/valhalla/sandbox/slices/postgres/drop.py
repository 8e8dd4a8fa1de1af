"""Dropping what a sandbox left in Postgres, in pieces that never run out of locks.

``DROP SCHEMA … CASCADE`` takes one lock per object in one transaction: 30,000 tables fail with "out of shared memory".
Only catalogs are read, and only DROP is issued: nothing here runs what the sandbox wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from valhalla.kit.sql import identifier

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

PIECE: Final = 200
LOCK_TIMEOUT: Final = "500ms"

# Relations first: their row types, identity sequences and indexes go with them.
_RELATIONS: Final = """
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
       ELSE 'TABLE' END || ' IF EXISTS ' || format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') LIMIT $2
"""
_OTHERS: Final = """
SELECT CASE o.type WHEN 'statistics object' THEN 'STATISTICS' ELSE o.type END || ' IF EXISTS ' || o.identity
FROM pg_depend d, LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) o
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident($1))
  AND d.deptype = 'n' AND d.objsubid = 0
  AND o.type IN ('sequence', 'function', 'procedure', 'aggregate', 'type', 'collation', 'statistics object')
LIMIT $2
"""


async def drop_schema(connection: Connection, schema: str) -> None:
    """Drop a schema with everything in it, at most ``PIECE`` objects per transaction; nothing to do is fine.

    Raises:
        asyncpg.LockNotAvailableError: somebody holds a lock on one of the objects; try again later.
    """
    for query in (_RELATIONS, _OTHERS):
        while pieces := await connection.fetch(query, schema, PIECE):
            drops = "".join(f"DROP {row[0]} CASCADE;" for row in pieces)
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {drops}")
    await connection.execute(
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE"
    )


async def drop_role(connection: Connection, role: str) -> None:
    """Drop a role with what it still owns in the connected database (large objects, default privileges).

    Raises:
        asyncpg.DependentObjectsStillExistError: it owns something in another database.
    """
    if await connection.fetchval("SELECT to_regrole(quote_ident($1)) IS NOT NULL", role):
        await connection.execute(
            f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';"
            f"DROP OWNED BY {identifier(role)} CASCADE; DROP ROLE {identifier(role)}"
        )
