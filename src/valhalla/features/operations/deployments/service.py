"""The use cases of deployments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments import rules, store
from valhalla.features.operations.deployments.contracts import LIFECYCLE, Deployment, Dora, Draft, Filter, Target
from valhalla.features.operations.deployments.errors import BadRollback, DeploymentNotFound, VerdictMissing
from valhalla.features.operations.deployments.tables import deployments
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit import lifecycle, paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit_many
from valhalla.kit.redact import text

READ = "deployments:read"
WRITE = "deployments:write"


class DeploymentService:
    """Records deployments and says what they amount to."""

    def __init__(
        self, db: Database, ledger: Ledger, *, clock: Clock, revisions: Callable[[Connection], Mapping[str, int]]
    ) -> None:
        """``revisions`` says where the registries stand that a rollback may lead back to."""
        self._db = db
        self._ledger = ledger
        self._clock = clock
        self._revisions = revisions

    async def record(self, principal: Principal, draft: Draft) -> Deployment:
        """Record one that is to come, or with ``start`` one that begins now.

        Raises:
            DeploymentNotFound, BadRollback: what it rolls back is none, or none of its service and environment.
            Invalid: the commit is from the future.
        """
        principal.require(WRITE)
        now = self._clock.now()
        if draft.committed_at is not None and draft.committed_at > now:
            raise Invalid(
                "the commit is from the future", errors=[{"pointer": "/committed_at", "detail": "later than now"}]
            )

        def work(conn: Connection) -> Deployment:
            if draft.rollback_of is not None:
                self._undone(conn, draft)
            made = store.insert(
                conn,
                {
                    **{name: getattr(draft, name) for name in ("environment", "service", "version", "commit")},
                    "committed_at": draft.committed_at,
                    "rollback_of": draft.rollback_of,
                    "notes": None if draft.notes is None else text(draft.notes),
                    "id": new_id(),
                    "status": "in_progress" if draft.start else "pending",
                    "actor": principal.id,
                    "created_at": now,
                    "started_at": now if draft.start else None,
                    "revisions": dict(self._revisions(conn)),
                },
            )
            self._ledger.append(
                conn,
                actor=principal.id,
                action="recorded",
                kind="deployment",
                subject=made.id,
                details={"environment": made.environment, "service": made.service, "version": made.version},
            )
            emit_many(conn, [_event("deployment.in_progress" if draft.start else "deployment.pending", made)])
            return made

        return await self._db.run(work)

    async def get(self, principal: Principal, deployment_id: str) -> Deployment:
        """Return one.

        Raises:
            DeploymentNotFound: none has this id.
        """
        principal.require(READ)
        return _found(await self._db.read(store.find, deployment_id), deployment_id)

    async def page(
        self, principal: Principal, wanted: Filter, *, limit: int | None = None, cursor: str | None = None
    ) -> paging.Page[Deployment]:
        """Return deployments that fit, the newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        principal.require(READ)
        return await paging.newest(
            lambda before, size: self._db.read(store.page, wanted, before=before, limit=size),
            lambda deployment: (deployment.created_at, deployment.id),
            limit=limit,
            cursor=cursor,
        )

    async def current(self, principal: Principal, environment: str | None) -> list[Deployment]:
        """Return what runs where."""
        principal.require(READ)
        return await self._db.read(store.current, environment)

    async def dora(
        self, principal: Principal, since: datetime, until: datetime, *, environment: str | None, service: str | None
    ) -> Dora:
        """Return the four figures of a window.

        Raises:
            Invalid: it ends before it begins.
        """
        principal.require(READ)
        if until <= since:
            raise Invalid(
                "the window ends before it begins", errors=[{"pointer": "/until", "detail": "not after since"}]
            )
        rows, truncated = await self._db.read(store.finished, since, environment=environment, service=service)
        return rules.dora(rows, since, until, truncated=truncated)

    async def move(
        self,
        principal: Principal,
        deployment_id: str,
        to: Target,
        *,
        notes: str | None = None,
        force: bool = False,
    ) -> Deployment:
        """Take the next step of its life; of racing callers one wins.

        One that rolls another back marks that one as rolled back when it succeeds.

        Raises:
            DeploymentNotFound, IllegalTransition: there is none, or its status does not lead there.
            VerdictMissing: it is to succeed although its last smoke test failed, and ``force`` is not set.
        """
        principal.require(WRITE)
        return await self._db.run(self._move, principal.id, deployment_id, to, notes, force=force)

    def _move(
        self, conn: Connection, actor: str, deployment_id: str, to: Target, notes: str | None, *, force: bool
    ) -> Deployment:
        before = _found(store.find(conn, deployment_id, lock=True), deployment_id)
        LIFECYCLE.check(before.status, to)
        if to == "succeeded" and before.verdict == "failed" and not force:
            raise VerdictMissing(run=before.smoke_run)
        after = self._step(conn, actor, before, to, notes)
        if to == "succeeded" and after.rollback_of is not None:
            undone = store.find(conn, after.rollback_of, lock=True)
            # it may have been marked by hand meanwhile
            if undone is not None and "rolled_back" in LIFECYCLE.legal(undone.status):
                self._step(conn, actor, undone, "rolled_back", None, by=after.id)
        return after

    def _step(
        self, conn: Connection, actor: str, before: Deployment, to: Target, notes: str | None, *, by: str | None = None
    ) -> Deployment:
        now = self._clock.now()
        values: dict[str, Any] = {}
        if to == "in_progress":
            values["started_at"] = now
        elif before.finished_at is None:
            values["finished_at"] = now
        if to in ("failed", "rolled_back") and before.failed_at is None:
            values["failed_at"] = now
        if notes is not None:
            values["notes"] = text(notes)
        if by is not None:
            values["rolled_back_by"] = by
        row = lifecycle.take(
            conn,
            LIFECYCLE,
            deployments,
            key=before.id,
            to=to,
            ledger=self._ledger,
            actor=actor,
            values=values,
            details={} if by is None else {"by": by},
        )
        after = store.read(row)
        emit_many(conn, [_event(f"deployment.{to}", after)])
        return after

    def _undone(self, conn: Connection, draft: Draft) -> None:
        assert draft.rollback_of is not None
        undone = _found(store.find(conn, draft.rollback_of), draft.rollback_of)
        same = (undone.environment, undone.service) == (draft.environment, draft.service)
        if not same or "rolled_back" not in LIFECYCLE.legal(undone.status):
            raise BadRollback(
                f"it is of {undone.service} in {undone.environment}, and {undone.status}", current=undone.status
            )


def _found(deployment: Deployment | None, deployment_id: str) -> Deployment:
    if deployment is None:
        raise DeploymentNotFound(f"no deployment has the id {deployment_id[:64]!a}")
    return deployment


def _event(kind: str, one: Deployment) -> dict[str, Any]:
    members = ("id", "environment", "service", "version", "commit", "status", "actor", "rollback_of", "verdict")
    data = {name: getattr(one, name) for name in members}
    return {"subject": f"deployment.{one.id}", "type": kind, "data": data}
