"""Carries what happened to guarded actions into the control plane's ledger: each line once, in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import emit_many
from valhalla.kit.waiting import Backoff, first_of

BATCH: Final = 500
_KIND: Final = "action"
# what people should hear of: how it ended, and that it began to wait; a hold that gets one of two approvals does not
_BAD: Final = frozenset({"denied", "failed", "indeterminate"})
_TOLD: Final[Mapping[str, frozenset[str]]] = {"held": frozenset({"held"})}
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9_-]+")
# lines that are in the ledger are kept for readers of the store for so many seconds
_KEEP: Final = 7 * 86_400.0

log = get_logger("guard.carrier")

# one process carries at a time; the others see the row locked and leave it alone
_PLACE: Final = sa.text("SELECT seq FROM valhalla_guard.carried FOR UPDATE SKIP LOCKED")
# a line with a smaller seq may still be uncommitted: what could be overtaken waits for the next pass
_LINES: Final = sa.text(
    """
    SELECT l.seq, l.at, l.event, l.name, l.id, l.state, l.principal, l.key, l.fingerprint, l.generation, l.reason,
        (SELECT a.cold->>'correlation' FROM valhalla_guard.actions a WHERE a.id = l.id) AS correlation
    FROM valhalla_guard.lines l
    WHERE l.seq > :seq AND l.xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY l.seq LIMIT :limit
    """
)
_MOVE: Final = sa.text("UPDATE valhalla_guard.carried SET seq = :seq")
_FORGET: Final = sa.text(
    """
    DELETE FROM valhalla_guard.lines WHERE seq IN (
        SELECT seq FROM valhalla_guard.lines WHERE seq <= :seq AND at < valhalla_guard.now() - :keep
        ORDER BY seq LIMIT :limit)
    """
)


class Carrier:
    """Every process may run one. Line and ledger entry are in one database, so one commit moves both."""

    def __init__(self, db: Database, ledger: Ledger, *, interval: float = 1.0) -> None:
        """``interval`` in seconds."""
        self._db = db
        self._ledger = ledger
        self._interval = interval
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    async def once(self) -> int:
        """Carry everything that waits; return how many lines.

        Raises:
            Unavailable: the database cannot be reached.
        """
        total = 0
        while carried := await self._db.run(self._carry):
            total += carried
            if carried < BATCH:
                break
        return total

    def _carry(self, conn: Connection) -> int:
        at = conn.scalar(_PLACE)
        if at is None:
            return 0
        rows = conn.execute(_LINES, {"seq": at, "limit": BATCH}).mappings().all()
        if rows:
            self._ledger.append_many(conn, [_entry(row) for row in rows])
            emit_many(conn, [_event(row) for row in rows if row["state"] in _TOLD.get(row["event"], _BAD)])
            conn.execute(_MOVE, {"seq": rows[-1]["seq"]})
        else:
            conn.execute(_FORGET, {"seq": at, "keep": _KEEP, "limit": BATCH})
        return len(rows)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then carry what is left; a lost database is waited for."""
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            self.beat()
            pause = self._interval
            try:
                await self.once()
                backoff.reset()
            except Unavailable as problem:
                pause = backoff.next()
                log.warning("carrying waits for the database", error=problem.detail, pause=round(pause, 2))
            except Exception:
                pause = backoff.next()
                log.exception("carrying failed and will be tried again", pause=round(pause, 2))
            await first_of(stop, seconds=pause)
        try:
            await self.once()
        except Unavailable as problem:
            log.warning("the last lines are left to the next carrier", error=problem.detail)


def _entry(row: RowMapping) -> Mapping[str, Any]:
    details: dict[str, Any] = {
        "action": row["name"],
        "state": row["state"],
        "at": row["at"],
        "generation": row["generation"],
        "fingerprint": bytes(row["fingerprint"]).hex(),
        "line": row["seq"],
    }
    details |= {name: row[name] for name in ("key", "reason") if row[name] is not None}
    return {
        "actor": row["principal"],
        "action": f"{_KIND}.{row['event']}",
        "kind": _KIND,
        "subject": row["id"],
        "details": details,
        "correlation_id": row["correlation"],
    }


def _event(row: RowMapping) -> Mapping[str, Any]:
    return {
        "subject": f"{_KIND}.{_NO_TOKEN.sub('_', row['id']) or '_'}",
        "type": f"{_KIND}.{row['state']}",
        "data": {
            "id": row["id"],
            "name": row["name"],
            "event": row["event"],
            "principal": row["principal"],
            "reason": row["reason"],
        },
        "correlation_id": row["correlation"],
    }
