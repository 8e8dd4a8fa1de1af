"""The verbs of the Valkey slice: each can run twice, and each leaves what it says."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import RedisError
from tests.isolation.conftest import ValkeyProcess, eventually

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices import valkey
from valhalla.sandbox.slices.contracts import Found, Names, Slice
from valhalla.sandbox.slices.valkey import ValkeySlice


@pytest.fixture(scope="module", params=["cluster", "plain"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The administrator's URL of a server with, and of one without hash slots."""
    if request.param == "cluster":
        yield request.getfixturevalue("valkey_url")
        return
    process = ValkeyProcess(tmp_path_factory.mktemp("valkey"), clustered=False).start()
    yield process.url
    process.stop()


@pytest.fixture
async def part(url: str, cell: CellKey) -> AsyncIterator[ValkeySlice]:
    """The slice on it."""
    made = ValkeySlice(url, cell)
    yield made
    await made.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[Any]:
    """The server as its operator sees it."""
    client = redis.asyncio.Redis.from_url(url)
    yield client
    await client.aclose()


def login(part: ValkeySlice, names: Names, tomorrow: datetime) -> Any:
    """A client with the sandbox's own URL."""
    return redis.asyncio.Redis.from_url(part.connection(names, expires_at=tomorrow)["url"], socket_timeout=None)


async def test_is_a_slice(part: ValkeySlice) -> None:
    """The class has the protocol's verbs, for the type checker and the reader."""
    checked: Slice = part

    assert checked.name == "valkey"


async def test_life(part: ValkeySlice, admin: Any, fresh: Names, tomorrow: datetime) -> None:
    """Made, found, working, cut, dropped: twice each, and nothing is left."""
    await part.provision(fresh, expires_at=tomorrow)
    await part.provision(fresh, expires_at=tomorrow)
    await part.extend(fresh, expires_at=tomorrow)
    assert (await part.probe(fresh)).ok
    assert Found("valkey", "user", fresh.valkey_user, fresh.id) in await part.found()

    client = login(part, fresh, tomorrow)
    await client.set(f"{fresh.key_prefix}k", "v")
    assert await client.get(f"{fresh.key_prefix}k") == b"v"

    await part.cut(fresh)
    await part.cut(fresh)
    probe = await part.probe(fresh)
    assert not probe.ok
    assert "refuses the credentials" in (probe.reason or "")
    assert await admin.exists(f"{fresh.key_prefix}k")

    await part.drop(fresh)
    await part.drop(fresh)
    assert not await admin.exists(f"{fresh.key_prefix}k")
    assert fresh.id not in {found.sandbox_id for found in await part.found()}
    await client.aclose()


async def test_cut_ends_live_connections(part: ValkeySlice, fresh: Names, tomorrow: datetime) -> None:
    """A command socket, a blocked reader, a transaction and a subscriber are all closed within 100 ms."""
    await part.provision(fresh, expires_at=tomorrow)
    clients = [login(part, fresh, tomorrow) for _ in range(4)]
    idle, blocked, subscriber, queueing = [await client.connection_pool.get_connection() for client in clients]
    await blocked.send_command("BLPOP", f"{fresh.key_prefix}list", 0)
    await subscriber.send_command("SUBSCRIBE", f"{fresh.key_prefix}news")
    await subscriber.read_response(push_request=True)
    for words in (("MULTI",), ("SET", f"{fresh.key_prefix}late", "1")):
        await queueing.send_command(*words)
        await queueing.read_response()

    async def closed(connection: Any) -> float:
        try:
            await connection.read_response(timeout=None, disconnect_on_error=False)
        except (RedisError, OSError):
            return time.monotonic()
        raise AssertionError("an answer came")

    waiting = [asyncio.create_task(closed(c)) for c in (idle, blocked, subscriber, queueing)]
    await asyncio.sleep(0.02)
    started = time.monotonic()
    await part.cut(fresh)
    ended = await asyncio.wait_for(asyncio.gather(*waiting), 2)

    assert max(ended) - started < 0.1
    for client in clients:
        await client.aclose(close_connection_pool=True)


