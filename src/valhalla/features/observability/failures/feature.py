"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.failures import store
from valhalla.features.observability.failures.recorder import Recorder
from valhalla.features.observability.failures.service import FailureService
from valhalla.version import VERSION
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

_PRUNE: Final = Schedule(
    name="valhalla.prune-errors", job="valhalla.prune-errors", timing=Cron("41 * * * *"), jitter=60.0
)
_LOOP: Final = loop("failures", 60.0, "writes unexpected errors down", patience=60)
_KEPT: Final = timedelta(days=90)


class Failures(Feature):
    """Unexpected errors, grouped; ``recorder`` is the way in."""

    name: ClassVar[str] = "failures"

    def __init__(self, platform: Platform) -> None:
        """Register the job."""
        self._db = platform.db
        self.recorder = Recorder(platform.db, platform.ledger, version=VERSION, clock=platform.clock)
        self.recorder.beat = partial(platform.beat, _LOOP.name)
        self.service = FailureService(platform.db, platform.ledger, clock=platform.clock)
        platform.jobs.job("valhalla.prune-errors", queue="valhalla")(self._prune)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/errors``."""
        from valhalla.features.observability.failures.api import router

        return (router(self.service),)

    def background(self) -> Mapping[str, Run]:
        """Return what writes."""
        return {"failures": self.recorder.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def schedules(self) -> Sequence[Schedule]:
        """Return when old ones are removed."""
        return (_PRUNE,)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        return (_Metrics(self.recorder),)

    def status(self) -> Mapping[str, Any]:
        """Return what happened in this process."""
        recorder = self.recorder
        return {"recorded": recorder.recorded, "dropped": recorder.dropped, "error": recorder.last_error}

    async def _prune(self) -> int:
        """Remove what has not happened for long."""
        return await self._db.run(store.prune, _KEPT)


class _Metrics(Collector):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("valhalla_errors", "Unexpected errors", value=self._recorder.recorded)
        yield CounterMetricFamily("valhalla_errors_dropped", "Errors not recorded", value=self._recorder.dropped)
