"""Request counts and latencies, kept in plain arrays and exported when scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.kit.histogram import Histogram


class HttpMetrics(Collector):
    """Counts by method and status class: a bounded number of series, whatever clients send."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._seconds = Histogram("valhalla_http_request_seconds", "Time to answer")

    def observe(self, method: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        known = method if method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} else "other"
        key = (known, f"{status // 100}xx")
        self._counts[key] = self._counts.get(key, 0) + 1
        self._seconds.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        requests = CounterMetricFamily("valhalla_http_requests", "Finished requests", labels=("method", "status"))
        for (method, status), count in sorted(self._counts.items()):
            requests.add_metric((method, status), count)
        yield requests
        yield self._seconds.family()
