"""The feature as the composition root sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.alerts.contracts import Limits
from valhalla.features.observability.alerts.intake import Intake
from valhalla.features.observability.alerts.policy import Policy
from valhalla.features.observability.alerts.recording import Recorder
from valhalla.features.observability.alerts.service import AlertService
from valhalla.features.observability.alerts.silencing import SilenceService
from valhalla.features.observability.alerts.sink import AlertSink
from valhalla.features.observability.alerts.watch import Watch
from valhalla.kernel.problems import Unavailable
from valhalla.kit.outbox import Sink
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

_PRUNE = Schedule(name="valhalla.prune-alerts", job="valhalla.prune-alerts", timing=Cron("23 * * * *"), jitter=60.0)
_LOOP = loop("alerts", 5.0, "writes, escalates and ends alerts")


class Alerts(Feature):
    """Alerts: raised by events, by programs and by code; ``service.raise_`` is the way in for code."""

    name: ClassVar[str] = "alerts"

    def __init__(self, platform: Platform, limits: Limits | None = None) -> None:
        """Register the registries and the job."""
        limits = limits or Limits()
        db, ledger, clock = platform.db, platform.ledger, platform.clock
        self._db = db
        self._feed = platform.feed
        self._clock = clock
        self.policy = Policy(ledger, platform.feed)
        self.intake = Intake(limits)
        self.recorder = Recorder(db, ledger, self.policy, clock=clock, limits=limits)
        self.service = AlertService(db, ledger, self.policy, self.intake, self.recorder, clock=clock)
        self.silences = SilenceService(db, self.policy, self._settled, clock=clock)
        self.watch = Watch(db, ledger, self.policy, self.service, clock=clock)
        self.watch.beat = partial(platform.beat, _LOOP.name)
        platform.jobs.job("valhalla.prune-alerts", queue="valhalla")(self._prune)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/alerts`` and ``/api/v2``; the registries' paths come before those with an id."""
        from valhalla.features.observability.alerts import api, faces
        from valhalla.features.observability.alerts.alertmanager import api as alertmanager
        from valhalla.kit.registry_routes import registry_router

        manager = alertmanager.Alertmanager(self.service, self.silences, self.policy, clock=self._clock)
        return (
            registry_router(faces.rule_face(self.policy), self._db, self._feed.refresh),
            registry_router(faces.subscription_face(self.policy), self._db, self._feed.refresh),
            api.router(self.service, self.silences),
            alertmanager.router(manager),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what writes, escalates and ends."""
        return {"alerts": self.watch.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def schedules(self) -> Sequence[Schedule]:
        """Return when old ones are removed."""
        return (_PRUNE,)

    def sinks(self) -> Sequence[Sink]:
        """Return what makes alerts of events."""
        return (AlertSink(self.recorder),)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        from valhalla.features.observability.alerts.metrics import AlertMetrics

        return (AlertMetrics(self.intake, self.recorder, self.watch),)

    def status(self) -> Mapping[str, Any]:
        """Return what happened to alerts of this process."""
        return {**self.intake.counts(), "error": self.watch.last_error}

    async def stop(self) -> None:
        """Take no more."""
        self.intake.close()

    async def _prune(self) -> int:
        """Remove what was over long ago."""
        return await self.watch.prune() + await self.silences.prune()

    async def _settled(self) -> None:
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await self._feed.refresh()
