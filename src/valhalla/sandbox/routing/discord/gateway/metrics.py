"""The metrics of a gateway client: its shards, and its ingress under the names that every ingress has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from valhalla.sandbox.routing.metrics import ingress_families

if TYPE_CHECKING:
    from valhalla.sandbox.routing.discord.gateway.reading import Gateway
    from valhalla.sandbox.routing.ingress import Ingress

_COUNTERS: Final = {
    "events": "Events taken from the gateway",
    "replayed": "Events that came again although they had been taken",
    "gaps": "Numbers of events that never came",
    "refused": "Events that cannot be routed",
    "unkeyed": "Events of neither a guild nor a user",
    "connections": "Connections opened",
    "identifies": "Sessions begun",
    "resumes": "Sessions resumed",
    "zombies": "Connections given up because heartbeats were not acknowledged",
    "held": "Connections given up because the ingress had no room",
}


class GatewayMetrics(Collector):
    """What one process reads; a shard is a label, for there are at most some hundreds in a process."""

    def __init__(self, gateway: Gateway, ingress: Ingress) -> None:
        self._gateway = gateway
        self._ingress = ingress

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        yield from ingress_families(self._ingress)
        totals = self._gateway.totals()
        for name, documentation in _COUNTERS.items():
            yield CounterMetricFamily(f"valhalla_discord_{name}", documentation, value=totals.get(name, 0))
        live = GaugeMetricFamily("valhalla_discord_shard_live", "Whether the shard has its session", labels=["shard"])
        latency = GaugeMetricFamily(
            "valhalla_discord_heartbeat_seconds", "From a heartbeat to its acknowledgement", labels=["shard"]
        )
        unstored = GaugeMetricFamily(
            "valhalla_discord_unstored", "Events taken and not known to be stored", labels=["shard"]
        )
        for shard in self._gateway.shards:
            label = [str(shard.number)]
            live.add_metric(label, shard.state == "live")
            unstored.add_metric(label, len(shard.intake.marks))
            if shard.latency is not None:
                latency.add_metric(label, shard.latency)
        yield from (live, latency, unstored)
