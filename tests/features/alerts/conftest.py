"""A database, a clock that the test moves, and the feature over both."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.servers import migrated_database

from valhalla.features.contracts import Platform
from valhalla.features.observability.alerts import Alerts, Limits
from valhalla.kernel.clock import Clock
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import Event
from valhalla.kit.outbox.tables import events
from valhalla.kit.settings import Settings
from valhalla.work import Jobs

_numbers = itertools.count(1)


class Moved(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> Iterator[str]:
    """The URL of a migrated database."""
    with migrated_database(servers.superuser_url, "alerts") as url:
        yield url


@pytest.fixture(scope="session")
async def db(migrated: str) -> AsyncIterator[Database]:
    """The database, shared by the tests: each begins with no alerts."""
    database = Database(migrated)
    yield database
    await database.close()


class Scene:
    """The feature, its clock, and what it told."""

    def __init__(self, db: Database, servers: Servers, limits: Limits | None = None) -> None:
        self.db = db
        self.clock = Moved()
        self.feed = Feed(db)
        ledger = Ledger(servers.cell)
        settings = Settings(data_dir=servers.data_dir)
        platform = Platform(settings, servers.cell, self.clock, db, ledger, self.feed, Jobs(), lambda _: None)
        self.feature = Alerts(platform, limits)
        self.service = self.feature.service

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Every event that was emitted, in order."""
        query = sa.select(events.c.type, events.c.data).order_by(events.c.id)
        return [(row.type, row.data) for row in await self.db.read(lambda conn: conn.execute(query).all())]

    async def ledger(self) -> list[tuple[str, str, Any]]:
        """Every entry about the alerts that there are: actor, action, details. Those of other tests stay for ever."""
        query = sa.text(
            "SELECT actor, action, details FROM valhalla.ledger_entries"
            " WHERE kind = 'alert' AND subject IN (SELECT id FROM valhalla.alerts) ORDER BY id"
        )
        return [tuple(row) for row in await self.db.read(lambda conn: conn.execute(query).all())]

    async def count(self, where: str = "true") -> int:
        query = sa.text(f"SELECT count(*) FROM valhalla.alerts WHERE {where}")
        return await self.db.read(lambda conn: conn.execute(query).scalar_one())

    async def deliver(self, *happened: Event) -> None:
        await self.feature.sinks()[0].deliver(happened)

    def event(self, kind: str, **data: Any) -> Event:
        number = next(_numbers)
        subject = kind.replace(".", "-")
        return Event(
            id=number, uid=f"e{number}", subject=subject, type=kind, data=data, correlation_id=None, at=self.clock.now()
        )


async def _empty(db: Database) -> None:
    tables = "alerts, alert_events, events, registry_records, registry_changes, registry_heads"
    known = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'valhalla'")

    def work(conn: sa.Connection) -> None:
        there = set(conn.execute(known).scalars())
        wanted = [f"valhalla.{name.strip()}" for name in tables.split(",") if name.strip() in there]
        conn.execute(sa.text(f"TRUNCATE {', '.join(wanted)}"))

    await db.run(work)


@pytest.fixture
async def scene(db: Database, servers: Servers) -> Scene:
    """An empty installation."""
    await _empty(db)
    return Scene(db, servers)


@pytest.fixture
async def small(db: Database, servers: Servers) -> Scene:
    """One that keeps few alerts apart."""
    await _empty(db)
    return Scene(db, servers, Limits(pending=50, sources=3, opened_per_minute=20, open=30))
