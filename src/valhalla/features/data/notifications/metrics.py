"""Notifications as metrics, from memory: kinds and outcomes are few, names of channels stay out of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.data.notifications.delivering import Deliverer
from valhalla.features.data.notifications.rendering import Renderer


class NotificationMetrics(Collector):
    """What this process sent, and how the channels fare that it sends to."""

    def __init__(self, deliverer: Deliverer, renderer: Renderer) -> None:
        self._deliverer = deliverer
        self._renderer = renderer

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        settling = self._deliverer.settling
        tried = CounterMetricFamily("valhalla_notification_attempts", "Attempts to deliver", labels=("kind", "outcome"))
        for (kind, outcome), count in sorted(settling.outcomes.items()):
            tried.add_metric((kind, outcome), count)
        yield tried
        yield CounterMetricFamily(
            "valhalla_notification_attempt_seconds", "Seconds spent on attempts", value=settling.seconds
        )
        yield CounterMetricFamily(
            "valhalla_notification_template_failures",
            "Messages that were sent without their template, which failed",
            value=self._renderer.failures,
        )
        lanes = self._deliverer.lanes.values()
        fares: Counter[str] = Counter(
            "disabled"
            if not lane.channel.enabled
            else "open"
            if lane.circuit.is_open
            else "failing"
            if lane.circuit.failures
            else "well"
            for lane in lanes
        )
        channels = GaugeMetricFamily("valhalla_notification_channels", "Channels by how they fare", labels=("state",))
        for state in ("well", "failing", "open", "disabled"):
            channels.add_metric((state,), fares[state])
        yield channels
        yield GaugeMetricFamily(
            "valhalla_notification_leading", "Whether this process delivers", value=float(self._deliverer.is_leading)
        )
