"""How much of an arena each sandbox takes, read from catalogs only, one statement for all of an arena.

Sizes of files are asked for one relation at a time by the server, which opens each: it waits for whoever holds the
relation exclusively, and keeps what it has read about it for the life of the connection. So what is held is taken by
the planner's number, and the connection is closed afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from valhalla.sandbox.slices.postgres.pools import Pools

_MARK: Final = re.compile(r"sbx_([a-z0-9]{16})")

# Indexes and sequences are relations; what pg_depend adds are functions, types, operators…: they take memory and locks.
_COUNTED: Final = """
SELECT n.nspname, coalesce(c.count, 0) + coalesce(d.count, 0) AS objects
FROM pg_namespace n
LEFT JOIN (SELECT relnamespace, count(*) FROM pg_class GROUP BY 1) c ON c.relnamespace = n.oid
LEFT JOIN (
    SELECT refobjid, count(*) FROM pg_depend
    WHERE refclassid = 'pg_namespace'::regclass AND classid <> 'pg_class'::regclass GROUP BY 1
) d ON d.refobjid = n.oid
WHERE n.nspname LIKE 'sbx\\_%' AND coalesce(c.count, 0) + coalesce(d.count, 0) > $1
"""
_SIZES: Final = """
WITH held AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT n.nspname, sum(
    CASE WHEN f.oid IN (SELECT relation FROM held) THEN f.relpages::bigint * current_setting('block_size')::bigint
         ELSE coalesce(pg_relation_size(f.oid), 0) END
)::bigint AS bytes
FROM pg_namespace n
JOIN pg_class c ON c.relnamespace = n.oid
JOIN LATERAL (SELECT oid, relpages FROM pg_class WHERE oid IN (c.oid, c.reltoastrelid)) f ON true
WHERE n.nspname LIKE 'sbx\\_%' AND c.relkind IN ('r', 'i', 'm') GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class ArenaUsage:
    """The size of an arena's database in bytes, and by sandbox id how many objects those have that have too many."""

    size: int
    crowded: dict[str, int]


async def arena_usage(pools: Pools, arena: str, *, objects: int) -> ArenaUsage:
    """Look at an arena; ``objects`` is the number up to which a sandbox is not mentioned.

    Raises:
        Unavailable: the server cannot be reached.
    """
    async with pools.connection(arena) as connection:
        rows = await connection.fetch(_COUNTED, objects)
        size = await connection.fetchval("SELECT pg_database_size(current_database())")
    return ArenaUsage(size, _by_id(rows))


async def own_objects(pools: Pools, database: str, *, objects: int) -> dict[str, int]:
    """Return how many objects the sandbox of a database of its own has, by its id, if there are more than ``objects``.

    Raises:
        Unavailable: the server cannot be reached.
        asyncpg.InvalidCatalogNameError: the database is gone.
    """
    async with pools.single(database) as connection:
        return _by_id(await connection.fetch(_COUNTED, objects))


async def sizes(pools: Pools, arena: str) -> dict[str, int]:
    """Return the bytes that each sandbox's committed tables and indexes take, by sandbox id.

    Raises:
        Unavailable: the server cannot be reached.
        asyncpg.LockNotAvailableError: somebody took a relation exclusively meanwhile; try again later.
    """
    async with pools.single(arena) as connection:
        await connection.execute("SET lock_timeout = '200ms'")
        return _by_id(await connection.fetch(_SIZES))


async def database_sizes(pools: Pools, names: Sequence[str]) -> dict[str, int]:
    """Return the bytes of these databases, in one statement; one that is gone is left out.

    Raises:
        Unavailable: the server cannot be reached.
    """
    async with pools.connection() as connection:
        rows = await connection.fetch(
            "SELECT datname, pg_database_size(oid) FROM pg_database WHERE datname = ANY($1)", list(names)
        )
    return {row[0]: row[1] for row in rows}


def _by_id(rows: Iterable[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in rows:
        if match := _MARK.fullmatch(name):
            found[match[1]] = int(number)
    return found
