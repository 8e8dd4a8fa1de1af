"""Sandboxes' login roles: how one is made, altered, and rid of its sessions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Unavailable
from valhalla.kit.scram import ITERATIONS
from valhalla.kit.sql import identifier, literal
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres.makers import Through, directly, through
from valhalla.sandbox.slices.postgres.pools import Pools

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]


@dataclass(frozen=True, slots=True)
class PostgresLimits:
    """What one sandbox may use. Only ``connections`` and ``temp_file_limit`` cannot be lifted by the sandbox itself."""

    connections: int = 5
    statement_timeout: timedelta = timedelta(seconds=60)
    idle_in_transaction_timeout: timedelta = timedelta(minutes=5)
    temp_file_limit: str = "1GB"
    scram_iterations: int = ITERATIONS


def role_script(
    role: str, schema: str, *, group: str, secret: str, expires_at: datetime, limits: PostgresLimits, limit_temp: bool
) -> str:
    """Return the statements that make a role; ``secret`` is its verifier, ``group`` marks it as the cell's.

    Whoever runs them must have ``createrole_self_grant`` set to 'set, inherit'.
    """
    name = identifier(role)
    statement = int(limits.statement_timeout.total_seconds() * 1000)
    idle = int(limits.idle_in_transaction_timeout.total_seconds() * 1000)
    temp = f"ALTER ROLE {name} SET temp_file_limit = {literal(limits.temp_file_limit)};" if limit_temp else ""
    return (
        f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        f" CONNECTION LIMIT {limits.connections} PASSWORD {literal(secret)}"
        f" VALID UNTIL {literal(isoformat(expires_at))};"
        # without SET the sandbox cannot hand its tables to the group (PostgreSQL 16)
        f"GRANT {identifier(group)} TO {name} WITH INHERIT TRUE, SET FALSE;"
        f"ALTER ROLE {name} SET search_path = {identifier(schema)};"
        f"ALTER ROLE {name} SET statement_timeout = {statement};"
        f"ALTER ROLE {name} SET idle_in_transaction_session_timeout = {idle};"
        f"{temp}"
    )


def schema_script(names: Names) -> str:
    """Return the statement that makes a sandbox's schema."""
    return f"CREATE SCHEMA {identifier(names.schema)} AUTHORIZATION {identifier(names.role)};"


def as_sandbox(names: Names, sql: str, by: Through) -> str:
    """Return trusted SQL as the sandbox's role runs it; the control plane may be that role for this transaction alone.

    ``by`` is how the role's maker is reached, if it has one.
    """
    role, schema = identifier(names.role), identifier(names.schema)
    run = f"SET LOCAL ROLE {role}; SET LOCAL search_path = {schema}; {sql}; RESET ROLE;"
    if by is directly:
        return run
    lend = f"SELECT vh_makers.lend({literal(names.role)}, "
    return f"{lend}true); {run} {lend}false);"


async def alter(connection: Connection, role: str, change: str) -> None:
    """Alter a role; the server refuses one of two who do so at once instead of letting it wait.

    Raises:
        Unavailable: others keep altering it.
        asyncpg.UndefinedObjectError: there is no such role.
    """
    for _ in range(50):
        try:
            await connection.execute(through(role)(f"ALTER ROLE {identifier(role)} {change}"))
        except asyncpg.InternalServerError as error:
            if "concurrently" not in str(error):
                raise
            await asyncio.sleep(0.005)
        else:
            return
    raise Unavailable("postgres", "another session keeps altering the same role")


async def terminate(connection: Connection, role: str) -> int:
    """End every session of a role; return how many there were."""
    return await connection.fetchval("SELECT vh_makers.silence($1)", role)


async def await_silence(pools: Pools, role: str) -> None:
    """Wait for a role's sessions to end: one may have been authenticating while access was cut.

    Raises:
        Unavailable: they do not end within five seconds, or the server is away.
    """
    deadline = time.monotonic() + 5
    async with pools.connection() as connection:
        while await terminate(connection, role):
            if time.monotonic() > deadline:
                raise Unavailable("postgres", f"sessions of {role} do not end")
            await asyncio.sleep(0.02)
