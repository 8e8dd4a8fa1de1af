"""What became of the calls of sandboxes' bots, and what their gateway sent them, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from valhalla.sandbox.routing.metrics import ingress_families

if TYPE_CHECKING:
    from valhalla.sandbox.routing.discord.bots.server import Bots
    from valhalla.sandbox.routing.discord.outbound.lock import Lock
    from valhalla.sandbox.routing.ingress import Ingress


class LockMetrics(Collector):
    """Counts of one process; no label grows with the number of sandboxes."""

    def __init__(self, lock: Lock, ingress: Ingress, bots: Bots) -> None:
        self._lock = lock
        self._ingress = ingress
        self._bots = bots

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        calls = CounterMetricFamily(
            "valhalla_discord_calls", "Calls of sandboxes' bots by outcome", labels=("outcome",)
        )
        for outcome, number in list(self._lock.counts.items()):
            calls.add_metric((outcome,), number)
        yield calls
        yield GaugeMetricFamily(
            "valhalla_discord_bots", "Bots of sandboxes that have a session now", value=self._bots.connected
        )
        told = CounterMetricFamily(
            "valhalla_discord_bots_told", "What the gateway of sandboxes' bots did", labels=("what",)
        )
        for what, number in list(self._bots.shared.counts.items()):
            told.add_metric((what,), number)
        yield told
        yield from ingress_families(self._ingress)
