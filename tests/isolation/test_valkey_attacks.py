"""What sandbox A may not do on the shared Valkey, and what it must still be able to do.

Each attack runs on a connection of its own. After each one B's keys, time-outs, live connections and messages are
what they were, and so are the server's users and settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ResponseError

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.valkey import ValkeySlice
from valhalla.sandbox.slices.valkey_rules import user_rule

ABSENT = ("unknown command", "unknown subcommand", "command not allowed")
"""This server does not have the command, or has it switched off for everybody."""


@dataclass(frozen=True)
class Refusal:
    """An error that the server sent."""

    text: str


async def read(reader: asyncio.StreamReader) -> Any:
    """Read one RESP2 answer. A client library would log in again behind our back after some errors."""
    line = (await reader.readline()).decode()
    assert line, "the server closed the connection"
    kind, text = line[0], line[1:-2]
    if kind == "-":
        return Refusal(text)
    if kind == "$":
        return None if text == "-1" else (await reader.readexactly(int(text) + 2))[:-2]
    if kind == "*":
        return None if text == "-1" else [await read(reader) for _ in range(int(text))]
    return int(text) if kind == ":" else text


@dataclass
class Field:
    """Two sandboxes, with everything of B's that an attack could touch."""

    part: ValkeySlice
    a: Names
    b: Names
    admin: Any
    connection_a: dict[str, Any]
    client_b: Any
    subscriber_b: Any

    def fill(self, text: str) -> list[str]:
        names = {"{A}": self.a.key_prefix, "{B}": self.b.key_prefix, "{userB}": self.b.valkey_user}
        return [re.sub(r"\{(?:A|B|userB)\}", lambda match: names[match[0]], word) for word in shlex.split(text)]

    async def run(self, script: str) -> list[Any]:
        """Run commands separated by `` | `` as A, on one new connection."""
        where = self.connection_a
        reader, writer = await asyncio.open_connection(where["host"], where["port"])
        answers: list[Any] = []
        try:
            for words in (["AUTH", where["user"], where["password"]], *map(self.fill, script.split(" | "))):
                parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
                writer.write(f"*{len(parts)}\r\n{''.join(parts)}".encode())
                async with asyncio.timeout(2):
                    answers.append(await read(reader))
        finally:
            writer.close()
            await writer.wait_closed()
        assert answers[0] == "OK"
        return answers[1:]

    async def check_rule(self, attack: str) -> None:
        """Ask the server whether A's rule would refuse the command if it were there."""
        try:
            verdict = await self.admin.execute_command("ACL DRYRUN", self.a.valkey_user, *self.fill(attack))
        except ResponseError as error:
            assert "not found" in str(error)  # noqa: PT017 - an unknown command needs no rule
        else:
            assert b"permission" in verdict, verdict

    async def state(self) -> tuple[Any, ...]:
        """Everything of B and of the server that an attack could change."""
        names = sorted([key async for key in self.admin.scan_iter(match=f"{self.b.key_prefix}*", count=1000)])
        pipeline = self.admin.pipeline(transaction=False)
        for key in names:
            pipeline.dump(key)
            pipeline.pexpiretime(key)
            pipeline.object("encoding", key)
        pipeline.acl_users()
        pipeline.config_get("maxmemory*", "proto-max-bulk-len", "requirepass", "dir")
        pipeline.execute_command("FUNCTION LIST")
        return tuple(names), *(str(answer) for answer in await pipeline.execute())


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


