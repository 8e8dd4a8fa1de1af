"""The feature as the composition root sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform
from valhalla.features.operations.deployments.service import DeploymentService
from valhalla.features.operations.deployments.smoke import SmokeService, Suite, rules
from valhalla.features.operations.deployments.smoke.ending import Ending
from valhalla.features.operations.deployments.smoke.face import TICK_JOB, face_of
from valhalla.features.operations.deployments.smoke.remedies import Remedies
from valhalla.features.operations.deployments.smoke.service import RUN_JOB
from valhalla.features.operations.deployments.smoke.undoing import Undoing
from valhalla.kit.outgoing_guard import Reach
from valhalla.kit.registry import Registry
from valhalla.work import JobContext, Retry
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    import httpx
    from fastapi import APIRouter

REGISTRY: Final = "smoke_suites"
_TIDY: Final = Schedule(name="valhalla.tidy-smoke", job="valhalla.tidy-smoke", timing=Cron("11 * * * *"), jitter=60.0)
_LONGEST: Final = 1000.0


class Deployments(Feature):
    """Deployments and smoke tests; ``remedies.offer`` is where another feature says how it is rolled back."""

    name: ClassVar[str] = "deployments"

    def __init__(self, platform: Platform) -> None:
        """Register the registry and the jobs."""
        self._db, self._feed, self._jobs, self._clock = platform.db, platform.feed, platform.jobs, platform.clock
        self.suites: Registry[Suite] = Registry(REGISTRY, Suite, platform.ledger, validate=rules.check_suite)
        platform.feed.add(self.suites)
        self.remedies = Remedies(platform.feed.registry)
        self.service = DeploymentService(
            platform.db, platform.ledger, clock=platform.clock, revisions=self.remedies.revisions
        )
        self._ending = Ending(platform.ledger, clock=platform.clock)
        settings = platform.settings
        self._http: httpx.AsyncClient | None = None
        self.smoke = SmokeService(
            platform.db,
            platform.jobs,
            self.suites,
            self._ending,
            Undoing(platform.db, self.suites, self.remedies),
            clock=platform.clock,
            reach=Reach.of(settings.outgoing_networks, settings.smoke_targets),
            client=self._client,
            secrets=_variables,
        )
        platform.jobs.job(RUN_JOB, queue="valhalla", timeout=_LONGEST, retry=Retry(attempts=3))(self._run)
        platform.jobs.job(TICK_JOB, queue="valhalla")(self._scheduled)
        platform.jobs.job(_TIDY.job, queue="valhalla")(self._tidy)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/deployment``; the paths of smoke tests come before those with an id."""
        from valhalla.features.operations.deployments import api
        from valhalla.features.operations.deployments.smoke import api as smoke

        face = face_of(self.suites, self.smoke.reach, self._jobs)
        return (
            smoke.suites_router(self.smoke, face, self._db, self._feed.refresh),
            smoke.runs_router(self.smoke),
            api.router(self.service, self._clock),
        )

    def schedules(self) -> Sequence[Schedule]:
        """Return when runs are ended that nobody finished."""
        return (_TIDY,)

    def status(self) -> Mapping[str, Any]:
        """Return how much may be tested."""
        return {"smoke_targets": len(self.smoke.reach.bases or ())}

    async def stop(self) -> None:
        """Close the connections to targets."""
        if self._http is not None:
            await self._http.aclose()

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            # httpx and the certificates are loaded by the first run only
            from valhalla.kit.outgoing_guard.transport import guarded_client

            self._http = guarded_client(self.smoke.reach, timeout=60.0, connections=200)
        return self._http

    async def _run(self, run: str, context: JobContext) -> str:
        """Run a smoke suite."""
        return await self.smoke.execute(run, context)

    async def _scheduled(self, suite: str) -> str:
        """Have a smoke suite run that is due."""
        return await self.smoke.scheduled(suite)

    async def _tidy(self) -> int:
        """End what nobody finished; old runs are retention's."""
        return await self._db.run(self._ending.give_up)


def _variables() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("SMOKE_")}
