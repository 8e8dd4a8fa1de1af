"""pytest-asyncio: the fixtures are ordinary ones, what they open is yours."""

import asyncpg
import nats
import pytest
import redis.asyncio as redis

from valhalla import AsyncClient


@pytest.fixture
async def database(sandbox):
    connection = await asyncpg.connect(sandbox.database_url)
    yield connection
    await connection.close()


async def test_postgres(database, sandbox):
    assert await database.fetchval("SELECT current_schema()") == sandbox.schema


async def test_valkey(sandbox):
    async with redis.from_url(sandbox.redis_url) as valkey:
        await valkey.set(f"{sandbox.valkey_prefix}greeting", "hello")

        assert await valkey.get(f"{sandbox.valkey_prefix}greeting") == b"hello"


async def test_nats(sandbox):
    bus = await nats.connect(sandbox.nats_url, user_credentials=str(sandbox.nats_creds_file))
    heard = await bus.subscribe(f"{sandbox.nats_prefix}orders")
    await bus.publish(f"{sandbox.nats_prefix}orders", b"book")

    assert (await heard.next_msg(timeout=5)).data == b"book"
    await bus.close()


async def test_with_the_asynchronous_client(valhalla_client):
    endpoint = valhalla_client.endpoint
    async with AsyncClient(endpoint.url, endpoint.api_key) as client, client.sandbox(ttl="10m") as sandbox:
        assert (await client.get(sandbox.id)).status == "running"
