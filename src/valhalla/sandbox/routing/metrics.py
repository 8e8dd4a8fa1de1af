"""The metrics of routing; the original's names where it had them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from valhalla.sandbox.routing.feature import EventRouting
    from valhalla.sandbox.routing.ingress import Ingress


def ingress_families(ingress: Ingress) -> Iterator[Metric]:
    """Yield what a process tells of the ingress that it has."""
    outgoing = ingress.outgoing
    for name, documentation, value in (
        ("valhalla_events_routed", "Events published by this process", outgoing.published),
        ("valhalla_events_duplicate", "Events that were stored before", outgoing.duplicates),
        ("valhalla_events_resent", "Events sent again", outgoing.resent),
        ("valhalla_events_mirrored", "Copies for mirrors", outgoing.copies),
        ("valhalla_events_refused", "Events that the stream does not take", outgoing.refused),
    ):
        yield CounterMetricFamily(name, documentation, value=value)
    yield GaugeMetricFamily("valhalla_ingress_live", "Whether the ingress may publish", value=ingress.is_live)
    yield GaugeMetricFamily("valhalla_ingress_waiting", "Events not stored yet", value=len(outgoing))


class RoutingMetrics(Collector):
    """What this process knows of claims, lanes and its own ingress; no label grows with the number of sandboxes."""

    def __init__(self, routing: EventRouting) -> None:
        self._routing = routing

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        routing = self._routing
        yield routing.effects.claim_seconds.family()
        yield routing.publish_seconds.family()
        counters = {
            "valhalla_route_ingresses_fenced": ("Ingresses cut off at a claim", routing.claims.fenced),
            "valhalla_route_claims_refused": ("Claims withdrawn at the barrier", routing.claims.refused),
            "valhalla_routes_repaired": ("Routes that the keeper brought right", routing.keeper.repaired),
            "valhalla_lane_events_trimmed": ("Events over a lane's quota", routing.keeper.trimmed),
            "valhalla_dead_letters": ("Events that lanes gave up", routing.undertaker.buried),
            "valhalla_events_replayed": ("Past and recorded events put onto lanes", routing.injector.injected),
            "valhalla_route_claims_denied": ("Claims that 'route_proofs' denied", routing.proofs.denied),
            "valhalla_route_claims_unproven": ("Claims that nobody answered for", routing.proofs.unanswered),
        }
        if routing.own_ingress is not None:
            yield from ingress_families(routing.own_ingress)
        for name, (documentation, value) in counters.items():
            yield CounterMetricFamily(name, documentation, value=value)
        yield GaugeMetricFamily("valhalla_lanes", "Lanes that are open", value=len(routing.keeper.lanes))
        events = sum(routing.keeper.lanes.values())
        yield GaugeMetricFamily("valhalla_lane_events", "Events in all lanes, as last seen", value=events)
        watch = routing.watch
        yield GaugeMetricFamily("valhalla_lane_unread", "Unacknowledged events in all lanes", value=watch.unread)
        yield GaugeMetricFamily(
            "valhalla_lane_oldest_unread_seconds", "Age of the oldest in lanes that are read", value=watch.oldest
        )
        yield GaugeMetricFamily("valhalla_lanes_lagging", "Lanes that are read and lag", value=watch.lagging)
