"""Making a sandbox's login role and schema: in an arena, many in one transaction, or in a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from valhalla.kit.scram import verifier
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres.arenas import Arenas
from valhalla.sandbox.slices.postgres.databases import OwnDatabases
from valhalla.sandbox.slices.postgres.makers import Through, directly
from valhalla.sandbox.slices.postgres.pools import Pools
from valhalla.sandbox.slices.postgres.roles import PostgresLimits, as_sandbox, role_script, schema_script

_EXISTS: Final = "SELECT to_regrole($1) IS NOT NULL"


class Provisioner:
    """Makes roles and schemas; the passwords are its caller's."""

    def __init__(self, pools: Pools, arenas: Arenas, databases: OwnDatabases, limits: PostgresLimits) -> None:
        self._pools = pools
        self._arenas = arenas
        self._databases = databases
        self._limits = limits

    async def provision(self, names: Names, password: str, *, expires_at: datetime, seed: str | None = None) -> None:
        """Make role and schema and run ``seed`` as the role (a built-in template's SQL).

        In an arena all of it is one transaction; a database of its own takes steps, each of which may be repeated.

        Raises:
            Unavailable: the server cannot be reached.
        """
        secret = await self._verifier(password)
        if names.isolation == "database":
            await self._provision_database(names, secret, expires_at, seed)
            return
        # before a connection is taken: finding the next maker needs one too
        by = await self._arenas.makers.take(names.database, 1)
        async with self._pools.connection(names.database) as connection:
            if not await connection.fetchval(_EXISTS, names.role):
                # one simple-protocol string is one transaction: role, schema and contents commit together or not at all
                await connection.execute(self._script(names, secret, expires_at, seed, by))

    async def _provision_database(self, names: Names, secret: str, expires_at: datetime, seed: str | None) -> None:
        async with self._pools.connection() as connection:
            if not await connection.fetchval(_EXISTS, names.role):
                # few have a database of their own: the control plane makes their roles itself
                role = self._role(names, self._databases.group, secret, expires_at)
                await connection.execute(f"SET LOCAL createrole_self_grant = 'set, inherit'; {role}")
        await self._databases.make(names)
        async with inside(self._pools, names) as connection:
            if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", names.schema):
                await connection.execute(schema_script(names) + _seeded(names, seed, directly))

    async def provision_many(
        self, many: Sequence[Names], passwords: Sequence[str], *, expires_at: datetime, seed: str
    ) -> None:
        """Make roles and schemas of one arena in one transaction, each seeded with trusted SQL; none may exist yet.

        Raises:
            Unavailable: the server cannot be reached.
        """
        secrets = await asyncio.gather(*map(self._verifier, passwords))
        by = await self._arenas.makers.take(many[0].database, len(many))
        scripts = (
            self._script(names, secret, expires_at, seed, by) for names, secret in zip(many, secrets, strict=True)
        )
        async with self._pools.connection(many[0].database) as connection:
            await connection.execute("".join(scripts))

    async def _verifier(self, password: str) -> str:
        # thousands of rounds of SHA-256; the server repeats them to see that the password is not empty
        return await asyncio.to_thread(verifier, password, iterations=self._limits.scram_iterations)

    def _script(self, names: Names, secret: str, expires_at: datetime, seed: str | None, by: Through) -> str:
        made = by(self._role(names, names.database, secret, expires_at) + schema_script(names))
        return made + _seeded(names, seed, by)

    def _role(self, names: Names, group: str, secret: str, expires_at: datetime) -> str:
        return role_script(
            names.role,
            names.schema,
            group=group,
            secret=secret,
            expires_at=expires_at,
            limits=self._limits,
            limit_temp=self._arenas.can_limit_temp_files,
        )


def _seeded(names: Names, seed: str | None, by: Through) -> str:
    return as_sandbox(names, seed, by) if seed else ""


@asynccontextmanager
async def inside(pools: Pools, names: Names) -> AsyncGenerator[Any]:
    """Lend a connection of the control plane to the sandbox's database; none is kept open to an own one."""
    own = names.isolation == "database"
    async with pools.single(names.database) if own else pools.connection(names.database) as connection:
        yield connection
