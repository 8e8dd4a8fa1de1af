"""Two sandboxes on the embedded servers (A attacks, B must not notice), and servers with other settings."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql
from tests.conftest import Servers

from valhalla.embedded.binaries import nats_program, valkey_program
from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.valkey import ValkeySlice


def free_port() -> int:
    """Return a port that was free a moment ago, low enough for the cluster bus at +10000."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55_000:
            return port


async def eventually(check: Callable[[], object], *, within: float = 2.0) -> float:
    """Wait until ``check()`` is true and return the seconds it took."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < within, f"not within {within} s"
        await asyncio.sleep(0.002)
    return time.monotonic() - started


@dataclass
class ValkeyProcess:
    """A server whose settings a test chooses. ``VALKEY_SERVER_BIN`` names another program, such as redis-server."""

    folder: Path
    clustered: bool = True
    settings: dict[str, str] = field(default_factory=dict)
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://admin:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> ValkeyProcess:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": '""',
            "proto-max-bulk-len": "1mb",
            "acl-pubsub-default": "resetchannels",
            "cluster-enabled": "yes" if self.clustered else "no",
        } | self.settings
        lines = [f"{key} {value}" for key, value in settings.items()]
        lines += ["user default off", f"user admin on >{self.password} ~* &* +@all"]
        config = self.folder / "valkey.conf"
        config.write_text("\n".join(lines) + "\n")
        program = os.environ.get("VALKEY_SERVER_BIN") or str(valkey_program())
        self.process = subprocess.Popen([program, str(config)], stdout=subprocess.DEVNULL)
        # a test that fails does not come to stop it
        atexit.register(self.process.kill)
        client = redis.Redis.from_url(self.url)
        for _ in range(500):
            try:
                client.ping()
                break
            except redis.RedisError:
                time.sleep(0.01)
        if self.clustered:
            self._serve_all_slots(client)
        client.close()
        return self

    def _serve_all_slots(self, client: Any) -> None:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 10
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class NatsProcess:
    """A server in operator mode that trusts ``cell``, with settings that a test chooses."""

    folder: Path
    cell: CellKey
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> NatsProcess:
        trust = natsauth.trust(self.cell)
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "operator": trust.operator_jwt,
            "system_account": trust.system_account,
            "resolver": {"type": "full", "dir": str(self.folder / "jwt"), "allow_delete": True},
            "resolver_preload": trust.accounts,
            "jetstream": {"store_dir": str(self.folder / "streams")},
        } | self.settings
        path = self.folder / "nats.conf"
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([str(nats_program()), "-c", str(path)], stderr=log)
        atexit.register(self.process.kill)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.01)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def closed(servers: Servers) -> str:
    """The superuser's URL of a server where no test before has left a database that everybody may enter."""
    with psycopg.connect(servers.superuser_url, autocommit=True) as conn:
        for (name,) in conn.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall():
            conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    return servers.superuser_url


@pytest.fixture(scope="session")
def cell(servers: Servers) -> CellKey:
    """The installation's key."""
    return servers.cell


@pytest.fixture(scope="session")
def valkey_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The administrator's URL of the shared server."""
    if not os.environ.get("VALKEY_SERVER_BIN"):
        yield request.getfixturevalue("servers").endpoints.valkey_url
        return
    process = ValkeyProcess(tmp_path_factory.mktemp("valkey")).start()
    yield process.url
    process.stop()


@pytest.fixture(scope="session")
async def valkey_slice(valkey_url: str, cell: CellKey) -> AsyncIterator[ValkeySlice]:
    """The Valkey slice on the shared server."""
    part = ValkeySlice(valkey_url, cell)
    yield part
    await part.close()


@pytest.fixture(scope="session")
async def nats_slice(servers: Servers, cell: CellKey) -> AsyncIterator[NatsSlice]:
    """The NATS slice on the shared server."""
    assert servers.endpoints.nats_url is not None
    part = NatsSlice(servers.endpoints.nats_url, cell, jwt_dir=servers.endpoints.nats_jwt_dir)
    yield part
    await part.close()


@pytest.fixture(scope="session")
def tomorrow() -> datetime:
    """An expiry that no test reaches."""
    return datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def fresh(cell: CellKey) -> Names:
    """The names of a sandbox that no other test has."""
    return Names.for_sandbox(new_id(), cell=cell.cell, database="none")


@pytest.fixture(scope="module")
def attacker(cell: CellKey) -> Names:
    """The names of sandbox A."""
    return Names.for_sandbox(new_id(), cell=cell.cell, database="none")


@pytest.fixture(scope="module")
def victim(cell: CellKey) -> Names:
    """The names of sandbox B."""
    return Names.for_sandbox(new_id(), cell=cell.cell, database="none")
