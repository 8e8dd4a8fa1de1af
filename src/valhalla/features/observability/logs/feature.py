"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.logs.contracts import Level
from valhalla.features.observability.logs.intake import Intake
from valhalla.features.observability.logs.service import LogService
from valhalla.features.observability.logs.tables import TABLE
from valhalla.kit import partitions
from valhalla.kit.log import tap, untap
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

_KEEP: Final = "valhalla.log-days"
_LOOP: Final = loop("logs", 5.0, "writes log lines", patience=60)


class Logs(Feature):
    """Log lines that can be searched; ``intake`` is the way in."""

    name: ClassVar[str] = "logs"

    def __init__(self, platform: Platform) -> None:
        """Register the job."""
        self._db = platform.db
        self._clock = platform.clock
        self._is_on = platform.settings.log_store
        self.stores_access = platform.settings.log_store and platform.settings.log_store_access
        level = cast("Level", platform.settings.log_store_level)
        self.intake = Intake(platform.db, level=level, clock=platform.clock)
        self.intake.batches.beat = partial(platform.beat, _LOOP.name)
        self.service = LogService(platform.db, self.intake, clock=platform.clock)
        platform.jobs.job(_KEEP, queue="valhalla")(self._keep_days)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/logs``."""
        from valhalla.features.observability.logs.api import router

        return (router(self.service),)

    def background(self) -> Mapping[str, Run]:
        """Return what writes."""
        return {"logs": self.intake.batches.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def schedules(self) -> Sequence[Schedule]:
        """Return when days are made."""
        return (Schedule(name=_KEEP, job=_KEEP, timing=Cron("11 * * * *"), jitter=60.0),)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        return (_Metrics(self.intake),)

    def status(self) -> Mapping[str, Any]:
        """Return what became of the lines of this process."""
        return {**self.intake.batches.counts(), "error": self.intake.batches.last_error}

    async def start(self) -> None:
        """Make the next days, and listen to the process's log."""
        await self._db.run(partitions.ahead, TABLE, self._clock.now())
        if self._is_on:
            tap(self.intake.log)

    async def stop(self) -> None:
        """Listen no more."""
        untap(self.intake.log)

    async def _keep_days(self) -> None:
        """Make the next days; those that are over are retention's."""
        await self._db.run(partitions.ahead, TABLE, self._clock.now())


class _Metrics(Collector):
    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def collect(self) -> Iterator[Metric]:
        counts = self._intake.batches.counts()
        yield CounterMetricFamily("valhalla_log_lines", "Log lines written to the store", value=counts["written"])
        yield CounterMetricFamily(
            "valhalla_log_lines_dropped", "Log lines that found no room or could not be stored", value=counts["dropped"]
        )
        yield GaugeMetricFamily("valhalla_log_lines_waiting", "Log lines that wait", value=counts["waiting"])
