"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.alerts import Alerts
from valhalla.features.security.actions import Actions
from valhalla.features.security.blocklist import Blocklist
from valhalla.features.security.dashboard.rolling import Rollups
from valhalla.features.security.dashboard.service import DashboardService, Neighbours
from valhalla.features.security.honeypots import Honeypots
from valhalla.features.security.policies import Policies
from valhalla.kit.paging import Page
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

    from valhalla.features.security.actions.contracts import Asked

_EVERY: Final = 10.0
_PAGE: Final = 200
_LOOP: Final = loop("security-rollups", _EVERY, "adds up what concerns security", patience=60)


class Dashboard(Feature):
    """Looks at its neighbours; keeps rollups for trends."""

    name: ClassVar[str] = "security_dashboard"

    def __init__(
        self,
        platform: Platform,
        alerts: Alerts,
        policies: Policies,
        blocklist: Blocklist,
        honeypots: Honeypots,
        actions: Actions,
    ) -> None:
        """Take the neighbours; nothing is asked of them before somebody looks."""
        self._of = Neighbours(alerts, policies, blocklist, honeypots)
        self.rollups = Rollups(platform.db, self.counted, platform.clock.now, interval=_EVERY)
        self.rollups.beat = partial(platform.beat, _LOOP.name)

        async def listed(cursor: str | None) -> Page[Asked]:
            return await actions.service.desk.list("open", name=None, requester=None, limit=_PAGE, cursor=cursor)

        self.service = DashboardService(platform.db, platform.clock, self._of, listed)

    def counted(self) -> Mapping[str, int]:
        """Return how often each metric happened in this process."""
        of = self._of
        return {
            **of.policies.counters.totals,
            "blocked": of.blocklist.hits.total,
            "policies": sum(tally.matched for tally in of.policies.policing.tallies.values()),
            "honeypots": of.honeypots.recorder.stored,
        }

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/security/dashboard``."""
        from valhalla.features.security.dashboard.api import router

        return (router(lambda: self.service),)

    def background(self) -> Mapping[str, Run]:
        """Return what adds up."""
        return {"security-rollups": self.rollups.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)
