"""The verbs of the NATS slice: each can run twice, and each leaves what it says."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats import errors
from tests.conftest import Servers
from tests.isolation.conftest import eventually
from tests.isolation.nats_client import login

from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Found, Names, Slice
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.nats_admin import open_client
from valhalla.sandbox.slices.nats_rules import NatsLimits


def streams_of(servers: Servers, account: str) -> list[Path]:
    """What JetStream keeps on the disk for an account."""
    return [path for path in (servers.data_dir / "nats").rglob(f"*{account}*/**/*") if path.is_file()]


def test_is_a_slice(nats_slice: NatsSlice) -> None:
    """The class has the protocol's verbs, for the type checker and the reader."""
    checked: Slice = nats_slice

    assert checked.name == "nats"


async def test_life(nats_slice: NatsSlice, servers: Servers, fresh: Names, tomorrow: datetime) -> None:
    """Made, found, working, cut, dropped: twice each, and neither accounts nor streams are left."""
    account = nats_slice.account(fresh).public
    await nats_slice.provision(fresh, expires_at=tomorrow)
    await nats_slice.provision(fresh, expires_at=tomorrow)
    await nats_slice.extend(fresh, expires_at=tomorrow)
    assert (await nats_slice.probe(fresh)).ok
    assert Found("nats", "account", account, fresh.id) in await nats_slice.found()

    client = await login(nats_slice, fresh, tomorrow)
    stream = client.jetstream()
    await stream.add_stream(name="work", subjects=[f"{fresh.subject_prefix}work"])
    await stream.publish(f"{fresh.subject_prefix}work", b"x" * 1000)
    assert streams_of(servers, account)

    await nats_slice.cut(fresh)
    await nats_slice.cut(fresh)
    probe = await nats_slice.probe(fresh)
    assert not probe.ok
    assert "refuses the credentials" in (probe.reason or "")
    assert streams_of(servers, account)

    await nats_slice.drop(fresh)
    await nats_slice.drop(fresh)
    assert not streams_of(servers, account)
    assert list((servers.data_dir / "nats").rglob(f"*{account}*")) == []
    assert fresh.id not in {found.sandbox_id for found in await nats_slice.found()}
    assert not (await nats_slice.probe(fresh)).ok


async def test_cut_ends_live_connections(nats_slice: NatsSlice, fresh: Names, tomorrow: datetime) -> None:
    """Live clients are gone within 100 ms, and creds that are valid for a day do not come back."""
    await nats_slice.provision(fresh, expires_at=tomorrow)
    creds = nats_slice.connection(fresh, expires_at=tomorrow)["creds"]
    clients = [await login(nats_slice, fresh, tomorrow) for _ in range(5)]
    consumer = await clients[0].subscribe(f"{fresh.subject_prefix}>")

    started = time.monotonic()
    await nats_slice.cut(fresh)
    await eventually(lambda: all(client.is_closed for client in clients))

    assert time.monotonic() - started < 5
    with pytest.raises(errors.Error):
        await consumer.next_msg(timeout=0.5)
    with pytest.raises(errors.Error):
        await open_client(nats_slice.connection(fresh, expires_at=tomorrow)["url"], creds)
    # minted after the cut, so newer than a revocation "until now" would reach
    await asyncio.sleep(1.1)
    with pytest.raises(errors.Error):
        await login(nats_slice, fresh, tomorrow)
    await nats_slice.drop(fresh)
    with pytest.raises(errors.Error):
        await login(nats_slice, fresh, tomorrow)


async def test_extension_is_a_new_token(nats_slice: NatsSlice, fresh: Names) -> None:
    """The same user gets a later expiry, in whole seconds that are not after the sandbox's end."""
    soon = datetime.now(UTC) + timedelta(seconds=60)
    ends = (soon, soon + timedelta(days=1))
    tokens = [nats_slice.connection(fresh, expires_at=end)["creds"].split("\n")[1] for end in ends]
    first, second = (natsauth.decode_jwt(token) for token in tokens)

    assert first["sub"] == second["sub"]
    assert second["exp"] - first["exp"] == 86400
    assert 0 <= soon.timestamp() - first["exp"] < 1


async def test_probe_of_a_busy_sandbox(nats_slice: NatsSlice, fresh: Names, tomorrow: datetime) -> None:
    """A sandbox that uses all of its connections is well."""
    await nats_slice.provision(fresh, expires_at=tomorrow)
    clients = [await login(nats_slice, fresh, tomorrow) for _ in range(NatsLimits().connections)]

    probe = await nats_slice.probe(fresh)

    assert probe.ok
    assert "in use" in (probe.reason or "")
    for client in clients:
        await client.close()
    await nats_slice.cut(fresh)
    await nats_slice.drop(fresh)


async def test_remove_an_orphan(nats_slice: NatsSlice, servers: Servers, fresh: Names, tomorrow: datetime) -> None:
    """An orphan goes with its streams and its live connections."""
    await nats_slice.provision(fresh, expires_at=tomorrow)
    client = await login(nats_slice, fresh, tomorrow)
    await client.jetstream().add_stream(name="s", subjects=[f"{fresh.subject_prefix}s"])
    orphan = next(found for found in await nats_slice.found() if found.sandbox_id == fresh.id)

    await nats_slice.remove(orphan)
    await nats_slice.remove(orphan)

    await eventually(lambda: client.is_closed)
    assert list((servers.data_dir / "nats").rglob(f"*{orphan.name}*")) == []
    assert orphan not in await nats_slice.found()


async def test_many_at_once(nats_slice: NatsSlice, cell: CellKey, tomorrow: datetime) -> None:
    """A hundred sandboxes over one system connection, concurrently."""
    many = [Names.for_sandbox(new_id(), cell=cell.cell, database="none") for _ in range(100)]
    await asyncio.gather(*(nats_slice.provision(names, expires_at=tomorrow) for names in many))
    assert {names.id for names in many} <= {found.sandbox_id for found in await nats_slice.found()}
    await asyncio.gather(*(nats_slice.cut(names) for names in many))
    await asyncio.gather(*(nats_slice.drop(names) for names in many))

    assert not {names.id for names in many} & {found.sandbox_id for found in await nats_slice.found()}


async def test_ids_cannot_reach_further(nats_slice: NatsSlice, cell: CellKey, tomorrow: datetime) -> None:
    """A name with a wildcard in it gets neither account nor token, whoever made it."""
    for bad in ("*", ">", "a.b", "", "A" * 16, new_id() + ".>"):
        names = Names.for_sandbox(bad, cell=cell.cell, database="none")
        with pytest.raises(ValueError, match="sandbox id"):
            await nats_slice.provision(names, expires_at=tomorrow)
        with pytest.raises(ValueError, match="sandbox id"):
            nats_slice.connection(names, expires_at=tomorrow)
