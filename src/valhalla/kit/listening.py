"""A connection of its own that hears NOTIFY, and notices when it no longer could."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import asyncpg

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.sqlstates import is_away


class Link:
    """An open connection that listens. ``lost`` is set when the server or the network ends it."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection
        self.lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self.lost.set())

    async def check(self, seconds: float = 2.0) -> None:
        """Ask the server for a sign of life: a half-open connection gives none, and no error either.

        Raises:
            Unavailable: no answer within ``seconds``.
        """
        await self.value("SELECT 1", seconds=seconds)

    async def value(self, query: str, *args: object, seconds: float = 2.0) -> Any:
        """Run a query of one value on this connection.

        Raises:
            Unavailable: the connection is gone, or no answer came within ``seconds``.
        """
        try:
            return await self.connection.fetchval(query, *args, timeout=seconds)
        except Exception as error:
            if is_away(error):
                self.lost.set()
                raise Unavailable("postgres", "the listening connection to Postgres is lost") from error
            raise


@contextlib.asynccontextmanager
async def listening(db: Database, channel: str, heard: Callable[[str], None]) -> AsyncGenerator[Link]:
    """Open a connection that calls ``heard`` with the payload of every NOTIFY on ``channel``.

    Raises:
        Unavailable: the server cannot be reached.
    """
    connection = await db.connect()
    try:
        link = Link(connection)

        def _heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard(str(payload))

        try:
            await connection.add_listener(channel, _heard)
        except Exception as error:
            if is_away(error):
                raise Unavailable("postgres", "the listening connection to Postgres is lost") from error
            raise
        yield link
    finally:
        await _close(connection)


async def _close(connection: asyncpg.Connection[Any]) -> None:
    # a polite goodbye to a server that does not answer would take forever
    try:
        await connection.close(timeout=1)
    except Exception as error:
        connection.terminate()
        if not is_away(error):
            raise
