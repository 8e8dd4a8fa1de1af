"""``SandboxOrchestrator``: the ten blocks over one guard, and one call that goes through all that apply to it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from valhalla.blocks.alert_system import AlertSystem
from valhalla.blocks.errors import NotInitialized
from valhalla.blocks.guarded_calls import GuardedCalls, State
from valhalla.blocks.sandbox_readiness_checker import SandboxReadinessChecker
from valhalla.blocks.scheduler_heartbeat import SchedulerHeartbeat
from valhalla.blocks.structured_logger import StructuredLogger
from valhalla.blocks.surroundings import Place
from valhalla.blocks.worker_process import WorkerProcess
from valhalla.guard.blocks.dry_run_lock import DryRunLock
from valhalla.guard.blocks.governor_enforcer import GovernorEnforcer
from valhalla.guard.blocks.idempotency_manager import IdempotencyManager
from valhalla.guard.blocks.retry_backoff_manager import RetryBackoffManager
from valhalla.guard.contracts import Line, Scan
from valhalla.guard.guard import Guard
from valhalla.kit.checks import Verdict

if TYPE_CHECKING:
    from valhalla.blocks.reporting import Reporter
    from valhalla.blocks.sandbox_database_manager import SandboxDatabaseManager
    from valhalla.guard.judging import Policy
    from valhalla.guard.people import Roles
    from valhalla.guard.stores import Store
    from valhalla.sdk.client import Client
    from valhalla.sdk.opened import OpenSandbox

LIMITS: Final[Mapping[str, tuple[int, float]]] = {
    "payment": (100, 3600),
    "api_call": (1000, 60),
    "data_export": (10, 3600),
}
"""What a fresh orchestrator allows: so many actions in so many seconds."""
_COUNTED: Final = 10_000


class SandboxOrchestrator(GuardedCalls):
    """Begins in a dry run: nothing irreversible happens before ``dry_run_lock.go_live(by=…, reason=…)``.

    >>> with SandboxOrchestrator(reversible=["preview"]) as sandbox:
    ...     sandbox.run("payment", pay, "A-1", 500, key="A-1").status
    'planned'
    """

    def __init__(
        self,
        use_memory_db: bool | None = None,
        *,
        db_url: str | None = None,
        control_plane: bool | str | Client | None = None,
        dry_run: bool = True,
        reversible: Iterable[str] = (),
        limits: Mapping[str, tuple[int, float]] = LIMITS,
        store: Store | None = None,
        roles: Roles | None = None,
        policy: Policy | None = None,
        max_workers: int = 1,
        heartbeat_timeout: float = 30.0,
        ttl: str = "1h",
        disposable: bool = False,
    ) -> None:
        """Work in memory (the default), on the database of ``db_url``, or in a sandbox of a control plane.

        ``control_plane`` is ``True`` for the one that ``valhalla.Client()`` finds, an address, or a client; ``ttl`` is
        how long its sandbox lives at most. ``store`` keeps keys, holds and the ledger beyond this process; without one
        they end with it. ``roles`` and ``policy`` are the guard's.

        Raises:
            BadDatabase: two places are named, or none.
            ProductionDatabase: the database is marked as one of production.
        """
        self._place = Place(use_memory_db, db_url, control_plane, ttl=ttl, disposable=disposable)
        self._limits = dict(limits)
        self.governor = GovernorEnforcer()
        self.guard = Guard(store, governor=self.governor.governor, roles=roles, policy=policy)
        self.dry_run_lock = DryRunLock(dry_run, reversible=reversible, guard=self.guard)
        self.retry_manager = RetryBackoffManager(guard=self.guard)
        self.idempotency_manager = IdempotencyManager(guard=self.guard)
        self.alert_system = AlertSystem()
        self.logger = StructuredLogger(name="orchestrator")
        self.heartbeat = SchedulerHeartbeat(
            min(10.0, heartbeat_timeout / 3), heartbeat_timeout, on_missed=self._missed, on_recovered=self._recovered
        )
        self.worker = WorkerProcess(
            min(5.0, heartbeat_timeout / 6),
            max_workers,
            beat=lambda: self.heartbeat.beat("worker"),
            on_failure=self._job_failed,
        )
        self.readiness_checker = SandboxReadinessChecker()
        self._durable = store is not None
        self._reporter: Reporter | None = None
        self._silences: dict[str, str] = {}
        self._was_ready = False
        self._turn = threading.Lock()
        self._state: State = "new"

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    async def __aenter__(self) -> Self:
        import asyncio

        await asyncio.to_thread(self.initialize)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.cleanup)

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def db_manager(self) -> SandboxDatabaseManager:
        """The database; with a control plane it is there once the orchestrator is initialized."""
        return self._place.manager

    @property
    def sandbox(self) -> OpenSandbox | None:
        """The control plane's sandbox, if there is one."""
        return self._place.sandbox

    def initialize(self) -> None:
        """Start everything, set the limits, register the checks. Does nothing the second time.

        Raises:
            NotInitialized: it was cleaned up; make a new one.
            ValhallaError: the control plane does not answer, or refuses.
            Unavailable: the guard's store cannot be reached.
        """
        with self._turn:
            if self._state == "ready":
                return
            if self._state == "ended":
                raise NotInitialized("this orchestrator was cleaned up", help="Make a new one.")
            self._place.open()
            try:
                self.guard.setup()
                for resource, (most, seconds) in self._limits.items():
                    self.governor.set_limit(resource, most, seconds)
                self.heartbeat.expect("worker")
                self.heartbeat.start()
                self.worker.start()
                self._register()
                self._report()
            except BaseException:
                self._end(0.0)
                raise
            self._state = "ready"

    def _register(self) -> None:
        check = self.readiness_checker.register_check
        check("database_connected", self._check_database, timeout=6.0)
        check("worker_running", self._check_worker)
        check("heartbeat_active", self._check_heartbeat)
        check("governor_configured", lambda: bool(self.governor.get_status()))
        if self._durable:
            check("guard_store", lambda: bool(self.guard.store.scan(Scan("all", limit=1)).now))
        if self._place.client is not None:
            check("control_plane", self._place.check, timeout=10.0)

    def _report(self) -> None:
        client, sandbox = self._place.client, self._place.sandbox
        if client is None or sandbox is None:
            return
        from valhalla.blocks.reporting import Reporter

        self._reporter = Reporter(
            client, f"orchestrator.{sandbox.id}", alive=self.heartbeat.is_healthy, interval=self.heartbeat.interval
        )
        self.alert_system.subscribe("*", self._reporter.alert, minimum="warning")
        self._reporter.start()

    def cleanup(self, timeout: float = 5.0) -> None:
        """End everything: jobs that were accepted have ``timeout`` seconds. Does nothing the second time."""
        with self._turn:
            if self._state != "ended":
                self._state = "ended"
                self._end(timeout)

    def _end(self, timeout: float) -> None:
        # no longer ready before anything ends
        self.readiness_checker.close()
        self.worker.stop(timeout)
        self.heartbeat.stop()
        self.alert_system.close(1.0 if self._reporter is not None else 0.05)
        if self._reporter is not None:
            self._reporter.stop()
        self.guard.close()
        self._place.close()

    # -- what is known -------------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Run every check now, and say whether it is a GO; losing readiness is an alert."""
        report = self.readiness_checker.report()
        if self._was_ready and not report.ok and self._state == "ready":
            self.alert_system.alert("readiness", report.reason or "not ready", "critical")
        self._was_ready = report.ok
        return report.ok

    def run_readiness_check(self) -> bool:
        """Do as ``is_ready``."""
        return self.is_ready()

    def get_status(self) -> dict[str, Any]:
        """Return what is known now, without asking anybody."""
        totals = self.worker.totals
        return {
            "readiness": self.readiness_checker.get_status(),
            "heartbeat": self.heartbeat.get_health_status(),
            "governor": self.governor.get_status(),
            "worker_queue_length": self.worker.pending_count,
            "completed_jobs": totals["completed"] + totals["failed"],
            "alerts": len(self.alert_system),
            "idempotent_operations": self._remembered(),
            "state": self._state,
            "dry_run": self.dry_run_lock.dry_run,
        }

    def _remembered(self) -> int:
        if self._state == "ended":
            return 0
        rows = self.guard.waiting(kind="all", limit=_COUNTED)
        return sum(row.key is not None and row.state == "succeeded" for row in rows)

    def ledger(self, after: int | None = None, limit: int = 100) -> tuple[Line, ...]:
        """Return the lines of the guard's ledger behind ``after``, oldest first."""
        return self.guard.store.scan(Scan("ledger", after=after, limit=limit)).lines

    def _check_database(self) -> Verdict:
        return Verdict(True, self.db_manager.probe())

    def _check_worker(self) -> Verdict:
        lost = self.worker.lost_threads
        reason = f"{lost} threads are lost in jobs that do not end" if lost else None
        return Verdict(self.worker.is_running, reason if self.worker.is_running else reason or "it does not run")

    def _check_heartbeat(self) -> Verdict:
        reason = self.heartbeat.reason()
        return Verdict(reason is None, reason)

    # -- what is heard -------------------------------------------------------------------------------------------------

    def _missed(self, name: str, silent: float) -> None:
        reason = f"silent for {silent:.0f} s"
        self._silences[name] = self.alert_system.alert(
            f"heartbeat.{name}", reason, "critical", fingerprint=f"beat:{name}"
        )

    def _recovered(self, name: str) -> None:
        id_ = self._silences.pop(name, None)
        if id_ is not None:
            self.alert_system.resolve(id_, by="heartbeat", note="it beats again")

    def _job_failed(self, record: dict[str, Any]) -> None:
        facts = {"id": record["id"], "kind": record["kind"]}
        self.alert_system.alert(f"job.{record['name']}", record["error"], "error", facts)
