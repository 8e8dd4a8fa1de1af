"""The verbs of the Valkey slice: each can run twice, and each leaves what it says."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import RedisError
from tests.isolation.conftest import ValkeyProcess, eventually, free_port

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured, Unavailable
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


async def test_ensure_after_a_restart(tmp_path: Path, cell: CellKey, tomorrow: datetime) -> None:
    """A restarted server has another run id and no users; pushing them again makes old credentials work."""
    process = ValkeyProcess(tmp_path, clustered=False).start()
    part = ValkeySlice(process.url, cell)
    many = [Names.for_sandbox(new_id(), cell=cell.cell, database="none") for _ in range(1200)]
    await part.ensure(many)
    before = await part.run_id()
    assert len(await part.found()) == 1200

    process.stop()
    assert not (await part.ping()).ok
    with pytest.raises(Unavailable) as caught:
        await part.cut(many[0])
    assert caught.value.backend == "valkey"
    process.start()

    assert (await part.ping()).ok
    assert await part.run_id() != before
    assert not (await part.probe(many[7])).ok
    await part.ensure(many)
    assert (await part.probe(many[7])).ok
    assert len(await part.found()) == 1200
    await part.close()
    process.stop()


async def test_pool_recovers_after_a_restart(tmp_path: Path, cell: CellKey, tomorrow: datetime) -> None:
    """Sockets that the restart left dead in the pool fail no call."""
    process = ValkeyProcess(tmp_path, clustered=False).start()
    part = ValkeySlice(process.url, cell)
    many = [Names.for_sandbox(new_id(), cell=cell.cell, database="none") for _ in range(20)]
    await asyncio.gather(*(part.provision(names, expires_at=tomorrow) for names in many))
    process.stop()
    process.start()
    await asyncio.gather(*(part.provision(names, expires_at=tomorrow) for names in many))

    assert len(await part.found()) == 20
    await part.close()
    process.stop()


async def test_every_verb_says_unavailable(cell: CellKey, fresh: Names, tomorrow: datetime) -> None:
    """With no server, verbs raise Unavailable at once and the checks answer why."""
    part = ValkeySlice(f"redis://admin:x@127.0.0.1:{free_port()}", cell)
    started = time.monotonic()
    for call in (
        lambda: part.provision(fresh, expires_at=tomorrow),
        lambda: part.ensure([fresh]),
        lambda: part.cut(fresh),
        lambda: part.drop(fresh),
        part.found,
        lambda: part.remove(Found("valkey", "user", fresh.valkey_user, fresh.id)),
        part.run_id,
        part.check_server,
    ):
        with pytest.raises(Unavailable):
            await call()
    for probe in (await part.ping(), await part.probe(fresh)):
        assert not probe.ok
        assert "cannot be reached" in (probe.reason or "")
    assert time.monotonic() - started < 10
    await part.close()


async def test_a_server_that_hangs_is_unavailable(cell: CellKey, fresh: Names) -> None:
    """A socket that accepts and never answers ends in the time-out."""
    hang = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(60), "127.0.0.1", 0)
    port = hang.sockets[0].getsockname()[1]
    part = ValkeySlice(f"redis://127.0.0.1:{port}", cell, timeout=0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        await part.cut(fresh)
    assert time.monotonic() - started < 20
    await part.close()
    hang.close()


async def test_wrong_admin_password(valkey_url: str, cell: CellKey, fresh: Names) -> None:
    """The reason names the credentials, not the network."""
    part = ValkeySlice(f"redis://admin:wrong@{valkey_url.partition('@')[2]}", cell)
    with pytest.raises(Unavailable, match="refuses the credentials"):
        await part.cut(fresh)
    assert "refuses the credentials" in ((await part.ping()).reason or "")
    await part.close()


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


async def test_check_server_names_what_is_open(tmp_path: Path, cell: CellKey) -> None:
    """Each unsafe setting is one sentence."""
    settings = {"proto-max-bulk-len": "512mb", "acl-pubsub-default": "allchannels"}
    process = ValkeyProcess(tmp_path, clustered=False, settings=settings).start()
    part = ValkeySlice(process.url, cell)
    client = redis.asyncio.Redis.from_url(process.url)
    await client.execute_command("ACL SETUSER", "default", "on", "nopass")

    findings = " ".join(await part.check_server())

    for word in ("cluster-enabled", "default", "proto-max-bulk-len", "acl-pubsub-default"):
        assert word in findings
    await client.aclose()
    await part.close()
    process.stop()


@pytest.mark.parametrize("url", ["", "http://h", "redis://", "unix:///x", "127.0.0.1:6379"])
def test_bad_url(url: str, cell: CellKey) -> None:
    """A URL of another kind stops the start."""
    with pytest.raises(Misconfigured):
        ValkeySlice(url, cell)


def test_connection_keeps_scheme_and_options(cell: CellKey, fresh: Names, tomorrow: datetime) -> None:
    """TLS and its options reach the sandbox; the control plane's credentials do not."""
    part = ValkeySlice("rediss://root:top-secret@h:7000/0?ssl_ca_certs=/ca.pem", cell, public_host="::1")
    connection = part.connection(fresh, expires_at=tomorrow)

    assert connection["url"].startswith(f"rediss://{fresh.valkey_user}:")
    assert connection["url"].endswith("@[::1]:7000/0?ssl_ca_certs=/ca.pem")
    assert "top-secret" not in str(connection)
    assert "root" not in connection["url"]


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
