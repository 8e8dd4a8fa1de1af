"""The feature as the composition root sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.maintenance.records import Records
from valhalla.features.operations.maintenance.service import MaintenanceService
from valhalla.features.operations.maintenance.standing import Keeper
from valhalla.features.operations.maintenance.watch import EVERY, Watch
from valhalla.kernel.problems import Unavailable
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

_LOOP: Final = loop("maintenance", EVERY, "tells of maintenance that comes, begins and ends", patience=30)


class Maintenance(Feature):
    """State and windows; ``keeper`` is the gate's shield, and closes the database."""

    name: ClassVar[str] = "maintenance"

    def __init__(self, platform: Platform) -> None:
        """Register the registries, and stand before the database's writes."""
        records = Records(platform.ledger)
        records.follow(platform.feed)
        self._db, self._feed, self._clock = platform.db, platform.feed, platform.clock
        self.keeper = Keeper(platform.feed, clock=platform.clock, notice=platform.settings.maintenance_notice)
        self.service = MaintenanceService(platform.db, records, platform.ledger, clock=platform.clock)
        self.watch = Watch(platform.db, self.keeper, records, platform.ledger, self._settled, clock=platform.clock)
        self.watch.beat = partial(platform.beat, _LOOP.name)
        platform.db.closed = self.keeper.closed

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/maintenance``."""
        from valhalla.features.operations.maintenance.api import state_router, window_router

        return (
            window_router(self.service, self._db, self._feed.refresh, self._clock),
            state_router(self.service, self.keeper, self._db, self._feed.refresh, self._clock),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what tells of it."""
        return {"maintenance": self.watch.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def collectors(self) -> Sequence[Collector]:
        """Return the mode as a metric."""
        from valhalla.features.operations.maintenance.metrics import MaintenanceMetrics

        return (MaintenanceMetrics(self.keeper),)

    def status(self) -> Mapping[str, Any]:
        """Return which mode holds."""
        standing = self.keeper.now()
        return {"mode": standing.mode, "reason": standing.reason, "until": standing.until}

    async def _settled(self) -> None:
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await self._feed.refresh()
