"""How a run begins and ends: each one transaction with its ledger entry, its event and what follows from it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments import store as deployments
from valhalla.features.operations.deployments.smoke import store
from valhalla.features.operations.deployments.smoke.contracts import LIFECYCLE, Order, Run, Suite
from valhalla.features.operations.deployments.smoke.remedies import Remedies
from valhalla.features.operations.deployments.smoke.tables import smoke_runs
from valhalla.kernel.clock import Clock
from valhalla.kit import lifecycle
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit

_NAMED = 10
# so long no run takes, however often its job is tried
LOST_AFTER = timedelta(hours=2)


class Ending:
    """Takes runs through their life."""

    def __init__(self, ledger: Ledger, remedies: Remedies, *, clock: Clock) -> None:
        self._ledger = ledger
        self._remedies = remedies
        self._clock = clock

    def begin(self, conn: Connection, run: str) -> Run | None:
        """Let a run that waits begin; one that has begun is returned as it is."""
        found = store.find(conn, run, lock=True)
        if found is None or found.status != "queued":
            return found
        return self._take(conn, found, "running", started_at=self._clock.now())

    def finish(self, conn: Connection, run: str) -> Run:
        """End a run by its results: verdict, event, and once what was declared for a failure."""
        found = store.find(conn, run, lock=True)
        assert found is not None
        if found.status != "running":
            return found
        last = [each for each in store.results(conn, run) if each.last]
        failing = [each.name for each in last if not each.ok]
        good = not failing and len(last) == found.total
        remedy = None if good else self._remedy(conn, found)
        values: dict[str, Any] = {"finished_at": self._clock.now(), "passed": len(last) - len(failing)}
        if remedy is not None:
            values["remedy"] = remedy
        ended = self._take(conn, found, "passed" if good else "failed", **values, failed=len(failing))
        if found.deployment is not None:
            deployments.link(conn, found.deployment, run, "passed" if good else "failed")
        self._tell(conn, ended, failing)
        return ended

    def give_up(self, conn: Connection) -> int:
        """End runs that no job will finish; return how many."""
        count = 0
        for run in store.unfinished(conn, LOST_AFTER):
            found = store.find(conn, run, lock=True)
            if found is not None and found.finished_at is None:
                self._tell(conn, self._take(conn, found, "lost", finished_at=self._clock.now()), [])
                count += 1
        return count

    def _remedy(self, conn: Connection, run: Run) -> dict[str, Any] | None:
        suite = msgspec.convert(run.declared, Suite)
        undo = suite.on_failure
        # against another target it says nothing about the one that the remedy is declared for
        if undo is None or run.base_url != suite.base_url:
            return None
        revision = undo.revision
        if revision is None and run.deployment is not None:
            linked = deployments.find(conn, run.deployment)
            revision = None if linked is None else linked.revisions.get(undo.registry)
        order = Order(f"smoke:{run.id}", run.id, run.suite, undo, revision, actor=f"smoke:{run.suite}")
        return self._remedies.execute(conn, order)

    def _take(self, conn: Connection, run: Run, to: str, **values: Any) -> Run:
        row = lifecycle.take(
            conn,
            LIFECYCLE,
            smoke_runs,
            key=run.id,
            to=to,
            ledger=self._ledger,
            actor=run.actor,
            kind="smoke-run",
            values=values,
            details={"suite": run.suite},
        )
        return store.read(row)

    def _tell(self, conn: Connection, run: Run, failing: list[str]) -> None:
        data = {
            **{name: getattr(run, name) for name in ("suite", "base_url", "deployment", "status", "total", "failed")},
            "run": run.id,
            "failing": failing[:_NAMED],
            "remedy": run.remedy,
        }
        kind = "smoke.passed" if run.status == "passed" else "smoke.failed"
        emit(conn, subject=f"smoke.{run.suite}", type=kind, data=data)
