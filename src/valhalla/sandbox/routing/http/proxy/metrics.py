"""What became of requests at the proxy, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from valhalla.sandbox.routing.metrics import ingress_families

if TYPE_CHECKING:
    from valhalla.sandbox.routing.http.proxy.server import Proxy


class ProxyMetrics(Collector):
    """Counts of one process; no label grows with the number of sandboxes."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        proxy = self._proxy
        requests = CounterMetricFamily(
            "valhalla_proxy_requests", "Requests by where they were sent, or why they were refused", labels=("outcome",)
        )
        for outcome, number in list(proxy.counts.items()):
            requests.add_metric((outcome,), number)
        yield requests
        yield proxy.production_seconds.family()
        yield proxy.sandbox_seconds.family()
        yield GaugeMetricFamily("valhalla_proxy_upstreams", "Sandboxes that have one", value=proxy.upstreams)
        yield from ingress_families(proxy.ingress)
