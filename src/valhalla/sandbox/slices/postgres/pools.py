"""Connections of the control plane to the cluster: one pool on its own database, one per arena."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy.engine import make_url

from valhalla.kernel.problems import Unavailable
from valhalla.kit.sqlstates import explain, is_away

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy


class Pools:
    """Pools by database name, opened on first use."""

    def __init__(self, control_url: str, *, size: int = 6) -> None:
        self._url = make_url(control_url).set(drivername="postgresql")
        self._size = size
        self._pools: dict[str, asyncpg.Pool[asyncpg.Record]] = {}
        self._opening = asyncio.Lock()

    @property
    def control_database(self) -> str:
        """The database of the control plane itself."""
        return self._url.database or "postgres"

    @property
    def host(self) -> str:
        """The server's host."""
        return self._url.host or "127.0.0.1"

    @property
    def port(self) -> int:
        """The server's port."""
        return self._url.port or 5432

    @property
    def role(self) -> str:
        """The control plane's role."""
        return self._url.username or "postgres"

    @asynccontextmanager
    async def connection(self, database: str | None = None) -> AsyncGenerator[PoolConnectionProxy[asyncpg.Record]]:
        """Lend a connection to ``database`` (default: the control plane's).

        Raises:
            Unavailable: the server cannot be reached, or went away in the middle.
        """
        try:
            pool = await self._pool(database or self.control_database)
            async with pool.acquire(timeout=10) as connection:
                yield connection
        except Exception as error:
            if is_away(error):
                raise Unavailable("postgres", explain(error, "the sandboxes' Postgres")) from error
            raise

    @asynccontextmanager
    async def single(self, database: str) -> AsyncGenerator[asyncpg.Connection[asyncpg.Record]]:
        """Lend a connection that is closed afterwards, for work that leaves much in a session's memory.

        Raises:
            Unavailable: the server cannot be reached, or went away in the middle.
        """
        try:
            connection = await asyncpg.connect(
                self._url.set(database=database).render_as_string(hide_password=False),
                timeout=5,
                command_timeout=600,
                server_settings={"application_name": "valhalla", "search_path": "pg_catalog"},
            )
            try:
                yield connection
            finally:
                await connection.close(timeout=2)
        except Exception as error:
            if is_away(error):
                raise Unavailable("postgres", explain(error, "the sandboxes' Postgres")) from error
            raise

    async def _pool(self, database: str) -> asyncpg.Pool[asyncpg.Record]:
        pool = self._pools.get(database)
        if pool is None:
            async with self._opening:
                pool = self._pools.get(database)
                if pool is None:
                    pool = await asyncpg.create_pool(
                        self._url.set(database=database).render_as_string(hide_password=False),
                        min_size=1,
                        max_size=self._size,
                        timeout=5,
                        command_timeout=60,
                        # every script here leaves its session as it found it, so RESET would be a wasted round trip
                        reset=_nothing,
                        server_settings={"application_name": "valhalla", "search_path": "pg_catalog"},
                    )
                    self._pools[database] = pool
        return pool

    async def forget(self, database: str) -> None:
        """Close the pool of a database that is going to be dropped."""
        pool = self._pools.pop(database, None)
        if pool is not None:
            await pool.close()

    async def close(self) -> None:
        """Close every pool; connections that are in use for more than two seconds are cut."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            try:
                await asyncio.wait_for(pool.close(), 2)
            except TimeoutError:
                pool.terminate()


async def _nothing(_connection: Any) -> None:
    """Leave the session as it is."""
