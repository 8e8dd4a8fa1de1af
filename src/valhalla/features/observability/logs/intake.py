"""Where lines are left: a call costs a microsecond or two, and never waits."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableSet
from datetime import date
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.features.observability import looks
from valhalla.features.observability.logs import rules, store
from valhalla.features.observability.logs.contracts import LEVELS, Level, Raw
from valhalla.features.observability.logs.tables import TABLE
from valhalla.kernel.clock import Clock
from valhalla.kit import notices, partitions
from valhalla.kit.batches import Batches
from valhalla.kit.correlation import acting
from valhalla.kit.db import Database


class Intake:
    """Takes lines of the process's log, of the gate and of clients; they are written in batches."""

    def __init__(self, db: Database, *, level: Level, clock: Clock, most: int = 20_000) -> None:
        """Lines of the process below ``level`` are left out; ``most`` lines wait, and what comes then is counted."""
        self._db = db
        self._least = LEVELS[level]
        self._clock = clock
        self._days: MutableSet[date] = set()
        self.batches: Batches[Raw] = Batches("log lines", self._write, most=most)

    def log(self, members: Mapping[str, Any]) -> None:
        """Take a line of the process's log, which is redacted already."""
        if LEVELS.get(members["level"], 50) >= self._least:
            self.batches.put(Raw(time.time(), "server", rules.plain(members), acting()))

    def access(
        self,
        method: str,
        path: str,
        status: int,
        seconds: float,
        correlation: str,
        principal: str | None,
        *,
        trace_id: str | None = None,
        address: str | None = None,
    ) -> None:
        """Take the line of a request (the gate's ``AccessLine``)."""
        members = {
            "method": method,
            "path": path,
            "status": status,
            "seconds": seconds,
            "correlation_id": correlation,
            "trace_id": trace_id,
            "address": address,
        }
        self.batches.put(Raw(time.time(), "access", members, principal))

    async def _write(self, lines: list[Raw]) -> None:
        rows = [rules.row(line) for line in lines]
        days = {row["at"].date() for row in rows}
        if missing := days - self._days:
            await self._db.run(partitions.ensure, TABLE, missing)
            self._days |= missing
        fresh = any(line.origin != "access" or not looks.is_look(line.members["path"]) for line in lines)
        try:
            await self._db.run(_add, rows, fresh)
        except Exception:
            # somebody may have dropped a partition: look again the next time
            self._days.clear()
            raise


def _add(conn: Connection, rows: list[dict[str, Any]], fresh: bool) -> None:
    store.add(conn, rows)
    if fresh:
        notices.tell(conn, notices.LOGS)
