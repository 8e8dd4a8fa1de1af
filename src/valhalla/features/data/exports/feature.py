"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection

from valhalla.features.contracts import Feature, Platform
from valhalla.features.data.exports import store
from valhalla.features.data.exports.contracts import Export
from valhalla.features.data.exports.life import Life
from valhalla.features.data.exports.running import Dumps, Runner
from valhalla.features.data.exports.service import JOB, ExportService
from valhalla.features.data.exports.signing import Signer
from valhalla.features.data.exports.sources import Sources
from valhalla.features.data.exports.storage import MANIFEST, Bucket, Local, bucket
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger
from valhalla.work import JobContext, Queue, Retry
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

log = get_logger("exports")
QUEUE: Final = Queue(name="exports", concurrency=2)
_TIDY: Final = Schedule(name="valhalla.tidy-exports", job="valhalla.tidy-exports", timing=Cron("19 * * * *"), jitter=60)
_ATTEMPTS: Final = 6
_LONGEST: Final = 86_400.0
# of an export that lives something is heard with every piece of its rows
_SILENT: Final = timedelta(hours=2)
_ORPHANED: Final = 3600.0


class Exports(Feature):
    """Data in files; ``dumps`` is put in place by who has sandboxes, ``held`` by who knows of legal holds."""

    name: ClassVar[str] = "exports"

    def __init__(self, platform: Platform) -> None:
        """Register the jobs."""
        settings = platform.settings
        self._db, self._clock, self._settings = platform.db, platform.clock, settings
        self._feed = platform.feed
        self._local = Local(settings.data_dir / "exports")
        self._bucket: Bucket | None = None
        self._life = Life(platform.ledger, clock=platform.clock, kept=settings.exports_kept)
        self.runner = Runner(
            platform.db, self._life, self._local, lambda: self._bucket, most_bytes=settings.export_max_mb * 2**20
        )
        self.service = ExportService(
            platform.db,
            platform.jobs,
            Sources(platform.feed, settings.export_views),
            self._life,
            clock=platform.clock,
            signer=Signer(platform.cell),
            local=self._local,
            bucket=lambda: self._bucket,
            registries=lambda: platform.feed.names,
        )
        self.held: Callable[[Connection], str | None] = lambda _: None
        """Says in the transaction which exports must stay, as a condition over the alias ``t``."""
        self._ended: dict[str, int] = {"completed": 0, "failed": 0}
        self._rows = 0
        platform.jobs.queues.setdefault(QUEUE.name, QUEUE)
        platform.jobs.job(JOB, queue=QUEUE.name, timeout=_LONGEST, retry=Retry(attempts=_ATTEMPTS, cap=60.0))(self._run)
        platform.jobs.job(_TIDY.job, queue="valhalla", timeout=600.0)(self.tidy)

    @property
    def dumps(self) -> Dumps | None:
        """Who can write down what a sandbox holds."""
        return self.runner.dumps

    @dumps.setter
    def dumps(self, value: Dumps) -> None:
        self.runner.dumps = value

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/exports`` and the addresses of downloads."""
        from valhalla.features.data.exports.api import router

        return (router(self.service),)

    def schedules(self) -> Sequence[Schedule]:
        """Return when files whose time is over are removed."""
        return (_TIDY,)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        return (_Metrics(self._ended, lambda: self._rows),)

    async def start(self) -> None:
        """Load the client of the storage, if one is set: an installation without it must not start."""
        self._bucket = await asyncio.to_thread(bucket, self._settings)

    async def _run(self, export: str, context: JobContext) -> str:
        """Make an export."""
        status = await self.runner.execute(export, progress=context.progress, last_attempt=context.attempt >= _ATTEMPTS)
        self._ended[status] = self._ended.get(status, 0) + 1
        found = await self._db.read(store.find, export)
        self._rows += 0 if found is None or status != "completed" else found.rows
        return status

    async def tidy(self) -> int:
        """Remove files whose time is over, end what no job will finish, sweep folders that no export has."""
        now = self._clock.now()
        for export in await self._db.read(store.silent, now - _SILENT):
            await self._give_up(export)
        gone = 0
        for export in await self._db.run(lambda conn: store.expiring(conn, now, self.held(conn))):
            await self.remove(export)
            gone += 1
        await self._sweep()
        return gone

    async def remove(self, export: Export) -> None:
        """Remove the files of an export; the row stays and says so."""
        if export.store == "s3" and self._bucket is not None:
            await self._bucket.clear(export.id, [*(file.name for file in export.files), MANIFEST])
        await asyncio.to_thread(self._local.clear, export.id)
        await self._db.run(self._life.remove, export, SYSTEM.id)

    async def _give_up(self, export: Export) -> None:
        error = {"code": "export-abandoned", "detail": "nothing was heard of it for two hours"}
        try:
            await self._db.run(self._life.end, export.id, "failed", SYSTEM.id, error)
        except Problem as problem:
            log.info("an export ended by itself", export=export.id, code=problem.code)
            return
        await asyncio.to_thread(self._local.clear, export.id)

    async def _sweep(self) -> None:
        # by the machine's clock, as the folders' own times are
        there = await asyncio.to_thread(self._local.there)
        old = [id_ for id_, at in there if time.time() - at > _ORPHANED]
        known = await self._db.read(store.known, old) if old else set[str]()
        for id_ in set(old) - known:
            await asyncio.to_thread(self._local.clear, id_)

    def status(self) -> Mapping[str, Any]:
        """Return what became of the exports of this process."""
        return dict(self._ended)


class _Metrics(Collector):
    def __init__(self, ended: Mapping[str, int], rows: Callable[[], int]) -> None:
        self._ended = ended
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("valhalla_exports", "Exports that ended in this process", labels=["status"])
        for status, count in self._ended.items():
            family.add_metric([status], count)
        yield family
        yield CounterMetricFamily("valhalla_export_rows", "Rows of completed exports", value=self._rows())
