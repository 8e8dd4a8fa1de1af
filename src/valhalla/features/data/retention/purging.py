"""What the job does: purge one category in small batches, each with its proof, and say in the ledger what went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy.exc
from sqlalchemy.engine import Connection

from valhalla.features.data.exports import Draft, Export, Exports
from valhalla.features.data.retention import rules, store
from valhalla.features.data.retention.categories import Categories
from valhalla.features.data.retention.contracts import LIFECYCLE, Category, Hold, Purge, Status
from valhalla.features.data.retention.errors import PurgeGrown, PurgeNotExported
from valhalla.features.data.retention.tables import retention_runs
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit import lifecycle
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import emit
from valhalla.kit.registry import Registry
from valhalla.kit.relations import Condition
from valhalla.kit.sqlstates import sqlstate

log = get_logger("retention")
KIND: Final = "retention"
# what somebody else has locked is left after so many looks in vain
_PATIENCE: Final = 3
ABANDONED: Final = timedelta(days=1)


class Purger:
    """Does purges. One that was interrupted goes on: its batches and their proof are of the same transactions."""

    def __init__(
        self,
        db: Database,
        batches: Database,
        ledger: Ledger,
        categories: Categories,
        holds: Registry[Hold],
        exports: Exports,
        *,
        clock: Clock,
    ) -> None:
        """``db`` has the patience for statements that look at a whole table; ``batches`` has ``store.PURGING``."""
        self._db = db
        self._batches = batches
        self._ledger = ledger
        self._categories = categories
        self._holds = holds
        self._exports = exports
        self._clock = clock

    async def execute(self, id_: str) -> str:
        """Do a purge and return its status.

        Raises:
            Unavailable: the database is away; the same call again goes on.
        """
        purge = await self._db.run(self._begin, id_)
        if purge is None:
            return "over"
        try:
            category = self._categories.get(purge.category)
            if purge.policy.get("export_first"):
                await self._archive(purge, category)
            if category.partitioned:
                await self._days(purge.id, category)
            else:
                await self._rows(purge.id, category, store.table_of(category))
        except Unavailable:
            raise
        except Problem as problem:
            return await self._fail(purge.id, problem.code, problem.detail)
        except sqlalchemy.exc.DBAPIError as error:
            # others hold locks all the time, or a statement takes too long: the next hour may be better
            return await self._fail(purge.id, "retention-database", f"SQLSTATE {sqlstate(error)}")
        return await self._db.run(self._succeed, purge.id, category)

    async def _days(self, id_: str, category: Category) -> None:
        purge = await self._now(id_)
        for day in await self._db.read(store.old_days, category, purge.cutoff):
            dropped = await self._db.run(self._drop, id_, category, day)
            if not dropped:
                await self._rows(id_, category, store.partition(category, day))

    def _drop(self, conn: Connection, id_: str, category: Category, day: Any) -> bool:
        purge = _found(store.find(conn, id_, lock=True))
        held = store.held(conn, self._holds, category)
        gone = store.drop_day(conn, category, day, held.sql)
        if gone is None:
            return False
        now = store.advance(conn, purge, gone, day.isoformat())
        self._bounded(now.rows, now.most)
        return True

    async def _rows(self, id_: str, category: Category, table: str) -> None:
        step, empty, held, purge = store.Step(), 0, None, await self._now(id_)
        due = time.monotonic()
        while empty < _PATIENCE:
            if held is None:
                held = await self._db.run(store.held, self._holds, category)
            try:
                batch = await self._batches.run(self._batch, id_, category, table, purge.cutoff, held, step)
            except sqlalchemy.exc.DBAPIError as error:
                if step.contended or sqlstate(error) != store.LOCKED:
                    raise
                step = replace(step, contended=True)
                continue
            if batch is None:
                held = None
                if (await self._now(id_)).status != "running":
                    return
            elif batch.rows:
                empty = 0
                now = time.monotonic()
                size, pause = rules.pace(step.size, batch.took, now - due)
                # who sleeps too long has slept for the next batch too
                due = now + pause
                step = replace(step, size=size, since=batch.newest)
                await asyncio.sleep(pause)
            elif step.since is not None:
                # before it may be what was locked, or came late
                step = replace(step, since=None)
            elif await self._db.run(self._left, id_, category, table):
                empty += 1
                await asyncio.sleep(0.2 * empty)
            else:
                return

    def _batch(
        self,
        conn: Connection,
        id_: str,
        category: Category,
        table: str,
        cutoff: datetime,
        held: store.Held,
        step: store.Step,
    ) -> store.Batch | None:
        batch = store.take(conn, id_, category, table, cutoff, held, step)
        if batch is not None and batch.total is not None:
            self._bounded(batch.total, batch.most)
        return batch

    def _left(self, conn: Connection, id_: str, category: Category, table: str) -> bool:
        purge = _found(store.find(conn, id_))
        held = store.held(conn, self._holds, category)
        return store.is_left(conn, category, table, purge.cutoff, held.sql)

    def _bounded(self, rows: int, most: int | None) -> None:
        """Refuse, and so undo, what goes beyond what was looked at when the purge was allowed."""
        if most is not None and rows > most:
            raise PurgeGrown(f"more than {most} rows would go: there were not so many when it was allowed")

    async def _archive(self, purge: Purge, category: Category) -> None:
        """Write what is to go to a file, and go on only with a file that has it all."""
        assert category.source is not None
        before = Condition(category.clock, "lt", purge.cutoff.isoformat())
        if purge.export is None:
            draft = Draft(
                category.source,
                "jsonl",
                "gzip",
                profile="none",
                conditions=(before,),
                reason=f"before purge {purge.id}",
            )
            export = await self._exports.service.archive(SYSTEM, draft)
            await self._db.run(store.put, purge.id, export=export.id)
            id_ = export.id
        else:
            id_ = purge.export
        await self._exports.runner.execute(id_)
        made: Export = await self._exports.service.get(SYSTEM, id_)
        if made.status != "completed":
            await self._db.run(store.put, purge.id, export=None)
            raise PurgeNotExported(f"the export {id_} is {made.status}")
        there = await self._db.read(store.count_old, category, purge.cutoff)
        if purge.rows + there > made.rows:
            await self._db.run(store.put, purge.id, export=None)
            raise PurgeNotExported(f"the export {id_} has {made.rows} rows, and {there} are there: some came late")

    async def _now(self, id_: str) -> Purge:
        return _found(await self._db.read(store.find, id_))

    def _begin(self, conn: Connection, id_: str) -> Purge | None:
        found = store.find(conn, id_, lock=True)
        if found is None or found.status not in ("pending", "running"):
            return None
        if found.status == "running":
            return found
        return self._take(conn, found.id, "running", SYSTEM.id, {"started_at": self._clock.now()})

    def _succeed(self, conn: Connection, id_: str, category: Category) -> str:
        found = _found(store.find(conn, id_, lock=True))
        held = store.held(conn, self._holds, category).sql
        kept = store.count(conn, category, found.cutoff, held)[1] if held != "false" else 0
        done = self._take(
            conn, id_, "succeeded", found.actor, {"finished_at": self._clock.now(), "held": kept}, proof(found, kept)
        )
        self._tell(conn, done)
        return "succeeded"

    async def _fail(self, id_: str, code: str, detail: str) -> str:
        log.warning("a purge failed", purge=id_, code=code, detail=detail)
        await self._db.run(self._failed, id_, {"code": code, "detail": detail[:500]})
        return "failed"

    def _failed(self, conn: Connection, id_: str, error: Mapping[str, Any]) -> None:
        found = _found(store.find(conn, id_, lock=True))
        values = {"finished_at": self._clock.now(), "error": dict(error)}
        # what went before it failed is proven all the same
        done = self._take(conn, id_, "failed", found.actor, values, {**proof(found, None), "error": error["code"]})
        self._tell(conn, done)

    def give_up(self, conn: Connection, now: datetime) -> int:
        """End purges that no job will finish; return how many."""
        old = store.abandoned(conn, now - ABANDONED)
        for id_ in old:
            self._failed(conn, id_, {"code": "retention-abandoned", "detail": "no job finished it"})
        return len(old)

    def _take(
        self,
        conn: Connection,
        id_: str,
        to: Status,
        actor: str,
        values: Mapping[str, Any],
        details: Mapping[str, Any] | None = None,
    ) -> Purge:
        row = lifecycle.take(
            conn,
            LIFECYCLE,
            retention_runs,
            key=id_,
            to=to,
            ledger=self._ledger,
            actor=actor,
            action="purged" if to in ("succeeded", "failed") else "purge_started",
            kind=KIND,
            values=values,
            details=details or {},
        )
        return store.read(row)

    def _tell(self, conn: Connection, purge: Purge) -> None:
        emit(
            conn,
            subject=f"retention.{purge.category}",
            type="retention.purged" if purge.status == "succeeded" else "retention.failed",
            data={"id": purge.id, "status": purge.status, "actor": purge.actor, "error": purge.error}
            | proof(purge, purge.held),
        )


def proof(purge: Purge, held: int | None) -> dict[str, Any]:
    """Return what the ledger keeps of a purge."""
    return {
        "category": purge.category,
        "cutoff": purge.cutoff.isoformat(),
        "rows": purge.rows,
        "batches": purge.batches,
        "days": list(purge.days),
        "oldest": None if purge.oldest is None else purge.oldest.isoformat(),
        "newest": None if purge.newest is None else purge.newest.isoformat(),
        "digest": purge.digest,
        "held": held,
        "export": purge.export,
    }


def _found(purge: Purge | None) -> Purge:
    assert purge is not None
    return purge
