"""What became of webhooks, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.sandbox.routing.http.webhooks.receiving import Receiving


class WebhookMetrics(Collector):
    """Counts of one process."""

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        webhooks = CounterMetricFamily("valhalla_webhooks", "Webhooks that came, by outcome", labels=("outcome",))
        for outcome, number in self._receiving.outcomes.items():
            webhooks.add_metric((outcome,), number)
        yield webhooks
