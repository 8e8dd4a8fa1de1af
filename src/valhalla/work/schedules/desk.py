"""What a control plane does with schedules for those who ask it: each change with its entry in the ledger."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kit import notices, paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.work import kinds
from valhalla.work.contracts import Submitted
from valhalla.work.errors import BuiltInSchedule
from valhalla.work.registry import Jobs
from valhalla.work.schedules import rules, service, store
from valhalla.work.schedules.contracts import Schedule

BUILT_IN = "valhalla."
"""The names of the control plane's own schedules begin so: it writes them anew at every start."""


class ScheduleDesk:
    """Schedules of the jobs of all programs. Every method may raise ``Unavailable``."""

    def __init__(self, db: Database, jobs: Jobs, ledger: Ledger) -> None:
        self._db = db
        self._jobs = jobs
        self._ledger = ledger

    async def page(self, *, limit: int, cursor: str | None) -> paging.Page[Schedule]:
        """Return schedules by name.

        Raises:
            Invalid: the cursor is not one of this list.
        """
        position = paging.decode(cursor)
        after = None if position is None else paging.text(position, "name")
        found = await self._db.read(store.page, after=after, limit=limit + 1)
        items = found[:limit]
        return paging.Page(items, paging.encode({"name": items[-1].name}) if len(found) > limit else None)

    async def read(self, name: str, runs: int) -> tuple[Schedule, list[datetime]]:
        """Return a schedule and its next runs, none while it is paused.

        Raises:
            NoSuchSchedule: the name is unknown.
        """
        schedule = await self._db.read(service.read, name)
        return schedule, upcoming(schedule, runs)

    async def put(self, principal: Principal, schedule: Schedule) -> Schedule:
        """Write a schedule; one with the same timing keeps its next run.

        Raises:
            BuiltInSchedule, UnknownJob, BadArguments, BadTiming: nothing was written.
        """
        _mine(schedule.name)

        def work(conn: Connection) -> Schedule:
            saved = service.put(conn, kinds.read(conn, self._jobs), schedule)
            self._note(conn, principal, "schedule.put", schedule.name, job=schedule.job)
            return saved

        return await self._db.run(work)

    async def remove(self, principal: Principal, name: str) -> None:
        """Remove a schedule; jobs that it submitted go on.

        Raises:
            BuiltInSchedule, NoSuchSchedule: nothing was removed.
        """
        _mine(name)

        def work(conn: Connection) -> None:
            service.remove(conn, name)
            self._note(conn, principal, "schedule.removed", name)

        await self._db.run(work)

    async def pause(self, principal: Principal, name: str, *, paused: bool) -> Schedule:
        """Stop a schedule for a while, or let it go on.

        Raises:
            NoSuchSchedule: the name is unknown.
        """

        def work(conn: Connection) -> Schedule:
            schedule = service.pause(conn, name, paused=paused)
            self._note(conn, principal, "schedule.paused" if paused else "schedule.resumed", name)
            return schedule

        return await self._db.run(work)

    async def run_now(self, principal: Principal, name: str) -> Submitted:
        """Submit its job once, besides the timetable.

        Raises:
            NoSuchSchedule: the name is unknown.
            UnknownJob, BadArguments: its job has changed.
        """

        def work(conn: Connection) -> Submitted:
            made = service.run_now(conn, kinds.read(conn, self._jobs), name)
            self._note(conn, principal, "schedule.run", name, job=made.id)
            return made

        return await self._db.run(work)

    def _note(self, conn: Connection, principal: Principal, action: str, name: str, **details: object) -> None:
        self._ledger.append(conn, actor=principal.id, action=action, kind="schedule", subject=name, details=details)
        notices.tell(conn, notices.SCHEDULES)


def upcoming(schedule: Schedule, count: int) -> list[datetime]:
    """Return the next runs as the timetable has them, without jitter."""
    if schedule.paused or schedule.next_at is None or count == 0:
        return []
    return [schedule.next_at, *rules.next_runs(schedule.timing, schedule.next_at, count - 1)]


def _mine(name: str) -> None:
    if name.startswith(BUILT_IN):
        raise BuiltInSchedule(f"{name!r} is the control plane's own", name=name)
