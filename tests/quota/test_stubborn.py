"""Sandboxes that do not want to go: they hold locks, keep transactions open, and come back as fast as they can."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
import redis
from tests.conftest import Servers
from tests.sandbox.plane import Team, opened, remains

from valhalla.runtime import Runtime


@contextlib.contextmanager
def hammering(connection: dict[str, Any], *, callers: int = 4) -> Iterator[list[float]]:
    """Connect again and again, from several threads; yields when a login last succeeded."""
    stop = threading.Event()
    last: list[float] = []

    def sql() -> None:
        while not stop.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(connection["postgres"]["url"], connect_timeout=5) as session,
            ):
                last.append(time.monotonic())
                session.execute("CREATE TABLE IF NOT EXISTS t (id int)")
                session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
                session.execute("SELECT pg_sleep(1)")

    def cache() -> None:
        while not stop.is_set():
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(connection["valkey"]["url"]) as client:
                client.set(connection["valkey"]["prefix"] + "t", 1)

    threads = [threading.Thread(target=work, daemon=True) for work in [*[sql] * callers, cache]]
    for thread in threads:
        thread.start()
    try:
        yield last
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


async def test_one_that_keeps_connecting(small: Runtime, team: Team, servers: Servers) -> None:
    """Logins that were under way while access was cut do not survive it either, and the schema goes."""
    created = await team.create()
    assert created.connection is not None
    with hammering(created.connection) as last:
        end = time.monotonic() + 20
        while len(last) < 3:
            assert time.monotonic() < end
            await small.db.read(lambda conn: None)
        ended = await team.destroy(created.sandbox.id, wait=20)
        assert ended.status == "destroyed"
        gone = time.monotonic()
    assert max(last) < gone
    assert await remains(small, created.sandbox.id, str(servers.endpoints.valkey_url)) == []


async def test_one_that_holds_locks_in_idle_transactions(small: Runtime, team: Team, servers: Servers) -> None:
    """On its tables, on a table that is being altered, and with a statement that runs on."""
    created = await team.create()
    assert created.connection is not None
    url = created.connection["postgres"]["url"]
    async with opened(created.connection) as session:
        await session.sql.execute("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
        await session.sql.execute("CREATE TABLE a (id int); CREATE TABLE b (id int)")
        await session.sql.execute("BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE; ALTER TABLE b ADD COLUMN c int")
        other = await asyncpg.connect(url)
        waiting = asyncio.create_task(other.execute("SELECT * FROM a"))
        ended = await team.destroy(created.sandbox.id, wait=20)
        assert (await asyncio.gather(waiting, return_exceptions=True))[0] is not None
        other.terminate()
        assert ended.status == "destroyed"
    assert await remains(small, created.sandbox.id, str(servers.endpoints.valkey_url)) == []


@pytest.mark.slow
async def test_one_whose_table_another_session_holds(small: Runtime, team: Team, servers: Servers) -> None:
    """A lock of somebody else (an operator's session) delays the drop, not the cut; the reaper finishes it."""
    created = await team.create()
    assert created.connection is not None
    names = created.sandbox.names
    async with opened(created.connection) as session:
        await session.sql.execute("CREATE TABLE t (id int)")
    operator = await asyncpg.connect(servers.superuser_url, database=names.database)
    await operator.execute(f"BEGIN; LOCK TABLE {names.schema}.t IN ACCESS SHARE MODE")
    assert (await team.destroy(created.sandbox.id, wait=2)).status == "destroying"
    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(created.connection["postgres"]["url"])
    await operator.close()
    report = await small.reaper.once()
    assert created.sandbox.id in report.destroyed
    assert await remains(small, created.sandbox.id, str(servers.endpoints.valkey_url)) == []
