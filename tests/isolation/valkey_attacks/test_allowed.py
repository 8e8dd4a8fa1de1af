"""What sandbox A must still be able to do on the shared Valkey."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import Any

import pytest
import redis.asyncio
from tests.isolation.valkey_attacks.field import Field, Refusal, lines

ALLOWED = """
PING
ECHO hi
CLIENT ID
CLIENT SETNAME me | CLIENT GETNAME
HELLO 2
SET {A}k v EX 100 | GET {A}k | GETRANGE {A}k 0 0 | STRLEN {A}k | TTL {A}k | PERSIST {A}k | TYPE {A}k | DEL {A}k
INCR {A}n | INCRBYFLOAT {A}n 1.5 | UNLINK {A}n
MSET {A}x 1 {A}y 2 | MGET {A}x {A}y | EXISTS {A}x {A}y | RENAME {A}x {A}z | TOUCH {A}z | DEL {A}y {A}z
SETRANGE {A}r 1000 x | DEL {A}r
SET {A}o 1 | OBJECT ENCODING {A}o | OBJECT REFCOUNT {A}o | EXPIRETIME {A}o | DEL {A}o
HSET {A}h f v g w | HGETALL {A}h | HINCRBY {A}h n 1 | HSCAN {A}h 0 | HDEL {A}h f | DEL {A}h
RPUSH {A}l 1 2 3 | LRANGE {A}l 0 -1 | LMOVE {A}l {A}m LEFT RIGHT | BLPOP {A}l 1 | LMPOP 1 {A}l LEFT | DEL {A}l {A}m
SADD {A}s 1 2 | SMEMBERS {A}s | SUNIONSTORE {A}t {A}s | SSCAN {A}s 0 | SMOVE {A}s {A}t 1 | DEL {A}s {A}t
ZADD {A}z 1 a 2 b | ZRANGE {A}z 0 -1 WITHSCORES | ZUNIONSTORE {A}y 1 {A}z | BZPOPMIN {A}z 1 | DEL {A}z {A}y
XADD {A}q 1-1 f v | XGROUP CREATE {A}q g 0 | XREADGROUP GROUP g c STREAMS {A}q > | XACK {A}q g 1-1 | DEL {A}q
XADD {A}q 1-1 f v | XREAD STREAMS {A}q 0 | XINFO STREAM {A}q | XTRIM {A}q MAXLEN 0 | DEL {A}q
SETBIT {A}b 7 1 | BITCOUNT {A}b | BITOP NOT {A}bb {A}b | BITFIELD {A}b GET u8 0 | DEL {A}b {A}bb
PFADD {A}p a b | PFCOUNT {A}p | PFMERGE {A}pp {A}p | DEL {A}p {A}pp
GEOADD {A}g 1 2 p | GEOSEARCH {A}g FROMMEMBER p BYRADIUS 1 km | GEOPOS {A}g p | DEL {A}g
WATCH {A}w | MULTI | SET {A}w 1 | INCR {A}w | EXEC | DEL {A}w
MULTI | SET {A}w 1 | DISCARD
PUBLISH {A}news x
SPUBLISH {A}news x
SUBSCRIBE {A}news {A}other
PSUBSCRIBE {A}*
SSUBSCRIBE {A}shard
"""


@pytest.mark.parametrize("script", lines(ALLOWED))
async def test_allowed(field_: Field, script: str) -> None:
    """The sandbox works with its own keys of every type, its own channels and transactions."""
    answers = await field_.run(script)

    assert [answer for answer in answers if isinstance(answer, Refusal)] == []


@pytest.mark.parametrize("protocol", [2, 3])
async def test_own_messages_arrive(field_: Field, protocol: int, tomorrow: datetime) -> None:
    """Publishing and subscribing work with the ordinary client, in both protocols."""
    url = field_.part.connection(field_.a, expires_at=tomorrow)["url"]
    async with redis.asyncio.Redis.from_url(url, protocol=protocol) as client, client.pubsub() as listener:
        await listener.subscribe(f"{field_.a.key_prefix}news")
        await listener.psubscribe(f"{field_.a.key_prefix}*")
        heard: list[Any] = []
        await client.publish(f"{field_.a.key_prefix}news", "hello")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while len(heard) < 2:
                    message = await listener.get_message(ignore_subscribe_messages=True, timeout=1)
                    heard += [message["data"]] if message else []

    assert heard == [b"hello", b"hello"]
