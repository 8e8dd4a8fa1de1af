"""A database, the feature over it, and a target that answers as its paths say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.servers import migrated_database

from valhalla.features.contracts import Platform
from valhalla.features.operations.deployments import Deployments
from valhalla.features.operations.deployments.smoke import Check, Suite
from valhalla.features.operations.deployments.smoke.contracts import Run
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox.tables import events
from valhalla.kit.registry import Registry
from valhalla.kit.settings import Settings
from valhalla.work import Jobs


class Moved(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


class Flag(msgspec.Struct, frozen=True):
    """A record of a registry that a failed suite may change."""

    text: str = "first"
    killed: bool = False


@dataclass
class Target:
    """A server of the internet as it is; ``asked`` counts requests by path."""

    port: int = 0
    asked: Counter[str] = field(default_factory=Counter[str])
    seen: list[bytes] = field(default_factory=list[bytes])
    broken: set[str] = field(default_factory=lambda: {"/broken"})
    body: bytes = b'{"status":"ok","items":[{"n":1},{"n":2}],"token":"x"}'
    busy: int = 0
    most: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.asked[path] += 1
            self.seen.append(head)
            await self._answer(path, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.busy -= 1
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        body, status, more = self.body, "200 OK", ""
        match path:
            case "/hang":
                await asyncio.sleep(60)
            case "/endless":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(b"x" * 4096)
                    await writer.drain()
            case "/drip":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            case "/moved":
                status, more = "302 Found", f"Location: {self.url}/secret\r\n"
            case _ if path in self.broken:
                status = "500 Internal Server Error"
            case "/flaky" if self.asked[path] < 3:
                status = "503 Service Unavailable"
            case "/cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                return
            case "/slow":
                await asyncio.sleep(0.05)
        writer.write(f"HTTP/1.1 {status}\r\nX-App: shop\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """A fresh one."""
    made = Target()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> Iterator[str]:
    """The URL of a migrated database."""
    with migrated_database(servers.superuser_url, "deployments") as url:
        yield url


@pytest.fixture(scope="session")
async def db(migrated: str) -> AsyncIterator[Database]:
    """The database, shared by the tests."""
    database = Database(migrated)
    yield database
    await database.close()


class Scene:
    """The feature and what it told."""

    def __init__(self, db: Database, servers: Servers, target: Target, **settings: Any) -> None:
        self.db, self.target, self.clock, self.feed, self.jobs = db, target, Moved(), Feed(db), Jobs()
        ledger = Ledger(servers.cell)
        defaults = {"outgoing_networks": ["127.0.0.0/8"], "smoke_targets": [target.url]}
        platform = Platform(
            Settings(data_dir=servers.data_dir, **{**defaults, **settings}),
            servers.cell,
            self.clock,
            db,
            ledger,
            self.feed,
            self.jobs,
            lambda _: None,
        )
        self.feature = Deployments(platform)
        self.service, self.smoke = self.feature.service, self.feature.smoke
        self.flags = Registry("flags", Flag, ledger)
        self.feed.add(self.flags)

    async def suite(self, *checks: Check, name: str = "api", **members: Any) -> Suite:
        """Declare a suite."""
        suite = Suite(name, members.pop("base_url", self.target.url), checks, **members)
        await self.db.run(self.feature.suites.put, name, suite, actor="test")
        return suite

    async def run(self, name: str = "api", **how: Any) -> tuple[Run, dict[str, list[Any]]]:
        """Request a run, do what its job does, and return it with its attempts by check."""
        made = await self.smoke.request(SYSTEM, name, **how)
        await self.smoke.execute(made.id)
        run, attempts = await self.smoke.get(SYSTEM, made.id)
        found: dict[str, list[Any]] = {}
        for each in attempts:
            found.setdefault(each.name, []).append(each)
        return run, found

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Every event that was emitted, in order."""
        query = sa.select(events.c.type, events.c.data).order_by(events.c.id)
        return [(row.type, row.data) for row in await self.db.read(lambda conn: conn.execute(query).all())]


async def _empty(db: Database) -> None:
    tables = (
        "deployments, smoke_runs, smoke_results, events, jobs, schedules,"
        " registry_records, registry_changes, registry_heads"
    )
    named = ", ".join(f"valhalla.{name.strip()}" for name in tables.split(","))
    await db.run(lambda conn: conn.execute(sa.text(f"TRUNCATE {named}")))


@pytest.fixture
async def scene(db: Database, servers: Servers, target: Target) -> AsyncIterator[Scene]:
    """An empty installation whose one target is the local server."""
    await _empty(db)
    made = Scene(db, servers, target)
    yield made
    await made.feature.stop()
