"""Dropping what a sandbox left in Postgres, in pieces that never run out of locks.

``DROP SCHEMA … CASCADE`` takes one lock per object in one transaction: 30,000 tables fail with "out of shared memory".
Only catalogs are read, and only DROP is issued: nothing here runs what the sandbox wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import asyncpg

from valhalla.kernel.problems import Unavailable
from valhalla.kit.sql import identifier
from valhalla.sandbox.slices.postgres.makers import Through, directly

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

PIECE: Final = 200
LOCK_TIMEOUT: Final = "500ms"
_PATIENCE: Final = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';"
_LISTED: Final = 10_000
_DEEPEST: Final = 50
_END_SESSIONS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = $1 AND usename IS NOT NULL AND pid <> pg_backend_pid()"
)

# Counted by an index; pg_class has none by schema, so that listing its relations reads all of an arena's.
_LOOK: Final = """
SELECT (SELECT count(*) FROM (
            SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
            AND refobjid = to_regnamespace(quote_ident($1)) LIMIT $3) d) AS objects,
       to_regrole(quote_ident($2)) IS NOT NULL AS role
"""
# Relations first: their row types, identity sequences and indexes go with them. The youngest first: what hangs on
# another is mostly younger, so that a cascade finds little.
_RELATIONS: Final = """
SELECT 'pg_class'::regclass::oid AS class, c.oid,
       'DROP ' || CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
       ELSE 'TABLE' END || ' IF EXISTS ' || format('%I.%I', n.nspname, c.relname) AS drop
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.oid DESC LIMIT $2
"""
_OTHERS: Final = """
SELECT d.classid AS class, d.objid AS oid,
       'DROP ' || CASE o.type WHEN 'statistics object' THEN 'STATISTICS' ELSE o.type END
       || ' IF EXISTS ' || o.identity AS drop
FROM pg_depend d, LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) o
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident($1))
  AND d.deptype = 'n' AND d.objsubid = 0
  AND o.type IN ('sequence', 'function', 'procedure', 'aggregate', 'type', 'collation', 'statistics object', 'operator',
                 'conversion', 'text search configuration', 'text search dictionary')
  -- what a range type brings along goes with it, and not alone
  AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i')
ORDER BY d.objid DESC LIMIT $2
"""
# What hangs on one object, for when even that is too much: a table with thousands of indexes, triggers or references.
_HANGING: Final = """
SELECT DISTINCT d.classid AS class, d.objid AS oid,
       CASE o.type
       WHEN 'table constraint' THEN (
           SELECT format('ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %I', k.conrelid::regclass, k.conname)
           FROM pg_constraint k WHERE k.oid = d.objid)
       WHEN 'rule' THEN (
           SELECT CASE WHEN v.relkind IN ('v', 'm')
                       THEN 'DROP ' || CASE v.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END
                            || ' IF EXISTS ' || v.oid::regclass
                       ELSE 'DROP RULE IF EXISTS ' || o.identity END
           FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class WHERE r.oid = d.objid)
       WHEN 'statistics object' THEN 'DROP STATISTICS IF EXISTS ' || o.identity
       ELSE 'DROP ' || o.type || ' IF EXISTS ' || o.identity END AS drop
FROM pg_depend d, LATERAL pg_identify_object(d.classid, d.objid, 0) o
WHERE d.refclassid = $1 AND d.refobjid = $2 AND (d.classid, d.objid) <> ($1, $2) AND d.deptype IN ('n', 'a')
  AND (d.objsubid = 0 OR d.classid <> 'pg_class'::regclass)
  AND o.type IN ('table', 'index', 'view', 'materialized view', 'sequence', 'table constraint', 'trigger', 'policy',
                 'rule', 'statistics object', 'function', 'procedure', 'aggregate', 'type')
  AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i')