LOOK_AROUND = """
SCAN 0
SCAN 0 MATCH {B}*
SCAN 0 COUNT 10000 TYPE string
KEYS *
KEYS {B}*
KEYS {A}*
RANDOMKEY
DBSIZE
INFO
INFO keyspace
INFO everything
TIME
LASTSAVE
ROLE
LOLWUT
COMMAND
COMMAND LIST
COMMAND DOCS get
COMMAND INFO get
COMMAND GETKEYS GET {B}string
MONITOR
SLOWLOG GET
SLOWLOG LEN
SLOWLOG RESET
COMMANDLOG GET 10 slow
LATENCY LATEST
LATENCY DOCTOR
LATENCY HISTOGRAM
LATENCY RESET
MEMORY USAGE {B}string
MEMORY USAGE {A}string
MEMORY STATS
MEMORY DOCTOR
MEMORY MALLOC-STATS
MEMORY PURGE
PUBSUB CHANNELS
PUBSUB CHANNELS {B}*
PUBSUB NUMSUB {B}news
PUBSUB NUMPAT
PUBSUB SHARDCHANNELS
PUBSUB SHARDNUMSUB {B}news
OBJECT ENCODING {B}string
OBJECT IDLETIME {B}string
OBJECT REFCOUNT {B}string
OBJECT FREQ {B}string
CLIENT LIST
CLIENT INFO
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST
CLIENT TRACKING ON BCAST PREFIX {B}
CLIENT TRACKING ON
CLIENT CACHING YES
CONFIG GET *
CONFIG GET requirepass
CLUSTER INFO
CLUSTER NODES
CLUSTER SLOTS
CLUSTER SHARDS
CLUSTER MYID
CLUSTER LINKS
CLUSTER KEYSLOT {B}string
CLUSTER COUNTKEYSINSLOT 0
CLUSTER GETKEYSINSLOT 0 100
CLUSTER SLOT-STATS SLOTSRANGE 0 16383
CLUSTERSCAN 0
ACL LIST
ACL USERS
ACL WHOAMI
ACL CAT
ACL LOG
ACL GETUSER default
ACL GETUSER {userB}
ACL DRYRUN {userB} get {B}string
MODULE LIST
FUNCTION LIST
FUNCTION STATS
FUNCTION DUMP
SCRIPT EXISTS 0123456789012345678901234567890123456789
"""

TAKE_OVER = """
ACL SETUSER default on nopass allkeys allchannels allcommands
ACL SETUSER {userB} nopass
ACL SETUSER intruder on nopass allkeys +@all
ACL DELUSER {userB}
ACL GENPASS
ACL LOAD
ACL SAVE
CONFIG SET requirepass x
CONFIG SET maxmemory 1
CONFIG SET proto-max-bulk-len 512mb
CONFIG REWRITE
CONFIG RESETSTAT
MODULE LOAD /tmp/x.so
MODULE LOADEX /tmp/x.so
MODULE UNLOAD x
DEBUG SLEEP 0
DEBUG JMAP
DEBUG OBJECT {B}string
DEBUG SET-ACTIVE-EXPIRE 0
DEBUG SEGFAULT
SHUTDOWN NOSAVE
SHUTDOWN ABORT
FLUSHALL
FLUSHALL ASYNC
FLUSHDB
SWAPDB 0 1
SELECT 1
SELECT 0
MOVE {A}string 1
MOVE {B}string 1
SAVE
BGSAVE
BGREWRITEAOF
REPLICAOF 127.0.0.1 1
REPLICAOF NO ONE
SLAVEOF NO ONE
FAILOVER
SYNC
PSYNC ? -1
REPLCONF listening-port 1
WAIT 0 0
WAITAOF 0 0 0
CLIENT KILL TYPE normal
CLIENT KILL TYPE pubsub
CLIENT KILL USER {userB}
CLIENT KILL ID 1
CLIENT PAUSE 5000
CLIENT UNPAUSE
CLIENT UNBLOCK 1 ERROR
CLIENT NO-EVICT ON
CLIENT NO-TOUCH ON
CLIENT REPLY ON
CLIENT IMPORT-SOURCE ON
CLUSTER RESET HARD
CLUSTER FLUSHSLOTS
CLUSTER DELSLOTS 1
CLUSTER SETSLOT 1 STABLE
CLUSTER MEET 127.0.0.1 1
CLUSTER FAILOVER TAKEOVER
CLUSTER SAVECONFIG
CLUSTER BUMPEPOCH
CLUSTER MIGRATESLOTS SLOTSRANGE 0 1 NODE x
CLUSTER SYNCSLOTS FINISH
READONLY
READWRITE
ASKING
EVAL "return 1" 0
EVAL "return redis.call('get', KEYS[1])" 1 {B}string
EVAL "return redis.call('keys', '*')" 0
EVAL "while true do end" 0
EVAL_RO "return 1" 0
EVALSHA 0123456789012345678901234567890123456789 0
EVALSHA_RO 0123456789012345678901234567890123456789 0
SCRIPT LOAD "return 1"
SCRIPT FLUSH
SCRIPT KILL
SCRIPT DEBUG SYNC
FUNCTION LOAD "#!lua name=evil\\nserver.register_function('f', function() return 1 end)"
FUNCTION DELETE x
FUNCTION FLUSH
FUNCTION KILL
FUNCTION RESTORE x
FCALL f 0
FCALL_RO f 0
PFDEBUG GETREG {A}hll
PFSELFTEST
RESTORE-ASKING {A}x 0 x
"""

