"""The metrics of maintenance."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from valhalla.features.operations.maintenance.rules import MODES
from valhalla.features.operations.maintenance.standing import Keeper


class MaintenanceMetrics(Collector):
    """Which mode holds, as this process sees it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge."""
        now = self._keeper.now().mode
        mode = GaugeMetricFamily("valhalla_maintenance_mode", "1 for the mode that holds", labels=["mode"])
        for each in MODES:
            mode.add_metric([each], float(each == now))
        yield mode
