"""Alerts as metrics, from memory: a scrape asks no database."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.observability.alerts.intake import Intake
from valhalla.features.observability.alerts.recording import Recorder
from valhalla.features.observability.alerts.watch import Watch
from valhalla.kernel.alerting import SEVERITIES


class AlertMetrics(Collector):
    """What is open in the whole installation, and what this process did with what was raised in it."""

    def __init__(self, intake: Intake, recorder: Recorder, watch: Watch) -> None:
        self._intake = intake
        self._recorder = recorder
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        alerts = GaugeMetricFamily("valhalla_alerts", "Alerts that are not resolved", labels=("status", "severity"))
        for status in ("open", "acknowledged"):
            for severity in SEVERITIES:
                alerts.add_metric((status, severity), self._watch.counts.get((status, severity), 0))
        yield alerts
        yield CounterMetricFamily("valhalla_alerts_raised", "Occurrences raised", value=self._intake.raised)
        yield CounterMetricFamily(
            "valhalla_alerts_overflowed",
            "Occurrences counted in an overflow instead of as themselves",
            value=self._intake.overflowed + self._recorder.overflowed,
        )
        yield CounterMetricFamily(
            "valhalla_alerts_dropped", "Occurrences that could not even be counted", value=self._intake.dropped
        )
        yield CounterMetricFamily("valhalla_alerts_muted", "Occurrences that a rule mutes", value=self._recorder.muted)
