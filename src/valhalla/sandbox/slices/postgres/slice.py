"""The Postgres slice's verbs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import asyncpg

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.kit.sql import literal
from valhalla.sandbox.contracts import TableStats
from valhalla.sandbox.slices.contracts import Found, Names, Probe
from valhalla.sandbox.slices.postgres import sweep
from valhalla.sandbox.slices.postgres.arenas import Arenas
from valhalla.sandbox.slices.postgres.databases import OwnDatabases
from valhalla.sandbox.slices.postgres.drop import drop_both, drop_role, drop_schema
from valhalla.sandbox.slices.postgres.looking import count_rows, plain, write_and_read
from valhalla.sandbox.slices.postgres.makers import Through, directly, through
from valhalla.sandbox.slices.postgres.making import Provisioner, inside
from valhalla.sandbox.slices.postgres.pools import Pools
from valhalla.sandbox.slices.postgres.roles import (
    PostgresLimits,
    alter,
    as_sandbox,
    await_silence,
    schema_script,
    terminate,
)


class PostgresSlice:
    """A schema per sandbox, owned by its own login role; in an arena, or in a database of its own."""

    name = "postgres"

    def __init__(
        self,
        control_url: str,
        cell: CellKey,
        *,
        limits: PostgresLimits | None = None,
        public_host: str | None = None,
    ) -> None:
        self._pools = self.pools = Pools(control_url)
        self._cell = cell
        self._host = public_host or self._pools.host
        self._arenas = Arenas(self._pools, cell.cell)
        self.databases = OwnDatabases(self._pools, cell.cell)
        self._provisioner = Provisioner(self._pools, self._arenas, self.databases, limits or PostgresLimits())

    @property
    def arenas(self) -> Arenas:
        """The databases that hold the sandboxes' schemas."""
        return self._arenas

    async def provision(self, names: Names, *, expires_at: datetime, seed: str | None = None) -> None:
        """Make role and schema and run ``seed`` as the role; see ``Provisioner``."""
        await self._provisioner.provision(names, self.password(names), expires_at=expires_at, seed=seed)

    async def provision_many(self, many: Sequence[Names], *, expires_at: datetime, seed: str) -> None:
        """Make roles and schemas of one arena in one transaction, each seeded with trusted SQL; none may exist yet.

        Raises:
            Unavailable: the server cannot be reached.
        """
        await self._provisioner.provision_many(many, list(map(self.password, many)), expires_at=expires_at, seed=seed)

    async def extend(self, names: Names, *, expires_at: datetime) -> None:
        """Move the role's ``VALID UNTIL``; a role that is gone is left to the registry to decide about."""
        async with self._pools.connection() as connection:
            try:
                await alter(connection, names.role, f"VALID UNTIL {literal(isoformat(expires_at))}")
            except asyncpg.UndefinedObjectError:
                return

    async def cut(self, names: Names) -> None:
        """Refuse new logins and end every live session of the role."""
        async with self._pools.connection() as connection:
            try:
                await alter(connection, names.role, "NOLOGIN")
            except asyncpg.UndefinedObjectError:
                return
            await terminate(connection, names.role)

    async def admit(self, names: Names, *, expires_at: datetime) -> None:
        """Let the role log in again."""
        async with self._pools.connection() as connection:
            await alter(connection, names.role, f"LOGIN VALID UNTIL {literal(isoformat(expires_at))}")

    async def drop(self, names: Names) -> None:
        """Drop the database, or the schema in pieces, then the role.

        Raises:
            Unavailable: the server is away, or a session or lock of the sandbox did not go in time; resumed later.
        """
        await await_silence(self._pools, names.role)
        if names.isolation == "database":
            await self.databases.drop(names.database)
            async with self._pools.connection() as connection:
                await drop_role(connection, names.role)
            return
        try:
            async with self._pools.connection(names.database) as connection:
                await drop_both(connection, names.schema, names.role, through(names.role))
        except asyncpg.InvalidCatalogNameError:
            return
        except asyncpg.LockNotAvailableError as error:
            raise Unavailable("postgres", f"a lock on schema {names.schema} is still held") from error

    async def empty(self, names: Names) -> None:
        """End the live sessions and make the schema, or the database, anew; the role stays.

        Raises:
            Unavailable: the server is away, or a lock of a session that reconnected is in the way; try again.
        """
        async with self._pools.connection() as connection:
            await terminate(connection, names.role)
        try:
            if names.isolation == "database":
                await self.databases.drop(names.database)
                await self.databases.make(names)
            async with inside(self._pools, names) as connection:
                by = _by(names)
                await drop_schema(connection, names.schema, by)
                await connection.execute(by(schema_script(names)))
        except asyncpg.LockNotAvailableError as error:
            raise Unavailable("postgres", f"a lock on schema {names.schema} is held") from error
        except (asyncpg.DuplicateSchemaError, asyncpg.DuplicateDatabaseError) as error:
            raise Unavailable("postgres", "another reset of the sandbox is under way") from error

    async def seed(self, names: Names, sql: str) -> None:
        """Run trusted SQL (a built-in template's) as the sandbox's role, in one transaction.

        Raises:
            Unavailable: the server cannot be reached.
        """
        async with inside(self._pools, names) as connection:
            await connection.execute(as_sandbox(names, sql or "SELECT 1", _by(names)))

    async def probe(self, names: Names) -> Probe:
        """Log in as the sandbox and look for its schema."""
        started = time.monotonic()
        try:
            connection = await self.login(names)
            try:
                ok = await connection.fetchval("SELECT current_schema() = $1", names.schema, timeout=3)
            finally:
                await connection.close(timeout=1)
        except asyncpg.TooManyConnectionsError:
            return Probe(True, _since(started), "all of the sandbox's connections are in use")
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            TimeoutError,
        ) as error:
            return Probe(False, _since(started), f"cannot log in as the sandbox: {plain(error)}")
        return Probe(bool(ok), _since(started), None if ok else f"schema {names.schema} is missing")

    async def login(self, names: Names) -> asyncpg.Connection[asyncpg.Record]:
        """Open a connection with the sandbox's own credentials; what runs there has only the sandbox's rights."""
        return await asyncpg.connect(
            host=self._pools.host,
            port=self._pools.port,
            user=names.role,
            password=self.password(names),
            database=names.database,
            timeout=5,
            server_settings={"application_name": "valhalla"},
        )

    async def ping(self) -> Probe:
        """Write a row to the disk, read it back and remove it."""
        started = time.monotonic()
        try:
            async with self._pools.connection() as connection:
                reason = await write_and_read(connection)
        except (Unavailable, asyncpg.PostgresError, TimeoutError) as error:
            return Probe(False, _since(started), plain(error))
        return Probe(reason is None, _since(started), reason)

    async def stats(self, names: Names) -> list[TableStats]:
        """Count the rows of each base table as the sandbox itself: a policy it wrote runs with its rights only."""
        connection = await self.login(names)
        try:
            return await count_rows(connection, names.schema)
        finally:
            await connection.close(timeout=1)

    async def exists(self, names: Names) -> bool:
        """Say whether the schema exists."""
        async with inside(self._pools, names) as connection:
            return await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", names.schema)

    async def activity(self) -> dict[str, datetime]:
        """Return when each sandbox with a live session last did something, by sandbox id."""
        return await sweep.activity(self._pools)

    async def found(self) -> Sequence[Found]:
        """List the cell's roles, own databases and schemas."""
        return await sweep.everything(self._pools, self._arenas, self.databases)

    async def remove(self, orphan: Found) -> None:
        """Drop one database, one schema or one role of this cell."""
        await sweep.remove(orphan, self._pools, self._arenas, self.databases)

    def password(self, names: Names) -> str:
        """Return the role's password; it is derived, not stored."""
        return self._cell.password("sandbox.postgres", names.id)

    def connection(self, names: Names, *, expires_at: datetime) -> dict[str, Any]:
        """Return address and credentials for the sandbox's user."""
        password = self.password(names)
        host = f"[{self._host}]" if ":" in self._host else self._host
        return {
            "url": f"postgresql://{names.role}:{quote(password)}@{host}:{self._pools.port}/{names.database}",
            "host": self._host,
            "port": self._pools.port,
            "database": names.database,
            "user": names.role,
            "password": password,
            "schema": names.schema,
            "valid_until": isoformat(expires_at),
        }

    @property
    def address(self) -> str:
        """Host and port of the server."""
        return f"{self._pools.host}:{self._pools.port}"

    async def prepare(self) -> list[str]:
        """Make the arena and the group of own databases; return what is not enforced, in the operator's words.

        Raises:
            Misconfigured: the server is older than PostgreSQL 16 or the role lacks CREATEROLE or CREATEDB.
        """
        return [*await self._arenas.prepare(), *await self.databases.prepare()]

    async def close(self) -> None:
        """Close every connection."""
        await self._pools.close()


def _by(names: Names) -> Through:
    return directly if names.isolation == "database" else through(names.role)


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
