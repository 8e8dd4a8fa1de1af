"""The last answers of the checks as gauges; as many series as there are checks, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.kit.checks import Checks


class CheckMetrics(Collector):
    """Gauges over what is known; a scrape asks no check."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        report = self._checks.last()
        yield GaugeMetricFamily("valhalla_ready", "Whether every critical check was well", value=float(report.ok))
        well = GaugeMetricFamily("valhalla_check_ok", "Whether a check was well", labels=("check",))
        seconds = GaugeMetricFamily("valhalla_check_seconds", "How long a check took", labels=("check",))
        age = GaugeMetricFamily("valhalla_check_age_seconds", "How old its evidence is", labels=("check",))
        for result in report.results:
            well.add_metric((result.name,), float(result.ok))
            if result.age is not None:
                seconds.add_metric((result.name,), result.seconds)
                age.add_metric((result.name,), result.age)
        yield well
        yield seconds
        yield age
