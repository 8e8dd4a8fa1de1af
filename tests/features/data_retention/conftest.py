"""A database, both features over it, and rows that are as old as a test wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.servers import migrated_database

from valhalla.features.contracts import Platform
from valhalla.features.data.exports import Exports
from valhalla.features.data.retention import Hold, Policy, Retention
from valhalla.features.data.retention.contracts import Purge
from valhalla.features.observability.logs import tables as _logs  # noqa: F401 - the category is there with its table
from valhalla.features.operations.admin.contracts import Done
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kit import partitions
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox.tables import events
from valhalla.kit.settings import Settings
from valhalla.work import Jobs

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
TABLES = "events, system_logs, retention_runs, export_jobs, jobs, registry_records, registry_changes, registry_heads"


class Fixed(Clock):
    """Stands still."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture(scope="session")
def retention_url(servers: Servers) -> Iterator[str]:
    """The URL of a migrated database."""
    with migrated_database(servers.superuser_url, "retention") as url:
        yield url


@pytest.fixture(scope="session")
async def db(retention_url: str) -> AsyncIterator[Database]:
    """The database, shared by the tests."""
    database = Database(retention_url)
    yield database
    await database.close()


class Scene:
    """Both features, their jobs done by hand; ``asked`` is what people would have to agree to."""

    def __init__(self, db: Database, servers: Servers, folder: Path) -> None:
        self.db, self.folder, self.jobs = db, folder, Jobs()
        self.feed, self.ledger = Feed(db), Ledger(servers.cell)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        platform = Platform(
            Settings(data_dir=folder), servers.cell, Fixed(), db, self.ledger, self.feed, self.jobs, lambda _: None
        )
        self.exports = Exports(platform)
        self.feature = Retention(platform, self.exports, ask=self.ask)
        self.service, self.ticking = self.feature.service, self.feature.ticking

    async def ask(
        self, principal: Principal, name: str, arguments: Mapping[str, Any], *, reason: str
    ) -> tuple[str, Done]:
        self.asked.append((name, arguments))
        return "operation", Done("held", None, "a-hold")

    async def policy(self, category: str, **members: Any) -> None:
        await self.db.run(self.feature.policies.put, category, Policy(category, **members), actor="test")

    async def hold(self, name: str, category: str, *conditions: Any, **members: Any) -> None:
        hold = Hold(category, "case 1", tuple(conditions), **members)
        await self.db.run(self.feature.holds.put, name, hold, actor="test")

    async def purge(self, category: str) -> Purge:
        """Ask for a purge, do what its job does, and return it."""
        asked = await self.service.request(SYSTEM, category, reason="test")
        assert asked.purge is not None
        await self.feature.purger.execute(asked.purge.id)
        return await self.service.get(SYSTEM, asked.purge.id)

    async def sent(self, *rows: tuple[str, float | None, Mapping[str, Any]]) -> None:
        """Write events: subject, days since they were sent (None: not yet), data."""
        values = [
            {
                "uid": f"u{number}",
                "subject": subject,
                "type": "test",
                "data": dict(data),
                "at": NOW - timedelta(days=100),
                "sent_at": None if days is None else NOW - timedelta(days=days),
            }
            for number, (subject, days, data) in enumerate(rows)
        ]
        if values:
            await self.db.run(lambda conn: conn.execute(sa.insert(events).inline(), values))

    async def left(self) -> list[str]:
        """Return the subjects of the events that are there."""
        query = sa.select(events.c.subject).where(events.c.type == "test").order_by(events.c.id)
        return list(await self.db.read(lambda conn: conn.scalars(query).all()))

    async def lines(self, *days: int, each: int = 3) -> None:
        """Write log lines so many days ago; each is of a principal of that day."""

        def work(conn: Any) -> None:
            partitions.ensure(conn, "system_logs", {(NOW - timedelta(days=day)).date() for day in days})
            for day in days:
                conn.execute(
                    sa.text(
                        "INSERT INTO valhalla.system_logs (at, level, origin, category, message, principal)"
                        " SELECT :at, 20, 'server', 'test', 'line', 'p' || :day FROM generate_series(1, :each)"
                    ),
                    {"at": NOW - timedelta(days=day), "day": str(day), "each": each},
                )

        await self.db.run(work)

    async def line_days(self) -> dict[str, int]:
        """Return how many lines there are by principal."""
        text = sa.text("SELECT principal, count(*) FROM valhalla.system_logs GROUP BY 1 ORDER BY 1")
        return {row[0]: row[1] for row in await self.db.read(lambda conn: conn.execute(text).all())}

    async def reset(self) -> None:
        def work(conn: Any) -> None:
            conn.execute(sa.text(f"TRUNCATE {', '.join(f'valhalla.{one.strip()}' for one in TABLES.split(','))}"))
            partitions.drop_before(conn, "system_logs", NOW + timedelta(days=30))

        await self.db.run(work)


@pytest.fixture
async def scene(db: Database, servers: Servers, tmp_path: Path) -> AsyncIterator[Scene]:
    """An empty installation."""
    made = Scene(db, servers, tmp_path)
    await made.reset()
    yield made
    await made.feature.stop()
