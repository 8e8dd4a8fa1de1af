"""Arena databases: where sandboxes' schemas live, apart from the control plane's own data.

Everything with an arena's name belongs to this cell: ``vh_{cell}_arena_{n}`` is both the database and the group role
through which its sandboxes may connect to it and to nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.sql import identifier
from valhalla.sandbox.slices.postgres.bootstrap import template_name
from valhalla.sandbox.slices.postgres.drop import drop_database
from valhalla.sandbox.slices.postgres.hardening import (
    owner_statements,
    public_schema_statements,
    superuser_script,
)
from valhalla.sandbox.slices.postgres.makers import Makers, group_name
from valhalla.sandbox.slices.postgres.pools import Pools

MINIMUM_VERSION = 160_000


_ROLE_AND_TEMPLATE: Final = (
    "SELECT current_setting('server_version_num')::int AS version, r.rolsuper, r.rolcreaterole, r.rolcreatedb,"
    " r.rolsuper OR coalesce((SELECT has_parameter_privilege(oid, 'temp_file_limit', 'SET') FROM pg_roles"
    "  WHERE rolname = $2), false) AS temp,"
    " coalesce((SELECT datistemplate FROM pg_database WHERE datname = $1), false) AS hardened"
    " FROM pg_roles r WHERE r.rolname = current_user"
)


class Arenas:
    """The arenas of one cell."""

    def __init__(self, pools: Pools, cell: str) -> None:
        self._pools = pools
        self._cell = cell
        self.prefix = f"vh_{cell}_arena_"
        self.can_limit_temp_files = False
        self.makers = Makers(pools, cell)
        self.current = self.name_of(1)

    def name_of(self, number: int) -> str:
        """Return the name of an arena: of its database and of its group role."""
        return f"{self.prefix}{number}"

    def use(self, number: int) -> None:
        """Place new sandboxes in this arena from now on."""
        self.current = self.name_of(number)

    async def list(self) -> list[str]:
        """Return the cell's arena databases."""
        async with self._pools.connection() as connection:
            rows = await connection.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self.prefix)
        return sorted(row[0] for row in rows)

    async def prepare(self) -> list[str]:
        """Make the current arena if it is missing; return what is not enforced.

        Raises:
            Misconfigured: the server is too old, or the control plane's role lacks a right it needs.
            Unavailable: the server cannot be reached.
        """
        async with self._pools.connection() as connection, _one_at_a_time(connection):
            row = await self._look(connection)
            self._check(row)
            await _ignoring_duplicates(connection, f"CREATE ROLE {identifier(group_name(self._cell))} NOLOGIN")
            self.can_limit_temp_files = row["temp"]
            await self._make(connection, self.current, row)
        await self.makers.prepare(await self.list(), superuser=row["rolsuper"])
        return await self._findings(row)

    async def make(self, number: int) -> None:
        """Make an arena, hardened as the template is; one that exists is only closed to the public again.

        Raises:
            Unavailable: the server cannot be reached.
        """
        async with self._pools.connection() as connection, _one_at_a_time(connection):
            await self._make(connection, self.name_of(number), await self._look(connection))
        await self.makers.open(self.name_of(number))

    async def _make(self, connection: Any, name: str, row: asyncpg.Record) -> None:
        await _ignoring_duplicates(connection, f"CREATE ROLE {identifier(name)} NOLOGIN")
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            template = identifier(template_name(self._cell) if row["hardened"] else "template0")
            await _ignoring_duplicates(connection, f"CREATE DATABASE {identifier(name)} TEMPLATE {template}")
        # repeated at every start: a crash between CREATE and REVOKE must not leave an open database
        for statement in owner_statements(name, name):
            await connection.execute(statement)
        async with self._pools.connection(name) as inside:
            for statement in public_schema_statements():
                await inside.execute(statement)
            if row["rolsuper"] and not row["hardened"]:
                await inside.execute(superuser_script(self._pools.role))

    async def drop(self, name: str) -> None:
        """Drop an arena that holds no sandbox any more, with everything that leaked in it.

        Raises:
            Unavailable: the server cannot be reached.
        """
        assert name.startswith(self.prefix)
        assert name != self.current
        await self._pools.forget(name)
        async with self._pools.connection() as connection:
            await drop_database(connection, name)
        await self.makers.forget(name)
        async with self._pools.connection() as connection:
            await connection.execute(f"DROP ROLE IF EXISTS {identifier(name)}")

    async def _look(self, connection: Any) -> asyncpg.Record:
        row = await connection.fetchrow(_ROLE_AND_TEMPLATE, template_name(self._cell), group_name(self._cell))
        assert row is not None
        return row

    def _check(self, row: asyncpg.Record) -> None:
        if row["version"] < MINIMUM_VERSION:
            raise Misconfigured(
                f"PostgreSQL {row['version'] // 10_000} is too old: sandboxes need 16 or newer",
                setting="database_url",
            )
        if not row["rolsuper"] and not (row["rolcreaterole"] and row["rolcreatedb"]):
            raise Misconfigured(
                "the control plane's role needs CREATEROLE and CREATEDB",
                help=f"As a superuser run: ALTER ROLE {identifier(self._pools.role)} CREATEROLE CREATEDB",
                setting="database_url",
            )

    async def _findings(self, row: asyncpg.Record) -> list[str]:
        findings: list[str] = []
        if row["rolsuper"]:
            findings.append(
                "the control plane's Postgres role is a superuser; 'valhalla db bootstrap' makes one that is not"
            )
        async with self._pools.connection(self.current) as inside:
            if await inside.fetchval(
                "SELECT has_table_privilege($1, 'pg_catalog.pg_stat_activity', 'SELECT')", self.current
            ):
                findings.append(
                    "the arena's catalogs are not hardened: sandboxes can see roles, sizes and activity of others;"
                    " run 'valhalla db bootstrap' with a superuser URL"
                )
        async with self._pools.connection() as connection:
            rows = await connection.fetch(
                "SELECT datname FROM pg_database WHERE datallowconn AND datname <> $1"
                " AND has_database_privilege($1, oid, 'CONNECT')",
                self.current,
            )
        if rows:
            names = ", ".join(sorted(row[0] for row in rows))
            findings.append(f"sandboxes can connect to {names}: run REVOKE CONNECT ON DATABASE … FROM PUBLIC there")
        return findings


@asynccontextmanager
async def _one_at_a_time(connection: Any) -> AsyncGenerator[None]:
    """Keep two processes that start at once from altering the same catalog rows."""
    await connection.execute("SELECT pg_advisory_lock(hashtextextended('valhalla.arenas', 0))")
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock(hashtextextended('valhalla.arenas', 0))")


async def _ignoring_duplicates(connection: Any, statement: str) -> None:
    """Run a CREATE that another process may have won."""
    try:
        await connection.execute(statement)
    except (asyncpg.DuplicateObjectError, asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return
