"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.security.blocklist import Blocklist
from valhalla.features.security.crowdsec import store
from valhalla.features.security.crowdsec.access import Access, Keys
from valhalla.features.security.crowdsec.cursors import Cursors
from valhalla.work.loops import Loop, loop
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

_KEPT: Final = timedelta(days=90)
_PRUNE: Final = Schedule(
    name="valhalla.prune-crowdsec", job="valhalla.prune-crowdsec", timing=Cron("53 3 * * *"), jitter=60.0
)
_LOOP: Final = loop("crowdsec", 5.0, "notes how far bouncers are", patience=60)
_PATHS: Final = (
    "/v1/decisions",
    "/v1/alerts",
    "/v1/allowlists",
    "/v1/heartbeat",
    "/v1/usage-metrics",
    "/v1/refresh_token",
)


class CrowdSec(Feature):
    """CrowdSec's local API; ``access.authenticate`` is what the gate asks for keys, since agents come with tokens."""

    name: ClassVar[str] = "crowdsec"

    def __init__(self, platform: Platform, blocklist: Blocklist, keys: Keys) -> None:
        """Register the job."""
        self._db, self._now = platform.db, platform.clock.now
        self._blocklist = blocklist
        self._ban = platform.settings.agent_ban
        self.access = Access(keys, platform.cell, platform.clock.now)
        self.cursors = Cursors(platform.db, platform.clock.now)
        self.cursors.beat = partial(platform.beat, _LOOP.name)
        platform.jobs.job(_PRUNE.job, queue="valhalla")(self._prune)

    @staticmethod
    def answers(path: str) -> bool:
        """Say whether a path is of this API, whose own answers tell who has no key."""
        return path.startswith(_PATHS)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/v1/…`` and ``/system/security/crowdsec``."""
        from valhalla.features.security.crowdsec.agents import Agents
        from valhalla.features.security.crowdsec.api import lapi_router, operator_router
        from valhalla.features.security.crowdsec.pulling import Pulls

        keeper = self._blocklist.keeper
        agents = Agents(self._blocklist.feeding, self._now)
        reading = Pulls(self._db, keeper, self._now)
        return (
            lapi_router(self._db, keeper, self.access, reading, self.cursors, agents, self._now, self._ban),
            operator_router(self._db, keeper),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what writes how far bouncers are."""
        return {"crowdsec": self.cursors.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def schedules(self) -> Sequence[Schedule]:
        """Return when old alerts are removed."""
        return (_PRUNE,)

    def status(self) -> Mapping[str, Any]:
        """Return how many bouncers this process knows."""
        return {"bouncers": len(self.cursors)}

    async def _prune(self) -> int:
        """Remove alerts and bouncers of a quarter ago."""
        return await self._db.run(store.prune, self._now() - _KEPT)
