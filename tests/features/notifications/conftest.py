"""A database of its own and a deliverer over it, for what takes its time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.features.notifications.receiver import Receiver, receiving
from tests.servers import migrated_database

from valhalla.features.contracts import Platform
from valhalla.features.data.notifications import Channel, Notifications, Rule, Template
from valhalla.features.data.notifications.contracts import Attempt, Delivery, Item
from valhalla.features.data.notifications.wire import ChannelModel
from valhalla.features.observability.alerts import Alerts
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import Event
from valhalla.kit.outbox.tables import events
from valhalla.kit.settings import Settings
from valhalla.work import Jobs

_numbers = itertools.count(1_000_000)


class Scene:
    """The feature over a database, its deliverer running while the test does."""

    def __init__(self, db: Database, servers: Servers, clock: Clock | None = None, **settings: Any) -> None:
        self.db = db
        self.clock = clock or Clock()
        self.feed = Feed(db)
        ledger = Ledger(servers.cell)
        found = Settings(data_dir=servers.data_dir, **({"outgoing_networks": ["127.0.0.0/8"]} | settings))
        platform = Platform(found, servers.cell, self.clock, db, ledger, self.feed, Jobs(), lambda _: None)
        # its subscriptions name channels
        self.alerts = Alerts(platform)
        self.feature = Notifications(platform)
        self.service = self.feature.service
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.feature.deliverer.run(self._stop))

    async def end(self) -> None:
        self._stop.set()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    async def channel(self, name: str, **members: Any) -> Channel:
        model = ChannelModel.model_validate(members)
        record = await self.db.read(self.feature.policy.channels.find, name)
        value = self.feature.stored(name, model, None if record is None else record.value)
        await self.db.run(lambda conn: self.feature.policy.channels.put(conn, name, value, actor="test"))
        await self.feed.refresh()
        return value

    async def hook(self, name: str, receiver: Receiver, **members: Any) -> Channel:
        return await self.channel(name, kind="webhook", webhook={"url": receiver.url}, **members)

    async def rule(self, name: str, *channels: str, **members: Any) -> None:
        rule = Rule(name, channels, **members)
        await self.db.run(lambda conn: self.feature.policy.rules.put(conn, name, rule, actor="test"))
        await self.feed.refresh()

    async def template(self, name: str, body: str, **members: Any) -> None:
        template = Template(name, body, **members)
        await self.db.run(lambda conn: self.feature.policy.templates.put(conn, name, template, actor="test"))
        await self.feed.refresh()

    async def send(self, channel: str, title: str = "It broke", **members: Any) -> str:
        item = Item("notification.message", self.clock.now(), members.pop("severity", "error"), title, members)
        return (await self.service.send(SYSTEM, channel, item)).id

    async def happen(self, kind: str = "alert.opened", **data: Any) -> None:
        """Let an event be delivered to the sink, as the dispatcher does."""
        number = next(_numbers)
        event = Event(number, f"e{number}", "test.subject", kind, data, None, self.clock.now())
        [sink] = self.feature.sinks()
        await sink.deliver([event])
        await sink.deliver([event])

    async def find(self, delivery: str) -> tuple[Delivery, list[Attempt]]:
        return await self.service.get(SYSTEM, delivery)

    async def until(self, delivery: str, *wanted: str, seconds: float = 30.0) -> tuple[Delivery, list[Attempt]]:
        async with asyncio.timeout(seconds):
            while True:
                found, tries = await self.find(delivery)
                if found.status in wanted:
                    return found, tries
                await asyncio.sleep(0.02)

    async def listed(self, **wanted: Any) -> list[Delivery]:
        from valhalla.features.data.notifications.contracts import Filter

        return list((await self.service.page(SYSTEM, Filter(**wanted), limit=200)).items)[::-1]

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Every event that was emitted, in order."""
        query = sa.select(events.c.type, events.c.data).order_by(events.c.id)
        return [(row.type, row.data) for row in await self.db.read(lambda conn: conn.execute(query).all())]


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> Iterator[str]:
    """The URL of a migrated database."""
    with migrated_database(servers.superuser_url, "notifications") as url:
        yield url


@pytest.fixture
async def scene(migrated: str, servers: Servers) -> AsyncIterator[Scene]:
    """A scene without records and messages, whose deliverer runs."""
    db = Database(migrated)
    tables = (
        "notification_deliveries, notification_attempts, notification_channels, notification_events, events,"
        " registry_records, registry_changes, registry_heads"
    )
    await db.run(lambda conn: _empty(conn, tables))
    made = Scene(db, servers)
    await made.feed.start()
    await made.start()
    yield made
    await made.end()
    await made.feature.stop()
    await made.feed.stop()
    await db.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who listens."""
    async with receiving() as found:
        yield found


def _empty(conn: sa.Connection, tables: str) -> None:
    known = set(conn.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'valhalla'")))
    wanted = [f"valhalla.{name}" for each in tables.split(",") if (name := each.strip()) in known]
    conn.execute(sa.text(f"TRUNCATE {', '.join(wanted)}"))