async def test_drop_leaves_the_neighbours(part: ValkeySlice, admin: Any, fresh: Names, cell: CellKey) -> None:
    """Thousands of keys go; those of another sandbox and a look-alike prefix stay."""
    other = Names.for_sandbox(new_id(), cell=cell.cell, database="none")
    lookalikes = [
        f"{fresh.id}:x",
        f"{{{fresh.id}}}x",
        f"{{{fresh.id}}}",
        f"x{{{fresh.id}}}:x",
        f"{{{fresh.id[:-1]}?}}:x",
    ]
    kept = [f"{other.key_prefix}k", *lookalikes]
    for key in kept:
        await admin.set(key, "1")
    pipeline = admin.pipeline(transaction=False)
    for number in range(3000):
        pipeline.set(f"{fresh.key_prefix}{number}", b"x" * 50)
    # every byte may stand in a key
    pipeline.set(fresh.key_prefix.encode() + bytes(range(256)), "1")
    await pipeline.execute()

    await part.drop(fresh)

    assert {key.decode() async for key in admin.scan_iter(count=5000)} >= set(kept)
    assert [key async for key in admin.scan_iter(match=f"{fresh.key_prefix}*", count=5000)] == []
    await admin.delete(*lookalikes[:1])
    for key in kept:
        await admin.delete(key)


async def test_drop_ends_in_a_slot_full_of_others(
    part: ValkeySlice, admin: Any, fresh: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign keys in the same slot neither stop the sweep nor keep it going for ever."""
    monkeypatch.setattr(valkey, "_BATCH", 10)
    monkeypatch.setattr(valkey, "_WIDEST", 40)
    slot = key_slot(fresh.key_prefix.encode())
    tag = next(f"{{{n}}}:" for n in range(10**6) if key_slot(f"{{{n}}}:".encode()) == slot)
    pipeline = admin.pipeline(transaction=False)
    for number in range(200):
        pipeline.set(f"{tag}{number}", "1")
    for number in range(100):
        pipeline.set(f"{fresh.key_prefix}{number}", "1")
    await pipeline.execute()

    async with asyncio.timeout(5):
        await part.drop(fresh)

    assert [key async for key in admin.scan_iter(match=f"{fresh.key_prefix}*", count=5000)] == []
    foreign = [key async for key in admin.scan_iter(match=f"{tag}*", count=5000)]
    assert len(foreign) == 200
    await admin.delete(*foreign)


async def test_remove_an_orphan(part: ValkeySlice, admin: Any, fresh: Names, tomorrow: datetime) -> None:
    """An orphan goes with its keys and its live connections; what has another mark is left alone."""
    await part.provision(fresh, expires_at=tomorrow)
    client = login(part, fresh, tomorrow)
    await client.set(f"{fresh.key_prefix}k", "v")
    orphan = next(found for found in await part.found() if found.sandbox_id == fresh.id)

    await part.remove(orphan)
    await part.remove(orphan)
    await part.remove(Found("valkey", "user", "admin", fresh.id))

    assert not await admin.exists(f"{fresh.key_prefix}k")
    assert await admin.ping()
    with pytest.raises(RedisError):
        await client.get(f"{fresh.key_prefix}k")
    await client.aclose()


async def test_found_sees_this_cell_only(part: ValkeySlice, url: str, fresh: Names, tomorrow: datetime) -> None:
    """Two installations share a server without sweeping each other."""
    stranger = ValkeySlice(url, CellKey(secrets.token_bytes(32)))
    await part.provision(fresh, expires_at=tomorrow)

    assert await stranger.found() == []
    await stranger.remove(Found("valkey", "user", fresh.valkey_user, fresh.id))
    assert (await part.probe(fresh)).ok
    await part.cut(fresh)
    await stranger.close()


async def test_check_server(part: ValkeySlice, request: pytest.FixtureRequest) -> None:
    """The settings that Valhalla asks for give no finding; without hash slots there is one."""
    findings = await part.check_server()

    assert [finding.split()[0] for finding in findings] == (
        [] if "cluster" in request.node.name else ["cluster-enabled"]
    )


async def test_cut_takes_effect_while_the_sandbox_floods(part: ValkeySlice, fresh: Names, tomorrow: datetime) -> None:
    """A client that writes without pause writes nothing after the cut has returned."""
    await part.provision(fresh, expires_at=tomorrow)
    client, written = login(part, fresh, tomorrow), [0.0]

    async def flood() -> None:
        while True:
            pipeline = client.pipeline(transaction=False)
            for number in range(100):
                pipeline.set(f"{fresh.key_prefix}{number}", "1")
            await pipeline.execute()
            written[0] = time.monotonic()

    flooding = asyncio.create_task(flood())
    await eventually(lambda: written[0] > 0)
    await part.cut(fresh)
    await part.drop(fresh)
    with pytest.raises(RedisError):
        await asyncio.wait_for(flooding, 15)

    assert (await part.probe(fresh)).ok is False
    await part.drop(fresh)
    await client.aclose()
