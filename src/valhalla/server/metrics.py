"""The control plane's own gauges. A scrape costs two queries at most every two seconds, a request costs none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection

from valhalla.kernel.problems import Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import LIFECYCLE
from valhalla.server.numbers import Counts, numbers
from valhalla.version import VERSION

_FRESH: Final = 2.0
_PATIENCE: Final = 2.0
_MOST: Final = 100_000
# both read partial indexes that hold only what waits; the limit bounds a backlog that has run away
_WAITING: Final = sa.text(
    f"""
    SELECT (SELECT count(*) FROM (SELECT FROM valhalla.events WHERE sent_at IS NULL LIMIT {_MOST}) AS e),
           (SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM valhalla.events
             WHERE sent_at IS NULL ORDER BY id LIMIT 1),
           (SELECT count(*) FROM (SELECT FROM valhalla.ledger_entries WHERE seq IS NULL LIMIT {_MOST}) AS l)
    """  # noqa: S608 - a constant of ours
)


class PlaneMetrics(Collector):
    """Gauges over one runtime; those from the database are left out while there is nothing fresh to say."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._counts: Counts | None = None
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def render(self) -> bytes:
        """Return the exposition of everything, whether the database answers or not."""
        await self._refresh()
        return generate_latest(self._runtime.metrics) + generate_latest(self._registry)

    async def numbers(self) -> Mapping[str, float]:
        """Return what one sample of the health's history holds: about twenty numbers."""
        await self._refresh()
        return numbers(self._runtime, self._counts)

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() - self._asked >= _FRESH:
                self._asked = time.monotonic()
                self._counts = await self._count()

    async def _count(self) -> Counts | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                sandboxes = await self._runtime.sandboxes.counts()
                events, oldest, unsealed = await self._runtime.db.read(_waiting)
        except (Unavailable, TimeoutError):
            return None
        return Counts(time.monotonic(), sandboxes, events, oldest, unsealed)

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        yield InfoMetricFamily("valhalla_build", "The running release", {"version": VERSION})
        counts = self._counts
        yield _gauge("valhalla_database_up", "Whether the last count reached the database", counts is not None)
        if counts is not None:
            by_status = GaugeMetricFamily("valhalla_sandboxes", "Sandboxes by status", labels=("status",))
            for status in LIFECYCLE.transitions:
                if status != "destroyed":
                    by_status.add_metric((status,), counts.sandboxes.get(status, 0))
            yield by_status
            yield _gauge("valhalla_events_waiting", f"Undelivered events ({_MOST} at most)", counts.events)
            yield _gauge("valhalla_events_oldest_seconds", "Age of the oldest of them", counts.oldest_event)
            yield _gauge(
                "valhalla_ledger_unsealed", f"Ledger entries outside the chain ({_MOST} at most)", counts.unsealed
            )
        feed = self._runtime.feed.status()
        yield _gauge(
            "valhalla_feed_stale_seconds", "Since when changes are not heard; 0 while they are", feed["stale_for"] or 0
        )
        yield _gauge("valhalla_feed_ok", "Whether every snapshot follows its registry", feed["ok"])
        revisions = GaugeMetricFamily("valhalla_registry_revision", "The snapshot's revision", labels=("registry",))
        for registry, revision in feed["revisions"].items():
            revisions.add_metric((registry,), revision)
        yield revisions
        yield _gauge(
            "valhalla_reaper_ok", "Whether the reaper's last run succeeded", self._runtime.reaper.last_error is None
        )
        yield CounterMetricFamily(
            "valhalla_quota_exceeded", "Sandboxes ended by the watchdog", value=self._runtime.watchdog.exceeded
        )
        upkeep = self._runtime.upkeep
        yield CounterMetricFamily("valhalla_catalog_vacuums", "Vacuums of system catalogs", value=upkeep.vacuums)
        yield CounterMetricFamily("valhalla_catalog_vacuum_seconds", "Their duration", value=upkeep.seconds)
        yield _gauge("valhalla_catalog_dead_rows", "Dead rows in the catalogs worth a vacuum", upkeep.dead)
        yield self._runtime.sandboxes.teardown.cut_seconds.family()
        yield from self._pool()

    def _pool(self) -> Iterator[Metric]:
        """Yield the pool's gauges; without a pool there are none."""
        filler = self._runtime.sandboxes.filler
        if not filler.enabled:
            return
        slots = GaugeMetricFamily("valhalla_pool_slots", "Slots of the pool", labels=("template", "state"))
        for template, level in filler.pool.items():
            for state, count in (("target", level.target), ("ready", level.ready), ("building", level.building)):
                slots.add_metric((template, state), count)
        yield slots
        yield _gauge("valhalla_pool_ok", "Whether the filler's last run succeeded", filler.last_error is None)
        claims = CounterMetricFamily("valhalla_pool_claims", "Creations by where they came from", labels=("from",))
        claims.add_metric(("pool",), filler.stock.claimed)
        claims.add_metric(("line",), filler.stock.missed)
        yield claims


def _waiting(conn: Connection) -> tuple[int, float, int]:
    events, oldest, unsealed = conn.execute(_WAITING).one()
    return events, max(0.0, oldest or 0.0), unsealed


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))