FOREIGN_KEYS = """
GET {B}string
SET {B}string x
SET {B}new x
SETNX {B}new x
SETEX {B}string 1 x
GETSET {B}string x
GETDEL {B}string
GETEX {B}string EX 1
APPEND {B}string x
INCR {B}new
STRLEN {B}string
GETRANGE {B}string 0 -1
SETRANGE {B}string 0 x
MGET {A}string {B}string
MSET {A}string a {B}string x
MSETNX {A}fresh a {B}fresh x
LCS {A}string {B}string
EXISTS {B}string
EXISTS {A}string {B}string
DEL {B}string
DEL {A}none {B}string
UNLINK {B}string
TYPE {B}string
TTL {B}string
PTTL {B}string
EXPIRETIME {B}lasting
EXPIRE {B}string 1
PEXPIRE {B}string 1
EXPIREAT {B}string 1
PERSIST {B}lasting
TOUCH {B}string
RENAME {A}string {B}string
RENAME {B}string {A}stolen
RENAMENX {B}string {A}stolen
COPY {A}string {B}new
COPY {B}string {A}stolen
COPY {A}string {A}copy
DUMP {B}string
DUMP {A}string
RESTORE {B}new 0 x
RESTORE {A}new 0 x
MIGRATE 127.0.0.1 1 {A}string 0 10
MIGRATE 127.0.0.1 1 {B}string 0 10
SORT {A}list
SORT {A}list STORE {B}new
SORT {A}list BY {B}* GET {B}*
SORT {B}list STORE {A}stolen
SORT_RO {A}list GET {B}*
WATCH {B}string
HGETALL {B}hash
HSET {B}hash f x
HDEL {B}hash f
LRANGE {B}list 0 -1
LPUSH {B}list x
LPOP {B}list
LMOVE {B}list {A}stolen LEFT LEFT
LMOVE {A}list {B}list LEFT LEFT
RPOPLPUSH {A}list {B}list
BRPOPLPUSH {B}list {A}stolen 1
BLMOVE {B}list {A}stolen LEFT LEFT 1
BLPOP {B}list 1
BLPOP {A}none {B}list 1
BRPOP {B}list 1
LMPOP 2 {A}none {B}list LEFT
BLMPOP 1 2 {A}none {B}list LEFT
SMEMBERS {B}set
SADD {B}set z
SMOVE {A}set {B}set x
SMOVE {B}set {A}stolen x
SINTER {A}set {B}set
SINTERCARD 2 {A}set {B}set
SUNIONSTORE {A}stolen {B}set
SINTERSTORE {B}new {A}set
SDIFFSTORE {B}set {A}none
ZRANGE {B}zset 0 -1
ZRANGESTORE {A}stolen {B}zset 0 -1
ZUNION 2 {A}zset {B}zset
ZUNIONSTORE {A}stolen 2 {A}zset {B}zset
ZUNIONSTORE {B}new 1 {A}zset
ZDIFFSTORE {B}zset 1 {A}none
ZMPOP 2 {A}none {B}zset MIN
BZPOPMIN {B}zset 1
XADD {B}stream * f x
XRANGE {B}stream - +
XREAD STREAMS {B}stream 0
XREAD STREAMS {A}stream {B}stream 0 0
XREAD BLOCK 100 STREAMS {B}stream $
XREADGROUP GROUP group me STREAMS {B}stream >
XGROUP CREATE {B}stream mine 0
XGROUP DESTROY {B}stream group
XINFO STREAM {B}stream
XINFO GROUPS {B}stream
XTRIM {B}stream MAXLEN 0
XDEL {B}stream 1-1
XACK {B}stream group 1-1
XSETID {B}stream 9-9
PFCOUNT {B}hll
PFADD {B}hll z
PFMERGE {A}stolen {B}hll
PFMERGE {B}hll {A}none
GETBIT {B}bits 7
SETBIT {B}bits 7 0
BITCOUNT {B}bits
BITOP NOT {B}bits {A}string
BITOP NOT {A}stolen {B}bits
BITFIELD {B}bits SET u8 0 0
BITFIELD_RO {B}bits GET u8 0
GEOPOS {B}geo p
GEOADD {B}geo 3 3 q
GEOSEARCHSTORE {A}stolen {B}geo FROMMEMBER p BYRADIUS 1 km
GEOSEARCHSTORE {B}new {A}geo FROMMEMBER p BYRADIUS 1 km
GEORADIUS {A}geo 1 2 1 km STORE {B}new
GEORADIUSBYMEMBER {A}geo p 1 km STOREDIST {B}new
GET string
SET loose 1
GET {A:string
SET * 1
"""

