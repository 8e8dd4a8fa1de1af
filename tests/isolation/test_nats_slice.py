"""The verbs of the NATS slice: each can run twice, and each leaves what it says."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nats import errors
from tests.conftest import Servers
from tests.isolation.conftest import NatsProcess, eventually, free_port

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Found, Names, Slice
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.nats_admin import open_client
from valhalla.sandbox.slices.nats_rules import NatsLimits


async def login(part: NatsSlice, names: Names, expires_at: datetime) -> Any:
    """A client with the sandbox's own credentials."""
    connection = part.connection(names, expires_at=expires_at)
    return await open_client(connection["url"], connection["creds"], inbox_prefix=connection["inbox_prefix"])


def streams_of(servers: Servers, account: str) -> list[Path]:
    """What JetStream keeps on the disk for an account."""
    return [path for path in (servers.data_dir / "nats").rglob(f"*{account}*/**/*") if path.is_file()]


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[NatsProcess]:
    """A server of this test alone."""
    process = NatsProcess(tmp_path, CellKey(secrets.token_bytes(32))).start()
    yield process
    process.stop()


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


async def test_found_sees_this_cell_only(own: NatsProcess, tomorrow: datetime) -> None:
    """Two cells under one operator see their own sandboxes, and neither sees the standing accounts."""
    cells = [own.cell, CellKey(secrets.token_bytes(32))]
    operator, creds = natsauth.operator_key(own.cell), natsauth.system_creds(own.cell)
    parts = [NatsSlice(own.url, cell, operator=operator, system_creds=creds) for cell in cells]
    names = [Names.for_sandbox(new_id(), cell=cell.cell, database="none") for cell in cells]
    for part, mine in zip(parts, names, strict=True):
        # what a sandbox imports is the control plane's, so that is there first
        await part.push_control_account()
        await part.provision(mine, expires_at=tomorrow)

    for part, mine in zip(parts, names, strict=True):
        assert [found.sandbox_id for found in await part.found()] == [mine.id]
        assert (await part.probe(mine)).ok
        await part.close()


async def test_survives_a_restart(own: NatsProcess, tomorrow: datetime) -> None:
    """Accounts and streams are on the disk; the slice connects again by itself."""
    part = NatsSlice(own.url, own.cell, jwt_dir=own.folder / "jwt")
    names = Names.for_sandbox(new_id(), cell=own.cell.cell, database="none")
    gone = Names.for_sandbox(new_id(), cell=own.cell.cell, database="none")
    for each in (names, gone):
        await part.provision(each, expires_at=tomorrow)
    client = await login(part, names, tomorrow)
    await client.jetstream().add_stream(name="s", subjects=[f"{names.subject_prefix}s"])
    await client.jetstream().publish(f"{names.subject_prefix}s", b"kept")
    await part.cut(gone)

    own.stop()
    await eventually(lambda: client.is_closed)
    started = time.monotonic()
    assert not (await part.ping()).ok
    with pytest.raises(Unavailable):
        await part.cut(gone)
    assert time.monotonic() - started < 10
    own.start()

    assert (await part.ping()).ok
    assert not (await part.probe(gone)).ok, "a cut outlives the server"
    client = await login(part, names, tomorrow)
    assert (await client.jetstream().get_msg("s", 1)).data == b"kept"
    # drop right after a restart, when no client has loaded the account yet
    for each in (names, gone):
        await part.cut(each)
        await part.drop(each)
    assert await part.found() == []
    assert [path for path in (own.folder / "streams").rglob("*") if path.is_file()] == []
    await part.close()


async def test_nothing_is_sent_late(own: NatsProcess, tomorrow: datetime) -> None:
    """What failed while the server was away is not delivered when it returns."""
    part = NatsSlice(own.url, own.cell, timeout=0.5)
    names = Names.for_sandbox(new_id(), cell=own.cell.cell, database="none")
    assert (await part.ping()).ok
    own.stop()
    with pytest.raises(Unavailable):
        await part.provision(names, expires_at=tomorrow)
    own.start()
    await part.ping()
    await asyncio.sleep(0.3)

    assert await part.found() == []
    await part.close()


async def test_every_verb_says_unavailable(cell: CellKey, fresh: Names, tomorrow: datetime) -> None:
    """With no server, verbs raise Unavailable soon and the checks answer why."""
    part = NatsSlice(f"nats://127.0.0.1:{free_port()}", cell)
    started = time.monotonic()
    for call in (
        lambda: part.provision(fresh, expires_at=tomorrow),
        lambda: part.cut(fresh),
        lambda: part.drop(fresh),
        part.found,
        lambda: part.remove(Found("nats", "account", part.account(fresh).public, fresh.id)),
        part.check_server,
    ):
        with pytest.raises(Unavailable) as caught:
            await call()
        assert caught.value.backend == "nats"
    for probe in (await part.ping(), await part.probe(fresh)):
        assert not probe.ok
        assert "cannot be reached" in (probe.reason or "")
    assert time.monotonic() - started < 10
    await part.close()