ORDER BY d.objid DESC LIMIT $3
"""


async def drop_both(connection: Connection, schema: str, role: str, by: Through = directly) -> None:
    """Drop a schema and its role: in one transaction when the schema holds no more than one may take, else in pieces.

    ``by`` lets what is dropped be dropped by who may.

    Raises:
        the same as ``drop_schema`` and ``drop_role``.
    """
    found = await connection.fetchrow(_LOOK, schema, role, PIECE + 1)
    assert found is not None
    if found["objects"] <= PIECE:
        if not found["role"]:
            # its owner is gone, so the schema went before
            return
        script = f"DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE;"
        try:
            await connection.execute(_PATIENCE + by(script + _role_script(role)))
        except asyncpg.OutOfMemoryError:
            # few objects, but one with thousands of indexes, triggers or references
            pass
        else:
            return
    await drop_schema(connection, schema, by)
    await drop_role(connection, role, by)


async def drop_schema(connection: Connection, schema: str, by: Through = directly) -> None:
    """Drop a schema with everything in it, at most ``PIECE`` objects per transaction; nothing to do is fine.

    Raises:
        asyncpg.LockNotAvailableError: somebody holds a lock on one of the objects; try again later.
        asyncpg.OutOfMemoryError: others have taken all locks of the server; the same.
    """
    for query in (_RELATIONS, _OTHERS):
        while objects := await connection.fetch(query, schema, _LISTED):
            await _drop(connection, objects, by)
    if await connection.fetchval("SELECT to_regnamespace(quote_ident($1)) IS NOT NULL", schema):
        await connection.execute(_PATIENCE + by(f"DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE"))


async def _drop(connection: Connection, objects: Sequence[asyncpg.Record], by: Through, *, depth: int = 0) -> None:
    """Drop objects in pieces: smaller ones when there are too few locks, and what hangs on one before the one."""
    start, piece = 0, PIECE
    stripped: set[int] = set()
    while start < len(objects):
        some = objects[start : start + piece]
        drops = "".join(f"{each['drop']} CASCADE;" for each in some)
        try:
            await connection.execute(_PATIENCE + by(drops))
        except asyncpg.OutOfMemoryError:
            if len(some) > 1:
                piece = max(1, len(some) // 4)
                continue
            if start in stripped or depth == _DEEPEST:
                raise
            while hanging := await connection.fetch(_HANGING, some[0]["class"], some[0]["oid"], _LISTED):
                await _drop(connection, hanging, by, depth=depth + 1)
            stripped.add(start)
            continue
        start += len(some)
        piece = min(PIECE, piece * 2)


async def drop_role(connection: Connection, role: str, by: Through = directly) -> None:
    """Drop a role with what it still owns in the connected database (large objects, default privileges).

    Raises:
        asyncpg.DependentObjectsStillExistError: it owns something in another database.
    """
    if await connection.fetchval("SELECT to_regrole(quote_ident($1)) IS NOT NULL", role):
        await connection.execute(_PATIENCE + by(_role_script(role)))


def _role_script(role: str) -> str:
    return f"DROP OWNED BY {identifier(role)} CASCADE; DROP ROLE {identifier(role)}"


async def drop_database(connection: Connection, database: str) -> None:
    """Drop a database with the sessions in it; one that does not exist is fine.

    FORCE is refused to who is no superuser while an autovacuum worker, which has no role, is in the database. Without
    FORCE the server itself sends that worker away, but not the sessions.

    Raises:
        Unavailable: somebody is in there who cannot be sent away in time; to be resumed.
    """
    drop = f"DROP DATABASE IF EXISTS {identifier(database)}"
    try:
        try:
            await connection.execute(f"{drop} WITH (FORCE)", timeout=60)
        except asyncpg.InsufficientPrivilegeError as error:
            if "terminate process" not in str(error):
                raise
            await connection.execute(f"ALTER DATABASE {identifier(database)} ALLOW_CONNECTIONS false")
            await connection.execute(_END_SESSIONS, database)
            await connection.execute(drop, timeout=60)
    except asyncpg.ObjectInUseError as error:
        raise Unavailable("postgres", f"database {database} is still in use") from error
