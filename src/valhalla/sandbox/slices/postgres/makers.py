"""Makers: the roles in whose name sandboxes' roles are made, so that no role ever administers many.

PostgreSQL (16 and newer) makes whoever creates a role a member of it, and looks through all memberships of a role at
every check of a right after any role was made or altered. One creator of everything therefore pays for each sandbox
with the number of all: 2 ms of the server's CPU for the first, 25 ms for the 1,500th. A maker makes a hundred and is
followed by the next one. It cannot log in: what is done in its name goes through one function of its own that only the
control plane may call, in the arena and in the control plane's database (ADR 0015).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from valhalla.kit.sql import identifier, literal
from valhalla.sandbox.slices.postgres.pools import Pools

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

Through = Callable[[str], str]
"""Turns statements into ones that do the same with the rights that they need."""

MOST: Final = 100
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('valhalla.makers', 0))"
_LEAST_USED: Final = """
SELECT r.rolname AS name, (SELECT count(*) FROM pg_auth_members a WHERE a.member = r.oid AND a.admin_option) AS made
FROM pg_roles r WHERE starts_with(r.rolname, $1) ORDER BY made, r.oid LIMIT 1
"""
_DISPATCH: Final = """
CREATE SCHEMA IF NOT EXISTS vh_makers;
CREATE OR REPLACE FUNCTION vh_makers.maker_of(role_name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $f$
    SELECT m.rolname::text FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member
    WHERE a.roleid = to_regrole(quote_ident(role_name)) AND a.admin_option AND NOT m.rolcanlogin
      AND m.rolname ~ '^vh_[a-z0-9]+_arena_[0-9]+_m[0-9]+$' LIMIT 1
$f$;
CREATE OR REPLACE FUNCTION vh_makers.act(role_name text, statements text) RETURNS void
    LANGUAGE plpgsql AS $f$
DECLARE
    maker text := vh_makers.maker_of(role_name);
BEGIN
    IF maker IS NOT NULL THEN
        EXECUTE format('SELECT vh_makers.%I(%L)', maker, statements);
    ELSIF to_regrole(quote_ident(role_name)) IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', role_name);
    ELSE
        EXECUTE statements;
    END IF;
END
$f$;
CREATE OR REPLACE FUNCTION vh_makers.lend(role_name text, lent boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
    -- a role without a maker is the caller's own, and stays so
    IF vh_makers.maker_of(role_name) IS NOT NULL THEN
        PERFORM vh_makers.act(role_name, format(
            CASE WHEN lent THEN 'GRANT %I TO %I WITH SET TRUE, INHERIT FALSE' ELSE 'REVOKE %I FROM %I' END,
            role_name, session_user));
    END IF;
END
$f$;
CREATE OR REPLACE FUNCTION vh_makers.silence(role_name text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
    live integer[] := ARRAY(SELECT pid FROM pg_stat_activity WHERE usename = role_name);
BEGIN
    IF live <> '{}' THEN
        PERFORM vh_makers.act(
            role_name, format('SELECT count(pg_terminate_backend(pid)) FROM unnest(%L::int[]) pid', live));
    END IF;
    RETURN cardinality(live);
EXCEPTION WHEN undefined_object THEN
    RETURN cardinality(live);
END
$f$;
CREATE OR REPLACE FUNCTION vh_makers.activity() RETURNS TABLE (role_name text, at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
    -- when a session last did something is shown to who has its role's rights
    look constant text := $l$SELECT jsonb_object_agg(usename, at) FROM (
        SELECT usename, max(coalesce(state_change, backend_start)) AS at FROM pg_stat_activity
        WHERE usename = ANY (%L) AND application_name <> 'valhalla' GROUP BY usename) s$l$;
    one record;
    found jsonb;
BEGIN
    FOR one IN
        SELECT vh_makers.maker_of(s.usename) AS maker, array_agg(s.usename) AS names
        FROM (SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'sbx\\_%') s GROUP BY 1
    LOOP
        IF one.maker IS NULL THEN
            EXECUTE format(look, one.names) INTO found;
        ELSE
            EXECUTE format('SELECT vh_makers.%I(%L)', one.maker, format(look, one.names)) INTO found;
        END IF;
        RETURN QUERY SELECT e.key, e.value::timestamptz FROM jsonb_each_text(coalesce(found, '{}')) e;
    END LOOP;
END
$f$;
"""
_OWN_FUNCTION: Final = """
CREATE FUNCTION vh_makers.{maker}(statements text) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET createrole_self_grant = 'set, inherit' AS $f$
DECLARE
    answer jsonb;
BEGIN
    IF starts_with(statements, 'SELECT jsonb') THEN
        EXECUTE statements INTO answer;
    ELSE
        EXECUTE statements;
    END IF;
    RETURN answer;
END
$f$;
REVOKE ALL ON FUNCTION vh_makers.{maker}(text) FROM PUBLIC;
GRANT {maker} TO {control} WITH SET TRUE, INHERIT FALSE;
GRANT CREATE, USAGE ON SCHEMA vh_makers TO {maker};
ALTER FUNCTION vh_makers.{maker}(text) OWNER TO {maker};
SET LOCAL ROLE {maker};
GRANT EXECUTE ON FUNCTION vh_makers.{maker}(text) TO {control};
RESET ROLE;
REVOKE ALL ON SCHEMA vh_makers FROM {maker};
REVOKE {maker} FROM {control} GRANTED BY {control};
"""


def group_name(cell: str) -> str:
    """Return the name of the role that all makers of a cell inherit what they need from."""
    return f"vh_{cell}_makers"


def through(role: str) -> Through:
    """Return what has statements carried out by the maker of a sandbox's role."""
    return lambda statements: f"SELECT vh_makers.act({literal(role)}, {literal(statements)});"


def directly(statements: str) -> str:
    """Leave statements as they are: the control plane made the role itself (own databases, superusers)."""
    return statements


class Makers:
    """The makers of one cell."""

    def __init__(self, pools: Pools, cell: str) -> None:
        self._pools = pools
        self._group = group_name(cell)
        self._left: dict[str, tuple[str, int]] = {}
        self._complete: set[str] = set()
        self._lock = asyncio.Lock()
        self.needed = True

    async def prepare(self, arenas: list[str], *, superuser: bool) -> None:
        """Put the functions into the control plane's database and into every arena.

        Raises:
            Unavailable: the server cannot be reached.
        """
        self.needed = not superuser
        async with self._pools.connection() as connection:
            await connection.execute(f"{_LOCK};{_DISPATCH}")
        for arena in arenas:
            await self.open(arena)

    async def open(self, arena: str) -> None:
        """Put the functions into an arena.

        Raises:
            Unavailable: the server cannot be reached.
        """
        async with self._pools.connection(arena) as inside:
            await inside.execute(f"{_LOCK};{_DISPATCH}")

    async def take(self, arena: str, count: int) -> Through:
        """Return what lets a maker with room for ``count`` more roles make them; a superuser makes them itself.

        Raises:
            Unavailable: the server cannot be reached.
        """
        if not self.needed:
            return directly
        async with self._lock:
            name, left = self._left.get(arena, ("", 0))
            if left < count:
                name, left = await self._next(arena, count)
            self._left[arena] = name, left - count
        return lambda statements: f"SELECT vh_makers.{identifier(name)}({literal(statements)});"

    async def forget(self, arena: str) -> None:
        """Drop the makers of an arena that was dropped; one that still administers a role stays.

        Raises:
            Unavailable: the server cannot be reached.
        """
        self._left.pop(arena, None)
        control = identifier(self._pools.role)
        async with self._pools.connection() as connection:
            rows = await connection.fetch(
                "SELECT rolname FROM pg_roles r WHERE starts_with(rolname, $1) AND NOT EXISTS"
                " (SELECT FROM pg_auth_members a WHERE a.member = r.oid AND a.admin_option AND a.roleid <> ALL"
                " (SELECT oid FROM pg_roles WHERE rolname = $2))",
                f"{arena}_m",
                arena,
            )
            for (name,) in rows:
                maker = identifier(name)
                self._complete.discard(name)
                await connection.execute(
                    f"GRANT {maker} TO {control} WITH INHERIT TRUE; DROP OWNED BY {maker}; DROP ROLE {maker}"
                )

    async def _next(self, arena: str, count: int) -> tuple[str, int]:
        async with self._pools.connection() as connection, connection.transaction():
            await connection.execute(_LOCK)
            row = await connection.fetchrow(_LEAST_USED, f"{arena}_m")
            # one of what it administers is the arena's group
            if row is not None and row["made"] - 1 + count <= MOST:
                name, left = row["name"], MOST - (row["made"] - 1)
            else:
                name, left = await self._make(connection, arena), MOST
        if name not in self._complete:
            for database in (None, arena):
                async with self._pools.connection(database) as inside, inside.transaction():
                    await self._complete_in(inside, name)
            self._complete.add(name)
        return name, left

    async def _make(self, connection: Any, arena: str) -> str:
        number: int = await connection.fetchval(
            "SELECT coalesce(max(substr(rolname, length($1) + 1)::int), 0) + 1 FROM pg_roles"
            " WHERE starts_with(rolname, $1)",
            f"{arena}_m",
        )
        name = f"{arena}_m{number}"
        maker = identifier(name)
        await connection.execute(
            f"CREATE ROLE {maker} NOLOGIN CREATEROLE;"
            f"GRANT {identifier(arena)} TO {maker} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;"
            f"GRANT CREATE ON DATABASE {identifier(arena)} TO {maker};"
            f"GRANT {identifier(self._group)} TO {maker} WITH INHERIT TRUE, SET FALSE"
        )
        return name

    async def _complete_in(self, connection: Any, name: str) -> None:
        await connection.execute(_LOCK)
        if await connection.fetchval("SELECT to_regprocedure(format('vh_makers.%I(text)', $1::text)) IS NULL", name):
            await connection.execute(_OWN_FUNCTION.format(maker=identifier(name), control=identifier(self._pools.role)))
