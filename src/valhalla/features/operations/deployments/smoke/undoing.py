"""Does what suites declare for their failure: through the guard, once for each run; or says what that would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments import store as deployments
from valhalla.features.operations.deployments.smoke import store
from valhalla.features.operations.deployments.smoke.contracts import GOVERNED, Guarded, Order, Run, Suite
from valhalla.features.operations.deployments.smoke.ending import failing_of
from valhalla.features.operations.deployments.smoke.errors import NothingToUndo, RunNotFound, SuiteNotFound
from valhalla.features.operations.deployments.smoke.remedies import Remedies, told
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.registry import Registry

_ACTOR: Final = "smoke:"
# whoever declared a remedy had to hold its scope, and a run executes no other
_SCOPES: Final = frozenset({"operations:write", "deployments:write", *GOVERNED.values()})


class Undoing:
    """Suites and their runs, as far as they change other things."""

    def __init__(self, db: Database, suites: Registry[Suite], remedies: Remedies) -> None:
        self._db = db
        self._suites = suites
        self._remedies = remedies
        self.guarded: Guarded | None = None
        """How the admin API executes it; without one nothing stands between a failure and its remedy."""

    def find_principal(self, name: str) -> Principal | None:
        """Return as whom a suite acts (``smoke:<suite>``), None for anybody else's name."""
        return Principal(name, name, _SCOPES, kind="system") if name.startswith(_ACTOR) else None

    async def after(self, run: str) -> Mapping[str, Any] | None:
        """Do what a failing run declares; return what its record says of that, None where there is nothing to do.

        Raises:
            Unavailable: the database cannot be reached; the same call may come again, and does it once.
        """
        order = await self._db.read(self._failing, run)
        if order is None:
            return None
        who = Principal(order.actor, order.actor, _SCOPES, kind="system")
        try:
            if self.guarded is None:
                return await self.undo(who, order.reason, run=run)
            return await self.guarded(who, {"run": run}, order.reason, order.key)
        except Unavailable:
            raise
        except Problem as problem:
            return {**told(order), "done": False, "why": problem.detail, "code": problem.code}

    async def undo(
        self,
        principal: Principal,
        reason: str,
        *,
        run: str | None = None,
        suite: str | None = None,
        dry_run: bool = False,
    ) -> Mapping[str, Any]:
        """Do what a failed ``run`` declares, or a ``suite`` as it is now; a dry run leaves nothing behind.

        Raises:
            RunNotFound, SuiteNotFound, NothingToUndo: there is nothing to do.
            Forbidden: the principal may not change that registry.
            Problem: the registry's own routes would refuse it.
        """

        def work(conn: Connection) -> Mapping[str, Any]:
            if run is None:
                order = self._of_suite(conn, suite or "", reason)
            else:
                found = store.find(conn, run, lock=True)
                if found is None:
                    raise RunNotFound(f"no smoke run has the id {run[:64]!a}")
                if found.remedy is not None and found.remedy.get("done"):
                    return found.remedy
                order = replace(self._of_run(conn, found), reason=reason)
            principal.require(GOVERNED[order.undo.registry])
            order = replace(order, actor=principal.id)
            if dry_run:
                return self._remedies.plan(conn, order)
            did = self._remedies.execute(conn, order)
            if run is not None:
                store.remedied(conn, run, did)
            return did

        return await self._db.run(work)

    def _failing(self, conn: Connection, run: str) -> Order | None:
        found = store.find(conn, run)
        try:
            return None if found is None else self._of_run(conn, found)
        except NothingToUndo:
            return None

    def _of_run(self, conn: Connection, run: Run) -> Order:
        suite = msgspec.convert(run.declared, Suite)
        undo = suite.on_failure
        # against another target it says nothing about the one that the remedy is declared for
        if undo is None or run.base_url != suite.base_url:
            raise NothingToUndo("the run's suite declares nothing for a failure there")
        failing, decided = failing_of(conn, run)
        if run.status not in ("running", "failed") or decided < run.total or not failing:
            raise NothingToUndo(f"the run has not failed: it is {run.status}")
        revision = undo.revision
        if revision is None and run.deployment is not None:
            linked = deployments.find(conn, run.deployment)
            revision = None if linked is None else linked.revisions.get(undo.registry)
        reason = f"smoke suite {run.suite} failed (run {run.id})"
        return Order(f"smoke:{run.id}", run.id, run.suite, undo, revision, f"{_ACTOR}{run.suite}", reason)

    def _of_suite(self, conn: Connection, name: str, reason: str) -> Order:
        record = self._suites.find(conn, name)
        if record is None:
            raise SuiteNotFound(f"there is no smoke suite {name[:64]!a}", key=ascii(name[:64]))
        undo = record.value.on_failure
        if undo is None:
            raise NothingToUndo("the suite declares nothing for a failure")
        return Order(f"smoke:{name}:{record.version}", None, name, undo, undo.revision, f"{_ACTOR}{name}", reason)
