"""What a control plane does with jobs for those who ask it: each change with its entry in the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kit import notices, paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.work import kinds, queues, store
from valhalla.work.contracts import Job, Request, Submitted
from valhalla.work.kinds import Announced
from valhalla.work.queues import Queues
from valhalla.work.registry import Jobs
from valhalla.work.submitting import Lost, cancel, read, replay, replay_many, submit_many

AT_ONCE = 1000
"""How many jobs one request may submit or replay."""


class JobDesk:
    """Jobs of every program whose worker has run. Every method may raise ``Unavailable``."""

    def __init__(self, db: Database, jobs: Jobs, ledger: Ledger) -> None:
        """``jobs`` are the control plane's own; the others are announced by their workers."""
        self._db = db
        self._jobs = jobs
        self._ledger = ledger

    async def submit(self, principal: Principal, requests: Sequence[Request]) -> list[Submitted]:
        """Submit jobs, all or none; one answer for each, in order.

        Raises:
            UnknownJob, BadArguments: nothing was submitted.
        """

        def work(conn: Connection) -> list[Submitted]:
            made = submit_many(conn, kinds.read(conn, self._jobs), requests)
            self._ledger.append_many(
                conn,
                [
                    {
                        "actor": principal.id,
                        "action": "job.submitted",
                        "kind": "job",
                        "subject": one.id,
                        "details": {"name": request.name},
                    }
                    for one, request in zip(made, requests, strict=True)
                    if one.created
                ],
            )
            notices.tell(conn, notices.JOBS)
            return made

        return await self._db.run(work)

    async def page(
        self, *, statuses: Sequence[str], name: str | None, queue: str | None, limit: int, cursor: str | None
    ) -> paging.Page[Job]:
        """Return jobs, newest first.

        Raises:
            Invalid: the cursor is not one of this list.
        """
        position = paging.decode(cursor)
        before = None if position is None else paging.text(position, "id")
        found = await self._db.read(
            store.find, statuses=statuses, name=name, queue=queue, before=before, limit=limit + 1
        )
        items = found[:limit]
        return paging.Page(items, paging.encode({"id": items[-1].id}) if len(found) > limit else None)

    async def read(self, id: str) -> Job:  # noqa: A002
        """Return one job.

        Raises:
            NoSuchJob: the id is unknown.
        """
        return await self._db.read(read, id)

    async def cancel(self, principal: Principal, id: str) -> Job:  # noqa: A002
        """Cancel a job; a finished one is left as it is.

        Raises:
            NoSuchJob: the id is unknown.
        """

        def work(conn: Connection) -> Job:
            job = cancel(conn, id)
            self._note(conn, principal, "job.cancelled", id, name=job.name, status=job.status)
            return job

        return await self._db.run(work)

    async def replay(self, principal: Principal, id: str) -> Job:  # noqa: A002
        """Put a dead, cancelled or held job back into its queue.

        Raises:
            NoSuchJob, NotReplayable: nothing was changed.
        """

        def work(conn: Connection) -> Job:
            job = replay(conn, id)
            self._note(conn, principal, "job.replayed", id, name=job.name)
            return job

        return await self._db.run(work)

    async def replay_many(
        self, principal: Principal, *, status: Lost, name: str | None, queue: str | None, dry_run: bool
    ) -> tuple[int, list[str]]:
        """Put up to ``AT_ONCE`` jobs that match back; return how many matched, and the ids of those put back.

        Raises:
            NotReplayable: a dedup key was taken meanwhile; nothing was changed.
        """

        def work(conn: Connection) -> tuple[int, list[str]]:
            matched = store.count(conn, status=status, name=name, queue=queue)
            if dry_run or not matched:
                return matched, []
            ids = replay_many(conn, status=status, name=name, queue=queue, most=AT_ONCE)
            self._ledger.append_many(
                conn,
                [{"actor": principal.id, "action": "job.replayed", "kind": "job", "subject": key} for key in ids],
            )
            return matched, ids

        return await self._db.run(work)

    async def kinds(self) -> list[Announced]:
        """Return what workers have announced, by name."""
        return await self._db.read(kinds.every)

    async def queues(self) -> Queues:
        """Return how every queue is, by name."""
        return await self._db.read(queues.every)

    def _note(self, conn: Connection, principal: Principal, action: str, subject: str, **details: object) -> None:
        self._ledger.append(conn, actor=principal.id, action=action, kind="job", subject=subject, details=details)
        notices.tell(conn, notices.JOBS)
