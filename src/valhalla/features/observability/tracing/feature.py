"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.tracing.export import Exporter
from valhalla.features.observability.tracing.recorder import Tracer
from valhalla.features.observability.tracing.service import TraceService
from valhalla.features.observability.tracing.tables import TABLE
from valhalla.kit import partitions
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

_KEEP: Final = "valhalla.span-days"
_WRITING: Final = loop("spans", 5.0, "writes spans", patience=60)
_SENDING: Final = loop("spans-export", 5.0, "sends spans to the collector", patience=60)


class Tracing(Feature):
    """Traces that are worth keeping; ``tracer`` is the way in."""

    name: ClassVar[str] = "tracing"

    def __init__(self, platform: Platform) -> None:
        """Register the job, and be told of jobs that have ended."""
        settings = platform.settings
        self._db = platform.db
        self._clock = platform.clock
        self.exporter: Exporter | None = None
        if settings.otlp_endpoint is not None:
            headers = None if settings.otlp_headers is None else settings.otlp_headers.get_secret_value()
            self.exporter = Exporter(settings.otlp_endpoint, headers=headers, as_protobuf=settings.otlp_protobuf)
        self.tracer = Tracer(platform.db, share=settings.trace_sample, slow=settings.trace_slow, exporter=self.exporter)
        self.tracer.batches.beat = partial(platform.beat, _WRITING.name)
        if self.exporter is not None:
            self.exporter.batches.beat = partial(platform.beat, _SENDING.name)
        self.service = TraceService(platform.db, self.tracer, clock=platform.clock)
        platform.jobs.roots = self.tracer
        platform.jobs.job(_KEEP, queue="valhalla")(self._keep_days)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/traces`` and ``/v1/traces``."""
        from valhalla.features.observability.tracing import api, otlp_api

        return (api.router(self.service), otlp_api.router(self.service))

    def background(self) -> Mapping[str, Run]:
        """Return what writes, and what sends if there is a collector."""
        found: dict[str, Run] = {"spans": self.tracer.batches.run}
        if self.exporter is not None:
            found["spans-export"] = self.exporter.batches.run
        return found

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_WRITING,) if self.exporter is None else (_WRITING, _SENDING)

    def schedules(self) -> Sequence[Schedule]:
        """Return when days are made."""
        return (Schedule(name=_KEEP, job=_KEEP, timing=Cron("13 * * * *"), jitter=60.0),)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        return (_Metrics(self),)

    def status(self) -> Mapping[str, Any]:
        """Return what became of the spans of this process."""
        exported = None if self.exporter is None else self.exporter.batches.counts()
        return {**self.tracer.batches.counts(), "exported": exported}

    async def start(self) -> None:
        """Make the next days."""
        await self._db.run(partitions.ahead, TABLE, self._clock.now())

    async def stop(self) -> None:
        """Close the connections to the collector."""
        if self.exporter is not None:
            await self.exporter.close()

    async def _keep_days(self) -> None:
        """Make the next days; those that are over are retention's."""
        await self._db.run(partitions.ahead, TABLE, self._clock.now())


class _Metrics(Collector):
    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def collect(self) -> Iterator[Metric]:
        stored = self._tracing.tracer.batches.counts()
        yield CounterMetricFamily("valhalla_spans", "Spans written", value=stored["written"])
        yield CounterMetricFamily("valhalla_spans_dropped", "Spans that found no room", value=stored["dropped"])
        if self._tracing.exporter is not None:
            sent = self._tracing.exporter.batches.counts()
            yield CounterMetricFamily("valhalla_spans_exported", "Spans sent to the collector", value=sent["written"])
            yield CounterMetricFamily(
                "valhalla_spans_export_dropped", "Spans that the collector did not take", value=sent["dropped"]
            )
