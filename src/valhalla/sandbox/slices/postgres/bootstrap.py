"""The one thing that needs a superuser: the control plane's role, its database, and the hardened template."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from valhalla.kit.scram import verifier
from valhalla.kit.sql import identifier, literal
from valhalla.sandbox.slices.postgres.catalogs import SHARED
from valhalla.sandbox.slices.postgres.hardening import VERSION, own_script, superuser_script
from valhalla.sandbox.slices.postgres.makers import group_name


def template_name(cell: str) -> str:
    """Return the name of the hardened database that this cell's arenas are cloned from."""
    return f"vh_{cell}_template_v{VERSION}"


def own_template_name(cell: str) -> str:
    """Return the name of the hardened database that a sandbox's own database is cloned from."""
    return f"vh_{cell}_own_template_v{VERSION}"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What the control plane will be: its role with password, its database, and its cell's mark."""

    role: str
    password: str
    database: str
    cell: str

    def __repr__(self) -> str:
        return f"Bootstrap(role={self.role!r}, database={self.database!r}, cell={self.cell!r})"


async def is_bootstrapped(connection: asyncpg.Connection[asyncpg.Record], cell: str) -> bool:
    """Say whether a cluster has the cell's hardened templates and what its makers need, complete."""
    names = [template_name(cell), own_template_name(cell)]
    statement = (
        "SELECT (SELECT count(*) FROM pg_database WHERE datistemplate AND datname = ANY ($1)) = cardinality($1)"
        " AND coalesce((SELECT has_parameter_privilege(oid, 'temp_file_limit', 'SET') FROM pg_roles"
        " WHERE rolname = $2), false)"
    )
    return await connection.fetchval(statement, names, group_name(cell))


async def bootstrap(superuser_url: str, plan: Bootstrap, *, exclusive: bool) -> None:
    """Make what is missing; safe to repeat after a crash at any point.

    ``exclusive`` says that the whole cluster is ours (embedded), so that PUBLIC loses CONNECT on every database.

    Raises:
        asyncpg.PostgresError: the role behind ``superuser_url`` is no superuser.
        OSError: the server cannot be reached.
    """
    connection = await asyncpg.connect(superuser_url, timeout=5)
    try:
        await _make_role(connection, plan)
        await _make_database(connection, plan.database, plan.role)
        await _let_maintain(superuser_url, plan)
        if exclusive:
            for name in (plan.database, "postgres", "template1"):
                await connection.execute(f"REVOKE ALL ON DATABASE {identifier(name)} FROM PUBLIC")
        await _make_template(connection, superuser_url, plan, template_name(plan.cell), superuser_script(plan.role))
        await _make_template(connection, superuser_url, plan, own_template_name(plan.cell), own_script(plan.role))
    finally:
        await connection.close()


async def _make_role(connection: asyncpg.Connection[asyncpg.Record], plan: Bootstrap) -> None:
    role = identifier(plan.role)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", plan.role):
        await connection.execute(f"CREATE ROLE {role} LOGIN CREATEROLE CREATEDB NOSUPERUSER")
    await connection.execute(
        f"ALTER ROLE {role} PASSWORD {literal(verifier(plan.password))};"
        # the control plane must get in when sandboxes have taken every ordinary connection
        f"GRANT pg_use_reserved_connections TO {role};"
        # the only limit on a sandbox's role that the role itself cannot lift
        f"GRANT SET ON PARAMETER temp_file_limit TO {role}"
    )
    makers = group_name(plan.cell)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", makers):
        await connection.execute(f"CREATE ROLE {identifier(makers)} NOLOGIN")
    await connection.execute(
        f"GRANT {identifier(makers)} TO {role} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;"
        f"GRANT SET ON PARAMETER temp_file_limit TO {identifier(makers)}"
    )


async def _make_database(connection: asyncpg.Connection[asyncpg.Record], name: str, owner: str) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
        await connection.execute(f"CREATE DATABASE {identifier(name)} OWNER {identifier(owner)} TEMPLATE template0")


async def _let_maintain(url: str, plan: Bootstrap) -> None:
    """Let the control plane vacuum the catalogs that all databases share, and only those that its work fills."""
    inside = await asyncpg.connect(url, database=plan.database, timeout=5)
    try:
        if await inside.fetchval("SELECT current_setting('server_version_num')::int >= 170000"):
            tables = ", ".join(f"pg_catalog.{name}" for name in SHARED)
            await inside.execute(f"GRANT MAINTAIN ON {tables} TO {identifier(plan.role)}")
    finally:
        await inside.close()


async def _make_template(
    connection: asyncpg.Connection[asyncpg.Record], url: str, plan: Bootstrap, name: str, script: str
) -> None:
    if await connection.fetchval("SELECT datistemplate FROM pg_database WHERE datname = $1", name):
        return
    # without the mark it is a half-made one of an interrupted start
    await connection.execute(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {identifier(name)} OWNER {identifier(plan.role)} TEMPLATE template0")
    inside = await asyncpg.connect(url, database=name, timeout=5)
    try:
        await inside.execute(script)
    finally:
        await inside.close()
    await connection.execute(f"ALTER DATABASE {identifier(name)} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
