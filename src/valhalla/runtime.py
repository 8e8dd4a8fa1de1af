"""The composition root: settings → stores → services → background parts, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from valhalla import backing
from valhalla.embedded import Endpoints
from valhalla.features.catalogue import Catalogue
from valhalla.features.contracts import Platform
from valhalla.features.operations.clients import IssuedKey
from valhalla.gate import HttpMetrics
from valhalla.guard.plane import GuardedActions, RequestDesk
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit import migrate, natsauth
from valhalla.kit.bus import EventBus
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger, Sealer
from valhalla.kit.load import Load
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import Dispatcher, NatsSink
from valhalla.kit.settings import Settings
from valhalla.kit.writing import upkeep
from valhalla.sandbox.arenas import ArenaKeeper
from valhalla.sandbox.contracts import Limits
from valhalla.sandbox.pool import PoolSettings
from valhalla.sandbox.quarantine import Quarantine
from valhalla.sandbox.quota import QuotaLimits, Watchdog
from valhalla.sandbox.reaper import Reaper
from valhalla.sandbox.routing.discord.outbound.feature import DiscordBots
from valhalla.sandbox.routing.feature import EventRouting
from valhalla.sandbox.routing.foreign.feature import EventSources
from valhalla.sandbox.routing.http.feature import HttpTraffic
from valhalla.sandbox.service import SandboxService
from valhalla.sandbox.snapshots import SnapshotService
from valhalla.sandbox.snapshots.dumping import Dumper
from valhalla.sandbox.teardown import Timing
from valhalla.sandbox.templates import Snapshots, Templates
from valhalla.sandbox.upkeep import Upkeep
from valhalla.work import Jobs, schedules
from valhalla.work.background import Background
from valhalla.work.loops import Beating, Loop, loop, place_of

_log = get_logger("runtime")


class Runtime:
    """One running control plane. Several can live in one process; nothing is module-level state."""

    def __init__(self, settings: Settings, cell: CellKey, endpoints: Endpoints, *, clock: Clock | None = None) -> None:
        """Compose everything; nothing is connected yet."""
        self.settings = settings
        self.cell = cell
        self.clock = clock or Clock()
        self.endpoints = endpoints
        # nothing that it is asked takes a second: one that went silent is not waited for longer than a caller would
        self.db = Database(backing.database_url(settings, cell, endpoints), statement_timeout=10.0)
        self.ledger = Ledger(cell)
        self.feed = Feed(self.db)
        # what runs here is the control plane's own; a program's jobs run in 'valhalla worker'
        self.jobs = Jobs()
        platform = Platform(settings, cell, self.clock, self.db, self.ledger, self.feed, self.jobs, self._beat)
        # rows of guarded actions in our own Postgres; programs that use the same schema have their holds decided here
        self.guard = GuardedActions(platform)
        self.backends = backing.backends(settings, cell, endpoints)
        self.routing = EventRouting(platform, backing.nats_url(settings, endpoints), self.backends.nats)
        self.traffic = HttpTraffic(platform, self.routing)
        self.bots = DiscordBots(platform, lambda: self.sandboxes)
        self.sources = EventSources(platform, backing.nats_url(settings, endpoints), self.routing, self.backends.nats)
        self.quarantine = Quarantine(platform)
        self.features = Catalogue.build(
            platform, self.guard, self.routing, self.sources, self.traffic, self.bots, self.quarantine
        )
        self._join()
        self.load = Load()
        timing = Timing(settings.lease, settings.orphan_grace)
        self.sandboxes = self.routing.compose(
            SandboxService(
                self.db,
                self.backends,
                self.ledger,
                cell,
                templates=Templates(
                    settings.templates_dir or settings.data_dir / "templates",
                    Snapshots(settings.snapshots_dir or settings.data_dir / "snapshots"),
                ),
                limits=Limits(settings.default_ttl, settings.max_ttl, settings.max_sandboxes_per_owner),
                timing=timing,
                clock=self.clock,
                pool=PoolSettings(
                    templates=tuple(settings.pool_templates),
                    size=settings.pool_size,
                    most=settings.pool_most,
                    rate=settings.pool_rate,
                    rush=settings.pool_rush,
                ),
                load=self.load,
            )
        )
        self.traffic.compose(self.sandboxes)
        self.quarantine.compose(self.sandboxes)
        snapshots = self.sandboxes.templates.snapshots
        assert snapshots is not None
        keeper = self.features.maintenance.keeper
        self.sandboxes.filler.paused = lambda: keeper.closed() is not None
        self.snapshots = SnapshotService(
            self.db, self.ledger, self.sandboxes, snapshots, most=settings.snapshot_mb * 2**20, clock=self.clock
        )
        self.features.exports.dumps = Dumper(self.snapshots, self.features.clients.find_principal)
        self.arenas = ArenaKeeper(self.db, self.backends.postgres, size=settings.arena_size, clock=self.clock)
        quotas = QuotaLimits(
            objects=settings.quota_objects,
            postgres_bytes=settings.quota_postgres_mb * 2**20,
            valkey_keys=settings.quota_valkey_keys,
            valkey_bytes=settings.quota_valkey_mb * 2**20,
        )
        self.watchdog = Watchdog(self.db, self.backends, self.sandboxes.teardown, quotas, clock=self.clock)
        self.upkeep = Upkeep(self.backends.postgres, clock=self.clock)
        self.reaper = Reaper(
            self.db,
            self.backends,
            self.ledger,
            self.sandboxes.teardown,
            clock=self.clock,
            timing=timing,
            interval=settings.reap_interval,
            arenas=self.arenas,
            watchdog=self.watchdog,
            upkeep=self.upkeep,
        )
        self.bus = EventBus(backing.nats_url(settings, endpoints), natsauth.control_creds(cell), tls=self.routing.tls)
        sinks = [sink for feature in self.features for sink in feature.sinks()]
        self.dispatcher = Dispatcher(self.db, [NatsSink(self.bus.jetstream), *sinks], load=self.load)
        self.dispatcher.roots = self.features.tracing.tracer
        self.sealer = Sealer(self.db, self.ledger)
        self.work = Background(
            self.db,
            self.jobs,
            concurrency=settings.worker_jobs,
            clock=self.clock,
            place=place_of(settings.data_dir),
            loops=[*self._loops(), *(one for feature in self.features for one in feature.loops())],
        )
        self.http_metrics = HttpMetrics()
        self.metrics = CollectorRegistry()
        self.metrics.register(self.http_metrics)
        for feature in self.features:
            for collector in feature.collectors():
                self.metrics.register(collector)
            for one in feature.readiness():
                self.features.health.checks.register(
                    one.name, one.check, critical=one.critical, timeout=one.timeout, cache=one.cache, help=one.help
                )
        self.findings: list[str] = []
        self.first_admin: IssuedKey | None = None
        self._stop = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def _join(self) -> None:
        """Let features know what they ask of each other."""
        clients, smoke = self.features.clients, self.features.deployments.smoke
        who: Callable[[str], Principal | None] = lambda name: (  # noqa: E731
            smoke.undoing.find_principal(name) or clients.find_principal(name)
        )
        self.guard.holds.owner_of = clients.owner_of
        executor = self.guard.executor(who)
        valkey = backing.valkey_url(self.settings, self.endpoints)
        self.features.policies.sharing.through(valkey, self.cell.cell)
        self.features.policies.reactor.hold = self.guard.passes(self.features.policies.grant)
        self.features.admin.compose(
            self.features, executor, [action for feature in self.features for action in feature.admin_actions()]
        )
        self.features.actions.compose(
            self.features.admin.service,
            RequestDesk(self.guard.holds, executor),
            who,
            lambda: self.features.policies.modes.mode,
        )

    async def start(self, keep_admin_key: Callable[[str], None]) -> None:
        """Bring the stores up to date, load the snapshots, start the background parts.

        ``keep_admin_key`` stores the key of a first start.

        Raises:
            Misconfigured: a backend cannot do what is needed; says which and why.
            Unavailable: a backend cannot be reached.
        """
        # what begins here goes on while users' writes are closed
        with upkeep():
            await self._start(keep_admin_key)

    async def _start(self, keep_admin_key: Callable[[str], None]) -> None:
        if self.settings.database_url is None:
            assert self.endpoints.postgres_superuser_url is not None
            await backing.ensure_bootstrapped(self.endpoints.postgres_superuser_url, self.db.dsn, self.cell)
        if await self.db.run(migrate.needs_upgrade):
            await asyncio.to_thread(migrate.upgrade_blocking, self.db.dsn)
        _, *findings = await asyncio.gather(
            self.feed.start(),
            self.arenas.start(),
            self.backends.valkey.check_server(),
            self.backends.nats.check_server(),
        )
        self.findings = [line for lines in findings for line in lines]
        if self.settings.nats_url is not None:
            await self.backends.nats.push_control_account()
        await self.reaper.restore_users()
        self.first_admin = await self.features.clients.service.first_admin(keep_admin_key)
        await self.feed.refresh()
        for feature in self.features:
            await feature.start()
        for schedule in (one for feature in self.features for one in feature.schedules()):
            await self.db.run(schedules.put, self.jobs, schedule)
        for name, work in (
            ("reaper", self.reaper.run(self._stop)),
            ("valkey", self.backends.valkey.watch.run(self._stop, self.reaper.restore_users)),
            ("filler", self.sandboxes.filler.run(self._stop)),
            ("sealer", self.sealer.run(self._stop)),
            ("dispatcher", self.dispatcher.run(self._stop)),
            *((name, run(self._stop)) for feature in self.features for name, run in feature.background().items()),
        ):
            self.tasks.append(asyncio.ensure_future(work))
            self.tasks[-1].set_name(name)
        self.tasks += self.work.start(self._stop)
        self.features.health.phase = "serving"

    @property
    def is_draining(self) -> bool:
        """Whether it was told to stop."""
        return self.features.health.phase == "stopping"

    def drain(self) -> None:
        """Be not ready from now on, while requests are still answered: balancers send no new ones."""
        self.features.health.phase = "stopping"
        for feature in self.features:
            feature.drain()

    async def stop(self) -> None:
        """Finish what is under way, then close every connection. Safe to call after a failed start."""
        with upkeep():
            await self._finish()

    async def _finish(self) -> None:
        self.drain()
        self._stop.set()
        await self.sandboxes.close()
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=5)
            for task in late:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        for feature in reversed(list(self.features)):
            await feature.stop()
        await self.feed.stop()
        for part in (self.bus, self.backends.nats, self.backends.valkey, self.backends.postgres, self.db):
            await part.close()

    def _beat(self, name: str) -> None:
        self.work.beat(name)

    def _loops(self) -> list[Loop]:
        """Let every part beat for itself, under a name of its own."""
        interval, filler = self.settings.reap_interval.total_seconds(), self.sandboxes.filler
        reaping = loop("reaper", interval, "ends what has expired, sweeps what nobody owns", patience=60)
        watching = loop("watchdog", interval, "ends sandboxes that are over their quota", patience=60)
        parts: list[tuple[Beating, Loop]] = [
            (self.reaper, reaping),
            (self.watchdog, watching),
            (self.sealer, loop("sealer", 1.0, "chains and signs the ledger")),
            (self.dispatcher, loop("dispatcher", 5.0, "delivers events")),
            (self.feed, loop("feed", 5.0, "follows changes of every registry")),
        ]
        if filler.enabled:
            parts.append((filler, loop("filler", 5.0, "keeps the pool of sandboxes filled", patience=60)))
        for part, described in parts:
            part.beat = partial(self._beat, described.name)
        return [described for _, described in parts]

    def services(self) -> dict[str, Any]:
        """Say where each backend is, without credentials."""
        return backing.services(self.settings, self.endpoints, self.backends)
