"""The Postgres slice's verbs."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import asyncpg

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import is_away
from valhalla.kit.scram import verifier
from valhalla.kit.sql import identifier, literal
from valhalla.sandbox.contracts import TableStats
from valhalla.sandbox.slices.contracts import Found, Names, Probe
from valhalla.sandbox.slices.postgres.arenas import Arenas
from valhalla.sandbox.slices.postgres.drop import drop_role, drop_schema
from valhalla.sandbox.slices.postgres.pools import Pools

_MARK = re.compile(r"sbx_([a-z0-9]{16})")
_MAX_TABLES = 500


@dataclass(frozen=True, slots=True)
class PostgresLimits:
    """What one sandbox may use. Only ``connections`` and ``temp_file_limit`` cannot be lifted by the sandbox itself."""

    connections: int = 5
    statement_timeout: timedelta = timedelta(seconds=60)
    idle_in_transaction_timeout: timedelta = timedelta(minutes=5)
    temp_file_limit: str = "1GB"


class PostgresSlice:
    """A schema per sandbox, owned by the sandbox's own login role."""

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
        self._limits = limits or PostgresLimits()
        self._host = public_host or self._pools.host
        self._arenas = Arenas(self._pools, cell.cell)

    @property
    def arenas(self) -> Arenas:
        """The databases that hold the sandboxes' schemas."""
        return self._arenas

    async def provision(self, names: Names, *, expires_at: datetime, seed: str | None = None) -> None:
        """Make role and schema and run ``seed`` as the role (a built-in template's SQL), all in one transaction.

        Raises:
            Unavailable: the server cannot be reached.
        """
        secret = await asyncio.to_thread(verifier, self.password(names))
        async with self._pools.connection(names.database) as connection:
            exists = await connection.fetchval("SELECT to_regrole($1) IS NOT NULL", names.role)
            if not exists:
                await connection.execute(self._script(names, secret, expires_at, seed))

    async def provision_many(self, many: Sequence[Names], *, expires_at: datetime, seed: str) -> None:
        """Make roles and schemas of one arena in one transaction, each seeded with trusted SQL; none may exist yet.

        Raises:
            Unavailable: the server cannot be reached.
        """
        secrets = await asyncio.gather(*(asyncio.to_thread(verifier, self.password(names)) for names in many))
        scripts = (self._script(names, secret, expires_at, seed) for names, secret in zip(many, secrets, strict=True))
        async with self._pools.connection(many[0].database) as connection:
            await connection.execute("".join(scripts))

    def _script(self, names: Names, secret: str, expires_at: datetime, seed: str | None) -> str:
        role, schema = identifier(names.role), identifier(names.schema)
        limits = self._limits
        statement = int(limits.statement_timeout.total_seconds() * 1000)
        idle = int(limits.idle_in_transaction_timeout.total_seconds() * 1000)
        temp = (
            f"ALTER ROLE {role} SET temp_file_limit = {literal(limits.temp_file_limit)};"
            if self._arenas.can_limit_temp_files
            else ""
        )
        # One simple-protocol string is one transaction: role, schema and contents commit together or not at all.
        script = (
            "SET LOCAL createrole_self_grant = 'set, inherit';"
            f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            f" CONNECTION LIMIT {limits.connections} PASSWORD {literal(secret)}"
            f" VALID UNTIL {literal(isoformat(expires_at))};"
            # without SET the sandbox cannot hand its tables to the group (PostgreSQL 16)
            f"GRANT {identifier(names.database)} TO {role} WITH INHERIT TRUE, SET FALSE;"
            f"CREATE SCHEMA {schema} AUTHORIZATION {role};"
            f"ALTER ROLE {role} SET search_path = {schema};"
            f"ALTER ROLE {role} SET statement_timeout = {statement};"
            f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = {idle};"
            f"{temp}"
        )
        if seed:
            script += f"SET LOCAL ROLE {role}; SET LOCAL search_path = {schema}; {seed}; RESET ROLE;"
        return script

    async def extend(self, names: Names, *, expires_at: datetime) -> None:
        """Move the role's ``VALID UNTIL``; a role that is gone is left to the registry to decide about."""
        async with self._pools.connection() as connection:
            try:
                await _alter(
                    connection, f"ALTER ROLE {identifier(names.role)} VALID UNTIL {literal(isoformat(expires_at))}"
                )
            except asyncpg.UndefinedObjectError:
                return

    async def cut(self, names: Names) -> None:
        """Refuse new logins and end every live session of the role."""
        async with self._pools.connection() as connection:
            try:
                await _alter(connection, f"ALTER ROLE {identifier(names.role)} NOLOGIN")
            except asyncpg.UndefinedObjectError:
                return
            await self._terminate(connection, names.role)

    async def _terminate(self, connection: Any, role: str) -> int:
        return await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1", role
        )

    async def drop(self, names: Names) -> None:
        """Drop the schema in pieces, then the role.

        Raises:
            Unavailable: the server is away, or a session or lock of the sandbox did not go in time; resumed later.
        """
        await self._await_silence(names.role)
        try:
            async with self._pools.connection(names.database) as connection:
                await drop_schema(connection, names.schema)
                await drop_role(connection, names.role)
        except asyncpg.InvalidCatalogNameError:
            return
        except asyncpg.LockNotAvailableError as error:
            raise Unavailable("postgres", f"a lock on schema {names.schema} is still held") from error

    async def empty(self, names: Names) -> None:
        """End the live sessions, drop the schema in pieces and make it anew; the role stays.

        Raises:
            Unavailable: the server is away, or a lock of a session that reconnected is in the way; try again.
        """
        async with self._pools.connection() as connection:
            await self._terminate(connection, names.role)
        role, schema = identifier(names.role), identifier(names.schema)
        try:
            async with self._pools.connection(names.database) as connection:
                await drop_schema(connection, names.schema)
                await connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}")
        except asyncpg.LockNotAvailableError as error:
            raise Unavailable("postgres", f"a lock on schema {names.schema} is held") from error
        except asyncpg.DuplicateSchemaError as error:
            raise Unavailable("postgres", "another reset of the sandbox is under way") from error

    async def seed(self, names: Names, sql: str) -> None:
        """Run trusted SQL (a built-in template's) as the sandbox's role, in one transaction.

        Raises:
            Unavailable: the server cannot be reached.
        """
        role, schema = identifier(names.role), identifier(names.schema)
        async with self._pools.connection(names.database) as connection:
            await connection.execute(
                f"SET LOCAL ROLE {role}; SET LOCAL search_path = {schema}; {sql or 'SELECT 1'}; RESET ROLE"
            )

    async def _await_silence(self, role: str) -> None:
        """Wait for the sessions to end: one may have been authenticating while access was cut."""
        deadline = time.monotonic() + 5
        async with self._pools.connection() as connection:
            while await self._terminate(connection, role):
                if time.monotonic() > deadline:
                    raise Unavailable("postgres", f"sessions of {role} do not end")
                await asyncio.sleep(0.02)

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
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            return Probe(False, _since(started), f"cannot log in as the sandbox: {_plain(error)}")
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
        """Ask the server for a constant."""
        started = time.monotonic()
        try:
            async with self._pools.connection() as connection:
                await connection.fetchval("SELECT 1", timeout=3)
        except (Unavailable, asyncpg.PostgresError, TimeoutError) as error:
            return Probe(False, _since(started), _plain(error))
        return Probe(True, _since(started))

    async def stats(self, names: Names) -> list[TableStats]:
        """Count the rows of each base table as the sandbox itself: a policy it wrote runs with its rights only."""
        connection = await self.login(names)
        try:
            tables = await connection.fetch(
                "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.to_regnamespace($1)"
                " AND relkind IN ('r', 'p') ORDER BY relname LIMIT $2",
                names.schema,
                _MAX_TABLES,
            )
            found: list[TableStats] = []
            for (table,) in tables:
                count = await connection.fetchval(
                    f"SELECT pg_catalog.count(*) FROM {identifier(names.schema)}.{identifier(table)}",
                    timeout=10,
                )
                found.append(TableStats(table, count))
            return found
        finally:
            await connection.close(timeout=1)

    async def exists(self, names: Names) -> bool:
        """Say whether the schema exists."""
        async with self._pools.connection(names.database) as connection:
            return await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", names.schema)

    async def activity(self) -> dict[str, datetime]:
        """Return when each sandbox with a live session last did something, by sandbox id."""
        async with self._pools.connection() as connection:
            rows = await connection.fetch(
                "SELECT usename, max(coalesce(state_change, backend_start)) FROM pg_stat_activity"
                " WHERE usename LIKE 'sbx\\_%' AND application_name <> 'valhalla' GROUP BY usename"
            )
        return {match[1]: at for role, at in rows if (match := _MARK.fullmatch(role))}

    async def found(self) -> Sequence[Found]:
        """List the cell's schemas and roles."""
        found: list[Found] = []
        async with self._pools.connection() as connection:
            roles = await connection.fetch(
                "SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid"
                " JOIN pg_roles g ON g.oid = m.roleid WHERE starts_with(g.rolname, $1)",
                self._arenas.prefix,
            )
        for (role,) in roles:
            if match := _MARK.fullmatch(role):
                found.append(Found(self.name, "role", role, match[1]))
        for arena in await self._arenas.list():
            async with self._pools.connection(arena) as connection:
                schemas = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sbx\\_%'")
            for (schema,) in schemas:
                if match := _MARK.fullmatch(schema):
                    found.append(Found(self.name, "schema", f"{arena}.{schema}", match[1]))
        return found

    async def remove(self, orphan: Found) -> None:
        """Drop one schema or one role of this cell."""
        if orphan.kind == "schema":
            arena, _, schema = orphan.name.partition(".")
            async with self._pools.connection(arena) as connection:
                await drop_schema(connection, schema)
            return
        async with self._pools.connection() as connection:
            await connection.execute(f"ALTER ROLE {identifier(orphan.name)} NOLOGIN")
        await self._await_silence(orphan.name)
        arenas = await self._arenas.list()
        for arena in arenas:
            async with self._pools.connection(arena) as connection:
                await drop_role(connection, orphan.name)

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
        """Make the arena ready and return what the server does not enforce, in the operator's words.

        Raises:
            Misconfigured: the server is older than PostgreSQL 16 or the role lacks CREATEROLE or CREATEDB.
        """
        return await self._arenas.prepare()

    async def close(self) -> None:
        """Close every connection."""
        await self._pools.close()


async def _alter(connection: Any, statement: str) -> None:
    """Alter a role; the server refuses one of two who do so at once instead of letting it wait."""
    for _ in range(50):
        try:
            await connection.execute(statement)
        except asyncpg.InternalServerError as error:
            if "concurrently" not in str(error):
                raise
            await asyncio.sleep(0.005)
        else:
            return
    raise Unavailable("postgres", "another session keeps altering the same role")


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def _plain(error: BaseException) -> str:
    if isinstance(error, Unavailable):
        return error.detail
    if isinstance(error, Misconfigured) or not is_away(error):
        return str(error) or type(error).__name__
    return "postgres cannot be reached"
