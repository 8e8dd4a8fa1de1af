"""The blocklist's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.security.blocklist.hits import Hits
from valhalla.features.security.blocklist.keeping import Keeper


class BlocklistMetrics(Collector):
    """How many rules, how much was refused, how far behind."""

    def __init__(self, keeper: Keeper, hits: Hits, expired: Callable[[], int]) -> None:
        self._keeper = keeper
        self._hits = hits
        self._expired = expired

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        index = self._keeper.index
        rules = GaugeMetricFamily("valhalla_blocklist_rules", "Rules of the blocklist", labels=["action"])
        rules.add_metric(["block"], len(index.blocked))
        rules.add_metric(["allow"], len(index.allowed))
        yield rules
        yield CounterMetricFamily("valhalla_blocklist_refused", "Requests refused", value=self._hits.total)
        yield CounterMetricFamily("valhalla_blocklist_expired", "Rules swept", value=self._expired())
        yield GaugeMetricFamily("valhalla_blocklist_behind", "Changes not read yet", value=self._keeper.behind)
