"""HTTP traffic as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from valhalla.features.contracts import Feature, Platform
from valhalla.kit.outbox import Sink
from valhalla.kit.registry import Registry
from valhalla.sandbox.routing.feature import EventRouting
from valhalla.sandbox.routing.http.upstreams.contracts import UPSTREAMS, Upstream
from valhalla.sandbox.routing.http.upstreams.rules import Allowed
from valhalla.sandbox.routing.http.upstreams.service import Upstreams
from valhalla.sandbox.routing.http.webhooks import rules
from valhalla.sandbox.routing.http.webhooks.contracts import Receiver
from valhalla.sandbox.routing.http.webhooks.masking import Masking
from valhalla.sandbox.routing.http.webhooks.receiving import RECEIVERS, Receiving

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

    from valhalla.sandbox.service import SandboxService


class HttpTraffic(Feature):
    """Receivers of webhooks, and upstreams of sandboxes. The proxy itself is a process of its own."""

    name: ClassVar[str] = "http-traffic"

    def __init__(self, platform: Platform, routing: EventRouting) -> None:
        """Register the registries."""
        settings, ledger, feed = platform.settings, platform.ledger, platform.feed
        self._platform = platform
        self.receivers = Registry(RECEIVERS, Receiver, ledger, validate=rules.check)
        feed.add(self.receivers)
        self._masking = Masking(platform.cell)
        self.receiving = Receiving(self.receivers, feed, self._masking, routing.ingress, clock=platform.clock)
        registry = Registry(UPSTREAMS, Upstream, ledger)
        feed.add(registry)
        allowed = Allowed.of(settings.upstream_networks, loopback=settings.is_loopback)
        self.upstreams = Upstreams(platform.db, registry, feed, platform.cell, allowed)

    def compose(self, sandboxes: SandboxService) -> None:
        """Let owners of sandboxes say where their requests go."""
        self.upstreams.sandboxes = sandboxes

    def routers(self) -> Sequence[APIRouter]:
        """Return the routes of receivers, of webhooks and of upstreams."""
        from valhalla.sandbox.routing.http.upstreams.api import router
        from valhalla.sandbox.routing.http.webhooks import api

        platform = self._platform
        return (
            api.registry(self.receivers, self._masking, platform.db, platform.feed),
            api.receiving(self.receiving),
            router(self.upstreams),
        )

    def sinks(self) -> Sequence[Sink]:
        """Return what forgets the upstreams of ended sandboxes."""
        return (self.upstreams,)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        from valhalla.sandbox.routing.http.webhooks.metrics import WebhookMetrics

        return (WebhookMetrics(self.receiving),)

    def status(self) -> Mapping[str, Any]:
        """Return what became of webhooks in this process."""
        return {"webhooks": dict(self.receiving.outcomes)}