FOREIGN_CHANNELS = """
SUBSCRIBE {B}news
SUBSCRIBE {A}news {B}news
SUBSCRIBE __keyspace@0__:{B}string
SUBSCRIBE __keyevent@0__:set
SUBSCRIBE __redis__:invalidate
PSUBSCRIBE *
PSUBSCRIBE {B}*
PSUBSCRIBE {A}* {B}*
PSUBSCRIBE __key*__:*
PSUBSCRIBE {A}x*
PSUBSCRIBE [{]*
SSUBSCRIBE {B}news
PUBLISH {B}news x
PUBLISH news x
SPUBLISH {B}news x
"""


def lines(text: str) -> list[str]:
    """Return the attacks of one table."""
    return text.strip().split("\n")


ALL = [*lines(LOOK_AROUND), *lines(TAKE_OVER), *lines(FOREIGN_KEYS), *lines(FOREIGN_CHANNELS)]


@pytest.mark.parametrize("attack", ALL)
async def test_refused(field_unharmed: Field, attack: str) -> None:
    """The server itself refuses the command for lack of permission, also where it has it switched off."""
    (answer,) = await field_unharmed.run(attack)

    assert isinstance(answer, Refusal), f"{attack} answered {answer!r}"
    if not answer.text.startswith("NOPERM "):
        assert any(words in answer.text.lower() for words in ABSENT), answer.text
        await field_unharmed.check_rule(attack)


@pytest.mark.parametrize("attack", ALL)
async def test_refused_in_a_transaction(field_: Field, attack: str) -> None:
    """MULTI hides nothing: what is refused outside is refused inside, and EXEC runs none of it."""
    answers = await field_.run(f"MULTI | SET {{A}}ran 1 | {attack} | EXEC")

    assert isinstance(answers[2], Refusal), f"{attack} was queued: {answers[2]!r}"
    assert isinstance(answers[-1], Refusal), f"{attack} ran: {answers[-1]!r}"
    assert not await field_.admin.exists(f"{field_.a.key_prefix}ran")


