"""The timetable's turn: begin what policies and defaults ask for, and say what must wait for people."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.data.retention import rules, store
from valhalla.features.data.retention.contracts import Category, Policy, Preview, Purge
from valhalla.features.data.retention.errors import NeedsConfirmation
from valhalla.features.data.retention.looking import Looking
from valhalla.features.data.retention.purging import KIND
from valhalla.features.data.retention.starting import Starting
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit

_AGAIN: Final = timedelta(days=1)


class Ticking:
    """Looks at every category, each in a transaction of its own."""

    def __init__(self, db: Database, ledger: Ledger, looking: Looking, starting: Starting, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._looking = looking
        self._starting = starting
        self._clock = clock

    async def tick(self) -> list[str]:
        """Begin the purges that policies and defaults ask for now; return the categories."""
        begun: list[str] = []
        for name, category in self._looking.categories.all().items():
            if category.refused is None and await self._db.run(self._due, category):
                begun.append(name)
        return begun

    def _due(self, conn: Connection, category: Category) -> bool:
        policy = self._looking.by_timetable(conn, category)
        if policy is None:
            return False
        last = store.last(conn).get(category.name)
        if last is not None and last.finished_at is None and last.status != "blocked":
            return False
        look = self._looking.preview(conn, category, policy)
        if look.rows == 0 or look.cutoff is None:
            return False
        if rules.needs_people(look.rows, look.share, policy):
            self._block(conn, policy, look, last)
            return False
        self._starting.start(conn, SYSTEM, policy, look.cutoff, look.rows, None)
        return True

    def _block(self, conn: Connection, policy: Policy, look: Preview, last: Purge | None) -> None:
        """Say once a day that a purge waits for people."""
        now = self._clock.now()
        if last is not None and last.status == "blocked" and now - last.created_at < _AGAIN:
            return
        assert look.cutoff is not None
        id_ = new_id()
        told = {"rows": look.rows, "total": look.total, "share": round(look.share, 4)}
        error = {"code": NeedsConfirmation.code, "detail": f"{look.share:.0%} of the table", **told}
        store.insert(
            conn,
            {
                "id": id_,
                "category": policy.category,
                "status": "blocked",
                "actor": SYSTEM.id,
                "cutoff": look.cutoff,
                "policy": msgspec.to_builtins(policy),
                "error": error,
                "created_at": now,
                "finished_at": now,
            },
        )
        self._ledger.append(
            conn,
            actor=SYSTEM.id,
            action="purge_blocked",
            kind=KIND,
            subject=id_,
            details={"category": policy.category, **told},
        )
        emit(
            conn,
            subject=f"retention.{policy.category}",
            type="retention.blocked",
            data={"id": id_, "category": policy.category, **told},
        )
