"""How a run begins and ends: each one transaction with its ledger entry, its event and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments import store as deployments
from valhalla.features.operations.deployments.smoke import store
from valhalla.features.operations.deployments.smoke.contracts import LIFECYCLE, Run
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

    def __init__(self, ledger: Ledger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def begin(self, conn: Connection, run: str) -> Run | None:
        """Let a run that waits begin; one that has begun is returned as it is."""
        found = store.find(conn, run, lock=True)
        if found is None or found.status != "queued":
            return found
        return self._take(conn, found, "running", started_at=self._clock.now())

    def finish(self, conn: Connection, run: str, remedy: Mapping[str, Any] | None = None) -> Run:
        """End a run by its results: verdict, what was done about a failure, event."""
        found = store.find(conn, run, lock=True)
        assert found is not None
        if found.status != "running":
            return found
        failing, decided = failing_of(conn, found)
        good = not failing and decided == found.total
        values: dict[str, Any] = {"finished_at": self._clock.now(), "passed": decided - len(failing)}
        if not good and remedy is not None:
            values["remedy"] = dict(remedy)
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

    def _tell(self, conn: Connection, run: Run, failing: Sequence[str]) -> None:
        data = {
            **{name: getattr(run, name) for name in ("suite", "base_url", "deployment", "status", "total", "failed")},
            "run": run.id,
            "failing": list(failing[:_NAMED]),
            "remedy": run.remedy,
        }
        subject = f"smoke.{run.suite}"
        emit(conn, subject=subject, type="smoke.passed" if run.status == "passed" else "smoke.failed", data=data)
        if run.remedy is not None and not run.remedy["done"]:
            emit(conn, subject=subject, type="smoke.remedy_failed", data={**data, "why": run.remedy["why"]})


def failing_of(conn: Connection, run: Run) -> tuple[list[str], int]:
    """Return the names of the checks that failed, and how many are decided."""
    last = [each for each in store.results(conn, run.id) if each.last]
    return [each.name for each in last if not each.ok], len(last)
