"""What the Valkey slice makes of a server and its address: restarted, away, not ours, or open to others."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path

import pytest
import redis.asyncio
from tests.isolation.conftest import ValkeyProcess, free_port

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Found, Names
from valhalla.sandbox.slices.valkey import ValkeySlice


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
