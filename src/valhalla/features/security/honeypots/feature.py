"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.clients import Clients
from valhalla.features.security.honeypots import rules
from valhalla.features.security.honeypots.contracts import Decoy, Honeypot
from valhalla.features.security.honeypots.recording import Recorder
from valhalla.features.security.honeypots.rules import Bait
from valhalla.features.security.honeypots.service import HoneypotService
from valhalla.features.security.honeypots.stock import STOCK
from valhalla.features.security.honeypots.tables import TABLE
from valhalla.features.security.honeypots.trap import EVERY, Trap
from valhalla.features.security.policies import Policies
from valhalla.kit import partitions
from valhalla.kit.changes import Snapshot
from valhalla.kit.registry import Put, Registry
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

HONEYPOTS: Final = "honeypots"
DECOYS: Final = "decoys"
_KEEP: Final = "valhalla.honeypot-days"
_LOOP: Final = loop("honeypots", EVERY, "writes what decoys caught", patience=30)


class Honeypots(Feature):
    """Sensors and decoys; ``trap`` is the gate's, policies decide what follows."""

    name: ClassVar[str] = "honeypots"

    def __init__(self, platform: Platform, clients: Clients, policies: Policies) -> None:
        """Register the registries and the job, and listen for keys that are nobody's."""
        db, ledger, feed, clock = platform.db, platform.ledger, platform.feed, platform.clock
        self._db, self._feed, self._clock = db, feed, clock
        self.honeypots: Registry[Honeypot] = Registry(HONEYPOTS, Honeypot, ledger, validate=rules.check_honeypot)
        self.decoys: Registry[Decoy] = Registry(DECOYS, Decoy, ledger, validate=rules.check)
        feed.add(self.honeypots)
        feed.add(self.decoys)
        self.recorder = recorder = Recorder(db, ledger, policies.on_caught, policies.reactor.performed, clock=clock)
        self.service = HoneypotService(
            db, self.honeypots, self.decoys, clients.service, recorder, feed.refresh, clock=clock
        )
        sensors = feed.view(HONEYPOTS, _by_client)
        self.service.by_client = lambda: sensors.value
        self.trap = Trap(feed.view(DECOYS, _bait), recorder, self.service.settled, clock=clock)
        self.trap.noted = partial(policies.counters.note, "decoys")
        self.trap.beat = partial(platform.beat, _LOOP.name)
        clients.unknown = self.trap.key_used
        platform.jobs.job(_KEEP, queue="valhalla")(self._keep_days)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/security/honeypots`` and ``/system/security/decoys``."""
        from valhalla.features.security.honeypots.api import decoy_router, honeypot_router

        settle = self._feed.refresh
        return (honeypot_router(self.service, self._db, settle), decoy_router(self.service, self._db, settle))

    def background(self) -> Mapping[str, Run]:
        """Return what writes what decoys caught."""
        return {"honeypots": self.trap.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def schedules(self) -> Sequence[Schedule]:
        """Return when days are made."""
        return (Schedule(name=_KEEP, job=_KEEP, timing=Cron("37 * * * *"), jitter=60.0),)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        return (_Metrics(self.trap),)

    def status(self) -> Mapping[str, Any]:
        """Return what became of what touched decoys in this process."""
        return {"touches": self.trap.touches, "dropped": self.trap.dropped}

    async def start(self) -> None:
        """Make the next days, and give a new control plane the decoys that it begins with."""
        await self._db.run(partitions.ahead, TABLE, self._clock.now())
        if self._feed.snapshot(DECOYS).revision == 0:
            await self._db.run(self._stock)
            await self._feed.refresh()

    def _stock(self, conn: Connection) -> None:
        # of several processes that start at once one writes
        if self.decoys.lock(conn) == 0:
            puts = [Put(decoy.name, decoy, 0) for decoy in STOCK]
            self.decoys.bulk(conn, puts, actor="system", reason="what a control plane begins with")

    async def _keep_days(self) -> None:
        """Make the next days; those that are over are retention's."""
        await self._db.run(partitions.ahead, TABLE, self._clock.now())


class _Metrics(Collector):
    def __init__(self, trap: Trap) -> None:
        self._trap = trap

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("valhalla_decoy_touches", "Requests that touched a decoy", value=self._trap.touches)
        yield CounterMetricFamily(
            "valhalla_decoy_touches_dropped",
            "Touches that found no room or could not be stored",
            value=self._trap.dropped,
        )


def _by_client(snapshot: Snapshot[Honeypot]) -> Mapping[str, Honeypot]:
    return {record.value.client_id: record.value for record in snapshot.records.values()}


def _bait(snapshot: Snapshot[Decoy]) -> Bait:
    return Bait(record.value for record in snapshot.records.values())
