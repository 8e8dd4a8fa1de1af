"""Vacuuming system catalogs, which sandboxes coming and going fill with dead rows faster than anything else.

The owner of a database may vacuum its catalogs; those that all databases share need MAINTAIN, table by table
(PostgreSQL 17), which the bootstrap grants in the control plane's database. What may not be vacuumed is not tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from valhalla.kit.sql import identifier
from valhalla.sandbox.slices.postgres.pools import Pools

SHARED: Final = ("pg_authid", "pg_auth_members", "pg_shdepend", "pg_db_role_setting", "pg_shdescription", "pg_database")
"""What a sandbox's role leaves rows in."""

LEAST: Final = 10_000
"""Dead rows of one catalog below which a vacuum costs more than it gives."""

_DEAD: Final = """
SELECT s.relname, s.n_dead_tup, s.n_live_tup, c.relisshared
FROM pg_stat_sys_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname = 'pg_catalog' AND s.n_dead_tup >= $1 AND s.n_dead_tup > s.n_live_tup / 10
  AND (c.relisshared = $2)
ORDER BY s.n_dead_tup DESC
"""
_MAY: Final = "SELECT current_setting('is_superuser') = 'on' OR has_table_privilege($1::regclass, 'MAINTAIN')"
_MAINTAIN: Final = 170_000


@dataclass(frozen=True, slots=True)
class Bloat:
    """A catalog of one database with its dead and live rows, as the server last counted them."""

    database: str
    table: str
    dead: int
    live: int


async def bloated(pools: Pools, database: str, *, shared: bool, least: int = LEAST) -> list[Bloat]:
    """Return the catalogs of a database that are worth a vacuum and may be vacuumed, worst first.

    ``shared`` asks for those that all databases have in common instead.

    Raises:
        Unavailable: the server cannot be reached.
    """
    async with pools.connection(database) as connection:
        rows = await connection.fetch(_DEAD, least, shared)
        found = [Bloat(database, row["relname"], row["n_dead_tup"], row["n_live_tup"]) for row in rows]
        if not shared or not found:
            return found
        if await connection.fetchval("SELECT current_setting('server_version_num')::int") < _MAINTAIN:
            return []
        return [each for each in found if await connection.fetchval(_MAY, f"pg_catalog.{each.table}")]


async def vacuum(pools: Pools, bloat: Bloat) -> None:
    """Vacuum one catalog at the pace of autovacuum, unless somebody does so already.

    Raises:
        Unavailable: the server cannot be reached.
        asyncpg.PostgresError: it refuses; a drained arena may have been dropped.
    """
    async with pools.single(bloat.database) as connection:
        await connection.execute("SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 1000")
        # giving pages back to the file system would lock the catalog for everybody
        await connection.execute(f"VACUUM (SKIP_LOCKED, TRUNCATE FALSE) pg_catalog.{identifier(bloat.table)}")
