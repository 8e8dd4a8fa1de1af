"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, ReadinessCheck, Run
from valhalla.features.data.notifications.channels import ChannelService
from valhalla.features.data.notifications.delivering import Deliverer, Outfit
from valhalla.features.data.notifications.masking import Masking
from valhalla.features.data.notifications.policy import Policy
from valhalla.features.data.notifications.rendering import Renderer
from valhalla.features.data.notifications.sealing import sealer
from valhalla.features.data.notifications.service import NotificationService
from valhalla.features.data.notifications.sink import NotificationSink
from valhalla.kit.checks import Verdict
from valhalla.kit.outbox import Sink
from valhalla.kit.outgoing_guard import Reach
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

    from valhalla.features.data.notifications.contracts import Channel
    from valhalla.features.data.notifications.wire import ChannelModel

_PRUNE: Final = Schedule(
    name="valhalla.prune-notifications", job="valhalla.prune-notifications", timing=Cron("41 * * * *"), jitter=60.0
)
_LOOP: Final = loop("notifications", 5.0, "delivers notifications")
_KEPT: Final = timedelta(days=30)
_REMEMBERED: Final = timedelta(hours=1)


class Notifications(Feature):
    """Messages to people and programs; ``service.notify`` writes one in the transaction of its cause."""

    name: ClassVar[str] = "notifications"

    def __init__(self, platform: Platform) -> None:
        """Register the registries and the job."""
        self._platform = platform
        db, ledger, clock = platform.db, platform.ledger, platform.clock
        settings = platform.settings
        reach = Reach.of(settings.outgoing_networks, hosts=settings.outgoing_hosts)
        authorities = None if settings.outgoing_ca_file is None else settings.outgoing_ca_file.read_text()
        self.policy = Policy(ledger, platform.feed)
        self._masking = Masking(sealer(platform.cell), reach)
        self._renderer = Renderer(self.policy.template)
        self._outfit = Outfit(platform.cell, reach, self._renderer, clock=clock, authorities=authorities)
        self.deliverer = Deliverer(db, ledger, self.policy, self._outfit, clock=clock)
        self.deliverer.beat = partial(platform.beat, _LOOP.name)
        self.service = NotificationService(db, ledger, self.policy, clock=clock)
        self.channels = ChannelService(db, ledger, self.policy, self._masking, self._outfit, clock=clock)
        platform.jobs.job(_PRUNE.job, queue="valhalla")(self._prune)

    def stored(self, name: str, model: ChannelModel, before: Channel | None = None) -> Channel:
        """Return a channel as it is stored, of one as clients write it.

        Raises:
            BadChannel: a secret of it has no valid form.
        """
        return self._masking.make(name, model, before)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/notify``."""
        from valhalla.features.data.notifications import api, registry_api

        db, clock, cell = self._platform.db, self._platform.clock, self._platform.cell
        return (
            registry_api.channels_router(self.channels, self.policy, self._masking, self._outfit, cell, db),
            registry_api.rules_router(self.service, self.policy, db, clock),
            registry_api.templates_router(self.policy, self._renderer, db, clock),
            api.router(self.service, self.channels, clock),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what delivers."""
        return {"notifications": self.deliverer.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def readiness(self) -> Sequence[ReadinessCheck]:
        """Return whether notifications are delivered: no reason to send users elsewhere, but one to look."""
        return (
            ReadinessCheck(
                "notifications",
                self._check,
                "notifications are delivered, and every channel works ('valhalla notify status' tells more)",
            ),
        )

    def schedules(self) -> Sequence[Schedule]:
        """Return when old deliveries are removed."""
        return (_PRUNE,)

    def sinks(self) -> Sequence[Sink]:
        """Return what makes deliveries of events."""
        return (NotificationSink(self._platform.db, self.policy, clock=self._platform.clock),)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        from valhalla.features.data.notifications.metrics import NotificationMetrics

        return (NotificationMetrics(self.deliverer, self._renderer),)

    def status(self) -> Mapping[str, Any]:
        """Return whether this process delivers, and what fails."""
        return self.deliverer.status()

    async def stop(self) -> None:
        """Close connections, end children."""
        await self._outfit.close()

    def _check(self) -> Verdict:
        status = self.deliverer.status()
        if status["error"] is not None:
            return Verdict(False, str(status["error"]))
        failing: list[str] = status["failing"]
        if failing:
            return Verdict(False, f"these channels fail: {', '.join(failing[:5])}")
        return Verdict(True, "delivering" if status["leading"] else "standing by")

    async def _prune(self) -> int:
        """Remove what ended long ago."""
        return await self.service.prune(_KEPT, _REMEMBERED)
