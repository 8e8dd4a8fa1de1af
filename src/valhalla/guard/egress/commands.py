"""Which commands of Valkey and Redis only read, by the servers' own flags: pure, and in doubt one does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

# those that COMMAND flags as readonly
READING: Final = frozenset(
    (  # noqa: SIM905 - a word list reads better as text
        "BITCOUNT BITFIELD_RO BITPOS CLUSTERSCAN DBSIZE DUMP EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST "
        "GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET "
        "HGETALL HKEYS HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS KEYS LCS LINDEX LLEN LOLWUT "
        "LPOS LRANGE MGET PEXPIRETIME PFCOUNT PTTL RANDOMKEY SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER SMEMBERS "
        "SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TOUCH TTL TYPE XLEN XPENDING XRANGE XREAD XREVRANGE "
        "ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK "
        "ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION"
    ).split()
)
# those of a connection or a question, which change nothing that others see
CONNECTION: Final = frozenset(
    (  # noqa: SIM905 - a word list reads better as text
        "AUTH HELLO SELECT PING ECHO QUIT RESET ASKING READONLY READWRITE TIME ROLE LASTSAVE INFO COMMAND WAIT MULTI "
        "EXEC DISCARD WATCH UNWATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE PUBSUB XINFO"
    ).split()
)
# containers of which some subcommands only read
_WITHIN: Final = {
    "CLIENT": frozenset(
        {"SETINFO", "SETNAME", "GETNAME", "ID", "INFO", "LIST", "TRACKING", "CACHING", "REPLY", "MAINT_NOTIFICATIONS"}
    ),
    "CONFIG": frozenset({"GET", "HELP"}),
    "OBJECT": frozenset({"ENCODING", "FREQ", "IDLETIME", "REFCOUNT", "HELP"}),
    "MEMORY": frozenset({"USAGE", "STATS", "DOCTOR", "HELP"}),
    "SCRIPT": frozenset({"EXISTS", "HELP"}),
    "FUNCTION": frozenset({"LIST", "STATS", "DUMP", "HELP"}),
    "SLOWLOG": frozenset({"GET", "LEN", "HELP"}),
    "LATENCY": frozenset({"LATEST", "HISTORY", "DOCTOR", "HELP"}),
    "ACL": frozenset({"WHOAMI", "CAT", "HELP"}),
    "CLUSTER": frozenset({"SLOTS", "SHARDS", "NODES", "INFO", "KEYSLOT", "MYID", "LINKS", "COUNTKEYSINSLOT"}),
}


def only_reads(words: Sequence[bytes]) -> bool:
    """Say whether one command, as the words that are sent, only reads."""
    name = words[0].decode("latin-1").upper()
    if name in READING or name in CONNECTION:
        return True
    return len(words) > 1 and words[1].decode("latin-1").upper() in _WITHIN.get(name, ())


def parse(packed: bytes) -> Iterator[list[bytes]]:
    """Yield the commands of what a client is about to send; what is not RESP comes as one command of one word."""
    at = 0
    while at < len(packed):
        try:
            count, position = _number(packed, at, b"*")
            words: list[bytes] = []
            for _ in range(count):
                size, position = _number(packed, position, b"$")
                words.append(packed[position : position + size])
                position += size + 2
        except ValueError:
            yield [packed[at:][:64] or b"?"]
            return
        at = position
        yield words or [b"?"]


def _number(packed: bytes, at: int, sign: bytes) -> tuple[int, int]:
    end = packed.find(b"\r\n", at)
    if packed[at : at + 1] != sign or end < 0:
        raise ValueError
    return int(packed[at + 1 : end]), end + 2
