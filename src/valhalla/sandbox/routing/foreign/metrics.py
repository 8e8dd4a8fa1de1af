"""What Prometheus is told of publishers that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from valhalla.sandbox.routing.foreign.feature import EventSources


class SourceMetrics(Collector):
    """What this control plane maps and moves; no label grows with the number of sources or keys."""

    def __init__(self, sources: EventSources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        mapper, hops = self._sources.mapper, self._sources.hops
        yield GaugeMetricFamily(
            "valhalla_source_keys_mapped", "Claimed keys that are mapped", value=sum(map(len, mapper.mapped.values()))
        )
        yield GaugeMetricFamily(
            "valhalla_source_accounts_failing", "Accounts that could not be written", value=len(mapper.faults)
        )
        yield GaugeMetricFamily("valhalla_source_events_waiting", "Mapped events on no lane yet", value=hops.lag)
        yield CounterMetricFamily("valhalla_source_events_moved", "Mapped events put on lanes", value=hops.moved)
        yield CounterMetricFamily("valhalla_source_accounts_pushed", "Accounts written anew", value=mapper.pushed)