async def test_transactions_left_the_victim_unharmed(field_unharmed: Field) -> None:
    """After all of the above B is complete (its state is compared around this test, its keys are named here)."""
    keys = [key async for key in field_unharmed.admin.scan_iter(match=f"{field_unharmed.b.key_prefix}*", count=1000)]

    assert len(keys) == 10
    assert await field_unharmed.client_b.get(f"{field_unharmed.b.key_prefix}string") == b"secret"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("RESET | GET {A}string", "NOAUTH"),
        ("RESET | SCAN 0", "NOAUTH"),
        ("RESET | AUTH default '' | GET {B}string", "NOAUTH"),
        ("AUTH default ''", "WRONGPASS"),
        ("AUTH default default", "WRONGPASS"),
        ("AUTH ''", "WRONGPASS"),
        ("AUTH {userB} guess", "WRONGPASS"),
        ("AUTH {userB} ''", "WRONGPASS"),
        ("HELLO 3 AUTH {userB} guess", "WRONGPASS"),
        ("HELLO 2 AUTH default ''", "WRONGPASS"),
    ],
)
async def test_becoming_another_user(field_unharmed: Field, script: str, expected: str) -> None:
    """Giving up its own user leaves A nobody, and no other user lets it in."""
    answer = (await field_unharmed.run(script))[-1]

    assert isinstance(answer, Refusal)
    assert answer.text.startswith(expected)


@pytest.mark.parametrize(
    "attack",
    [
        "SETRANGE {A}big 268435456 x",
        "SETRANGE {A}big 1048577 x",
        "SETBIT {A}big 4294967295 1",
        "BITFIELD {A}big SET u8 268435456 1",
        "BITFIELD {A}big OVERFLOW SAT INCRBY u8 #33554432 1",
    ],
)
async def test_one_call_cannot_take_much_memory(field_unharmed: Field, attack: str) -> None:
    """``proto-max-bulk-len`` bounds what one command can allocate."""
    (answer,) = await field_unharmed.run(attack)

    assert isinstance(answer, Refusal), answer
    assert not await field_unharmed.admin.exists(f"{field_unharmed.a.key_prefix}big")


async def test_append_stops_at_the_limit(field_unharmed: Field) -> None:
    """Neither does a string grow past it piece by piece."""
    answers = await field_unharmed.run("SETRANGE {A}big 1048570 x | APPEND {A}big 0123456789 | DEL {A}big")

    assert isinstance(answers[1], Refusal)
    assert "exceeds" in answers[1].text


async def test_scripts_do_not_widen_the_rule(field_unharmed: Field, valkey_slice: ValkeySlice) -> None:
    """Were scripting allowed, the same patterns would hold inside: no foreign key, no listing."""
    names = field_unharmed.a
    rule = user_rule(names, valkey_slice.password(names), await valkey_slice._server.version())
    await field_unharmed.admin.execute_command("ACL SETUSER", names.valkey_user, *rule, "+eval")
    try:
        for call in ("'get', '{B}string'", "'keys', '*'", "'scan', '0'", "'publish', '{B}news', 'x'", "'flushall'"):
            (answer,) = await field_unharmed.run(f'EVAL "return redis.call({call})" 0')
            assert isinstance(answer, Refusal), f"{call}: {answer!r}"
    finally:
        await field_unharmed.admin.execute_command("ACL SETUSER", names.valkey_user, *rule)


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


async def test_ids_cannot_reach_further(field_: Field, cell: CellKey) -> None:
    """A name with a glob in it gets no rule, whoever made it."""
    for bad in ("*", "a*aaaaaaaaaaaaaa", "[a-z]", "?" * 16, "", "A" * 16, new_id() + "}"):
        names = Names.for_sandbox(bad, cell=cell.cell, database="none")
        with pytest.raises(ValueError, match="sandbox id"):
            await field_.part.provision(names, expires_at=datetime.max)
