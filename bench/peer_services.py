"""Two services that keep a pool of ready databases: Valhalla itself, and IntegreSQL where somebody has built it.

IntegreSQL is a Go program: build its ``cmd/server`` and name the file in ``BENCH_INTEGRESQL``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from psycopg import conninfo

from bench import plane
from bench.peer_kinds import Peer, community

READY: Final = 60
_PROGRAM: Final = "BENCH_INTEGRESQL"
_HASH: Final = "bench"


class Valhalla:
    """The client that users have; a sandbox is one request, and has Valkey and NATS too."""

    def __init__(self, data_dir: Path) -> None:
        from valhalla import Client

        self._client = Client(data_dir=data_dir)
        self._names: dict[str, str] = {}

    def get(self) -> str:
        sandbox = self._client.create(template="community", ttl="10m")
        assert sandbox.connection is not None
        assert sandbox.connection.postgres is not None
        dsn = sandbox.connection.postgres.url
        self._names[dsn] = sandbox.id
        return dsn

    def drop(self, dsn: str) -> None:
        self._client.destroy(self._names.pop(dsn))

    def close(self) -> None:
        self._client.close()


@contextmanager
def valhalla() -> Generator[Callable[[], Peer]]:
    """Run a control plane whose pool is full."""
    wanted = {
        "VALHALLA_POOL_SIZE": str(READY),
        "VALHALLA_MAX_SANDBOXES_PER_OWNER": "100000",
        "VALHALLA_ACCESS_LOG": "false",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ |= wanted
    try:
        with plane.folder() as data_dir:
            plane.up(data_dir)
            try:
                time.sleep(READY / 20)
                yield lambda: Valhalla(data_dir)
            finally:
                plane.down(data_dir)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


class IntegreSQL:
    """Its REST interface; what was used is recreated, as its documentation has it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self._ids: dict[str, int] = {}

    def get(self) -> str:
        answer = self._http.get(f"/templates/{_HASH}/tests").raise_for_status().json()
        dsn = _dsn(answer["database"]["config"])
        self._ids[dsn] = answer["id"]
        return dsn

    def drop(self, dsn: str) -> None:
        self._http.post(f"/templates/{_HASH}/tests/{self._ids.pop(dsn)}/recreate").raise_for_status()

    def close(self) -> None:
        self._http.close()


@contextmanager
def integresql(superuser_url: str) -> Generator[Callable[[], Peer]]:
    """Run one with as many ready databases as Valhalla has.

    Raises:
        RuntimeError: it has not been built, or does not start; says why.
    """
    program = os.environ.get(_PROGRAM)
    if not program:
        raise RuntimeError(f"{_PROGRAM} names no program")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = conninfo.conninfo_to_dict(superuser_url)
    environment = {
        "PATH": os.environ["PATH"],
        "INTEGRESQL_ADDRESS": "127.0.0.1",
        "INTEGRESQL_PORT": str(port),
        "INTEGRESQL_PGHOST": str(server["host"]),
        "INTEGRESQL_PGPORT": str(server["port"]),
        "INTEGRESQL_PGUSER": str(server["user"]),
        "INTEGRESQL_PGPASSWORD": str(server.get("password", "")),
        "INTEGRESQL_PGDATABASE": str(server.get("dbname", "postgres")),
        "INTEGRESQL_TEST_INITIAL_POOL_SIZE": str(READY),
        "INTEGRESQL_TEST_MAX_POOL_SIZE": str(READY),
        "INTEGRESQL_LOGGER_LEVEL": "error",
    }
    process = subprocess.Popen([program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/api/v1"
        _prepare(url, process)
        yield lambda: IntegreSQL(url)
    finally:
        process.terminate()
        process.wait(10)


def _prepare(url: str, process: subprocess.Popen[bytes]) -> None:
    with httpx.Client(base_url=url, timeout=60) as http:
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = http.post("/templates", json={"hash": _HASH}).raise_for_status()
                break
            except httpx.HTTPError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"IntegreSQL does not start: {error}") from error
                time.sleep(0.05)
        with psycopg.connect(_dsn(answer.json()["database"]["config"]), autocommit=True) as connection:
            connection.execute(community())
        http.put(f"/templates/{_HASH}").raise_for_status()
        time.sleep(READY / 8)


def _dsn(config: dict[str, Any]) -> str:
    return conninfo.make_conninfo(
        host=config["host"],
        port=config["port"],
        user=config["username"],
        password=config["password"],
        dbname=config["database"],
    )
