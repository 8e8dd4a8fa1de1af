"""Request counts and latencies, kept in plain arrays and exported when scraped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics(Collector):
    """Counts by method and status class: a bounded number of series, whatever clients send."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, method: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        known = method if method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} else "other"
        key = (known, f"{status // 100}xx")
        self._counts[key] = self._counts.get(key, 0) + 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        requests = CounterMetricFamily("valhalla_http_requests", "Finished requests", labels=("method", "status"))
        for (method, status), count in sorted(self._counts.items()):
            requests.add_metric((method, status), count)
        yield requests
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "valhalla_http_request_seconds", "Time to answer", buckets=buckets, sum_value=self._sum
        )
