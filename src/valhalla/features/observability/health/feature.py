"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, ReadinessCheck, Run
from valhalla.features.observability.health import store, ways
from valhalla.features.observability.health.contracts import Phase
from valhalla.features.observability.health.metrics import CheckMetrics
from valhalla.features.observability.health.sampler import EVERY, Sampler
from valhalla.features.observability.health.trips import Trip
from valhalla.features.observability.health.watch import Watch
from valhalla.kernel.problems import Unavailable
from valhalla.kit.checks import Checks, Verdict
from valhalla.work.loops import Loop, loop, place_of
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

_PRUNE: Final = "valhalla.prune-metrics"
_EVERY: Final = 30.0
_WITHIN: Final = 5.0
# evidence of the slowest way, missed once
_OLDEST: Final = 90.0
_SAMPLING: Final = loop("health-sampler", EVERY, "counts what there is", patience=30)
_WATCHING: Final = loop("health-watch", 5.0, "tells when readiness goes and comes back", patience=30)


class Health(Feature):
    """Readiness from evidence, and the numbers of the last days."""

    name: ClassVar[str] = "health"

    def __init__(self, platform: Platform) -> None:
        """Register the jobs; who composes further adds checks to ``checks`` and sets ``sampler.numbers``."""
        self._db = platform.db
        self._jobs = platform.jobs
        self._source = place_of(platform.settings.data_dir)
        self._clock = platform.clock
        self.phase: Phase = "starting"
        # readiness is public: of what nobody foresaw only the kind is told
        self.checks = Checks(max_age=_OLDEST, messages=False)
        self.sampler = Sampler(platform.db, self._source, clock=platform.clock)
        self.watch = Watch(platform.db, self.checks, self._source, phase=lambda: self.phase, clock=platform.clock)
        self.sampler.beat = partial(platform.beat, _SAMPLING.name)
        self.watch.beat = partial(platform.beat, _WATCHING.name)
        self.heard: ways.Heard = _nobody
        self._trips = {
            "work": Trip(self._job, what="a job", every=_EVERY, within=_WITHIN),
            "events": Trip(self._event, what="an event", every=_EVERY, within=_WITHIN),
        }
        platform.jobs.job(ways.JOB, queue="valhalla")(ways.nothing)
        platform.jobs.job(_PRUNE, queue="valhalla")(self._prune)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/health`` and its history."""
        from valhalla.features.observability.health.api import router

        return (router(self._db, self.checks, self.sampler, self._clock),)

    def background(self) -> Mapping[str, Run]:
        """Return the sampler, the watch over readiness, and the ways that are tried."""
        return {
            "health-sampler": self.sampler.run,
            "health-watch": self.watch.run,
            **{f"health-{name}": trip.run for name, trip in self._trips.items()},
        }

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_SAMPLING, _WATCHING)

    def readiness(self) -> Sequence[ReadinessCheck]:
        """Return where in its life it is, and the ways that are tried."""
        return (
            ReadinessCheck("start", self._serving, _HELP["start"], critical=True, timeout=1.0),
            *(ReadinessCheck(name, trip.check, _HELP[name], timeout=_WITHIN + 1) for name, trip in self._trips.items()),
        )

    def schedules(self) -> Sequence[Schedule]:
        """Return what keeps the samples few."""
        return (Schedule(name=_PRUNE, job=_PRUNE, timing=Cron("19 * * * *"), jitter=60.0),)

    def collectors(self) -> Sequence[Collector]:
        """Return the checks' gauges."""
        return (CheckMetrics(self.checks),)

    def status(self) -> Mapping[str, Any]:
        """Return where in its life it is."""
        return {"phase": self.phase}

    async def stop(self) -> None:
        """Be ready no more."""
        self.phase = "stopping"
        self.checks.close()

    async def _serving(self) -> Verdict:
        return Verdict(self.phase == "serving", None if self.phase == "serving" else f"it is {self.phase}")

    async def _job(self) -> None:
        await ways.job(self._db, self._jobs, self._source)

    async def _event(self) -> None:
        await ways.event(self._db, self._source, self.heard)

    async def _prune(self) -> int:
        """Remove what killed processes left of their checks; old samples are retention's."""
        return await self._db.run(store.forget_marks, older_than=timedelta(hours=1))


async def _nobody(_subject: str) -> Mapping[str, Any] | None:
    raise Unavailable("nats", "nobody listens at the other end")


_HELP: Final = {
    "start": "It takes requests when its start has finished, and none when it stops: wait, or ask another one.",
    "work": "A job does not get through: see the heartbeats, and that a worker runs (worker_jobs, or another control"
    " plane).",
    "events": "Events wait in the outbox and are delivered when NATS takes them; see the logs for its reason.",
}
