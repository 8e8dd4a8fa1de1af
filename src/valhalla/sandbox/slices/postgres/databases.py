"""Sandboxes' own databases: ``vh_{cell}_sbx_{id}``, cloned from a hardened template and dropped whole.

The name holds the cell's mark and the sandbox's id, and the database belongs to the control plane's role: what lacks
one of the three is not ours and is never touched.
"""

from __future__ import annotations

import contextlib
import re

import asyncpg

from valhalla.kit.faults import crashpoint
from valhalla.kit.sql import identifier
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres.bootstrap import own_template_name
from valhalla.sandbox.slices.postgres.drop import drop_database
from valhalla.sandbox.slices.postgres.hardening import own_script
from valhalla.sandbox.slices.postgres.pools import Pools

_LOOK = (
    "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS made,"
    " EXISTS (SELECT FROM pg_database WHERE datistemplate AND datname = $2) AS hardened,"
    " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS rolsuper"
)
_OPEN = (
    "sandboxes with a database of their own can see roles, databases and activity of others there;"
    " run 'valhalla db bootstrap' with a superuser URL"
)
_OURS = "SELECT datname FROM pg_database WHERE datdba = to_regrole(quote_ident(current_user)) AND "


class OwnDatabases:
    """The own databases of one cell."""

    def __init__(self, pools: Pools, cell: str) -> None:
        self._pools = pools
        self._template = own_template_name(cell)
        self._prefix = f"vh_{cell}_sbx_"
        self._name = re.compile(re.escape(self._prefix) + "([a-z0-9]{16})")
        # has CONNECT to nothing: it marks the roles as this cell's
        self.group = f"vh_{cell}_own"

    def name_of(self, sandbox_id: str) -> str:
        """Return the name of a sandbox's own database."""
        return f"{self._prefix}{sandbox_id}"

    async def prepare(self) -> list[str]:
        """Make the group role if it is missing; return what is not enforced.

        Raises:
            Unavailable: the server cannot be reached.
        """
        async with self._pools.connection() as connection:
            with contextlib.suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                await connection.execute(f"CREATE ROLE {identifier(self.group)} NOLOGIN")
            row = await connection.fetchrow(_LOOK, "", self._template)
        assert row is not None
        if row["hardened"] or row["rolsuper"]:
            return []
        return [_OPEN]

    async def make(self, names: Names) -> None:
        """Make the database, closed to everybody but the sandbox; one that exists is only closed again.

        Raises:
            Unavailable: the server cannot be reached.
        """
        name = identifier(names.database)
        async with self._pools.connection() as connection:
            row = await connection.fetchrow(_LOOK, names.database, self._template)
            assert row is not None
            template = identifier(self._template if row["hardened"] else "template0")
            if not row["made"]:
                # nobody may connect before PUBLIC has lost the right: a session that is in stays in
                await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} ALLOW_CONNECTIONS false")
            crashpoint("create.database")
            await connection.execute(
                f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;"
                f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {identifier(names.role)};"
                f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"
            )
        async with self._pools.single(names.database) as inside:
            await inside.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            if row["rolsuper"] and not row["hardened"]:
                await inside.execute(own_script(self._pools.role))

    async def drop(self, database: str) -> None:
        """Drop a database of ours with everything in it, also one whose making or dropping was interrupted.

        Raises:
            Unavailable: the server is away, or somebody connects again and again; to be resumed.
        """
        async with self._pools.connection() as connection:
            if not await connection.fetchval(f"SELECT EXISTS ({_OURS} datname = $1)", database):
                return
            await drop_database(connection, database)

    async def list(self) -> list[tuple[str, str]]:
        """Return (name, sandbox id) of every own database of this cell."""
        async with self._pools.connection() as connection:
            rows = await connection.fetch(f"{_OURS} starts_with(datname, $1)", self._prefix)
        matches = (self._name.fullmatch(row[0]) for row in rows)
        return [(match[0], match[1]) for match in matches if match]