async def test_a_server_that_hangs_is_unavailable(cell: CellKey, fresh: Names) -> None:
    """A socket that accepts and never answers ends in the time-out, and closing does not hang."""
    hang = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(60), "127.0.0.1", 0)
    part = NatsSlice(f"nats://127.0.0.1:{hang.sockets[0].getsockname()[1]}", cell, timeout=0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        await part.cut(fresh)
    assert not (await part.probe(fresh)).ok
    await part.close()
    assert time.monotonic() - started < 20
    hang.close()


async def test_close_is_quick(nats_slice: NatsSlice, servers: Servers, cell: CellKey) -> None:
    """Nobody waits for anything, twice too."""
    assert servers.endpoints.nats_url is not None
    part = NatsSlice(servers.endpoints.nats_url, cell)
    await part.ping()
    started = time.monotonic()
    await part.close()
    await part.close()

    assert time.monotonic() - started < 5


async def test_wrong_system_creds(servers: Servers, cell: CellKey, fresh: Names) -> None:
    """The reason names the credentials, not the network."""
    assert servers.endpoints.nats_url is not None
    token = natsauth.system_creds(cell).split("\n")[1]
    creds = natsauth.creds_file(token, natsauth.KeyPair.derive(cell, "user", "somebody else"))
    part = NatsSlice(servers.endpoints.nats_url, cell, system_creds=creds)
    with pytest.raises(Unavailable, match="refuses the credentials"):
        await part.cut(fresh)
    await part.close()


async def test_an_operator_that_is_not_trusted(servers: Servers, cell: CellKey) -> None:
    """The start is refused with what the server said."""
    assert servers.endpoints.nats_url is not None
    stranger = natsauth.operator_key(CellKey(secrets.token_bytes(32)))
    part = NatsSlice(servers.endpoints.nats_url, cell, operator=stranger)
    with pytest.raises(Misconfigured):
        await part.check_server()
    await part.close()


async def test_check_server(nats_slice: NatsSlice, servers: Servers) -> None:
    """The embedded server is as it must be, and the check leaves nothing."""
    assert servers.endpoints.nats_jwt_dir is not None
    before = await nats_slice.found()
    # of control planes that are not told where the files are
    deleted = set(servers.endpoints.nats_jwt_dir.glob("*.deleted"))
    findings = await nats_slice.check_server()

    assert [finding for finding in findings if not finding.startswith("JetStream has room")] == []
    assert await nats_slice.found() == before
    assert set(servers.endpoints.nats_jwt_dir.glob("*.deleted")) <= deleted


@pytest.mark.parametrize("lacking", ["jetstream", "deletion"])
async def test_check_server_names_what_lacks(tmp_path: Path, lacking: str) -> None:
    """A server without JetStream, or one that keeps accounts for ever, is refused at the start."""
    settings: dict[str, Any] = {
        "jetstream": {"jetstream": None},
        "deletion": {"resolver": {"type": "full", "dir": str(tmp_path / "jwt")}},
    }[lacking]
    process = NatsProcess(tmp_path, CellKey(secrets.token_bytes(32)), settings).start()
    part = NatsSlice(process.url, process.cell)
    with pytest.raises(Misconfigured):
        await part.check_server()
    await part.close()
    process.stop()


async def test_room_for_jetstream(tmp_path: Path, tomorrow: datetime) -> None:
    """A server gives JetStream to as many live accounts as their limits fit in; the check says how many."""
    room = {
        "max_memory_store": 2 * NatsLimits().memory,
        "max_file_store": 2**40,
        "store_dir": str(tmp_path / "streams"),
    }
    process = NatsProcess(tmp_path, CellKey(secrets.token_bytes(32)), {"jetstream": room}).start()
    part = NatsSlice(process.url, process.cell)
    (finding,) = await part.check_server()
    assert "2 sandboxes" in finding

    many = [Names.for_sandbox(new_id(), cell=process.cell.cell, database="none") for _ in range(3)]
    for names in many:
        await part.provision(names, expires_at=tomorrow)
    probes = [await part.probe(names) for names in many]
    assert [probe.ok for probe in probes] == [True, True, False]
    assert "no room" in (probes[-1].reason or "")

    # a push after others have gone gives it back; one within the same second is the same token and changes nothing
    await asyncio.sleep(1)
    await part.cut(many[0])
    await part.drop(many[0])
    await part.provision(many[2], expires_at=tomorrow)
    assert (await part.probe(many[2])).ok
    await part.close()
    process.stop()


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
