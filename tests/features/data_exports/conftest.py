"""A database with rows in it, and the feature over it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.servers import migrated_database

from valhalla.features.contracts import Platform
from valhalla.features.data.exports import Draft, Export, Exports
from valhalla.features.observability.logs import tables as _logs  # noqa: F401 - the source is there with its table
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.settings import Settings
from valhalla.work import Jobs

ROWS = 2_000
_FILL = sa.text(
    """
    INSERT INTO valhalla.system_logs (at, level, origin, category, message, correlation_id, principal, context)
    SELECT timestamptz '2026-03-01 00:00:00Z' + make_interval(secs => n), CASE WHEN n % 20 = 0 THEN 30 ELSE 20 END,
        'server', 'area-' || n % 5,
        CASE n % 50 WHEN 0 THEN E'quoted "text",\nwith a second line'
            WHEN 1 THEN 'back' || chr(92) || 'slash ' || chr(92) || '. and tab' || chr(9) || '.' ELSE 'order ' || n END,
        CASE WHEN n % 3 = 0 THEN '' WHEN n % 3 = 1 THEN NULL ELSE 'c-' || n END, 'client-' || n % 7,
        jsonb_build_object('n', n, 'text', E'a\\nb "c"')
    FROM generate_series(1, :rows) AS n
    """
)


@pytest.fixture(scope="session")
def exports_url(servers: Servers) -> Iterator[str]:
    """The URL of a database with log lines of one day, and views."""
    with migrated_database(servers.superuser_url, "exports") as url:
        yield url


@pytest.fixture(scope="session")
async def db(exports_url: str) -> AsyncIterator[Database]:
    """The database, shared by the tests; they only read the lines."""
    database = Database(exports_url)

    def fill(conn: Any) -> None:
        conn.execute(
            sa.text(
                "CREATE TABLE valhalla.system_logs_p20260301 PARTITION OF valhalla.system_logs"
                " FOR VALUES FROM ('2026-03-01 00:00:00Z') TO ('2026-03-02 00:00:00Z')"
            )
        )
        conn.execute(_FILL, {"rows": ROWS})
        conn.execute(sa.text("CREATE SCHEMA reporting"))
        conn.execute(
            sa.text(
                "CREATE VIEW reporting.daily AS SELECT id, message, date '2026-03-01' AS day,"
                " 'vh_abcdefgh0123' AS note, 'x' AS password, context FROM valhalla.system_logs"
            )
        )
        conn.execute(sa.text("CREATE VIEW reporting.hidden AS SELECT 1 AS id"))

    await database.run(fill)
    yield database
    await database.close()


class Scene:
    """The feature, its jobs done by hand."""

    def __init__(self, db: Database, servers: Servers, folder: Path, **settings: Any) -> None:
        self.db, self.folder, self.feed, self.jobs = db, folder, Feed(db), Jobs()
        self.ledger = Ledger(servers.cell)
        self.settings = Settings(data_dir=folder, export_views=["reporting.daily(id)", "reporting.gone"], **settings)
        self.feature = Exports(
            Platform(self.settings, servers.cell, Clock(), db, self.ledger, self.feed, self.jobs, lambda _: None)
        )
        self.service = self.feature.service

    async def make(self, source: str = "logs", by: Principal = SYSTEM, **draft: Any) -> Export:
        """Ask for an export, do what its job does, and return it."""
        made = await self.service.request(by, Draft(source, **draft))
        await self.feature.runner.execute(made.id)
        return await self.service.get(by, made.id)

    def read(self, export: Export, number: int = 0) -> bytes:
        """Return a file of it."""
        return (self.folder / "exports" / export.id / export.files[number].name).read_bytes()


@pytest.fixture
def scene(db: Database, servers: Servers, tmp_path: Path) -> Scene:
    """The feature over a data directory of its own."""
    return Scene(db, servers, tmp_path)


MANY = 400_000


@pytest.fixture(scope="module")
async def many(db: Database) -> AsyncIterator[Database]:
    """A day with many lines."""

    def fill(conn: Any) -> None:
        conn.execute(
            sa.text(
                "CREATE TABLE valhalla.system_logs_p20260302 PARTITION OF valhalla.system_logs"
                " FOR VALUES FROM ('2026-03-02 00:00:00Z') TO ('2026-03-03 00:00:00Z')"
            )
        )
        conn.execute(
            sa.text(
                "INSERT INTO valhalla.system_logs (at, level, origin, category, message, principal, context)"
                " SELECT timestamptz '2026-03-02 00:00:00Z' + make_interval(secs => n * 0.1), 20, 'server', 'many',"
                " 'order ' || n || E' was\\npaid', 'client-' || n % 300, jsonb_build_object('n', n)"
                " FROM generate_series(1, :rows) AS n"
            ),
            {"rows": MANY},
        )
        conn.execute(sa.text("ANALYZE valhalla.system_logs_p20260302"))

    patient = Database(db.dsn, statement_timeout=300)
    await patient.run(fill)
    await patient.close()
    yield db
    await db.run(lambda conn: conn.execute(sa.text("DROP TABLE valhalla.system_logs_p20260302")))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server with a bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", f"from moto.server import main; main(['-p', '{port}'])"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.put(f"{url}/exports", timeout=5).status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()
