"""The use cases of smoke tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments import store as deployments
from valhalla.features.operations.deployments.errors import DeploymentNotFound
from valhalla.features.operations.deployments.smoke import store
from valhalla.features.operations.deployments.smoke.contracts import Attempt, Run, RunFilter, Suite
from valhalla.features.operations.deployments.smoke.ending import Ending
from valhalla.features.operations.deployments.smoke.errors import RunNotFound, SuiteNotFound
from valhalla.features.operations.deployments.smoke.undoing import Undoing
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.outgoing_guard import Reach
from valhalla.kit.registry import Registry
from valhalla.work import JobContext, Jobs, submit

if TYPE_CHECKING:
    import httpx

READ = "deployments:read"
WRITE = "deployments:write"
RUN_JOB = "valhalla.smoke-run"


class SmokeService:
    """Runs suites and keeps what came of them."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        suites: Registry[Suite],
        ending: Ending,
        undoing: Undoing,
        *,
        clock: Clock,
        reach: Reach,
        client: Callable[[], httpx.AsyncClient],
        secrets: Callable[[], Mapping[str, str]],
    ) -> None:
        """``client`` is guarded by ``reach``; ``secrets`` are the variables that headers may name."""
        self._db = db
        self._jobs = jobs
        self._suites = suites
        self._ending = ending
        self.undoing = undoing
        self._clock = clock
        self._client = client
        self._secrets = secrets
        self.reach = reach

    async def request(
        self, principal: Principal, suite: str, *, base_url: str | None = None, deployment: str | None = None
    ) -> Run:
        """Have a suite run, against another declared target if ``base_url`` says so; its verdict is the deployment's.

        Raises:
            SuiteNotFound, DeploymentNotFound: there is none of this name or id.
            TargetRefused: the target is not declared.
        """
        principal.require(WRITE)
        return await self._db.run(self._request, principal.id, suite, base_url, deployment)

    async def scheduled(self, suite: str) -> str:
        """Have a suite run because it is time, unless a run of it goes on; return the run's id."""

        def work(conn: Connection) -> str:
            # a target that has become slow must not be asked by more and more runs at once
            under_way = store.open_run(conn, suite)
            return under_way or self._request(conn, f"schedule:smoke.{suite}", suite, None, None).id

        return await self._db.run(work)

    async def get(self, principal: Principal, run: str) -> tuple[Run, list[Attempt]]:
        """Return a run and every attempt so far.

        Raises:
            RunNotFound: none has this id.
        """
        principal.require(READ)
        found = await self._db.read(store.find, run)
        if found is None:
            raise RunNotFound(f"no smoke run has the id {run[:64]!a}")
        return found, await self._db.read(store.results, run)

    async def page(
        self, principal: Principal, wanted: RunFilter, *, limit: int | None = None, cursor: str | None = None
    ) -> paging.Page[Run]:
        """Return runs that fit, the newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        principal.require(READ)
        return await paging.newest(
            lambda before, size: self._db.read(store.page, wanted, before=before, limit=size),
            lambda run: (run.created_at, run.id),
            limit=limit,
            cursor=cursor,
        )

    async def execute(self, run: str, context: JobContext | None = None) -> str:
        """Run it to its end and return its status; one whose job was interrupted goes on with what is undecided.

        Raises:
            Unavailable: the database cannot be reached; the job tries again.
        """
        # httpx comes with it, and only runs need that
        from valhalla.features.operations.deployments.smoke.runner import Runner

        begun = await self._db.run(self._ending.begin, run)
        if begun is None or begun.status != "running":
            return "gone" if begun is None else begun.status
        suite = msgspec.convert(begun.declared, Suite)
        done = {each.position for each in await self._db.read(store.results, run) if each.last}
        decided = len(done)

        async def report(attempt: Attempt) -> None:
            nonlocal decided
            await self._db.run(store.keep, run, attempt)
            decided += attempt.last
            if context is not None:
                context.progress(decided / begun.total, attempt.name)

        runner = Runner(
            suite, begun.base_url, self._client(), report, now=self._clock.now, secrets=dict(self._secrets())
        )
        await runner.run(done)
        # before the end is written: whoever sees that it failed sees what was done about it
        remedy = await self.undoing.after(run)
        return (await self._db.run(self._ending.finish, run, remedy)).status

    def _request(self, conn: Connection, actor: str, name: str, base_url: str | None, deployment: str | None) -> Run:
        record = self._suites.find(conn, name)
        if record is None:
            raise SuiteNotFound(f"there is no smoke suite {name[:64]!a}", key=ascii(name[:64]))
        suite = record.value
        target = base_url or suite.base_url
        # declared then may be declared no longer
        self.reach.check_url(target)
        if deployment is not None and deployments.find(conn, deployment, lock=True) is None:
            raise DeploymentNotFound(f"no deployment has the id {deployment[:64]!a}")
        run = new_id()
        made = submit(conn, self._jobs, RUN_JOB, {"run": run})
        written = store.insert(
            conn,
            {
                "id": run,
                "suite": name,
                "version": record.version,
                "declared": msgspec.to_builtins(suite),
                "base_url": target,
                "deployment": deployment,
                "status": "queued",
                "actor": actor,
                "job": made.id,
                "created_at": self._clock.now(),
                "total": len(suite.checks),
                "passed": 0,
                "failed": 0,
            },
        )
        if deployment is not None:
            deployments.link(conn, deployment, run, None)
        return written
