"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.failures.recorder import Recorder
from valhalla.features.observability.failures.service import FailureService
from valhalla.version import VERSION
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

_LOOP: Final = loop("failures", 60.0, "writes unexpected errors down", patience=60)


class Failures(Feature):
    """Unexpected errors, grouped; ``recorder`` is the way in."""

    name: ClassVar[str] = "failures"

    def __init__(self, platform: Platform) -> None:
        """Build the recorder and what reads it; what has not happened for long is retention's to remove."""
        self.recorder = Recorder(platform.db, platform.ledger, version=VERSION, clock=platform.clock)
        self.recorder.beat = partial(platform.beat, _LOOP.name)
        self.service = FailureService(platform.db, platform.ledger, clock=platform.clock)

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

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        return (_Metrics(self.recorder),)

    def status(self) -> Mapping[str, Any]:
        """Return what happened in this process."""
        recorder = self.recorder
        return {"recorded": recorder.recorded, "dropped": recorder.dropped, "error": recorder.last_error}


class _Metrics(Collector):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("valhalla_errors", "Unexpected errors", value=self._recorder.recorded)
        yield CounterMetricFamily("valhalla_errors_dropped", "Errors not recorded", value=self._recorder.dropped)
