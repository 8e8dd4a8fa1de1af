"""How many listen, what they were told, and why streams were ended."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.observability.stream.hub import Hub


class StreamMetrics(Collector):
    """Of this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        yield GaugeMetricFamily("valhalla_streams", "Open streams of live events", value=len(self._hub.listeners))
        yield CounterMetricFamily("valhalla_stream_events", "Events offered to streams", value=self._hub.told)
        ended = CounterMetricFamily("valhalla_streams_ended", "Streams ended from this side", labels=("reason",))
        for reason, count in sorted(self._hub.dropped.items()):
            ended.add_metric((reason,), count)
        yield ended
