"""A and B live on the shared Valkey: A attacks on a connection of its own each time, and B must not notice.

After each attack B's keys, time-outs, live connections and messages are what they were, and so are the server's users
and settings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import redis.asyncio
from tests.isolation.valkey_attacks.field import Field

from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.valkey import ValkeySlice


@pytest.fixture(scope="module")
async def field_(
    valkey_slice: ValkeySlice, valkey_url: str, attacker: Names, victim: Names, tomorrow: datetime
) -> AsyncIterator[Field]:
    """A and B are live; B has a key of every type, a subscriber and a connection that stays open."""
    for names in (attacker, victim):
        await valkey_slice.provision(names, expires_at=tomorrow)
    admin = redis.asyncio.Redis.from_url(valkey_url)
    client = redis.asyncio.Redis.from_url(
        valkey_slice.connection(victim, expires_at=tomorrow)["url"], single_connection_client=True
    )
    b = victim.key_prefix
    await client.set(f"{b}string", "secret")
    await client.set(f"{b}lasting", "1", ex=9999)
    await client.rpush(f"{b}list", "1", "2", "3")
    await client.sadd(f"{b}set", "x", "y")
    await client.zadd(f"{b}zset", {"m": 1})
    await client.hset(f"{b}hash", "f", "v")
    await client.xadd(f"{b}stream", {"f": "v"})
    await client.xgroup_create(f"{b}stream", "group", "0")
    await client.pfadd(f"{b}hll", "x")
    await client.geoadd(f"{b}geo", (1, 2, "p"))
    await client.setbit(f"{b}bits", 7, 1)
    listener = redis.asyncio.Redis.from_url(valkey_slice.connection(victim, expires_at=tomorrow)["url"])
    subscriber = listener.pubsub(ignore_subscribe_messages=True)
    await subscriber.subscribe(f"{b}news")
    await subscriber.psubscribe(f"{b}*")
    connection = valkey_slice.connection(attacker, expires_at=tomorrow)
    made = Field(valkey_slice, attacker, victim, admin, connection, client, subscriber)
    await made.run("SET {A}string a | RPUSH {A}list 1 2 | SADD {A}set x | XADD {A}stream 1-1 f v | GEOADD {A}geo 1 2 p")
    yield made
    for names in (attacker, victim):
        await valkey_slice.cut(names)
        await valkey_slice.drop(names)
    for opened in (admin, client, listener):
        await opened.aclose()
    await subscriber.aclose()


@pytest.fixture
async def field_unharmed(field_: Field) -> AsyncIterator[Field]:
    """The field; afterwards B is as it was."""
    before = await field_.state()
    me = await field_.client_b.client_id()
    yield field_
    assert await field_.state() == before
    assert await field_.client_b.client_id() == me, "B's connection was cut"
    # B's own message comes first and alone, so nothing else was delivered
    await field_.client_b.publish(f"{field_.b.key_prefix}mark", "own")
    message = None
    while message is None:
        message = await field_.subscriber_b.get_message(timeout=2)
    assert message["data"] == b"own"
    assert message["channel"].decode() == f"{field_.b.key_prefix}mark"
