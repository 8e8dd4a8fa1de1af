"""Where and how often a sandbox may log in, and which of its settings it cannot widen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from tests.isolation.postgres_attacks.field import DENIED, Field

from valhalla.sandbox.slices.postgres.bootstrap import template_name


@pytest.mark.parametrize("database", ["postgres", "template1", "valhalla_attacks", "template"])
async def test_no_other_database_can_be_entered(field: Field, database: str) -> None:
    """A sandbox connects to its arena only (attack 15)."""
    name = template_name(field.cell) if database == "template" else database
    address = field.postgres.connection(field.a, expires_at=datetime.now(UTC))
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await asyncpg.connect(
            host=address["host"],
            port=address["port"],
            user=address["user"],
            password=address["password"],
            database=name,
            timeout=5,
        )
    assert refusal.value.sqlstate in {DENIED, "55000"}


async def test_replication_connection_is_refused(field: Field) -> None:
    """A sandbox cannot stream the log (attack 11)."""
    import psycopg

    address = field.postgres.connection(field.a, expires_at=datetime.now(UTC))

    def connect() -> None:
        psycopg.connect(address["url"] + "?replication=database").close()

    with pytest.raises(psycopg.OperationalError):
        await asyncio.to_thread(connect)


async def test_connections_are_limited(field: Field) -> None:
    """The sixth connection is refused (attack 14)."""
    held = [await field.as_a() for _ in range(5)]
    try:
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await field.as_a()
    finally:
        for connection in held:
            await connection.close()


async def test_temp_file_limit_survives_reset_all(field: Field) -> None:
    """A sandbox that resets its own settings keeps the limit (attack 12)."""
    connection = await field.as_a()
    await connection.execute(f"ALTER ROLE {field.a.role} RESET ALL")
    await connection.close()
    connection = await field.as_a()
    limit = await connection.fetchval("SHOW temp_file_limit")
    await connection.execute(f"ALTER ROLE {field.a.role} SET search_path = {field.a.schema}")
    await connection.close()
    assert limit == "1GB"


async def test_search_path_reset_gains_nothing(field: Field) -> None:
    """Without its search path a sandbox sees less, not more (attack 13)."""
    connection = await field.as_a()
    try:
        await connection.execute("SET search_path = public, pg_catalog")
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT * FROM communities")
    finally:
        await connection.close()


async def test_wrong_password_is_refused(field: Field) -> None:
    """Authentication is by SCRAM, not by trust."""
    address = field.postgres.connection(field.a, expires_at=datetime.now(UTC))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=address["host"],
            port=address["port"],
            user=address["user"],
            password="wrong",
            database=address["database"],
            timeout=5,
        )
