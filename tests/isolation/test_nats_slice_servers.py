"""What the NATS slice makes of a server: one that restarts, is away, is not ours, or lacks something."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Servers
from tests.isolation.conftest import NatsProcess, eventually, free_port
from tests.isolation.nats_client import login

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Found, Names
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.nats_rules import NatsLimits


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[NatsProcess]:
    """A server of this test alone."""
    process = NatsProcess(tmp_path, CellKey(secrets.token_bytes(32))).start()
    yield process
    process.stop()


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
