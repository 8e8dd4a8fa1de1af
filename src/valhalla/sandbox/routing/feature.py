"""Live events as the composition root sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.kit import natsauth, natstls
from valhalla.kit.histogram import Histogram
from valhalla.kit.outgoing_guard import Reach
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.dead import Undertaker
from valhalla.sandbox.routing.effects import Routing
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.injecting import Injector
from valhalla.sandbox.routing.keeper import Keeper
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.proofs import Proofs
from valhalla.sandbox.routing.reading import Reader
from valhalla.sandbox.routing.watching import Watch
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

    from valhalla.sandbox.service import SandboxService

_KEEPING: Final = loop("route-keeper", 10.0, "brings routes of live events to what the registry says", patience=60)

_BURYING: Final = loop("dead-letters", 2.0, "keeps events that sandboxes could not work on", patience=60)


class EventRouting(Feature):
    """Claims, lanes, and the control plane's own ingress, which joins when it is first needed."""

    name: ClassVar[str] = "routing"

    def __init__(self, platform: Platform, url: str, nats: NatsSlice) -> None:
        """Build it; nothing is connected yet."""
        settings = platform.settings
        self._url = url
        self._creds = natsauth.control_creds(platform.cell)
        self.tls = natstls.of(settings)
        self._sizes = Sizes(
            max_bytes=settings.events_mb * 2**20,
            max_age=settings.events_kept,
            per_sandbox=settings.events_per_sandbox,
            lane_bytes=settings.events_mb_per_sandbox * 2**20,
            when_full=settings.events_when_full,
        )
        self.claims = Claims(
            url,
            self._creds,
            nats.close_connection,
            barrier=settings.events_barrier.total_seconds(),
            tls=self.tls,
        )
        self.effects = Routing(platform.db, self.claims, laggards=settings.events_laggards)
        self.watch = Watch(
            platform.db,
            self.claims,
            platform.clock,
            patience=settings.events_lag,
            quota=settings.events_per_sandbox,
            byte_quota=self._sizes.lane_bytes,
        )
        self.keeper = Keeper(platform.db, self.claims, self.effects, self._sizes, self.watch)
        self.watch.weight = self.keeper.scales.weight
        self.keeper.beat = partial(platform.beat, _KEEPING.name)
        self.undertaker = Undertaker(self.claims)
        self.undertaker.tell = self.watch.dead
        self.undertaker.beat = partial(platform.beat, _BURYING.name)
        self.reader = Reader(self.claims)
        self.injector = Injector(self.claims, self.reader, self.effects)
        self.proofs = Proofs(
            settings.route_proofs,
            reach=Reach.of(settings.outgoing_networks),
            seconds=settings.route_proof_timeout.total_seconds(),
            secret=None if settings.route_proof_secret is None else settings.route_proof_secret.get_secret_value(),
        )
        self.publish_seconds = Histogram(
            "valhalla_events_publish_seconds", "From a request's events until all of them are stored"
        )
        self.draining = asyncio.Event()
        self._ingress: Ingress | None = None
        self._joining = asyncio.Lock()
        self._sandboxes: SandboxService | None = None

    def compose(self, sandboxes: SandboxService) -> SandboxService:
        """Let the use cases of sandboxes take effect here."""
        self._sandboxes = sandboxes
        sandboxes.routing = self.effects
        sandboxes.proof = self.proofs
        sandboxes.lanes = self.watch
        sandboxes.teardown.release_routes = self.effects.ended
        return sandboxes

    async def ingress(self) -> Ingress:
        """Return the control plane's own ingress.

        Raises:
            Unavailable: it cannot join.
        """
        async with self._joining:
            if self._ingress is None:
                ingress = Ingress(self._url, self._creds, name="plane", tls=self.tls)
                try:
                    await ingress.start()
                except BaseException:
                    await ingress.stop(patience=0)
                    raise
                self._ingress = ingress
        return self._ingress

    def routers(self) -> Sequence[APIRouter]:
        """Return the routes of events."""
        from valhalla.sandbox.routing import api, replay_api

        assert self._sandboxes is not None
        return (api.router(self._sandboxes, self), replay_api.router(self._sandboxes, self))

    def background(self) -> Mapping[str, Run]:
        """Keep routes as the registry has them, and what lanes gave up."""
        return {"route-keeper": self.keeper.run, "dead-letters": self.undertaker.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_KEEPING, _BURYING)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics of routing."""
        from valhalla.sandbox.routing.metrics import RoutingMetrics

        return (RoutingMetrics(self),)

    def status(self) -> Mapping[str, Any]:
        """Say how the own ingress is."""
        return {"joined": self._ingress is not None, "lanes": len(self.keeper.lanes)}

    @property
    def own_ingress(self) -> Ingress | None:
        """The control plane's own ingress, if anybody has published."""
        return self._ingress

    async def start(self) -> None:
        """Make the streams.

        Raises:
            Unavailable: JetStream does not take them.
        """
        link = await Link.open(self._url, self._creds, name="valhalla streams", tls=self.tls)
        try:
            await streams.ensure(link, self._sizes)
        finally:
            await link.close()

    def drain(self) -> None:
        """End what clients follow."""
        self.draining.set()

    async def stop(self) -> None:
        """Say goodbye: no claim waits for this ingress."""
        if self._ingress is not None:
            await self._ingress.stop()
        self.proofs.close()
        await self.claims.close()
