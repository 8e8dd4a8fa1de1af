"""What a cell has in Postgres, for the comparison with the registry."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import asyncpg

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.slices.contracts import Found
from valhalla.sandbox.slices.postgres.arenas import Arenas
from valhalla.sandbox.slices.postgres.databases import OwnDatabases
from valhalla.sandbox.slices.postgres.drop import drop_role, drop_schema
from valhalla.sandbox.slices.postgres.makers import through
from valhalla.sandbox.slices.postgres.pools import Pools
from valhalla.sandbox.slices.postgres.roles import alter, await_silence

MARK: Final = re.compile(r"sbx_([a-z0-9]{16})")
_ROLES: Final = (
    "SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid"
    " JOIN pg_roles g ON g.oid = m.roleid WHERE starts_with(g.rolname, $1) OR g.rolname = $2"
)


async def activity(pools: Pools) -> dict[str, datetime]:
    """Return when each sandbox with a live session last did something, by sandbox id.

    Raises:
        Unavailable: the server cannot be reached.
    """
    async with pools.connection() as connection:
        rows = await connection.fetch("SELECT role_name, at FROM vh_makers.activity()")
    return {match[1]: at for role, at in rows if (match := MARK.fullmatch(role))}


async def everything(pools: Pools, arenas: Arenas, databases: OwnDatabases) -> list[Found]:
    """List the cell's roles, own databases and schemas.

    Raises:
        Unavailable: the server cannot be reached.
    """
    async with pools.connection() as connection:
        roles = await connection.fetch(_ROLES, arenas.prefix, databases.group)
    found = [Found("postgres", "role", match[0], match[1]) for row in roles if (match := MARK.fullmatch(row[0]))]
    found.extend(Found("postgres", "database", name, owner) for name, owner in await databases.list())
    for arena in await arenas.list():
        async with pools.connection(arena) as connection:
            schemas = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sbx\\_%'")
        matches = (MARK.fullmatch(row[0]) for row in schemas)
        found.extend(Found("postgres", "schema", f"{arena}.{match[0]}", match[1]) for match in matches if match)
    return found


async def remove(orphan: Found, pools: Pools, arenas: Arenas, databases: OwnDatabases) -> None:
    """Drop one database, one schema or one role that ``everything`` has listed; one that is gone meanwhile is fine.

    Raises:
        Unavailable: the server is away, or the thing is still in use.
    """
    try:
        if orphan.kind == "database":
            await databases.drop(orphan.name)
        elif orphan.kind == "schema":
            await _remove_schema(orphan.name, pools)
        else:
            await _remove_role(orphan.name, pools, arenas)
    except asyncpg.UndefinedObjectError:
        # another reaper was faster
        return
    except asyncpg.PostgresError as error:
        raise Unavailable("postgres", f"{orphan.kind} {orphan.name} cannot be removed now: {error}") from error


async def _remove_schema(name: str, pools: Pools) -> None:
    arena, _, schema = name.partition(".")
    async with pools.connection(arena) as connection:
        # the owner has the schema's name
        await drop_schema(connection, schema, through(schema))


async def _remove_role(name: str, pools: Pools, arenas: Arenas) -> None:
    async with pools.connection() as connection:
        await alter(connection, name, "NOLOGIN")
    await await_silence(pools, name)
    async with pools.connection() as connection:
        maker = await connection.fetchval("SELECT vh_makers.maker_of($1)", name)
    # what a maker made can own something in the maker's arena only
    for arena in await arenas.list() if maker is None else [maker.rpartition("_m")[0]]:
        async with pools.connection(arena) as connection:
            await drop_role(connection, name, through(name))
