"""The metrics of policies and of the mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.security.policies.acting import Reactor
from valhalla.features.security.policies.contracts import MODES
from valhalla.features.security.policies.modes import Modes
from valhalla.features.security.policies.policing import Policing


class PolicyMetrics(Collector):
    """What policies did in this process, and which mode holds."""

    def __init__(self, policing: Policing, reactor: Reactor, modes: Modes, heard: Callable[[], int]) -> None:
        self._policing = policing
        self._heard = heard
        self._reactor = reactor
        self._modes = modes

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        outcomes = CounterMetricFamily("valhalla_policy", "What became of policies", labels=("policy", "outcome"))
        for name, tally in sorted(self._policing.tallies.items()):
            for outcome in ("matched", "shadowed", "failed"):
                outcomes.add_metric((name, outcome), getattr(tally, outcome))
        yield outcomes
        level = float(MODES.index(self._modes.mode))
        yield GaugeMetricFamily("valhalla_security_mode", "0 normal, 1 elevated, 2 lockdown", value=level)
        counters = self._policing.counters
        yield GaugeMetricFamily("valhalla_security_addresses", "Addresses that are counted", value=len(counters))
        yield CounterMetricFamily(
            "valhalla_security_counted_elsewhere", "What other processes counted of addresses", value=self._heard()
        )
        yield CounterMetricFamily(
            "valhalla_policy_deeds_dropped", "What policies wanted done and was not", value=self._reactor.dropped
        )
